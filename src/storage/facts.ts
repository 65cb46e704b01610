import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { DatabaseDescription } from './dialect.ts';

/** What a database says of itself. */
export interface DatabaseFacts extends DatabaseDescription {
  /** Those that were applied, in their order. */
  readonly migrations: readonly AppliedMigration[];
}

export interface AppliedMigration {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly applyMs: number;
}

/** Asks the database; two short queries. */
export async function readDatabaseFacts({ db, dialect }: Pick<Database, 'db' | 'dialect'>): Promise<DatabaseFacts> {
  const description = await dialect.describe(db);
  const { rows } = await sql<{ name: string; timestamp: string }>`
    select name, timestamp from kysely_migration order by name`.execute(db);
  return {
    ...description,
    migrations: rows.map(({ name, timestamp }) => ({ name, applyMs: Date.parse(timestamp) })),
  };
}
