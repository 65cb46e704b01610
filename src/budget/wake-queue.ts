import { FairQueue } from './fair-queue.ts';
import type { Payer } from './payer.ts';

/**
 * How many are woken in one turn of the event loop. Each then sends a message or two,
 * some 20 to 50 us: other calls wait 2 ms for them at the most.
 */
const WOKEN_PER_TURN = 50;

/** Something that waits to be woken. */
export interface Sleeper {
  readonly payer: Payer;
  wake(): void;
}

/**
 * Wakes tasks a few in each turn of the event loop, so that one change that thousands
 * wait for does not keep other calls waiting. Callers take turns: one with thousands of
 * tasks delays its own, and not those of others.
 */
export class WakeQueue {
  readonly #perTurn: number;
  readonly #sleepers = new FairQueue<Sleeper>();
  #wokenThisTurn = 0;
  #isTurnScheduled = false;

  constructor(perTurn = WOKEN_PER_TURN) {
    this.#perTurn = perTurn;
  }

  /** How many wait to be woken. */
  get size(): number {
    return this.#sleepers.size;
  }

  /** Wakes a sleeper: at once, or in one of the next turns of the loop. Once, however often it is added until then. */
  add(sleeper: Sleeper): void {
    this.#scheduleTurn();
    if (this.#sleepers.size === 0 && this.#wokenThisTurn < this.#perTurn) {
      this.#wokenThisTurn += 1;
      return sleeper.wake();
    }
    this.#sleepers.add(sleeper.payer, sleeper);
  }

  /** Forgets a sleeper that does not wait any more. */
  remove(sleeper: Sleeper): void {
    this.#sleepers.remove(sleeper.payer, sleeper);
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
      const next = this.#sleepers.take();
      if (next === undefined) return;
      this.#wokenThisTurn += 1;
      next.wake();
    }
    this.#scheduleTurn();
  };
}
