import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';

/**
 * Activities of no user, with which session or API key each was done, and ids that whoever
 * records may choose, so that nothing is recorded twice.
 */
export function migration({ orderedText }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema
        .alterTable('activity')
        .alterColumn('user_id', (column) => column.dropNotNull())
        .execute();
      await db.schema.alterTable('activity').addColumn('actor_session_id', orderedText).execute();
      await db.schema.createIndex('activity_id').on('activity').column('id').unique().execute();
    },
  };
}
