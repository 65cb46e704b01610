import type { Db } from '../../storage/database.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    second_factors: SecondFactorRow;
    recovery_codes: RecoveryCodeTable;
  }
}

/** TOTP of a user. */
export interface SecondFactorRow {
  user_id: string;
  /** Sealed by the keyring. */
  secret_sealed: string;
  /** The time step of the newest code that was accepted: neither it nor an older one is again. */
  last_step: number;
  create_ms: number;
  /** Null while the enrolment waits for its first code. */
  confirm_ms: number | null;
}

interface RecoveryCodeTable {
  user_id: string;
  /** MAC of user and code. */
  code_mac: string;
}

export function selectSecondFactor(db: Db, userId: string): Promise<SecondFactorRow | undefined> {
  return db.selectFrom('second_factors').selectAll().where('user_id', '=', userId).executeTakeFirst();
}

/** Begins an enrolment in place of an earlier one, unless one is confirmed; whether it did. */
export async function replaceEnrolment(
  db: Db,
  row: Pick<SecondFactorRow, 'user_id' | 'secret_sealed' | 'create_ms'>,
): Promise<boolean> {
  const begun = { secret_sealed: row.secret_sealed, create_ms: row.create_ms, last_step: 0 };
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('second_factors')
    .values({ user_id: row.user_id, ...begun, confirm_ms: null })
    .onConflict((conflict) =>
      conflict.column('user_id').doUpdateSet(begun).where('second_factors.confirm_ms', 'is', null),
    )
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}

/** Confirms an enrolment by the code of a step, unless it is confirmed; whether it did. */
export async function confirmEnrolment(db: Db, userId: string, step: number, nowMs: number): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('second_factors')
    .set({ confirm_ms: nowMs, last_step: step })
    .where('user_id', '=', userId)
    .where('confirm_ms', 'is', null)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/**
 * Uses up a step and all before it, unless it is used up; whether it did. One later
 * than `latestStep` was used up before the clock was set back, and counts no more.
 */
export async function useStep(db: Db, userId: string, step: number, latestStep: number): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('second_factors')
    .set({ last_step: step })
    .where('user_id', '=', userId)
    .where('confirm_ms', 'is not', null)
    .where(({ eb, or }) => or([eb('last_step', '<', step), eb('last_step', '>', latestStep)]))
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** Removes what is confirmed, with the recovery codes; whether there was any. */
export async function deleteSecondFactor(db: Db, userId: string): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom('second_factors')
    .where('user_id', '=', userId)
    .where('confirm_ms', 'is not', null)
    .executeTakeFirst();
  if (numDeletedRows === 0n) return false;
  await deleteRecoveryCodes(db, userId);
  return true;
}

/** Removes up to `limit` enrolments that began until `beginMs` and were never confirmed; how many there were. */
export async function deleteEnrolments(db: Db, beginMs: number, limit: number): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('second_factors')
    .where('user_id', 'in', (query) =>
      query
        .selectFrom('second_factors')
        .select('user_id')
        .where('confirm_ms', 'is', null)
        .where('create_ms', '<=', beginMs)
        .limit(limit),
    )
    .where('confirm_ms', 'is', null) // it may be confirmed or begun anew between being found and being removed
    .where('create_ms', '<=', beginMs)
    .executeTakeFirst();
  return Number(numDeletedRows);
}

export async function replaceRecoveryCodeRows(db: Db, userId: string, macs: readonly string[]): Promise<void> {
  await deleteRecoveryCodes(db, userId);
  const rows = macs.map((code_mac) => ({ user_id: userId, code_mac }));
  await db.insertInto('recovery_codes').values(rows).execute();
}

/** Uses a code up; whether there was one. */
export async function deleteRecoveryCode(db: Db, userId: string, mac: string): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom('recovery_codes')
    .where('user_id', '=', userId)
    .where('code_mac', '=', mac)
    .executeTakeFirst();
  return numDeletedRows === 1n;
}

export async function countRecoveryCodes(db: Db, userId: string): Promise<number> {
  const { count } = await db
    .selectFrom('recovery_codes')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('user_id', '=', userId)
    .executeTakeFirstOrThrow();
  return count;
}

async function deleteRecoveryCodes(db: Db, userId: string): Promise<void> {
  await db.deleteFrom('recovery_codes').where('user_id', '=', userId).execute();
}
