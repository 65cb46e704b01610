import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { Kysely, sql } from 'kysely';
import { withoutPassword } from '../kernel/text.ts';
import { type Db, openDatabase, openingError, rootMessage } from './database.ts';
import { DatabaseError, type DatabaseLimits } from './dialect.ts';
import { checkDatabaseUrl, DatabaseUrlError, shownRefusedUrl } from './url.ts';
import { openPostgres } from './postgres.ts';
import type { Schema } from './schema.ts';
import { holdFile } from './file.ts';

/** What was copied of a table. */
export interface CopiedTable {
  readonly name: string;
  readonly rows: number;
}

/** How many rows are sent or compared at once. */
const BATCH_ROWS = 500;

/** Tables into which the migrations insert a row, and the condition that tells that the row has changed since. */
const SEEDED = new Map([['activity_purged', sql<boolean>`(writer, seq, base) <> (-1, 0, 0)`]]);

/** Kysely's own, which each database keeps for itself. */
const BOOKKEEPING = ['kysely_migration', 'kysely_migration_lock'];

type Row = Record<string, unknown>;

interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
  /** The column whose numbers are never given twice, and the highest so far. */
  readonly counter: { readonly column: string; readonly last: number } | undefined;
}

/**
 * Copies the database file at `path` into the empty PostgreSQL database at the URL `target`:
 * every row as it is, the numbers of the log included, so that ids, sessions,
 * page tokens and cursors stay good. Brings both up to date first.
 *
 * Nobody can open the file meanwhile. Everything happens in one transaction, at
 * whose end each table is read back and compared: a copy that fails or is
 * interrupted leaves an empty database, and can be repeated.
 *
 * Throws DatabaseError when the file is missing or open in another process, when
 * the database holds anything, when a text holds what PostgreSQL does not store,
 * and when the comparison fails.
 */
export async function copyToServer(
  path: string,
  target: string,
  limits: DatabaseLimits,
  onTable: (copied: CopiedTable) => void,
): Promise<void> {
  const url = serverUrl(target);
  holdFile(path).close(); // refused before anything is changed
  await (await openDatabase(`sqlite:${path}`))[Symbol.asyncDispose]();
  using source = holdFile(path);
  const tables = tablesOf(source);
  try {
    await requireNothing(url, limits, tables);
    await using opened = await openDatabase(url, limits);
    await opened.db.transaction().execute((tx) => copyTables(source, tx, tables, onTable));
    await sql`analyze`.execute(opened.db);
  } catch (error) {
    if (error instanceof DatabaseError) throw error;
    throw new DatabaseError(`${withoutPassword(url)}: ${rootMessage(error)}`, { cause: error });
  }
}

