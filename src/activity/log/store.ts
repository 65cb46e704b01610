import type { ExpressionBuilder, Generated, Selectable, SelectQueryBuilder } from 'kysely';
import type { Database, Db } from '../../storage/database.ts';
import { preparedInsertion, preparedPosts, preparedRows } from '../../storage/prepared.ts';
import type { LogPosition, LogView } from '../../storage/dialect.ts';
import type { Schema } from '../../storage/schema.ts';
import { PAGE_TEXT_MAX, readBounded } from '../../storage/pages.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    activity: ActivityTable;
    activity_purged: ActivityPurgedTable;
  }
}

/** The log. Rows are read in the order of (writer, seq): see Dialect.endOfLog. */
interface ActivityTable {
  seq: Generated<number>;
  /** The transaction that wrote the row, where transactions run side by side; 0 elsewhere. */
  writer: Generated<number>;
  /** Unique. */
  id: string;
  /** Null for what concerns no user. */
  user_id: string | null;
  actor_id: string | null;
  /** The session or API key of the actor; null when nobody was signed in, and in rows of older versions. */
  actor_session_id: string | null;
  action: string;
  details: string;
  /** JSON. */
  attributes: string;
  /** Whether the user alone may see it. */
  private: 0 | 1;
  event_ms: number;
  record_ms: number;
}

/** One row: up to where the log has been purged. */
interface ActivityPurgedTable {
  id: 1;
  writer: number;
  seq: number;
  /** What is added to the number of a transaction to give the writer of a row: see Dialect.resumeLog. */
  base: Generated<number>;
}

export type ActivityRow = Selectable<ActivityTable>;

/** The activities to read. */
export interface ActivityFilter {
  /** Undefined: everybody's. */
  readonly userId: string | undefined;
  /** Whether to include activities that only their user may see. */
  readonly withPrivate: boolean;
  /** Actions, or their first words; none for every action. */
  readonly actionPrefixes: readonly string[];
}

/** A filter with times, milliseconds since 1970. */
export interface ActivityListFilter extends ActivityFilter {
  readonly startMs: number | undefined;
  readonly endMs: number | undefined;
}

/** The activities with these ids. */
export function selectActivities(db: Db, ids: readonly string[]): Promise<ActivityRow[]> {
  return selectByIds(db, ids.length, ...ids);
}

const selectByIds = preparedRows((db, _count: number, ...ids: readonly string[]) =>
  db.selectFrom('activity').selectAll().where('id', 'in', ids),
);

export type NewActivityRow = Omit<ActivityRow, 'seq' | 'writer'>;

/** Inserts rows in a transaction. The log keeps the order given: one statement numbers its rows one after the other. */
export const postActivities = preparedPosts<NewActivityRow>((tx, rows) => tx.insertInto('activity').values(rows));

/** As postActivities. Returns the rows as they are stored. */
export async function insertActivities(tx: Db, rows: readonly NewActivityRow[]): Promise<ActivityRow[]> {
  const positions = await insertReturning(tx, rows);
  return positions.toSorted(comparePositions).map(({ seq, writer }, i) => ({ seq, writer, ...rows[i]! }));
}

const insertReturning = preparedInsertion((tx, rows: readonly NewActivityRow[]) =>
  tx.insertInto('activity').values(rows).returning(['seq', 'writer']),
);

/**
 * Up to `limit` rows of all users after one position and up to another, in the order of the log,
 * fewer if they are large, and the position up to which they are complete.
 */
export async function selectAfter(db: Db, after: LogPosition, upTo: LogPosition, limit: number): Promise<LogPart> {
  return readPart({ rowsMax: limit, textMax: PAGE_TEXT_MAX }, upTo, after, (from) =>
    range(db.selectFrom('activity').selectAll(), from, upTo),
  );
}

/** Rows of the log, and the position up to which they are complete. */
export interface LogPart {
  readonly rows: readonly ActivityRow[];
  readonly position: LogPosition;
}

/** The most rows that one read examines for matches of a filter: more than a page holds. */
const EXAMINED_MAX = 1001;

/**
 * The rows that match a filter after one position and up to another, in the order of the log, and
 * the position up to which they are complete: before `upTo` if more rows match than `limits` allow,
 * or if many rows do not match.
 *
 * The end of the examined range is determined first, as a position. If each statement counted rows
 * anew, rows purged in between would make it skip others.
 */
