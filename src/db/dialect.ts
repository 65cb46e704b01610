import type { Dialect as QueryDialect, RawBuilder } from 'kysely';

/**
 * All that differs between the databases. A dialect also turns the errors of its
 * driver into `UniqueViolation` and into Failures with the reason
 * server_unavailable; nothing else in the code looks at driver errors.
 */
export interface Dialect {
  /** For log lines and test names. */
  readonly name: string;
  readonly queries: QueryDialect;
  /** The column type of text that is compared and sorted byte by byte. */
  readonly orderedText: RawBuilder<unknown>;
  /** The plan of a statement, as the database prints it. */
  explain(sql: string, parameters: readonly unknown[]): string[];
}

/** A write that would repeat a value of a unique column. */
export class UniqueViolation extends Error {
  override readonly name = 'UniqueViolation';
  /** table.column, or the columns joined by commas. */
  readonly column: string;

  constructor(column: string, options?: ErrorOptions) {
    super(`${column} is taken`, options);
    this.column = column;
  }
}

/** A database that cannot be opened; the message is for the operator. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
}
