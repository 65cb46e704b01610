import { systemClock } from './clock.ts';

/** A value, how long reading it took, and when it was read, by the monotonic clock; milliseconds. */
export interface Sample<T> {
  readonly value: T;
  readonly tookMs: number;
  readonly atMs: number;
}

export interface SampledOptions {
  /** How long a sample is given to callers, milliseconds. */
  readonly keepMs: number;
  /** How long a caller waits at most, milliseconds. */
  readonly waitMaxMs: number;
}

/**
 * Returns a function that callers may call as often as they like: they share one sample for `keepMs`.
 * It resolves to undefined if `ask` rejects or takes longer than `waitMaxMs`. `ask` is never called
 * again while it runs.
 */
export function sampled<T>(ask: () => Promise<T>, options: SampledOptions): () => Promise<Sample<T> | undefined> {
  const { keepMs, waitMaxMs } = options;
  let sample: Promise<Sample<T> | undefined> | undefined;
  /** The result of `sample` once it has settled. */
  let settled: { readonly sample: Sample<T> | undefined } | undefined;
  const take = async (): Promise<Sample<T> | undefined> => {
    const startMs = systemClock.monotonic();
    let taken: Sample<T> | undefined;
    try {
      const value = await ask();
      const atMs = systemClock.monotonic();
      taken = { value, tookMs: atMs - startMs, atMs };
    } catch {
      // callers get undefined
    }
    settled = { sample: taken };
    setTimeout(() => (sample = settled = undefined), keepMs).unref();
    return taken;
  };
  return async () => {
    if (settled !== undefined) return settled.sample;
    const taken = (sample ??= take());
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(resolve, waitMaxMs);
    try {
      return await Promise.race([taken, late]);
    } finally {
      clearTimeout(timer);
    }
  };
}
