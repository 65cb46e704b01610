import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { addColumn } from './tables.ts';

/**
 * By which rules search terms and sort keys were written.
 *
 * The rows of older versions are left as they are here, with 0: they are brought up to date in small steps while the
 * server runs, and so is what an instance of an older version writes meanwhile. Until then they are found and sorted
 * by the rules of before.
 */
export function migration(): Migration {
  return {
    async up(db: Kysely<never>): Promise<void> {
      for (const table of ['users', 'contacts']) {
        await addColumn(db, table, 'search_version', 'integer', 0);
        await db.schema
          .createIndex(`${table}_outdated`)
          .on(table)
          .column('id')
          .where(sql.ref('search_version'), '=', sql.lit(0))
          .execute();
      }
    },
  };
}
