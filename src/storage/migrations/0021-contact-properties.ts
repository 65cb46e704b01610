import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import { addColumn } from './tables.ts';

/** What imported files had and no field of a contact holds, so that exports give it back. */
export function migration(): Migration {
  return {
    up: (db: Kysely<never>): Promise<void> => addColumn(db, 'contacts', 'properties', 'text', ''),
  };
}
