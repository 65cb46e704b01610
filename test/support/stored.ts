import type { ContactsApp } from '../../src/contacts/contacts.ts';
import { openStore } from '../../src/server/store.ts';
import type { databases } from './databases.ts';
import { type Kith, startKith, type StartOptions } from './kith.ts';

/** Starts a server on a fresh database of this kind, which goes with it. */
export async function startOn(
  kind: (typeof databases)[number],
  options: Omit<StartOptions, 'database'> = {},
): Promise<Kith> {
  const database = await kind.create();
  const kith = await startKith({ ...options, database });
  return {
    ...kith,
    async [Symbol.asyncDispose]() {
      await kith.stop();
      await database[Symbol.asyncDispose]();
    },
  };
}

/**
 * What the slices share, on the database and the clock of a server that runs:
 * for what no RPC does, such as purging and writing rows in bulk.
 */
export async function openApp({ config, clock, passwordCost }: Kith): Promise<ContactsApp & AsyncDisposable> {
  const now = () => Date.now() + clock.offsetMs;
  return openStore(config, {
    clock: { now, monotonic: () => performance.now() },
    passwordCost,
    onBackgroundError(error) {
      throw error;
    },
  });
}
