import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { addColumn } from './tables.ts';

/** More of what a contact has: in one column, but for what contacts are looked up by. */
export function migration({ orderedText }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await addColumn(db, 'contacts', 'details', 'text', '');
      await db.schema
        .alterTable('contacts')
        .addColumn('uid', orderedText, (c) => c.notNull().defaultTo(''))
        .execute();
      await db.schema
        .createIndex('contacts_uid')
        .on('contacts')
        .columns(['owner_id', 'uid'])
        .where(sql<boolean>`uid <> ''`)
        .execute();
    },
  };
}
