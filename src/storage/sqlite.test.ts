import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createOpened, databases } from '../../test/support/databases.ts';
import { userRow } from '../../test/support/rows.ts';
import { type Db, openDatabase, ping } from './database.ts';
import { DatabaseError, UniqueViolation } from './dialect.ts';
import { post } from './posted.ts';

const SERVER_UNAVAILABLE = expect.objectContaining({ name: 'Failure', reason: 'server_unavailable' });

let dir: string;
let path: string;
let url: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-test-'));
  path = join(dir, 'data', 'kith.db');
  url = `sqlite:${path}`;
});
afterEach(() => rm(dir, { recursive: true }));

const insert = (db: Db, row = userRow()) => db.insertInto('users').values(row).execute();
const count = async (db: Db) => (await db.selectFrom('users').select('id').execute()).length;
async function pragma(db: Db, name: string): Promise<unknown> {
  const { rows } = await sql.raw<Record<string, unknown>>(`pragma ${name}`).execute(db);
  return Object.values(rows[0] ?? {})[0];
}

test('what was acknowledged survives a power cut, and rows belong to rows', async () => {
  await using database = await openDatabase(url);
  expect(await pragma(database.db, 'journal_mode')).toBe('wal');
  expect(await pragma(database.db, 'synchronous')).toBe(2);
  expect(await pragma(database.db, 'foreign_keys')).toBe(1);
});

test('nobody but the owner reads the files', async () => {
  await using database = await openDatabase(url);
  await insert(database.db);
  for (const suffix of ['', '-wal', '-shm']) expect((await stat(path + suffix)).mode & 0o777).toBe(0o600);
  expect((await stat(join(dir, 'data'))).mode & 0o777).toBe(0o700);
});

describe('a file that cannot be used is refused and left as it was:', () => {
  test.each<[string, () => Promise<void> | void, RegExp]>([
    ['one that is no database', () => writeFile(path, 'a'.repeat(5000)), /not a SQLite database/],
    [
      'one of another program',
      () => {
        using other = new DatabaseSync(path);
        other.exec('create table things (id)');
      },
      /another program/,
    ],
    [
      'one that another program marked',
      () => {
        using other = new DatabaseSync(path);
        other.exec('pragma application_id = 7');
      },
      /another program/,
    ],
    [
      'one that is cut off',
      async () => {
        {
          await using database = await openDatabase(url);
          for (let i = 0; i < 20; i++) await insert(database.db);
        }
        await writeFile(path, (await readFile(path)).subarray(0, 8192));
      },
      /damaged/,
    ],
  ])('%s', async (_, make, message) => {
    await (await openDatabase(`sqlite:${join(dir, 'data', 'other.db')}`))[Symbol.asyncDispose]();
    await make();
    const before = await readFile(path);
    const error: unknown = await openDatabase(url).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DatabaseError);
    expect(String(error)).toMatch(message);
    expect(String(error)).toContain(url);
    expect(await readFile(path)).toEqual(before);
  });

  test('one that another process holds', async () => {
    await (await openDatabase(url))[Symbol.asyncDispose]();
    using other = new DatabaseSync(path);
    other.exec('pragma locking_mode = exclusive; begin exclusive');
    const error: unknown = await openDatabase(url).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DatabaseError);
    expect(String(error)).toMatch(/another process holds the file locked/);
  });
});

describe('what reads', () => {
  /** Reads without a pause, so that there is a snapshot whenever something is committed. */
  function keepReading(db: Db): Disposable & { readonly reads: () => number } {
    let reads = 0;
    let reading = true;
    const read = (): void => {
      for (let i = 0; i < 3; i++)
        count(db).then(
          () => reads++,
          () => {},
        );
      if (reading) setImmediate(read);
    };
    read();
    return { reads: () => reads, [Symbol.dispose]: () => void (reading = false) };
  }

  test('sees each change from when it is said to be made, whatever else is read meanwhile', async () => {
    await using database = await openDatabase(url);
    using others = keepReading(database.db);
    for (let changes = 0; changes < 100; changes += 2) {
      await insert(database.db);
      expect(await count(database.db)).toBe(changes + 1);
      await database.transaction((tx) => insert(tx));
      expect(await count(database.db)).toBe(changes + 2);
    }
    expect(others.reads()).toBeGreaterThan(100);
  });

  test('sees nothing of a transaction that is rolled back, nor is it held up', async () => {
    await using database = await openDatabase(url);
    using _ = keepReading(database.db);
    for (let i = 0; i < 20; i++) {
      const failing = database.transaction(async (tx) => {
        await insert(tx);
        expect(await count(tx)).toBe(1);
        expect(await count(database.db)).toBe(0);
        throw new Error('rolled back');
      });
      await expect(failing).rejects.toThrow('rolled back');
      expect(await count(database.db)).toBe(0);
    }
  });

  test('leaves the log to be written back, however much is read', async () => {
    await using database = await openDatabase(url);
    using _ = keepReading(database.db);
    // Each is a page of the log, of which SQLite keeps 1,000 before it begins again.
    for (let i = 0; i < 3000; i++) {
      await sql`update activity_purged set seq = ${i}`.execute(database.db);
    }
    expect((await stat(`${path}-wal`)).size).toBeLessThan(2000 * 4096);
  });

  test('sees in the next turn of the loop what another process wrote', async () => {
    await using database = await openDatabase(url);
    using other = new DatabaseSync(path);
    const purged = async () => (await database.db.selectFrom('activity_purged').select('seq').executeTakeFirst())?.seq;
    for (let seq = 1; seq <= 20; seq++) {
      await Promise.all([purged(), purged()]);
      other.exec(`update activity_purged set seq = ${seq}`);
      await nextTurn();
      expect(await purged()).toBe(seq);
    }
  });
});

