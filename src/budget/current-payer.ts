import { AsyncLocalStorage } from 'node:async_hooks';
import type { Payer } from './payer.ts';

const paying = new AsyncLocalStorage<Payer>();

/** The payer of what the server does by itself, such as purging. */
const SERVER: Payer = 'server';

/** Runs work, and everything that it starts, on behalf of a payer. */
export function payFor<T>(payer: Payer, work: () => T): T {
  return paying.run(payer, work);
}

/** The payer on whose behalf this code runs: for code that is not passed one, such as the database drivers. */
export function currentPayer(): Payer {
  return paying.getStore() ?? SERVER;
}
