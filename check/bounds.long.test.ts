import { describe, expect, test } from 'vitest';
import { runCommand } from '../test/support/check-command.ts';
import { runBounds } from './bounds/run.ts';
import { SHAPES } from './bounds/shapes.ts';
import { LIMITS } from './bounds/verdict.ts';

const TIMEOUT_MS = 600_000;

/** Memory, answers, watches and the process: times are the machine's affair here. */
const limits = { ...LIMITS, judgesTime: false };

const short = SHAPES.filter(({ isShort }) => isShort);

describe('whatever arrives, a server with 256 MiB for objects stays within its bounds', () => {
  test.each([
    ['in the fast path', true, short],
    ['in the way of Connect', false, short.filter(({ kind }) => kind === 'messages')],
  ])(
    '%s',
    async (_where, fastPath, shapes) => {
      const target = { fastPath, heapMb: 256, main: undefined, command: [] };
      const broken: Record<string, readonly string[]> = {};
      for await (const result of runBounds({ target, shapes, seconds: 1, seed: 'tests', limits })) {
        if (result.broken.length > 0) broken[result.shape.name] = result.broken;
      }
      expect(broken).toEqual({});
    },
    TIMEOUT_MS,
  );
});

test(
  'the command finds what a server with a smaller bound takes too much of, and exits with 1',
  async () => {
    const args = ['--shapes', '^rapid reset$', '--seconds', '1', '--rss-mb', '10', '--ignore-times'];
    const { code, stdout } = await runCommand('check/bounds.ts', args);
    expect(stdout).toMatch(/^FAIL rapid reset: [^]* MiB resident, of 10 MiB/);
    expect(stdout).toMatch(/\n0 passed, 1 failed\n$/);
    expect(code).toBe(1);
  },
  TIMEOUT_MS,
);
