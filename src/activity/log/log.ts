import { randomUUIDv7 } from 'node:crypto';
import type { App } from '../../app.ts';
import type { Db } from '../../storage/database.ts';
import { type ActivityRow, insertActivities } from './store.ts';

/** What Kith's own actions begin with. Nobody else may record such. */
export const OWN_PREFIX = 'kith.';

/** Who did something. */
export interface Actor {
  readonly userId: string;
  /** The session or API key; absent for what a sign-in does before its session begins. */
  readonly sessionId?: string;
}

/** Something to append to the log. */
export interface NewActivity {
  /** A UUID that no activity has; absent for one of Kith's. */
  readonly id?: string | undefined;
  /** Null for what concerns no user. */
  readonly userId: string | null;
  /** Null when nobody was signed in. */
  readonly by: Actor | null;
  readonly action: string;
  readonly details?: string;
  readonly attributes?: Readonly<Record<string, string>>;
  /** Whether the user alone may see it. */
  readonly isPrivate?: boolean;
  /** Milliseconds since 1970; absent for now. */
  readonly eventMs?: number | undefined;
}

/**
 * Appends to the log, in the transaction of the change that is told of: both
 * happen or neither. Watchers are woken once it is committed.
 */
export async function appendActivities(
  tx: Db,
  { database, now }: Pick<App, 'database' | 'now'>,
  activities: readonly NewActivity[],
): Promise<ActivityRow[]> {
  const recordMs = now();
  const rows = await insertActivities(
    tx,
    activities.map((activity) => ({
      id: activity.id ?? randomUUIDv7(),
      user_id: activity.userId,
      actor_id: activity.by?.userId ?? null,
      actor_session_id: activity.by?.sessionId ?? null,
      action: activity.action,
      details: activity.details ?? '',
      attributes: JSON.stringify(activity.attributes ?? {}),
      private: activity.isPrivate ? 1 : 0,
      event_ms: activity.eventMs ?? recordMs,
      record_ms: recordMs,
    })),
  );
  database.willAppend(tx);
  return rows;
}

/** Appends one of Kith's own activities; `by` is null when nobody was signed in. */
export async function tell(
  tx: Db,
  app: Pick<App, 'database' | 'now'>,
  userId: string,
  by: Actor | null,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): Promise<void> {
  await appendActivities(tx, app, [{ userId, by, action, attributes }]);
}
