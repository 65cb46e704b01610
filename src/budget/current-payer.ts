import { AsyncLocalStorage } from 'node:async_hooks';
import type { Payer } from './payer.ts';

const paying = new AsyncLocalStorage<Payer>();

/** The payer of what the server does by itself: purging, say. */
const SERVER: Payer = 'server';

/** Does work, and all that follows from it, as a payer's. */
export function payFor<T>(payer: Payer, work: () => T): T {
  return paying.run(payer, work);
}

/** Whose work is being done: for what lies too deep to be told, such as the database. */
export function currentPayer(): Payer {
  return paying.getStore() ?? SERVER;
}
