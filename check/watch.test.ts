import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { startServer } from './cluster.ts';
import type { WatchHistory } from './history.ts';
import { type Round, runRound } from './round.ts';

const TIMEOUT_MS = 900_000;

/** As long as a suite that runs often can afford, with faults at short intervals. */
const SHORT = { seconds: 6, instances: 2, reader: 'watch', gap: [50, 900] } as const;

describe('while instances, connections and the database fail, a watcher misses nothing and repeats nothing', () => {
  test(
    'on PostgreSQL',
    async () => {
      await using server = await startServer();
      for (const seed of [1, 2]) expectSound(await runRound({ ...SHORT, seed, server }));
    },
    TIMEOUT_MS,
  );

  test(
    'on SQLite',
    async () => {
      expectSound(await runRound({ ...SHORT, seed: 1, server: undefined }));
    },
    TIMEOUT_MS,
  );
});

function expectSound(round: Round): void {
  expect(round.violations).toEqual([]);
  expect(round.acknowledged).toBeGreaterThan(0);
  expect(round.delivered).toBeGreaterThan(0);
  expect(round.resumed).toBeGreaterThan(0);
  expect(Object.keys(round.faults)).not.toEqual([]);
}

describe('the command', () => {
  test(
    'finds what a reader loses that goes on from the highest number it saw, and exits with 1',
    async () => {
      const { code, stdout, file } = await check('--reader', 'naive', '--seeds', '1', '--seconds', '4');
      expect(stdout).toMatch(/^seed 1: .*\d+ lost/);
      expect(stdout).toMatch(/\| violations \| [1-9]/);
      expect(code).toBe(1);
      const { violations, histories } = JSON.parse(file ?? '') as {
        violations: { kind: string }[];
        histories: WatchHistory[];
      };
      expect(violations.map(({ kind }) => kind)).toContain('lost');
      // The log itself is sound: only readers are at fault.
      expect(new Set(histories.map(({ name }) => name)).isSubsetOf(new Set(['reader 1', 'reader 2']))).toBe(true);
      expect(violations.map(({ kind }) => kind)).not.toContain('unwritten');
    },
    TIMEOUT_MS,
  );

  test.each([
    [['--seeds', '0'], '--seeds is a whole number above 0'],
    [['--seconds', 'x'], '--seconds is a whole number above 0'],
    [['--database', 'other'], '--database is postgres or sqlite'],
    [['--reader', 'other'], '--reader is watch or naive'],
    [['--reader', 'naive', '--database', 'sqlite'], 'the naive reader'],
  ])('refuses %s', async (args, message) => {
    const { code, stdout, stderr } = await check(...args);
    expect(code).toBe(64);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
  });
});

/** Runs the command in an empty directory; `file` is what it wrote there. */
async function check(...args: string[]): Promise<{ code: number; stdout: string; stderr: string; file?: string }> {
  const cwd = await mkdtemp(join(tmpdir(), 'kith-check-'));
  const { promise, resolve } = Promise.withResolvers<{ code: number; stdout: string; stderr: string }>();
  const command = fileURLToPath(new URL('watch.ts', import.meta.url));
  execFile(process.execPath, [command, ...args], { cwd }, (error, stdout, stderr) => {
    resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
  });
  const outcome = await promise;
  const [path] = /tmp\/\S+\.json/.exec(outcome.stdout) ?? [];
  const file = path === undefined ? {} : { file: await readFile(join(cwd, path), 'utf8') };
  await rm(cwd, { recursive: true });
  return { ...outcome, ...file };
}
