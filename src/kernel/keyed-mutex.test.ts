import { expect, test } from 'vitest';
import { createKeyedMutex } from './keyed-mutex.ts';

test('tasks with one key run one after the other in the order they came, whether they fail or not; others beside them', async () => {
  const runExclusive = createKeyedMutex();
  const first = Promise.withResolvers<void>();
  const order: string[] = [];
  const task = (name: string, wait: Promise<void> = Promise.resolve()) =>
    runExclusive(name[0]!, async () => {
      await wait;
      order.push(name);
      if (name === 'a1') throw new Error('a1 fails');
      return name;
    });
  const ofA = [task('a1', first.promise), task('a2'), task('a3')];
  expect(await task('b1')).toBe('b1');
  expect(order).toEqual(['b1']);
  first.resolve();
  expect(await Promise.allSettled(ofA)).toMatchObject([
    { reason: new Error('a1 fails') },
    { value: 'a2' },
    { value: 'a3' },
  ]);
  expect(order).toEqual(['b1', 'a1', 'a2', 'a3']);
});

test('a task that waits too long is not run, and later tasks still wait for earlier ones', async () => {
  const runExclusive = createKeyedMutex(20);
  const first = Promise.withResolvers<string>();
  const ran: string[] = [];
  const running = runExclusive('a', () => first.promise);
  const refused = expect.objectContaining({ name: 'Failure', reason: 'server_unavailable' });
  for (const name of ['second', 'third']) {
    await expect(runExclusive('a', async () => ran.push(name))).rejects.toEqual(refused);
  }
  first.resolve('done');
  expect(await running).toBe('done');
  await runExclusive('a', async () => ran.push('fourth'));
  expect(ran).toEqual(['fourth']);
});
