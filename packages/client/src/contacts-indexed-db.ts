import {
  type ContactsDatabase,
  type ContactsStorage,
  ContactsStoreError,
  type StoredItem,
} from './contacts-storage.ts';

/** Of the object store, not of what is in it: the store of contacts knows that by itself. */
const VERSION = 1;
const ITEMS = 'items';

/**
 * Keeps contacts in the IndexedDB of the browser, in a database for each user, whose name begins with `name`. The tabs of an
 * origin share it: one at a time synchronises, by Web Locks, and the others learn what has changed. Browsers may remove
 * what they keep when the device has no room, unless `navigator.storage.persist()` was granted.
 */
export function indexedDbStorage(name = 'kith.contacts'): ContactsStorage {
  return { open: (userId) => openDatabase(`${name} ${userId}`) };
}

async function openDatabase(name: string): Promise<ContactsDatabase> {
  const database = await failingClearly(async () => {
    const opening = globalThis.indexedDB.open(name, VERSION);
    opening.addEventListener('upgradeneeded', () => {
      opening.result.createObjectStore(ITEMS, { keyPath: 'key' });
    });
    return resultOf(opening);
  });
  // A page of a newer version waits for this one to let go.
  database.addEventListener('versionchange', () => database.close());

  /** Does something in one transaction, which is written when this resolves. */
  async function inTransaction<T>(mode: IDBTransactionMode, action: (items: IDBObjectStore) => Promise<T>): Promise<T> {
    return failingClearly(async () => {
      // With changes of a person in it: written to the disk, not only handed to it.
      const transaction = database.transaction(ITEMS, mode, { durability: 'strict' });
      const ended = new Promise<void>((resolve, reject) => {
        transaction.addEventListener('complete', () => resolve());
        transaction.addEventListener('abort', () =>
          reject(transaction.error ?? new DOMException('aborted', 'AbortError')),
        );
      });
      ended.catch(() => {}); // told below, unless the action throws first
      let result: T;
      try {
        result = await action(transaction.objectStore(ITEMS));
      } catch (error) {
        if (transaction.error === null) abortQuietly(transaction);
        throw transaction.error ?? error;
      }
      await ended;
      return result;
    });
  }
  const read = async (items: IDBObjectStore, keys: readonly string[]): Promise<StoredItem[]> => {
    const found = await Promise.all(keys.map((key) => resultOf<StoredItem | undefined>(items.get(key))));
    return found.filter((item) => item !== undefined);
  };
  return {
    sharedName: name,
    load: () => inTransaction('readonly', (items) => resultOf<StoredItem[]>(items.getAll())),
    read: (keys) => inTransaction('readonly', (items) => read(items, keys)),
    transact: (keys, change) =>
      inTransaction('readwrite', async (items) => {
        const { put, remove } = change(new Map((await read(items, keys)).map((item) => [item.key, item])));
        for (const key of remove) items.delete(key);
        for (const item of put) items.put(item);
      }),
    clear: () => inTransaction('readwrite', (items) => resultOf(items.clear())),
    close: () => database.close(),
  };
}

function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result));
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- a DOMException is one
    request.addEventListener('error', () => reject(request.error!));
  });
}

function abortQuietly(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    // It has ended already.
  }
}

/** Failures of the browser as those of the store. */
async function failingClearly<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof ContactsStoreError) throw error;
    const { name, message } = error as Partial<Error>;
    if (name === 'QuotaExceededError')
      throw new ContactsStoreError('STORAGE_FULL', 'the device has no room for these contacts', { cause: error });
    if (name === 'VersionError')
      throw new ContactsStoreError('STORAGE_NEWER', 'a newer version of the client wrote this store', { cause: error });
    throw error instanceof DOMException || globalThis.indexedDB === undefined
      ? new ContactsStoreError('STORAGE_UNAVAILABLE', `the browser gives no storage: ${message}`, { cause: error })
      : error;
  }
}
