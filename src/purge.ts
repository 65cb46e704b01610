import { purgeActivities } from './activity/purge.ts';
import type { App } from './app.ts';
import { type Clocks, watchSteps } from './clock.ts';
import { IN_FORCE_MS } from './sessions/revocations.ts';
import { purgeRevocations, purgeSessions } from './sessions/sessions.ts';
import { countOlderContacts, purgeContacts } from './contacts/contacts.ts';
import { purgeEnrolments } from './second-factor/second-factor.ts';
import { purgeAnswers } from './db/once.ts';
import { purgeThrottles } from './throttle/throttle.ts';
import { purgeUsers } from './users/users.ts';

/** How many rows one step removes: others are served between two steps. */
const STEP_ROWS = 100;

/** How many contacts of an older version one step brings up to date: each may have 1,200 search terms. */
const STEP_CONTACTS = 20;

/** How much later than callers are refused things are removed, milliseconds: for undeletes under way, and clocks that differ. */
const GRACE_MS = 60_000;

/** What to leave alone. */
interface Purging {
  /** Default: nothing. */
  readonly keepsRevocations?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Removes all that is past its time and brings up to date what an older version wrote, or what it gets to before
 * `signal` is aborted.
 */
export async function purge(present: App, { keepsRevocations, signal }: Purging = {}): Promise<void> {
  const app: App = { ...present, now: () => present.now() - GRACE_MS };
  const steps = [
    () => purgeUsers(app, STEP_ROWS),
    () => purgeContacts(app, STEP_ROWS),
    () => purgeSessions(app, STEP_ROWS),
    async () => (keepsRevocations ? 0 : purgeRevocations(app, STEP_ROWS)),
    () => purgeThrottles(app, STEP_ROWS),
    () => purgeEnrolments(app, STEP_ROWS),
    () => purgeActivities(app, STEP_ROWS),
    () => purgeAnswers(app.database.db, app.now(), STEP_ROWS),
    () => countOlderContacts(app, STEP_CONTACTS),
  ];
  for (const step of steps) {
    while (signal?.aborted !== true && (await step()) > 0) await new Promise(setImmediate);
  }
}

/**
 * Purges when called, with a clock in mind that may be wrong: not when it was set
 * since the last call, for who set it may find out, and revocations only when it has
 * run evenly for so long that no access token is left of what they ended. What is
 * removed does not come back when the clock is set right.
 */
export function createPurger(app: App, clocks: Clocks): (signal?: AbortSignal) => Promise<void> {
  const stepOfClock = watchSteps(clocks);
  let steadySinceMs = clocks.monotonic();
  return async (signal) => {
    if (stepOfClock() !== 0) {
      steadySinceMs = clocks.monotonic();
      return;
    }
    const keepsRevocations = clocks.monotonic() - steadySinceMs < IN_FORCE_MS;
    await purge(app, { keepsRevocations, ...(signal && { signal }) });
  };
}

/** Purges now and then every `intervalMs`, until disposed. `onError` is told of a purge that failed; the next one tries again. */
export function startPurging(
  app: App,
  clocks: Clocks,
  intervalMs: number,
  onError: (error: unknown) => void,
): AsyncDisposable {
  const stopping = new AbortController();
  const purgeAgain = createPurger(app, clocks);
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
