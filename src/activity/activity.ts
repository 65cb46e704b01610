import { type Caller, permissionMissing } from '../kernel/access.ts';
import { Notification } from '../budget/notification.ts';
import type { App } from '../app.ts';
import { Budget, type Charge } from '../budget/budget.ts';
import { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import { payerOf } from '../budget/payer.ts';
import { type ResponseFormat, runIdempotently } from '../storage/idempotency.ts';
import type { LogPosition, LogView } from '../storage/dialect.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { Failure } from '../kernel/failure.ts';
import { mapInSlices, mayTakeLong, type Page, type PageRequest, pageSizeOf, pageTokens } from '../storage/pages.ts';
import type { Revocations } from '../identity/revocations/revocations.ts';
import { WakeQueue } from '../budget/wake-queue.ts';
import { isBeyondEnd, readCursor, readPlace, writeCursor, writePlace, writeProgressCursor } from './log/cursor.ts';
import {
  type ActivityFilter,
  type ActivityRow,
  comparePositions,
  isInView,
  positionOf,
  selectActivityPage,
} from './log/store.ts';
import { BATCH, SMALL_BATCH, type Tail } from './log/tail.ts';
import type { RecordStreamApp } from './record-stream.ts';
import { type AskedActivity, recordMessages } from './recording.ts';
import { WatchLags } from './watch-lags.ts';

export interface ActivityApp extends App, Omit<RecordStreamApp, 'revocations'> {
  readonly tail: Tail;
  readonly revocations: Revocations;
  /** Wakes watches a few at a time. */
  readonly wakes: WakeQueue;
  /** Limits how many watches read the database at once. */
  readonly watchReads: ConcurrencyLimiter;
  /** Bytes of rows that were read for watches and have not been sent yet. */
  readonly watchBytes: Budget;
  /** Which watches are behind the end of the log. */
  readonly watchLags: WatchLags;
  /** The longest time between two messages of a watch, milliseconds: without activity, it sends its progress. Callers of streams are read again as often. */
  readonly progressMs: number;
  /** How long a reader may take to receive one message before the watch fails, milliseconds. */
  readonly stallMs: number;
  /** What readers are timed by. */
  readonly connectionClock: Clock;
}

/** An activity as the contract shows it; times in milliseconds since 1970. */
export interface Activity {
  readonly id: string;
  /** Null for what concerns no user. */
  readonly userId: string | null;
  readonly actorId: string | null;
  /** The session or API key of the actor; null also if the reader may not see it. */
  readonly actorSessionId: string | null;
  readonly action: string;
  readonly details: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly eventMs: number;
  readonly recordMs: number;
}

/**
 * Records all of the activities or none; those whose id was recorded before are left as they are.
 * Throws user_not_found, action_reserved, activity_id_taken, request_id_reused.
 */
export async function recordActivities<Response>(
  app: ActivityApp,
  caller: Caller,
  activities: readonly AskedActivity[],
  requestId: string,
  format: ResponseFormat<readonly Activity[], Response>,
): Promise<Response> {
  return app.database.transaction((tx) =>
    runIdempotently(tx, app, { callerId: caller.userId, requestId, input: activities }, format, async () => {
      const [recorded] = await recordMessages(tx, app, caller, [activities]);
      if (recorded!.refusal !== undefined) throw recorded!.refusal;
      return recorded!.rows.map((row) => shownTo(caller, row));
    }),
  );
}

export interface ActivityListRequest extends PageRequest {
  /** Undefined: everybody's. */
  readonly userId: string | undefined;
  readonly actionPrefixes: readonly string[];
  readonly startMs: number | undefined;
  readonly endMs: number | undefined;
}

export interface ActivityPage extends Omit<Page<Activity>, 'total'> {
  /** On the first page: the cursor from which a watch sends everything that no page holds. '' on other pages. */
  readonly watchCursor: string;
}

/**
 * A page of activities, newest first. All pages of a list show the log as it was when the first page
 * was read; a watch sends what is recorded later. Throws page_token_invalid.
 */
export async function listActivities(
  app: Pick<ActivityApp, 'database' | 'keyring'>,
  caller: Caller,
  request: ActivityListRequest,
): Promise<ActivityPage> {
  const { startMs, endMs } = request;
  const filter = { ...filterFor(caller, request), startMs, endMs };
  const tokens = pageTokens<[place: string]>(app.keyring, 'activity', caller.userId, filter);
  const key = tokens.read(request.pageToken);
  const { db, longReads, dialect } = app.database;
  const { before, view } = key ? readPlace(key[0]) : { before: undefined, view: await dialect.viewOfLog(db) };
  const isLong = mayTakeLong({ ...request, query: request.actionPrefixes.join() });
  const reading = { db: isLong ? longReads : db, dialect };
  const { rows, resumeBefore } = await selectActivityPage(reading, filter, view, before, pageSizeOf(request));
  return {
    items: await mapInSlices(rows, (row) => shownTo(caller, row)),
    nextPageToken: tokens.write(resumeBefore && [writePlace(resumeBefore, view)]),
    watchCursor: key === undefined ? writeProgressCursor(app.keyring, view) : '',
  };
}

export interface ActivityWatchRequest {
  /** Undefined: everybody's. */
  readonly userId: string | undefined;
  /** '' to start with what is recorded from now on. */
  readonly afterCursor: string;
  readonly actionPrefixes: readonly string[];
}

/** One message of a watch: an activity, or the position that the watch has reached. */
export interface WatchMessage {
  readonly activity: Activity | undefined;
  readonly cursor: string;
  /** Whether everything recorded before the watch began has been sent; false beside an activity. */
  readonly isCaughtUp: boolean;
}

/** The parts of the app that a watch uses. */
export type WatchApp = Omit<
  ActivityApp,
  Exclude<keyof App, 'database' | 'keyring'> | 'recordWrites' | 'recordBytes' | 'recordIdleMs'
>;

/** The most that the rows of a batch take, except for the last one, bytes: two for each UTF-16 code unit. */
const BATCH_BYTES = 2 * BATCH.textMax;

/**
 * Sends a first message at once, then every activity after the cursor in the
 * order of the log, exactly once. Ends when `signal` is aborted.
 *
 * Subscribes before it reads, so that activity recorded in between wakes it. Cleans up on
 * `signal`: if a reader disconnects while it receives nothing, the generator is never resumed.
 *
 * While a reader receives nothing, the watch holds one message for it and, if it lags behind the
 * log and the budget allows, a batch of rows.
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
  const notification = new Notification(signal, app.wakes, payer);
  app.watchLags.fallBehind(notification); // until it has begun
  notification.onAbort(() => app.watchLags.catchUp(notification));
  const notifyOfAppend = () => {
    app.watchLags.fallBehind(notification);
    notification.notify();
  };
  notification.onAbort(app.tail.subscribe(request.userId, notifyOfAppend));
  let isCallerStale = false;
  notification.onAbort(
    app.revocations.subscribe(caller.userId, () => {
      isCallerStale = true;
      notification.notify();
    }),
  );
  // A session that ended, or a user who changed, before the subscription has woken nobody.
  if (app.revocations.hasEnded(caller.sessionId) || app.revocations.hasChanged(caller.userId)) isCallerStale = true;
  const query = <T>(read: () => Promise<T>): Promise<T> => app.watchReads.run(payer, read, signal);
  let batch: Charge | undefined;
  notification.onAbort(() => batch?.release());
  const { after, goal } = await query(() => startOf(app, request.afterCursor));
  let position = after.end;
  /** The rows beyond the end of the cursor that were sent or listed before. */
  let seen = isBeyondEnd(after) ? after : undefined;
  let reader = caller;
  const isCaughtUp = () => goal === undefined || comparePositions(position, goal) >= 0;
  const progress = (): WatchMessage => {
    const cursor = writeProgressCursor(app.keyring, seen === undefined ? position : { ...seen, end: position });
    return { activity: undefined, cursor, isCaughtUp: isCaughtUp() };
  };
  let hasSaidSo = isCaughtUp();
  yield* yieldBeforeStall(app, progress());
  let sentMs = systemClock.monotonic();
  let checkedMs = sentMs;

  while (!signal.aborted) {
    notification.reset();
    // No notification says that a session has expired, and a watch of all users may never be idle.
    if (isCallerStale || systemClock.monotonic() - checkedMs >= app.progressMs) {
      isCallerStale = false;
      checkedMs = systemClock.monotonic();
      reader = await query(() => requireStillAllowed(app, caller, request.userId));
      if (signal.aborted) return;
    }
    let part = app.tail.readRecent(filter, position);
    if (part === undefined) {
      batch = app.watchBytes.tryCharge(payer, BATCH_BYTES);
      const limits = batch === undefined ? SMALL_BATCH : BATCH;
      part = await query(() => app.tail.read(filter, position, limits));
    }
    for (const row of part.rows) {
      if (seen !== undefined && isInView(seen, row)) continue;
      const cursor = cursorOf(app, row, seen);
      yield* yieldBeforeStall(app, { activity: shownTo(reader, row), cursor, isCaughtUp: false });
      sentMs = systemClock.monotonic();
    }
    batch?.release();
    const isBehind = part.rows.length > 0 || comparePositions(position, part.position) < 0;
    position = part.position;
    if (seen !== undefined && comparePositions(position, seen.newest) >= 0) seen = undefined;
    const silentMs = systemClock.monotonic() - sentMs;
    const isNews = !hasSaidSo && isCaughtUp();
    // Also while rows of other users remain to be read: the time of a progress message must reveal nothing about them.
    if (isNews || silentMs >= app.progressMs) {
      hasSaidSo = isCaughtUp();
      yield* yieldBeforeStall(app, progress());
      sentMs = systemClock.monotonic();
    }
    if (isBehind) continue;
    if (!notification.isNotified) app.watchLags.catchUp(notification);
    await notification.wait(Math.max(app.progressMs - silentMs, 0));
  }
}

