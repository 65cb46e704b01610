import type { App } from './app.ts';
import { purgeSessions } from './auth/auth.ts';
import { purgeContacts } from './contacts/contacts.ts';
import { purgeAnswers } from './db/once.ts';
import { purgeUsers } from './users/users.ts';

/** How many rows one step removes: others are served between two steps. */
const STEP_ROWS = 100;

/** Removes all that is past its time. */
export async function purge(app: App): Promise<void> {
  const steps = [
    () => purgeUsers(app, STEP_ROWS),
    () => purgeContacts(app, STEP_ROWS),
    () => purgeSessions(app, STEP_ROWS),
    () => purgeAnswers(app.database.db, app.now(), STEP_ROWS),
  ];
  for (const step of steps) {
    while ((await step()) > 0) await new Promise(setImmediate);
  }
}

/** Purges now and then every `intervalMs`, until disposed. `onError` is told of a purge that failed; the next one tries again. */
export function startPurging(app: App, intervalMs: number, onError: (error: unknown) => void): AsyncDisposable {
  let running = Promise.resolve();
  const run = (): void => {
    running = running.then(() => purge(app)).catch(onError);
  };
  run();
  const timer = setInterval(run, intervalMs).unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await running;
    },
  };
}
