import { type Caller, permissionMissing } from '../access.ts';
import { Alarm } from '../alarm.ts';
import type { App } from '../app.ts';
import { Budget, type Charge } from '../budget/budget.ts';
import { FairLimiter } from '../budget/fair-limiter.ts';
import { payerOf } from '../budget/payer.ts';
import { answerOnce } from '../db/once.ts';
import type { LogPosition } from '../db/dialect.ts';
import { Failure } from '../failure.ts';
import { mapInSlices, mayTakeLong, type Page, type PageRequest, pageSizeOf, pageTokens } from '../pages.ts';
import type { Revocations } from '../sessions/revocations.ts';
import { getAccount } from '../users/accounts.ts';
import { WakeQueue } from '../wake-queue.ts';
import { readCursor, writeCursor, writeProgressCursor } from './cursor.ts';
import { appendActivities, type NewActivity, OWN_PREFIX } from './log.ts';
import { type ActivityFilter, type ActivityRow, comparePositions, positionOf, selectActivityPage } from './store.ts';
import { BATCH, SMALL_BATCH, type Tail } from './tail.ts';
import { WatchLags } from './watch-lags.ts';

export interface ActivityApp extends App {
  readonly tail: Tail;
  readonly revocations: Revocations;
  /** Wakes watches a few at a time. */
  readonly wakes: WakeQueue;
  /** The reads that watches make of the database, a few at a time. */
  readonly watchReads: FairLimiter;
  /** Bytes of rows that were read for watches and are not sent yet. */
  readonly watchBytes: Budget;
  /** Which watches are behind the end of the log. */
  readonly watchLags: WatchLags;
  /** How long a watch says nothing before it says that, milliseconds. */
  readonly progressMs: number;
  /** How long a watcher may stand still, milliseconds. */
  readonly stallMs: number;
  /** A clock that only goes forward, milliseconds. */
  readonly monotonic: () => number;
  /** The caller as they are now. Throws session_ended. */
  readonly renew: (caller: Caller) => Promise<Caller>;
}

/** An activity as the contract shows it; times in milliseconds since 1970. */
export interface Activity {
  readonly id: string;
  readonly userId: string;
  readonly actorId: string | null;
  readonly action: string;
  readonly details: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly eventMs: number;
  readonly recordMs: number;
  readonly cursor: string;
}

/** What an answer that was stored by an earlier version may lack. */
const NO_ACTIVITY: Activity = {
  id: '',
  userId: '',
  actorId: null,
  action: '',
  details: '',
  attributes: {},
  eventMs: 0,
  recordMs: 0,
  cursor: '',
};

/** Records all of the activities or none. Throws user_not_found, action_reserved, request_id_reused. */
export async function recordActivities(
  app: ActivityApp,
  caller: Caller,
  activities: readonly Omit<NewActivity, 'actorId' | 'isPrivate'>[],
  requestId: string,
): Promise<Activity[]> {
  for (const { action } of activities) {
    if (`${action}.`.startsWith(OWN_PREFIX)) {
      throw new Failure('action_reserved', `actions that begin with ${OWN_PREFIX} are Kith's own`, { action });
    }
  }
  return app.database.transaction((tx) =>
    answerOnce(
      tx,
      app,
      { callerId: caller.userId, requestId, method: 'RecordUserActivity', input: activities },
      async () => {
        for (const userId of new Set(activities.map((activity) => activity.userId))) {
          const account = await getAccount(tx, userId);
          if (account === undefined || account.user.state === 'deleted') {
            throw new Failure('user_not_found', 'no user has this id', { user_id: userId });
          }
        }
        const rows = await appendActivities(
          tx,
          app,
          activities.map((activity) => ({ ...activity, actorId: caller.userId })),
        );
        return rows.map((row) => toActivity(app, row));
      },
      (stored) => stored.map((activity) => ({ ...NO_ACTIVITY, ...activity })),
    ),
  );
}

export interface ActivityListRequest extends PageRequest {
  /** Undefined: everybody's. */
  readonly userId: string | undefined;
  readonly action: string;
  readonly startMs: number | undefined;
  readonly endMs: number | undefined;
}

