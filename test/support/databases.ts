import { randomUUID } from 'node:crypto';
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
  return {
    url: `sqlite:${file}`,
    planningUrl: `sqlite:${file}`,
    env: { KITH_DATABASE_URL: `sqlite:${file}` },
    async dump() {
      using db = new DatabaseSync(file, { readOnly: true });
      const tables = db.prepare("select name from sqlite_schema where type = 'table' order by name").all();
      return JSON.stringify(tables.map(({ name }) => [name, db.prepare(`select * from "${String(name)}"`).all()]));
    },
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
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

async function createPostgres(template: string): Promise<TestDatabase> {
  const name = `kith_${randomUUID().replaceAll('-', '')}`;
  await onServer('postgres', (client) => client.query(`create database ${name} template ${template}`));
  const looking = new KeptClient(name);
  return {
    url: urlOf(name),
    planningUrl: `${urlOf(name)}&options=${encodeURIComponent('-c enable_seqscan=off')}`,
    env: { KITH_DATABASE_URL: urlOf(name), KITH_SECRET_KEY: Buffer.alloc(32, name).toString('base64') },
    dump: () =>
      looking.use(async (client) => {
        const tables = await client.query<{ tablename: string }>(
          "select tablename from pg_tables where schemaname = 'public' order by tablename",
        );
        // All at once: some thirty questions, one after the other, take most of the time of the tests that compare dumps.
        const all = tables.rows.map(({ tablename }) => `select * from "${tablename}" as t order by t::text`).join(';');
        const results = [(await client.query(all)) as unknown as QueryResult | QueryResult[]].flat();
        return JSON.stringify(tables.rows.map(({ tablename }, i) => [tablename, results[i]!.rows]));
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
