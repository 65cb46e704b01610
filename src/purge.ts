import type { App } from './app.ts';
import { IN_FORCE_MS } from './identity/revocations/revocations.ts';
import { watchSteps } from './kernel/clock.ts';
import { type Purge, PURGES } from './services.ts';
import { purgeResponses } from './storage/idempotency.ts';

/** How many rows one step removes: others are served between two steps. */
const STEP_ROWS = 100;

/** How many rows of an older version one step brings up to date: a contact may have 1,200 search terms. */
const STEP_UPGRADES = 20;

/** How much later than callers are refused things are removed, milliseconds: for undeletes under way, and clocks that differ. */
const GRACE_MS = 60_000;

/** What is purged, by its name in metrics: that of the slices, and the stored answers to request ids, which they share. */
const ALL: ReadonlyMap<string, Purge> = new Map([
  ...PURGES,
  ['answers', { remove: (app, rowsMax) => purgeResponses(app.database.db, app.now(), rowsMax) }],
]);

/** What this process has purged since it began, for metrics. Activities of a user who is purged count as that user. */
export interface PurgeCounts {
  readonly rows: Record<string, number>;
  /** When a purge went through last, milliseconds since 1970; undefined before the first one. */
  lastMs: number | undefined;
}

export function createPurgeCounts(): PurgeCounts {
  return { rows: Object.fromEntries([...ALL.keys()].map((what) => [what, 0])), lastMs: undefined };
}

/** What to leave alone, and where to count. */
interface Purging {
  /** Whether the clock has run evenly for long enough to remove what keeps somebody out. Default: it has. */
  readonly clockIsSteady?: boolean;
  readonly signal?: AbortSignal;
  readonly counts?: PurgeCounts;
}

/**
 * Removes all that is past its time and brings up to date what an older version wrote, or what it gets to before
 * `signal` is aborted.
 */
export async function purge(present: App, { clockIsSteady = true, signal, counts }: Purging = {}): Promise<void> {
  const app: App = { ...present, now: () => present.now() - GRACE_MS };
  const repeat = async (step: () => Promise<number>, count?: (rows: number) => void): Promise<void> => {
    while (signal?.aborted !== true) {
      const rows = await step();
      if (rows === 0) return;
      count?.(rows);
      await new Promise(setImmediate);
    }
  };
  for (const [what, { remove, needsSteadyClock }] of ALL) {
    if (!clockIsSteady && needsSteadyClock === true) continue;
    await repeat(
      () => remove(app, STEP_ROWS),
      (rows) => void (counts && (counts.rows[what] = (counts.rows[what] ?? 0) + rows)),
    );
  }
  for (const { upgrade } of ALL.values()) if (upgrade !== undefined) await repeat(() => upgrade(app, STEP_UPGRADES));
  if (counts !== undefined && signal?.aborted !== true) counts.lastMs = present.now();
}

/**
 * Purges when called, with a clock in mind that may be wrong: not when it was set
 * since the last call, for who set it may find out, and revocations only when it has
 * run evenly for so long that no access token is left of what they ended. What is
 * removed does not come back when the clock is set right.
 */
export function createPurger(app: App, counts?: PurgeCounts): (signal?: AbortSignal) => Promise<void> {
  const stepOfClock = watchSteps(app);
  let steadySinceMs = app.monotonic();
  return async (signal) => {
    if (stepOfClock() !== 0) {
      steadySinceMs = app.monotonic();
      return;
    }
    const clockIsSteady = app.monotonic() - steadySinceMs >= IN_FORCE_MS;
    await purge(app, { clockIsSteady, ...(signal && { signal }), ...(counts && { counts }) });
  };
}

/** Purges now and then every `intervalMs`, until disposed. `onError` is told of a purge that failed; the next one tries again. */
export function startPurging(
  app: App,
  intervalMs: number,
  onError: (error: unknown) => void,
  counts?: PurgeCounts,
): AsyncDisposable {
  const stopping = new AbortController();
  const purgeAgain = createPurger(app, counts);
  let running = Promise.resolve();
  const run = (): void => {
    running = running.then(() => purgeAgain(stopping.signal)).catch(onError);
  };
  run();
  const timer = setInterval(run, intervalMs).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      stopping.abort();
      await running;
    },
  };
}
