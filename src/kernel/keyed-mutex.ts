import { Failure } from './failure.ts';

/** How long somebody waits to write for those before, milliseconds: one of them may wait for a disk that stands still. */
export const TURN_MAX_MS = 15_000;

interface Waiting {
  readonly resolve: () => void;
  readonly timer: NodeJS.Timeout | undefined;
}

/** Something that one task has at a time, in the order they came. */
class Lock {
  #isTaken = false;
  readonly #waiting: Waiting[] = [];

  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Waits until nobody else has it. Throws server_unavailable when that takes longer than `waitMaxMs`, if that is given. */
  async take(waitMaxMs?: number): Promise<void> {
    if (!this.#isTaken) {
      this.#isTaken = true;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      reject(new Failure('server_unavailable', 'too much waits to be written: try again'));
    };
    const waiting: Waiting = { resolve, timer: waitMaxMs === undefined ? undefined : setTimeout(giveUp, waitMaxMs) };
    this.#waiting.push(waiting);
    await promise;
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#isTaken = false;
      return;
    }
    clearTimeout(next.timer);
    next.resolve();
  }
}

/** Runs tasks with the same name one after the other, in the order they came. */
export type InTurn = <T>(name: string, task: () => Promise<T>) => Promise<T>;

/** One that waits longer than `waitMaxMs`, if that is given, throws server_unavailable, and is not run. */
export function createTurns(waitMaxMs?: number): InTurn {
  const locks = new Map<string, Lock>();
  return async (name, task) => {
    const lock = locks.get(name) ?? new Lock();
    locks.set(name, lock);
    await lock.take(waitMaxMs);
    try {
      return await task();
    } finally {
      lock.release();
      if (!lock.isTaken) locks.delete(name);
    }
  };
}
