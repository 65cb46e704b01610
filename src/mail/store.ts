import type { Role } from '../kernel/access.ts';
import type { Db } from '../storage/database.ts';

declare module '../storage/schema.ts' {
  interface Schema {
    mails: MailRow;
  }
}

export interface MailRow {
  id: string;
  /** Null for who is no user yet. */
  user_id: string | null;
  recipient: string;
  kind: string;
  subject: string;
  /** Text and HTML as JSON, sealed by the keyring, since there are codes in it; null once it has been sent. */
  body_sealed: string | null;
  state: 'waiting' | 'sent' | 'failed';
  attempts: number;
  /** When sending is tried next, while it waits; while it is being sent, when another process may try. */
  next_ms: number;
  last_error: string;
  create_ms: number;
  /** From then on nobody needs it any more: it is not sent. */
  expire_ms: number;
  send_ms: number | null;
}

export type MailState = MailRow['state'];

export async function insertMail(tx: Db, row: MailRow): Promise<void> {
  await tx.insertInto('mails').values(row).execute();
}

export function selectMail(db: Db, id: string): Promise<MailRow | undefined> {
  return db.selectFrom('mails').selectAll().where('id', '=', id).executeTakeFirst();
}

/** The role of the user whom a mail is to; for who is no user yet, the highest that they may be given. */
export async function selectRecipientRole(db: Db, { user_id }: MailRow): Promise<Role | undefined> {
  if (user_id === null) return 'admin'; // to an address that may be invited as one
  const user = await db.selectFrom('users').select('role').where('id', '=', user_id).executeTakeFirst();
  return user?.role;
}

/** Newest first, after `after`; without `states` or with none of them in every state, without `userId` to everybody. */
export async function selectMails(
  db: Db,
  { states = [], userId }: { readonly states?: readonly MailState[]; readonly userId?: string },
  after: string | undefined,
  limit: number,
): Promise<Omit<MailRow, 'body_sealed'>[]> {
  let query = db
    .selectFrom('mails')
    .select([
      'id',
      'user_id',
      'recipient',
      'kind',
      'subject',
      'state',
      'attempts',
      'next_ms',
      'last_error',
      'create_ms',
      'expire_ms',
      'send_ms',
    ]);
  if (userId !== undefined) query = query.where('user_id', '=', userId);
  if (states.length > 0) query = query.where('state', 'in', states);
  if (after !== undefined) query = query.where('id', '<', after);
  return query.orderBy('id', 'desc').limit(limit).execute();
}

/** The ids of up to `limit` mails of a kind to a user that were written after `afterMs` and until `untilMs`. */
export async function selectMailIds(
  db: Db,
  of: {
    readonly userId: string;
    readonly kind: string;
    readonly afterMs: number;
    readonly untilMs: number;
    readonly limit: number;
  },
): Promise<string[]> {
  const rows = await db
    .selectFrom('mails')
    .select('id')
    .where('user_id', '=', of.userId)
    .where('kind', '=', of.kind)
    .where('create_ms', '>', of.afterMs)
    .where('create_ms', '<=', of.untilMs)
    .limit(of.limit)
    .execute();
  return rows.map(({ id }) => id);
}

/**
 * Waiting mails whose time has come, the longest overdue first. A time further away than `longestMs` is believed to
 * come of a clock that was ahead: that mail is due.
 */
export function selectDue(db: Db, nowMs: number, longestMs: number, limit: number): Promise<MailRow[]> {
  return db
    .selectFrom('mails')
    .selectAll()
    .where('state', '=', 'waiting')
    .where(({ eb, or }) => or([eb('next_ms', '<=', nowMs), eb('next_ms', '>', nowMs + longestMs)]))
    .orderBy('next_ms')
    .orderBy('id')
    .limit(limit)
    .execute();
}

/** Takes a mail for one attempt, in one statement: of several processes one gets it. Returns whether this one did. */
export async function claim(db: Db, { id, next_ms }: MailRow, untilMs: number): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('mails')
    .set(({ eb }) => ({ next_ms: untilMs, attempts: eb('attempts', '+', 1) }))
    .where('id', '=', id)
    .where('state', '=', 'waiting')
    .where('next_ms', '=', next_ms)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Notes what came of a mail. One that has been sent stays so, whatever came of another attempt. Returns whether it was noted. */
export async function updateUnsent(db: Db, id: string, change: Partial<MailRow>): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('mails')
    .set(change)
    .where('id', '=', id)
    .where('state', '!=', 'sent')
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Removes up to `limit` mails that were written until `createMs`; how many there were. */
export async function deleteMails(db: Db, createMs: number, limit: number): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('mails')
    .where('id', 'in', (query) =>
      query.selectFrom('mails').select('id').where('create_ms', '<=', createMs).orderBy('create_ms').limit(limit),
    )
    .executeTakeFirst();
  return Number(numDeletedRows);
}

/** Removes up to `limit` mails to a user; how many there were. */
export async function deleteMailsTo(db: Db, userId: string, limit: number): Promise<number> {
  const some = db.selectFrom('mails').select('id').where('user_id', '=', userId).limit(limit);
  const { numDeletedRows } = await db.deleteFrom('mails').where('id', 'in', some).executeTakeFirst();
  return Number(numDeletedRows);
}

/** Gives mails to an address, that were to no user, to the user who has it from now on. `emailKey` as identifierKey. */
export async function adoptMailsTo(tx: Db, userId: string, emailKey: string): Promise<void> {
  await tx
    .updateTable('mails')
    .set({ user_id: userId })
    .where('user_id', 'is', null)
    .where(({ fn }) => fn<string>('lower', ['recipient']), '=', emailKey)
    .execute();
}