/** The URL as the driver reads it. Throws DatabaseError for one that names no database on a server. */
function serverUrl(url: string): string {
  const shown = shownRefusedUrl(url);
  if (!/^postgres(ql)?:/.test(url)) throw new DatabaseError(`${shown}: must be postgres://...`);
  try {
    return checkDatabaseUrl(url);
  } catch (error) {
    if (error instanceof DatabaseUrlError) throw new DatabaseError(`${shown}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** Checks that the target is empty before the first migration writes to it. */
async function requireNothing(url: string, limits: DatabaseLimits, tables: readonly Table[]): Promise<void> {
  const dialect = openPostgres(url, limits);
  const db = new Kysely<Schema>({ dialect: dialect.queries });
  await using _ = { [Symbol.asyncDispose]: () => db.destroy() };
  await dialect.prepare(db).catch((error: unknown) => {
    throw openingError(url, error);
  });
  const { rows } = await sql<{ name: string }>`
    select tablename as name from pg_tables where schemaname = current_schema()`.execute(db);
  const known = new Set([...BOOKKEEPING, ...tables.map(({ name }) => name)]);
  for (const { name } of rows) {
    if (!known.has(name)) throw notEmpty(url, `a table ${name} of something else`);
    if (!BOOKKEEPING.includes(name)) await requireEmpty(db, name, url);
  }
}

async function requireEmpty(db: Db, table: string, where: string): Promise<void> {
  const holds = SEEDED.get(table) ?? sql<boolean>`true`;
  const { rows } = await sql`select 1 from ${sql.table(table)} where ${holds} limit 1`.execute(db);
  if (rows.length > 0) throw notEmpty(where, `rows in the table ${table}`);
}

function notEmpty(where: string, what: string): DatabaseError {
  return new DatabaseError(`${withoutPassword(where)}: must be an empty database, and has ${what}`);
}

async function copyTables(
  source: DatabaseSync,
  tx: Db,
  tables: readonly Table[],
  onTable: (copied: CopiedTable) => void,
): Promise<void> {
  await sql`set local statement_timeout = 0`.execute(tx);
  await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx);
  // A server that starts on it meanwhile waits, and then finds what was copied.
  const names = tables.map(({ name }) => sql.table(name));
  await sql`lock table ${sql.join(names)} in access exclusive mode`.execute(tx);
  for (const { name } of tables) await requireEmpty(tx, name, 'the target');
  for (const name of SEEDED.keys()) await sql`delete from ${sql.table(name)}`.execute(tx);
  for (const table of tables) {
    const sent = new Digest();
    for (const rows of batches(source, table)) {
      for (const row of rows) sent.add(storable(table, row));
      await insert(tx, table, rows);
    }
    const { counter, name } = table;
    if (counter !== undefined && counter.last > 0) {
      const { rows } = await sql<{ last: number | null }>`
        select setval(pg_get_serial_sequence(${name}, ${counter.column}), ${counter.last}) as last`.execute(tx);
      if (rows[0]?.last !== counter.last) throw new Error(`${name}.${counter.column} does not count on`);
    }
    const stored = await readBack(tx, table);
    if (sent.rows !== stored.rows || sent.value !== stored.value) {
      throw new DatabaseError(
        `the table ${name} came out different (${sent.rows} rows, ${stored.rows} after copying): nothing was copied`,
      );
    }
    onTable({ name, rows: sent.rows });
  }
}

function* batches(source: DatabaseSync, { name, columns }: Table): Generator<Row[]> {
  const statement = source.prepare(`select ${columns.map(quoted).join(', ')} from ${quoted(name)}`);
  let batch: Row[] = [];
  for (const row of statement.iterate()) {
    batch.push(row);
    if (batch.length < BATCH_ROWS) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Throws for a value that PostgreSQL would refuse with a less helpful message. */
function storable(table: Table, row: Row): Row {
  for (const [column, value] of Object.entries(row)) {
    if (typeof value === 'string' && value.includes('\0')) {
      const key = table.key.map((name) => String(row[name])).join(', ');
      throw new DatabaseError(
        `the table ${table.name} has a NUL character in ${column} of ${key}, which PostgreSQL does not store: remove it first`,
      );
    }
  }
  return row;
}

/** Inserts with one parameter, however many rows and columns there are. */
async function insert(tx: Db, { name, columns }: Table, rows: readonly Row[]): Promise<void> {
  const list = sql.join(columns.map((column) => sql.ref(column)));
  await sql`
    insert into ${sql.table(name)} (${list})
    select ${list} from json_populate_recordset(null::${sql.table(name)}, ${JSON.stringify(rows)}::json)`.execute(tx);
}

async function readBack(tx: Db, { name, columns }: Table): Promise<Digest> {
  const digest = new Digest();
  const list = sql.join(columns.map((column) => sql.ref(column)));
  await sql`declare copied no scroll cursor for select ${list} from ${sql.table(name)}`.execute(tx);
  for (;;) {
    const { rows } = await sql<Row>`fetch ${sql.lit(BATCH_ROWS)} from copied`.execute(tx);
    for (const row of rows) digest.add(row);
    if (rows.length < BATCH_ROWS) break;
  }
  await sql`close copied`.execute(tx);
  return digest;
}

/** A digest of a set of rows that does not depend on their order: the sum of the rows' SHA-256. */
class Digest {
  rows = 0;
  value = 0n;

  add(row: Row): void {
    this.rows++;
    const hash = createHash('sha256')
      .update(JSON.stringify(Object.values(row)))
      .digest('hex');
    this.value = BigInt.asUintN(256, this.value + BigInt(`0x${hash}`));
  }
}

/** Every table, those that others refer to first. */
function tablesOf(source: DatabaseSync): Table[] {
  const names = source
    .prepare(
      "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name",
    )
    .all()
    .map(({ name }) => String(name))
    .filter((name) => !BOOKKEEPING.includes(name));
  const ordered = new Set<string>();
  const visit = (name: string): void => {
    if (ordered.has(name)) return;
    for (const { table } of source.prepare('select "table" from pragma_foreign_key_list(?)').all(name)) {
      if (table !== name) visit(String(table));
    }
    ordered.add(name);
  };
  for (const name of names) visit(name);
  return [...ordered].map((name) => describe(source, name));
}

function describe(source: DatabaseSync, name: string): Table {
  const columns = source.prepare('select name, pk from pragma_table_info(?) order by cid').all(name);
  const key = columns.filter(({ pk }) => pk !== 0).map((column) => String(column['name']));
  const last = source.prepare('select seq from sqlite_sequence where name = ?').get(name)?.['seq'];
  const column = key[0];
  return {
    name,
    columns: columns.map((column) => String(column['name'])),
    key,
    counter: last === undefined || column === undefined ? undefined : { column, last: Number(last) },
  };
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
