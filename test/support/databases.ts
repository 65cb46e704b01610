import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client, type QueryResult } from 'pg';
import { inject } from 'vitest';
import { type Database, openDatabase } from '../../src/storage/database.ts';
import { findFaults } from './faults.ts';
import { socketUrl } from './postgres-server.ts';

/** A fresh database of one kind, without rows. */
export interface TestDatabase extends AsyncDisposable {
  /** KITH_DATABASE_URL. */
  readonly url: string;
  /** The settings that a process needs to serve it. */
  readonly env: Readonly<Record<string, string>>;
  /** For looking at query plans: the planner takes an index wherever there is one. */
  readonly planningUrl: string;
  /** All rows of all tables as one text, to see that nothing changed. */
  dump(): Promise<string>;
  /** Brings the planner's statistics up to date, as a database does by itself some time after many writes. */
  analyze(): Promise<void>;
  /** What is damaged or there by half, as sentences. Ask when nobody writes. */
  faults(): Promise<string[]>;
}

/** A kind of database. */
export interface DatabaseKind {
  readonly name: string;
  /** With its tables, copied from one that was migrated once for the whole run. */
  create(): Promise<TestDatabase>;
  /** Without tables, for tests of the first start and of migrations. */
  createEmpty(): Promise<TestDatabase>;
}

/** Every kind of database that stored data is tested on: `describe.each(databases)`. */
export const databases: readonly DatabaseKind[] = [
  {
    name: 'SQLite',
    create: () => createSqlite(inject('databaseTemplates').sqlite),
    createEmpty: () => createSqlite(),
  },
  {
    name: 'PostgreSQL',
    create: () => createPostgres(inject('databaseTemplates').postgres),
    createEmpty: () => createPostgres('template1'),
  },
];

/** A fresh database, opened. Disposing closes and removes it. */
export interface OpenedDatabase extends Database {
  readonly files: TestDatabase;
}

export async function createOpened({ create }: Pick<DatabaseKind, 'create'>): Promise<OpenedDatabase> {
  const files = await create();
  const database = await openDatabase(files.url);
  return {
    ...database,
    files,
    async [Symbol.asyncDispose]() {
      await database[Symbol.asyncDispose]();
      await files[Symbol.asyncDispose]();
    },
  };
}

