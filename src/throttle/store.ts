import { sql } from 'kysely';
import type { Db } from '../db/database.ts';
import type { Waits } from './limits.ts';

// Each of these is one statement that commits by itself, on one row: whoever comes at the same time waits
// for the row and sees it as it is then, so that no increment is lost, on any isolation level that is not
// asked for, and none waits for two rows in turn.

/**
 * Counts an attempt, unless the one before asks to wait longer; until when the next
 * one waits, milliseconds since 1970, or undefined when this one has to wait itself
 * and was not counted. After `forgetMs` without an attempt the count starts again.
 */
export async function countAttempt(
  db: Db,
  key: string,
  waits: readonly Waits[],
  nowMs: number,
  forgetMs: number,
): Promise<number | undefined> {
  // Of what would be inserted; `waits` never ask to wait after the first attempt.
  const now = sql<number>`(excluded.forget_ms - ${sql.lit(forgetMs)})`;
  const failures = sql<number>`(case when throttles.forget_ms <= ${now} then 1 else throttles.failures + 1 end)`;
  const cases = waits
    .toReversed()
    .map((wait) => sql`when ${failures} >= ${sql.lit(wait.failures)} then ${now} + ${sql.lit(wait.waitMs)}`);
  const row = await db
    .insertInto('throttles')
    .values({ key, failures: 1, until_ms: 0, forget_ms: nowMs + forgetMs })
    .onConflict((conflict) =>
      conflict
        .column('key')
        .doUpdateSet({
          failures,
          until_ms: sql`case ${sql.join(cases, sql` `)} else 0 end`,
          forget_ms: sql`excluded.forget_ms`,
        })
        .where('throttles.until_ms', '<=', now),
    )
    .returning('until_ms')
    .executeTakeFirst();
  return row?.until_ms;
}

/** Takes an attempt back that was counted and told to keep the next one waiting until `untilMs`. */
export async function uncountAttempt(db: Db, key: string, untilMs: number): Promise<void> {
  await db
    .updateTable('throttles')
    .set({
      failures: sql`failures - 1`,
      until_ms: sql`case when until_ms = ${untilMs} then 0 else until_ms end`, // or somebody has waited and tried meanwhile
    })
    .where('key', '=', key)
    .where('failures', '>', 0)
    .execute();
}

/** Forgets what was counted. */
export async function deleteCount(db: Db, key: string): Promise<void> {
  await db.deleteFrom('throttles').where('key', '=', key).execute();
}

/** A bucket that `size` tokens fit in; one comes back every `intervalMs`. */
export interface Bucket {
  readonly size: number;
  readonly intervalMs: number;
}

/**
 * Takes a token out of a bucket; whether there was one.
 *
 * The generic cell rate algorithm (ITU-T I.371): the row holds when the bucket will
 * be full again.
 */
export async function takeToken(db: Db, key: string, { size, intervalMs }: Bucket, nowMs: number): Promise<boolean> {
  const interval = sql.lit(intervalMs);
  const fullMs = sql<number>`(case when throttles.until_ms + ${interval} > excluded.until_ms
    then throttles.until_ms + ${interval} else excluded.until_ms end)`;
  const row = await db
    .insertInto('throttles')
    .values({ key, failures: 0, until_ms: nowMs + intervalMs, forget_ms: nowMs + intervalMs })
    .onConflict((conflict) =>
      conflict
        .column('key')
        .doUpdateSet({ until_ms: fullMs, forget_ms: fullMs })
        .where(sql`throttles.until_ms - excluded.until_ms`, '<=', (size - 2) * intervalMs),
    )
    .returning('key')
    .executeTakeFirst();
  return row !== undefined;
}

/** When there is a token in a bucket again, milliseconds since 1970. */
export async function nextTokenMs(db: Db, key: string, { size, intervalMs }: Bucket): Promise<number> {
  const row = await db.selectFrom('throttles').select('until_ms').where('key', '=', key).executeTakeFirst();
  return (row?.until_ms ?? 0) - (size - 1) * intervalMs;
}

/** Puts a token back into a bucket. */
export async function returnToken(db: Db, key: string, { intervalMs }: Bucket): Promise<void> {
  const earlier = (column: 'until_ms' | 'forget_ms') => sql<number>`${sql.ref(column)} - ${sql.lit(intervalMs)}`;
  await db
    .updateTable('throttles')
    .set({ until_ms: earlier('until_ms'), forget_ms: earlier('forget_ms') })
    .where('key', '=', key)
    .execute();
}

/** Whether a mark was made that is not past its time. */
export async function hasMark(db: Db, key: string, nowMs: number): Promise<boolean> {
  const row = await db.selectFrom('throttles').select('forget_ms').where('key', '=', key).executeTakeFirst();
  return row !== undefined && row.forget_ms > nowMs;
}

/** Makes a mark, or renews one that has less than `forgetMs` - `slackMs` to go. */
export async function setMark(db: Db, key: string, forgetMs: number, slackMs: number): Promise<void> {
  await db
    .insertInto('throttles')
    .values({ key, failures: 0, until_ms: 0, forget_ms: forgetMs })
    .onConflict((conflict) =>
      conflict
        .column('key')
        .doUpdateSet({ forget_ms: forgetMs })
        .where('throttles.forget_ms', '<', forgetMs - slackMs),
    )
    .execute();
}

/** Removes up to `limit` rows of which nothing matters any more; how many there were. */
export async function deleteForgotten(db: Db, nowMs: number, limit: number): Promise<number> {
  const forgotten = db
    .selectFrom('throttles')
    .select('key')
    .where('forget_ms', '<=', nowMs)
    .orderBy('forget_ms')
    .limit(limit);
  const { numDeletedRows } = await db
    .deleteFrom('throttles')
    .where('key', 'in', forgotten)
    .where('forget_ms', '<=', nowMs) // it may be counted on between being found and being removed
    .executeTakeFirst();
  return Number(numDeletedRows);
}
