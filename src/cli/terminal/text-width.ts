const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** What terminals show in two columns: emoji, and what is wide or full width (Unicode, UAX 11), in blocks. */
const WIDE =
  /^(?:\p{Emoji_Presentation}|.+\uFE0F|[\u1100-\u115F\u2E80-\u303E\u3041-\u33FF\u3400-\u4DBF\u4E00-\u9FFF\uA000-\uA4CF\uA960-\uA97F\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF01-\uFF60\uFFE0-\uFFE6]|[\u{20000}-\u{3FFFD}])/u;
const EMPTY = /^[\p{M}\p{Cf}]+$/u;

/** How many columns of a terminal a text takes that has no control characters. */
export function textWidth(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += columnsOf(segment);
  return width;
}

/** The text in at most so many columns, with `…` in place of what is left out. */
export function fitText(text: string, columnsMax: number): string {
  if (textWidth(text) <= columnsMax) return text;
  let fitted = '';
  let width = 1; // of the ellipsis
  for (const { segment } of graphemes.segment(text)) {
    width += columnsOf(segment);
    if (width > columnsMax) break;
    fitted += segment;
  }
  return `${fitted}…`;
}

function columnsOf(grapheme: string): number {
  if (EMPTY.test(grapheme)) return 0;
  return WIDE.test(grapheme) ? 2 : 1;
}
