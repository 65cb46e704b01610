import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { findFaults } from './faults.ts';

/** A fresh, empty database of one kind. */
export interface TestDatabase extends AsyncDisposable {
  /** KITH_DATABASE_URL. */
  readonly url: string;
  /** All rows of all tables as one text, to see that nothing changed. */
  dump(): Promise<string>;
  /** What is damaged or there by half, as sentences. Ask when nobody writes. */
  faults(): Promise<string[]>;
}

/** Every kind of database that stored data is tested on: `describe.each(databases)`. */
export const databases: readonly { readonly name: string; create(): Promise<TestDatabase> }[] = [
  { name: 'SQLite', create: createSqlite },
];

async function createSqlite(): Promise<TestDatabase> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-test-'));
  const file = join(dir, 'kith.db');
  return {
    url: `sqlite:${file}`,
    async dump() {
      using db = new DatabaseSync(file, { readOnly: true });
      const tables = db.prepare("select name from sqlite_schema where type = 'table' order by name").all();
      return JSON.stringify(tables.map(({ name }) => [name, db.prepare(`select * from "${String(name)}"`).all()]));
    },
    async faults() {
      using db = new DatabaseSync(file, { readOnly: true });
      const damage = db
        .prepare('pragma integrity_check')
        .all()
        .map((row) => String(row['integrity_check']));
      const orphans = db
        .prepare('pragma foreign_key_check')
        .all()
        .map((row) => `an orphan in ${String(row['table'])}`);
      const halves = await findFaults(async (sql) => db.prepare(sql).all());
      return [...damage.filter((line) => line !== 'ok'), ...orphans, ...halves];
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
