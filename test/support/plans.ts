import { Kysely, type KyselyPlugin } from 'kysely';
import type { Database, Db } from '../../src/storage/database.ts';
import type { Schema } from '../../src/storage/schema.ts';

/** One statement and how the database goes about it. */
export interface Plan {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  /** As the database prints it. */
  readonly lines: readonly string[];
  /** The lines that read or sort rows of which there may be any number. */
  readonly unbounded: readonly string[];
  /** The columns that indexes are entered by; none where no index is used. */
  readonly seeks: readonly string[];
}

/** The plans of the very statements that `run` runs, in order. */
export async function plansOf(database: Database, run: (db: Db) => Promise<unknown>): Promise<Plan[]> {
  const statements: { sql: string; parameters: readonly unknown[] }[] = [];
  const db = new Kysely<Schema>({
    dialect: database.dialect.queries,
    log: ({ query }) => void statements.push(query),
    plugins: [SEEN],
  });
  await run(db);
  const read = READERS[database.dialect.name]!;
  const plans: Plan[] = [];
  for (const { sql, parameters } of statements) {
    const lines = await database.dialect.explain(sql, parameters);
    plans.push({ sql, parameters, lines, ...read(sql, lines) });
  }
  return plans;
}

/** With a plugin every statement is one that Kysely runs, and so hears of. */
const SEEN: KyselyPlugin = {
  transformQuery: ({ node }) => node,
  transformResult: async ({ result }) => result,
};

/** How to read the plans of each database, by the name of its dialect. */
const READERS: Record<string, (sql: string, lines: readonly string[]) => Pick<Plan, 'unbounded' | 'seeks'>> = {
  SQLite: (sql, lines) => ({ unbounded: unbounded(sql, lines), seeks: lines.flatMap(seeks) }),
  // Where sequential scans cost more than anything (see TestDatabase.planningUrl), one is left only without an index.
  PostgreSQL: (_, lines) => ({
    unbounded: lines.filter((line) => line.includes('Seq Scan on')),
    seeks: lines
      .filter((line) => line.includes('Index Cond:'))
      .flatMap((line) => line.match(/\w+(?= (?:=|<|>|<=|>=) )/g) ?? []),
  }),
};

/** "SEARCH users USING INDEX users_state (state=? AND id<?)", https://sqlite.org/eqp.html */
function seeks(line: string): string[] {
  const [, columns = ''] = /^SEARCH .* USING (?:COVERING )?INDEX \S+ \((.*)\)/.exec(line) ?? [];
  return columns.match(/\w+(?=[=<>])/g) ?? [];
}

/** A subquery bears the name of its table, so it is told from the table by counting; its own lines say how it is read. */
function unbounded(sql: string, lines: readonly string[]): string[] {
  const subqueries = lines.filter((line) => line.startsWith('CO-ROUTINE ')).map((line) => line.split(' ')[1]);
  return lines.filter((line, i) => {
    if (line === 'SCAN CONSTANT ROW') return false; // of a statement that selects from no table
    const [verb, name] = line.split(' ');
    if (verb === 'SCAN') {
      const subquery = subqueries.indexOf(name);
      if (subquery >= 0) subqueries.splice(subquery, 1);
      return subquery < 0;
    }
    // Sorting what a subquery gives is bounded by its limit.
    if (line.startsWith('USE TEMP B-TREE')) return !(lines[i - 1]?.startsWith('SCAN ') && /limit \?\) as/.test(sql));
    return false;
  });
}
