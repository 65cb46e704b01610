import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { type Outcome, Statements } from './sqlite-statements.ts';

/**
 * Reads on one connection. Those of one turn of the event loop share a snapshot:
 * taking and leaving the locks of the write-ahead log costs more than finding a row.
 *
 * Call `renew` before a commit is reported to anybody: a read that follows a change
 * then sees it, as if each read had a snapshot of its own.
 */
export class Reader {
  readonly #database: DatabaseSync;
  readonly #statements: Statements;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  #hasRead = false;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#statements = new Statements(database);
    this.#begin = database.prepare('begin');
    this.#commit = database.prepare('commit');
  }

  run(sql: string, parameters: readonly unknown[]): Outcome {
    this.#share();
    return this.#statements.run(sql, parameters);
  }

  /** The first row of a query. */
  first(sql: string, parameters: readonly unknown[]): Outcome['rows'][number] | undefined {
    this.#share();
    return this.#statements.first(sql, parameters);
  }

  /** Makes the next reads see everything that is committed. */
  renew(): void {
    if (this.#database.isOpen && this.#database.isTransaction) this.#commit.run();
  }

  close(): void {
    this.#statements.close();
  }

  /** Begins a snapshot at the second read of a turn: a single read is quicker without one. */
  #share(): void {
    if (!this.#hasRead) {
      this.#hasRead = true;
      setImmediate(this.#endTurn);
    } else if (!this.#database.isTransaction) this.#begin.run();
  }

  readonly #endTurn = (): void => {
    this.#hasRead = false;
    this.renew();
  };
}
