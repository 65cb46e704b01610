import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, sql } from 'kysely';
import { expect, test } from 'vitest';
import { databases } from '../../test/support/databases.ts';
import { openPostgres } from './postgres.ts';
import type { Schema } from './schema.ts';

test.skipIf(process.platform !== 'linux')(
  'a notification without an answer does not keep its connection for ever',
  async () => {
    await using files = await databases[1]!.create();
    const limits = { connectTimeoutMs: 2000, statementTimeoutMs: 100, idleTransactionTimeoutMs: 10_000 };
    const dialect = openPostgres(files.url, { ...limits, connectionsMax: 1 });
    const db = new Kysely<Schema>({ dialect: dialect.queries });
    const pid = async () => (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)).rows[0]!.pid;
    const silent = await pid();
    process.kill(silent, 'SIGSTOP');
    try {
      dialect.notify('log');
      await sleep(100); // its timer is shorter, and so fires before this one
      // The only connection is given up, and another one takes its place.
      await expect.poll(() => pid().catch(String)).not.toBe(silent);
      await expect.poll(() => pid().catch(() => 0)).toBeGreaterThan(0);
    } finally {
      process.kill(silent, 'SIGCONT');
      await db.destroy();
    }
  },
);
