import { Failure } from '../failure.ts';
import { FairQueue } from './fair-queue.ts';
import type { Payer } from './payer.ts';

interface Waiting {
  readonly begin: () => void;
  readonly timer: NodeJS.Timeout | undefined;
}

/** Things of which there are few, such as connections to a database, handed to callers in turn. */
export class FairSemaphore {
  readonly #count: number;
  readonly #perCaller: number;
  readonly #queue = new FairQueue<Waiting>();
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

  /** How many callers wait for one. */
  get waiting(): number {
    return this.#queue.size;
  }

  /**
   * Waits for one; give it back with `release`. Throws server_unavailable when that takes longer than
   * `waitMaxMs`, if that is given.
   */
  async take(payer: Payer, waitMaxMs?: number): Promise<void> {
    // Whoever comes does not overtake those who wait, unless these have all that they may have.
    if (this.#taken < this.#count && this.#mayTake(payer)) {
      this.#change(payer, 1);
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (): void => {
      this.#queue.remove(payer, waiting);
      reject(new Failure('server_unavailable', 'too much waits for the database: try again'));
    };
    const begin = (): void => {
      clearTimeout(waiting.timer);
      this.#change(payer, 1);
      resolve();
    };
    const waiting: Waiting = { begin, timer: waitMaxMs === undefined ? undefined : setTimeout(giveUp, waitMaxMs) };
    this.#queue.add(payer, waiting);
    await promise;
  }

  release(payer: Payer): void {
    this.#change(payer, -1);
    while (this.#taken < this.#count) {
      const next = this.#queue.take(this.#mayTake);
      if (next === undefined) return;
      next.begin();
    }
  }

  #change(payer: Payer, by: 1 | -1): void {
    const taken = (this.#takenBy.get(payer) ?? 0) + by;
    if (taken === 0) this.#takenBy.delete(payer);
    else this.#takenBy.set(payer, taken);
    this.#taken += by;
  }

  readonly #mayTake = (payer: Payer): boolean => (this.#takenBy.get(payer) ?? 0) < this.#perCaller;
}
