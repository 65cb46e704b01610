import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { databases } from './support/databases.ts';
import { spawnKith } from './support/process.ts';

/** Exit codes of sysexits(3): a supervisor tries again after the first, and a person has to act after the second. */
const UNAVAILABLE = 69;
const CONFIG = 78;

/** Runs a start to its end. */
async function endOf(url: string, env: Record<string, string> = {}): Promise<{ code: number | null; stderr: string }> {
  await using kith = await spawnKith({
    env: {
      KITH_DATABASE_URL: url,
      KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
      KITH_DATABASE_WAIT_MS: '200',
      ...env,
    },
  });
  const { code, stderr } = await kith.exited;
  return { code, stderr };
}

/** A Unix socket of the name that PostgreSQL gives it, with somebody behind it who does not say anything. */
async function silentServer(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kith-silent-'));
  const server = createServer(() => {}).listen(join(directory, '.s.PGSQL.5432'));
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    await rm(directory, { recursive: true, force: true });
  });
  return directory;
}

const urlIn = (directory: string) => `postgres://ada:secret@/kith?host=${encodeURIComponent(directory)}`;

describe('a start ends with one line', () => {
  test.each<[string, () => Promise<string>, Record<string, string>]>([
    ['nobody listens', async () => urlIn('/nowhere'), {}],
    ['nobody listens, with several workers', async () => urlIn('/nowhere'), { KITH_WORKERS: '2' }],
    ['a port is closed', async () => 'postgres://ada:secret@127.0.0.1:1/kith', {}],
    ['the server does not answer', async () => urlIn(await silentServer()), {}],
  ])('and the code that says to try again when %s', async (_, url, env) => {
    const { code, stderr } = await endOf(await url(), env);
    expect(stderr).toMatch(/^kith: postgres:\/\/\S+: \S.*\n$/);
    expect(stderr).not.toContain('secret');
    expect(code).toBe(UNAVAILABLE);
  });

  test('and the code that says to change something when the database does not exist', async () => {
    await using database = await databases[1]!.create();
    const url = database.url.replace(/kith_\w+/, 'kith_of_another_name');
    const { code, stderr } = await endOf(url);
    expect(stderr).toMatch(/^kith: postgres:\/\/\S+: database "kith_of_another_name" does not exist\n$/);
    expect(code).toBe(CONFIG);
  });

  test('and the code that says to change something when the database is none that can be served', async () => {
    await using database = await databases[1]!.create();
    const { code, stderr } = await endOf(`${database.url}&options=-c search_path=missing`);
    expect(stderr).toMatch(
      /^kith: postgres:\/\/\S+: there is no schema that user postgres may use in search_path .*\n$/,
    );
    expect(code).toBe(CONFIG);
  });

  test.each([
    'postgres://ada:se/cret@db/kith',
    'postgres://ada:secret@db:99999/kith',
    'postgres://ada:se#cret@db/kith',
  ])('and the code that says to change something for %s', async (url) => {
    const { code, stderr } = await endOf(url);
    expect(stderr).toMatch(/^kith: KITH_DATABASE_URL: "postgres:\/\/\.\.\." is not allowed; it must be .*\n$/);
    expect(stderr).not.toMatch(/secret|cret@|ada:/);
    expect(code).toBe(CONFIG);
  });

  test('and the code that says to change something when the user may not', async () => {
    await using database = await databases[1]!.create();
    const url = database.url.replace('postgres@', 'nobody_like_that@');
    const { code, stderr } = await endOf(url);
    expect(stderr).toMatch(/^kith: postgres:\/\/\S+: role "nobody_like_that" does not exist\n$/);
    expect(code).toBe(CONFIG);
  });
});
