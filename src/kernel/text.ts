/**
 * Of the rules by which search terms and sort keys are made of texts. What other rules wrote has less, and is written
 * anew in small steps after the start. A migration goes with each change: its index finds what is left to do.
 */
export const SEARCH_VERSION = 1;

/** The most UTF-16 code units a search term keeps: queries are cut to the same length. */
const TERM_LENGTH = 100;

/** At how many places a text is found: the beginnings of words, and characters of scripts without blanks. */
export const PLACES_MAX = 32;

/** How many words of a query are looked for: the longest ones. */
const QUERY_WORDS_MAX = 8;

/**
 * Letters with a stroke or hook, ligatures and signs that look alike, which NFKD leaves as they are; in lower case.
 * Dashes are hyphens as well: see fold.
 */
const ALIKE: Readonly<Record<string, string>> = {
  ...spread('a', 'ⱥ'),
  ...spread('ae', 'æ'),
  ...spread('b', 'ƀɓ'),
  ...spread('c', 'ȼƈ'),
  ...spread('d', 'đðɖɗ'),
  ...spread('e', 'ɇ'),
  ...spread('f', 'ƒ'),
  ...spread('g', 'ǥɠ'),
  ...spread('h', 'ħ'),
  ...spread('i', 'ɨ'),
  ...spread('j', 'ɉ'),
  ...spread('k', 'ƙĸ'),
  ...spread('l', 'łƚɫ'),
  ...spread('n', 'ŋɲ'),
  ...spread('o', 'øɵ'),
  ...spread('oe', 'œ'),
  ...spread('p', 'ƥ'),
  ...spread('r', 'ɍɽ'),
  ...spread('t', 'ŧƭ'),
  ...spread('th', 'þ'),
  ...spread('u', 'ʉ'),
  ...spread('y', 'ɏƴ'),
  ...spread('z', 'ƶȥ'),
  ...spread("'", '‘’‚‛′`ʹʻʼʽ‹›'),
  ...spread('"', '“”„‟«»'),
};

function spread(plain: string, others: string): Record<string, string> {
  return Object.fromEntries(Array.from(others, (other) => [other, plain]));
}

const LETTERS_ALIKE = new RegExp(`[${Object.keys(ALIKE).join('')}]`, 'gu');

/** Printable ASCII without a blank too many and without the grave accent, which is a quote. */
const PLAIN = /^(?:[!-_a-~]+(?: [!-_a-~]+)*)?$/;

/**
 * Text as it is searched and sorted: without case, accents, compatibility forms, characters that are not shown and
 * surplus blanks; with letters, quotes and dashes that look like plain ones as those, and ASCII digits. The beginning of a text folds to
 * a beginning of the folded text. Close to Unicode's toNFKC_Casefold without its tables: upper case turns "ß" into
 * "ss", but leaves "ẞ" to lower case.
 */
export function fold(text: string): string {
  if (PLAIN.test(text)) return text.toLowerCase();
  const bare = text.normalize('NFKD').replaceAll(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, '');
  const caseless = bare.toLowerCase().toUpperCase().toLowerCase();
  return caseless
    .replaceAll('ς', 'σ') // the one letter whose lower case depends on what follows it
    .replaceAll(LETTERS_ALIKE, (letter) => ALIKE[letter]!)
    .replaceAll(/[\p{Pd}\u2043\u2212\u02D7]/gu, '-')
    .replaceAll(/(?![0-9])\p{Nd}/gu, plainDigit)
    .replaceAll(/\s+/gu, ' ')
    .trim();
}

/** The ASCII digit for one of another script. Unicode has those ten in a row, from 0 (4.6, Decimal digits). */
function plainDigit(digit: string): string {
  const code = digit.codePointAt(0)!;
  let zero = code;
  while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero--;
  return String((code - zero) % 10);
}

/** A search term or the beginning of one: folded, at most 100 code units. */
export function searchTerm(text: string): string {
  return cut(fold(text), TERM_LENGTH);
}

/** The first `length` UTF-16 code units, or one less where that would be half a character: no database stores that. */
export function cut(text: string, length: number): string {
  return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '');
}

/** A character of the scripts that are written without blanks, or with few. Of Hangul, after NFKD, the first of a syllable. */
const UNSPACED =
  '[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}\\u1100-\\u115E]';
const PLACE = new RegExp(`(?<![\\p{L}\\p{N}])[\\p{L}\\p{N}]|(?<![^ ])[^ ]|${UNSPACED}`, 'gu');
const IS_UNSPACED = new RegExp(UNSPACED, 'u');

/** Whether a text has characters of a script that is written without blanks. */
export function isUnspaced(text: string): boolean {
  return IS_UNSPACED.test(text.normalize('NFKD'));
}

/**
 * The terms that find a text: what follows each place where a word begins, up to the next blank. Words begin behind
 * blanks, hyphens, apostrophes and other signs, and at each character of scripts without blanks; a word with hyphens or
 * apostrophes is found without them as well. At most three for each of `placesMax` places.
 */
export function wordTerms(text: string, placesMax: number = PLACES_MAX): string[] {
  const folded = fold(text);
  const terms = new Set<string>();
  let places = 0;
  for (const { index } of folded.matchAll(PLACE)) {
    if (++places > placesMax) break;
    const blank = folded.indexOf(' ', index);
    const word = folded.slice(index, blank < 0 ? undefined : blank);
    terms.add(cut(word, TERM_LENGTH));
    if (index > 0 && folded[index - 1] !== ' ') continue;
    for (const variant of [word.replace(LEADING, ''), word.replaceAll(/(?<=\p{L})['-](?=\p{L})/gu, '')]) {
      if (variant !== '') terms.add(cut(variant, TERM_LENGTH));
    }
  }
  return [...terms];
}

/** What people put around a word. */
const LEADING = /^["'([{<,;:!?]+/;
const TRAILING = /["')\]}>,;:!?]+$/;

/**
 * The words of a folded query, of which each must begin a term: without the commas, quotes and brackets around them,
 * and without those that another one begins with. The longest first, since fewest terms begin with them.
 */
export function queryWords(folded: string): string[] {
  const words = folded
    .split(' ')
    .map((word) => word.replace(LEADING, '').replace(TRAILING, '') || word)
    .filter((word) => word !== '')
    .toSorted((a, b) => b.length - a.length);
  return words
    .filter((word, i) => !words.slice(0, i).some((longer) => longer.startsWith(word)))
    .slice(0, QUERY_WORDS_MAX);
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

/** The text as HTML shows it, in an element or between the quotes of an attribute. */
export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
