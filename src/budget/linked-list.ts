/** A value in a LinkedList: what `remove` takes. */
export interface Link<V> {
  readonly value: V;
}

interface Node<V> extends Link<V> {
  previous: Node<V> | undefined;
  next: Node<V> | undefined;
}

/**
 * A doubly linked list. Each operation takes constant time, whatever was removed before: the first entry of a Map or
 * Set of which many were deleted takes a look at each that was (V8 keeps their places until the table is rebuilt).
 */
export class LinkedList<V> {
  #first: Node<V> | undefined;
  #last: Node<V> | undefined;

  get first(): Link<V> | undefined {
    return this.#first;
  }

  /** The link behind another that is in this list. */
  after(link: Link<V>): Link<V> | undefined {
    return (link as Node<V>).next;
  }

  /** Adds a value at the end. */
  append(value: V): Link<V> {
    const node: Node<V> = { value, previous: this.#last, next: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.next = node;
    this.#last = node;
    return node;
  }

  /** Removes a link that is in this list. */
  remove(link: Link<V>): void {
    const { previous, next } = link as Node<V>;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
  }
}
