import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { columnKinds, createTable } from './tables.ts';

/** Merges of contacts, as long as they can be taken back, and which contacts were merged in which of them. */
export function migration(dialect: Dialect): Migration {
  const { id, user, key, text, number } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await createTable(
        db,
        'contact_merges',
        {
          id,
          owner_id: user,
          contact_id: key,
          revision: number,
          fields_before: text,
          fields_after: text,
          distinct_ids: text,
          bytes: number,
          create_ms: number,
          purge_ms: number,
        },
        {
          indexes: {
            contact_merges_contact: ['owner_id', 'contact_id', 'revision'],
            contact_merges_owner: ['owner_id', 'id'],
            contact_merges_purge: ['purge_ms'],
          },
        },
      );
      await db.schema
        .alterTable('contacts')
        .addColumn('merge_id', dialect.orderedText, (c) => c.notNull().defaultTo(''))
        .execute();
      await db.schema
        .createIndex('contacts_merge')
        .on('contacts')
        .column('merge_id')
        .where(sql<boolean>`merge_id <> ''`)
        .execute();
    },
  };
}
