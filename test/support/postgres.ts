import type { TestProject } from 'vitest/node';
import { startPostgres } from './postgres-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The directory with the socket of a PostgreSQL server for the tests. */
    postgresSocket: string;
  }
}

/** Starts one PostgreSQL for the whole run, which need not survive a power cut. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgres({
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    max_connections: '200',
  });
  project.provide('postgresSocket', server.socket);
  return async () => server[Symbol.asyncDispose]();
}
