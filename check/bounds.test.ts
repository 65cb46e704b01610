import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { SHAPES } from './bounds/shapes.ts';

const TIMEOUT_MS = 600_000;

test('each kind of attack is among those that are tested', () => {
  const short = SHAPES.filter(({ isShort }) => isShort);
  expect(new Set(short.map(({ kind }) => kind))).toEqual(new Set(SHAPES.map(({ kind }) => kind)));
});

test('each shape has a name of its own', () => {
  expect(new Set(SHAPES.map(({ name }) => name)).size).toBe(SHAPES.length);
});

describe('the command', () => {
  test('finds what a server with a smaller bound takes too much of, and exits with 1', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const { code, stdout } = await check(
      '--shapes',
      '^rapid reset$',
      '--seconds',
      '1',
      '--rss-mb',
      '10',
      '--ignore-times',
    );
    expect(stdout).toMatch(/^FAIL rapid reset: [^]* MiB resident, of 10 MiB/);
    expect(stdout).toMatch(/\n0 passed, 1 failed\n$/);
    expect(code).toBe(1);
  });

  test('lists the shapes', async () => {
    const { code, stdout } = await check('--list');
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(SHAPES.length);
    expect(stdout).toContain('\nrapid reset | HTTP/2 | anybody | ');
  });

  test.each([
    [['--seconds', '0'], '--seconds is a whole number above 0'],
    [['--heap-mb', 'x'], '--heap-mb is a whole number above 0'],
    [['--database', 'other'], '--database is sqlite or postgres'],
    [['--fast-path', 'maybe'], '--fast-path is true or false'],
    [['--shapes', '('], '--shapes is a regular expression'],
    [['--shapes', 'no such shape'], "no shape's name matches"],
  ])('refuses %s', async (args, message) => {
    const { code, stdout, stderr } = await check(...args);
    expect(code).toBe(64);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
  });
});

function check(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; stdout: string; stderr: string }>();
  const command = fileURLToPath(new URL('bounds.ts', import.meta.url));
  execFile(process.execPath, [command, ...args], (error, stdout, stderr) => {
    resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
  });
  return promise;
}