export async function readLog(
  { db, dialect }: Reading,
  filter: ActivityFilter,
  after: LogPosition,
  upTo: LogPosition,
  limits: PartLimits,
): Promise<LogPart> {
  const all = rowsOf({ db, dialect }, filter.userId);
  const candidates = (from: LogPosition, end: LogPosition) => range(all, from, end);
  const lookedAt = (await nthPosition(candidates(after, upTo), EXAMINED_MAX)) ?? upTo;
  return readPart(limits, lookedAt, after, (from) =>
    accepted(db, candidates(from, lookedAt), filter).orderBy('writer').orderBy('seq'),
  );
}

/** The most rows to read, and the most that all but the last may take, in UTF-16 code units. */
export interface PartLimits {
  readonly rowsMax: number;
  readonly textMax: number;
}

async function readPart(
  { rowsMax, textMax }: PartLimits,
  upTo: LogPosition,
  after: LogPosition,
  rowsAfter: (from: LogPosition) => Rows,
): Promise<LogPart> {
  const { rows, last } = await readBounded<ActivityRow>(
    rowsMax,
    (row, count) =>
      rowsAfter(row ? positionOf(row) : after)
        .limit(count)
        .execute(),
    textMax,
  );
  return { rows, position: last ? positionOf(last) : upTo };
}

/**
 * A page of a view of the log, newest first, with fewer activities if they are large, and the
 * position below which the next page begins.
 */
export async function selectActivityPage(
  { db, dialect }: Reading,
  filter: ActivityListFilter,
  view: LogView,
  before: LogPosition | undefined,
  size: number,
): Promise<{ rows: readonly ActivityRow[]; resumeBefore: LogPosition | undefined }> {
  const all = rowsOf({ db, dialect }, filter.userId);
  const upTo = before === undefined ? view.newest : oneBefore(before);
  const lookedAt = await nthPosition(newestFirst(all.where(isBetween(BEGINNING, upTo))), EXAMINED_MAX);
  const from = lookedAt ? oneBefore(lookedAt) : BEGINNING;
  const { rows, last } = await readBounded<ActivityRow>(size, (row, count) => {
    const candidates = all.where(isBetween(from, row ? oneBefore(positionOf(row)) : upTo));
    let found = accepted(db, candidates, filter);
    if (view.running.length > 0) found = found.where('writer', 'not in', view.running);
    if (filter.startMs !== undefined) found = found.where('event_ms', '>=', filter.startMs);
    if (filter.endMs !== undefined) found = found.where('event_ms', '<', filter.endMs);
    return newestFirst(found).limit(count).execute();
  });
  return { rows, resumeBefore: last ? positionOf(last) : lookedAt };
}

/** Whether a view of the log holds a row. */
export function isInView({ end, newest, running }: LogView, row: LogPosition): boolean {
  if (comparePositions(row, end) <= 0) return true;
  return comparePositions(row, newest) <= 0 && !running.includes(row.writer);
}

export function positionOf({ writer, seq }: ActivityRow): LogPosition {
  return { writer, seq };
}

/** The position up to which the log has been purged. */
export function selectPurged(db: Db): Promise<LogPosition> {
  return db.selectFrom('activity_purged').select(['writer', 'seq']).where('id', '=', 1).executeTakeFirstOrThrow();
}

/** How far the log has come, and how far it may be read. Positions are given by `seq`, which counts all activities. */
export interface LogStatus {
  /** The newest activity; 0 before the first one. */
  readonly head: number;
  /**
   * The newest activity that watches may be sent. Before the head while a transaction is open, here or elsewhere
   * on the same server, that is older than those which wrote the rest.
   */
  readonly horizon: number;
  /** When the first activity after the horizon was recorded, milliseconds since 1970; undefined without one. */
  readonly heldSinceMs: number | undefined;
}

/** Reads two or three rows, by index. */
export async function selectLogStatus({ db, dialect }: Reading): Promise<LogStatus> {
  // The newest row is read first: an end that is read later lies behind it only if an open transaction holds it back.
  const newest = await nthPosition(newestFirst(db.selectFrom('activity').selectAll()), 1);
  const end = await dialect.endOfLog(db);
  if (newest === undefined || comparePositions(newest, end) <= 0) {
    return { head: end.seq, horizon: end.seq, heldSinceMs: undefined };
  }
  const held = await range(db.selectFrom('activity').selectAll(), end, newest).limit(1).executeTakeFirst();
  return { head: Math.max(newest.seq, end.seq), horizon: end.seq, heldSinceMs: held?.record_ms };
}

