import { FairQueue } from './fair-queue.ts';
import type { Payer } from './payer.ts';

/**
 * How many are woken in one turn of the event loop. Each then sends a message or two,
 * some 20 to 50 us: other calls wait 2 ms for them at the most.
 */
const WOKEN_PER_TURN = 50;

/** A task that waits to be woken. */
export interface Waiter {
  readonly payer: Payer;
  wake(): void;
}

/**
 * Wakes a few tasks in each turn of the event loop, so that a change that thousands of
 * tasks wait for does not delay other calls. It serves callers in turn: one with thousands
 * of tasks delays its own and not those of others.
 */
export class WakeQueue {
  readonly #perTurn: number;
  readonly #waiters = new FairQueue<Waiter>();
  #wokenThisTurn = 0;
  #isTurnScheduled = false;

  constructor(perTurn = WOKEN_PER_TURN) {
    this.#perTurn = perTurn;
  }

  /** How many wait to be woken. */
  get size(): number {
    return this.#waiters.size;
  }

  /** Wakes a waiter: at once, or in one of the next turns of the loop. Once, however often it is added until then. */
  add(waiter: Waiter): void {
    this.#scheduleTurn();
    if (this.#waiters.size === 0 && this.#wokenThisTurn < this.#perTurn) {
      this.#wokenThisTurn += 1;
      return waiter.wake();
    }
    this.#waiters.add(waiter.payer, waiter);
  }

  /** Removes a waiter that does not wait any more. */
  remove(waiter: Waiter): void {
    this.#waiters.remove(waiter.payer, waiter);
  }

  #scheduleTurn(): void {
    if (this.#isTurnScheduled) return;
    this.#isTurnScheduled = true;
    setImmediate(this.#takeTurn);
  }

  readonly #takeTurn = (): void => {
    this.#isTurnScheduled = false;
    this.#wokenThisTurn = 0;
    while (this.#wokenThisTurn < this.#perTurn) {
      const next = this.#waiters.take();
      if (next === undefined) return;
      this.#wokenThisTurn += 1;
      next.wake();
    }
    this.#scheduleTurn();
  };
}
