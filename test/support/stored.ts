import { Background } from '../../src/kernel/background.ts';
import type { ContactsApp } from '../../src/contacts/contacts.ts';
import { openDatabase } from '../../src/storage/database.ts';
import { createKeyring } from '../../src/kernel/keyring.ts';
import { createPasswords } from '../../src/identity/passwords/passwords.ts';
import { loadSecretKey } from '../../src/kernel/secret-key.ts';
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
export async function openApp({ config, database, clock, passwordCost }: Kith): Promise<ContactsApp & AsyncDisposable> {
  const opened = await openDatabase(database.url);
  return {
    database: opened,
    keyring: createKeyring(config.secretKey ?? loadSecretKey(opened.dialect.fileBeside('.key'), false)),
    passwords: await createPasswords({ cost: passwordCost }),
    now: () => Date.now() + clock.offsetMs,
    background: new Background((error) => {
      throw error;
    }),
    purgeAfterMs: config.purgeAfterMs,
    accessTokenTtlMs: config.accessTokenTtlMs,
    activityRetentionMs: config.activityRetentionMs,
    contacts: config.contacts,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}
