import { Failure } from '../failure.ts';

export interface GateLimits {
  /** How many tasks run at once. */
  readonly places: number;
  /** How many wait at the most. */
  readonly waitingMax: number;
  /** How long one that comes may expect to wait, milliseconds. */
  readonly waitMaxMs: number;
  /** What a task is believed to take before one has ended, milliseconds. */
  readonly taskMs: number;
  /** Milliseconds of any clock that does not go back. Tests set it. */
  readonly now?: () => number;
}

/** How much of a task's time goes into the mean. */
const WEIGHT = 1 / 8;

/** Lets a number of tasks run, has a number wait, first come first served, and turns the others away. */
export class Gate {
  readonly #limits: GateLimits;
  readonly #now: () => number;
  /** In the order in which they came. */
  readonly #waiting = new Set<() => void>();
  #free: number;
  #taskMs: number;

  constructor(limits: GateLimits) {
    this.#limits = limits;
    this.#now = limits.now ?? (() => performance.now());
    this.#free = limits.places;
    this.#taskMs = limits.taskMs;
  }

  /**
   * Runs a task when it is its turn. One whose signal is aborted until then gives up its
   * place and throws the signal's reason; one that runs is not interrupted.
   *
   * Throws server_busy, with `retry_after_seconds`, when too many wait or the wait would be too long.
   */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    const startMs = this.#now();
    try {
      return await task();
    } finally {
      this.#taskMs += (this.#now() - startMs - this.#taskMs) * WEIGHT;
      const [next] = this.#waiting;
      if (next) next();
      else this.#free++;
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    const { places, waitingMax, waitMaxMs } = this.#limits;
    const waitMs = ((this.#waiting.size + 1) * this.#taskMs) / places;
    if (this.#waiting.size >= waitingMax || waitMs > waitMaxMs) {
      throw new Failure('server_busy', 'too many passwords are being checked: try again later', {
        retry_after_seconds: String(Math.max(1, Math.ceil(waitMs / 1000))),
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const enter = () => {
      this.#waiting.delete(enter);
      signal?.removeEventListener('abort', leave);
      resolve();
    };
    const leave = () => {
      this.#waiting.delete(enter);
      reject(signal?.reason as Error);
    };
    this.#waiting.add(enter);
    signal?.addEventListener('abort', leave, { once: true });
    return promise;
  }
}
