import { randomUUID } from 'node:crypto';
import { CLOCKS_DIFFER_MS, systemClock } from './clock.ts';

/** Twelve bits, which follow the time in an id. */
const COUNTER_MAX = 0xfff;

/** A counter begins in its lower half, so that a millisecond has room for at least as many ids. */
const COUNTER_START_MASK = 0x7ff;

let lastMs = 0;
let counter = 0;

/**
 * A new id: a UUID of version 7 (RFC 9562), of the time in milliseconds, a counter of 12 bits and 62 random bits.
 * Ids sort in the order in which a process made them: within a millisecond they count up from a random number
 * (section 6.2, method 1), and they borrow from the next if it has too many. So do those that are made while the
 * clock is set back by up to CLOCKS_DIFFER_MS. Ids of two processes sort by their clocks.
 */
export function newId(): string {
  const random = randomUUID();
  const nowMs = systemClock.now();
  if (nowMs > lastMs || nowMs < lastMs - CLOCKS_DIFFER_MS) {
    lastMs = nowMs;
    counter = Number.parseInt(random.slice(0, 3), 16) & COUNTER_START_MASK;
  } else if (counter < COUNTER_MAX) {
    counter += 1;
  } else {
    lastMs += 1;
    counter = 0;
  }
  const time = lastMs.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counter.toString(16).padStart(3, '0')}-${random.slice(19)}`;
}
