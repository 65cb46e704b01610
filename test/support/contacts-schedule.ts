import { setImmediate as turn } from 'node:timers/promises';
import { create, toJson } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, type Transport } from '@connectrpc/connect';
import { expect } from 'vitest';
import {
  type ConflictResolution,
  type ContactConflict,
  type ContactFields,
  type ContactsStorage,
  type ContactsStore,
  ContactsStoreError,
  memoryStorage,
  openContactsStore,
} from '../../packages/client/src/contacts-store-entry.ts';
import type { Calls } from '../../packages/client/src/calls.ts';
import { type Contact, ContactSchema } from '../../packages/client/src/gen/kith/contact/v1/contact_pb.ts';
import { ContactService } from '../../packages/client/src/gen/kith/contact/v1/contact_service_pb.ts';
import { ErrorDetailSchema, ErrorReason } from '../../packages/client/src/gen/kith/error/v1/error_pb.ts';
import { KithError } from '../../packages/client/src/index.ts';
import type { Generator } from './generator.ts';

/** What goes wrong with the calls of a device. */
export interface Line {
  isOffline: boolean;
  /** Of 100 calls, how many fail before the server has them, and how many after it has answered. */
  lost: number;
  /** Whether the next call with a cursor is answered as one that is too old. */
  isExpired: boolean;
  /** Methods whose next answer is lost. */
  answersLost?: string[];
}

type CallsOver = Pick<Calls, 'transport' | 'signing'>;

/** The same calls over a line that loses requests and answers. */
export function over(calls: CallsOver, line: Line, random: Generator): CallsOver {
  const unavailable = () => new ConnectError('the line is down', Code.Unavailable);
  const wrap = (transport: Transport): Transport => ({
    ...transport,
    async unary(method, signal, timeoutMs, header, input, context) {
      if (line.isOffline || random.below(100) < line.lost) throw unavailable();
      if (line.isExpired && method.name === 'SyncContacts' && (input as { cursor?: string }).cursor !== '') {
        line.isExpired = false;
        const value = create(ErrorDetailSchema, { reason: ErrorReason.CURSOR_EXPIRED });
        throw new ConnectError('too old', Code.OutOfRange, undefined, [{ desc: ErrorDetailSchema, value }]);
      }
      const answer = await transport.unary(method, signal, timeoutMs, header, input, context);
      const named = line.answersLost?.indexOf(method.name) ?? -1;
      if (named >= 0) line.answersLost!.splice(named, 1);
      if (named >= 0 || random.below(100) < line.lost) throw unavailable();
      return answer;
    },
  });
  return {
    transport: wrap(calls.transport),
    signing: { ...calls.signing, by: (tokens) => wrap(calls.signing.by(tokens)) },
  };
}

/** A storage whose process ends in the middle of its n-th step: before it is written, or just after. */
function endingStorage(storage: ContactsStorage, steps: number, isWritten: boolean) {
  let left = steps;
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const never = new Promise<never>(() => {});
  const ending: ContactsStorage = {
    async open(userId) {
      const database = await storage.open(userId);
      return {
        ...database,
        async transact(keys, change) {
          left -= 1;
          if (left > 0) return database.transact(keys, change);
          if (left === 0 && isWritten) await database.transact(keys, change);
          end();
          return never;
        },
      };
    },
  };
  return { storage: ending, ended };
}

const FIELDS = ['givenName', 'company', 'phones'] as const;
type Field = (typeof FIELDS)[number];

const valueOf = (contact: Contact, field: Field): string =>
  field === 'phones' ? (contact.phones[0]?.number ?? '') : contact[field];
const fieldsWith = (field: Field, value: string): ContactFields =>
  field === 'phones' ? { phones: [{ number: value }] } : { [field]: value };

/** What became of the values that were written: each is unique. */
class Accounts {
  /** Values of changes that were kept. */
  readonly written = new Set<string>();
  /** Values that somebody who had seen them has replaced or deleted. */
  readonly replaced = new Set<string>();
  /** Values that were told in a conflict. */
  readonly told = new Set<string>();
  readonly tags = new Set<string>();
  /** The tags of contacts that were merged into others: each device that has a change of one may make another one of it. */
  readonly merged = new Set<string>();
  conflicts = 0;
  readonly #prefix: number;
  #last = 0;

  constructor(prefix: number) {
    this.#prefix = prefix;
  }

  value(): string {
    return `${this.#prefix} ${++this.#last}`;
  }

  replace(contact: Contact, fields: readonly Field[] = FIELDS): void {
    for (const field of fields) this.replaced.add(valueOf(contact, field));
  }

