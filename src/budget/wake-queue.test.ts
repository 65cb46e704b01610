import { expect, test } from 'vitest';
import { Alarm } from './alarm.ts';
import { WakeQueue } from './wake-queue.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Sleepers that note their names in the order in which they are woken. */
function bedroom() {
  const woken: string[] = [];
  const sleeperOf = (payer: string, name = payer) => ({ payer, wake: () => void woken.push(name) });
  return { woken, sleeperOf };
}

test('a few are woken at once, and of many a few in each turn of the loop', async () => {
  const queue = new WakeQueue(10);
  const { woken, sleeperOf } = bedroom();
  for (let i = 0; i < 35; i++) queue.add(sleeperOf('user:a'));
  const counts = [woken.length];
  while (queue.size > 0) {
    await turn();
    counts.push(woken.length);
  }
  expect(counts).toEqual([10, 20, 30, 35]);
  queue.add(sleeperOf('user:a'));
  expect(woken.length).toBe(36);
});

test('callers take turns: one with thousands delays its own', async () => {
  const queue = new WakeQueue(10);
  const { woken, sleeperOf } = bedroom();
  for (let i = 0; i < 1000; i++) queue.add(sleeperOf('user:many'));
  queue.add(sleeperOf('user:one'));
  queue.add(sleeperOf('user:other'));
  await turn();
  expect(woken.length).toBe(20);
  expect(woken).toEqual(expect.arrayContaining(['user:one', 'user:other']));
});

test('each is woken once for all that it was added for, in the order of the first', async () => {
  const queue = new WakeQueue(1);
  const { woken, sleeperOf } = bedroom();
  const [first, second, third] = ['first', 'second', 'third'].map((name) => sleeperOf('user:a', name));
  for (const sleeper of [first!, second!, third!, second!, third!]) queue.add(sleeper);
  for (let i = 0; i < 5; i++) await turn();
  expect(woken).toEqual(['first', 'second', 'third']);
});

test('what was removed is not woken', async () => {
  const queue = new WakeQueue(1);
  const { woken, sleeperOf } = bedroom();
  const [first, second] = ['first', 'second'].map((name) => sleeperOf('user:a', name));
  queue.add(first!);
  queue.add(second!);
  queue.remove(second!);
  expect(queue.size).toBe(0);
  await turn();
  expect(woken).toEqual(['first']);
});

test('alarms that ring or are due together end a few in each turn', async () => {
  for (const ms of [undefined, 1]) {
    const queue = new WakeQueue(10);
    const { signal } = new AbortController();
    const alarms = Array.from({ length: 30 }, () => new Alarm(signal, queue, 'user:a'));
    let woken = 0;
    const all = alarms.map(async (alarm) => {
      alarm.set();
      await alarm.rung(ms);
      woken++;
    });
    if (ms === undefined) for (const alarm of alarms) alarm.ring();
    let most = 0;
    for (let before = 0; woken < alarms.length; before = woken) {
      await turn();
      most = Math.max(most, woken - before);
    }
    await Promise.all(all);
    expect(most).toBeLessThanOrEqual(20); // of two turns: this test's own is between them
  }
});

test('an alarm whose task ends does not wait for its turn', async () => {
  const queue = new WakeQueue(1);
  const ending = new AbortController();
  const { sleeperOf } = bedroom();
  queue.add(sleeperOf('user:a'));
  const alarm = new Alarm(ending.signal, queue, 'user:a');
  alarm.set();
  const rung = alarm.rung();
  alarm.ring();
  expect(queue.size).toBe(1);
  ending.abort();
  await rung;
  expect(queue.size).toBe(0);
});
