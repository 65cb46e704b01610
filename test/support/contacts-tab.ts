import {
  type ContactsStorage,
  type ContactsStore,
  ContactsStoreError,
  indexedDbStorage,
  openContactsStore,
} from '../../packages/client/src/contacts-store-entry.ts';
import { createKith, type Kith, type KithError, webStorageStore } from '../../packages/client/src/index.ts';

// The script of the pages in client/contacts-store.long.test.ts: everything here runs in the browser.

let kith: Kith;
let store: ContactsStore;
let changes = 0;
const errors: string[] = [];

const reasonOf = (error: unknown) =>
  error instanceof ContactsStoreError ? error.reason : ((error as KithError).reason ?? (error as KithError).code);

/** A storage of which no transaction is written that puts more than so many items: as with a quota. */
function withQuota(storage: ContactsStorage): ContactsStorage {
  return {
    async open(userId) {
      const database = await storage.open(userId);
      return {
        ...database,
        transact: (keys, change) =>
          database.transact(keys, (items) => {
            const { put, remove } = change(items);
            // Written in the same transaction, before what makes it fail.
            return { put: [...put, { key: 'too much', get: () => {} }], remove };
          }),
      };
    },
  };
}

globalThis.contactsTab = {
  async open(url: string, userId: string, isBroken = false) {
    kith = createKith({ url, credentials: { store: webStorageStore(localStorage) }, attemptsMax: 1 });
    const storage = indexedDbStorage();
    store = await openContactsStore({ client: kith, userId, storage: isBroken ? withQuota(storage) : storage });
    store.subscribe(() => (changes += 1));
  },
  signIn: async (identifier: string, password: string) => (await kith.signIn({ identifier, password })).id,
  create: (givenName: string) =>
    store.create({ givenName }).then(
      ({ id }) => id,
      (error: unknown) => reasonOf(error),
    ),
  update: async (id: string, notes: string) => void (await store.update(id, { notes })),
  sync: () =>
    store.sync().then(
      () => 'done',
      (error: unknown) => reasonOf(error),
    ),
  keepSynced: () => void store.keepSynced({ everyMs: 200, onError: (error) => errors.push(reasonOf(error)) }),
  list: () => store.list().map(({ contact, state }) => `${contact.givenName} ${contact.notes} ${state}`),
  told: () => ({ changes, errors }),
  clear: () => store.clear(),
};

/** What the page can be asked. */
export interface ContactsTab {
  open(url: string, userId: string, isBroken?: boolean): Promise<void>;
  signIn(identifier: string, password: string): Promise<string>;
  create(givenName: string): Promise<string>;
  update(id: string, notes: string): Promise<void>;
  sync(): Promise<string>;
  keepSynced(): void;
  list(): string[];
  told(): { changes: number; errors: string[] };
  clear(): Promise<void>;
}

declare global {
  var contactsTab: ContactsTab;
}
