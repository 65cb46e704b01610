import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  PostgresAdapter,
  type Kysely,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
  type QueryResult,
  sql,
  type TransactionSettings,
} from 'kysely';
import { DatabaseError as ServerError, Pool, types } from 'pg';
import { systemClock } from '../kernel/clock.ts';
import { currentPayer } from '../budget/current-payer.ts';
import { FairSemaphore } from '../budget/fair-semaphore.ts';
import { Failure } from '../kernel/failure.ts';
import { Histogram } from '../metrics/histogram.ts';
import {
  COMMIT_BOUNDS_SECONDS,
  type DatabaseDescription,
  DatabaseError,
  type DatabaseLimits,
  DatabaseUnavailable,
  type Dialect,
  type LogPosition,
  RUNNING_MAX,
  TransactionConflict,
  UniqueViolation,
} from './dialect.ts';
import { mayPass, requireSuitable } from './postgres-start.ts';
import { cut, PostgresReader } from './postgres-reader.ts';
import { createNotifier, listenForSignals } from './postgres-signals.ts';
import type { ReadingAdapter } from './prepared.ts';
import type { Schema } from './schema.ts';

/** The object id of bigint, https://www.postgresql.org/docs/current/catalog-pg-type.html. */
const BIGINT = 20;

/** How much later than the server's own limit a statement is given up from this side, milliseconds. */
const SILENCE_MS = 1000;

/** Connects when a statement is run, and again when a connection is lost. */
export function openPostgres(url: string, limits: DatabaseLimits): Dialect {
  const pool = new Pool({
    connectionString: url,
    max: limits.connectionsMax,
    connectionTimeoutMillis: limits.connectTimeoutMs,
    statement_timeout: limits.statementTimeoutMs,
    idle_in_transaction_session_timeout: limits.idleTransactionTimeoutMs,
    application_name: 'kith',
    keepAlive: true,
    pipeline: true,
    types: {
      // Counters and milliseconds: within the integers that a number holds exactly.
      getTypeParser: (id: number, format?: 'text' | 'binary') =>
        id === BIGINT && format !== 'binary' ? Number : types.getTypeParser(id, format),
    },
  });
  // A connection that is lost while no statement runs on it, in the pool or within a transaction: the
  // next statement says so, or the pool opens another. Unheard, the event would end the process.
  pool.on('error', () => {}).on('connect', (client) => void client.on('error', () => {}));
  const limitMs = limits.statementTimeoutMs + SILENCE_MS;
  // A caller has half of the connections at the most, and those who wait for one take turns.
  const shares = new FairSemaphore(limits.connectionsMax, Math.ceil(limits.connectionsMax / 2));
  const boundedPool = bounded(pool, limitMs, shares, limits.connectTimeoutMs);
  const commits = new Histogram(COMMIT_BOUNDS_SECONDS);
  return {
    name: 'PostgreSQL',
    queries: new TranslatingDialect(boundedPool, new PostgresReader(pool, limitMs), commits),
    async prepare(db) {
      try {
        return await requireSuitable(db);
      } catch (error) {
        const cause = error instanceof Failure ? error.cause : undefined;
        if (!(cause instanceof Error)) throw error;
        const Kind = mayPass(cause) ? DatabaseUnavailable : DatabaseError;
        throw new Kind(cause.message || String(Reflect.get(cause, 'code')), { cause });
      }
    },
    byIndex: (table) => sql.table(table), // it chooses by statistics
    orderedText: sql`text collate "C"`,
    isSerial: false,
    sequence: { type: 'bigserial', build: (column) => column.primaryKey() },
    writer: sql`(pg_current_xact_id()::text::bigint)`,
    horizon: sql<number>`pg_snapshot_xmin(pg_current_snapshot())::text::bigint`,
    async endOfLog(db) {
      // The last row, and not the horizon itself: transactions that rolled back or only notified may leave
      // no trace on the disk, and after a crash their numbers are given again.
      const { rows } = await sql<LogPosition>`
        with horizon as (
          select pg_snapshot_xmin(pg_current_snapshot())::text::bigint + base as writer from activity_purged)
        (select writer, seq from activity where writer < (select writer from horizon)
          order by writer desc, seq desc limit 1)
        union all
        select writer, seq from activity_purged where writer < (select writer from horizon)
        order by writer desc, seq desc limit 1`.execute(db);
      return rows[0] ?? { writer: -1, seq: 0 };
    },
    async viewOfLog(db) {
      // One statement, and so one snapshot. As far as the last row, and not as the snapshot: see above.
      const { rows } = await sql<LogPosition & { newestWriter: number; newestSeq: number; running: string }>`
        with snapshot as (
          select base, pg_snapshot_xmin(pg_current_snapshot())::text::bigint + base as horizon from activity_purged),
        complete as (
          (select writer, seq from activity where writer < (select horizon from snapshot)
            order by writer desc, seq desc limit 1)
          union all
          select writer, seq from activity_purged where writer < (select horizon from snapshot)
          order by writer desc, seq desc limit 1),
        newest as (select writer, seq from activity order by writer desc, seq desc limit 1)
        select
          coalesce((select writer from complete), -1) as writer,
          coalesce((select seq from complete), 0) as seq,
          coalesce((select writer from newest), -1) as "newestWriter",
          coalesce((select seq from newest), 0) as "newestSeq",
          (select coalesce(string_agg((xid::text::bigint + base)::text, ','), '') from (
            select xid, base from snapshot, pg_snapshot_xip(pg_current_snapshot()) as xid
              where xid::text::bigint + base < (select writer from newest) limit ${sql.lit(RUNNING_MAX + 1)}
          ) as transactions) as running`.execute(db);
      const { writer, seq, newestWriter, newestSeq, running } = rows[0]!;
      const end = { writer, seq };
      const writers = running === '' ? [] : running.split(',').map(Number);
      const isMore = newestWriter > writer && writers.length <= RUNNING_MAX;
      return isMore
        ? { end, newest: { writer: newestWriter, seq: newestSeq }, running: writers }
        : { end, newest: end, running: [] };
    },
    async hasReached(db, { writer }) {
      const { next } = await nextWriter(db);
      return writer < next;
    },
    resumeLog,
    listen: (topic, wake) => listenForSignals(url, topic, wake),
    notify: createNotifier(boundedPool),
    fileBeside: () => undefined,
    connections() {
      const { totalCount, idleCount, waitingCount } = pool;
      return { used: totalCount - idleCount, idle: idleCount, waiting: waitingCount + shares.queue.size };
    },
    commits,
    async describe(db) {
      const { rows } = await sql<DatabaseDescription>`
        select current_setting('server_version') as "serverVersion",
          coalesce(current_schema()::text, '') as "schema"`.execute(db);
      return rows[0] ?? { serverVersion: '', schema: '' };
    },
    async explain(statement, parameters) {
      const { rows } = await pool.query<Record<'QUERY PLAN', string>>(`explain ${statement}`, [...parameters]);
      return rows.map((row) => row['QUERY PLAN']);
    },
  };
}

