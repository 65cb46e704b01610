import { randomUUIDv7 } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { comparePositions, isInView } from '../src/activity/log/store.ts';
import { type Database, openDatabase } from '../src/storage/database.ts';
import type { LogPosition } from '../src/storage/dialect.ts';
import { userRow } from './support/rows.ts';
import { type PostgresServer, startPostgres } from './support/postgres-server.ts';

let server: PostgresServer;
let database: Database;
beforeAll(async () => {
  server = await startPostgres();
  database = await openDatabase(server.url('postgres'));
  await database.db
    .insertInto('users')
    .values(userRow({ id: 'u' }))
    .execute();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function append(): Promise<LogPosition> {
  const row = {
    id: randomUUIDv7(),
    user_id: 'u',
    actor_id: null,
    action: 'x',
    details: '',
    attributes: '{}',
    private: 0,
  } as const;
  const { writer, seq } = await database.db
    .insertInto('activity')
    .values({ ...row, event_ms: 0, record_ms: 0 })
    .returning(['writer', 'seq'])
    .executeTakeFirstOrThrow();
  return { writer, seq };
}

/** A transaction that has its number and runs until it is told to end. */
async function beginTransaction(): Promise<{ running: Promise<void>; end: () => void }> {
  const { promise: isRunning, resolve: run } = Promise.withResolvers<void>();
  const { promise: isOver, resolve: end } = Promise.withResolvers<void>();
  const running = database.db.transaction().execute(async (tx) => {
    await sql`select pg_current_xact_id()`.execute(tx);
    run();
    await isOver;
  });
  await isRunning;
  return { running, end };
}

/** What `work` gives, once the database answers again. */
async function onceBack<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch {
      await sleep(20);
    }
  }
}

test('nothing appears before what was the end of the log when the database crashed', async () => {
  const { db, dialect } = database;
  await append();
  // Transactions that roll back, or write nothing, are not yet on the disk when they have ended: after
  // the crash their numbers are given again.
  const rollBack = db.transaction().execute(async (tx) => {
    await sql`select pg_current_xact_id()`.execute(tx);
    throw new Error('rolled back');
  });
  await expect(rollBack).rejects.toThrow('rolled back');
  await sql`notify kith_log`.execute(db);
  const end = await dialect.endOfLog(db);
  await server.stop('immediate');
  await server.start();
  expect(comparePositions(await onceBack(append), end)).toBeGreaterThan(0);
});

test('what is recorded after a crash is in no view from before it, whatever ran when the database crashed', async () => {
  const { db, dialect } = database;
  await append();
  const { running, end } = await beginTransaction();
  const beyond = await append();
  const rollBack = db.transaction().execute(async (tx) => {
    await sql`select pg_current_xact_id()`.execute(tx);
    throw new Error('rolled back');
  });
  await expect(rollBack).rejects.toThrow('rolled back');
  const view = await dialect.viewOfLog(db);
  expect(view.newest).toEqual(beyond);
  expect(view.running).toHaveLength(1);
  await server.stop('immediate');
  await server.start();
  end();
  await running.catch(() => {});
  const after = await onceBack(append);
  expect([beyond, after].map((row) => isInView(view, row))).toEqual([true, false]);
});

test('the end of the log is its last row that no running transaction can come before', async () => {
  const { db, dialect } = database;
  const last = await append();
  const { running, end } = await beginTransaction();
  const later = await append();
  // The server's own upkeep has transactions too, and may hold the end back for a moment.
  await expect.poll(() => dialect.endOfLog(db)).toEqual(last);
  end();
  await running;
  await expect.poll(() => dialect.endOfLog(db)).toEqual(later);
});

test('a connection that is lost between two statements of a transaction ends the transaction alone', async () => {
  const { db } = database;
  const call = database.transaction(async (tx) => {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
    await sql`select pg_terminate_backend(${rows[0]!.pid}, 5000)`.execute(db);
    await sql`select 1`.execute(tx);
  });
  await expect(call).rejects.toMatchObject({ reason: 'server_unavailable' });
  await append();
});
