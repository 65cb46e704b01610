import { type Migration, Migrator } from 'kysely/migration';
import type { Db } from './database.ts';
import { DatabaseError, type Dialect } from './dialect.ts';
import { MIGRATIONS } from './migrations/list.ts';

/** Every migration, in order. What has been released is never changed, only followed. */
export function migrations(dialect: Dialect): Record<string, Migration> {
  return Object.fromEntries(Object.entries(MIGRATIONS).map(([name, migration]) => [name, migration(dialect)]));
}

/** The name of the newest migration that this version knows. */
export function latestMigration(): string {
  return Object.keys(MIGRATIONS).at(-1) ?? '';
}

/**
 * Brings the tables up to date, in one transaction. Throws DatabaseError for tables of a
 * newer version. Without `schema`, Kysely would take the bookkeeping of another schema
 * of the database for its own.
 */
export async function migrate(db: Db, dialect: Dialect, schema: string | undefined): Promise<void> {
  const applied = await dialect.appliedMigrations?.(db);
  if (applied?.join() === Object.keys(MIGRATIONS).toSorted().join()) return;
  const known = migrations(dialect);
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => known },
    ...(schema !== undefined && { migrationTableSchema: schema }),
  });
  const { error } = await migrator.migrateToLatest();
  if (error === undefined) return;
  const unknown = /previously executed migration (\S+) is missing/.exec(error instanceof Error ? error.message : '');
  if (unknown) throw new DatabaseError(`written by a newer version of Kith (it has ${unknown[1]}): use that version`);
  throw error;
}
