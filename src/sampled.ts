/** An answer, how long it took, and when it came, by the clock that only goes forward; milliseconds. */
export interface Sample<T> {
  readonly value: T;
  readonly tookMs: number;
  readonly atMs: number;
}

export interface SampledOptions {
  /** How long an answer is good for, milliseconds. */
  readonly keepMs: number;
  /** How long whoever asks waits at the most, milliseconds. */
  readonly waitMaxMs: number;
}

/**
 * Asks once for all who want to know: anybody may, and as often as they like. Resolves to undefined
 * when `ask` rejects or takes too long; it is never asked again while it is under way.
 */
export function sampled<T>(ask: () => Promise<T>, options: SampledOptions): () => Promise<Sample<T> | undefined> {
  const { keepMs, waitMaxMs } = options;
  let sample: Promise<Sample<T> | undefined> | undefined;
  const take = async (): Promise<Sample<T> | undefined> => {
    const startMs = performance.now();
    try {
      const value = await ask();
      const atMs = performance.now();
      return { value, tookMs: atMs - startMs, atMs };
    } catch {
      return undefined;
    } finally {
      setTimeout(() => (sample = undefined), keepMs).unref();
    }
  };
  return async () => {
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
