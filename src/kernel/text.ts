/** The most UTF-16 code units a search term keeps: queries are cut to the same length. */
const TERM_LENGTH = 100;

/** How many later words of a name can be searched for. */
export const WORDS_MAX = 8;

/**
 * Text as it is searched and sorted: without case, accents, compatibility forms
 * and surplus blanks. The beginning of a text folds to a beginning of the folded
 * text. Close to Unicode's toNFKC_Casefold without its tables: upper case turns
 * "ß" into "ss", but leaves "ẞ" to lower case.
 */
export function fold(text: string): string {
  const caseless = text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().toUpperCase().toLowerCase();
  // Lower case knows one letter that depends on what follows it.
  return caseless.replaceAll('ς', 'σ').replace(/\s+/gu, ' ').trim();
}

/** A search term or the beginning of one: folded, at most 100 code units. */
export function searchTerm(text: string): string {
  return cut(fold(text), TERM_LENGTH);
}

/** The first `length` UTF-16 code units, or one less where that would be half a character: no database stores that. */
export function cut(text: string, length: number): string {
  return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '');
}

/** The terms that find a text by its beginning or by the beginning of a later word, e.g. "ada lovelace", "lovelace". */
export function wordTerms(text: string): string[] {
  const words = fold(text).split(' ').filter(Boolean);
  return words.slice(0, WORDS_MAX).map((_, i) => searchTerm(words.slice(i).join(' ')));
}

/** What identifies a username or an email address regardless of case. Both are ASCII by contract. */
export function identifierKey(identifier: string): string {
  return identifier.toLowerCase();
}

/**
 * Whether a text has something that can be seen: the rule `visible` of kith.text.v1.
 * Private characters and those that this version of Unicode does not know count: a font may show them.
 */
export function isVisible(text: string): boolean {
  return VISIBLE.test(text);
}

/** What is drawn as a blank, although Unicode has it as a letter or symbol, is named. */
const VISIBLE =
  /[^\s\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800\uFFFC\u{13441}\u{13442}\u{1D159}]/u;

/** Whether each % begins an escape, and all of them are UTF-8. */
export function isPercentEncoded(url: string): boolean {
  try {
    decodeURIComponent(url);
    return true;
  } catch {
    return false;
  }
}

/** One line of text: what could end a line, reorder it or is no character becomes U+FFFD. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, '\uFFFD');
}

/** Without white space and format characters (Unicode, Cf) at both ends. Takes a time linear in what is removed. */
export function trimEnds(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && BLANK.test(text.charAt(start))) start++;
  while (start < end && BLANK.test(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}

/** White space or a format character, in one UTF-16 code unit. */
const BLANK = /[\s\p{Z}\p{Cf}]/u;

/** Without white space, format characters and hyphens: a code that is shown in groups. */
export function compact(text: string): string {
  return text.replaceAll(/[\s\p{Z}\p{Cf}\p{Pd}]/gu, '');
}

/** Sorts behind every text that begins with `prefix` and before every other that sorts behind it, in the order of bytes. */
export function endOfPrefix(prefix: string): string {
  return `${prefix}\u{10FFFF}`;
}

/** A URL as it may be shown: the password in it, if any, is left out, also one with a "/" or "@" that should be encoded. */
export function withoutPassword(url: string): string {
  return url.replace(/(:\/\/[^:@/]*):.*@/s, '$1:...@').replaceAll(/([?&]password=)[^&]*/g, '$1...');
}