/** Yields a message. Throws consumer_too_slow if the reader took it later than `stallMs`: messages for slow readers are not buffered. */
async function* yieldBeforeStall(
  { stallMs, connectionClock }: WatchApp,
  message: WatchMessage,
): AsyncGenerator<WatchMessage> {
  const startMs = connectionClock.monotonic();
  yield message;
  if (connectionClock.monotonic() - startMs > stallMs) {
    throw new Failure('consumer_too_slow', 'the reader stood still: watch again from the last cursor', {
      cursor: message.cursor,
    });
  }
}

/** Few at once: each may hold the rows of a batch, and other calls need the database as well. */
const READS = { running: 4, runningPerCaller: 2 };

/** Bytes of rows that wait for the readers of watches. A watch that gets no more of this budget reads a few rows at a time. */
const HELD_BYTES = { perCaller: 16 * BATCH_BYTES, total: 256 * BATCH_BYTES };

/** The limits that the watches of one process share. Each watch waits for at most one read, so `watchesMax` bounds the queue. */
export function createWatchLimits(
  watchesMax: number,
): Pick<ActivityApp, 'wakes' | 'watchReads' | 'watchBytes' | 'watchLags'> {
  const waiting = { waiting: watchesMax, waitingPerCaller: watchesMax, waitMaxMs: Number.POSITIVE_INFINITY };
  return {
    wakes: new WakeQueue(),
    watchReads: new ConcurrencyLimiter({ name: 'watch_reads', ...READS, ...waiting, taskMs: 2 }),
    watchBytes: new Budget({ name: 'watch_bytes', ...HELD_BYTES }),
    watchLags: new WatchLags(),
  };
}

