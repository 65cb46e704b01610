import type { TestProject } from 'vitest/node';
import { startPostgres } from './postgres-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The directories with the sockets of PostgreSQL servers for the tests, one for each file that runs at the same time. */
    postgresSockets: readonly string[];
  }
}

/**
 * Starts PostgreSQL for the whole run, which need not survive a power cut. Files that
 * run side by side have a server each: a transaction in any database of a server
 * holds the end of the log back in all of them, so that what was recorded before a
 * watch began could come after.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const servers = await Promise.all(
    Array.from({ length: project.config.maxWorkers }, () =>
      startPostgres({
        fsync: 'off',
        synchronous_commit: 'off',
        full_page_writes: 'off',
        max_connections: '200',
        // Plans are those of the statistics that a test asks for, whenever it runs: see TestDatabase.analyze.
        autovacuum: 'off',
      }),
    ),
  );
  project.provide(
    'postgresSockets',
    servers.map(({ socket }) => socket),
  );
  return async () => {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  };
}
