import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { QueryResult } from 'kysely';
import { LRUCache } from 'lru-cache';
import { systemClock } from '../kernel/clock.ts';

const CACHED_MAX = 500;

export type Outcome = QueryResult<Record<string, unknown>>;

type Row = Outcome['rows'][number];

interface Prepared {
  readonly statement: StatementSync;
  /** Makes a row of its values; undefined for a statement that gives no rows. */
  readonly toRow: ((values: readonly unknown[]) => Row) | undefined;
}

/** The error message of a query that takes too long. */
export const TOO_LONG = 'the query takes too long';

function within<T>(ms: number, rows: Iterable<T>): T[] {
  const endMs = systemClock.monotonic() + ms;
  const read: T[] = [];
  for (const row of rows) {
    read.push(row);
    if (systemClock.monotonic() > endMs) throw new Error(TOO_LONG); // leaves the loop, which resets the statement
  }
  return read;
}

/**
 * Makes objects of one hidden class (https://v8.dev/docs/hidden-classes) of the values of rows. Those that node:sqlite
 * makes by itself have none: they take longer to make and several times as long to read.
 */
function rowMaker(columns: readonly string[]): (values: readonly unknown[]) => Row {
  const members = columns.map((name, i) => `${JSON.stringify(name)}: values[${i}]`);
  // oxlint-disable-next-line typescript/no-implied-eval -- the names are those of a statement of the server's own, as JSON
  return new Function('values', `return { ${members.join(', ')} };`) as (values: readonly unknown[]) => Row;
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
    const { statement, toRow } = this.#prepare(sql);
    const values = parameters as SQLInputValue[];
    if (toRow !== undefined) {
      const read = rowsMaxMs === undefined ? statement.all(...values) : within(rowsMaxMs, statement.iterate(...values));
      return { rows: (read as unknown as unknown[][]).map(toRow) };
    }
    const { changes, lastInsertRowid } = statement.run(...values);
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }

  /** The first row of a query. */
  first(sql: string, parameters: readonly unknown[]): Outcome['rows'][number] | undefined {
    const { statement, toRow } = this.#prepare(sql);
    const values = statement.get(...(parameters as SQLInputValue[])) as unknown[] | undefined;
    return values && toRow?.(values);
  }

  close(): void {
    this.#prepared.clear();
    this.#database.close();
  }

  #prepare(sql: string): Prepared {
    let prepared = this.#prepared.get(sql);
    if (prepared === undefined) {
      const statement = this.#database.prepare(sql);
      const columns = statement.columns().map(({ name }) => name);
      statement.setReturnArrays(true);
      prepared = { statement, toRow: columns.length === 0 ? undefined : rowMaker(columns) };
      this.#prepared.set(sql, prepared);
    }
    return prepared;
  }
}
