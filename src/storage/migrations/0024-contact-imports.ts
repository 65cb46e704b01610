import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Dialect } from '../dialect.ts';
import { columnKinds, createTable } from './tables.ts';

/** Imports of contacts, as long as they can be taken back, and what each did to which contact. */
export function migration(dialect: Dialect): Migration {
  const { user, key, text, number } = columnKinds(dialect);
  return {
    async up(db: Kysely<never>): Promise<void> {
      await createTable(
        db,
        'contact_imports',
        {
          owner_id: user,
          id: key,
          source: text,
          created: number,
          updated: number,
          remaining: number,
          label_ids: text,
          bytes: number,
          create_ms: number,
          purge_ms: number,
        },
        {
          primaryKey: ['owner_id', 'id'],
          indexes: {
            contact_imports_owner: ['owner_id', 'create_ms', 'id'],
            contact_imports_purge: ['purge_ms'],
          },
        },
      );
      await createTable(
        db,
        'contact_import_changes',
        { owner_id: user, import_id: key, contact_id: key, revision: number, fields_before: text, bytes: number },
        { primaryKey: ['owner_id', 'import_id', 'contact_id'] },
      );
    },
  };
}
