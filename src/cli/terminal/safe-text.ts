/** Control characters, and those that reorder the text around them (Unicode, UAX 9). */
const UNSAFE = /[\p{Cc}\p{Cs}\u061C\u200E\u200F\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu;

/**
 * A text of anybody's for one line of a terminal, without what a terminal would obey: each such character is written as in
 * JSON, so that a name can neither clear the screen nor hide what follows it.
 */
export function safeText(text: string): string {
  return text.replaceAll(UNSAFE, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\t') return '\\t';
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
