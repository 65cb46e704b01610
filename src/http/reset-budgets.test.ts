import { expect, test } from 'vitest';
import { ResetBudgets } from './reset-budgets.ts';

const PROXY = '10.0.0.1';

function createBudgets() {
  const clock = { nowMs: 0 };
  const budgets = new ResetBudgets({
    burst: 3,
    perSecond: 2,
    isProxy: (address) => address === PROXY,
    clock: { monotonic: () => clock.nowMs },
  });
  return { clock, budgets };
}

function spend(budget: ReturnType<ResetBudgets['ofConnection']>, times: number): void {
  for (let i = 0; i < times; i += 1) budget?.spend();
}

test('an address has a burst, and more as time goes by, up to the burst', () => {
  const { clock, budgets } = createBudgets();
  const budget = budgets.ofConnection('192.0.2.1');
  spend(budget, 3);
  expect(budget?.isSpent).toBe(true);
  clock.nowMs = 500;
  expect(budget?.isSpent).toBe(false);
  clock.nowMs = 60_000;
  spend(budget, 2);
  expect(budget?.isSpent).toBe(false);
  spend(budget, 1);
  expect(budget?.isSpent).toBe(true);
});

test('an address of which two sessions in a minute are ended for a flood has nothing for a minute, and its burst after it', () => {
  const { clock, budgets } = createBudgets();
  const budget = budgets.ofConnection('192.0.2.1');
  budget?.chargeFlood();
  clock.nowMs = 60_000;
  budget?.chargeFlood();
  expect([budget?.isInDebt, budget?.isSpent]).toEqual([false, false]);
  clock.nowMs = 61_000;
  budget?.chargeFlood();
  clock.nowMs = 120_000;
  expect([budget?.isInDebt, budget?.isSpent]).toEqual([true, true]);
  spend(budget, 100); // what comes meanwhile does not make it longer
  clock.nowMs = 121_000;
  expect([budget?.isInDebt, budget?.isSpent]).toEqual([false, false]);
  clock.nowMs = 123_000;
  spend(budget, 2);
  expect(budget?.isSpent).toBe(false);
});

test('an address whose sessions are ended owes what a second gives for each, at most a minute, and one for each that is not let in', () => {
  const { clock, budgets } = createBudgets();
  const budget = budgets.ofConnection('192.0.2.1');
  spend(budget, 3);
  budget?.chargeEndedSession();
  clock.nowMs = 500;
  expect(budget?.isInDebt).toBe(true);
  budget?.chargeRefusedSession();
  clock.nowMs = 1000;
  expect(budget?.isInDebt).toBe(true);
  clock.nowMs = 1500;
  expect([budget?.isInDebt, budget?.isSpent]).toEqual([false, true]);
  for (let i = 0; i < 1000; i += 1) budget?.chargeEndedSession();
  clock.nowMs = 61_000;
  expect(budget?.isInDebt).toBe(true);
  clock.nowMs = 61_500;
  expect(budget?.isInDebt).toBe(false);
});

test('an address is in debt after the second session that may be a flood', () => {
  const { budgets } = createBudgets();
  const budget = budgets.ofConnection('192.0.2.1');
  budget?.chargeSuspect();
  expect(budget?.isInDebt).toBe(false);
  budget?.chargeSuspect();
  expect(budget?.isInDebt).toBe(true);
});

test('an address spends nothing of another, a /64 of IPv6 counts as one, and a proxy spends nothing', () => {
  const { budgets } = createBudgets();
  spend(budgets.ofConnection('2001:db8::1'), 2);
  spend(budgets.ofConnection('2001:db8::2'), 2);
  spend(budgets.ofConnection(PROXY), 100);
  const addresses = ['2001:db8::3', '2001:db8:0:1::1', '192.0.2.1', PROXY];
  expect(addresses.map((address) => budgets.ofConnection(address)?.isSpent ?? false)).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
