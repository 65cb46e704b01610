import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { addColumn, columnKinds, createTable } from './tables.ts';

/** Labels of contacts. Their names are unique among those of the owner that are not deleted. */
export function migration(dialect: Dialect): Migration {
  const { id, user, key, text, number, optionalNumber } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await createTable(
        db,
        'labels',
        {
          id,
          owner_id: user,
          name: text,
          name_key: key,
          color: text,
          contacts: number,
          deleted: number,
          create_ms: number,
          update_ms: number,
          delete_ms: optionalNumber,
          purge_ms: optionalNumber,
          revision: number,
        },
        { indexes: { labels_by_name: ['owner_id', 'deleted', 'name_key', 'id'], labels_purge: ['purge_ms'] } },
      );
      await db.schema
        .createIndex('labels_name')
        .on('labels')
        .columns(['owner_id', 'name_key'])
        .where(sql.ref('deleted'), '=', sql.lit(0))
        .unique()
        .execute();
      await addColumn(db, 'contacts', 'label_ids', 'text', '');
    },
  };
}