test('while another process writes, reads go on and writes are refused as unavailable', async () => {
  await using database = await openDatabase(url);
  using other = new DatabaseSync(path);
  other.exec('begin immediate');
  expect(await count(database.db)).toBe(0);
  await expect(database.transaction((tx) => insert(tx))).rejects.toEqual(SERVER_UNAVAILABLE);
  other.exec('rollback');
  await database.transaction((tx) => insert(tx));
  expect(await count(database.db)).toBe(1);
});

test('a transaction that has only read so far keeps other processes from writing, so that it can still write', async () => {
  await using database = await openDatabase(url);
  using other = new DatabaseSync(path, { timeout: 0 });
  await database.transaction(async (tx) => {
    expect(await count(tx)).toBe(0);
    expect(() => other.exec("delete from signing_keys where kid = 'x'")).toThrow('database is locked');
    await insert(tx);
  });
  other.exec("delete from signing_keys where kid = 'x'");
  expect(await count(database.db)).toBe(1);
});

test('a full disk is told as unavailable, takes the transaction back, and lets reads go on', async () => {
  await using database = await openDatabase(url);
  const { db } = database;
  const row = userRow();
  await insert(db, row);
  const pages = Number(await pragma(db, 'page_count'));
  await pragma(db, `max_page_count = ${pages + 10}`);
  const fill = (name: string) =>
    database.transaction(async (tx) => {
      await tx.updateTable('users').set({ name: 'Changed' }).where('id', '=', row.id).execute();
      for (let i = 0; i < 20; i++) await insert(tx, userRow({ name }));
    });
  const error: unknown = await fill('a'.repeat(10_000)).catch((thrown: unknown) => thrown);
  expect(error).toEqual(SERVER_UNAVAILABLE);
  expect((error as Error).cause).toBeInstanceOf(Error);
  expect(await db.selectFrom('users').selectAll().execute()).toEqual([row]);
  expect(await ping(db)).toBe(true);
  await pragma(db, 'max_page_count = 100000');
  await fill('a'.repeat(10_000));
  expect(await count(db)).toBe(21);
});

describe('transactions that wait for their turn', () => {
  const names = async (db: Db) =>
    (await db.selectFrom('users').select('name').orderBy('name').execute()).map((u) => u.name);

  test('are kept or refused each by itself', async () => {
    await using database = await openDatabase(url);
    const taken = userRow({ name: 'one' });
    const outcomes = await Promise.allSettled([
      database.transaction((tx) => insert(tx, taken)),
      database.transaction(async (tx) => {
        await insert(tx, userRow({ name: 'two' }));
        expect(await names(tx)).toEqual(['one', 'two']);
        throw new Error('changed its mind');
      }),
      database.transaction(async (tx) => {
        await insert(tx, userRow({ name: 'three' }));
        await insert(tx, taken);
      }),
      database.transaction(async (tx) => {
        await post(tx, tx.insertInto('users').values(userRow({ name: 'four' })));
        await post(tx, tx.insertInto('users').values(taken));
      }),
      database.transaction((tx) => names(tx)),
      database.transaction((tx) => insert(tx, userRow({ name: 'six' }))),
    ]);
    expect(outcomes).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { message: 'changed its mind' } },
      { status: 'rejected', reason: { name: 'UniqueViolation' } },
      { status: 'rejected', reason: { name: 'UniqueViolation' } },
      { status: 'fulfilled', value: ['one'] },
      { status: 'fulfilled' },
    ]);
    expect(await names(database.db)).toEqual(['one', 'six']);
  });

  test('are told what came of them once it can be read, a refusal for what one before has written too', async () => {
    await using database = await openDatabase(url);
    const lagging: string[] = [];
    const told = async (what: string, found: number) => {
      if ((await count(database.db)) < found) lagging.push(what);
    };
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const found = await database.transaction(async (tx) => {
          await insert(tx);
          return count(tx);
        });
        await told(`written ${i}`, found);
        const refused = database.transaction(async (tx) => {
          throw new Error(String(await count(tx)));
        });
        await refused.catch((error: Error) => told(`refused ${i}`, Number(error.message)));
        await told(`read ${i}`, await database.transaction((tx) => count(tx)));
      }),
    );
    expect(lagging).toEqual([]);
    expect(await count(database.db)).toBe(20);
  });

  test('are done before a statement by itself, and before the file is closed', async () => {
    const database = await openDatabase(url);
    const done: Promise<unknown>[] = [
      database.transaction((tx) => insert(tx)),
      database.transaction((tx) => insert(tx)),
      insert(database.db),
      database.transaction((tx) => insert(tx)),
    ];
    await Promise.all([...done, database[Symbol.asyncDispose]()]);
    using file = new DatabaseSync(path, { readOnly: true });
    expect(file.prepare('select count(*) as n from users').get()).toEqual({ n: 4 });
  });
});

