import { isStranger, type Payer } from './payer.ts';

/**
 * A queue for each caller, served in turn (fair queuing, RFC 970): whoever asks for much waits behind their
 * own, and not before others. Users and strangers take turns as well, so that however many addresses
 * strangers ask from, they are served every second time at the most while a user waits.
 */
export class FairQueue<T> {
  readonly #ofUsers = new Map<Payer, Set<T>>();
  readonly #ofStrangers = new Map<Payer, Set<T>>();
  #size = 0;
  #isStrangersTurn = false;

  /** How many items wait. */
  get size(): number {
    return this.#size;
  }

  /** How many items of one caller wait. */
  sizeOf(payer: Payer): number {
    return this.#queuesLike(payer).get(payer)?.size ?? 0;
  }

  /** The position at which the next item of a caller would be served, were one added now: at most this, and 1 is next. */
  positionOfNext(payer: Payer): number {
    const callers = this.#queuesLike(payer);
    const others = callers === this.#ofUsers ? this.#ofStrangers : this.#ofUsers;
    const round = callers.size + (callers.has(payer) ? 0 : 1);
    return (this.sizeOf(payer) + 1) * round * (others.size > 0 ? 2 : 1);
  }

  /** Adds an item at the end of its caller's queue. An item that is in it already stays where it is. */
  add(payer: Payer, item: T): void {
    const callers = this.#queuesLike(payer);
    const items = callers.get(payer);
    if (items === undefined) callers.set(payer, new Set([item]));
    else if (items.has(item)) return;
    else items.add(item);
    this.#size += 1;
  }

  /** Removes an item. Returns whether it was there. */
  remove(payer: Payer, item: T): boolean {
    const callers = this.#queuesLike(payer);
    const items = callers.get(payer);
    if (items?.delete(item) !== true) return false;
    if (items.size === 0) callers.delete(payer);
    this.#size -= 1;
    return true;
  }

  /**
   * Takes out the next item: the first of the caller who was served least recently. It skips callers that
   * `mayTake` refuses. Undefined if no item is left.
   */
  take(mayTake: (payer: Payer) => boolean = always): T | undefined {
    const [first, second] = this.#isStrangersTurn
      ? [this.#ofStrangers, this.#ofUsers]
      : [this.#ofUsers, this.#ofStrangers];
    const taken = this.#takeOf(first, mayTake) ?? this.#takeOf(second, mayTake);
    if (taken === undefined) return undefined;
    this.#isStrangersTurn = taken.callers === this.#ofUsers;
    this.#size -= 1;
    return taken.item;
  }

  #takeOf(
    callers: Map<Payer, Set<T>>,
    mayTake: (payer: Payer) => boolean,
  ): { readonly item: T; readonly callers: Map<Payer, Set<T>> } | undefined {
    for (const [payer, items] of callers) {
      if (!mayTake(payer)) continue;
      const [item] = items as Set<T> & [T];
      items.delete(item);
      callers.delete(payer);
      if (items.size > 0) callers.set(payer, items); // to the end of the round
      return { item, callers };
    }
    return undefined;
  }

  #queuesLike(payer: Payer): Map<Payer, Set<T>> {
    return isStranger(payer) ? this.#ofStrangers : this.#ofUsers;
  }
}

function always(): boolean {
  return true;
}
