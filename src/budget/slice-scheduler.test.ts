import { expect, test } from 'vitest';
import { SliceScheduler } from './slice-scheduler.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A scheduler on a clock that only its tasks move on, each by a millisecond. */
function schedulerOf(direct: number, sliceMs: number) {
  let nowMs = 0;
  const scheduler = new SliceScheduler({ direct, sliceMs, clock: { monotonic: () => nowMs } });
  const started: string[] = [];
  const start = (name: string) => {
    started.push(name);
    nowMs += 1;
  };
  return {
    scheduler,
    started,
    call(payer: string, name = payer) {
      if (scheduler.mayStart()) start(name);
      else scheduler.add(payer, () => start(name));
    },
  };
}

test('some start at once, the others in slices of a few in each turn of the loop', async () => {
  const { scheduler, started, call } = schedulerOf(3, 4);
  for (let i = 0; i < 20; i++) call('address:192.0.2.1', String(i));
  expect(started.length).toBe(3);
  const counts: number[] = [];
  while (scheduler.waiting > 0) {
    await turn();
    counts.push(started.length);
  }
  expect(counts.slice(0, 3)).toEqual([7, 11, 15]);
  expect(started).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  await turn();
  for (let i = 0; i < 4; i++) call('address:192.0.2.1');
  expect(started.length).toBe(23);
});

test('fewer start at once when they take long', () => {
  const { started, call } = schedulerOf(100, 4);
  for (let i = 0; i < 20; i++) call('user:a');
  expect(started.length).toBe(4);
});

test('a slice grows with what else is done in a turn, so that a busy loop keeps nobody waiting for ever', async () => {
  let nowMs = 0;
  const scheduler = new SliceScheduler({ direct: 0, sliceMs: 2, clock: { monotonic: () => nowMs } });
  let started = 0;
  for (let i = 0; i < 100; i++) {
    scheduler.add('user:u', () => {
      started += 1;
      nowMs += 1;
    });
  }
  await turn();
  const counts = [started];
  for (const othersMs of [6, 1000, 0]) {
    nowMs += othersMs;
    await turn();
    counts.push(started - counts.reduce((sum, count) => sum + count, 0));
  }
  expect(counts).toEqual([2, 6, 10, 2]);
});

test('callers take turns: whoever has one call waits for one of each other caller', async () => {
  const { started, call } = schedulerOf(0, 5);
  for (let i = 0; i < 500; i++) call('user:many');
  for (let i = 0; i < 500; i++) call(`address:192.0.2.${i % 100}`, 'stranger');
  call('user:one');
  await turn();
  expect(started).toContain('user:one');
});

test('nothing starts at once while something waits, so that nothing overtakes', async () => {
  const { started, call } = schedulerOf(1, 1);
  for (const name of ['a', 'b', 'c']) call('user:u', name);
  await turn();
  call('user:u', 'd');
  while (started.length < 4) await turn();
  expect(started).toEqual(['a', 'b', 'c', 'd']);
});

test('what follows from a task before the loop goes on counts as its time', async () => {
  let nowMs = 0;
  const scheduler = new SliceScheduler({ direct: 0, sliceMs: 4, clock: { monotonic: () => nowMs } });
  let started = 0;
  for (let i = 0; i < 10; i++) {
    scheduler.add('user:u', () => {
      started += 1;
      process.nextTick(() => (nowMs += 2));
      void Promise.resolve().then(() => (nowMs += 2));
    });
  }
  await turn();
  expect(started).toBe(1);
});
