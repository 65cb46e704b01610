import { sql } from 'kysely';
import { CLOCKS_DIFFER_MS } from '../../kernel/clock.ts';
import type { Db } from '../../storage/database.ts';
import type { Waits } from './limits.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    throttles: ThrottleTable;
  }
}

/** How often something failed, and until when it is not tried again. */
interface ThrottleTable {
  /** MAC of what is counted. */
  key: string;
  failures: number;
  until_ms: number;
  /** When nothing of it matters any more. */
  forget_ms: number;
}

// Each of these is one statement that commits by itself, on one row: whoever comes at the same time waits
// for the row and sees it as it is then, so that no increment is lost, on any isolation level that is not
// asked for, and none waits for two rows in turn.

// A row that is to be forgotten later than one that is written now was written before the clock was set
// back. How long ago that was nobody knows: what was counted still counts, and nobody waits for its times.

/** Whether the row that is there was written before the clock was set back. */
const isOfFuture = sql<boolean>`(throttles.forget_ms - excluded.forget_ms > ${sql.lit(CLOCKS_DIFFER_MS)})`;

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
        .where(({ eb, or }) => or([eb('throttles.until_ms', '<=', now), isOfFuture])),
    )
    .returning('until_ms')
    .executeTakeFirst();
  return row?.until_ms;
}

/** Takes an attempt back that was counted and made the next one wait until `untilMs`. */
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
 * Takes a token out of a bucket; whether there was one. `forgetMs` after the last
 * one the bucket is full, at the latest.
 *
 * The generic cell rate algorithm (ITU-T I.371): the row holds when the bucket will
 * be full again. After the clock was set back, the bucket is as full as it was, and
 * has at least the one token that is asked for.
 */
export async function takeToken(
  db: Db,
  key: string,
  { size, intervalMs }: Bucket,
  nowMs: number,
  forgetMs: number,
): Promise<boolean> {
  const interval = sql.lit(intervalMs);
  const allButOne = sql.lit((size - 1) * intervalMs);
  // How long the bucket took to be full again when the row was written, and how long it takes from now on.
  const missing = sql<number>`(throttles.until_ms - (throttles.forget_ms - ${sql.lit(forgetMs)}))`;
  const missingBefore = sql<number>`(case when ${missing} < 0 then 0 when ${missing} > ${allButOne} then ${allButOne} else ${missing} end)`;
  const left = sql<number>`(throttles.until_ms - excluded.until_ms)`;
  const isUnbelievable = sql<boolean>`(${isOfFuture} or ${left} > ${sql.lit((size - 1) * intervalMs + CLOCKS_DIFFER_MS)})`;
  const fullMs = sql<number>`(case when ${isUnbelievable} then excluded.until_ms + ${missingBefore}
    when ${left} + ${interval} > 0 then throttles.until_ms + ${interval} else excluded.until_ms end)`;
  const row = await db
    .insertInto('throttles')
    .values({ key, failures: 0, until_ms: nowMs + intervalMs, forget_ms: nowMs + forgetMs })
    .onConflict((conflict) =>
      conflict
        .column('key')
        .doUpdateSet({ until_ms: fullMs, forget_ms: sql`excluded.forget_ms` })
        .where(({ eb, or }) => or([eb(left, '<=', (size - 2) * intervalMs), isUnbelievable])),
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
  await db
    .updateTable('throttles')
    .set({ until_ms: sql`until_ms - ${sql.lit(intervalMs)}` })
    .where('key', '=', key)
    .execute();
}

/** Whether a mark was made that is not past its time. */
export async function hasMark(db: Db, key: string, nowMs: number): Promise<boolean> {
  const row = await db.selectFrom('throttles').select('forget_ms').where('key', '=', key).executeTakeFirst();
  return row !== undefined && row.forget_ms > nowMs;
}

/** Makes a mark, or renews one that is to be forgotten before `forgetMs` - `slackMs`, or later than clocks that differ explain. */
export async function setMark(db: Db, key: string, forgetMs: number, slackMs: number): Promise<void> {
  await db
    .insertInto('throttles')
    .values({ key, failures: 0, until_ms: 0, forget_ms: forgetMs })
    .onConflict((conflict) =>
      conflict
        .column('key')
        .doUpdateSet({ forget_ms: forgetMs })
        .where(({ eb, or }) =>
          or([
            eb('throttles.forget_ms', '<', forgetMs - slackMs),
            eb('throttles.forget_ms', '>', forgetMs + CLOCKS_DIFFER_MS),
          ]),
        ),
    )
    .execute();
}

/** Lets up to `limit` rows be forgotten at `forgetMs` that would be kept longer than clocks that differ explain; how many there were. */
export async function forgetSooner(db: Db, forgetMs: number, limit: number): Promise<number> {
  const late = db
    .selectFrom('throttles')
    .select('key')
    .where('forget_ms', '>', forgetMs + CLOCKS_DIFFER_MS)
    .limit(limit);
  const { numUpdatedRows } = await db
    .updateTable('throttles')
    .set({ forget_ms: forgetMs })
    .where('key', 'in', late)
    .executeTakeFirst();
  return Number(numUpdatedRows);
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
