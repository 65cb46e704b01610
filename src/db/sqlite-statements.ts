import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { QueryResult } from 'kysely';
import { LRUCache } from 'lru-cache';

const CACHED_MAX = 500;

export type Outcome = QueryResult<Record<string, unknown>>;

interface Prepared {
  readonly statement: StatementSync;
  readonly givesRows: boolean;
}

/** Runs statements on one connection, and keeps those that were used last prepared. */
export class Statements {
  readonly #database: DatabaseSync;
  readonly #prepared = new LRUCache<string, Prepared>({ max: CACHED_MAX });

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  run(sql: string, parameters: readonly unknown[]): Outcome {
    const { statement, givesRows } = this.#prepare(sql);
    const values = parameters as SQLInputValue[];
    if (givesRows) return { rows: statement.all(...values) };
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