  tell({ mine, theirs, fields }: ContactConflict): void {
    this.conflicts += 1;
    for (const field of FIELDS.filter((name) => (fields as readonly string[]).includes(name)))
      for (const side of [mine, theirs]) if (side !== undefined) this.told.add(valueOf(side, field));
    // Where it was merged into another contact, what is here counts as told.
    if (mine !== undefined && theirs === undefined) for (const field of FIELDS) this.told.add(valueOf(mine, field));
  }
}

/** A device of the user, whose process may end and be started again. */
class Device {
  readonly line: Line = { isOffline: false, lost: 0, isExpired: false };
  readonly #storage = memoryStorage();
  readonly #calls: CallsOver;
  readonly #userId: string;
  readonly #random: Generator;
  readonly #accounts: Accounts;
  store!: ContactsStore;
  /** Values that conflicts were settled with in what is under way. */
  #merged: string[] = [];
  #ended = new Promise<void>(() => {});
  isLast = false;

  constructor(calls: CallsOver, userId: string, random: Generator, accounts: Accounts) {
    this.#calls = over(calls, this.line, random);
    this.#userId = userId;
    this.#random = random;
    this.#accounts = accounts;
  }

  async start(endsAfter = Infinity): Promise<void> {
    const ending = endingStorage(this.#storage, endsAfter, this.#random.below(2) === 0);
    this.#ended = ending.ended;
    const onConflict = (conflict: ContactConflict) => this.#settle(conflict);
    this.store = await openContactsStore({
      client: this.#calls,
      storage: ending.storage,
      userId: this.#userId,
      onConflict,
    });
  }

  /** Lets the process end in the middle of one of the next steps, if there are as many. */
  async restart(endsAfter?: number): Promise<void> {
    this.store.close();
    await this.start(endsAfter);
  }

  #settle(conflict: ContactConflict): ConflictResolution {
    this.#accounts.tell(conflict);
    const kind = this.#random.below(this.isLast ? 3 : 4);
    if (kind === 2) {
      const value = this.#accounts.value();
      this.#merged.push(value);
      for (const side of [conflict.mine, conflict.theirs])
        if (side !== undefined) this.#accounts.replace(side, ['company']);
      return { merged: { company: value } };
    }
    return kind === 0 ? 'mine' : kind === 1 ? 'theirs' : 'later';
  }

