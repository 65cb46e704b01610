import type { SelectQueryBuilder } from 'kysely';
import type { Db } from './database.ts';
import type { Schema } from './schema.ts';

/** Whether a query matches at most `max` terms. It examines no more than one beyond that. */
export async function matchesAtMost<Terms extends keyof Schema>(
  db: Db,
  matches: SelectQueryBuilder<Schema, Terms, object>,
  max: number,
): Promise<boolean> {
  const { count } = await db
    .selectFrom(matches.limit(max + 1).as('matches'))
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return count <= max;
}
