/** A moment, by two clocks. */
export interface Moment {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  moment(): Moment;
  /**
   * Milliseconds since a moment, by the clock that says more: the monotonic one may
   * stand still while a machine sleeps, and the other can be set back.
   */
  sinceMs(moment: Moment): number;
}

/** The runtime's clocks, or those that are given. */
export function createClock(
  nowMs: () => number = Date.now,
  monotonicMs: () => number = () => performance.now(),
): Clock {
  const moment = (): Moment => ({ wallMs: nowMs(), monotonicMs: monotonicMs() });
  return {
    nowMs,
    moment,
    sinceMs(then) {
      const now = moment();
      return Math.max(now.wallMs - then.wallMs, now.monotonicMs - then.monotonicMs);
    },
  };
}

/** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

/** What the signal's abort rejects, for promises that do not know of it. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
