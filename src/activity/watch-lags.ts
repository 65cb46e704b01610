import { type Clock, systemClock } from '../kernel/clock.ts';

/**
 * The watches that lag behind the log, and for how long. Takes memory only for watches that lag.
 */
export class WatchLags {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** When each watch fell behind, in that order. */
  readonly #behind = new Map<object, number>();

  constructor(clock: Pick<Clock, 'monotonic'> = systemClock) {
    this.#clock = clock;
  }

  /** How many watches lag. */
  get count(): number {
    return this.#behind.size;
  }

  /** For how long the watch that has lagged longest has done so, milliseconds; 0 if none does. */
  get longestMs(): number {
    for (const sinceMs of this.#behind.values()) return this.#clock.monotonic() - sinceMs;
    return 0;
  }

  /** Notes that a watch has something to send. A watch that lags already keeps its time. */
  fallBehind(watch: object): void {
    if (!this.#behind.has(watch)) this.#behind.set(watch, this.#clock.monotonic());
  }

  /** Notes that a watch has sent everything, or has ended. */
  catchUp(watch: object): void {
    this.#behind.delete(watch);
  }
}