/** Removes up to `limit` of the oldest rows recorded before a time, and stores the position purged up to. Returns how many rows were removed. */
export async function deleteOldest(tx: Db, beforeMs: number, limit: number): Promise<number> {
  const old = await tx
    .selectFrom('activity')
    .selectAll()
    .where('record_ms', '<', beforeMs)
    .orderBy('record_ms')
    .limit(limit)
    .execute();
  if (old.length === 0) return 0;
  const positions = old.map(positionOf).toSorted(comparePositions);
  const purged = [await selectPurged(tx), ...positions.slice(-1)].toSorted(comparePositions).at(-1)!;
  await tx
    .deleteFrom('activity')
    .where(
      'seq',
      'in',
      old.map(({ seq }) => seq),
    )
    .execute();
  await tx.updateTable('activity_purged').set({ writer: purged.writer, seq: purged.seq }).where('id', '=', 1).execute();
  return old.length;
}

/** Removes up to `limit` rows of a user. Returns how many were removed. */
export async function deleteOfUser(db: Db, userId: string, limit: number): Promise<number> {
  const rows = db.selectFrom('activity').select('seq').where('user_id', '=', userId).limit(limit);
  const { numDeletedRows } = await db.deleteFrom('activity').where('seq', 'in', rows).executeTakeFirst();
  return Number(numDeletedRows);
}

/** Negative when `a` comes first. */
export function comparePositions(a: LogPosition, b: LogPosition): number {
  return a.writer - b.writer || a.seq - b.seq;
}

/** The parts of a database that a read uses. */
type Reading = Pick<Database, 'db' | 'dialect'>;

type Rows = SelectQueryBuilder<Schema, 'activity', ActivityRow>;

function range(rows: Rows, after: LogPosition, upTo: LogPosition): Rows {
  return rows.where(isBetween(after, upTo)).orderBy('writer').orderBy('seq');
}

/**
 * One user's rows, or all. A query planner that prefers the index of fewer columns would scan a
 * whole range of the log for one user's rows.
 */
function rowsOf({ db, dialect }: Reading, userId: string | undefined): Rows {
  if (userId === undefined) return db.selectFrom('activity').selectAll();
  const ofUsers = dialect.byIndex('activity', 'activity_user').as<'activity'>('activity') as unknown as 'activity';
  return db.selectFrom(ofUsers).selectAll().where('user_id', '=', userId);
}

/** Before every row: no writer is below 0, no number below 1. */
const BEGINNING: LogPosition = { writer: 0, seq: 0 };

function oneBefore({ writer, seq }: LogPosition): LogPosition {
  return { writer, seq: seq - 1 };
}

/**
 * After one position and up to another. If both have the same writer, as they always do in a
 * database that runs one transaction at a time, only `seq` is compared: an index may serve only the
 * first column of a tuple, so that every row would be scanned.
 */
function isBetween(after: LogPosition, upTo: LogPosition) {
  return ({ and, eb, refTuple, tuple }: ExpressionBuilder<Schema, 'activity'>) =>
    after.writer === upTo.writer
      ? and([eb('writer', '=', upTo.writer), eb('seq', '>', after.seq), eb('seq', '<=', upTo.seq)])
      : and([
          eb(refTuple('writer', 'seq'), '>', tuple(after.writer, after.seq)),
          eb(refTuple('writer', 'seq'), '<=', tuple(upTo.writer, upTo.seq)),
        ]);
}

function newestFirst(rows: Rows): Rows {
  return rows.orderBy('writer', 'desc').orderBy('seq', 'desc');
}

/** The candidates that match a filter. */
function accepted(db: Db, candidates: Rows, { withPrivate, actionPrefixes }: ActivityFilter): Rows {
  let rows = db.selectFrom(candidates.as('activity')).selectAll();
  if (!withPrivate) rows = rows.where('private', '=', 0);
  if (actionPrefixes.length > 0) {
    rows = rows.where(({ eb, or, and }) =>
      or([
        eb('action', 'in', actionPrefixes),
        // "/" follows "." in the order of bytes.
        ...actionPrefixes.map((action) => and([eb('action', '>', `${action}.`), eb('action', '<', `${action}/`)])),
      ]),
    );
  }
  return rows;
}

/** The position of the n-th of the sorted rows, or undefined if there are fewer. */
async function nthPosition(sorted: Rows, n: number): Promise<LogPosition | undefined> {
  const row = await sorted
    .limit(1)
    .offset(n - 1)
    .executeTakeFirst();
  return row && positionOf(row);
}
