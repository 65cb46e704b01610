import type {
  CompiledQuery,
  DatabaseConnection,
  DialectAdapter,
  Dialect as QueryDialect,
  Driver,
  QueryResult,
  TransactionSettings,
} from 'kysely';
import type { SpanDescription, Tracing } from '../tracing/tracing.ts';
import type { Dialect } from './dialect.ts';
import { isReading } from './prepared.ts';
import { summarizeQuery } from './query-summary.ts';

/** How much of a statement's text is recorded, characters. */
const TEXT_MAX = 2048;

/**
 * A dialect with a span for each statement that is run for a traced call, after OpenTelemetry's conventions for
 * databases. The text is recorded with placeholders; values, rows and what the database says of an error are not.
 */
export function traced(dialect: Dialect, tracing: Tracing): Dialect {
  const statements = new Statements(dialect.name.toLowerCase(), tracing);
  const { queries, longReads } = dialect;
  return {
    ...dialect,
    queries: tracedQueries(queries, statements),
    ...(longReads && { longReads: tracedQueries(longReads, statements) }),
  };
}

/** Runs statements, each in a span. */
class Statements {
  readonly #system: string;
  readonly #tracing: Tracing;

  constructor(system: string, tracing: Tracing) {
    this.#system = system;
    this.#tracing = tracing;
  }

  /** Not a promise where the work returns none. */
  query<T>(sql: string, work: () => T): T {
    const describe = (): SpanDescription => {
      const summary = summarizeQuery(sql);
      return this.#describe(summary, { 'db.query.summary': summary, 'db.query.text': sql.slice(0, TEXT_MAX) });
    };
    return this.#tracing.run(describe, work);
  }

  /** Runs a statement that begins or ends a transaction, whose text depends on the driver. */
  operation<T>(name: 'BEGIN' | 'COMMIT' | 'ROLLBACK', work: () => T): T {
    return this.#tracing.run(() => this.#describe(name, { 'db.operation.name': name }), work);
  }

  #describe(name: string, attributes: Readonly<Record<string, string>>): SpanDescription {
    return {
      name,
      kind: this.#tracing.api.SpanKind.CLIENT,
      attributes: { 'db.system.name': this.#system, ...attributes },
      attributesOf(error) {
        const code = resultCodeOf(error);
        return code === undefined ? {} : { 'db.response.status_code': code, 'error.type': code };
      },
    };
  }
}

function tracedQueries(queries: QueryDialect, statements: Statements): QueryDialect {
  return {
    createAdapter: () => tracedAdapter(queries.createAdapter(), statements),
    createDriver: () => new TracedDriver(queries.createDriver(), statements),
    createIntrospector: (db) => queries.createIntrospector(db),
    createQueryCompiler: () => queries.createQueryCompiler(),
  };
}

function tracedAdapter(adapter: DialectAdapter, statements: Statements): DialectAdapter {
  if (!isReading(adapter)) return adapter;
  const read = adapter.readFirst.bind(adapter);
  adapter.readFirst = (sql, parameters) => statements.query(sql, () => read(sql, parameters));
  return adapter;
}

class TracedDriver implements Driver {
  readonly #driver: Driver;
  readonly #statements: Statements;

  constructor(driver: Driver, statements: Statements) {
    this.#driver = driver;
    this.#statements = statements;
  }

  init(): Promise<void> {
    return this.#driver.init();
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    return new TracedConnection(await this.#driver.acquireConnection(), this.#statements);
  }

  releaseConnection(connection: DatabaseConnection): Promise<void> {
    return this.#driver.releaseConnection(inner(connection));
  }

  beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    return this.#statements.operation('BEGIN', () => this.#driver.beginTransaction(inner(connection), settings));
  }

  commitTransaction(connection: DatabaseConnection): Promise<void> {
    return this.#statements.operation('COMMIT', () => this.#driver.commitTransaction(inner(connection)));
  }

  rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    return this.#statements.operation('ROLLBACK', () => this.#driver.rollbackTransaction(inner(connection)));
  }

  destroy(): Promise<void> {
    return this.#driver.destroy();
  }
}

class TracedConnection implements DatabaseConnection {
  readonly inner: DatabaseConnection;
  readonly #statements: Statements;

  constructor(connection: DatabaseConnection, statements: Statements) {
    this.inner = connection;
    this.#statements = statements;
  }

  executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    return this.#statements.query(query.sql, () => this.inner.executeQuery<R>(query));
  }

  streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.inner.streamQuery<R>(query, chunkSize);
  }
}

function inner(connection: DatabaseConnection): DatabaseConnection {
  return connection instanceof TracedConnection ? connection.inner : connection;
}

/** SQLSTATE of PostgreSQL, or the extended result code of SQLite, in an error or in what caused it. */
function resultCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('errcode' in error && typeof error.errcode === 'number') return String(error.errcode);
  if ('code' in error && typeof error.code === 'string') return error.code;
  return resultCodeOf(error.cause);
}
