import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SharedCommits } from './sqlite-commits.ts';
import type { Part, SqliteThread } from './sqlite-thread.ts';
import { createWriter } from './sqlite-thread.testkit.ts';

const FULL = 13;
const PRIMARY_KEY = 1555;

let path: string;
let writer: SqliteThread;
let remove: () => Promise<void>;
beforeEach(async () => {
  ({ path, writer, remove } = await createWriter());
});
afterEach(() => remove());

const run = (sql: string) => writer.run({ sql, parameters: [] });

/** A transaction that inserts rows, the last of them with its end, and is then kept or undone. */
async function insert(commits: SharedCommits, ids: readonly number[], isKept = true, bytes = 0): Promise<void> {
  const statements = ids.map((id) => ({
    sql: 'insert into things values (?, ?)',
    parameters: [id, new Uint8Array(bytes)],
  }));
  await commits.begin();
  try {
    await writer.take({ begins: true, statements: statements.slice(0, -1) });
  } catch (error) {
    await commits.undo(true);
    throw error;
  }
  const last: Part = { begins: false, statements: statements.slice(-1) };
  await (isKept ? commits.keep(last) : commits.undo(true));
}

async function stored(): Promise<unknown[]> {
  return (await run('select id from things order by id')).rows.map(({ id }) => id);
}

/** How many commits the log holds: https://sqlite.org/fileformat2.html#the_write_ahead_log */
async function commitCount(): Promise<number> {
  const log = await readFile(`${path}-wal`);
  let found = 0;
  for (let frame = 32; frame < log.length; frame += 24 + 4096) if (log.readUInt32BE(frame + 4) !== 0) found++;
  return found;
}

test('transactions that wait for their turn share a commit, of which all are told, and one that fails leaves the others', async () => {
  let told = 0;
  const commits = new SharedCommits(writer, () => told++, { transactions: 100, joinMs: Number.POSITIVE_INFINITY });
  const before = await commitCount();
  const outcomes = await Promise.allSettled([
    insert(commits, [1, 2]),
    insert(commits, [3, 4], false),
    insert(commits, [5, 1]),
    insert(commits, [6, 2, 7]),
    insert(commits, [8, 9]),
  ]);
  const taken = { status: 'rejected', reason: { errcode: PRIMARY_KEY } };
  const done = { status: 'fulfilled' };
  expect(outcomes).toMatchObject([done, done, taken, taken, done]);
  expect(told).toBe(1);
  expect((await commitCount()) - before).toBe(1);
  expect(await stored()).toEqual([1, 2, 8, 9]);
  await commits.close();
});

test('no more transactions share a commit than may, and none joins too late', async () => {
  for (const [limits, count] of [
    [{ transactions: 2, joinMs: Number.POSITIVE_INFINITY }, 3],
    [{ transactions: 100, joinMs: 0 }, 5],
  ] as const) {
    let told = 0;
    const commits = new SharedCommits(writer, () => told++, limits);
    await Promise.all([1, 2, 3, 4, 5].map((id) => insert(commits, [id])));
    expect(told).toBe(count);
    await run('delete from things');
  }
  await writer.close();
});

test('none of those that share a commit is kept when the disk is full for one of them', async () => {
  const commits = new SharedCommits(writer, () => {}, { transactions: 100, joinMs: Number.POSITIVE_INFINITY });
  await run('pragma max_page_count = 10');
  const outcomes = await Promise.allSettled([
    insert(commits, [1, 2]),
    insert(commits, [3, 4], false),
    insert(commits, [5, 6], true, 100_000),
    insert(commits, [7, 8]),
  ]);
  const full = { status: 'rejected', reason: { errcode: FULL } };
  expect(outcomes).toMatchObject([full, full, full, full]);
  expect(await stored()).toEqual([]);
  await insert(commits, [9, 10]);
  expect(await stored()).toEqual([9, 10]);
  await commits.close();
});
