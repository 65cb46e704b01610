import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import { systemClock } from '../kernel/clock.ts';
import { Failure } from '../kernel/failure.ts';
import { Histogram } from '../metrics/histogram.ts';
import { COMMIT_BOUNDS_SECONDS, DatabaseError, type Dialect, UniqueViolation } from './dialect.ts';
import { isPosted } from './posted.ts';
import type { ReadingAdapter } from './prepared.ts';
import { SharedCommits } from './sqlite-commits.ts';
import { Reader } from './sqlite-reader.ts';
import { type Outcome, TOO_LONG } from './sqlite-statements.ts';
import { type Part, SqliteThread, type Statement, type WorkerError } from './sqlite-thread.ts';

/** Marks the file as Kith's ("KITH"), https://sqlite.org/pragma.html#pragma_application_id. */
const APPLICATION_ID = 0x4b495448;

/** How long a statement waits for another process that holds the file, such as a backup. */
const BUSY_TIMEOUT_MS = 2000;

/** How long a read that may take long goes on giving rows, milliseconds. */
const LONG_READ_MAX_MS = 2000;

/** Of each connection. The log's mode is the file's. */
const PRAGMAS = 'pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off;';

/**
 * Opens or creates the file at `path`.
 *
 * Write-ahead log with synchronous=FULL: what was acknowledged survives a power
 * cut. Throws DatabaseError for a file that is not Kith's, is damaged, or is
 * held by another process.
 */
