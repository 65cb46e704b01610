import { fromBinary } from '@bufbuild/protobuf';
import {
  aliasKey,
  type ContactRecord,
  type CopyState,
  decodeRecord,
  encodeRecord,
  FORMAT,
  FRESH_STATE,
  isNothing,
  recordKey,
  STATE_KEY,
} from './contact-record.ts';
import { type ContactsDatabase, ContactsStoreError, type StoredItem } from './contacts-storage.ts';
import { type Label, LabelSchema } from './gen/kith/contact/v1/label_service_pb.ts';

/** What changed in a copy. */
export interface CopyChange {
  /** The contacts that may have changed, or are gone. */
  readonly ids: readonly string[];
  /** Contacts that were created here, and have the id of the server now. */
  readonly renamed: readonly { readonly from: string; readonly to: string }[];
}

/** One step over records. What is put replaces what was there; a record of which nothing is known is removed. */
export interface Step {
  readonly records: ReadonlyMap<string, ContactRecord>;
  readonly state: CopyState;
  put(record: ContactRecord): void;
  /** Puts a record in the place of the one with another id, by which it is still found. */
  rename(from: string, record: ContactRecord): void;
  setState(state: Partial<CopyState>): void;
}

/** All records of a user in memory, written through to a database in steps of which each is whole. */
export class ContactsCopy {
  readonly records = new Map<string, ContactRecord>();
  state: CopyState = FRESH_STATE;
  readonly database: ContactsDatabase;
  readonly #ids = new Map<string, string>();
  readonly #aliases = new Map<string, Set<string>>();
  readonly #listeners = new Set<(change: CopyChange) => void>();
  readonly #channel: BroadcastChannel | undefined;
  #labelsOf: CopyState['labels'];
  #labels: readonly Label[] | undefined;
  #labelIds: ReadonlySet<string> | undefined;
  #isClosed = false;

