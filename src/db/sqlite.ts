import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
  type TransactionSettings,
} from 'kysely';
import { LRUCache } from 'lru-cache';
import { Failure } from '../failure.ts';
import { DatabaseError, type Dialect, UniqueViolation } from './dialect.ts';

/** Marks the file as Kith's ("KITH"), https://sqlite.org/pragma.html#pragma_application_id. */
const APPLICATION_ID = 0x4b495448;

/** How long a statement waits for another process that holds the file, such as a backup. */
const BUSY_TIMEOUT_MS = 2000;

const STATEMENTS_CACHED_MAX = 500;

/**
 * Opens or creates the file at `path`.
 *
 * Write-ahead log with synchronous=FULL: what was acknowledged survives a power
 * cut. Throws DatabaseError for a file that is not Kith's, is damaged, or is
 * held by another process.
 */
export function openSqlite(path: string): Dialect {
  const database = openFile(path);
  return {
    name: 'SQLite',
    queries: {
      createAdapter: () => new Adapter(),
      createDriver: () => new SqliteDriver(database),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
    orderedText: sql`text`, // BINARY, SQLite's default collation, compares bytes
    sequence: { type: 'integer', build: (column) => column.primaryKey().autoIncrement() },
    writer: sql`0`, // one transaction at a time: rows become visible in the order of their numbers
    horizon: sql<number>`1`,
    async endOfLog(db) {
      const { rows } = await sql<{ seq: number }>`select seq from sqlite_sequence where name = 'activity'`.execute(db);
      return { writer: 0, seq: rows[0]?.seq ?? 0 };
    },
    async hasReached(db, { writer, seq }) {
      return writer <= 0 && seq <= (await this.endOfLog(db)).seq;
    },
    async resumeLog() {},
    listen: () => ({ async [Symbol.asyncDispose]() {} }), // one process serves a file
    notify() {},
    fileBeside: (suffix) => path + suffix,
    explain: async (query, parameters) =>
      database
        .prepare(`explain query plan ${query}`)
        .all(...(parameters as SQLInputValue[]))
        .map((row) => String(row['detail'])),
  };
}

function openFile(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // SQLite gives its -wal and -shm files the mode of the database: nobody else reads password hashes.
    closeSync(openSync(path, 'a', 0o600));
    const { ino } = statSync(path);
    database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
    claim(database);
    database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off;');
    // From here on the file is not replaced (see holdFile), but it may have been while it was being opened.
    if (statSync(path).ino !== ino) throw new DatabaseError('the file was replaced at this moment: start again');
    return database;
  } catch (error) {
    database?.close();
    throw error instanceof DatabaseError ? error : new DatabaseError(operatorMessage(error), { cause: error });
  }
}

/** Refuses a file that another program wrote, before anything is written to it. */
export function claim(database: DatabaseSync): void {
  if (isMarked(database)) return;
  const id = applicationId(database);
  const tables = database.prepare('select count(*) as n from sqlite_schema').get()?.['n'];
  if (id !== 0 || tables !== 0) throw new DatabaseError('the file is a database of another program');
  database.exec(`pragma application_id = ${APPLICATION_ID}`);
}

/** Whether Kith wrote the file. */
export function isMarked(database: DatabaseSync): boolean {
  return applicationId(database) === APPLICATION_ID;
}

function applicationId(database: DatabaseSync): unknown {
  return database.prepare('pragma application_id').get()?.['application_id'];
}

