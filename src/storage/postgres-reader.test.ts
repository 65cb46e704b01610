import { sql } from 'kysely';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { databases, type TestDatabase } from '../../test/support/databases.ts';
import { startPostgres } from '../../test/support/postgres-server.ts';
import { userRow } from '../../test/support/rows.ts';
import { type Database, type Db, openDatabase } from './database.ts';
import type { DatabaseLimits } from './dialect.ts';
import { prepared } from './prepared.ts';
import type { UserTable } from './schema.ts';

const UNAVAILABLE = { reason: 'server_unavailable' };

/** Longer than any test takes. */
const LONG_MS = 600_000;

const LIMITS: DatabaseLimits = {
  connectionsMax: 3,
  connectTimeoutMs: LONG_MS,
  statementTimeoutMs: LONG_MS,
  idleTransactionTimeoutMs: LONG_MS,
};

const find = prepared((db: Db, id: string) => db.selectFrom('users').selectAll().where('id', '=', id));

/** Finds a user when nobody else holds the lock SLOW. */
const findSlowly = prepared((db: Db, id: string) =>
  db
    .selectFrom('users')
    .select(['id', sql<string>`pg_advisory_xact_lock(${sql.lit(SLOW)})::text`.as('lock')])
    .where('id', '=', id),
);
const SLOW = 4711;

/** So slowly that the others are asked for again meanwhile. */
const findAfterAWhile = prepared((db: Db, id: string) =>
  db
    .selectFrom('users')
    .select(['id', sql<string>`pg_sleep(0.01)::text`.as('slept')])
    .where('id', '=', id),
);

const idsOf = (users: readonly UserTable[]) => users.map(({ id }) => ({ id }));