async function createSqlite(template?: string): Promise<TestDatabase> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-test-'));
  const file = join(dir, 'kith.db');
  if (template !== undefined) await copyFile(template, file);
  const dumper = new SqliteDumper(file);
  return {
    url: `sqlite:${file}`,
    planningUrl: `sqlite:${file}`,
    env: { KITH_DATABASE_URL: `sqlite:${file}` },
    dump: async () => dumper.dump(),
    async analyze() {},
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
    async [Symbol.asyncDispose]() {
      dumper.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/**
 * Dumps a file. The database makes the text, which takes a tenth of what rows take as objects. What is unchanged since
 * the last dump, as most tests expect, is not read again.
 */
class SqliteDumper {
  readonly #file: string;
  #open: { readonly db: DatabaseSync; readonly inode: number } | undefined;
  #last: { readonly version: unknown; readonly text: string } | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  dump(): string {
    const db = this.#database();
    // Another number after each commit of another connection (https://sqlite.org/pragma.html#pragma_data_version).
    const { data_version: version } = db.prepare('pragma data_version').get()!;
    if (this.#last !== undefined && this.#last.version === version) return this.#last.text;
    const tables = db.prepare("select name from sqlite_schema where type = 'table' order by name").all();
    const texts = tables.map(({ name }) => `["${String(name)}",${this.#rows(db, String(name))}]`);
    const text = `[${texts.join()}]`;
    this.#last = { version, text };
    return text;
  }

  #rows(db: DatabaseSync, table: string): string {
    const columns = db.prepare('select name, type from pragma_table_info(?)').all(table);
    const pairs = columns.map((column) => {
      const name = String(column['name']);
      return `'${name}', ${column['type'] === 'blob' ? `hex("${name}")` : `"${name}"`}`;
    });
    const query = `select json_group_array(json_object(${pairs.join()})) as rows from "${table}"`;
    return String(db.prepare(query).get()!['rows']);
  }

  /** The file may have been put in place of another one. */
  #database(): DatabaseSync {
    const inode = statSync(this.#file).ino;
    if (this.#open?.inode === inode) return this.#open.db;
    this.close();
    const db = new DatabaseSync(this.#file, { readOnly: true });
    this.#open = { db, inode };
    return db;
  }

  close(): void {
    this.#open?.db.close();
    this.#open = undefined;
    this.#last = undefined;
  }
}

async function createPostgres(template: string): Promise<TestDatabase> {
  const name = `kith_${randomUUID().replaceAll('-', '')}`;
  await onServer('postgres', (client) => client.query(`create database ${name} template ${template}`));
  const looking = new KeptClient(name);
  let last: { readonly position: string; readonly text: string } | undefined;
  return {
    url: urlOf(name),
    planningUrl: `${urlOf(name)}&options=${encodeURIComponent('-c enable_seqscan=off')}`,
    env: { KITH_DATABASE_URL: urlOf(name), KITH_SECRET_KEY: Buffer.alloc(32, name).toString('base64') },
    dump: () =>
      looking.use(async (client) => {
        // Nothing has been written since if the log has not grown, by this database or another one of the server.
        const { rows } = await client.query<{ position: string }>('select pg_current_wal_insert_lsn() as position');
        const { position } = rows[0]!;
        if (last?.position === position) return last.text;
        const tables = await client.query<{ tablename: string }>(
          "select tablename from pg_tables where schemaname = 'public' order by tablename",
        );
        // All at once, and as text: some thirty questions one after the other, and rows as objects, take most of the
        // time of the tests that compare dumps.
        const all = tables.rows.map(
          ({ tablename }) =>
            `select coalesce(string_agg(row, ',' order by row), '') as rows from (select row_to_json(t)::text as row from "${tablename}" as t) as texts`,
        );
        const results = [(await client.query(all.join(';'))) as unknown as QueryResult | QueryResult[]].flat();
        const texts = tables.rows.map(({ tablename }, i) => `["${tablename}",[${String(results[i]?.rows[0]?.rows)}]]`);
        const text = `[${texts.join()}]`;
        last = { position, text };
        return text;
      }),
    analyze: () => onServer(name, async (client) => void (await client.query('vacuum analyze'))),
    faults: () => onServer(name, (client) => findFaults(async (sql) => (await client.query(sql)).rows)),
    async [Symbol.asyncDispose]() {
      await looking.close();
      await onServer('postgres', (client) => client.query(`drop database ${name} with (force)`));
    },
  };
}

/** One connection to a database, opened when it is first used, and again when it was lost: it takes longer than to look. */
class KeptClient {
  readonly #database: string;
  #client: Promise<Client> | undefined;
  #busy: Promise<unknown> = Promise.resolve();

  constructor(database: string) {
    this.#database = database;
  }

  /** One after the other. */
  use<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const working = this.#busy.then(async () => work(await (this.#client ??= this.#connect())));
    this.#busy = working.catch(() => {});
    return working;
  }

  async #connect(): Promise<Client> {
    const client = new Client({ connectionString: urlOf(this.#database) });
    const forget = () => (this.#client = undefined);
    client.on('error', forget).on('end', forget);
    await client.connect().catch((error: unknown) => {
      forget();
      throw error;
    });
    return client;
  }

  async close(): Promise<void> {
    await this.#busy;
    await (await this.#client)?.end();
  }
}

async function onServer<T>(database: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: urlOf(database) });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function urlOf(database: string): string {
  const sockets = inject('postgresSockets');
  const worker = Number(process.env['VITEST_POOL_ID'] ?? 1); // counts from 1
  return socketUrl(sockets[(worker - 1) % sockets.length] ?? '', database);
}
