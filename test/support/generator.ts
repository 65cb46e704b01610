/** Values that look random and are the same in every run. */
export interface Generator {
  /** A whole number from 0 up to, but not including, `end`. */
  below(end: number): number;
  /** Up to `length` characters of the kinds that text goes wrong with. */
  text(length: number): string;
  /** One of them. */
  pick<T>(values: readonly T[]): T;
}

const CHARACTERS = Array.from(
  'aAbBzZ09 -_.@+%\\\'"éßẞİıǆŉΣσςΐάЙйﬁⅧ２㎏王김가が🦉😀𝄞\u0301\u0345\u200D\uFE0F\u00A0\u3000\uFFFD',
);

/** mulberry32, https://gist.github.com/tommyettinger/46a874533244883189143505d203312c */
export function generator(seed: number): Generator {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number) => Math.floor(next() * end);
  const pick = <T>(values: readonly T[]): T => values[below(values.length)] as T;
  return {
    below,
    pick,
    text: (length) => Array.from({ length: below(length + 1) }, () => pick(CHARACTERS)).join(''),
  };
}
