import { Failure } from './failure.ts';

/** Runs tasks with the same name one after the other, in the order they came. */
export type InTurn = <T>(name: string, task: () => Promise<T>) => Promise<T>;

/** How long a task waits for those before it, milliseconds: one may wait for a disk that stands still. */
export const TURN_MAX_MS = 15_000;

/** One that waits longer than `waitMaxMs` throws server_unavailable, and is not run. */
export function createTurns(waitMaxMs = TURN_MAX_MS): InTurn {
  const last = new Map<string, Promise<unknown>>();
  return async <T>(name: string, task: () => Promise<T>): Promise<T> => {
    const before = last.get(name);
    const turn = before === undefined ? task() : afterwards(before, task, waitMaxMs);
    // Whoever comes next waits for those before this one even if this one gives up.
    const done = Promise.allSettled([before, turn]);
    last.set(name, done);
    try {
      return await turn;
    } finally {
      if (last.get(name) === done) void done.then(() => last.get(name) === done && last.delete(name));
    }
  };
}

async function afterwards<T>(before: Promise<unknown>, task: () => Promise<T>, waitMaxMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Failure('server_unavailable', 'too much waits to be done before: try again')),
    waitMaxMs,
  );
  try {
    await Promise.race([before, late]);
  } finally {
    clearTimeout(timer);
  }
  return task();
}