export function openSqlite(path: string): Dialect {
  const file = openFile(path);
  const reader = new Reader(file);
  const writer = new SqliteThread({ path: plain(path), timeoutMs: BUSY_TIMEOUT_MS, pragmas: PRAGMAS });
  const commits = new Histogram(COMMIT_BOUNDS_SECONDS);
  const longReader = new SqliteThread({
    path: plain(path),
    timeoutMs: BUSY_TIMEOUT_MS,
    pragmas: `${PRAGMAS} pragma query_only = on;`,
    rowsMaxMs: LONG_READ_MAX_MS,
  });
  return {
    name: 'SQLite',
    queries: {
      createAdapter: () => new Adapter(reader),
      createDriver: () => new SqliteDriver(reader, writer, commits),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
    longReads: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new LongReadDriver(longReader),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
    prepare: async () => undefined, // the file was looked at when it was opened
    async appliedMigrations(db) {
      const { rows: tables } = await sql`select 1 from sqlite_schema where name = 'kysely_migration'`.execute(db);
      if (tables.length === 0) return [];
      const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db);
      return rows.map(({ name }) => name);
    },
    orderedText: sql`text`, // BINARY, SQLite's default collation, compares bytes
    isSerial: true,
    sequence: { type: 'integer', build: (column) => column.primaryKey().autoIncrement() },
    writer: sql`0`, // one transaction at a time: rows become visible in the order of their numbers
    horizon: sql<number>`1`,
    async endOfLog(db) {
      const { rows } = await sql<{ seq: number }>`select seq from sqlite_sequence where name = 'activity'`.execute(db);
      return { writer: 0, seq: rows[0]?.seq ?? 0 };
    },
    async viewOfLog(db) {
      const end = await this.endOfLog(db);
      return { end, newest: end, running: [] };
    },
    async hasReached(db, { writer, seq }) {
      return writer <= 0 && seq <= (await this.endOfLog(db)).seq;
    },
    async resumeLog() {},
    // https://sqlite.org/lang_indexedby.html
    byIndex: (table, index) => sql`(select * from ${sql.table(table)} indexed by ${sql.ref(index)})`,
    listen: () => ({ async [Symbol.asyncDispose]() {} }), // one process serves a file
    notify() {},
    fileBeside: (suffix) => path + suffix,
    connections() {
      const { running, waiting } = writer.tasks;
      return { used: running, idle: 1 - running, waiting };
    },
    commits,
    async describe(db) {
      const { rows } = await sql<{ version: string }>`select sqlite_version() as version`.execute(db);
      return { serverVersion: rows[0]?.version ?? '', schema: '' };
    },
    explain: async (query, parameters) =>
      file
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
    requireNoOther(path);
    closeSync(openSync(path, 'a', 0o600));
    const { ino } = statSync(path);
    database = new DatabaseSync(plain(path), { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
    claim(database);
    database.exec(PRAGMAS);
    database.exec('pragma query_only = on');
    // From here on the file is not replaced (see holdFile), but it may have been while it was being opened.
    if (statSync(path).ino !== ino) throw new DatabaseError('the file was replaced at this moment: start again');
    return database;
  } catch (error) {
    database?.close();
    throw error instanceof DatabaseError ? error : new DatabaseError(operatorMessage(error), { cause: error });
  }
}

/** The path in a form that SQLite does not take for a URI (https://sqlite.org/uri.html) or a database in memory. */
export function plain(path: string): string {
  return resolve(path);
}

/** A pipe or device is not opened: that may wait for ever, and what is written there is lost. */
function requireNoOther(path: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats && !stats.isFile() && !stats.isDirectory()) throw new DatabaseError('this is not a file');
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

class Adapter extends SqliteAdapter implements ReadingAdapter {
  readonly #reader: Reader;

  constructor(reader: Reader) {
    super();
    this.#reader = reader;
  }

  readFirst(query: string, parameters: readonly unknown[]): unknown {
    return translated(() => this.#reader.first(query, parameters));
  }

  /** SQLite's DDL is transactional; Kysely's adapter says otherwise, and would leave half a migration behind. */
  override get supportsTransactionalDdl(): boolean {
    return true;
  }

  /** Kysely need not serialize connections: the driver makes writers wait. */
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

/**
 * Reads in this thread, on a connection of their own, and everything else in the
 * thread that writes. With a write-ahead log neither waits for the other, and what
 * reads sees what is committed.
 */
class SqliteDriver implements Driver {
  readonly #reader: Reader;
  readonly #writer: SqliteThread;
  readonly #commits: SharedCommits;
  readonly #commitTimes: Histogram;
  /** Used again, since Kysely keeps a weak record of each, which takes longer than to look for a row. */
  readonly #unused: SqliteConnection[] = [];

  constructor(reader: Reader, writer: SqliteThread, commitTimes: Histogram) {
    this.#reader = reader;
    this.#writer = writer;
    this.#commits = new SharedCommits(writer, () => reader.renew());
    this.#commitTimes = commitTimes;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<SqliteConnection> {
    return this.#unused.pop() ?? new SqliteConnection(this.#reader, this.#writer, this.#commits);
  }

  async releaseConnection(connection: SqliteConnection): Promise<void> {
    this.#unused.push(connection);
  }

  beginTransaction(connection: SqliteConnection): Promise<void> {
    return connection.begin();
  }

  async commitTransaction(connection: SqliteConnection): Promise<void> {
    const startMs = systemClock.monotonic();
    try {
      await connection.commit();
    } finally {
      this.#commitTimes.observe((systemClock.monotonic() - startMs) / 1000);
    }
  }

  rollbackTransaction(connection: SqliteConnection): Promise<void> {
    return connection.rollback();
  }

  /** The connection that is closed last writes the log back into the file, and waits for the disk. */
  async destroy(): Promise<void> {
    this.#reader.close();
    await this.#commits.close();
  }
}

/** What one task, such as a transaction, sees of the database. */
class SqliteConnection implements DatabaseConnection {
  readonly #reader: Reader;
  readonly #commits: SharedCommits;
  readonly #writer: SqliteThread;
  #transaction: Transaction | undefined;

  constructor(reader: Reader, writer: SqliteThread, commits: SharedCommits) {
    this.#reader = reader;
    this.#writer = writer;
    this.#commits = commits;
  }

  async begin(): Promise<void> {
    await this.#commits.begin();
    this.#transaction = { hasRun: false, posted: [], failure: undefined };
  }

  async commit(): Promise<void> {
    const transaction = this.#transaction!;
    const { hasRun, posted, failure } = transaction;
    if (failure !== undefined) throw failure;
    this.#transaction = undefined;
    await known(this.#commits.keep(hasRun || posted.length > 0 ? { begins: !hasRun, statements: posted } : undefined));
  }

  async rollback(): Promise<void> {
    if (this.#transaction === undefined) return; // it never began, or its commit has failed
    const { hasRun } = this.#transaction;
    this.#transaction = undefined;
    await known(this.#commits.undo(hasRun));
  }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return this.#run(query) as Promise<QueryResult<R>>;
  }

  // oxlint-disable-next-line require-yield -- the interface asks for a generator
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('a stream holds up what is written back from the log: read pages instead');
  }

  async #run(query: CompiledQuery): Promise<Outcome> {
    const { sql, parameters } = query;
    if (this.#transaction !== undefined) return this.#runWithin(this.#transaction, query);
    if (onlyReads(query)) return translated(() => this.#reader.run(sql, parameters));
    return known(this.#commits.alone({ sql, parameters }));
  }

  async #runWithin(transaction: Transaction, query: CompiledQuery): Promise<Outcome> {
    const { sql, parameters } = query;
    if (transaction.failure !== undefined) throw transaction.failure;
    transaction.posted.push({ sql, parameters });
    if (isPosted(query)) return NOTHING;
    const part: Part = { begins: !transaction.hasRun, statements: transaction.posted };
    transaction.posted = [];
    transaction.hasRun = true;
    try {
      return await this.#writer.take(part);
    } catch (error) {
      const thrown = toKnown(error);
      // Without what was posted before, nothing after it makes sense, whoever catches this.
      if ((error as Partial<WorkerError>).isEarlier !== false) transaction.failure = thrown;
      throw thrown;
    }
  }
}

const NOTHING: Outcome = { rows: [] };

/**
 * A transaction that is being run. IMMEDIATE takes the write lock at once: one that reads first cannot fail half-way for
 * want of it.
 */
interface Transaction {
  /** Whether it has begun in the thread. */
  hasRun: boolean;
  /** Statements that are sent with the next one whose result somebody waits for, or with the commit. */
  posted: Statement[];
  /** What one of these failed with: the transaction can only be rolled back. */
  failure: unknown;
}

/** Runs reads one after the other in a thread of their own, where they do not block other calls. */
class LongReadDriver implements Driver {
  readonly #thread: SqliteThread;

  constructor(thread: SqliteThread) {
    this.#thread = thread;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    const thread = this.#thread;
    return {
      async executeQuery<R>({ sql: query, parameters }: CompiledQuery): Promise<QueryResult<R>> {
        await thread.acquire();
        try {
          return (await thread.run({ sql: query, parameters })) as QueryResult<R>;
        } catch (error) {
          throw toKnown(error);
        } finally {
          thread.release();
        }
      },
      // oxlint-disable-next-line require-yield -- the interface asks for a generator
      async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
        throw new Error('read pages instead');
      },
    };
  }

  async releaseConnection(): Promise<void> {}

  beginTransaction = onlyQueries;
  commitTransaction = onlyQueries;
  rollbackTransaction = onlyQueries;

  destroy(): Promise<void> {
    return this.#thread.close();
  }
}

async function onlyQueries(): Promise<never> {
  throw new Error('long reads are queries by themselves');
}

function onlyReads({ query, sql }: CompiledQuery): boolean {
  return query.kind === 'SelectQueryNode' || (query.kind === 'RawNode' && /^\s*select\b/i.test(sql));
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

async function known<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw toKnown(error);
  }
}

function translated<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw toKnown(error);
  }
}

/** The error that the rest of the code knows, in place of SQLite's. */
function toKnown(error: unknown): unknown {
  if (error instanceof Error && error.message === TOO_LONG) {
    return new Failure('server_busy', 'the query takes too long: ask for less', {}, { cause: error });
  }
  const code = resultCode(error);
  if (code === SQLITE.CONSTRAINT_PRIMARYKEY || code === SQLITE.CONSTRAINT_UNIQUE) {
    // "UNIQUE constraint failed: users.email_key"
    return new UniqueViolation((error as Error).message.split(': ')[1] ?? '', { cause: error });
  }
  const primary = primaryCode(error) ?? -1;
  if (!UNAVAILABLE.has(primary) && !DAMAGED.has(primary)) return error;
  const cause = new DatabaseError(operatorMessage(error), { cause: error });
  if (DAMAGED.has(primary)) return cause;
  return new Failure('server_unavailable', 'the database cannot be used at the moment: try again', {}, { cause });
}
