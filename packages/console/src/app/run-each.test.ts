import { expect, test } from 'vitest';
import { type Outcome, runEach } from './run-each.ts';

test('no more than some run at once, and what fails keeps nothing else from being done', async () => {
  let running = 0;
  let runningMax = 0;
  const outcomes = new Map<number, Outcome<number>['kind']>();
  await runEach(
    [1, 2, 3, 4, 5, 6, 7],
    async (item) => {
      runningMax = Math.max(runningMax, ++running);
      await Promise.resolve();
      running -= 1;
      if (item % 3 === 0) throw new Error('refused');
      return item;
    },
    { concurrency: 2, signal: AbortSignal.any([]), onOutcome: (item, { kind }) => outcomes.set(item, kind) },
  );
  expect(runningMax).toBe(2);
  expect([...outcomes].toSorted(([a], [b]) => a - b).map(([, kind]) => kind)).toEqual([
    'done',
    'done',
    'failed',
    'done',
    'done',
    'failed',
    'done',
  ]);
});

test('after it is stopped nothing begins, and what is under way is told', async () => {
  const stopped = new AbortController();
  const told: number[] = [];
  await runEach(
    [1, 2, 3, 4, 5],
    async (item) => {
      if (item === 2) stopped.abort();
    },
    { concurrency: 2, signal: stopped.signal, onOutcome: (item) => told.push(item) },
  );
  expect(told).toEqual([1, 2]);
});
