import { expect, test } from 'vitest';
import { ResetBudgets } from './reset-budgets.ts';

const PROXY = '10.0.0.1';

function createBudgets() {
  const clock = { nowMs: 0 };
  const budgets = new ResetBudgets({
    burst: 3,
    perSecond: 2,
    isProxy: (address) => address === PROXY,
    monotonic: () => clock.nowMs,
  });
  return { clock, budgets };
}

test('an address has a burst, and more as time goes by, up to the burst', () => {
  const { clock, budgets } = createBudgets();
  budgets.spend('192.0.2.1', 3);
  expect(budgets.isSpent('192.0.2.1')).toBe(true);
  clock.nowMs = 500;
  expect(budgets.isSpent('192.0.2.1')).toBe(false);
  clock.nowMs = 60_000;
  budgets.spend('192.0.2.1', 2);
  expect(budgets.isSpent('192.0.2.1')).toBe(false);
  budgets.spend('192.0.2.1');
  expect(budgets.isSpent('192.0.2.1')).toBe(true);
});

test('an address spends nothing of another, a /64 of IPv6 counts as one, and a proxy spends nothing', () => {
  const { budgets } = createBudgets();
  budgets.spend('2001:db8::1', 2);
  budgets.spend('2001:db8::2', 2);
  budgets.spend(PROXY, 100);
  expect(['2001:db8::3', '2001:db8:0:1::1', '192.0.2.1', PROXY].map((address) => budgets.isSpent(address))).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
