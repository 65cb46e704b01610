import { newId } from '../../kernel/id.ts';
import type { App } from '../../app.ts';
import type { Db } from '../../storage/database.ts';
import { type ActivityRow, insertActivities, type NewActivityRow, postActivities } from './store.ts';

/** The actions of Kith's own activities begin with this. Callers may not record such actions. */
export const OWN_PREFIX = 'kith.';

/** Who did something. */
export interface Actor {
  readonly userId: string;
  /** The session or API key; absent during a sign-in, before its session begins. */
  readonly sessionId?: string;
}

/** An activity to append to the log. */
export interface NewActivity {
  /** A UUID that no activity in the log has; absent to have one made. */
  readonly id?: string | undefined;
  /** The user whom the activity concerns; null for none. */
  readonly userId: string | null;
  /** Null when nobody was signed in. */
  readonly by: Actor | null;
  readonly action: string;
  readonly details?: string;
  readonly attributes?: Readonly<Record<string, string>>;
  /** Whether only that user may see the activity. */
  readonly isPrivate?: boolean;
  /** Milliseconds since 1970; absent for now. */
  readonly eventMs?: number | undefined;
}

/**
 * Appends activities to the log in the transaction of the change that they record: both are
 * committed or neither is. Watchers are woken after the commit. Returns the rows, in the order given.
 */
export async function appendActivities(
  tx: Db,
  { database, now }: Pick<App, 'database' | 'now'>,
  activities: readonly NewActivity[],
): Promise<ActivityRow[]> {
  const rows = await insertActivities(tx, toRows(activities, now()));
  database.afterCommit(tx, 'log', []);
  return rows;
}

function toRows(activities: readonly NewActivity[], recordMs: number): NewActivityRow[] {
  return activities.map((activity) => ({
    id: activity.id ?? newId(),
    user_id: activity.userId,
    actor_id: activity.by?.userId ?? null,
    actor_session_id: activity.by?.sessionId ?? null,
    action: activity.action,
    details: activity.details ?? '',
    attributes: JSON.stringify(activity.attributes ?? {}),
    private: activity.isPrivate ? 1 : 0,
    event_ms: activity.eventMs ?? recordMs,
    record_ms: recordMs,
  }));
}

/** An activity that Kith records of itself. */
export interface KithActivity extends Pick<NewActivity, 'userId' | 'by' | 'attributes' | 'isPrivate'> {
  readonly action: `${typeof OWN_PREFIX}${string}`;
}

/** Records activities of Kith's own in the transaction of the change. Without any, does nothing. */
export async function recordActivity(
  tx: Db,
  { database, now }: Pick<App, 'database' | 'now'>,
  ...activities: readonly KithActivity[]
): Promise<void> {
  if (activities.length === 0) return;
  await postActivities(tx, toRows(activities, now()));
  database.afterCommit(tx, 'log', []);
}
