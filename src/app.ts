import type { Background } from './kernel/background.ts';
import type { Clock } from './kernel/clock.ts';
import type { Database } from './storage/database.ts';
import type { Keyring } from './kernel/keyring.ts';
import type { Passwords } from './identity/passwords/passwords.ts';

/** What the slices share, and the clock that they go by. Made in server/app.ts. */
export interface App extends Clock {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly passwords: Passwords;
  readonly background: Background;
  /** How long a deletion can be taken back, milliseconds. */
  readonly purgeAfterMs: number;
  /** How long an access token is good for, milliseconds. */
  readonly accessTokenTtlMs: number;
  /** How long activity is kept, milliseconds. */
  readonly activityRetentionMs: number;
}

/** The app at one moment: what a change writes in several places has one time. Make one within the transaction. */
export function atOneTime<T extends Pick<App, 'now'>>(app: T, nowMs = app.now()): T {
  return { ...app, now: () => nowMs };
}