/** What an operator can do about it. */
export function operatorMessage(error: unknown): string {
  switch (primaryCode(error)) {
    case SQLITE.BUSY:
      return 'another process holds the file locked';
    case SQLITE.NOTADB:
      return 'the file is not a SQLite database';
    case SQLITE.CORRUPT:
      return 'the database file is damaged: restore a backup, or try sqlite3 FILE .recover';
    case SQLITE.READONLY:
      return 'the file and its directory must be writable';
    case SQLITE.FULL:
      return 'the disk is full';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** SQLite's DDL is transactional; Kysely's adapter says otherwise, and would leave half a migration behind. */
class Adapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/**
 * One connection, used by one task at a time: a transaction keeps every other
 * statement waiting, so nothing reads what is not committed. The calls are
 * synchronous, so a transaction lasts as long as its statements, provided its
 * body awaits nothing but the database.
 */
class SqliteDriver implements Driver {
  readonly #database: DatabaseSync;
  readonly #connection: SqliteConnection;
  #idle = Promise.resolve();
  #release = (): void => {};

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#connection = new SqliteConnection(database);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    const turn = this.#idle;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle = promise;
    await turn;
    this.#release = resolve;
    return this.#connection;
  }

  async releaseConnection(): Promise<void> {
    this.#release();
  }

  /** IMMEDIATE takes the write lock at once: a transaction that reads first cannot fail half-way for want of it. */
  async beginTransaction(_: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    this.#connection.exec(settings.accessMode === 'read only' ? 'begin' : 'begin immediate');
  }

  async commitTransaction(): Promise<void> {
    this.#connection.exec('commit');
  }

  async rollbackTransaction(): Promise<void> {
    // A failed commit, e.g. for a full disk, may have rolled back already.
    if (this.#database.isTransaction) this.#connection.exec('rollback');
  }

  async destroy(): Promise<void> {
    await this.#idle;
    this.#connection.close();
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #statements = new LRUCache<string, StatementSync>({ max: STATEMENTS_CACHED_MAX });

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  exec(statement: string): void {
    translated(() => this.#database.exec(statement));
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const values = parameters as SQLInputValue[];
    return translated(() => {
      const statement = this.#prepare(sql);
      if (statement.columns().length > 0) return { rows: statement.all(...values) as R[] };
      const { changes, lastInsertRowid } = statement.run(...values);
      return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
    });
  }

  // oxlint-disable-next-line require-yield -- the interface asks for a generator
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('streaming holds the only connection: read pages instead');
  }

  #prepare(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#database.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }
}

/** Result codes, https://sqlite.org/rescode.html. The low byte of an extended code is its primary code. */
const SQLITE = {
  BUSY: 5,
  LOCKED: 6,
  READONLY: 8,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  NOTADB: 26,
  CONSTRAINT_PRIMARYKEY: 1555,
  CONSTRAINT_UNIQUE: 2067,
};
const UNAVAILABLE = new Set([SQLITE.BUSY, SQLITE.LOCKED, SQLITE.READONLY, SQLITE.IOERR, SQLITE.FULL, SQLITE.CANTOPEN]);
const DAMAGED = new Set([SQLITE.CORRUPT, SQLITE.NOTADB]);

export function isBusy(error: unknown): boolean {
  return primaryCode(error) === SQLITE.BUSY;
}

/** Whether the file is damaged, or no database at all. */
export function isDamage(error: unknown): boolean {
  return DAMAGED.has(primaryCode(error) ?? -1);
}

function resultCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : undefined;
}

function primaryCode(error: unknown): number | undefined {
  const code = resultCode(error);
  return code === undefined ? undefined : code & 0xff;
}

function translated<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    const code = resultCode(error);
    if (code === SQLITE.CONSTRAINT_PRIMARYKEY || code === SQLITE.CONSTRAINT_UNIQUE) {
      // "UNIQUE constraint failed: users.email_key"
      throw new UniqueViolation((error as Error).message.split(': ')[1] ?? '', { cause: error });
    }
    const primary = primaryCode(error) ?? -1;
    if (!UNAVAILABLE.has(primary) && !DAMAGED.has(primary)) throw error;
    const cause = new DatabaseError(operatorMessage(error), { cause: error });
    if (DAMAGED.has(primary)) throw cause;
    throw new Failure('server_unavailable', 'the database cannot be used at the moment: try again', {}, { cause });
  }
}
