import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Part, SqliteThread } from './sqlite-thread.ts';
import { createWriter } from './sqlite-thread.testkit.ts';

const BUSY = 5;
const PRIMARY_KEY = 1555;

let path: string;
let writer: SqliteThread;
let remove: () => Promise<void>;
beforeEach(async () => {
  ({ path, writer, remove } = await createWriter(50));
});
afterEach(async () => {
  await writer.close();
  await remove();
});

const run = (sql: string, ...parameters: unknown[]) => writer.run({ sql, parameters });

/** A part of a transaction of such statements. */
const part = (
  begins: boolean,
  ends: Part['ends'],
  ...statements: readonly (readonly [string, ...unknown[]])[]
): Part => ({
  begins,
  statements: statements.map(([sql, ...parameters]) => ({ sql, parameters })),
  ends,
});
const insertion = (id: number) => ['insert into things values (?, null)', id] as const;
const OR_ROLLBACK = ['insert or rollback into things values (1, null)'] as const;

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

describe('transactions that share a commit', () => {
  test('are kept or undone each by itself', async () => {
    await writer.take(part(true, undefined, insertion(1)));
    await writer.take(part(false, 'keep', insertion(2)));
    await writer.take(part(true, undefined, insertion(3)));
    await writer.take(part(false, 'undo'));
    await writer.take(part(true, 'keep', insertion(4)));
    expect(stored()).toEqual([]);
    await writer.run('commit');
    expect(stored()).toEqual([1, 2, 4]);
  });

  test('of which the first is undone leave the others', async () => {
    await writer.take(part(true, 'undo', insertion(1)));
    await writer.take(part(true, 'keep', insertion(2)));
    await writer.run('commit');
    expect(stored()).toEqual([2]);
  });

  test('of which the last part of one fails leave the others, in one message too', async () => {
    const first = writer.queue(part(true, 'keep', insertion(1)));
    const failing = writer.queue(part(true, 'keep', insertion(2), insertion(1), insertion(3)));
    const last = writer.queue(part(true, 'keep', insertion(4)));
    const committed = writer.run('commit');
    await expect(failing).rejects.toMatchObject({ errcode: PRIMARY_KEY, isEarlier: true });
    await Promise.all([first, last, committed]);
    expect(stored()).toEqual([1, 4]);
  });

  test('say whether a part failed before its last statement', async () => {
    await writer.take(part(true, undefined, insertion(1)));
    await expect(writer.take(part(false, undefined, insertion(2), insertion(1)))).rejects.toMatchObject({
      isEarlier: false,
    });
    await expect(writer.take(part(false, undefined, insertion(1), insertion(3)))).rejects.toMatchObject({
      isEarlier: true,
    });
    await writer.take(part(false, 'undo'));
    await writer.run('commit');
    expect(stored()).toEqual([]);
  });

  test('say so of one that could not begin, since another process writes', async () => {
    using other = new DatabaseSync(path);
    other.exec('begin immediate');
    const busy = new SqliteThread({ path, timeoutMs: 0, pragmas: '', rowsMaxMs: 1000 });
    await expect(busy.take(part(true, undefined, insertion(1)))).rejects.toMatchObject({ isEarlier: true });
    other.exec('rollback');
    await busy.close();
  });

  test('that SQLite rolled back by itself do not go on as single statements', async () => {
    await run(...insertion(1));
    await writer.take(part(true, undefined, insertion(2)));
    await expect(writer.take(part(false, undefined, OR_ROLLBACK))).rejects.toMatchObject({ errcode: PRIMARY_KEY });
    await expect(writer.take(part(false, undefined, insertion(3)))).rejects.toThrow('the transaction was rolled back');
    await writer.take(part(false, 'undo'));
    expect(stored()).toEqual([1]);
    await writer.take(part(true, 'keep', insertion(4)));
    await writer.run('commit');
    expect(stored()).toEqual([1, 4]);
  });

  test('that SQLite rolled back by itself are all lost, whatever comes before the commit, and nothing after it', async () => {
    await run(...insertion(1));
    await writer.take(part(true, 'keep', insertion(2)));
    await expect(writer.take(part(true, 'keep', OR_ROLLBACK))).rejects.toMatchObject({ errcode: PRIMARY_KEY });
    await expect(writer.take(part(true, 'keep', insertion(3)))).rejects.toMatchObject({ errcode: PRIMARY_KEY });
    await expect(writer.run('commit')).rejects.toMatchObject({ errcode: PRIMARY_KEY });
    expect(stored()).toEqual([1]);
    await writer.take(part(true, 'keep', insertion(4)));
    await writer.run('commit');
    expect(stored()).toEqual([1, 4]);
  });
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
  await writer.take(part(true, undefined));
  const closed = writer.close();
  await writer.take(part(false, 'keep', insertion(1)));
  await writer.run('commit');
  writer.release();
  await closed;
  expect(stored()).toEqual([1]);
  await writer.close();
});

test('a query that goes on giving rows for too long is ended, and the next one runs', async () => {
  const reader = new SqliteThread({ path, timeoutMs: 0, pragmas: 'pragma query_only = on', rowsMaxMs: 20 });
  const endless = 'with recursive c(x) as (select 1 union all select x + 1 from c) select x from c';
  await expect(reader.run({ sql: endless, parameters: [] })).rejects.toThrow('takes too long');
  expect((await reader.run({ sql: 'select 1 as n', parameters: [] })).rows).toEqual([{ n: 1 }]);
  await reader.close();
});
