import type { Role } from '../../kernel/access.ts';
import type { Db } from '../../storage/database.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    sign_ups: SignUpRow;
    invitations: InvitationRow;
  }
}

/** A code that was mailed to an address that no user has: the newest of each address. */
export interface SignUpRow {
  /** identifierKey of the address. */
  email_key: string;
  /** MAC of address and code. */
  code_mac: string;
  expire_ms: number;
}

export interface InvitationRow {
  id: string;
  email: string;
  /** identifierKey(email); unique. */
  email_key: string;
  role: Role;
  create_ms: number;
  expire_ms: number;
}

/** Stores a code in place of the one before. */
export async function replaceSignUp(tx: Db, row: SignUpRow): Promise<void> {
  const { code_mac, expire_ms } = row;
  await tx
    .insertInto('sign_ups')
    .values(row)
    .onConflict((conflict) => conflict.column('email_key').doUpdateSet({ code_mac, expire_ms }))
    .execute();
}

/** Uses a code up, in one statement; whether there was one that expires after `nowMs`, and not after `latestMs`. */
export async function takeSignUp(
  tx: Db,
  { email_key, code_mac }: Pick<SignUpRow, 'email_key' | 'code_mac'>,
  nowMs: number,
  latestMs: number,
): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('sign_ups')
    .where('email_key', '=', email_key)
    .where('code_mac', '=', code_mac)
    .where('expire_ms', '>', nowMs)
    .where('expire_ms', '<=', latestMs)
    .executeTakeFirst();
  return numDeletedRows === 1n;
}

/** Removes up to `limit` codes that have expired; how many there were. */
export async function deleteExpiredSignUps(db: Db, nowMs: number, limit: number): Promise<number> {
  const expired = db.selectFrom('sign_ups').select('email_key').where('expire_ms', '<=', nowMs).limit(limit);
  const { numDeletedRows } = await db
    .deleteFrom('sign_ups')
    .where('email_key', 'in', expired)
    .where('expire_ms', '<=', nowMs) // it may have been replaced meanwhile
    .executeTakeFirst();
  return Number(numDeletedRows);
}

export async function insertInvitation(tx: Db, row: InvitationRow): Promise<void> {
  await tx.insertInto('invitations').values(row).execute();
}

export function selectInvitation(db: Db, id: string): Promise<InvitationRow | undefined> {
  return db.selectFrom('invitations').selectAll().where('id', '=', id).executeTakeFirst();
}

/** The invitation of an address, past its time or not. */
export function selectInvitationOf(db: Db, emailKey: string): Promise<InvitationRow | undefined> {
  return db.selectFrom('invitations').selectAll().where('email_key', '=', emailKey).executeTakeFirst();
}

/** Newest first, after `after`. */
export async function selectInvitations(db: Db, after: string | undefined, limit: number): Promise<InvitationRow[]> {
  let query = db.selectFrom('invitations').selectAll();
  if (after !== undefined) query = query.where('id', '<', after);
  return query.orderBy('id', 'desc').limit(limit).execute();
}

/** Has an invitation last until another time; whether it was there. */
export async function extendInvitation(tx: Db, id: string, expireMs: number): Promise<boolean> {
  const { numUpdatedRows } = await tx
    .updateTable('invitations')
    .set({ expire_ms: expireMs })
    .where('id', '=', id)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Removes an invitation; whether it was there. */
export async function deleteInvitation(tx: Db, id: string): Promise<boolean> {
  const { numDeletedRows } = await tx.deleteFrom('invitations').where('id', '=', id).executeTakeFirst();
  return numDeletedRows === 1n;
}

/** Uses the invitation of an address up, in one statement; its role, or undefined if there was none, or is none any more. */
export async function takeInvitation(tx: Db, emailKey: string, nowMs: number): Promise<Role | undefined> {
  const taken = await tx
    .deleteFrom('invitations')
    .where('email_key', '=', emailKey)
    .returning(['role', 'expire_ms'])
    .executeTakeFirst();
  return taken !== undefined && taken.expire_ms > nowMs ? taken.role : undefined;
}

/** Removes up to `limit` invitations that expired until `expireMs`; how many there were. */
export async function deleteOldInvitations(db: Db, expireMs: number, limit: number): Promise<number> {
  const old = db.selectFrom('invitations').select('id').where('expire_ms', '<=', expireMs).limit(limit);
  const { numDeletedRows } = await db
    .deleteFrom('invitations')
    .where('id', 'in', old)
    .where('expire_ms', '<=', expireMs) // it may have been sent again meanwhile
    .executeTakeFirst();
  return Number(numDeletedRows);
}
