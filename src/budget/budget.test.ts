import { describe, expect, test } from 'vitest';
import { Budget } from './budget.ts';
import { addressPayer, isStranger, payerOf } from './payer.ts';

const exceeded = (limit: number) =>
  expect.objectContaining({
    reason: 'budget_exceeded',
    metadata: { budget: 'bytes', limit: String(limit), retry_after_seconds: '1' },
  });
const busy = expect.objectContaining({ reason: 'server_busy' });

const budgetOf = (limits = {}) => new Budget({ name: 'bytes', perCaller: 10, total: 30, strangers: 15, ...limits });

describe('a budget', () => {
  test('refuses what goes over the share of a caller, and nothing of the refused is held', () => {
    const budget = budgetOf();
    const charge = budget.charge('user:a', 6);
    expect(() => budget.charge('user:a', 5)).toThrow(exceeded(10));
    expect(() => charge.grow(5)).toThrow(exceeded(10));
    expect([budget.used, charge.amount, budget.refusals]).toEqual([6, 6, 2]);
    charge.grow(4);
    expect(budget.usedBy('user:a')).toBe(10);
  });

  test('refuses what goes over the total of all callers, whoever asks', () => {
    const budget = budgetOf();
    for (const payer of ['user:a', 'user:b', 'user:c']) budget.charge(payer, 10);
    expect(() => budget.charge('user:d', 1)).toThrow(busy);
    expect(budget.refusals).toBe(1);
    expect(budget.tryCharge('user:d', 1)).toBeUndefined();
    expect(budget.refusals).toBe(2);
  });

  test('keeps room for users whatever strangers hold', () => {
    const budget = budgetOf();
    budget.charge('address:192.0.2.1', 10);
    budget.charge('address:192.0.2.2', 5);
    expect(() => budget.charge('address:192.0.2.3', 1)).toThrow(busy);
    expect(budget.tryCharge('address:192.0.2.3', 1)).toBeUndefined();
    expect(budget.tryCharge('user:a', 10)?.amount).toBe(10);
  });

  test('lets an address have less than a user, where it says so', () => {
    const budget = budgetOf({ perStranger: 4 });
    const charge = budget.charge('address:192.0.2.1', 4);
    expect(() => charge.grow(1)).toThrow(exceeded(4));
    expect(budget.tryCharge('address:192.0.2.1', 1)).toBeUndefined();
    expect(budget.tryCharge('user:a', 10)?.amount).toBe(10);
  });

  test.each([
    ['strangers', 'address:192.0.2.', 16],
    ['all callers', 'user:', 24],
  ])('keeps the last eighth of what %s have for those of them that hold little', (_, payers, max) => {
    const budget = budgetOf({ perCaller: 7, total: 24, strangers: 16, little: 1 });
    const taken = Array.from({ length: 30 }, (__, i) => budget.tryCharge(`${payers}${i % 3}`, 1));
    expect(taken.filter(Boolean).length).toBe(max - max / 8);
    const others = Array.from({ length: 30 }, (__, i) => budget.tryCharge(`${payers}${3 + (i % 15)}`, 1));
    expect(others.filter(Boolean).length).toBe(max / 8);
    expect(others[0]).toBeDefined();
    expect(() => others[0]?.grow(1)).toThrow(busy);
  });

  test('has everything back once it was released, however often that is said', () => {
    const budget = budgetOf();
    const charges = ['user:a', 'address:192.0.2.1'].map((payer) => budget.charge(payer, 7));
    for (const charge of [...charges, ...charges]) charge.release();
    expect([budget.used, budget.usedBy('user:a')]).toEqual([0, 0]);
    budget.charge('address:192.0.2.1', 10);
  });

  test('is charged nothing by what comes after the release, and given nothing back twice', () => {
    const budget = budgetOf();
    const [grown, shrunk] = [budget.charge('user:a', 3), budget.charge('user:a', 3)];
    for (const charge of [grown, shrunk]) charge.release();
    grown.grow(5);
    shrunk.shrink(3);
    for (const charge of [grown, shrunk]) charge.release();
    expect([budget.used, budget.usedBy('user:a'), grown.amount, shrunk.amount]).toEqual([0, 0, 0, 0]);
  });

  test('counts on for a caller that was forgotten meanwhile, and remembers no more callers than hold something', () => {
    const budget = budgetOf({ perCaller: 10, total: 1e9, strangers: 1e9 });
    const early = budget.charge('user:a', 5);
    early.shrink(5);
    for (let i = 0; i < 20_000; i++) budget.charge(`user:${i}`, 1).release();
    early.grow(6);
    expect(() => budget.charge('user:a', 5)).toThrow(exceeded(10));
    early.release();
    expect(budget.used).toBe(0);
  });
});

describe('the payer', () => {
  const bounds = { permissions: new Set<never>(), signInMs: undefined };
  test.each([
    ['user:u', payerOf({ ...bounds, kind: 'session', userId: 'u', sessionId: 's' }, '192.0.2.1'), false],
    ['user:u', payerOf({ ...bounds, kind: 'api_key', userId: 'u', sessionId: 'k' }, '192.0.2.1'), false],
    ['address:192.0.2.1', payerOf(undefined, '192.0.2.1'), true],
    ['address:2001:db8:1:2::/64', addressPayer('2001:db8:1:2:3:4:5:6'), true],
    ['address:', addressPayer(''), true],
  ])('is %s', (expected, payer, stranger) => {
    expect([payer, isStranger(payer)]).toEqual([expected, stranger]);
  });
});
