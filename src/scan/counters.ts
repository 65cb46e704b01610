const COUNTERS_AT_FIRST = 1024;

/**
 * Counters of what was seen, of all messages that are being scanned: each has its own, one behind
 * the other. All scans share them, since none is interrupted by another.
 */
export let counters = new Int32Array(COUNTERS_AT_FIRST);

/** Sets so many counters from `base` on to 0, and makes room where there is none. */
export function clearCounters(base: number, count: number): void {
  const end = base + count;
  if (end > counters.length) {
    const more = new Int32Array(2 * end);
    more.set(counters);
    counters = more;
  }
  // A message has few: a loop is faster than `fill`.
  for (let i = base; i < end; i++) counters[i] = 0;
}

/** Adds one, and returns the sum. */
export function countOne(counter: number): number {
  return (counters[counter] = (counters[counter] ?? 0) + 1);
}
