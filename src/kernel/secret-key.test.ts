import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadSecretKey, SecretKeyError } from './secret-key.ts';

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kith-test-'));
  path = join(dir, 'kith.db.key');
});
afterEach(() => rm(dir, { recursive: true }));

test('the first start makes a secret that only its owner reads, and later starts find it', async () => {
  const secret = loadSecretKey(path, true);
  expect(secret).toHaveLength(32);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readFile(path, 'utf8')).toBe(`${Buffer.from(secret).toString('base64')}\n`);
  expect(loadSecretKey(path, true)).toEqual(secret);
  expect(loadSecretKey(path, false)).toEqual(secret);
});

test('no two installations have the same secret', () => {
  expect(loadSecretKey(path, true)).not.toEqual(loadSecretKey(join(dir, 'other.key'), true));
});

test('a secret that others made is read with and without a line feed', async () => {
  const secret = Buffer.alloc(32, 7);
  for (const end of ['', '\n', '\r\n']) {
    await writeFile(path, secret.toString('base64') + end);
    expect(Buffer.from(loadSecretKey(path, false))).toEqual(secret);
  }
});

test('a secret that is missing is not made anew for a database that has one', async () => {
  expect(() => loadSecretKey(path, false)).toThrow(SecretKeyError);
  expect(() => loadSecretKey(path, false)).toThrow(/kith\.db\.key is missing.*KITH_SECRET_KEY/);
  await expect(stat(path)).rejects.toThrow('ENOENT');
});

test.each([
  ['nothing', ''],
  ['31 bytes', Buffer.alloc(31).toString('base64')],
  ['33 bytes', Buffer.alloc(33).toString('base64')],
  ['something else', 'correct horse battery staple'],
])('a file that holds %s is refused and left alone', async (_, text) => {
  await writeFile(path, text);
  expect(() => loadSecretKey(path, true)).toThrow(SecretKeyError);
  expect(await readFile(path, 'utf8')).toBe(text);
});

test('what cannot be read or written is named', async () => {
  await mkdir(path);
  expect(() => loadSecretKey(path, true)).toThrow(SecretKeyError);
  expect(() => loadSecretKey(path, true)).toThrow(/kith\.db\.key: EISDIR/);
  const nowhere = join(dir, 'missing', 'kith.db.key');
  expect(() => loadSecretKey(nowhere, true)).toThrow(SecretKeyError);
});
