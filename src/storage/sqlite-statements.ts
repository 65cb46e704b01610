import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { QueryResult } from 'kysely';
import { LRUCache } from 'lru-cache';
import { systemClock } from '../kernel/clock.ts';

const CACHED_MAX = 500;

export type Outcome = QueryResult<Record<string, unknown>>;

interface Prepared {
  readonly statement: StatementSync;
  readonly givesRows: boolean;
}

/** The error message of a query that takes too long. */
export const TOO_LONG = 'the query takes too long';

function within<Row>(ms: number, rows: Iterable<Row>): Row[] {
  const endMs = systemClock.monotonic() + ms;
  const read: Row[] = [];
  for (const row of rows) {
    read.push(row);
    if (systemClock.monotonic() > endMs) throw new Error(TOO_LONG); // leaves the loop, which resets the statement
  }
  return read;
}

/** Runs statements on one connection, and keeps the most recently used ones prepared. */
export class Statements {
  readonly #database: DatabaseSync;
  readonly #prepared = new LRUCache<string, Prepared>({ max: CACHED_MAX });

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Throws TOO_LONG for a query that goes on giving rows for longer than `rowsMaxMs`. */
  run(sql: string, parameters: readonly unknown[], rowsMaxMs?: number): Outcome {
    const { statement, givesRows } = this.#prepare(sql);
    const values = parameters as SQLInputValue[];
    if (givesRows)
      return {
        rows: rowsMaxMs === undefined ? statement.all(...values) : within(rowsMaxMs, statement.iterate(...values)),
      };
    const { changes, lastInsertRowid } = statement.run(...values);
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }

  /** The first row of a query. */
  first(sql: string, parameters: readonly unknown[]): Outcome['rows'][number] | undefined {
    return this.#prepare(sql).statement.get(...(parameters as SQLInputValue[]));
  }

  close(): void {
    this.#prepared.clear();
    this.#database.close();
  }

  #prepare(sql: string): Prepared {
    let prepared = this.#prepared.get(sql);
    if (prepared === undefined) {
      const statement = this.#database.prepare(sql);
      prepared = { statement, givesRows: statement.columns().length > 0 };
      this.#prepared.set(sql, prepared);
    }
    return prepared;
  }
}
