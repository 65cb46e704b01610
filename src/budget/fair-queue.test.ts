import { expect, test, vi } from 'vitest';
import { FairQueue } from './fair-queue.ts';
import { FairSemaphore } from './fair-semaphore.ts';
import { currentPayer, payFor } from './current-payer.ts';

const users = (n: number) => Array.from({ length: n }, (_, i) => `user:${i}`);
const strangers = (n: number) => Array.from({ length: n }, (_, i) => `address:192.0.2.${i}`);

function takeAll(queue: FairQueue<string>, count = Infinity): string[] {
  const taken: string[] = [];
  for (let next = queue.take(); next !== undefined && taken.push(next) < count; ) next = queue.take();
  return taken;
}

test('callers take turns, each one’s own in the order in which they came', () => {
  const queue = new FairQueue<string>();
  for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.add(`user:${item[0]}`, item);
  expect(takeAll(queue)).toEqual(['a1', 'b1', 'c1', 'a2', 'c2', 'a3']);
  expect(queue.size).toBe(0);
});

test('strangers have every second place at the most while users wait, from however many addresses they come', () => {
  const queue = new FairQueue<string>();
  for (const payer of [...strangers(200), ...users(3)]) queue.add(payer, payer);
  expect(takeAll(queue, 6).filter((payer) => payer.startsWith('user:'))).toEqual(users(3));
  expect(queue.size).toBe(197);
});

test('the position of the next item of a caller is at least the number of items that are served until then', () => {
  for (const [some, others] of [
    [users(5), strangers(7)],
    [strangers(5), users(2)],
    [users(4), []],
  ] as const) {
    const queue = new FairQueue<string>();
    for (const payer of [...some, ...some, ...others, ...others, ...others]) queue.add(payer, `${payer} ${queue.size}`);
    const position = queue.positionOfNext(some[1]!);
    queue.add(some[1]!, 'the next');
    const passed = takeAll(queue).indexOf('the next') + 1;
    expect(passed).toBeGreaterThan(0);
    expect(passed).toBeLessThanOrEqual(position);
  }
});

test('what is removed, or of a caller that may not, is not taken', () => {
  const queue = new FairQueue<string>();
  for (const item of ['a1', 'a2', 'b1']) queue.add(`user:${item[0]}`, item);
  expect([queue.remove('user:a', 'a1'), queue.remove('user:a', 'a1'), queue.remove('user:x', 'x')]).toEqual([
    true,
    false,
    false,
  ]);
  expect(queue.take((payer) => payer !== 'user:a')).toBe('b1');
  expect(queue.take((payer) => payer !== 'user:a')).toBeUndefined();
  expect(takeAll(queue)).toEqual(['a2']);
});

test.each([
  ['one caller', (i: number) => i && 'user:a'],
  ['many callers', (i: number) => `user:${i}`],
] as const)('taking an item of %s does not pass over those that were taken before', (_, payerOf) => {
  const queue = new FairQueue<string>();
  for (let i = 1; i <= 1000; i++) for (const item of ['1', '2']) queue.add(String(payerOf(i)), `${i} ${item}`);
  // An iterator of a Map or Set passes over every entry that was deleted since the table was built.
  const iterators = [Map.prototype, Set.prototype].flatMap((of) =>
    ([Symbol.iterator, 'values', 'keys', 'entries'] as const).map((name) =>
      vi.spyOn(of as Set<unknown>, name as 'values'),
    ),
  );
  try {
    for (let i = 0; i < 2000; i++) queue.take();
    expect(iterators.flatMap((iterator) => iterator.mock.calls).length).toBe(0);
  } finally {
    for (const iterator of iterators) iterator.mockRestore();
  }
  expect([queue.size, queue.take()]).toEqual([0, undefined]);
});

test('a semaphore hands out what there is in turn, and no caller more than a share', async () => {
  const semaphore = new FairSemaphore(2, 1);
  const got: string[] = [];
  const take = (payer: string, name: string) => semaphore.acquire(payer).then(() => void got.push(name));
  const all = [take('user:a', 'a1'), take('user:a', 'a2'), take('user:a', 'a3'), take('user:b', 'b1')];
  await new Promise(setImmediate);
  expect([got, semaphore.inUse, semaphore.queue.size]).toEqual([['a1', 'b1'], 2, 2]);
  semaphore.release('user:b');
  all.push(take('address:192.0.2.1', 's1'));
  await new Promise(setImmediate);
  expect(got).toEqual(['a1', 'b1', 's1']);
  semaphore.release('user:a');
  semaphore.release('user:a');
  await Promise.all(all);
  expect(got).toEqual(['a1', 'b1', 's1', 'a2', 'a3']);
});

test('a semaphore refuses whoever waits too long, and serves the others', async () => {
  const semaphore = new FairSemaphore(1);
  await semaphore.acquire('user:a');
  const late = semaphore.acquire('user:b', { maxMs: 5 });
  const patient = semaphore.acquire('user:c', { maxMs: 60_000 });
  await expect(late).rejects.toEqual(expect.objectContaining({ reason: 'server_unavailable' }));
  semaphore.release('user:a');
  await patient;
  expect([semaphore.inUse, semaphore.queue.size]).toEqual([1, 0]);
});

test('work is paid for by whoever it is done for, also what follows from it, and else by the server', async () => {
  const seen = await Promise.all(
    ['user:a', 'user:b'].map((payer) =>
      payFor(payer, async () => {
        await new Promise(setImmediate);
        return currentPayer();
      }),
    ),
  );
  expect([...seen, currentPayer()]).toEqual(['user:a', 'user:b', 'server']);
});
