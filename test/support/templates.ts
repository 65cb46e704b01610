import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import type { TestProject } from 'vitest/node';
import { openDatabase } from '../../src/storage/database.ts';
import { socketUrl } from './postgres-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Databases with tables and without rows, which tests copy: migrating takes longer. */
    databaseTemplates: {
      /** The path of the file. */
      readonly sqlite: string;
      /** The name of the database, on each of `postgresSockets`. */
      readonly postgres: string;
    };
  }
}

const POSTGRES_TEMPLATE = 'kith_template';

/** Migrates the templates, once for the whole run. Comes after the setup of PostgreSQL. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-template-'));
  const sqlite = join(dir, 'kith.db');
  await migrate(`sqlite:${sqlite}`);
  for (const socket of project.getProvidedContext().postgresSockets) {
    const client = new Client({ connectionString: socketUrl(socket, 'postgres') });
    await client.connect();
    await client.query(`create database ${POSTGRES_TEMPLATE}`);
    await client.end();
    await migrate(socketUrl(socket, POSTGRES_TEMPLATE));
  }
  project.provide('databaseTemplates', { sqlite, postgres: POSTGRES_TEMPLATE });
  return () => rm(dir, { recursive: true, force: true });
}

/** As a server does when it opens the database. Closed, nothing is left in the write-ahead log. */
async function migrate(url: string): Promise<void> {
  const database = await openDatabase(url);
  await database[Symbol.asyncDispose]();
}