describe('reads on PostgreSQL', () => {
  let files: TestDatabase;
  /** Somebody else's connection. */
  let other: Client;
  let users: UserTable[];
  beforeEach(async () => {
    files = await databases[1]!.create();
    other = new Client({ connectionString: files.url });
    await other.connect();
    users = Array.from({ length: 20 }, () => userRow());
  });
  afterEach(async () => {
    await other.end();
    await files[Symbol.asyncDispose]();
  });

  async function open(limits: Partial<DatabaseLimits> = {}): Promise<Database> {
    const database = await openDatabase(files.url, { ...LIMITS, ...limits });
    await database.db.insertInto('users').values(users).execute();
    return database;
  }

  const findAll = ({ db }: Database) => Promise.all(users.map(({ id }) => find(db, id)));

  /** Kith's sessions. */
  const SESSIONS = "from pg_stat_activity where datname = current_database() and application_name = 'kith'";
  const WAITING = `${SESSIONS} and wait_event_type = 'Lock'`;
  const count = async (from: string) =>
    (await other.query<{ n: number }>(`select count(*)::int as n ${from}`)).rows[0]!.n;

  const lockUsers = () => other.query('begin; lock table users in access exclusive mode');

  test('all at once get the row that each asked for, also one that is not there', async () => {
    await using database = await open({ connectionsMax: 1 });
    expect(await findAll(database)).toEqual(users);
    const [row, none] = await Promise.all([find(database.db, users[0]!.id), find(database.db, 'nobody')]);
    expect([row, none]).toEqual([users[0], undefined]);
  });

  test('a statement is prepared once for a connection', async () => {
    await using database = await open({ connectionsMax: 1 });
    await findAll(database);
    await findAll(database);
    const { rows } = await sql<{ statement: string }>`
      select statement from pg_prepared_statements where statement like '%"users"%'`.execute(database.db);
    expect(rows).toEqual([{ statement: 'select * from "users" where "id" = $1' }]);
  });

  test('one that is refused does not spoil the others', async () => {
    await using database = await open({ connectionsMax: 1 });
    const [one, all] = await Promise.allSettled([find(database.db, 'no text holds \0'), findAll(database)]);
    expect(one).toMatchObject({ status: 'rejected', reason: { code: '22021' } });
    expect(all).toEqual({ status: 'fulfilled', value: users });
  });

  test('one that is slow does not hold up the others', async () => {
    await using database = await open({ connectionsMax: 2 });
    await other.query(`select pg_advisory_lock(${SLOW})`);
    const slow = findSlowly(database.db, users[0]!.id);
    const behind = findAll(database);
    await expect.poll(() => count(WAITING)).toBe(1);
    expect(await behind).toEqual(users);
    expect(await findAll(database)).toEqual(users);
    expect(await count(WAITING)).toBe(1);
    await other.query(`select pg_advisory_unlock(${SLOW})`);
    expect(await slow).toMatchObject({ id: users[0]!.id });
  });

  test('a transaction gets the only connection although there is always something to read', async () => {
    await using database = await open({ connectionsMax: 1 });
    let going = true;
    const readers = users.map(async ({ id }) => {
      while (going) await findAfterAWhile(database.db, id);
    });
    const name = await database.transaction(async (tx) => {
      await tx.updateTable('users').set({ name: 'Ada' }).where('id', '=', users[0]!.id).execute();
      return (await find(tx, users[0]!.id))?.name;
    });
    going = false;
    await Promise.all(readers);
    expect(name).toBe('Ada');
  });

  test('those that take longer than a statement may are refused, and all is well after', async () => {
    await using database = await open({ statementTimeoutMs: 1000 });
    await lockUsers();
    const some = users.slice(0, 6);
    await Promise.all(some.map(({ id }) => expect(find(database.db, id)).rejects.toMatchObject(UNAVAILABLE)));
    await other.query('rollback');
    await expect.poll(() => findAll(database).catch(String)).toEqual(users);
  });

  test('those that find no connection in time are refused, and all is well after', async () => {
    await using database = await open({ connectionsMax: 1, connectTimeoutMs: 1000 });
    await database.transaction(async () => {
      await Promise.all(users.map(({ id }) => expect(find(database.db, id)).rejects.toMatchObject(UNAVAILABLE)));
    });
    await expect.poll(() => findAll(database).catch(String)).toEqual(users);
  });

  test('those whose connection is lost are refused, and the next has another', async () => {
    await using database = await open();
    await lockUsers();
    const refusals: unknown[] = [];
    for (const { id } of users) find(database.db, id).catch((error: unknown) => refusals.push(error));
    // Nothing is answered while the table is locked, but some may be asked for again elsewhere.
    await expect
      .poll(async () => {
        await other.query(`select pg_terminate_backend(pid) ${WAITING}`);
        return refusals.length;
      })
      .toBe(users.length);
    expect(refusals).toEqual(refusals.map(() => expect.objectContaining(UNAVAILABLE)));
    await other.query('rollback');
    await expect.poll(() => findAll(database).catch(String)).toEqual(users);
  });

  test.skipIf(process.platform !== 'linux')(
    'a connection without an answer is given up, and those behind the first read have another',
    async () => {
      await using database = await open({ connectionsMax: 1, statementTimeoutMs: 2000 });
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(database.db);
      const { pid } = rows[0]!;
      process.kill(pid, 'SIGSTOP');
      try {
        const [first, ...behind] = users.map(({ id }) => find(database.db, id));
        await expect(first).rejects.toMatchObject(UNAVAILABLE);
        expect(await Promise.all(behind)).toEqual(users.slice(1));
      } finally {
        process.kill(pid, 'SIGCONT');
      }
    },
  );

  test('a table that was changed, by a newer version say, is read as before', async () => {
    await using database = await open();
    await findAll(database);
    await other.query('alter table users add column extra text');
    expect(await findAll(database)).toMatchObject(idsOf(users));
    expect(await findAll(database)).toMatchObject(idsOf(users));
  });

  test('a session that has lost its statements, as behind a pooler, is read as before', async () => {
    await using database = await open({ connectionsMax: 1 });
    await findAll(database);
    await sql`deallocate all`.execute(database.db);
    expect(await findAll(database)).toEqual(users);
  });

  test('when the database is closed, reads under way are answered, later ones are refused, no connection is left', async () => {
    const database = await open();
    const underWay = findAll(database);
    await other.query('select 1'); // by then they are
    await database[Symbol.asyncDispose]();
    expect(await underWay).toEqual(users);
    await expect(find(database.db, users[0]!.id)).rejects.toMatchObject(UNAVAILABLE);
    await expect.poll(() => count(SESSIONS)).toBe(0);
  });
});

test('reads are refused while the server is stopped, and all is well when it runs again', async () => {
  await using server = await startPostgres();
  await using database = await openDatabase(server.url('postgres'), LIMITS);
  const row = userRow();
  await database.db.insertInto('users').values(row).execute();
  expect(await find(database.db, row.id)).toEqual(row);
  let going = true;
  const reader = (async () => {
    while (going) await find(database.db, row.id).catch(() => {});
  })();
  await server.stop('immediate');
  await Promise.all(
    Array.from({ length: 20 }, () => expect(find(database.db, row.id)).rejects.toMatchObject(UNAVAILABLE)),
  );
  await server.start();
  await expect.poll(() => find(database.db, row.id).catch(String)).toEqual(row);
  going = false;
  await reader;
});
