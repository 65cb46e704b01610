/** Listeners that wait for news of one key, or of any key. */
export class Subscriptions {
  readonly #listeners = new Map<string | undefined, Set<() => void>>();

  /** How many subscriptions there are. */
  get size(): number {
    return this.#listeners.values().reduce((sum, listeners) => sum + listeners.size, 0);
  }

  /** Calls `listener` when `key` is notified; without a key, when any is. Returns a function that ends the subscription. */
  add(key: string | undefined, listener: () => void): () => void {
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key);
    };
  }

  /** Calls the listeners of these keys and those of any key. */
  notify(keys: Iterable<string | undefined>): void {
    for (const key of new Set([undefined, ...keys])) {
      for (const listener of this.#listeners.get(key) ?? []) listener();
    }
  }

  notifyAll(): void {
    for (const listeners of this.#listeners.values()) for (const listener of listeners) listener();
  }

  clear(): void {
    this.#listeners.clear();
  }
}
