import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { columnKinds, createTable } from './tables.ts';

/**
 * Pairs of contacts that were said not to be the same person. And search terms that duplicates share: contacts of older
 * versions are brought up to date in small steps, for which the index finds them; they are no candidates until then.
 */
export function migration(dialect: Dialect): Migration {
  const { user, contact, number } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await createTable(
        db,
        'distinct_contacts',
        { owner_id: user, first_id: contact, second_id: contact, create_ms: number },
        {
          primaryKey: ['owner_id', 'first_id', 'second_id'],
          indexes: { distinct_contacts_first: ['first_id'], distinct_contacts_second: ['second_id'] },
        },
      );
      await db.schema.dropIndex('contacts_outdated').execute();
      await db.schema
        .createIndex('contacts_outdated')
        .on('contacts')
        .column('id')
        .where(sql.ref('search_version'), '<', sql.lit(2))
        .execute();
    },
  };
}
