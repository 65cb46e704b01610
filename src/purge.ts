import { purgeActivities } from './activity/purge.ts';
import type { App } from './app.ts';
import { purgeRevocations, purgeSessions } from './sessions/sessions.ts';
import { purgeContacts } from './contacts/contacts.ts';
import { purgeEnrolments } from './second-factor/second-factor.ts';
import { purgeAnswers } from './db/once.ts';
import { purgeThrottles } from './throttle/throttle.ts';
import { purgeUsers } from './users/users.ts';

/** How many rows one step removes: others are served between two steps. */
const STEP_ROWS = 100;

/** How much later than callers are refused things are removed, milliseconds: for undeletes under way, and clocks that differ. */
const GRACE_MS = 60_000;

/** Removes all that is past its time, or what it gets to before `signal` is aborted. */
export async function purge(present: App, signal?: AbortSignal): Promise<void> {
  const app: App = { ...present, now: () => present.now() - GRACE_MS };
  const steps = [
    () => purgeUsers(app, STEP_ROWS),
    () => purgeContacts(app, STEP_ROWS),
    () => purgeSessions(app, STEP_ROWS),
    () => purgeRevocations(app, STEP_ROWS),
    () => purgeThrottles(app, STEP_ROWS),
    () => purgeEnrolments(app, STEP_ROWS),
    () => purgeActivities(app, STEP_ROWS),
    () => purgeAnswers(app.database.db, app.now(), STEP_ROWS),
  ];
  for (const step of steps) {
    while (signal?.aborted !== true && (await step()) > 0) await new Promise(setImmediate);
  }
}

/** Purges now and then every `intervalMs`, until disposed. `onError` is told of a purge that failed; the next one tries again. */
export function startPurging(app: App, intervalMs: number, onError: (error: unknown) => void): AsyncDisposable {
  const stopping = new AbortController();
  let running = Promise.resolve();
  const run = (): void => {
    running = running.then(() => purge(app, stopping.signal)).catch(onError);
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
