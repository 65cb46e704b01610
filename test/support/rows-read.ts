import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { type Db, openDatabase } from '../../src/storage/database.ts';
import type { TestDatabase } from './databases.ts';
import { type Plan, plansOf } from './plans.ts';

/** The tables whose rows are counted. */
const TABLES = ['contacts', 'contact_terms', 'users', 'user_terms'];

/**
 * How many rows, of tables and of indexes, the statements that `run` runs look at together, where
 * an index is used wherever there is one.
 */
export async function rowsRead(
  { planningUrl }: Pick<TestDatabase, 'planningUrl'>,
  run: (db: Db) => Promise<unknown>,
): Promise<number> {
  // Of a table not much larger than the limit PostgreSQL would rather sort all that match.
  const url = planningUrl.replace('enable_seqscan%3Doff', '$&%20-c%20enable_bitmapscan%3Doff');
  await using database = await openDatabase(url);
  const plans = await plansOf(database, run);
  if (database.dialect.name === 'SQLite') return rowsReadBySqlite(url.slice('sqlite:'.length), plans);
  let rows = 0;
  for (const { sql, parameters } of plans) {
    const analysed = '(analyze, costs off, timing off, summary off, buffers off)';
    rows += rowsOfAnalysis(await database.dialect.explain(`${analysed} ${sql}`, parameters));
  }
  return rows;
}

/**
 * SQLite does not tell. Views in place of the tables, which it merges into the statement, ask
 * a function of each row that it comes to.
 */
function rowsReadBySqlite(file: string, plans: readonly Plan[]): number {
  using database = new DatabaseSync(file);
  let rows = 0;
  database.function('is_seen', { deterministic: false, varargs: true }, () => {
    rows += 1;
    return 1;
  });
  for (const table of TABLES) {
    database.exec(`create temp view ${table} as select * from main.${table} where is_seen(rowid)`);
  }
  for (const { sql, parameters } of plans) database.prepare(sql).all(...(parameters as SQLInputValue[]));
  return rows;
}

/** "Index Scan using ... (actual rows=2.00 loops=50)", then "Rows Removed by Filter: 1", for each loop. */
function rowsOfAnalysis(lines: readonly string[]): number {
  let rows = 0;
  let loops = 0;
  for (const line of lines) {
    const actual = /(?<scan>Scan )?.*\(actual rows=(?<rows>[\d.]+) loops=(?<loops>\d+)\)/.exec(line)?.groups;
    if (actual !== undefined) {
      loops = Number(actual['loops']);
      if (/ Scan (using|on)/.test(line) && !/ Subquery Scan /.test(line)) rows += Number(actual['rows']) * loops;
    }
    const removed = /Rows Removed by (?:Filter|Index Recheck): (\d+)/.exec(line)?.[1];
    if (removed !== undefined) rows += Number(removed) * loops;
  }
  return rows;
}
