import { describe, expect, test } from 'vitest';
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
    ['in the way of Connect', false, short.filter(({ kind }) => kind === 'messages' || kind === 'answers')],
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
