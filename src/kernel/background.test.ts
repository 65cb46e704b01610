import { expect, test } from 'vitest';
import { Background } from './background.ts';

/** A task that ends when it is told to. */
function heldTask() {
  const started = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const task = (): Promise<void> => {
    started.resolve();
    return held.promise;
  };
  return { task, started: started.promise, finish: held.resolve, fail: held.reject };
}

test('a task runs after what is under way, promises included', async () => {
  await using background = new Background(() => {});
  const order: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  background.run(async () => {
    order.push('task');
    resolve();
  });
  order.push('call');
  await Promise.resolve();
  await Promise.resolve();
  order.push('answer');
  await promise;
  expect(order).toEqual(['call', 'answer', 'task']);
});

test('tasks do not wait for each other', async () => {
  await using background = new Background(() => {});
  const [first, second] = [heldTask(), heldTask()];
  background.run(first.task);
  background.run(second.task);
  await expect(Promise.all([first.started, second.started])).resolves.toHaveLength(2);
  second.finish();
  first.finish();
});

test('disposing waits for tasks that run, that have not begun, and that others begin', async () => {
  const background = new Background(() => {});
  const held = heldTask();
  const done: string[] = [];
  background.run(held.task);
  await held.started;
  background.run(async () => {
    done.push('not begun');
    background.run(async () => void done.push('begun by another'));
  });
  let disposed = false;
  const disposing = background[Symbol.asyncDispose]().then(() => (disposed = true));
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  expect(disposed).toBe(false);
  held.finish();
  await disposing;
  expect(done).toEqual(['not begun', 'begun by another']);
});

test('disposing with nothing to do ends at once, and twice', async () => {
  const background = new Background(() => {});
  await background[Symbol.asyncDispose]();
  await expect(background[Symbol.asyncDispose]()).resolves.toBeUndefined();
});

test.each([
  ['rejects', () => Promise.reject(new Error('gone wrong'))],
  [
    'throws before it is a promise',
    (): Promise<void> => {
      throw new Error('gone wrong');
    },
  ],
])('a task that %s is told of once, and others run on', async (_, task) => {
  const errors: unknown[] = [];
  const background = new Background((error) => errors.push(error));
  let ran = false;
  background.run(task);
  background.run(async () => (ran = true));
  await background[Symbol.asyncDispose]();
  expect(errors).toEqual([expect.objectContaining({ message: 'gone wrong' })]);
  expect(ran).toBe(true);
});
