import type { Role } from '../access.ts';
import type { Db } from '../db/database.ts';
import { prepared } from '../db/prepared.ts';
import type { SessionTable, SigningKeyTable, UserTable } from '../db/schema.ts';

export type SessionRow = SessionTable;
export type SigningKeyRow = SigningKeyTable;

export function selectSigningKeys(db: Db): Promise<SigningKeyRow[]> {
  return db.selectFrom('signing_keys').selectAll().orderBy('create_ms', 'desc').orderBy('kid').execute();
}

export async function insertSigningKey(db: Db, row: SigningKeyRow): Promise<void> {
  await db.insertInto('signing_keys').values(row).execute();
}

export async function insertSession(db: Db, row: SessionRow): Promise<void> {
  await db.insertInto('sessions').values(row).execute();
}

/** A session beside what its user allows it. */
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
  return { session: row, userState: row.state, userEpoch: row.session_epoch, role: row.role };
}

/** Steps to the next refresh token if `counter` is the newest; whether it was. */
export async function stepSession(
  db: Db,
  id: string,
  counter: number,
  refreshed: Pick<SessionRow, 'refresh_ms' | 'expire_ms'>,
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('sessions')
    .set({ refresh_counter: counter + 1, ...refreshed })
    .where('id', '=', id)
    .where('refresh_counter', '=', counter)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

export async function endSessionRow(db: Db, id: string, nowMs: number): Promise<void> {
  await db.updateTable('sessions').set({ end_ms: nowMs }).where('id', '=', id).where('end_ms', 'is', null).execute();
}

export async function setSessionEpoch(db: Db, id: string, epoch: number): Promise<void> {
  await db.updateTable('sessions').set({ epoch }).where('id', '=', id).execute();
}

/** Removes up to `limit` sessions that nobody can refresh any more; how many there were. */
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
