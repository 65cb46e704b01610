import type { ColumnDataType, ColumnDefinitionBuilder, Dialect as QueryDialect, Kysely, RawBuilder } from 'kysely';
import type { Histogram } from '../metrics/histogram.ts';
import type { Schema } from './schema.ts';

/**
 * All that differs between the databases. A dialect also turns the errors of its
 * driver into the errors below and into Failures with the reason
 * server_unavailable; nothing else in the code looks at driver errors.
 */
export interface Dialect {
  /** For log lines and test names. */
  readonly name: string;
  readonly queries: QueryDialect;
  /**
   * For reads that may take long, where `queries` would run them in everybody's way: in a
   * thread of their own, with a deadline. Each query sees all that was committed before it.
   */
  readonly longReads?: QueryDialect;
  /**
   * Connects for the first time, and resolves to the schema that the tables are in, where
   * there are schemas. Throws DatabaseError when the database is none that can be served,
   * or cannot be reached: DatabaseUnavailable when that may pass by itself.
   */
  prepare(db: Kysely<Schema>): Promise<string | undefined>;
  /**
   * The migrations that were run, in the order of their names, where that is told without a transaction: a start with
   * nothing to migrate waits for none.
   */
  appliedMigrations?(db: Kysely<Schema>): Promise<readonly string[]>;
  /** The column type of text that is compared and sorted byte by byte. */
  readonly orderedText: RawBuilder<unknown>;
  /** Whether transactions run one at a time anyway, whatever they write. */
  readonly isSerial: boolean;
  /** A primary key that counts up and never gives a number twice. */
  readonly sequence: {
    readonly type: ColumnDataType;
    build(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder;
  };
  /** The default of a column that holds the number of the writing transaction. */
  readonly writer: RawBuilder<unknown>;
  /**
   * The oldest transaction that still runs: what those before it wrote is visible
   * where this is read, in the same statement or a later one. Never goes back
   * while the server lives. Above every `writer` where transactions run one at a time.
   */
  readonly horizon: RawBuilder<number>;
  /**
   * Up to where the log is complete: every row at or before this position is
   * visible, and no row will ever appear there again, not after a crash either.
   *
   * Where transactions run side by side, numbers become visible out of order: a
   * reader that goes on from the highest it saw would miss the rest. Rows are
   * therefore ordered by transaction first, and read only below the oldest
   * transaction that still runs.
   */
  endOfLog(db: Kysely<Schema>): Promise<LogPosition>;
  /**
   * What of the log can be read at this moment, which is more than what is complete where
   * transactions run side by side.
   */
  viewOfLog(db: Kysely<Schema>): Promise<LogView>;
  /**
   * Whether the log has come as far as a position. One that it has not comes from
   * before a backup was restored, or from another log.
   */
  hasReached(db: Kysely<Schema>, position: LogPosition): Promise<boolean>;
  /**
   * Makes new rows follow the present ones also where those were written by another
   * server, of which this one holds a restored dump: its transactions count from
   * the start again. Call it once at start.
   */
  resumeLog(db: Kysely<Schema>): Promise<void>;
  /** A table whose rows are to be found by this index, where the database might choose another. */
  byIndex(table: keyof Schema, index: string): RawBuilder<unknown>;
  /** Calls `wake` when another process may have written something new. A hint: it may come late, twice or never. */
  listen(topic: Topic, wake: () => void): AsyncDisposable;
  /** Wakes the listeners of other processes. */
  notify(topic: Topic): void;
  /** The path of a file that lies beside the database, or undefined for a database that is no file. */
  fileBeside(suffix: string): string | undefined;
  /** For metrics. */
  connections(): ConnectionCounts;
  /** How long the commits of transactions took, failed ones too, seconds. */
  readonly commits: Histogram;
  describe(db: Kysely<Schema>): Promise<DatabaseDescription>;
  /** The plan of a statement, as the database prints it. */
  explain(sql: string, parameters: readonly unknown[]): Promise<string[]>;
}

/** For operators. */
export interface DatabaseDescription {
  readonly serverVersion: string;
  /** The schema that the tables are in; '' where there are no schemas. */
  readonly schema: string;
}

/** The bounds of Dialect.commits, seconds: from a disk with a cache of its own to one that stands still. */
export const COMMIT_BOUNDS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What processes wait for: the log, and what ends or changes while access tokens say otherwise. */
export type Topic = 'log' | 'revocations' | 'mails';

/** Connections to a server; of a file, the one that writes. */
export interface ConnectionCounts {
  readonly used: number;
  readonly idle: number;
  /** Tasks that wait for one. */
  readonly waiting: number;
}

/** What a database on a server may take. Not for a file. */
export interface DatabaseLimits {
  /** Connections of one process. */
  readonly connectionsMax: number;
  /** How long a call waits for a connection before it is refused, milliseconds. */
  readonly connectTimeoutMs: number;
  /** How long one statement may take, milliseconds. */
  readonly statementTimeoutMs: number;
  /** How long a transaction may stand idle, milliseconds. */
  readonly idleTransactionTimeoutMs: number;
}

/** A place in the log: after the row with these numbers. */
export interface LogPosition {
  readonly writer: number;
  readonly seq: number;
}

/**
 * What of the log could be read at one moment: all up to `newest` but the rows, still to come
 * then, of transactions that ran.
 */
export interface LogView {
  /** Up to where the log was complete: see Dialect.endOfLog. */
  readonly end: LogPosition;
  /** The last row that could be read; the end where that is all. */
  readonly newest: LogPosition;
  /** The transactions between the two that had not ended, at most RUNNING_MAX. */
  readonly running: readonly number[];
}

/** Of more transactions no view keeps track: such a view ends where the log is complete. */
export const RUNNING_MAX = 128;

/** A write that would repeat a value of a unique column. */
export class UniqueViolation extends Error {
  override readonly name = 'UniqueViolation';
  /** table.column; for a key of several columns, table.something. */
  readonly column: string;

  constructor(column: string, options?: ErrorOptions) {
    super(`${column} is taken`, options);
    this.column = column;
  }
}

/** A transaction that another one got in the way of. Nothing of it happened; running it again may well succeed. */
export class TransactionConflict extends Error {
  override readonly name = 'TransactionConflict';
}

/** A database that cannot be opened; the message is for the operator. */
export class DatabaseError extends Error {
  override readonly name: string = 'DatabaseError';
}

/** A database that cannot be opened at the moment, and may well be later, without anything done here. */
export class DatabaseUnavailable extends DatabaseError {
  override readonly name = 'DatabaseUnavailable';
}
