import type { App } from '../app.ts';
import { getAccount } from '../identity/users/accounts.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import { TransactionConflict, UniqueViolation } from '../storage/dialect.ts';
import { appendActivities, type NewActivity, OWN_PREFIX } from './log/log.ts';
import { type ActivityRow, selectActivities } from './log/store.ts';

/** An activity that a caller asks to record. */
export type AskedActivity = Omit<NewActivity, 'by' | 'isPrivate'>;

/** What became of the activities of one message. */
export type Recorded =
  | {
      /** In the order asked, those that were recorded before among them. */
      readonly rows: readonly ActivityRow[];
      /** How many of them were recorded now. */
      readonly recordedCount: number;
      readonly refusal?: undefined;
    }
  | { readonly refusal: Failure };

/** What recording needs. */
export type RecordingApp = Pick<App, 'database' | 'now'>;

/**
 * Records the activities of messages in the order given, in one transaction. Of each message all are recorded or none;
 * those whose id was recorded before, by an earlier message of these too, are left as they are. A message is refused
 * with user_not_found, action_reserved or activity_id_taken, which changes nothing for the others.
 */
export async function recordMessages(
  tx: Db,
  app: RecordingApp,
  caller: Caller,
  messages: readonly (readonly AskedActivity[])[],
): Promise<Recorded[]> {
  const known = await recordedBefore(tx, messages.flat());
  const userExists = createUserLookup(tx);
  const added = new Map<string, AskedActivity>();
  const fresh = new Map<AskedActivity, number>();
  const refusals: (Failure | undefined)[] = [];
  for (const activities of messages) {
    const news = findNew(activities, known, added);
    const refusal = news instanceof Failure ? news : await refusalOfUsers(news, userExists);
    refusals.push(refusal);
    if (news instanceof Failure || refusal !== undefined) continue;
    for (const activity of news) {
      fresh.set(activity, fresh.size);
      if (activity.id !== undefined) added.set(activity.id, activity);
    }
  }
  const rows = await appendOnce(
    tx,
    app,
    [...fresh.keys()].map((activity) => ({ ...activity, by: caller })),
  );
  const byId = new Map([...known.values(), ...rows].map((row) => [row.id, row]));
  return messages.map((activities, i) => {
    const refusal = refusals[i];
    if (refusal !== undefined) return { refusal };
    let recordedCount = 0;
    const ofMessage = activities.map((activity) => {
      const index = fresh.get(activity);
      if (index === undefined) return byId.get(activity.id!)!;
      recordedCount += 1;
      return rows[index]!;
    });
    return { rows: ofMessage, recordedCount };
  });
}

/** The rows whose ids the activities repeat, by id. */
async function recordedBefore(tx: Db, activities: readonly AskedActivity[]): Promise<Map<string, ActivityRow>> {
  const ids = activities.map(({ id }) => id).filter((id) => id !== undefined);
  const rows = ids.length === 0 ? [] : await selectActivities(tx, [...new Set(ids)]);
  return new Map(rows.map((row) => [row.id, row]));
}

/** The activities of a message that were neither recorded before nor come before, or why the message is refused. */
function findNew(
  activities: readonly AskedActivity[],
  known: ReadonlyMap<string, ActivityRow>,
  added: ReadonlyMap<string, AskedActivity>,
): AskedActivity[] | Failure {
  const own = new Map<string, AskedActivity>();
  const news: AskedActivity[] = [];
  for (const activity of activities) {
    const { id, action } = activity;
    if (`${action}.`.startsWith(OWN_PREFIX)) {
      return new Failure('action_reserved', `actions that begin with ${OWN_PREFIX} are Kith's own`, { action });
    }
    const before = id === undefined ? undefined : (known.get(id) ?? added.get(id) ?? own.get(id));
    if (before === undefined) {
      if (id !== undefined) own.set(id, activity);
      news.push(activity);
    } else if (!isSame(before, activity)) {
      return new Failure('activity_id_taken', 'another activity has this id: make a new one', { id: id ?? '' });
    }
  }
  return news;
}

/** Whether what is asked repeats the same activity. */
function isSame(before: ActivityRow | AskedActivity, asked: AskedActivity): boolean {
  const earlier =
    'user_id' in before
      ? {
          userId: before.user_id,
          action: before.action,
          details: before.details,
          attributes: before.attributes,
          eventMs: before.event_ms,
        }
      : { ...before, details: before.details ?? '', attributes: JSON.stringify(before.attributes ?? {}) };
  return (
    earlier.userId === asked.userId &&
    earlier.action === asked.action &&
    earlier.details === (asked.details ?? '') &&
    earlier.attributes === JSON.stringify(asked.attributes ?? {}) &&
    (asked.eventMs === undefined || earlier.eventMs === asked.eventMs)
  );
}

/** Says whether a user exists and is not deleted. Reads each user once. */
function createUserLookup(tx: Db): (userId: string) => Promise<boolean> {
  const known = new Map<string, boolean>();
  return async (userId) => {
    let exists = known.get(userId);
    if (exists === undefined) {
      const account = await getAccount(tx, userId);
      exists = account !== undefined && account.user.state !== 'deleted';
      known.set(userId, exists);
    }
    return exists;
  };
}

async function refusalOfUsers(
  activities: readonly AskedActivity[],
  userExists: (userId: string) => Promise<boolean>,
): Promise<Failure | undefined> {
  for (const userId of new Set(activities.map((activity) => activity.userId))) {
    if (userId === null || (await userExists(userId))) continue;
    return new Failure('user_not_found', 'no user has this id', { user_id: userId });
  }
  return undefined;
}

async function appendOnce(tx: Db, app: RecordingApp, activities: readonly NewActivity[]): Promise<ActivityRow[]> {
  if (activities.length === 0) return [];
  try {
    return await appendActivities(tx, app, activities);
  } catch (error) {
    // Another transaction has inserted the same id: the retry finds its row.
    throw error instanceof UniqueViolation ? new TransactionConflict('recorded meanwhile', { cause: error }) : error;
  }
}
