/** How long to wait between attempts. */
export interface Backoff {
  /** The most that the first wait takes, milliseconds; doubled for each further one. */
  readonly firstMs: number;
  /** The most that any wait takes, milliseconds. */
  readonly maxMs: number;
}

/**
 * The wait before the attempt that follows `failures` ones, 1 or more, milliseconds: exponential with full jitter, so that
 * callers who failed together do not come back together
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export function backoffMs({ firstMs, maxMs }: Backoff, failures: number): number {
  return Math.random() * Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
}

/** Waits, or rejects with the reason of the signal as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return untilAborted(new Promise((resolve) => setTimeout(resolve, ms)), signal);
}

/** What the promise gives, or a rejection as soon as the signal aborts. What the promise is about goes on. */
export function untilAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
