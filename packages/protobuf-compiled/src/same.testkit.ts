import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';

/** How many messages are generated. 200,000 take some minutes. */
export const MESSAGES = Number(process.env['KITH_TEST_MESSAGES'] ?? 2000);
export const SEED = Number(process.env['KITH_TEST_SEED'] ?? Date.now() % 1_000_000);

/** What a function returned or threw, so that two of them can be compared. */
export function outcomeOf(work: () => unknown): unknown {
  try {
    return { value: work() };
  } catch (error) {
    const { name, message } = error as Error;
    return { name, message };
  }
}

/** Expects two functions to return the same, prototypes included, or to throw the same. `what` is told otherwise. */
export function expectSame(ours: () => unknown, theirs: () => unknown, what: () => unknown): void {
  const [got, expected] = [outcomeOf(ours), outcomeOf(theirs)];
  if (isDeepStrictEqual(got, expected)) return;
  expect(got, `seed ${SEED}: ${JSON.stringify(what())}`).toStrictEqual(expected);
  throw new Error(`seed ${SEED}: different prototypes: ${JSON.stringify(what())}`);
}
