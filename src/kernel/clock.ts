/**
 * How far the clocks of the instances may differ, and a clock may be set back
 * without any effect, milliseconds.
 */
export const CLOCKS_DIFFER_MS = 60 * 1000;

/**
 * How long ago a moment was, by the wall clock, milliseconds. One further in the
 * future than clocks differ was noted before the clock was set back: nobody knows
 * how long ago that was, so it counts as very long, and nothing stays fresh by it.
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

/** The two clocks of a process. */
export interface Clocks {
  /** The wall clock, milliseconds since 1970. It can be set, forward and back. */
  readonly now: () => number;
  /** A clock that only goes forward, milliseconds. It may stand still while the machine sleeps. */
  readonly monotonic: () => number;
}

/** A moment by both clocks. */
export interface Moment {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

export function momentOf({ now, monotonic }: Clocks): Moment {
  return { wallMs: now(), monotonicMs: monotonic() };
}

/**
 * Milliseconds since a moment of this process, by the clock that says more: what is
 * remembered is forgotten in time although the wall clock was set back, and
 * although the other one stood still.
 */
export function sinceMs(then: Moment, clocks: Clocks): number {
  const { wallMs, monotonicMs } = momentOf(clocks);
  return Math.max(wallMs - then.wallMs, monotonicMs - then.monotonicMs);
}

/**
 * By how much the wall clock was set since it was asked last, milliseconds,
 * negative for back: how far it is from where the other clock would have brought it.
 * 0 for what clocks may differ by.
 */
export function watchSteps(clocks: Clocks): () => number {
  let last = momentOf(clocks);
  return () => {
    const present = momentOf(clocks);
    const stepMs = present.wallMs - last.wallMs - (present.monotonicMs - last.monotonicMs);
    last = present;
    return Math.abs(stepMs) > CLOCKS_DIFFER_MS ? stepMs : 0;
  };
}
