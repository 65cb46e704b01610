import type { Payer } from './budget/payer.ts';

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
  /** Callers with sleepers, served in the order of the map; each one's sleepers in the order in which they came. */
  readonly #callers = new Map<Payer, Set<Sleeper>>();
  #wokenThisTurn = 0;
  #isTurnScheduled = false;

  constructor(perTurn = WOKEN_PER_TURN) {
    this.#perTurn = perTurn;
  }

  /** How many wait to be woken. */
  get size(): number {
    return this.#callers.values().reduce((sum, sleepers) => sum + sleepers.size, 0);
  }

  /** Wakes a sleeper: at once, or in one of the next turns of the loop. Once, however often it is added until then. */
  add(sleeper: Sleeper): void {
    this.#scheduleTurn();
    if (this.#callers.size === 0 && this.#wokenThisTurn < this.#perTurn) {
      this.#wokenThisTurn += 1;
      return sleeper.wake();
    }
    const sleepers = this.#callers.get(sleeper.payer);
    if (sleepers === undefined) this.#callers.set(sleeper.payer, new Set([sleeper]));
    else sleepers.add(sleeper);
  }

  /** Forgets a sleeper that does not wait any more. */
  remove(sleeper: Sleeper): void {
    const sleepers = this.#callers.get(sleeper.payer);
    if (sleepers?.delete(sleeper) === true && sleepers.size === 0) this.#callers.delete(sleeper.payer);
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
      const [next] = this.#callers;
      if (next === undefined) return;
      this.#wokenThisTurn += 1;
      this.#wakeOne(...next);
    }
    this.#scheduleTurn();
  };

  #wakeOne(payer: Payer, sleepers: Set<Sleeper>): void {
    this.#callers.delete(payer);
    const [sleeper] = sleepers;
    if (sleeper === undefined) return;
    sleepers.delete(sleeper);
    if (sleepers.size > 0) this.#callers.set(payer, sleepers); // to the end of the line
    sleeper.wake();
  }
}
