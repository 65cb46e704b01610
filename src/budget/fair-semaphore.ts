import { Failure } from '../kernel/failure.ts';
import { FairQueue } from './fair-queue.ts';
import type { Payer } from './payer.ts';

/** How a task waits. */
export interface WaitOptions {
  /** Ends the wait, which throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /** After so many milliseconds the wait throws server_unavailable. Default: never. */
  readonly maxMs?: number | undefined;
}

/** A semaphore that serves callers in turn: its permits are for what is scarce, such as connections to a database. */
export class FairSemaphore {
  readonly #count: number;
  readonly #perCaller: number;
  readonly #queue = new FairQueue<() => void>();
  readonly #inUseBy = new Map<Payer, number>();
  #inUse = 0;

  constructor(count: number, perCaller = count) {
    this.#count = count;
    this.#perCaller = perCaller;
  }

  /** How many permits are in use. */
  get inUse(): number {
    return this.#inUse;
  }

  /** The tasks that wait for a permit. */
  get queue(): Pick<FairQueue<unknown>, 'size' | 'sizeOf' | 'positionOfNext'> {
    return this.#queue;
  }

  /** Takes a permit if there is one for the caller; `release` gives it back. */
  tryAcquire(payer: Payer): boolean {
    if (this.#inUse >= this.#count || !this.#mayAcquire(payer)) return false;
    this.#inUseBy.set(payer, (this.#inUseBy.get(payer) ?? 0) + 1);
    this.#inUse += 1;
    return true;
  }

  /** As tryAcquire; if there is none for the caller, waits until it is the caller's turn. */
  async acquire(payer: Payer, { signal, maxMs }: WaitOptions = {}): Promise<void> {
    if (this.tryAcquire(payer)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const begin = (): void => {
      this.tryAcquire(payer);
      resolve();
    };
    const giveUp = (error: unknown): void => {
      this.#queue.remove(payer, begin);
      reject(error);
    };
    const abort = (): void => giveUp(signal?.reason);
    const tooLong = () => giveUp(new Failure('server_unavailable', 'too many calls wait for the database: try again'));
    this.#queue.add(payer, begin);
    signal?.addEventListener('abort', abort, { once: true });
    const timer = maxMs === undefined ? undefined : setTimeout(tooLong, maxMs);
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', abort);
      clearTimeout(timer);
    }
  }

  release(payer: Payer): void {
    const left = (this.#inUseBy.get(payer) ?? 0) - 1;
    if (left > 0) this.#inUseBy.set(payer, left);
    else this.#inUseBy.delete(payer);
    this.#inUse -= 1;
    if (this.#queue.size > 0) this.#serveNext();
  }

  #serveNext(): void {
    while (this.#inUse < this.#count) {
      const begin = this.#queue.take(this.#mayAcquire);
      if (begin === undefined) return;
      begin();
    }
  }

  readonly #mayAcquire = (payer: Payer): boolean => (this.#inUseBy.get(payer) ?? 0) < this.#perCaller;
}
