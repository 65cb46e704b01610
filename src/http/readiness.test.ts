import { expect, test } from 'vitest';
import { type Check, describeReadiness, Readiness } from './readiness.ts';

const passing: Check = { name: 'a', run: async () => {} };
const failing: Check = {
  name: 'b',
  async run() {
    throw new Error('password=secret');
  },
};

test('is ready while all checks pass and the server does not stop', async () => {
  const readiness = new Readiness([passing]);
  expect(await readiness.isReady()).toBe(true);
  readiness.stop();
  expect(await readiness.isReady()).toBe(false);
  const { isReady, text } = describeReadiness(await readiness.look());
  expect(isReady).toBe(false);
  expect(text).toMatch(
    /^\[-\]shutdown failed: the server is stopping\n\[\+\]a ok: took \d+ ms, \d+ ms ago\nreadyz check failed\n$/,
  );
});

test('one check that fails is enough, and the others are told all the same, but not why', async () => {
  const readiness = new Readiness([failing, passing]);
  expect(await readiness.isReady()).toBe(false);
  const { isReady, text } = describeReadiness(await readiness.look());
  expect(isReady).toBe(false);
  expect(text.split('\n')).toEqual([
    expect.stringMatching(/^\[\+\]shutdown ok: took 0 ms, 0 ms ago$/),
    '[-]b failed: reason withheld',
    expect.stringMatching(/^\[\+\]a ok: took \d+ ms, \d+ ms ago$/),
    'readyz check failed',
    '',
  ]);
});

test('a check that is under way is not begun again, however many ask', async () => {
  const { promise: hanging, resolve: end } = Promise.withResolvers<void>();
  let begun = 0;
  const slow: Check = {
    name: 'slow',
    run() {
      begun += 1;
      return hanging;
    },
  };
  const readiness = new Readiness([slow]);
  const asked = Array.from({ length: 100 }, () => readiness.isReady());
  expect(new Set(await Promise.all(asked))).toEqual(new Set([false])); // after the time that probes wait
  expect(begun).toBe(1);
  end();
  await expect.poll(() => readiness.isReady()).toBe(true);
});
