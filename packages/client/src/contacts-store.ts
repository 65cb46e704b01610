import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { backoffMs, pause } from './backoff.ts';
import { type Caller, callerOf, userIdOf } from './caller.ts';
import type { Calls } from './calls.ts';
import { type ConflictResolution, type ContactConflict, conflictOf, settle } from './contact-conflict.ts';
import { changedFields, type ContactFields, withFields } from './contact-fields.ts';
import { type Change, type ChangeRefusal, type ContactRecord, nextStep, uidOf, viewOf } from './contact-record.ts';
import { compareText, matcherOf, sortKeyOf } from './contact-search.ts';
import { type CopyChange, ContactsCopy, type Step } from './contacts-copy.ts';
import { type ContactsStorage, ContactsStoreError } from './contacts-storage.ts';
import { inOrder, isWaiting, type OnConflict, synchronise } from './contacts-sync.ts';
import { AuthService } from './gen/kith/auth/v1/auth_service_pb.ts';
import { type Contact, ContactSchema } from './gen/kith/contact/v1/contact_pb.ts';
import type { Label } from './gen/kith/contact/v1/label_service_pb.ts';
import { KithError } from './kith-error.ts';
import { randomUuid } from './uuid.ts';
import { watchPage } from './watch-page.ts';

/** How a store is opened. */
export interface ContactsStoreOptions {
  /** A client, signed in as the user whose contacts these are: of `createKith`, or of `createCalls`. */
  readonly client: Pick<Calls, 'transport' | 'signing'>;
  readonly storage: ContactsStorage;
  /**
   * The user whose contacts these are. Default: who is signed in. Give it where the store is to open without a connection.
   */
  readonly userId?: string | undefined;
  /**
   * Settles a conflict. It is told each conflict until it settles it; what it leaves for later is told again when theirs
   * changes once more. Default: leaves all for later. It may take its time; nothing else is sent meanwhile.
   */
  readonly onConflict?: OnConflict | undefined;
  /** How many contacts may have changes that wait. Default 10,000. */
  readonly changesMax?: number | undefined;
}

/** `synced`: as the server has it. `pending`: with a change that waits to be sent. */
export type ContactState = 'synced' | 'pending' | 'conflict' | 'refused';

/** A contact as it is here. */
export interface StoredContact {
  /** The id, which is another one once a contact that was created here has reached the server; it is found by both. */
  readonly id: string;
  readonly contact: Contact;
  readonly state: ContactState;
  /** Why the server refused the change. */
  readonly refused: ChangeRefusal | undefined;
}

/** A change made here that has not reached the server, as far as is known. */
export interface WaitingChange {
  readonly id: string;
  readonly state: Exclude<ContactState, 'synced'>;
  /** What it began with. Undefined: created here. */
  readonly base: Contact | undefined;
  /** What there is to be. Undefined: the contact is deleted. */
  readonly mine: Contact | undefined;
  readonly refused: ChangeRefusal | undefined;
}

/** How a store keeps itself up to date. */
export interface KeepSyncedOptions {
  /** How often to ask for changes of others, milliseconds. Default 60,000. Call `sync` when a watch tells of one. */
  readonly everyMs?: number | undefined;
  /** Told why a synchronisation failed. It goes on: after a while, when the browser is online again, and when something is changed. */
  readonly onError?: ((error: KithError | ContactsStoreError) => void) | undefined;
}

/** A copy of a user's contacts that can be read and changed without a connection. */
export interface ContactsStore extends AsyncDisposable {
  readonly userId: string;
  /** A contact, with what was changed here; undefined where there is none or it is deleted. */
  get(id: string): StoredContact | undefined;
  /** The contacts in the order of ListContacts; with a query, those of which it begins a word for each of its words. */
  list(options?: { readonly query?: string | undefined }): StoredContact[];
  /** The labels; undefined while they were never read. */
  labels(): readonly Label[] | undefined;
  /** The changes that wait, those in conflict and those that were refused, in their order. */
  changes(): WaitingChange[];
  conflicts(): ContactConflict[];
  /** Tells what has changed, here, in another tab or on the server. Gives the function that ends it. */
  subscribe(listener: (change: CopyChange) => void): () => void;

