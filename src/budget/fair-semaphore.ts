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

/** Things of which there are few, such as connections to a database or tasks that may run, handed to callers in turn. */
export class FairSemaphore {
  readonly #count: number;
  readonly #perCaller: number;
  readonly #queue = new FairQueue<() => void>();
  readonly #takenBy = new Map<Payer, number>();
  #taken = 0;

  constructor(count: number, perCaller = count) {
    this.#count = count;
    this.#perCaller = perCaller;
  }

  /** How many are taken. */
  get taken(): number {
    return this.#taken;
  }

  /** Those that wait for one. */
  get queue(): Pick<FairQueue<unknown>, 'size' | 'sizeOf' | 'placesUntil'> {
    return this.#queue;
  }

  /** Takes one if there is one for the caller; give it back with `release`. */
  tryTake(payer: Payer): boolean {
    if (this.#taken >= this.#count || !this.#mayTake(payer)) return false;
    this.#takenBy.set(payer, (this.#takenBy.get(payer) ?? 0) + 1);
    this.#taken += 1;
    return true;
  }

  /** As tryTake, and otherwise waits for the caller's turn. */
  async take(payer: Payer, { signal, maxMs }: WaitOptions = {}): Promise<void> {
    if (this.tryTake(payer)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const begin = (): void => {
      this.tryTake(payer);
      resolve();
    };
    const giveUp = (error: unknown): void => {
      this.#queue.remove(payer, begin);
      reject(error);
    };
    const leave = (): void => giveUp(signal?.reason);
    const tooLong = () => giveUp(new Failure('server_unavailable', 'too much waits for the database: try again'));
    this.#queue.add(payer, begin);
    signal?.addEventListener('abort', leave, { once: true });
    const timer = maxMs === undefined ? undefined : setTimeout(tooLong, maxMs);
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', leave);
      clearTimeout(timer);
    }
  }

  release(payer: Payer): void {
    const left = (this.#takenBy.get(payer) ?? 0) - 1;
    if (left > 0) this.#takenBy.set(payer, left);
    else this.#takenBy.delete(payer);
    this.#taken -= 1;
    if (this.#queue.size > 0) this.#serveNext();
  }

  #serveNext(): void {
    while (this.#taken < this.#count) {
      const begin = this.#queue.take(this.#mayTake);
      if (begin === undefined) return;
      begin();
    }
  }

  readonly #mayTake = (payer: Payer): boolean => (this.#takenBy.get(payer) ?? 0) < this.#perCaller;
}
