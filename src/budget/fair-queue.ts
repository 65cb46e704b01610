import { type Link, LinkedList } from './linked-list.ts';
import { isStranger, type Payer } from './payer.ts';

/** The items of one caller, in the order in which they came. */
interface CallerQueue<T> {
  readonly payer: Payer;
  readonly order: LinkedList<T>;
  readonly links: Map<T, Link<T>>;
  /** Where the caller is in its round. */
  turn: Link<CallerQueue<T>> | undefined;
}

/** Callers that take turns; the first is the one who was served least recently. */
interface Round<T> {
  readonly order: LinkedList<CallerQueue<T>>;
  readonly queues: Map<Payer, CallerQueue<T>>;
}

/**
 * A queue for each caller, served in turn (fair queuing, RFC 970): whoever asks for much waits behind their
 * own, and not before others. Users and strangers take turns as well, so that however many addresses
 * strangers ask from, they are served every second time at the most while a user waits.
 *
 * Adding, removing and taking an item take constant time, but for the callers that `take` skips.
 */
export class FairQueue<T> {
  readonly #users: Round<T> = createRound();
  readonly #strangers: Round<T> = createRound();
  #size = 0;
  #isStrangersTurn = false;

  /** How many items wait. */
  get size(): number {
    return this.#size;
  }

  /** How many items of one caller wait. */
  sizeOf(payer: Payer): number {
    return this.#roundOf(payer).queues.get(payer)?.links.size ?? 0;
  }

  /** The position at which the next item of a caller would be served, were one added now: at most this, and 1 is next. */
  positionOfNext(payer: Payer): number {
    const round = this.#roundOf(payer);
    const others = round === this.#users ? this.#strangers : this.#users;
    const callers = round.queues.size + (round.queues.has(payer) ? 0 : 1);
    return (this.sizeOf(payer) + 1) * callers * (others.queues.size > 0 ? 2 : 1);
  }

  /** Adds an item at the end of its caller's queue. An item that is in it already stays where it is. */
  add(payer: Payer, item: T): void {
    const { queues, order } = this.#roundOf(payer);
    let queue = queues.get(payer);
    if (queue === undefined) {
      queue = { payer, order: new LinkedList(), links: new Map(), turn: undefined };
      queue.turn = order.append(queue);
      queues.set(payer, queue);
    } else if (queue.links.has(item)) return;
    queue.links.set(item, queue.order.append(item));
    this.#size += 1;
  }

  /** Removes an item. Returns whether it was there. */
  remove(payer: Payer, item: T): boolean {
    const round = this.#roundOf(payer);
    const queue = round.queues.get(payer);
    const link = queue?.links.get(item);
    if (queue === undefined || link === undefined) return false;
    this.#removeLink(round, queue, link);
    return true;
  }

  /**
   * Takes out the next item: the first of the caller who was served least recently. It skips callers that
   * `mayTake` refuses. Undefined if no item is left.
   */
  take(mayTake: (payer: Payer) => boolean = always): T | undefined {
    const [first, second] = this.#isStrangersTurn ? [this.#strangers, this.#users] : [this.#users, this.#strangers];
    const taken = this.#takeOf(first, mayTake) ?? this.#takeOf(second, mayTake);
    return taken?.value;
  }

  #takeOf(round: Round<T>, mayTake: (payer: Payer) => boolean): Link<T> | undefined {
    for (let turn = round.order.first; turn !== undefined; turn = round.order.after(turn)) {
      const queue = turn.value;
      const link = queue.order.first;
      if (link === undefined || !mayTake(queue.payer)) continue;
      round.order.remove(turn);
      queue.turn = round.order.append(queue);
      this.#removeLink(round, queue, link);
      this.#isStrangersTurn = round === this.#users;
      return link;
    }
    return undefined;
  }

  #removeLink(round: Round<T>, queue: CallerQueue<T>, link: Link<T>): void {
    queue.order.remove(link);
    queue.links.delete(link.value);
    this.#size -= 1;
    if (queue.links.size > 0) return;
    if (queue.turn !== undefined) round.order.remove(queue.turn);
    round.queues.delete(queue.payer);
  }

  #roundOf(payer: Payer): Round<T> {
    return isStranger(payer) ? this.#strangers : this.#users;
  }
}

function createRound<T>(): Round<T> {
  return { order: new LinkedList(), queues: new Map() };
}

function always(): boolean {
  return true;
}
