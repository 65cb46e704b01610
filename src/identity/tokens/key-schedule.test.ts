import { describe, expect, test } from 'vitest';
import { CLOCKS_DIFFER_MS } from '../../kernel/clock.ts';
import { ACCESS_TOKEN_TTL_MAX_MS } from '../../../packages/verify/src/access-token.ts';
import { isRotationDue, JWKS_MAX_AGE_MS, LEAD_MS, scheduleOf } from './key-schedule.ts';

const START_MS = 1_800_000_000_000;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Newest first. */
const KEYS = [2, 1, 0].map((day) => ({
  create_ms: START_MS + day * DAY_MS - LEAD_MS,
  activate_ms: START_MS + day * DAY_MS,
}));

describe('which of three keys does what', () => {
  test.each([
    ['before any has begun', -1, ['pending', 'pending', 'active']],
    ['when the first begins', 0, ['pending', 'pending', 'active']],
    ['just before the second begins', DAY_MS - 1, ['pending', 'pending', 'active']],
    ['when the second begins', DAY_MS, ['pending', 'active', 'retired']],
    ['when the third begins', 2 * DAY_MS, ['active', 'retired', 'retired']],
    ['for ever after', 1000 * DAY_MS, ['active', 'retired', 'retired']],
  ])('%s', (_, afterMs, states) => {
    expect(scheduleOf(KEYS, START_MS + afterMs).map(({ state }) => state)).toEqual(states);
  });

  test('is nothing when there is none', () => {
    expect(scheduleOf([], START_MS)).toEqual([]);
  });
});

test('a key is kept until its last token has expired on a clock that is behind, and the last key for ever', () => {
  const [newest, previous] = scheduleOf(KEYS, START_MS);
  expect(newest).toMatchObject({ retireMs: undefined, removeMs: undefined });
  expect(previous).toMatchObject({ retireMs: START_MS + 2 * DAY_MS });
  expect(previous!.removeMs! - previous!.retireMs!).toBeGreaterThanOrEqual(ACCESS_TOKEN_TTL_MAX_MS + CLOCKS_DIFFER_MS);
});

test('a key that others may not know yet signs on no clock, even one that is ahead', () => {
  expect(LEAD_MS).toBeGreaterThanOrEqual(JWKS_MAX_AGE_MS + CLOCKS_DIFFER_MS);
});

describe('the next key is due', () => {
  const due = (afterMs: number, key = KEYS[2]!) => isRotationDue([key], 30 * DAY_MS, START_MS + afterMs);

  test('so early that the present one signs for the whole time and no longer', () => {
    expect(due(30 * DAY_MS - LEAD_MS - 1)).toBe(false);
    expect(due(30 * DAY_MS - LEAD_MS)).toBe(true);
  });

  test('not while one waits for its turn', () => {
    expect(isRotationDue(KEYS, DAY_MS, START_MS + DAY_MS)).toBe(false);
  });

  test('when a key that always was active has been there for the time', () => {
    const key = { create_ms: START_MS, activate_ms: 0 };
    expect(due(0, key)).toBe(false);
    expect(due(30 * DAY_MS, key)).toBe(true);
  });

  test('when there is none', () => {
    expect(isRotationDue([], 30 * DAY_MS, START_MS)).toBe(true);
  });
});
