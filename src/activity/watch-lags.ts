/**
 * Which watches have not been sent yet all that there is for them, and for how long. Takes memory for those
 * that are behind alone.
 */
export class WatchLags {
  readonly #monotonic: () => number;
  /** Since when each is behind. In this order they fell behind. */
  readonly #behind = new Map<object, number>();

  /** `monotonic` is a clock that only goes forward, milliseconds. */
  constructor(monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
  }

  /** How many watches are behind. */
  get count(): number {
    return this.#behind.size;
  }

  /** How long the watch that is furthest behind has been so, milliseconds; 0 when none is. */
  get longestMs(): number {
    for (const sinceMs of this.#behind.values()) return this.#monotonic() - sinceMs;
    return 0;
  }

  /** There is something for a watch to send. Changes nothing where it has been behind before. */
  fallBehind(watch: object): void {
    if (!this.#behind.has(watch)) this.#behind.set(watch, this.#monotonic());
  }

  /** A watch has been sent everything, or has ended. */
  catchUp(watch: object): void {
    this.#behind.delete(watch);
  }
}
