import type { Db } from '../../storage/database.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    mailed_codes: MailedCodeRow;
  }
}

/** A code that was mailed. */
export interface MailedCodeRow {
  user_id: string;
  purpose: string;
  /** What tells codes of a user and purpose apart: of tokens, the address as identifierKey; of codes, which may be several for one, anything. */
  address_key: string;
  /** The address that the code proves to be the user's. */
  address: string;
  /** MAC of purpose, user and code, and of what the code is bound to beside. */
  code_mac: string;
  expire_ms: number;
}

/** Stores a code, in place of the one before of its purpose and address_key. */
export async function replaceMailedCode(tx: Db, row: MailedCodeRow): Promise<void> {
  const { address, code_mac, expire_ms } = row;
  await tx
    .insertInto('mailed_codes')
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(['user_id', 'purpose', 'address_key']).doUpdateSet({ address, code_mac, expire_ms }),
    )
    .execute();
}

/**
 * Uses a code up, in one statement. Returns the code, or undefined if there is none that expires after `nowMs`, and
 * not after `latestMs`.
 */
export async function useMailedCode(
  tx: Db,
  { user_id, purpose, code_mac }: Pick<MailedCodeRow, 'user_id' | 'purpose' | 'code_mac'>,
  nowMs: number,
  latestMs: number,
): Promise<MailedCodeRow | undefined> {
  return tx
    .deleteFrom('mailed_codes')
    .where('user_id', '=', user_id)
    .where('purpose', '=', purpose)
    .where('code_mac', '=', code_mac)
    .where('expire_ms', '>', nowMs)
    .where('expire_ms', '<=', latestMs)
    .returningAll()
    .executeTakeFirst();
}

/** Removes the codes of a user and a purpose that expire at `fromMs` or later. */
export async function deleteMailedCodes(tx: Db, userId: string, purpose: string, fromMs = 0): Promise<void> {
  await tx
    .deleteFrom('mailed_codes')
    .where('user_id', '=', userId)
    .where('purpose', '=', purpose)
    .where('expire_ms', '>=', fromMs)
    .execute();
}

/**
 * Removes the codes of a user and a purpose but the `kept` newest, which expire last. Those that expire after `latestMs`
 * come of a clock that was ahead, and are good for nothing.
 */
export async function deleteOlderCodes(
  tx: Db,
  userId: string,
  purpose: string,
  kept: number,
  latestMs: number,
): Promise<void> {
  const rows = await tx
    .selectFrom('mailed_codes')
    .select(['address_key', 'expire_ms'])
    .where('user_id', '=', userId)
    .where('purpose', '=', purpose)
    .orderBy('expire_ms', 'desc')
    .execute();
  const [good, bad] = [true, false].map((isGood) => rows.filter((row) => row.expire_ms <= latestMs === isGood));
  const keys = [...good!.slice(kept), ...bad!].map((row) => row.address_key);
  if (keys.length === 0) return;
  await tx
    .deleteFrom('mailed_codes')
    .where('user_id', '=', userId)
    .where('purpose', '=', purpose)
    .where('address_key', 'in', keys)
    .execute();
}

/** Removes up to `limit` codes that have expired; how many there were. */
export async function deleteExpiredCodes(db: Db, nowMs: number, limit: number): Promise<number> {
  const rows = await db
    .selectFrom('mailed_codes')
    .select(['user_id', 'purpose', 'address_key'])
    .where('expire_ms', '<=', nowMs)
    .limit(limit)
    .execute();
  let deleted = 0;
  for (const { user_id, purpose, address_key } of rows) {
    const { numDeletedRows } = await db
      .deleteFrom('mailed_codes')
      .where('user_id', '=', user_id)
      .where('purpose', '=', purpose)
      .where('address_key', '=', address_key)
      .where('expire_ms', '<=', nowMs) // it may have been replaced meanwhile
      .executeTakeFirst();
    deleted += Number(numDeletedRows);
  }
  return deleted;
}
