import { purgeActivities } from './activity/log/purge.ts';
import type { App } from './app.ts';
import { type Clocks, watchSteps } from './kernel/clock.ts';
import { IN_FORCE_MS, purgeRevocations } from './identity/revocations/revocations.ts';
import { purgeSessions } from './identity/sessions/sessions.ts';
import { countOlderContacts, purgeContacts } from './contacts/contacts.ts';
import { purgeEnrolments } from './identity/second-factor/second-factor.ts';
import { purgeAnswers } from './storage/idempotency.ts';
import { purgeThrottles } from './identity/throttle/throttle.ts';
import { purgeUsers } from './identity/users/users.ts';

/** How many rows one step removes: others are served between two steps. */
const STEP_ROWS = 100;

/** How many contacts of an older version one step brings up to date: each may have 1,200 search terms. */
const STEP_CONTACTS = 20;

/** How much later than callers are refused things are removed, milliseconds: for undeletes under way, and clocks that differ. */
const GRACE_MS = 60_000;

/** What is purged. */
const PURGED = [
  'users',
  'contacts',
  'sessions',
  'revocations',
  'throttles',
  'second_factors',
  'activities',
  'answers',
] as const;
type Purged = (typeof PURGED)[number];

/** What this process has purged since it began, for metrics. Activities of a user who is purged count as that user. */
export interface PurgeCounts {
  readonly rows: Record<Purged, number>;
  /** When a purge went through last, milliseconds since 1970; undefined before the first one. */
  lastMs: number | undefined;
}

export function createPurgeCounts(): PurgeCounts {
  return { rows: Object.fromEntries(PURGED.map((what) => [what, 0])) as Record<Purged, number>, lastMs: undefined };
}

/** What to leave alone, and where to count. */
interface Purging {
  /** Default: nothing. */
  readonly keepsRevocations?: boolean;
  readonly signal?: AbortSignal;
  readonly counts?: PurgeCounts;
}

/**
 * Removes all that is past its time and brings up to date what an older version wrote, or what it gets to before
 * `signal` is aborted.
 */
export async function purge(present: App, { keepsRevocations, signal, counts }: Purging = {}): Promise<void> {
  const app: App = { ...present, now: () => present.now() - GRACE_MS };
  const steps = {
    users: () => purgeUsers(app, STEP_ROWS),
    contacts: () => purgeContacts(app, STEP_ROWS),
    sessions: () => purgeSessions(app, STEP_ROWS),
    revocations: async () => (keepsRevocations ? 0 : purgeRevocations(app, STEP_ROWS)),
    throttles: () => purgeThrottles(app, STEP_ROWS),
    second_factors: () => purgeEnrolments(app, STEP_ROWS),
    activities: () => purgeActivities(app, STEP_ROWS),
    answers: () => purgeAnswers(app.database.db, app.now(), STEP_ROWS),
  } satisfies Record<Purged, () => Promise<number>>;
  const repeat = async (step: () => Promise<number>, count: (rows: number) => void): Promise<void> => {
    while (signal?.aborted !== true) {
      const rows = await step();
      if (rows === 0) return;
      count(rows);
      await new Promise(setImmediate);
    }
  };
  for (const what of PURGED) await repeat(steps[what], (rows) => void (counts && (counts.rows[what] += rows)));
  await repeat(
    () => countOlderContacts(app, STEP_CONTACTS),
    () => {},
  );
  if (counts !== undefined && signal?.aborted !== true) counts.lastMs = present.now();
}

/**
 * Purges when called, with a clock in mind that may be wrong: not when it was set
 * since the last call, for who set it may find out, and revocations only when it has
 * run evenly for so long that no access token is left of what they ended. What is
 * removed does not come back when the clock is set right.
 */
export function createPurger(app: App, clocks: Clocks, counts?: PurgeCounts): (signal?: AbortSignal) => Promise<void> {
  const stepOfClock = watchSteps(clocks);
  let steadySinceMs = clocks.monotonic();
  return async (signal) => {
    if (stepOfClock() !== 0) {
      steadySinceMs = clocks.monotonic();
      return;
    }
    const keepsRevocations = clocks.monotonic() - steadySinceMs < IN_FORCE_MS;
    await purge(app, { keepsRevocations, ...(signal && { signal }), ...(counts && { counts }) });
  };
}

/** Purges now and then every `intervalMs`, until disposed. `onError` is told of a purge that failed; the next one tries again. */
export function startPurging(
  app: App,
  clocks: Clocks,
  intervalMs: number,
  onError: (error: unknown) => void,
  counts?: PurgeCounts,
): AsyncDisposable {
  const stopping = new AbortController();
  const purgeAgain = createPurger(app, clocks, counts);
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
