import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../kernel/clock.ts';

/** Lets so many things a second begin, `count` at once, evenly; without a rate, as they come. Rejects when the signal aborts. */
export function createPace(perSecond: number | undefined, signal: AbortSignal): (count: number) => Promise<void> {
  if (perSecond === undefined) return async () => signal.throwIfAborted();
  let nextMs = systemClock.monotonic();
  return async (count) => {
    const nowMs = systemClock.monotonic();
    const startMs = Math.max(nextMs, nowMs);
    nextMs = startMs + (count * 1000) / perSecond;
    await sleep(startMs - nowMs, undefined, { signal });
  };
}
