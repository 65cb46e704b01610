import { type RawBuilder, SqliteAdapter, sql } from 'kysely';
import type { Db } from './database.ts';

/** Texts, as JSON, as rows with the column `value`: one statement, with one parameter, for however many there are. */
export function textRows(db: Db, json: string): RawBuilder<{ value: string }> {
  // https://sqlite.org/json1.html#jeach, https://www.postgresql.org/docs/current/functions-json.html
  return db.getExecutor().adapter instanceof SqliteAdapter
    ? sql`json_each(${json})`
    : sql`json_array_elements_text(${json}::json)`;
}
