import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase } from './database.ts';
import { replaceInPlace } from './replace-in-place.ts';

let directory: string;
let file: string;
let draft: string;
let aside: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kith-replace-'));
  [file, draft, aside] = ['file', 'draft', 'aside'].map((name) => join(directory, name)) as [string, string, string];
});
afterEach(() => rm(directory, { recursive: true }));

describe('a file that cannot be renamed over', () => {
  test.each([
    ['a larger one', 3_000_000, 5000],
    ['a smaller one', 5000, 3_000_000],
    ['one of the same size', 4096, 4096],
    ['an empty one', 8192, 0],
  ])('holds what is to take the place of %s, which is kept', async (_, after, before) => {
    await writeFile(file, Buffer.alloc(before, 'old'));
    await writeFile(draft, Buffer.alloc(after, 'the new one'));
    const { ino } = await stat(file);
    replaceInPlace(file, draft, aside, () => {});
    expect(await readFile(file)).toEqual(Buffer.alloc(after, 'the new one'));
    expect(await readFile(aside)).toEqual(Buffer.alloc(before, 'old'));
    expect((await stat(file)).ino).toBe(ino);
  });

  test('is no database while it holds two halves', async () => {
    await (await openDatabase(`sqlite:${file}`))[Symbol.asyncDispose]();
    const head = Buffer.alloc(512);
    await writeFile(file, Buffer.concat([head, (await readFile(file)).subarray(head.length)]));
    await expect(openDatabase(`sqlite:${file}`)).rejects.toThrow('the file is not a SQLite database');
  });

  test('stays as it is when there is a copy already', async () => {
    for (const path of [file, draft, aside]) await writeFile(path, path);
    expect(() => replaceInPlace(file, draft, aside, () => {})).toThrow(/EEXIST/);
    expect(await readFile(file, 'utf8')).toBe(file);
    expect(await readFile(aside, 'utf8')).toBe(aside);
  });

  test('stays as it is when what goes before fails', async () => {
    await writeFile(file, 'old');
    await writeFile(draft, Buffer.alloc(4096, 'new'));
    const fail = () => {
      throw new Error('no');
    };
    expect(() => replaceInPlace(file, draft, aside, fail)).toThrow('no');
    expect(await readFile(file, 'utf8')).toBe('old');
  });

  test('stays as it is when there is no space for the new one', async () => {
    const old = Buffer.alloc(8192, 'old');
    await writeFile(file, old);
    await writeFile(draft, Buffer.alloc(3_000_000, 'new'));
    const module = fileURLToPath(new URL('./replace-in-place.ts', import.meta.url));
    const script = `
      const { replaceInPlace } = await import(${JSON.stringify(module)});
      try { replaceInPlace(...process.argv.slice(1), () => {}); } catch (error) { console.log(error.code); }`;
    // A limit of the size of files stands in for a full disk; blocks of 512 or 1024 bytes.
    const limited = ['-c', 'ulimit -f 1000; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script];
    const { stdout } = await promisify(execFile)('sh', [...limited, file, draft, aside]);
    expect(stdout).toBe('EFBIG\n');
    expect(await readFile(file)).toEqual(old);
    expect((await readdir(directory)).toSorted()).toEqual(['aside', 'draft', 'file']);
  });
});