/** A page of activities, newest first. Throws page_token_invalid. */
export async function listActivities(
  app: ActivityApp,
  caller: Caller,
  request: ActivityListRequest,
): Promise<Omit<Page<Activity>, 'total'>> {
  const { startMs, endMs } = request;
  const filter = { ...filterFor(caller, request), startMs, endMs };
  const tokens = pageTokens<[writer: string, seq: string]>(app.keyring, 'activity', caller.userId, filter);
  const key = tokens.read(request.pageToken);
  const before = key && { writer: Number(key[0]), seq: Number(key[1]) };
  const { db, longReads, dialect } = app.database;
  const isLong = mayTakeLong({ ...request, query: request.action });
  const page = await selectActivityPage({ db: isLong ? longReads : db, dialect }, filter, before, pageSizeOf(request));
  return {
    items: await mapInSlices(page.rows, (row) => toActivity(app, row)),
    nextPageToken: tokens.write(page.resumeBefore && [String(page.resumeBefore.writer), String(page.resumeBefore.seq)]),
  };
}

export interface ActivityWatchRequest {
  /** Undefined: everybody's. */
  readonly userId: string | undefined;
  /** '' for what is recorded from now on. */
  readonly afterCursor: string;
  readonly action: string;
}

/** One message of a watch: an activity, or word of how far the watch has got. */
export interface WatchMessage {
  readonly activity: Activity | undefined;
  readonly cursor: string;
}

/** What a watch needs. */
export type WatchApp = Omit<ActivityApp, Exclude<keyof App, 'database' | 'keyring'>>;

/** What a batch of rows takes at the most, but for its last row, bytes: two for each UTF-16 code unit. */
const BATCH_BYTES = 2 * BATCH.textMax;

/**
 * Sends a first message at once, then every activity after the cursor in the
 * order of the log, exactly once. Ends when `signal` is aborted.
 *
 * Subscribes before it reads, so that what is recorded in between wakes it. It
 * cleans up on `signal`: with a reader that leaves while standing still, a
 * generator is never resumed.
 *
 * While a reader stands still, the watch holds one message for it and, when it has fallen
 * behind, a batch of rows where there is budget for one.
 *
 * Throws cursor_invalid, cursor_expired, consumer_too_slow, session_ended,
 * permission_missing.
 */
