import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { addColumn } from './tables.ts';

/** What other services keep with a user, and what users say of themselves. */
export function migration({ orderedText }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema.alterTable('users').addColumn('external_id', orderedText).execute();
      await db.schema.createIndex('users_external_id').on('users').column('external_id').unique().execute();
      for (const column of ['public_metadata', 'private_metadata', 'locale', 'time_zone', 'avatar_url']) {
        await addColumn(db, 'users', column, 'text', '');
      }
      await db.schema.alterTable('users').addColumn('email_verified_ms', 'bigint').execute();
    },
  };
}
