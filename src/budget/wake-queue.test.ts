import { expect, test } from 'vitest';
import { Notification } from './notification.ts';
import { WakeQueue } from './wake-queue.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Waiters that note their names in the order in which they are woken. */
function createWaiters() {
  const woken: string[] = [];
  const waiterOf = (payer: string, name = payer) => ({ payer, wake: () => void woken.push(name) });
  return { woken, waiterOf };
}

test('a few are woken at once, and of many a few in each turn of the loop', async () => {
  const queue = new WakeQueue(10);
  const { woken, waiterOf } = createWaiters();
  for (let i = 0; i < 35; i++) queue.add(waiterOf('user:a'));
  const counts = [woken.length];
  while (queue.size > 0) {
    await turn();
    counts.push(woken.length);
  }
  expect(counts).toEqual([10, 20, 30, 35]);
  queue.add(waiterOf('user:a'));
  expect(woken.length).toBe(36);
});

test('callers take turns: one with thousands delays its own', async () => {
  const queue = new WakeQueue(10);
  const { woken, waiterOf } = createWaiters();
  for (let i = 0; i < 1000; i++) queue.add(waiterOf('user:many'));
  queue.add(waiterOf('user:one'));
  queue.add(waiterOf('user:other'));
  await turn();
  expect(woken.length).toBe(20);
  expect(woken).toEqual(expect.arrayContaining(['user:one', 'user:other']));
});

test('each is woken once for all that it was added for, in the order of the first', async () => {
  const queue = new WakeQueue(1);
  const { woken, waiterOf } = createWaiters();
  const [first, second, third] = ['first', 'second', 'third'].map((name) => waiterOf('user:a', name));
  for (const waiter of [first!, second!, third!, second!, third!]) queue.add(waiter);
  for (let i = 0; i < 5; i++) await turn();
  expect(woken).toEqual(['first', 'second', 'third']);
});

test('what was removed is not woken', async () => {
  const queue = new WakeQueue(1);
  const { woken, waiterOf } = createWaiters();
  const [first, second] = ['first', 'second'].map((name) => waiterOf('user:a', name));
  queue.add(first!);
  queue.add(second!);
  queue.remove(second!);
  expect(queue.size).toBe(0);
  await turn();
  expect(woken).toEqual(['first']);
});

test('tasks that are notified or time out together are woken a few in each turn', async () => {
  for (const ms of [undefined, 1]) {
    const queue = new WakeQueue(10);
    const { signal } = new AbortController();
    const notifications = Array.from({ length: 30 }, () => new Notification(signal, queue, 'user:a'));
    let woken = 0;
    const all = notifications.map(async (notification) => {
      notification.reset();
      await notification.wait(ms);
      woken++;
    });
    if (ms === undefined) for (const notification of notifications) notification.notify();
    let most = 0;
    for (let before = 0; woken < notifications.length; before = woken) {
      await turn();
      most = Math.max(most, woken - before);
    }
    await Promise.all(all);
    expect(most).toBeLessThanOrEqual(20); // of two turns: this test's own is between them
  }
});

test('a task that is aborted while it waits does not wait in the queue', async () => {
  const queue = new WakeQueue(1);
  const ending = new AbortController();
  const { waiterOf } = createWaiters();
  queue.add(waiterOf('user:a'));
  const notification = new Notification(ending.signal, queue, 'user:a');
  notification.reset();
  const waited = notification.wait();
  notification.notify();
  expect(queue.size).toBe(1);
  ending.abort();
  await waited;
  expect(queue.size).toBe(0);
});
