import { describe, expect, test } from 'vitest';
import { ConcurrencyLimiter, type ConcurrencyLimits } from './concurrency-limiter.ts';

/** A limiter whose tasks end when they are told to, on a clock of its own. Tasks are of the caller that their name begins with. */
function limiterOf(limits: Partial<ConcurrencyLimits> = {}) {
  let nowMs = 0;
  const limiter = new ConcurrencyLimiter({
    name: 'things',
    running: 2,
    runningPerCaller: 2,
    waiting: 3,
    waitingPerCaller: 1000,
    waitMaxMs: 60_000,
    taskMs: 100,
    clock: { monotonic: () => nowMs },
    ...limits,
  });
  const started: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<string>>();
  return {
    started,
    limiter,
    run(name: string, signal?: AbortSignal) {
      const end = Promise.withResolvers<string>();
      ends.set(name, end);
      return limiter.run(
        name.includes('.') ? name.split('.')[0]! : 'one',
        () => {
          started.push(name);
          return end.promise;
        },
        signal,
      );
    },
    /** Lets a task end, and what follows from it happen. */
    async end(name: string, afterMs = 100) {
      nowMs += afterMs;
      ends.get(name)!.resolve(name);
      await settled();
    },
    async fail(name: string) {
      ends.get(name)!.reject(new Error(name));
      await settled();
    },
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

const busyFor = (seconds: number) =>
  expect.objectContaining({
    reason: 'server_busy',
    metadata: expect.objectContaining({ budget: 'things', retry_after_seconds: String(seconds) }),
  });

test('as many tasks run as may, the others in the order in which they came', async () => {
  const limiter = limiterOf();
  const calls = ['a', 'b', 'c', 'd', 'e'].map((name) => limiter.run(name));
  await settled();
  expect(limiter.started).toEqual(['a', 'b']);
  await limiter.end('b');
  expect(limiter.started).toEqual(['a', 'b', 'c']);
  await limiter.end('c');
  await limiter.end('a');
  expect(limiter.started).toEqual(['a', 'b', 'c', 'd', 'e']);
  await limiter.end('d');
  await limiter.end('e');
  expect(await Promise.all(calls)).toEqual(['a', 'b', 'c', 'd', 'e']);
});

test('room that is given back goes to a task that waits before one that comes', async () => {
  const limiter = limiterOf({ running: 1 });
  const calls = [limiter.run('a'), limiter.run('b')];
  await limiter.end('a');
  calls.push(limiter.run('c'));
  await settled();
  expect(limiter.started).toEqual(['a', 'b']);
  await limiter.end('b');
  await limiter.end('c');
  await Promise.all(calls);
});

test('a task that fails makes room for the next', async () => {
  const limiter = limiterOf({ running: 1 });
  const [failing, waiting] = [limiter.run('a'), limiter.run('b')];
  await Promise.all([expect(failing).rejects.toThrow('a'), limiter.fail('a')]);
  await limiter.end('b');
  expect(await waiting).toBe('b');
  const last = limiter.run('c');
  await limiter.end('c');
  expect(await last).toBe('c');
});

describe('refuses', () => {
  test('one that comes when as many wait as may, until there is room again', async () => {
    const limiter = limiterOf();
    const calls = ['a', 'b', 'c', 'd', 'e'].map((name) => limiter.run(name));
    await expect(limiter.run('f')).rejects.toThrow(busyFor(1));
    await limiter.end('a');
    calls.push(limiter.run('f'));
    for (const name of ['b', 'c', 'd', 'e', 'f']) await limiter.end(name);
    expect(await Promise.all(calls)).toContain('f');
    expect(limiter.started).not.toContain('g');
  });

  test('one that would wait too long, and says for how long', async () => {
    const limiter = limiterOf({ waiting: 1000, waitMaxMs: 5000, taskMs: 2000 });
    const calls = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => limiter.run(name));
    await expect(limiter.run('h')).rejects.toThrow(busyFor(6));
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await limiter.end(name, 1);
    await Promise.all(calls);
  });

  test('sooner when tasks turn out to take long', async () => {
    const limiter = limiterOf({ running: 1, waiting: 1000, waitMaxMs: 2500, taskMs: 100 });
    const calls = ['a', 'b', 'c'].map((name) => limiter.run(name));
    await limiter.end('a', 8100); // the mean is 1100 ms now
    calls.push(limiter.run('d'));
    await expect(limiter.run('e')).rejects.toThrow(busyFor(4));
    for (const name of ['b', 'c', 'd']) await limiter.end(name, 1);
    await Promise.all(calls);
  });
});

describe('a caller who went away', () => {
  const LEFT = new Error('the caller left');

  test('leaves the queue', async () => {
    const limiter = limiterOf({ running: 1, waiting: 1 });
    const caller = new AbortController();
    const first = limiter.run('a');
    const leaving = limiter.run('b', caller.signal);
    const refused = limiter.run('c');
    caller.abort(LEFT);
    await Promise.all([expect(leaving).rejects.toThrow(LEFT), expect(refused).rejects.toThrow(busyFor(1))]);
    const waiting = limiter.run('c');
    await limiter.end('a');
    expect(await first).toBe('a');
    expect(limiter.started).toEqual(['a', 'c']);
    await limiter.end('c');
    expect(await waiting).toBe('c');
  });

  test('before the call does not run', async () => {
    const limiter = limiterOf();
    await expect(limiter.run('a', AbortSignal.abort(LEFT))).rejects.toThrow(LEFT);
    expect(limiter.started).toEqual([]);
  });

  test('while the task runs changes nothing', async () => {
    const limiter = limiterOf({ running: 1 });
    const caller = new AbortController();
    const [running, waiting] = [limiter.run('a', caller.signal), limiter.run('b', caller.signal)];
    await limiter.end('a');
    await settled();
    caller.abort(LEFT); // "b" runs by now
    await limiter.end('b');
    expect(await Promise.all([running, waiting])).toEqual(['a', 'b']);
  });
});

describe('callers take turns', () => {
  test('a caller with one task waits behind one of each other caller, however many they have queued', async () => {
    const limiter = limiterOf({ running: 1, waiting: 1000 });
    const many = Array.from({ length: 100 }, (_, i) => limiter.run(`flood.${i}`));
    const few = [limiter.run('a.0'), limiter.run('b.0')];
    await limiter.end('flood.0');
    await limiter.end(limiter.started.at(-1)!);
    await limiter.end(limiter.started.at(-1)!);
    await limiter.end(limiter.started.at(-1)!);
    expect(limiter.started.slice(0, 4)).toEqual(['flood.0', 'flood.1', 'a.0', 'b.0']);
    for (let i = 2; i < 100; i++) await limiter.end(`flood.${i}`);
    await Promise.all([...many, ...few]);
    expect(limiter.limiter.running + limiter.limiter.waiting).toBe(0);
  });

  test('a caller has no more than its share running, though there is room', async () => {
    const limiter = limiterOf({ running: 4, runningPerCaller: 1, waiting: 100 });
    const calls = ['a.0', 'a.1', 'b.0'].map((name) => limiter.run(name));
    await settled();
    expect(limiter.started).toEqual(['a.0', 'b.0']);
    await limiter.end('b.0');
    expect(limiter.started).toEqual(['a.0', 'b.0']);
    await limiter.end('a.0');
    await limiter.end('a.1');
    await Promise.all(calls);
  });

  test('a caller whose queue is full is refused by name, and others are not', async () => {
    const limiter = limiterOf({ running: 1, waiting: 100, waitingPerCaller: 2 });
    const calls = ['a.0', 'a.1', 'a.2'].map((name) => limiter.run(name));
    await expect(limiter.run('a.3')).rejects.toMatchObject({
      reason: 'budget_exceeded',
      metadata: { budget: 'things', limit: '2' },
    });
    calls.push(limiter.run('b.0'));
    for (const name of ['a.0', 'b.0', 'a.1', 'a.2']) await limiter.end(name);
    await Promise.all(calls);
    expect(limiter.limiter.refusals).toBe(1);
  });
});
