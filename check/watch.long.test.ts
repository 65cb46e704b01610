import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runCommand } from '../test/support/check-command.ts';
import { startServer } from './cluster.ts';
import type { WatchHistory } from './history.ts';
import { type Round, runRound } from './round.ts';

const TIMEOUT_MS = 900_000;

/** Short rounds, with faults at short intervals. */
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

test(
  'the command finds what a reader loses that goes on from the highest number it saw, and exits with 1',
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

/** Runs the command in an empty directory; `file` is what it wrote there. */
async function check(...args: string[]): Promise<{ code: number; stdout: string; file?: string }> {
  const cwd = await mkdtemp(join(tmpdir(), 'kith-check-'));
  const outcome = await runCommand('check/watch.ts', args, cwd);
  const [path] = /tmp\/\S+\.json/.exec(outcome.stdout) ?? [];
  const file = path === undefined ? {} : { file: await readFile(join(cwd, path), 'utf8') };
  await rm(cwd, { recursive: true });
  return { ...outcome, ...file };
}
