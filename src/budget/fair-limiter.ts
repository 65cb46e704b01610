import { overBudget } from './budget.ts';
import type { Payer } from './payer.ts';

export interface FairLimits {
  /** What it limits, as refusals and metrics name it, e.g. "password_hashes". */
  readonly name: string;
  /** How many tasks run at once, and how many of one caller's. */
  readonly running: number;
  readonly runningPerCaller: number;
  /** How many wait at the most, and how many of one caller's. */
  readonly waiting: number;
  readonly waitingPerCaller: number;
  /** How long one that comes may expect to wait, milliseconds. */
  readonly waitMaxMs: number;
  /** What a task is believed to take before one has ended, milliseconds. */
  readonly taskMs: number;
  /** Milliseconds of any clock that does not go back. Tests set it. */
  readonly now?: () => number;
}

/** How much of a task's time goes into the mean. */
const WEIGHT = 1 / 8;

interface Queue {
  readonly tasks: Set<() => void>;
  running: number;
}

/**
 * A concurrency limiter with a queue for each caller, served in turn (fair queuing,
 * RFC 970): who asks for much waits behind their own tasks, and not before those of others.
 */
export class FairLimiter {
  readonly limits: FairLimits;
  readonly #now: () => number;
  /** Callers with tasks that run or wait. Those that wait are served in the order of the map. */
  readonly #queues = new Map<Payer, Queue>();
  #running = 0;
  #waiting = 0;
  #taskMs: number;
  #refusals = 0;

  constructor(limits: FairLimits) {
    this.limits = limits;
    this.#now = limits.now ?? (() => performance.now());
    this.#taskMs = limits.taskMs;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** How many tasks were refused so far. */
  get refusals(): number {
    return this.#refusals;
  }

  /**
   * Runs a task as soon as there is room for it. One whose signal is aborted until then
   * leaves the queue and throws the signal's reason; one that runs is not interrupted.
   *
   * Throws budget_exceeded when too many of the caller's wait, and server_busy when too
   * many wait or the wait would be too long, both with `retry_after_seconds`.
   */
  async run<T>(payer: Payer, task: () => Promise<T> | T, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const queue = this.#queueOf(payer);
    if (this.#hasRoomFor(queue)) this.#begin(queue);
    else await this.#wait(payer, queue, signal);
    const startMs = this.#now();
    try {
      return await task();
    } finally {
      this.#taskMs += (this.#now() - startMs - this.#taskMs) * WEIGHT;
      this.leave(payer);
    }
  }

  /**
   * Whether a task may run at once; then it counts as running until `leave` is called.
   * For tasks of which the time does not matter: it takes less than `run`.
   */
  enter(payer: Payer): boolean {
    const queue = this.#queueOf(payer);
    if (!this.#hasRoomFor(queue)) return false;
    this.#begin(queue);
    return true;
  }

  leave(payer: Payer): void {
    const queue = this.#queueOf(payer);
    queue.running -= 1;
    this.#running -= 1;
    this.#forget(payer, queue);
    if (this.#waiting > 0) this.#serveNext();
  }

  #queueOf(payer: Payer): Queue {
    let queue = this.#queues.get(payer);
    if (queue === undefined) {
      queue = { tasks: new Set(), running: 0 };
      this.#queues.set(payer, queue);
    }
    return queue;
  }

  #hasRoomFor(queue: Queue): boolean {
    return this.#running < this.limits.running && queue.running < this.limits.runningPerCaller;
  }

  #begin(queue: Queue): void {
    queue.running += 1;
    this.#running += 1;
  }

  #wait(payer: Payer, queue: Queue, signal: AbortSignal | undefined): Promise<void> {
    this.#refuseWhereFull(payer, queue);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const enter = (): void => {
      this.#leave(queue, enter);
      signal?.removeEventListener('abort', giveUp);
      this.#begin(queue);
      resolve();
    };
    const giveUp = (): void => {
      this.#leave(queue, enter);
      this.#forget(payer, queue);
      reject(signal?.reason as Error);
    };
    queue.tasks.add(enter);
    this.#waiting += 1;
    signal?.addEventListener('abort', giveUp, { once: true });
    return promise;
  }

  #refuseWhereFull(payer: Payer, queue: Queue): void {
    const { name, running, runningPerCaller, waiting, waitingPerCaller, waitMaxMs } = this.limits;
    // Others that wait are served in turn, so what a caller has queued itself is what it waits for,
    // as often as there are callers.
    const callers = Math.max(1, this.#callersWaiting() + (queue.tasks.size === 0 ? 1 : 0));
    const atOnce = Math.min(running, runningPerCaller * callers);
    const waitMs = ((queue.tasks.size + 1) * callers * this.#taskMs) / atOnce;
    const refuse = (reason: 'budget_exceeded' | 'server_busy', limit: number, why: string): never => {
      this.#refusals += 1;
      this.#forget(payer, queue);
      throw overBudget(reason, name, limit, why, waitMs / 1000);
    };
    if (queue.tasks.size >= waitingPerCaller)
      refuse('budget_exceeded', waitingPerCaller, 'too many of your calls wait');
    if (this.#waiting >= waiting) refuse('server_busy', waiting, 'too many calls wait');
    if (waitMs > waitMaxMs) refuse('server_busy', waiting, 'the wait would be too long');
  }

  #callersWaiting(): number {
    let callers = 0;
    for (const { tasks } of this.#queues.values()) if (tasks.size > 0) callers += 1;
    return callers;
  }

  #leave(queue: Queue, enter: () => void): void {
    if (queue.tasks.delete(enter)) this.#waiting -= 1;
  }

  /** Begins tasks of the caller whose turn it is, who then goes to the end of the line. */
  #serveNext(): void {
    while (this.#waiting > 0 && this.#running < this.limits.running) {
      const next = this.#nextCaller();
      if (next === undefined) return;
      const [payer, queue] = next;
      this.#queues.delete(payer);
      this.#queues.set(payer, queue);
      const [enter] = queue.tasks;
      enter?.();
    }
  }

  #nextCaller(): [Payer, Queue] | undefined {
    for (const entry of this.#queues) {
      if (entry[1].tasks.size > 0 && entry[1].running < this.limits.runningPerCaller) return entry;
    }
    return undefined;
  }

  #forget(payer: Payer, queue: Queue): void {
    if (queue.running === 0 && queue.tasks.size === 0 && this.#queues.get(payer) === queue) this.#queues.delete(payer);
  }
}
