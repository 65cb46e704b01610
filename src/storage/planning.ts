import { type Expression, type SqlBool, sql } from 'kysely';

/**
 * Whether a subquery that refers to the row outside finds anything: give it one column that is
 * never null, and a limit of 1. It is run for each row by itself, where `exists` and
 * `in` may be turned into a join, which reads all that matches at once.
 */
export function isThere(subquery: Expression<unknown>): Expression<SqlBool> {
  return sql<SqlBool>`${subquery} is not null`;
}

/**
 * A column that is looked at and not looked for: no index of it is used. For conditions beside
 * one on a few keys, where walking through all that meet them would be the other way.
 */
export function lookedAt<T>(column: string): Expression<T> {
  const value = sql.ref<T>(column);
  return sql<T>`coalesce(${value}, ${value})`;
}
