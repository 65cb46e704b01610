import { type Migration, Migrator } from 'kysely/migration';
import type { Db } from './database.ts';
import { DatabaseError, type Dialect } from './dialect.ts';
import { initial } from './migrations/0001-initial.ts';
import { activity } from './migrations/0002-activity.ts';
import { signIn } from './migrations/0003-sign-in.ts';
import { usage } from './migrations/0004-usage.ts';
import { contactFields } from './migrations/0005-contact-fields.ts';
import { keyPermissions } from './migrations/0006-key-permissions.ts';
import { activityActors } from './migrations/0007-activity-actors.ts';
import { binaryResponses } from './migrations/0008-binary-responses.ts';

/** Every migration, in order. What has been released is never changed, only followed. */
export function migrations(dialect: Dialect): Record<string, Migration> {
  return {
    '0001-initial': initial(dialect),
    '0002-activity': activity(dialect),
    '0003-sign-in': signIn(dialect),
    '0004-usage': usage(dialect),
    '0005-contact-fields': contactFields(),
    '0006-key-permissions': keyPermissions(),
    '0007-activity-actors': activityActors(dialect),
    '0008-binary-responses': binaryResponses(),
  };
}

/** The name of the newest migration that this version knows. */
export function latestMigration(dialect: Dialect): string {
  return Object.keys(migrations(dialect)).at(-1) ?? '';
}

/**
 * Brings the tables up to date, in one transaction. Throws DatabaseError for tables of a
 * newer version. Without `schema`, Kysely would take the bookkeeping of another schema
 * of the database for its own.
 */
export async function migrate(db: Db, dialect: Dialect, schema: string | undefined): Promise<void> {
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
