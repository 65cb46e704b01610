import type { Role } from '../../kernel/access.ts';
import type { Db } from '../../storage/database.ts';
import { prepared, preparedPost } from '../../storage/prepared.ts';
import type { UserTable } from '../../storage/schema.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    sessions: SessionRow;
  }
}

export interface SessionRow {
  id: string;
  user_id: string;
  /** The user's session_epoch when the session began. */
  epoch: number;
  /** The counter of the newest refresh token. */
  refresh_counter: number;
  /** When the newest refresh token was given. */
  refresh_ms: number;
  user_agent: string;
  address: string;
  /** What was proved to sign in, as in the claim amr, joined by commas. */
  methods: string;
  create_ms: number;
  /** When the session ends unless refreshed, at most `end_by_ms`. */
  expire_ms: number;
  /** When the session ends in any case. */
  end_by_ms: number;
  /** When the session was ended before its time. */
  end_ms: number | null;
}

export async function insertSession(db: Db, row: SessionRow): Promise<void> {
  await db.insertInto('sessions').values(row).execute();
}

/** A session with its user's role, state and epoch. */
export interface SessionState {
  readonly session: SessionRow;
  readonly userState: UserTable['state'];
  readonly userEpoch: number;
  readonly role: Role;
}

const selectSessionRow = prepared((db, id: string) =>
  db
    .selectFrom('sessions')
    .innerJoin('users', 'users.id', 'sessions.user_id')
    .selectAll('sessions')
    .select(['users.state', 'users.session_epoch', 'users.role'])
    .where('sessions.id', '=', id),
);

export async function selectSession(db: Db, id: string): Promise<SessionState | undefined> {
  const row = await selectSessionRow(db, id);
  if (row === undefined) return undefined;
  const { state, session_epoch, role, ...session } = row;
  return { session, userState: state, userEpoch: session_epoch, role };
}

/** A step of a session to its next refresh token. */
interface SessionStep extends Pick<SessionRow, 'refresh_counter' | 'refresh_ms' | 'expire_ms' | 'end_by_ms'> {
  readonly id: string;
}

/** Advances to the next refresh token, in the transaction that found that the one before is the newest. */
export const stepSession = preparedPost<SessionStep>((tx, { id, ...stepped }) =>
  tx.updateTable('sessions').set(stepped).where('id', '=', id),
);

/** Ends a session of a user if it has not ended. Returns whether it did. */
export async function endSessionRow(db: Db, userId: string, id: string, nowMs: number): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('sessions')
    .set({ end_ms: nowMs })
    .where('id', '=', id)
    .where('user_id', '=', userId)
    .where('end_ms', 'is', null)
    .where('expire_ms', '>', nowMs)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** The sessions of a user that are not over, newest first. None for a user who may not sign in. */
export function selectLiveSessions(db: Db, userId: string, nowMs: number): Promise<SessionRow[]> {
  return db
    .selectFrom('sessions')
    .innerJoin('users', 'users.id', 'sessions.user_id')
    .selectAll('sessions')
    .where('sessions.user_id', '=', userId)
    .where('sessions.end_ms', 'is', null)
    .where('sessions.expire_ms', '>', nowMs)
    .whereRef('sessions.epoch', '=', 'users.session_epoch')
    .where('users.state', '=', 'active')
    .orderBy('sessions.id', 'desc')
    .execute();
}

/** Up to `limit` sessions of a user, over or not, newest first, and older than `before`. */
export function selectSessions(
  db: Db,
  userId: string,
  before: string | undefined,
  limit: number,
): Promise<SessionRow[]> {
  let sessions = db.selectFrom('sessions').selectAll().where('user_id', '=', userId);
  if (before !== undefined) sessions = sessions.where('id', '<', before);
  return sessions.orderBy('id', 'desc').limit(limit).execute();
}

/** The addresses of up to `limit` sessions of a user, over or not, with this user agent, the newest first. */
export async function selectAddresses(db: Db, userId: string, userAgent: string, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom('sessions')
    .select('address')
    .where('user_id', '=', userId)
    .where('user_agent', '=', userAgent)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
  return rows.map(({ address }) => address);
}

/** Removes up to `limit` sessions of a user. Returns how many were removed. */
export async function deleteSessionsOf(db: Db, userId: string, limit: number): Promise<number> {
  const some = db.selectFrom('sessions').select('id').where('user_id', '=', userId).limit(limit);
  const { numDeletedRows } = await db.deleteFrom('sessions').where('id', 'in', some).executeTakeFirst();
  return Number(numDeletedRows);
}

/** Ends all sessions of a user but one, of any epoch. Returns the ids of those that had not ended. */
export async function endSessionRows(
  db: Db,
  userId: string,
  but: string | undefined,
  nowMs: number,
): Promise<string[]> {
  let ending = db
    .updateTable('sessions')
    .set({ end_ms: nowMs })
    .where('user_id', '=', userId)
    .where('end_ms', 'is', null)
    .where('expire_ms', '>', nowMs);
  if (but !== undefined) ending = ending.where('id', '!=', but);
  const ended = await ending.returning('id').execute();
  return ended.map(({ id }) => id).toSorted();
}

/** Ends these sessions. */
export async function endSessionRowsById(db: Db, ids: readonly string[], nowMs: number): Promise<void> {
  await db.updateTable('sessions').set({ end_ms: nowMs }).where('id', 'in', ids).where('end_ms', 'is', null).execute();
}

/** The role of a user who exists and is not past the purge time. */
export async function selectRole(db: Db, id: string, nowMs: number): Promise<Role | undefined> {
  const user = await db.selectFrom('users').select(['role', 'purge_ms']).where('id', '=', id).executeTakeFirst();
  return user === undefined || (user.purge_ms !== null && user.purge_ms <= nowMs) ? undefined : user.role;
}

export async function setSessionEpoch(db: Db, id: string, epoch: number): Promise<void> {
  await db.updateTable('sessions').set({ epoch }).where('id', '=', id).execute();
}

/** Removes up to `limit` sessions that cannot be refreshed any more. Returns how many were removed. */
export async function deleteExpired(db: Db, nowMs: number, limit: number): Promise<number> {
  const expired = db
    .selectFrom('sessions')
    .select('id')
    .where('expire_ms', '<=', nowMs)
    .orderBy('expire_ms')
    .limit(limit);
  const { numDeletedRows } = await db
    .deleteFrom('sessions')
    .where('id', 'in', expired)
    .where('expire_ms', '<=', nowMs) // it may be refreshed between being found and being removed
    .executeTakeFirst();
  return Number(numDeletedRows);
}
