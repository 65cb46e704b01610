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
  /** What `sample` has come to, for those who ask often. */
  let settled: { readonly sample: Sample<T> | undefined } | undefined;
  const take = async (): Promise<Sample<T> | undefined> => {
    const startMs = performance.now();
    let taken: Sample<T> | undefined;
    try {
      const value = await ask();
      const atMs = performance.now();
      taken = { value, tookMs: atMs - startMs, atMs };
    } catch {
      // is told as undefined
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
