import { Failure } from './failure.ts';

/** How long a task waits for a mutex of writers, milliseconds: the task that holds it may wait for a slow disk. */
export const LOCK_WAIT_MAX_MS = 15_000;

interface Waiter {
  readonly resolve: () => void;
  readonly timer: NodeJS.Timeout | undefined;
}

/** One task holds it at a time; those that wait acquire it in the order in which they asked. */
class Mutex {
  #isLocked = false;
  readonly #waiters: Waiter[] = [];

  get isLocked(): boolean {
    return this.#isLocked;
  }

  /** Waits until no other task holds it. Throws server_unavailable if that takes longer than `waitMaxMs`, if that is given. */
  async acquire(waitMaxMs?: number): Promise<void> {
    if (!this.#isLocked) {
      this.#isLocked = true;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (): void => {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      reject(new Failure('server_unavailable', 'too many writes are waiting: try again'));
    };
    const waiter: Waiter = { resolve, timer: waitMaxMs === undefined ? undefined : setTimeout(giveUp, waitMaxMs) };
    this.#waiters.push(waiter);
    await promise;
  }

  release(): void {
    const next = this.#waiters.shift();
    if (next === undefined) {
      this.#isLocked = false;
      return;
    }
    clearTimeout(next.timer);
    next.resolve();
  }
}

/** Runs a task while it holds the mutex of `key`: tasks with the same key run one after the other, in order. */
export type RunExclusive = <T>(key: string, task: () => Promise<T>) => Promise<T>;

/**
 * A mutex for each key. A task that waits longer than `waitMaxMs` milliseconds, if that is given,
 * is not run: the call throws server_unavailable.
 */
export function createKeyedMutex(waitMaxMs?: number): RunExclusive {
  const mutexes = new Map<string, Mutex>();
  return async (key, task) => {
    const mutex = mutexes.get(key) ?? new Mutex();
    mutexes.set(key, mutex);
    await mutex.acquire(waitMaxMs);
    try {
      return await task();
    } finally {
      mutex.release();
      if (!mutex.isLocked) mutexes.delete(key);
    }
  };
}
