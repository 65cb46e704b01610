import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';

/**
 * What users' contacts take, and search terms that can be looked up for one contact.
 *
 * The rows of older versions are left as they are here, with 0 bytes: they are brought up to
 * date in small steps while the server runs, and so is what an instance of an older version
 * writes meanwhile. The terms of older versions are found as well.
 */
export function usage({ orderedText }: Dialect): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      await db.schema
        .alterTable('contacts')
        .addColumn('bytes', 'bigint', (c) => c.notNull().defaultTo(0))
        .execute();
      await db.schema
        .createIndex('contacts_uncounted')
        .on('contacts')
        .columns(['owner_id', 'deleted'])
        .where(sql.ref('bytes'), '=', sql.lit(0))
        .execute();
      await db.schema
        .createTable('user_usage')
        .addColumn('user_id', orderedText, (c) => c.primaryKey().notNull().references('users.id').onDelete('cascade'))
        .addColumn('contacts', 'bigint', (c) => c.notNull())
        .addColumn('live_contacts', 'bigint', (c) => c.notNull())
        .addColumn('contact_bytes', 'bigint', (c) => c.notNull())
        .execute();
      await db.schema.createIndex('contact_terms_of').on('contact_terms').columns(['contact_id', 'term']).execute();
      await db.schema.dropIndex('contact_terms_contact').execute();
    },
  };
}