  /** Creates a contact. It is kept when this resolves, as with all changes. */
  create(fields: ContactFields): Promise<StoredContact>;
  /** Changes the fields that are given, or that are made of the contact as it is. */
  update(id: string, fields: ContactFields | ((contact: Contact) => ContactFields)): Promise<StoredContact>;
  delete(id: string): Promise<void>;
  /** Settles a conflict. */
  resolve(id: string, how: ConflictResolution): Promise<void>;
  /** Sends a change again that was refused. */
  retry(id: string): Promise<void>;
  /** Drops a change that waits. What was sent already may have reached the server. */
  discard(id: string): Promise<void>;

  /**
   * Brings the copy up to date and sends what waits. Fails with a `KithError` where that cannot be done now, and what waits
   * goes on waiting. One at a time in all tabs.
   */
  sync(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Synchronises from now on; of several tabs, one. Gives the function that ends it. */
  keepSynced(options?: KeepSyncedOptions): () => void;
  /** Removes the contacts, and the changes that wait, from this device. */
  clear(): Promise<void>;
  close(): void;
}

const CHANGES_MAX = 10_000;
const EVERY_MS = 60_000;
const BACKOFF = { firstMs: 1_000, maxMs: 300_000 };

/** Opens the copy of a user's contacts that a storage has, or a new one. Makes no call where the user is given. */
export async function openContactsStore(options: ContactsStoreOptions): Promise<ContactsStore> {
  const userId = options.userId ?? (await signedInUser(options.client));
  const copy = await ContactsCopy.open(await options.storage.open(userId));
  return new Store(userId, copy, options);
}

async function signedInUser({ transport, signing: { tokens } }: ContactsStoreOptions['client']): Promise<string> {
  let token: string | undefined;
  try {
    token = await tokens.token();
  } catch (thrown) {
    // Without a connection, the last token still tells who it was.
    if (userIdOf(tokens.current()) === undefined) throw KithError.from(thrown);
    token = tokens.current();
  }
  const userId = userIdOf(token);
  if (userId !== undefined) return userId;
  if (token === undefined) throw new ContactsStoreError('SIGNED_OUT', 'sign in, or say whose contacts to open: userId');
  try {
    const { user } = await createClient(AuthService, transport).userMe({});
    return user!.id;
  } catch (thrown) {
    throw KithError.from(thrown);
  }
}

class Store implements ContactsStore {
  readonly userId: string;
  readonly #copy: ContactsCopy;
  readonly #options: ContactsStoreOptions;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #following: Promise<void> | undefined;
  #sorted: readonly ContactRecord[] | undefined;
  readonly #sortKeys = new WeakMap<Contact, string>();
  readonly #wakers = new Set<() => void>();

  constructor(userId: string, copy: ContactsCopy, options: ContactsStoreOptions) {
    this.userId = userId;
    this.#copy = copy;
    this.#options = options;
    copy.subscribe(() => {
      this.#sorted = undefined;
      for (const wake of this.#wakers) wake();
    });
  }

  get(id: string): StoredContact | undefined {
    const record = this.#copy.get(id);
    return record && this.#stored(record);
  }

  list({ query = '' }: { readonly query?: string | undefined } = {}): StoredContact[] {
    this.#sorted ??= this.#sort();
    const isFound = matcherOf(query);
    return this.#sorted.filter((record) => isFound(viewOf(record)!)).map((record) => this.#stored(record)!);
  }

  labels(): readonly Label[] | undefined {
    return this.#copy.labels();
  }

  changes(): WaitingChange[] {
    return this.#changed().map(({ id, change }) => {
      const { base, mine, refused } = change!;
      return { id, state: this.#stateOf(this.#copy.records.get(id)!) as WaitingChange['state'], base, mine, refused };
    });
  }