  private constructor(database: ContactsDatabase) {
    this.database = database;
    if (database.sharedName === undefined || typeof BroadcastChannel === 'undefined') return;
    this.#channel = new BroadcastChannel(`kith.contacts ${database.sharedName}`);
    this.#channel.addEventListener('message', ({ data }: MessageEvent<readonly string[]>) => void this.#reread(data));
    (this.#channel as { unref?: () => void }).unref?.(); // of Node: it keeps no process alive
  }

  static async open(database: ContactsDatabase): Promise<ContactsCopy> {
    const copy = new ContactsCopy(database);
    try {
      copy.#take(await database.load(), []);
      return copy;
    } catch (error) {
      copy.close();
      throw error;
    }
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The id that a contact has now. */
  idOf(id: string): string {
    return this.#ids.get(id) ?? id;
  }

  get(id: string): ContactRecord | undefined {
    return this.records.get(this.idOf(id));
  }

  /** The labels of the user; undefined while they were never read. */
  labels(): readonly Label[] | undefined {
    if (this.#labelsOf !== this.state.labels) {
      this.#labelsOf = this.state.labels;
      this.#labels = this.state.labels?.map((bytes) => fromBinary(LabelSchema, bytes));
      this.#labelIds = this.#labels && new Set(this.#labels.map(({ id }) => id));
    }
    return this.#labels;
  }

  /** The ids of these labels. */
  knownLabels(): ReadonlySet<string> | undefined {
    this.labels();
    return this.#labelIds;
  }

  subscribe(listener: (change: CopyChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads the records of these ids as they are stored, and writes what the step makes of them, all or nothing. */
  async transact(ids: readonly string[], step: (step: Step) => void): Promise<void> {
    if (this.#isClosed) throw new ContactsStoreError('CLOSED', 'the store is closed');
    const put = new Map<string, StoredItem>();
    const remove = new Set<string>();
    const keys = [STATE_KEY, ...ids.flatMap((id) => [recordKey(id), aliasKey(id)])];
    await this.database.transact(keys, (items) => {
      const records = new Map<string, ContactRecord>();
      for (const item of items.values())
        if ('generation' in item && 'id' in item) records.set(item['id'] as string, decodeRecord(item));
      let state = stateIn(items.get(STATE_KEY)) ?? FRESH_STATE;
      const write = (record: ContactRecord) => {
        if (!isNothing(record)) {
          put.set(recordKey(record.id), encodeRecord(record));
          return;
        }
        put.delete(recordKey(record.id));
        remove.add(recordKey(record.id));
        for (const alias of this.#aliases.get(record.id) ?? []) remove.add(aliasKey(alias));
      };
      step({
        records,
        state,
        put: write,
        rename: (from, record) => {
          write({ id: from, generation: 0, theirs: undefined });
          write(record);
          for (const alias of [from, ...(this.#aliases.get(from) ?? [])]) {
            remove.delete(aliasKey(alias));
            put.set(aliasKey(alias), { key: aliasKey(alias), alias, id: record.id });
          }
        },
        setState: (changes) => {
          state = { ...state, ...changes };
          put.set(STATE_KEY, { key: STATE_KEY, ...state });
        },
      });
      return { put: [...put.values()], remove: [...remove] };
    });
    if (this.#isClosed) return;
    const changed = [...put.keys(), ...remove];
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel is of one origin
    if (changed.length > 0) this.#channel?.postMessage(changed);
    this.#take([...put.values()], [...remove]);
  }

  /** Reads everything again if another tab has written what this one was not told yet. */
  async refresh(): Promise<void> {
    if (this.database.sharedName === undefined) return;
    const { cursor, generation, nextOrder } = this.state;
    const stored = stateIn((await this.database.read([STATE_KEY]))[0]) ?? FRESH_STATE;
    if (stored.cursor === cursor && stored.generation === generation && stored.nextOrder === nextOrder) return;
    const items = await this.database.load();
    const found = new Set(items.map(({ key }) => key));
    this.state = stored;
    this.#take(
      items,
      [...this.records.keys()].map(recordKey).filter((key) => !found.has(key)),
    );
  }

  async clear(): Promise<void> {
    await this.database.clear();
    const keys = [...this.records.keys()].map(recordKey);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel is of one origin
    this.#channel?.postMessage([STATE_KEY, ...keys]);
    this.state = FRESH_STATE;
    this.#take([], keys);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#channel?.close();
    this.#listeners.clear();
    this.database.close();
  }

  /** Another tab has written these. */
  async #reread(keys: readonly string[]): Promise<void> {
    if (this.#isClosed) return;
    const items = await this.database.read(keys).catch(() => []);
    const found = new Set(items.map(({ key }) => key));
    if (keys.includes(STATE_KEY) && !found.has(STATE_KEY)) this.state = FRESH_STATE;
    if (!this.#isClosed)
      this.#take(
        items,
        keys.filter((key) => !found.has(key)),
      );
  }

  #take(put: readonly StoredItem[], removed: readonly string[]): void {
    const ids = new Set<string>();
    const renamed: { from: string; to: string }[] = [];
    for (const key of removed) {
      const id = key.slice(key.indexOf(' ') + 1);
      if (key === recordKey(id)) {
        if (this.records.delete(id)) ids.add(id);
      } else if (key === aliasKey(id)) {
        this.#aliases.get(this.idOf(id))?.delete(id);
        this.#ids.delete(id);
      }
    }
    for (const item of put) {
      if (item.key === STATE_KEY) this.state = stateIn(item)!;
      else if ('alias' in item) {
        const [from, to] = [item['alias'] as string, item['id'] as string];
        if (this.#ids.get(from) === to) continue;
        this.#ids.set(from, to);
        this.#aliases.set(to, (this.#aliases.get(to) ?? new Set()).add(from));
        renamed.push({ from, to });
      } else {
        const record = decodeRecord(item);
        this.records.set(record.id, record);
        ids.add(record.id);
      }
    }
    if (ids.size + renamed.length === 0) return;
    for (const listener of this.#listeners) listener({ ids: [...ids], renamed });
  }
}

function stateIn(item: StoredItem | undefined): CopyState | undefined {
  if (item === undefined) return undefined;
  const state = item as unknown as CopyState;
  if (state.format > FORMAT)
    throw new ContactsStoreError('STORAGE_NEWER', 'a newer version of the client wrote this store: update this one');
  return state;
}
