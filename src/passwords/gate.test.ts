import { describe, expect, test } from 'vitest';
import { Gate, type GateLimits } from './gate.ts';

/** A gate whose tasks end when they are told to, on a clock of its own. */
function gateOf(limits: Partial<GateLimits> = {}) {
  let nowMs = 0;
  const gate = new Gate({
    places: 2,
    waitingMax: 3,
    waitMaxMs: 60_000,
    taskMs: 100,
    now: () => nowMs,
    ...limits,
  });
  const started: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<string>>();
  return {
    started,
    run(name: string, signal?: AbortSignal) {
      const end = Promise.withResolvers<string>();
      ends.set(name, end);
      return gate.run(() => {
        started.push(name);
        return end.promise;
      }, signal);
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
  expect.objectContaining({ reason: 'server_busy', metadata: { retry_after_seconds: String(seconds) } });

test('as many tasks run as there are places, the others in the order in which they came', async () => {
  const gate = gateOf();
  const calls = ['a', 'b', 'c', 'd', 'e'].map((name) => gate.run(name));
  await settled();
  expect(gate.started).toEqual(['a', 'b']);
  await gate.end('b');
  expect(gate.started).toEqual(['a', 'b', 'c']);
  await gate.end('c');
  await gate.end('a');
  expect(gate.started).toEqual(['a', 'b', 'c', 'd', 'e']);
  await gate.end('d');
  await gate.end('e');
  expect(await Promise.all(calls)).toEqual(['a', 'b', 'c', 'd', 'e']);
});

test('a place that is given back goes to one that waits before one that comes', async () => {
  const gate = gateOf({ places: 1 });
  const calls = [gate.run('a'), gate.run('b')];
  await gate.end('a');
  calls.push(gate.run('c'));
  await settled();
  expect(gate.started).toEqual(['a', 'b']);
  await gate.end('b');
  await gate.end('c');
  await Promise.all(calls);
});

test('a task that fails gives its place back', async () => {
  const gate = gateOf({ places: 1 });
  const [failing, waiting] = [gate.run('a'), gate.run('b')];
  await Promise.all([expect(failing).rejects.toThrow('a'), gate.fail('a')]);
  await gate.end('b');
  expect(await waiting).toBe('b');
  const last = gate.run('c');
  await gate.end('c');
  expect(await last).toBe('c');
});

describe('refuses', () => {
  test('one that comes when as many wait as may, until there is room again', async () => {
    const gate = gateOf();
    const calls = ['a', 'b', 'c', 'd', 'e'].map((name) => gate.run(name));
    await expect(gate.run('f')).rejects.toThrow(busyFor(1));
    await gate.end('a');
    calls.push(gate.run('f'));
    for (const name of ['b', 'c', 'd', 'e', 'f']) await gate.end(name);
    expect(await Promise.all(calls)).toContain('f');
    expect(gate.started).not.toContain('g');
  });

  test('one that would wait too long, and says for how long', async () => {
    const gate = gateOf({ waitingMax: 1000, waitMaxMs: 5000, taskMs: 2000 });
    const calls = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => gate.run(name));
    await expect(gate.run('h')).rejects.toThrow(busyFor(6));
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await gate.end(name, 1);
    await Promise.all(calls);
  });

  test('sooner when tasks turn out to take long', async () => {
    const gate = gateOf({ places: 1, waitingMax: 1000, waitMaxMs: 2500, taskMs: 100 });
    const calls = ['a', 'b', 'c'].map((name) => gate.run(name));
    await gate.end('a', 8100); // the mean is 1100 ms now
    calls.push(gate.run('d'));
    await expect(gate.run('e')).rejects.toThrow(busyFor(4));
    for (const name of ['b', 'c', 'd']) await gate.end(name, 1);
    await Promise.all(calls);
  });
});

describe('a caller who went away', () => {
  const LEFT = new Error('the caller left');

  test('gives up the place in the queue', async () => {
    const gate = gateOf({ places: 1, waitingMax: 1 });
    const caller = new AbortController();
    const first = gate.run('a');
    const leaving = gate.run('b', caller.signal);
    await expect(gate.run('c')).rejects.toThrow(busyFor(1));
    caller.abort(LEFT);
    await expect(leaving).rejects.toThrow(LEFT);
    const waiting = gate.run('c');
    await gate.end('a');
    expect(await first).toBe('a');
    expect(gate.started).toEqual(['a', 'c']);
    await gate.end('c');
    expect(await waiting).toBe('c');
  });

  test('before the call has no turn at all', async () => {
    const gate = gateOf();
    await expect(gate.run('a', AbortSignal.abort(LEFT))).rejects.toThrow(LEFT);
    expect(gate.started).toEqual([]);
  });

  test('while the task runs changes nothing', async () => {
    const gate = gateOf({ places: 1 });
    const caller = new AbortController();
    const [running, waiting] = [gate.run('a', caller.signal), gate.run('b', caller.signal)];
    await gate.end('a');
    await settled();
    caller.abort(LEFT); // "b" runs by now
    await gate.end('b');
    expect(await Promise.all([running, waiting])).toEqual(['a', 'b']);
  });
});
