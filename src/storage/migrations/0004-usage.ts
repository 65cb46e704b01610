import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { addColumn, columnKinds, createTable } from './tables.ts';

/**
 * What users' contacts take, and search terms that can be looked up for one contact.
 *
 * The rows of older versions are left as they are here, with 0 bytes: they are brought up to
 * date in small steps while the server runs, and so is what an instance of an older version
 * writes meanwhile. The terms of older versions are found as well.
 */
export function migration(dialect: Dialect): Migration {
  const { number, onlyOfUser } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await addColumn(db, 'contacts', 'bytes', 'bigint', 0);
      await db.schema
        .createIndex('contacts_uncounted')
        .on('contacts')
        .columns(['owner_id', 'deleted'])
        .where(sql.ref('bytes'), '=', sql.lit(0))
        .execute();
      const usage = { user_id: onlyOfUser, contacts: number, live_contacts: number, contact_bytes: number };
      await createTable(db, 'user_usage', usage);
      await db.schema.createIndex('contact_terms_of').on('contact_terms').columns(['contact_id', 'term']).execute();
      await db.schema.dropIndex('contact_terms_contact').execute();
    },
  };
}
