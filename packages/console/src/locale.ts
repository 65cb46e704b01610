/**
 * The reader's own form of a language, such as `en-GB`, by which dates are written: the first of those that the browser names,
 * or the language itself.
 */
export function ownLocale(language: string, tags: readonly string[]): string {
  return tags.find((tag) => isLocale(tag) && new Intl.Locale(tag).language === language) ?? language;
}

/** Browsers on Linux have named the locale of the machine, such as `en-US@posix`, which is none. */
function isLocale(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1;
  } catch {
    return false;
  }
}