  conflicts(): ContactConflict[] {
    return this.#changed()
      .map((record) => conflictOf(record, (id) => this.#copy.records.get(id)))
      .filter((conflict) => conflict !== undefined);
  }

  subscribe(listener: (change: CopyChange) => void): () => void {
    return this.#copy.subscribe(listener);
  }

  async create(fields: ContactFields): Promise<StoredContact> {
    const id = randomUuid();
    const mine = withFields(create(ContactSchema, { id, uid: uidOf(id) }), fields);
    if (mine.uid === '') mine.uid = uidOf(id);
    await this.#change(id, (step) => ({ order: orderIn(step), base: undefined, mine }));
    return this.get(id)!;
  }

  async update(id: string, fields: ContactFields | ((contact: Contact) => ContactFields)): Promise<StoredContact> {
    await this.#change(id, (step, record) => {
      const view = record && viewOf(record);
      if (view === undefined) throw missing();
      const mine = withFields(view, typeof fields === 'function' ? fields(this.#shown(view)) : fields);
      // What labels are deleted is not shown, and stays.
      mine.labelIds.push(...this.#hiddenLabels(view).filter((label) => !mine.labelIds.includes(label)));
      if (changedFields(view, mine).length === 0) return record?.change;
      return { ...(record!.change ?? began(step, record!)), mine, refused: undefined };
    });
    return this.get(id)!;
  }

  async delete(id: string): Promise<void> {
    await this.#change(id, (step, record) => {
      if (record === undefined || viewOf(record) === undefined) throw missing();
      const { change } = record;
      if (change !== undefined && change.base === undefined && change.sent === undefined) return undefined;
      return { ...(change ?? began(step, record)), mine: undefined, refused: undefined };
    });
  }

  async resolve(id: string, how: ConflictResolution): Promise<void> {
    const current = this.#copy.idOf(id);
    const { mergedInto } = this.#copy.records.get(current) ?? {};
    await this.#copy.transact([current, ...(mergedInto === undefined ? [] : [mergedInto])], (step) => {
      const record = step.records.get(current);
      const conflict = record && conflictOf(record, (other) => step.records.get(other));
      if (conflict === undefined) throw new ContactsStoreError('CONFLICT_MISSING', 'the contact has no conflict');
      settle(step, conflict, how);
    });
  }

  async retry(id: string): Promise<void> {
    await this.#change(id, (_, record) => record?.change && { ...record.change, refused: undefined });
  }

  async discard(id: string): Promise<void> {
    await this.#change(id, () => undefined);
  }