/**
 * The pool, with connections given up on which a statement has no answer after
 * `limitMs`: a server that hangs, or is out of reach without a word, does not
 * keep its own limits. A statement that lifts those lifts this one as well, until
 * the connection is released. Whoever needs a connection waits for a share of the pool, `waitMaxMs` at the most.
 */
function bounded(pool: Pool, limitMs: number, shares: FairSemaphore, waitMaxMs: number): PostgresPool {
  return {
    options: pool.options,
    end: () => pool.end(),
    async connect() {
      const payer = currentPayer();
      await shares.acquire(payer, { maxMs: waitMaxMs });
      const client = await pool.connect().catch((error: unknown) => {
        shares.release(payer);
        throw error;
      });
      let isBounded = true;
      const query = async (text: string, parameters: readonly unknown[]) => {
        if (/^set (local )?statement_timeout = 0$/.test(text)) isBounded = false;
        const timer = isBounded ? setTimeout(() => cut(client), limitMs) : undefined;
        try {
          return await client.query(text, [...parameters]);
        } finally {
          clearTimeout(timer);
        }
      };
      return {
        query: query as unknown as PostgresPoolClient['query'], // without cursors
        release(destroy?: boolean) {
          shares.release(payer);
          client.release(destroy);
        },
      };
    },
  };
}

interface NextWriter {
  /** The writer of the rows of the next transaction. */
  readonly next: number;
  readonly base: number;
  /** The highest writer of a row. */
  readonly last: number;
}

async function nextWriter(db: Kysely<Schema>): Promise<NextWriter> {
  const { rows } = await sql<NextWriter>`
    select pg_snapshot_xmax(pg_current_snapshot())::text::bigint + base as next, base,
      coalesce((select max(writer) from activity), 0) as last
    from activity_purged`.execute(db);
  return rows[0] ?? { next: 0, base: 0, last: 0 };
}