  /** Does something, or ends in the middle of it and is started again. Tells whether it is done. */
  async #run(action: () => Promise<unknown>): Promise<boolean> {
    const outcome = await Promise.race([action().then(() => 'done'), this.#ended.then(() => 'ended')]);
    if (outcome === 'done') for (const value of this.#merged) this.#accounts.written.add(value);
    this.#merged = [];
    if (outcome === 'ended') {
      await turn();
      await this.start();
    }
    return outcome === 'done';
  }

  async sync(): Promise<void> {
    await this.#run(() =>
      this.store.sync().catch((error: unknown) => {
        if (!(error instanceof KithError) || error.code !== 'Unavailable') throw error;
      }),
    );
  }

  async change(): Promise<void> {
    const { store } = this;
    const random = this.#random;
    const accounts = this.#accounts;
    const contacts = store.list();
    const kind = random.below(10);
    if (contacts.length === 0 || kind === 0) {
      const [value, tag] = [accounts.value(), accounts.value()];
      if (await this.#run(() => store.create({ givenName: value, source: tag }))) {
        accounts.written.add(value);
        accounts.tags.add(tag);
      }
      return;
    }
    const { id, contact } = random.pick(contacts);
    if (kind === 1) {
      accounts.replace(contact);
      accounts.replaced.add(contact.source);
      await this.#run(() => store.delete(id));
      return;
    }
    const field = random.pick(FIELDS);
    const value = accounts.value();
    accounts.replace(contact, [field]);
    if (await this.#run(() => store.update(id, fieldsWith(field, value)))) accounts.written.add(value);
  }

  async resolveSome(): Promise<void> {
    const conflict = this.store.conflicts()[0];
    if (conflict === undefined) return;
    await this.#run(async () => {
      try {
        await this.store.resolve(conflict.id, this.#settle(conflict));
      } catch (error) {
        if (!(error instanceof ContactsStoreError)) throw error;
      }
    });
  }
}

const plain = (contact: Contact) => toJson(ContactSchema, contact);

/**
 * Two devices of one user, and somebody at the server, do what a generator says; in the end both are equal to the server,
 * each contact was created once, and each value that is not there was replaced by somebody who had seen it, or was told.
 */
export async function runSchedule(
  calls: CallsOver & Pick<Calls, 'raw'>,
  userId: string,
  random: Generator,
): Promise<{ readonly conflicts: number }> {
  const server: Client<typeof ContactService> = calls.raw(ContactService);
  const accounts = new Accounts(random.below(1e9));
  const devices = [0, 1].map(() => new Device(calls, userId, random, accounts));
  const atServer = async () => (await server.listContacts({ pageSize: 1000 })).contacts;
  for (const device of devices) await device.start();
  const [first] = devices;
  for (let i = 0; i < 2; i++) await first!.change();
  for (const device of devices) await device.sync();

  const steps = 8 + random.below(16);
  for (let i = 0; i < steps; i++) {
    const device = random.pick(devices);
    const kind = random.below(20);
    if (kind < 11) await device.change();
    else if (kind < 14) await device.sync();
    else if (kind === 14) device.line.isOffline = !device.line.isOffline;
    else if (kind === 15) device.line.lost = random.below(2) * 25;
    else if (kind === 16) await device.restart(random.below(2) === 0 ? undefined : 1 + random.below(6));
    else if (kind === 17) device.line.isExpired = true;
    else if (kind === 18) await device.resolveSome();
    else await unlessBusy(changeAtServer(server, random, accounts));
  }

  for (const device of devices) {
    Object.assign(device.line, { isOffline: false, lost: 0, isExpired: false });
    device.isLast = true;
    await device.restart();
  }
  for (let rounds = 0; ; rounds++) {
    for (const device of devices) {
      await device.resolveSome();
      await device.sync();
    }
    if (rounds > 0 && devices.every(({ store }) => store.changes().length === 0)) break;
    if (rounds === 10)
      expect(
        devices.map(({ store }) => store.changes()),
        'nothing waits after ten rounds',
      ).toEqual([[], []]);
  }
  for (const device of devices) await device.sync();

  const present = await atServer();
  for (const { store } of devices) {
    expect(store.list().map(({ state }) => state)).toEqual(present.map(() => 'synced'));
    expect(store.list().map(({ contact }) => plain(contact))).toEqual(present.map(plain));
  }
  const gone = (await server.listContacts({ pageSize: 1000, deleted: true })).contacts;
  const tags = [...present, ...gone].map(({ source }) => source);
  for (const tag of accounts.tags.difference(accounts.merged)) {
    const times = tags.filter((other) => other === tag).length;
    expect({ tag, isOnce: times === 1 || (times === 0 && accounts.replaced.has(tag)) }).toEqual({ tag, isOnce: true });
  }
  const values = new Set(present.flatMap((contact) => FIELDS.map((field) => valueOf(contact, field))));
  const lost = [...accounts.written].filter(
    (value) => !values.has(value) && !accounts.replaced.has(value) && !accounts.told.has(value),
  );
  expect(lost, 'values that are gone without a word').toEqual([]);

  for (const { store } of devices) store.close();
  if (present.length > 0)
    await unlessBusy(server.batchDeleteContacts({ contacts: present.map(({ id }) => ({ contactId: id })) }));
  return { conflicts: accounts.conflicts };
}

/** On PostgreSQL, transactions that write the same may have to be made again. */
async function unlessBusy(change: Promise<unknown>): Promise<void> {
  await change.catch((error: unknown) => {
    if (ConnectError.from(error).code !== Code.Unavailable) throw error;
  });
}

/** Somebody deletes, brings back, merges or takes a merge back at the server, with what there is. */
async function changeAtServer(
  server: Client<typeof ContactService>,
  random: Generator,
  accounts: Accounts,
): Promise<void> {
  const { contacts } = await server.listContacts({ pageSize: 1000 });
  const { contacts: deleted } = await server.listContacts({ pageSize: 3, deleted: true });
  const kind = random.below(3);
  if (kind === 0 && deleted.length > 0) {
    await server.undeleteContact({ contactId: random.pick(deleted).id });
    return;
  }
  if (contacts.length === 0) return;
  const contact = random.pick(contacts);
  accounts.replace(contact);
  accounts.replaced.add(contact.source);
  if (kind === 1 || contacts.length === 1) {
    await server.deleteContact({ contactId: contact.id });
    return;
  }
  const other = random.pick(contacts.filter(({ id }) => id !== contact.id));
  accounts.merged.add(other.source);
  accounts.replace(other);
  accounts.replaced.add(other.source);
  await server.mergeContacts({
    contacts: [contact, other].map(({ id, etag }) => ({ contactId: id, etag })),
    keptContactId: contact.id,
    preferKept: true,
  });
}
