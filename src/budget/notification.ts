import type { Payer } from './payer.ts';
import type { Waiter, WakeQueue } from './wake-queue.ts';

/**
 * Wakes the one task that waits for it. A notification that comes before the task waits is kept, so none is
 * lost: call `reset`, read what may have changed, then `wait`.
 */
export class Notification implements Waiter {
  readonly payer: Payer;
  readonly #signal: AbortSignal;
  readonly #queue: WakeQueue;
  #isNotified = false;
  #resolve: (() => void) | undefined;

  /** `payer` is the caller that the task works for. The task ends when `signal` is aborted. */
  constructor(signal: AbortSignal, queue: WakeQueue, payer: Payer) {
    this.payer = payer;
    this.#signal = signal;
    this.#queue = queue;
    signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  /** Runs `cleanUp` when the signal is aborted, at once if it is already. */
  onAbort(cleanUp: () => void): void {
    if (this.#signal.aborted) cleanUp();
    else this.#signal.addEventListener('abort', cleanUp, { once: true });
  }

  /** Whether `notify` was called since the last `reset`, or the signal is aborted. */
  get isNotified(): boolean {
    return this.#isNotified;
  }

  reset(): void {
    this.#isNotified = this.#signal.aborted;
  }

  notify(): void {
    this.#isNotified = true;
    if (this.#resolve !== undefined) this.#queue.add(this);
  }

  /** Resolves once `notify` has been called since the last `reset`, or after `ms` milliseconds, if that is given. */
  async wait(ms?: number): Promise<void> {
    if (this.#isNotified) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resolve = resolve;
    const timer = ms === undefined ? undefined : setTimeout(expire, ms, this.#queue, this);
    await promise;
    clearTimeout(timer);
  }

  /** Called by the queue. */
  wake(): void {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.();
  }

  /** The task ends at once: it does not wait in the queue. */
  #end(): void {
    this.#isNotified = true;
    this.#queue.remove(this);
    this.wake();
  }
}

/** Many waits may expire at the same time: their tasks are woken through the queue as well. */
function expire(queue: WakeQueue, notification: Notification): void {
  queue.add(notification);
}
