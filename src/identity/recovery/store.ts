import type { Db } from '../../storage/database.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    mailed_codes: MailedCodeRow;
  }
}

/** A code that was mailed: the newest of each purpose. */
export interface MailedCodeRow {
  user_id: string;
  purpose: string;
  /** MAC of purpose, user and code, and of the email address and password hash for which it is good. */
  code_mac: string;
  expire_ms: number;
}

/** Stores a code in place of the one before. */
export async function replaceMailedCode(tx: Db, row: MailedCodeRow): Promise<void> {
  const { code_mac, expire_ms } = row;
  await tx
    .insertInto('mailed_codes')
    .values(row)
    .onConflict((conflict) => conflict.columns(['user_id', 'purpose']).doUpdateSet({ code_mac, expire_ms }))
    .execute();
}

/** Uses a code up, in one statement; whether there was one that expires after `nowMs`, and not after `latestMs`. */
export async function useMailedCode(
  tx: Db,
  { user_id, purpose, code_mac }: Pick<MailedCodeRow, 'user_id' | 'purpose' | 'code_mac'>,
  nowMs: number,
  latestMs: number,
): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('mailed_codes')
    .where('user_id', '=', user_id)
    .where('purpose', '=', purpose)
    .where('code_mac', '=', code_mac)
    .where('expire_ms', '>', nowMs)
    .where('expire_ms', '<=', latestMs)
    .executeTakeFirst();
  return numDeletedRows === 1n;
}

/** Removes up to `limit` codes that have expired; how many there were. */
export async function deleteExpiredCodes(db: Db, nowMs: number, limit: number): Promise<number> {
  const rows = await db
    .selectFrom('mailed_codes')
    .select(['user_id', 'purpose'])
    .where('expire_ms', '<=', nowMs)
    .limit(limit)
    .execute();
  let deleted = 0;
  for (const { user_id, purpose } of rows) {
    const { numDeletedRows } = await db
      .deleteFrom('mailed_codes')
      .where('user_id', '=', user_id)
      .where('purpose', '=', purpose)
      .where('expire_ms', '<=', nowMs) // it may have been replaced meanwhile
      .executeTakeFirst();
    deleted += Number(numDeletedRows);
  }
  return deleted;
}
