/** `1 contact`, `2 contacts`. */
export function countOf(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}

/** The text with `1 item` and `2 items` in place of `1 item(s)` and `2 item(s)`, as the rules of the contract say it. */
export function withPlurals(text: string): string {
  return text.replaceAll(/\b(\d+) (\w+)\(s\)/g, (_, count: string, noun: string) => countOf(Number(count), noun));
}
