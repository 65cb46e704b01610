import { expect, test } from 'vitest';
import { WatchLags } from './watch-lags.ts';

test('the watch that fell behind first is the one furthest behind, until it has caught up or ended', () => {
  let nowMs = 1000;
  const lags = new WatchLags({ monotonic: () => nowMs });
  const [a, b] = [{}, {}];
  expect([lags.count, lags.longestMs]).toEqual([0, 0]);
  lags.fallBehind(a);
  nowMs += 50;
  lags.fallBehind(b);
  lags.fallBehind(a); // more for it: it has been behind for as long as before
  nowMs += 50;
  expect([lags.count, lags.longestMs]).toEqual([2, 100]);
  lags.catchUp(a);
  expect([lags.count, lags.longestMs]).toEqual([1, 50]);
  lags.fallBehind(a);
  expect([lags.count, lags.longestMs]).toEqual([2, 50]);
  lags.catchUp(b);
  lags.catchUp(a);
  lags.catchUp(a);
  expect([lags.count, lags.longestMs]).toEqual([0, 0]);
});
