import { type Expression, type SqlBool, SqliteAdapter, sql } from 'kysely';
import type { Db } from './database.ts';

/**
 * Whether a subquery that refers to the outer row finds a row. The subquery selects one column
 * that is never null, with a limit of 1. The database runs it for each outer row, whereas it may
 * turn `exists` and `in` into a join, which reads all rows that match at once.
 */
export function existsPerRow(subquery: Expression<unknown>): Expression<SqlBool> {
  return sql<SqlBool>`${subquery} is not null`;
}

/**
 * A column that a condition compares without an index. Use it beside a condition on a few keys, so
 * that the database does not walk through all rows that meet this condition instead.
 */
export function notIndexed<T>(column: string): Expression<T> {
  const value = sql.ref<T>(column);
  return sql<T>`coalesce(${value}, ${value})`;
}

/**
 * Whether the database merges parts of a union that an index sorts, whatever it believes of their sizes, and so reads no
 * more rows than are asked for. SQLite does; PostgreSQL may read all rows and sort them.
 */
export function alwaysMerges(db: Db): boolean {
  return db.getExecutor().adapter instanceof SqliteAdapter;
}
