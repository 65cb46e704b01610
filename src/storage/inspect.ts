import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { Kysely, sql } from 'kysely';
import { openingError } from './database.ts';
import { DatabaseError, type DatabaseLimits } from './dialect.ts';
import { MIGRATIONS } from './migrations/list.ts';
import type { Schema } from './schema.ts';
import { isMarked, operatorMessage, plain } from './sqlite.ts';
import { SQLITE } from './url.ts';

/** What a database holds, as far as it can be told without changing it. */
export interface DatabaseInspection {
  /** `SQLite`, or with the version of the server. */
  readonly server: string;
  /** Migrations that the next start applies. All of them for a database without tables. */
  readonly pending: readonly string[];
  /** Migrations of a newer version, which this one cannot serve. */
  readonly unknown: readonly string[];
  /** The private keys as they are stored, sealed with the secret of the installation. */
  readonly sealedKeys: readonly { readonly kid: string; readonly sealed: string }[];
  /** Where the secret of the installation is; undefined for a database that several machines share. */
  readonly keyFile: string | undefined;
  /** The clock of the server, milliseconds since 1970; undefined where it is that of this machine. */
  readonly nowMs: number | undefined;
}

/** How long to wait for another process that holds the file locked for a moment, milliseconds. */
const BUSY_TIMEOUT_MS = 2000;

/**
 * Looks at a database that may be served meanwhile. Undefined for a file that does not exist. Throws DatabaseError, and
 * DatabaseUnavailable when trying again later may help.
 */
export async function inspectDatabase(url: string, limits: DatabaseLimits): Promise<DatabaseInspection | undefined> {
  try {
    return url.startsWith(SQLITE) ? inspectFile(url.slice(SQLITE.length)) : await inspectServer(url, limits);
  } catch (error) {
    throw openingError(url, error);
  }
}

function inspectFile(path: string): DatabaseInspection | undefined {
  if (!existsSync(path)) return undefined;
  try {
    using database = new DatabaseSync(plain(path), { readOnly: true, timeout: BUSY_TIMEOUT_MS });
    const hasTable = database.prepare("select 1 from sqlite_schema where type = 'table' and name = ?");
    const tables = database.prepare('select count(*) as n from sqlite_schema').get()?.['n'];
    if (!isMarked(database) && tables !== 0) throw new DatabaseError('the file is a database of another program');
    const rowsOf = (table: string, query: string) =>
      hasTable.get(table) === undefined ? [] : database.prepare(query).all();
    const applied = rowsOf('kysely_migration', 'select name from kysely_migration').map(({ name }) => String(name));
    const keys = rowsOf('signing_keys', 'select kid, private_key_sealed as sealed from signing_keys');
    return {
      server: 'SQLite',
      ...compared(applied),
      sealedKeys: keys.flatMap(({ kid, sealed }) => (typeof sealed === 'string' ? [{ kid: String(kid), sealed }] : [])),
      keyFile: `${path}.key`,
      nowMs: undefined,
    };
  } catch (error) {
    throw error instanceof DatabaseError ? error : new DatabaseError(operatorMessage(error), { cause: error });
  }
}

async function inspectServer(url: string, limits: DatabaseLimits): Promise<DatabaseInspection> {
  const { openPostgres } = await import('./postgres.ts');
  const dialect = openPostgres(url, { ...limits, connectionsMax: 2 });
  const db = new Kysely<Schema>({ dialect: dialect.queries });
  try {
    await dialect.prepare(db);
    const { serverVersion } = await dialect.describe(db);
    const { rows: found } = await sql<{ migrations: string | null; keys: string | null }>`
      select to_regclass('kysely_migration')::text as migrations, to_regclass('signing_keys')::text as keys`.execute(
      db,
    );
    const { rows: applied } = found[0]?.migrations
      ? await sql<{ name: string }>`select name from kysely_migration`.execute(db)
      : { rows: [] };
    const { rows: keys } = found[0]?.keys
      ? await sql<{ kid: string; sealed: string | null }>`
          select kid, private_key_sealed as sealed from signing_keys`.execute(db)
      : { rows: [] };
    const { rows: clock } = await sql<{ ms: string }>`
      select (extract(epoch from clock_timestamp()) * 1000)::bigint::text as ms`.execute(db);
    return {
      server: `PostgreSQL ${serverVersion}`,
      ...compared(applied.map(({ name }) => name)),
      sealedKeys: keys.flatMap(({ kid, sealed }) => (sealed === null ? [] : [{ kid, sealed }])),
      keyFile: undefined,
      nowMs: Number(clock[0]?.ms),
    };
  } finally {
    await db.destroy();
  }
}

function compared(applied: readonly string[]): Pick<DatabaseInspection, 'pending' | 'unknown'> {
  const known = Object.keys(MIGRATIONS);
  return {
    pending: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  };
}