/** Where a watch begins, and the position at which it has caught up; undefined if it has from the start. */
async function startOf(
  { database, keyring }: WatchApp,
  afterCursor: string,
): Promise<{ after: LogView; goal: LogPosition | undefined }> {
  const { db, dialect } = database;
  if (afterCursor === '') return { after: await dialect.viewOfLog(db), goal: undefined };
  const after = readCursor(keyring, afterCursor);
  if (await dialect.hasReached(db, after.newest)) return { after, goal: (await dialect.viewOfLog(db)).newest };
  throw new Failure(
    'cursor_expired',
    'the log was restored to before the cursor: list, and watch from the watch_cursor of the first page',
  );
}

/** The caller as they are now. */
async function requireStillAllowed(app: WatchApp, caller: Caller, userId: string | undefined): Promise<Caller> {
  const renewed = await app.renew(caller);
  if (!isOneself(caller, userId) && !renewed.permissions.has('activity.read')) {
    throw permissionMissing('activity.read');
  }
  return renewed;
}

function filterFor(
  caller: Caller,
  { userId, actionPrefixes }: Pick<ActivityListRequest, 'userId' | 'actionPrefixes'>,
): ActivityFilter {
  return { userId, withPrivate: isOneself(caller, userId), actionPrefixes };
}

/** An API key acts with its own permissions. It does not see the activities that only its owner may see. */
function isOneself(caller: Caller, userId: string | undefined): boolean {
  return caller.kind === 'session' && userId === caller.userId;
}

/** Rows at the end of the log are shared by all watchers, and so is what they are shown as, and where. */
const shown = new WeakMap<ActivityRow, Activity>();
const shownToOthers = new WeakMap<ActivityRow, Activity>();
const cursors = new WeakMap<ActivityRow, string>();

/** An activity as a caller may see it: with which session somebody else did it is told to those who may read everybody's. */
function shownTo(caller: Caller, row: ActivityRow): Activity {
  const maySee = caller.permissions.has('activity.read') || row.actor_id === caller.userId;
  if (maySee || row.actor_session_id === null) return toActivity(row);
  let activity = shownToOthers.get(row);
  if (activity === undefined) {
    activity = { ...toActivity(row), actorSessionId: null };
    shownToOthers.set(row, activity);
  }
  return activity;
}

function toActivity(row: ActivityRow): Activity {
  const known = shown.get(row);
  if (known !== undefined) return known;
  const activity: Activity = {
    id: row.id,
    userId: row.user_id,
    actorId: row.actor_id,
    actorSessionId: row.actor_session_id,
    action: row.action,
    details: row.details,
    attributes: JSON.parse(row.attributes) as Record<string, string>,
    eventMs: row.event_ms,
    recordMs: row.record_ms,
  };
  shown.set(row, activity);
  return activity;
}

function cursorOf({ keyring }: WatchApp, row: ActivityRow, seen: LogView | undefined): string {
  const position = positionOf(row);
  if (seen !== undefined && comparePositions(position, seen.newest) < 0) {
    return writeProgressCursor(keyring, { ...seen, end: position });
  }
  let cursor = cursors.get(row);
  if (cursor === undefined) {
    cursor = writeCursor(keyring, position);
    cursors.set(row, cursor);
  }
  return cursor;
}
