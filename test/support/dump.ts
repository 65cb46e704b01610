import type { TestDatabase } from './databases.ts';

/** All that is stored but how often sign-ins failed, which is counted whatever becomes of the call. */
export async function dumpButCounts(database: TestDatabase): Promise<string> {
  const tables = JSON.parse(await database.dump()) as [name: string, rows: unknown][];
  return JSON.stringify(tables.filter(([name]) => name !== 'throttles'));
}