export async function* watchActivities(
  app: WatchApp,
  caller: Caller,
  request: ActivityWatchRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage> {
  const payer = payerOf(caller, '');
  const filter = filterFor(caller, request);
  const alarm = new Alarm(signal, app.wakes, payer);
  app.watchLags.fallBehind(alarm); // until it has begun
  alarm.until(() => app.watchLags.catchUp(alarm));
  const wakeForNews = () => {
    app.watchLags.fallBehind(alarm);
    alarm.ring();
  };
  alarm.until(app.tail.subscribe(request.userId, wakeForNews));
  let isCallerStale = false;
  alarm.until(
    app.revocations.subscribe(caller.userId, () => {
      isCallerStale = true;
      alarm.ring();
    }),
  );
  // What ended or changed between the gate and here woke nobody.
  if (app.revocations.hasEnded(caller.sessionId) || app.revocations.hasChanged(caller.userId)) isCallerStale = true;
  const query = <T>(read: () => Promise<T>): Promise<T> => app.watchReads.run(payer, read, signal);
  let batch: Charge | undefined;
  alarm.until(() => batch?.release());
  let position = await query(() => startOf(app, request.afterCursor));
  yield* unhurried(app, { activity: undefined, cursor: writeProgressCursor(app.keyring, position) });
  let sentMs = performance.now();
  let checkedMs = sentMs;

  while (!signal.aborted) {
    alarm.set();
    // Nothing tells of a session whose time is over, and a watch of everybody's may never fall silent.
    if (isCallerStale || performance.now() - checkedMs >= app.progressMs) {
      isCallerStale = false;
      checkedMs = performance.now();
      await query(() => checkStillAllowed(app, caller, request.userId));
      if (signal.aborted) return;
    }
    let part = app.tail.readRecent(filter, position);
    if (part === undefined) {
      batch = app.watchBytes.tryCharge(payer, BATCH_BYTES);
      const limits = batch === undefined ? SMALL_BATCH : BATCH;
      part = await query(() => app.tail.read(filter, position, limits));
    }
    for (const row of part.rows) {
      const activity = toActivity(app, row);
      yield* unhurried(app, { activity, cursor: activity.cursor });
      sentMs = performance.now();
    }
    batch?.release();
    const isBehind = part.rows.length > 0 || comparePositions(position, part.position) < 0;
    position = part.position;
    const silentMs = performance.now() - sentMs;
    // Also while there is more to read, which others may have done: when word comes tells nothing of them.
    if (silentMs >= app.progressMs) {
      yield* unhurried(app, { activity: undefined, cursor: writeProgressCursor(app.keyring, position) });
      sentMs = performance.now();
    }
    if (isBehind) continue;
    if (!alarm.isRinging) app.watchLags.catchUp(alarm);
    await alarm.rung(Math.max(app.progressMs - silentMs, 0));
  }
}

/** Yields a message, and throws consumer_too_slow when it was taken too late: what is sent meanwhile is not kept for the reader. */
async function* unhurried({ stallMs, monotonic }: WatchApp, message: WatchMessage): AsyncGenerator<WatchMessage> {
  const startMs = monotonic();
  yield message;
  if (monotonic() - startMs > stallMs) {
    throw new Failure('consumer_too_slow', 'the reader stood still: watch again from the last cursor', {
      cursor: message.cursor,
    });
  }
}

/** Few at once: each may hold the rows of a batch, and calls that read need the database as well. */
const READS = { running: 4, runningPerCaller: 2 };

/** Bytes of rows that were read for watches and wait for their readers. Beyond it, watches that lag read a few at a time. */
const HELD_BYTES = { perCaller: 16 * BATCH_BYTES, total: 256 * BATCH_BYTES };

/** The limits that watches of one process share. Each watch waits for one read at the most, so `watchesMax` bounds those that wait. */
export function createWatchLimits(
  watchesMax: number,
): Pick<ActivityApp, 'wakes' | 'watchReads' | 'watchBytes' | 'watchLags'> {
  const waiting = { waiting: watchesMax, waitingPerCaller: watchesMax, waitMaxMs: Number.POSITIVE_INFINITY };
  return {
    wakes: new WakeQueue(),
    watchReads: new FairLimiter({ name: 'watch_reads', ...READS, ...waiting, taskMs: 2 }),
    watchBytes: new Budget({ name: 'watch_bytes', ...HELD_BYTES }),
    watchLags: new WatchLags(),
  };
}

async function startOf({ database, keyring }: WatchApp, afterCursor: string): Promise<LogPosition> {
  const { db, dialect } = database;
  if (afterCursor === '') return dialect.endOfLog(db);
  const position = readCursor(keyring, afterCursor);
  if (await dialect.hasReached(db, position)) return position;
  throw new Failure(
    'cursor_expired',
    'the log was restored to before the cursor: watch from now, and list once that has begun',
  );
}

async function checkStillAllowed(app: WatchApp, caller: Caller, userId: string | undefined): Promise<void> {
  const { permissions } = await app.renew(caller);
  if (!isOneself(caller, userId) && !permissions.has('activity.read')) {
    throw permissionMissing('activity.read');
  }
}

function filterFor(caller: Caller, { userId, action }: { userId: string | undefined; action: string }): ActivityFilter {
  return { userId, withPrivate: isOneself(caller, userId), action };
}

/** An API key is not its owner: it may what it was given permission for, and is not shown what the owner alone may see. */
function isOneself(caller: Caller, userId: string | undefined): boolean {
  return caller.kind === 'session' && userId === caller.userId;
}

/** Rows at the end of the log are shared by all watchers, and so is what they are shown as. */
const shown = new WeakMap<ActivityRow, Activity>();

function toActivity({ keyring }: Pick<App, 'keyring'>, row: ActivityRow): Activity {
  const known = shown.get(row);
  if (known !== undefined) return known;
  const activity: Activity = {
    id: row.id,
    userId: row.user_id,
    actorId: row.actor_id,
    action: row.action,
    details: row.details,
    attributes: JSON.parse(row.attributes) as Record<string, string>,
    eventMs: row.event_ms,
    recordMs: row.record_ms,
    cursor: writeCursor(keyring, positionOf(row)),
  };
  shown.set(row, activity);
  return activity;
}
