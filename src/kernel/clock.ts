/**
 * How far the clocks of the instances may differ, and a clock may be set back
 * without any effect, milliseconds.
 */
export const CLOCKS_DIFFER_MS = 60 * 1000;

/**
 * How long ago a moment was, by the wall clock, milliseconds. A moment further in the
 * future than CLOCKS_DIFFER_MS was stored before the clock was set back. Its age is
 * unknown and counts as infinite, so that nothing stays fresh by it.
 */
export function ageOf(thenMs: number, nowMs: number): number {
  const ageMs = nowMs - thenMs;
  return ageMs < -CLOCKS_DIFFER_MS ? Number.POSITIVE_INFINITY : ageMs;
}

/**
 * The latest stored time to believe of those that are written at most `longestMs`
 * ahead, milliseconds since 1970: a later one was written before the clock was set back.
 */
export function latestBelievable(longestMs: number, nowMs: number): number {
  return nowMs + longestMs + CLOCKS_DIFFER_MS;
}

/** What time it is, in two readings. A server is given one. */
export interface Clock {
  /** The wall clock, milliseconds since 1970. It can be set, forward and back. */
  readonly now: () => number;
  /** A clock that only goes forward, milliseconds. It may stand still while the machine sleeps. */
  readonly monotonic: () => number;
}

/**
 * The clock of the machine: what a server is given unless a test gives it another. Code uses it directly only to
 * measure how long something took and to plan timers, which run by it whatever clock the server was given.
 */
export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** A moment by both clocks. */
export interface Moment {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

export function momentOf({ now, monotonic }: Clock): Moment {
  return { wallMs: now(), monotonicMs: monotonic() };
}

/**
 * Milliseconds since a moment of this process, by the clock that shows more. What is
 * cached thus expires in time even if the wall clock was set back or the monotonic
 * clock stood still.
 */
export function sinceMs(then: Moment, clock: Clock): number {
  const { wallMs, monotonicMs } = momentOf(clock);
  return Math.max(wallMs - then.wallMs, monotonicMs - then.monotonicMs);
}

/**
 * Returns a function that tells by how much the wall clock was set since the last call,
 * milliseconds, negative for back: its distance from the time that the monotonic clock
 * leads to. It returns 0 up to CLOCKS_DIFFER_MS.
 */
export function watchSteps(clock: Clock): () => number {
  let last = momentOf(clock);
  return () => {
    const present = momentOf(clock);
    const stepMs = present.wallMs - last.wallMs - (present.monotonicMs - last.monotonicMs);
    last = present;
    return Math.abs(stepMs) > CLOCKS_DIFFER_MS ? stepMs : 0;
  };
}
