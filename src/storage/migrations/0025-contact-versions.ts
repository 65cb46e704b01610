import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { addColumn, columnKinds, createTable } from './tables.ts';

/** What contacts were before they were changed, and how many bytes that takes for each user. */
export function migration(dialect: Dialect): Migration {
  const { user, key, text, number } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await createTable(
        db,
        'contact_versions',
        {
          owner_id: user,
          contact_id: key,
          revision: number,
          fields: text,
          action: key,
          changed: text,
          actor_session_id: key,
          bytes: number,
          change_ms: number,
          purge_ms: number,
        },
        {
          primaryKey: ['owner_id', 'contact_id', 'revision'],
          indexes: {
            contact_versions_oldest: ['owner_id', 'purge_ms'],
            contact_versions_purge: ['purge_ms'],
          },
        },
      );
      await addColumn(db, 'user_usage', 'version_bytes', 'bigint', 0);
    },
  };
}
