import { createMutex } from './session-store.ts';

/** One thing that is stored: plain data that can be cloned, never changed once it is given. */
export interface StoredItem {
  readonly key: string;
  readonly [name: string]: unknown;
}

/** What becomes of items in one transaction. */
export interface ItemChanges {
  readonly put: readonly StoredItem[];
  readonly remove: readonly string[];
}

/** Where the contacts of users are kept on this device, those of each user by themselves. */
export interface ContactsStorage {
  /** Opens what is kept for a user. */
  open(userId: string): Promise<ContactsDatabase>;
}

/** What is kept for one user. */
export interface ContactsDatabase {
  /** The name that the tabs which share it know it by; undefined where nobody shares it. */
  readonly sharedName: string | undefined;
  load(): Promise<readonly StoredItem[]>;
  /** The items of these keys that are there. */
  read(keys: readonly string[]): Promise<readonly StoredItem[]>;
  /**
   * Reads the items of these keys and writes what is made of them, in one transaction: all of it is written or nothing, and
   * nobody writes in between. What `change` throws leaves everything as it was, and rejects.
   */
  transact(keys: readonly string[], change: (items: ReadonlyMap<string, StoredItem>) => ItemChanges): Promise<void>;
  /** Removes everything of this user. */
  clear(): Promise<void>;
  close(): void;
}

/** Why a store cannot do what it is asked. */
export type ContactsStoreReason =
  /** The device has no room: nothing of the step was written. */
  | 'STORAGE_FULL'
  /** The browser gives no storage, as in some private windows, or took it away. */
  | 'STORAGE_UNAVAILABLE'
  /** A newer version of the client wrote it. */
  | 'STORAGE_NEWER'
  /** As many changes wait as may wait: call `sync` before there are more. */
  | 'QUEUE_FULL'
  /** There is no such contact in the store. */
  | 'CONTACT_MISSING'
  /** The contact has no conflict. */
  | 'CONFLICT_MISSING'
  /** The client is signed in as nobody, so that it cannot be known whose contacts to open. */
  | 'SIGNED_OUT'
  /** Somebody else is signed in than the user whose contacts these are. */
  | 'OTHER_USER'
  /** The store is closed. */
  | 'CLOSED';

/** What a store of contacts refuses by itself. What the server refuses is a `KithError`. */
export class ContactsStoreError extends Error {
  override readonly name = 'ContactsStoreError';
  readonly reason: ContactsStoreReason;

  constructor(reason: ContactsStoreReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Keeps contacts in memory, for as long as this object lives: stores that are opened one after the other find them. */
export function memoryStorage(): ContactsStorage {
  const users = new Map<string, Map<string, StoredItem>>();
  return {
    async open(userId) {
      const items = users.get(userId) ?? new Map<string, StoredItem>();
      users.set(userId, items);
      const exclusive = createMutex();
      const read = (keys: readonly string[]) =>
        keys.map((key) => items.get(key)).filter((item): item is StoredItem => item !== undefined);
      return {
        sharedName: undefined,
        load: async () => [...items.values()],
        read: async (keys) => read(keys),
        transact: (keys, change) =>
          exclusive(async () => {
            const { put, remove } = change(new Map(read(keys).map((item) => [item.key, item])));
            for (const key of remove) items.delete(key);
            for (const item of put) items.set(item.key, item);
          }),
        clear: async () => items.clear(),
        close: () => {},
      };
    },
  };
}
