import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteThread } from './sqlite-thread.ts';

/** A file of its own with the table `things`, and the thread that writes to it, which whoever removes the file closes first. */
export async function createWriter(waitMaxMs?: number) {
  const directory = await mkdtemp(join(tmpdir(), 'kith-test-'));
  const path = join(directory, 'kith.db');
  const writer = new SqliteThread({ path, timeoutMs: 0, pragmas: 'pragma journal_mode = wal' }, waitMaxMs);
  await writer.run({ sql: 'create table things (id integer primary key, bytes blob)', parameters: [] });
  return { path, writer, remove: () => rm(directory, { recursive: true }) };
}
