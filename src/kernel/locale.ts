/** A language tag (BCP 47) in its usual case and with its present names, such as `pt-BR`; undefined if it is none. */
export function canonicalLocale(tag: string): string | undefined {
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}

/**
 * The name of a time zone of the IANA database in its usual case; undefined if there is no such zone. An older name
 * of a zone stays as it is: the runtime would replace it, and some new ones by older ones.
 */
export function canonicalTimeZone(name: string): string | undefined {
  try {
    const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions();
    return timeZone.toLowerCase() === name.toLowerCase() ? timeZone : name;
  } catch {
    return undefined;
  }
}