describe('a statement whose result nobody waits for', () => {
  const taken = userRow();
  const postTaken = (tx: Db) => post(tx, tx.insertInto('users').values(taken));

  test('is done before the next one, and kept', async () => {
    await using database = await openDatabase(url);
    await database.transaction(async (tx) => {
      await postTaken(tx);
      expect(await count(tx)).toBe(1);
      await post(tx, tx.updateTable('users').set({ name: 'Changed' }));
    });
    expect(await database.db.selectFrom('users').selectAll().execute()).toEqual([{ ...taken, name: 'Changed' }]);
  });

  test('fails the transaction, even if what comes after it is caught', async () => {
    await using database = await openDatabase(url);
    await insert(database.db, taken);
    const transaction = database.transaction(async (tx) => {
      await insert(tx);
      await postTaken(tx);
      await count(tx).catch(() => {});
    });
    await expect(transaction).rejects.toThrow(UniqueViolation);
    expect(await count(database.db)).toBe(1);
  });

  test('is done on PostgreSQL at once', async () => {
    await using database = await createOpened(databases.find(({ name }) => name === 'PostgreSQL')!);
    await database.transaction(async (tx) => {
      await postTaken(tx);
      expect(await count(tx)).toBe(1);
    });
    await expect(database.transaction(postTaken)).rejects.toThrow(UniqueViolation);
  });
});

test('the columns of a key of several are all named', async () => {
  await using database = await openDatabase(url);
  const { db } = database;
  const { id } = await db.insertInto('users').values(userRow()).returning('id').executeTakeFirstOrThrow();
  const again = () => db.insertInto('user_terms').values({ term: 'a', user_id: id }).execute();
  await again();
  const error: unknown = await again().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UniqueViolation);
  expect(error).toMatchObject({ column: 'user_terms.term, user_terms.user_id' });
});

test('more kinds of statements than are kept prepared all do their work', async () => {
  await using database = await openDatabase(url);
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 600; i++) {
      const { rows } = await sql<{ n: number }>`select ${sql.lit(i)} as n`.execute(database.db);
      expect(rows).toEqual([{ n: i }]);
    }
  }
});

test('rows are not streamed, which would keep everybody else waiting', async () => {
  await using database = await openDatabase(url);
  const stream = database.db.selectFrom('users').selectAll().stream();
  await expect(stream[Symbol.asyncIterator]().next()).rejects.toThrow('read pages instead');
  expect(await ping(database.db)).toBe(true);
});

describe('reads that may take long', () => {
  const countTo = (n: number) =>
    sql<{
      n: number;
    }>`with recursive c(x) as (select 1 union all select x + 1 from c where x < ${sql.lit(n)}) select count(*) as n from c`;

  test('leave the event loop to others', async () => {
    await using database = await openDatabase(url);
    let isDone = false;
    const counted = countTo(1_000_000)
      .execute(database.longReads)
      .finally(() => (isDone = true));
    let turns = 0;
    while (!isDone) {
      await nextTurn();
      turns++;
    }
    expect((await counted).rows).toEqual([{ n: 1_000_000 }]);
    expect(turns).toBeGreaterThan(100);
  });

  test('see what was committed before, and take their turns', async () => {
    await using database = await openDatabase(url);
    for (let i = 1; i <= 20; i++) {
      await insert(database.db);
      const reads = [1, 2, 3].map(() => count(database.longReads));
      expect(await Promise.all(reads)).toEqual([i, i, i]);
    }
  });

  test('write nothing', async () => {
    await using database = await openDatabase(url);
    await expect(insert(database.longReads)).rejects.toThrow(SERVER_UNAVAILABLE);
    await expect(database.longReads.transaction().execute(async (tx) => insert(tx))).rejects.toThrow('by themselves');
    expect(await count(database.db)).toBe(0);
  });
});
