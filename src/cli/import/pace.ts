import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../kernel/clock.ts';

/** Lets so many things a second begin, evenly; without a rate, as they come. Rejects when the signal aborts. */
export function createPace(perSecond: number | undefined, signal: AbortSignal): () => Promise<void> {
  if (perSecond === undefined) return async () => signal.throwIfAborted();
  let nextMs = systemClock.monotonic();
  return async () => {
    const nowMs = systemClock.monotonic();
    const startMs = Math.max(nextMs, nowMs);
    nextMs = startMs + 1000 / perSecond;
    await sleep(startMs - nowMs, undefined, { signal });
  };
}

/** Runs `work` for each item, at most `runningMax` at once. Rejects with the first error, when all that run have ended. */
export async function forEachOf<T>(
  items: AsyncIterable<T>,
  runningMax: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  try {
    for await (const item of items) {
      const task: Promise<void> = work(item)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => running.delete(task));
      running.add(task);
      if (running.size >= runningMax) await Promise.race(running);
      if (failures.length > 0) break;
    }
  } finally {
    await Promise.all(running);
  }
  if (failures.length > 0) throw failures[0];
}
