import { randomUUIDv7 } from 'node:crypto';
import type { App } from '../app.ts';
import type { Db } from '../db/database.ts';
import { type ActivityRow, insertActivities } from './store.ts';

/** What Kith's own actions begin with. Nobody else may record such. */
export const OWN_PREFIX = 'kith.';

/** Something to append to the log. */
export interface NewActivity {
  readonly userId: string;
  /** Null when nobody was signed in. */
  readonly actorId: string | null;
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
      id: randomUUIDv7(),
      user_id: activity.userId,
      actor_id: activity.actorId,
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

/** Appends one of Kith's own activities; `actorId` is null when nobody was signed in. */
export async function tell(
  tx: Db,
  app: Pick<App, 'database' | 'now'>,
  userId: string,
  actorId: string | null,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): Promise<void> {
  await appendActivities(tx, app, [{ userId, actorId, action, attributes }]);
}
