import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SqliteThread } from './sqlite-thread.ts';

const BUSY = 5;
const PRIMARY_KEY = 1555;

let directory: string;
let path: string;
let writer: SqliteThread;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kith-test-'));
  path = join(directory, 'kith.db');
  writer = new SqliteThread({ path, timeoutMs: 0, pragmas: 'pragma journal_mode = wal' }, 50);
  await run('create table things (id integer primary key, bytes blob)');
});
afterEach(async () => {
  await writer.close();
  await rm(directory, { recursive: true });
});

const run = (sql: string, ...parameters: unknown[]) => writer.run(sql, parameters, false);
const runIn = (sql: string, ...parameters: unknown[]) => writer.run(sql, parameters, true);

/** What is committed. */
function stored(): unknown[] {
  using other = new DatabaseSync(path, { readOnly: true });
  return other
    .prepare('select id from things order by id')
    .all()
    .map(({ id }) => id);
}

test('says what a statement did', async () => {
  const bytes = new Uint8Array([0, 255]);
  expect(await run('insert into things values (?, ?)', 7, bytes)).toEqual({
    rows: [],
    numAffectedRows: 1n,
    insertId: 7n,
  });
  expect(await run('select * from things')).toEqual({ rows: [{ id: 7, bytes }] });
  expect(await run('insert into things values (8, null) returning id')).toEqual({ rows: [{ id: 8 }] });
});

test('throws what SQLite says, with its code', async () => {
  await run('insert into things values (1, null)');
  await expect(run('insert into things values (1, null)')).rejects.toMatchObject({
    message: 'UNIQUE constraint failed: things.id',
    errcode: PRIMARY_KEY,
  });
  await expect(run('nonsense')).rejects.toThrow('syntax error');
  using other = new DatabaseSync(path);
  other.exec('begin immediate');
  await expect(run('insert into things values (2, null)')).rejects.toMatchObject({ errcode: BUSY });
});

test('a transaction that SQLite rolled back by itself does not go on as single statements', async () => {
  await run('insert into things values (1, null)');
  await run('begin immediate');
  await runIn('insert into things values (2, null)');
  expect(writer.isTransaction).toBe(true);
  await expect(runIn('insert or rollback into things values (1, null)')).rejects.toMatchObject({
    errcode: PRIMARY_KEY,
  });
  expect(writer.isTransaction).toBe(false);
  await expect(runIn('insert into things values (3, null)')).rejects.toThrow('the transaction was rolled back');
  expect(stored()).toEqual([1]);
});

test('a file that cannot be opened at the moment is opened by a later statement', async () => {
  await writer.close();
  writer = new SqliteThread({ path, timeoutMs: 0, pragmas: '' });
  {
    using other = new DatabaseSync(path);
    other.exec('pragma locking_mode = exclusive; begin exclusive');
    await expect(run('insert into things values (1, null)')).rejects.toMatchObject({ errcode: BUSY });
  }
  await run('insert into things values (1, null)');
  expect(stored()).toEqual([1]);
});

describe('acquiring it', () => {
  test('is for one at a time, in the order they came', async () => {
    await writer.acquire();
    const order: number[] = [];
    const others = [1, 2].map(async (n) => {
      await writer.acquire();
      order.push(n);
      writer.release();
    });
    expect(order).toEqual([]);
    writer.release();
    await Promise.all(others);
    expect(order).toEqual([1, 2]);
  });

  test('is refused after a while, and does not come back to those who were', async () => {
    await writer.acquire();
    const refused = expect.objectContaining({ name: 'Failure', reason: 'server_unavailable' });
    await expect(writer.acquire()).rejects.toEqual(refused);
    await expect(writer.acquire()).rejects.toEqual(refused);
    writer.release();
    await writer.acquire();
    writer.release();
  });
});

test('closing waits for who has it, and leaves no log behind', async () => {
  await writer.acquire();
  await run('begin immediate');
  const closed = writer.close();
  await runIn('insert into things values (1, null)');
  await runIn('commit');
  writer.release();
  await closed;
  expect(stored()).toEqual([1]);
  await writer.close();
});

test('a query that goes on giving rows for too long is ended, and the next one runs', async () => {
  const reader = new SqliteThread({ path, timeoutMs: 0, pragmas: 'pragma query_only = on', rowsMaxMs: 20 });
  const endless = 'with recursive c(x) as (select 1 union all select x + 1 from c) select x from c';
  await expect(reader.run(endless, [], false)).rejects.toThrow('takes too long');
  expect((await reader.run('select 1 as n', [], false)).rows).toEqual([{ n: 1 }]);
  await reader.close();
});