  sync({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const run = () =>
      this.#sync(signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]));
    if (this.#running === undefined) {
      this.#running = run().finally(() => (this.#running = undefined));
      return this.#running;
    }
    // One that is under way may be past what was changed since.
    this.#following ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#following = undefined;
        return this.sync({ signal });
      });
    return this.#following;
  }

  keepSynced({ everyMs = EVERY_MS, onError }: KeepSyncedOptions = {}): () => void {
    const ended = new AbortController();
    const ending = AbortSignal.any([ended.signal, this.#closing.signal]);
    const loop = async (signal: AbortSignal) => {
      for (let failures = 0; !signal.aborted; ) {
        let waitMs = everyMs;
        try {
          await this.sync({ signal });
          failures = 0;
        } catch (thrown) {
          if (signal.aborted) return;
          const error = thrown instanceof ContactsStoreError ? thrown : KithError.from(thrown);
          onError?.(error);
          failures += 1;
          waitMs = backoffMs(BACKOFF, failures);
        }
        // What others change as fast is not chased without a pause.
        if (failures === 0 && this.#hasSomethingToSend()) waitMs = Math.min(waitMs, BACKOFF.firstMs);
        await this.#untilWoken(waitMs, failures === 0, signal);
      }
    };
    const whileShown = async () => {
      const page = watchPage();
      try {
        while (!ending.aborted) {
          await page.shown(ending);
          // A page that a browser has frozen would hold what the others need.
          const hidden = new AbortController();
          page.onHidden(() => hidden.abort());
          const signal = AbortSignal.any([hidden.signal, ending]);
          await this.#alone('keeper', signal, () => loop(signal)).catch(() =>
            // Ended while it waited for its turn, or there are no locks to be had.
            pause(BACKOFF.firstMs, ending).catch(() => {}),
          );
        }
      } finally {
        page.close();
      }
    };
    void whileShown();
    return () => ended.abort();
  }

  async clear(): Promise<void> {
    await this.#copy.clear();
  }

  close(): void {
    this.#closing.abort(new ContactsStoreError('CLOSED', 'the store is closed'));
    this.#copy.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.#running?.catch(() => {});
  }

  async #sync(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    let caller: Caller | undefined;
    try {
      caller = await callerOf(this.#options.client);
    } catch (thrown) {
      throw KithError.from(thrown);
    }
    if (caller !== undefined && caller.userId !== this.userId)
      throw new ContactsStoreError('OTHER_USER', 'somebody else is signed in: open the store of that user');
    const transport = caller?.transport ?? this.#options.client.transport;
    await this.#alone('sync', signal, async () => {
      await this.#copy.refresh();
      await synchronise(this.#copy, transport, this.#options.onConflict, signal);
    });
  }

  /** Does something in this tab while no other tab does it. */
  async #alone(what: string, signal: AbortSignal, action: () => Promise<void>): Promise<void> {
    const { sharedName } = this.#copy.database;
    const locks = globalThis.navigator?.locks as LockManager | undefined;
    if (sharedName === undefined || locks === undefined) return action();
    await locks.request(`kith.contacts ${what} ${sharedName}`, { signal }, action);
  }

  #hasSomethingToSend(): boolean {
    return [...this.#copy.records.values()].some(isWaiting);
  }

  /** Until it is time, the browser is online again, or, where that is of use, something has changed. */
  async #untilWoken(ms: number, mayChange: boolean, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = () => woken.abort();
    const wakeToSend = () => {
      if (this.#hasSomethingToSend()) wake();
    };
    if (mayChange) this.#wakers.add(wakeToSend);
    globalThis.window?.addEventListener('online', wake);
    await pause(ms, AbortSignal.any([woken.signal, signal])).catch(() => {}); // the loop looks at the signal
    this.#wakers.delete(wakeToSend);
    globalThis.window?.removeEventListener('online', wake);
  }

  /** Puts a change in the place of what there is for a contact, by its present id or by an earlier one. */
  async #change(
    id: string,
    make: (step: Step, record: ContactRecord | undefined) => Change | undefined,
  ): Promise<void> {
    const max = this.#options.changesMax ?? CHANGES_MAX;
    const current = this.#copy.idOf(id);
    await this.#copy.transact([current], (step) => {
      const record = step.records.get(current);
      const change = make(step, record);
      if (change === record?.change) return;
      if (record?.change === undefined && this.#changed().length >= max)
        throw new ContactsStoreError('QUEUE_FULL', `${max} changes wait to be sent`);
      if (record?.change === undefined) step.setState({ nextOrder: step.state.nextOrder + 1 });
      step.put({ ...(record ?? { id: current, generation: 0, theirs: undefined }), change });
    });
  }

  #changed(): ContactRecord[] {
    return inOrder([...this.#copy.records.values()].filter(({ change }) => change !== undefined));
  }

  #sort(): ContactRecord[] {
    const keyOf = (record: ContactRecord) => {
      const view = viewOf(record)!;
      const key = this.#sortKeys.get(view) ?? sortKeyOf(view);
      this.#sortKeys.set(view, key);
      return key;
    };
    const present = [...this.#copy.records.values()].filter((record) => viewOf(record) !== undefined);
    // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is of ES2023
    return present.sort((a, b) => compareText(keyOf(a), keyOf(b)) || compareText(a.id, b.id));
  }

  #stored(record: ContactRecord): StoredContact | undefined {
    const view = viewOf(record);
    if (view === undefined) return undefined;
    return { id: record.id, contact: this.#shown(view), state: this.#stateOf(record), refused: record.change?.refused };
  }

  #stateOf(record: ContactRecord): ContactState {
    const { change } = record;
    if (change === undefined) return 'synced';
    if (change.refused !== undefined) return 'refused';
    return record.answered === undefined && nextStep(record, change).kind === 'conflict' ? 'conflict' : 'pending';
  }

  #hiddenLabels({ labelIds }: Contact): string[] {
    const known = this.#copy.knownLabels();
    return known === undefined ? [] : labelIds.filter((id) => !known.has(id));
  }

  /** A contact without labels that are deleted. */
  #shown(contact: Contact): Contact {
    const hidden = this.#hiddenLabels(contact);
    if (hidden.length === 0) return contact;
    return withFields(contact, { labelIds: contact.labelIds.filter((id) => !hidden.includes(id)) });
  }
}

const orderIn = ({ state }: Step) => state.nextOrder;

/** A change that begins with what the server has, or has just answered. */
function began(step: Step, { answered, theirs }: ContactRecord): Change {
  return { order: orderIn(step), base: answered === undefined ? theirs : answered.contact, mine: undefined };
}

const missing = () => new ContactsStoreError('CONTACT_MISSING', 'there is no such contact here');
