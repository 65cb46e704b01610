import { sql } from 'kysely';
import type { Db } from '../../storage/database.ts';
import { prepared } from '../../storage/prepared.ts';
import type { UserTable } from '../../storage/schema.ts';
import { FIELD_COLUMNS } from './user-fields.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    user_terms: UserTermTable;
  }
}

/** What finds a user: see termsOf. */
interface UserTermTable {
  term: string;
  user_id: string;
}

export type UserRow = UserTable;
export type StoredState = UserRow['state'];

/** The columns that the contract's User shows. Reading all columns takes half as long again. */
export const SHOWN = [
  'id',
  ...FIELD_COLUMNS,
  'create_ms',
  'update_ms',
  'delete_ms',
  'purge_ms',
  'last_sign_in_ms',
  'revision',
] as const;
export type ShownUserRow = Pick<UserRow, (typeof SHOWN)[number]>;

export const selectUser = prepared((db, id: string) => db.selectFrom('users').selectAll().where('id', '=', id));

/** The same with the columns that are shown. */
export const selectShownUser = prepared((db, id: string) => db.selectFrom('users').select(SHOWN).where('id', '=', id));

/** The user with this username or email address, given as identifierKey. */
export function selectUserByIdentifier(db: Db, key: string): Promise<UserRow | undefined> {
  const column = key.includes('@') ? 'email_key' : 'username_key';
  return db.selectFrom('users').selectAll().where(column, '=', key).executeTakeFirst();
}

/** The users of whom a unique column has one of these values, in no order. */
export function selectUsersBy(
  db: Db,
  column: 'id' | 'username_key' | 'email_key' | 'external_id',
  values: readonly string[],
): Promise<ShownUserRow[]> {
  return db.selectFrom('users').select(SHOWN).where(column, 'in', values).execute();
}

/** The same with all columns. */
export function selectUserRowsBy(
  db: Db,
  column: 'id' | 'username_key' | 'email_key' | 'external_id',
  values: readonly string[],
): Promise<UserRow[]> {
  return db.selectFrom('users').selectAll().where(column, 'in', values).execute();
}

export async function hasUsers(db: Db): Promise<boolean> {
  return (await db.selectFrom('users').select('id').limit(1).executeTakeFirst()) !== undefined;
}

export async function hasOtherActiveAdmin(db: Db, id: string): Promise<boolean> {
  const other = await db
    .selectFrom('users')
    .select('id')
    .where('role', '=', 'admin')
    .where('state', '=', 'active')
    .where('id', '!=', id)
    .limit(1)
    .executeTakeFirst();
  return other !== undefined;
}

export async function insertUser(db: Db, row: UserRow, terms: readonly string[]): Promise<void> {
  await insertUsers(db, [{ row, terms }]);
}

/** Inserts users with their search terms. */
export async function insertUsers(
  tx: Db,
  users: readonly { readonly row: UserRow; readonly terms: readonly string[] }[],
): Promise<void> {
  await tx
    .insertInto('users')
    .values(users.map(({ row }) => row))
    .execute();
  await insertTerms(
    tx,
    users.map(({ row: { id }, terms }) => ({ id, terms })),
  );
}

/** So many terms to a statement: well within the parameters that a database takes. */
const TERMS_AT_ONCE = 1000;

export async function updateUserRow(db: Db, id: string, change: Partial<UserRow>): Promise<void> {
  await db.updateTable('users').set(change).where('id', '=', id).execute();
}

export async function replaceTerms(db: Db, userId: string, terms: readonly string[]): Promise<void> {
  await db.deleteFrom('user_terms').where('user_id', '=', userId).execute();
  await insertTerms(db, [{ id: userId, terms }]);
}

async function insertTerms(
  db: Db,
  users: readonly { readonly id: string; readonly terms: readonly string[] }[],
): Promise<void> {
  const rows = users.flatMap(({ id, terms }) => [...new Set(terms)].map((term) => ({ term, user_id: id })));
  for (let start = 0; start < rows.length; start += TERMS_AT_ONCE) {
    await db
      .insertInto('user_terms')
      .values(rows.slice(start, start + TERMS_AT_ONCE))
      .execute();
  }
}

/** Up to `limit` users whom an older version wrote: search terms and name_key are not up to date. */
export function selectOutdated(db: Db, limit: number): Promise<UserRow[]> {
  // A literal, without which the databases do not use the partial index of these users.
  const outdated = db.selectFrom('users').where('search_version', '=', sql.lit(0));
  return outdated.selectAll().limit(limit).execute();
}

/** Up to `limit` users whose purge time has passed. */
export function selectPurgeable(db: Db, nowMs: number, limit: number): Promise<{ id: string }[]> {
  return db.selectFrom('users').select('id').where('purge_ms', '<=', nowMs).orderBy('purge_ms').limit(limit).execute();
}

/** Removes a user if the purge time has still passed, with everything that belongs to the user. */
export async function deletePurgeable(db: Db, id: string, nowMs: number): Promise<void> {
  await db.deleteFrom('users').where('id', '=', id).where('purge_ms', '<=', nowMs).execute();
}