async function resumeLog(db: Kysely<Schema>): Promise<void> {
  const isBehind = ({ next, last }: NextWriter) => next <= last;
  if (!isBehind(await nextWriter(db))) return;
  await db.transaction().execute(async (tx) => {
    // Nobody appends meanwhile. Another instance that starts may have done it before.
    await sql`lock table activity in share row exclusive mode`.execute(tx);
    const now = await nextWriter(tx);
    if (!isBehind(now)) return;
    const base = sql.lit(now.base + now.last - now.next + 1);
    await sql`update activity_purged set base = ${base}`.execute(tx);
    await sql`
      alter table activity alter column writer set default (pg_current_xact_id()::text::bigint + ${base})`.execute(tx);
  });
}

class TranslatingDialect extends PostgresDialect {
  readonly #reader: PostgresReader;
  readonly #commits: Histogram;

  constructor(pool: PostgresPool, reader: PostgresReader, commits: Histogram) {
    super({ pool });
    this.#reader = reader;
    this.#commits = commits;
  }

  override createAdapter(): Adapter {
    return new Adapter(this.#reader);
  }

  override createDriver(): Driver {
    return new TranslatingDriver(super.createDriver(), this.#commits);
  }
}

class Adapter extends PostgresAdapter implements ReadingAdapter {
  readonly #reader: PostgresReader;

  constructor(reader: PostgresReader) {
    super();
    this.#reader = reader;
  }

  readFirst(query: string, parameters: readonly unknown[]): Promise<unknown> {
    return translated(() => this.#reader.first(query, parameters));
  }

  /** Neither a migration nor waiting for the one that another instance runs is bound by the time that a statement may take. */
  override async acquireMigrationLock(...[db, options]: Parameters<PostgresAdapter['acquireMigrationLock']>) {
    await sql`set statement_timeout = 0`.execute(db);
    await super.acquireMigrationLock(db, options);
  }

  override async releaseMigrationLock(...[db, options]: Parameters<PostgresAdapter['releaseMigrationLock']>) {
    await super.releaseMigrationLock(db, options);
    await sql`reset statement_timeout`.execute(db); // to what the connection was opened with
  }
}

/** Kysely's driver with the errors of the contract's words. */
class TranslatingDriver implements Driver {
  readonly #driver: Driver;
  readonly #commits: Histogram;

  constructor(driver: Driver, commits: Histogram) {
    this.#driver = driver;
    this.#commits = commits;
  }

  init(): Promise<void> {
    return this.#driver.init();
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    return translated(async () => new TranslatingConnection(await this.#driver.acquireConnection()));
  }

  releaseConnection(connection: DatabaseConnection): Promise<void> {
    return this.#driver.releaseConnection(inner(connection));
  }

  beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    return translated(() => this.#driver.beginTransaction(inner(connection), settings));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const startMs = systemClock.monotonic();
    try {
      await translated(() => this.#driver.commitTransaction(inner(connection)));
    } finally {
      this.#commits.observe((systemClock.monotonic() - startMs) / 1000);
    }
  }

  rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    return translated(() => this.#driver.rollbackTransaction(inner(connection)));
  }

  destroy(): Promise<void> {
    return this.#driver.destroy();
  }
}

class TranslatingConnection implements DatabaseConnection {
  readonly inner: DatabaseConnection;

  constructor(connection: DatabaseConnection) {
    this.inner = connection;
  }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return translated(() => this.inner.executeQuery<R>(query));
  }

  streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.inner.streamQuery<R>(query, chunkSize);
  }
}

function inner(connection: DatabaseConnection): DatabaseConnection {
  return connection instanceof TranslatingConnection ? connection.inner : connection;
}

/** SQLSTATE codes, https://www.postgresql.org/docs/current/errcodes-appendix.html. */
const UNIQUE_VIOLATION = '23505';
const CONFLICTS = new Set(['40001', '40P01']); // serialization failure, deadlock
/** Everything else that the server says of a statement which may well succeed later. */
const UNAVAILABLE = /^(08|25006|53|55P03|57|58)/;

async function translated<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown): unknown {
  if (!(error instanceof ServerError)) {
    // No word from the server: the connection was refused, lost, or not to be had in time.
    return error instanceof Error ? unavailable(error) : error;
  }
  const { code = '', table = '', constraint = '' } = error;
  if (code === UNIQUE_VIOLATION) {
    // A unique column's constraint is named TABLE_COLUMN_key, that of the column id TABLE_pkey.
    const column = constraint
      .replace(`${table}_`, '')
      .replace(/^pkey$/, 'id')
      .replace(/_key$/, '');
    return new UniqueViolation(`${table}.${column}`, { cause: error });
  }
  if (CONFLICTS.has(code)) return new TransactionConflict('another transaction got in the way', { cause: error });
  return UNAVAILABLE.test(code) ? unavailable(error) : error;
}

function unavailable(cause: Error): Failure {
  return new Failure('server_unavailable', 'the database cannot be used at the moment: try again', {}, { cause });
}
