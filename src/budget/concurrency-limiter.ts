import { type Clock, systemClock } from '../kernel/clock.ts';
import { overBudget } from './budget.ts';
import { FairSemaphore } from './fair-semaphore.ts';
import type { Payer } from './payer.ts';

export interface ConcurrencyLimits {
  /** What it limits, as refusals and metrics name it, e.g. "password_hashes". */
  readonly name: string;
  /** How many tasks run at once, and how many of one caller's. */
  readonly running: number;
  readonly runningPerCaller: number;
  /** How many wait at the most, and how many of one caller's. */
  readonly waiting: number;
  readonly waitingPerCaller: number;
  /** How long a new task may have to wait, as estimated, milliseconds; a longer wait is refused. */
  readonly waitMaxMs: number;
  /** The estimated duration of a task until one has ended, milliseconds. */
  readonly taskMs: number;
  /** Default: the clock of the machine. */
  readonly clock?: Pick<Clock, 'monotonic'>;
}

/** The weight of a new duration in the moving average. */
const WEIGHT = 1 / 8;

/** A concurrency limiter: it serves callers whose tasks wait in turn, and refuses tasks when too many wait. */
export class ConcurrencyLimiter {
  readonly limits: ConcurrencyLimits;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #semaphore: FairSemaphore;
  #taskMs: number;
  #refusals = 0;

  constructor(limits: ConcurrencyLimits) {
    this.limits = limits;
    this.#clock = limits.clock ?? systemClock;
    this.#semaphore = new FairSemaphore(limits.running, limits.runningPerCaller);
    this.#taskMs = limits.taskMs;
  }

  get running(): number {
    return this.#semaphore.inUse;
  }

  get waiting(): number {
    return this.#semaphore.queue.size;
  }

  /** How many tasks were refused so far. */
  get refusals(): number {
    return this.#refusals;
  }

  /**
   * Runs a task as soon as the limits allow it. A task whose signal is aborted before that
   * leaves the queue and throws the signal's reason; a task that runs is not interrupted.
   *
   * Throws budget_exceeded when too many of the caller's wait, and server_busy when too
   * many wait or the wait would be too long, both with `retry_after_seconds`.
   */
  async run<T>(payer: Payer, task: () => Promise<T> | T, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (!this.tryAcquire(payer)) {
      this.#refuseIfFull(payer);
      await this.#semaphore.acquire(payer, { signal });
    }
    const startMs = this.#clock.monotonic();
    try {
      return await task();
    } finally {
      this.#taskMs += (this.#clock.monotonic() - startMs - this.#taskMs) * WEIGHT;
      this.release(payer);
    }
  }

  /** Waits as `run` does, for a task that lasts until what is returned is called. */
  takeTurn(payer: Payer, signal?: AbortSignal): Promise<() => void> {
    const started = Promise.withResolvers<() => void>();
    const ended = Promise.withResolvers<void>();
    const task = (): Promise<void> => {
      started.resolve(ended.resolve);
      return ended.promise;
    };
    this.run(payer, task, signal).catch(started.reject);
    return started.promise;
  }

  /**
   * Whether a task may run at once. If so, it counts as running until `release` is called.
   * For tasks whose duration need not be measured: this costs less than `run`.
   */
  tryAcquire(payer: Payer): boolean {
    return this.#semaphore.tryAcquire(payer);
  }

  release(payer: Payer): void {
    this.#semaphore.release(payer);
  }

  #refuseIfFull(payer: Payer): void {
    const { name, running, runningPerCaller, waiting, waitingPerCaller, waitMaxMs } = this.limits;
    const { queue } = this.#semaphore;
    const position = queue.positionOfNext(payer);
    const callers = position / (queue.sizeOf(payer) + 1);
    const waitMs = (position * this.#taskMs) / Math.min(running, runningPerCaller * callers);
    const refuse = (reason: 'budget_exceeded' | 'server_busy', limit: number, why: string): never => {
      this.#refusals += 1;
      throw overBudget(reason, name, limit, why, waitMs / 1000);
    };
    if (queue.sizeOf(payer) >= waitingPerCaller)
      refuse('budget_exceeded', waitingPerCaller, 'too many of your calls wait');
    if (queue.size >= waiting) refuse('server_busy', waiting, 'too many calls wait');
    if (waitMs > waitMaxMs) refuse('server_busy', waiting, 'the wait would be too long');
  }
}
