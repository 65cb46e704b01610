import { randomUUID } from 'node:crypto';
import { type Client, createClient } from '@connectrpc/connect';
import { Http2SessionManager } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import type { Contact } from '../gen/kith/contact/v1/contact_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { type User, UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, grpc } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';

const ROUNDS = 8;
const CONNECTIONS = 4;

type Kind = 'contact' | 'user';

/** A resource as the client that wrote it remembers it. Its mark is a word of its name, which a search finds. */
interface Entry {
  readonly kind: Kind;
  readonly requestId: string;
  readonly firstMark: string;
  /** What the first answer was; undefined while there is none. */
  created?: Contact | User;
  acknowledged: State | undefined;
  /** What was asked for and not answered. */
  attempted: State | undefined;
}

interface State {
  readonly mark: string;
  readonly deleted: boolean;
  /** Unknown before it is answered. */
  readonly etag?: string;
}

/** The verbs of both services, told apart by kind. */
class Api implements Disposable {
  readonly #sessions: Http2SessionManager;
  readonly #contacts: Client<typeof ContactService>;
  readonly #users: Client<typeof UserService>;

  constructor(address: string, accessToken: string) {
    this.#sessions = new Http2SessionManager(address);
    const transport = grpc(address, accessToken, this.#sessions);
    this.#contacts = createClient(ContactService, transport);
    this.#users = createClient(UserService, transport);
  }

  async create({ kind, requestId, firstMark }: Entry): Promise<Contact | User> {
    if (kind === 'contact') {
      const phones = [{ number: '+1 202 555 0100' }];
      return (await this.#contacts.createContact({ requestId, givenName: firstMark, phones })).contact!;
    }
    const username = `u${firstMark}`; // which the mark does not find
    const email = `${username}@example.org`;
    const password = `password of ${username}`;
    return (await this.#users.createUser({ requestId, username, email, name: firstMark, password })).user!;
  }

  async get(kind: Kind, id: string): Promise<State> {
    if (kind === 'contact') {
      const { givenName, deleteTime, etag } = (await this.#contacts.getContact({ contactId: id })).contact!;
      return { mark: givenName, deleted: deleteTime !== undefined, etag };
    }
    const { name, state, etag } = (await this.#users.getUser({ userId: id })).user!;
    return { mark: name, deleted: state === UserState.DELETED, etag };
  }

  async change(kind: Kind, id: string, etag: string, { mark, deleted }: State): Promise<string> {
    if (kind === 'contact') {
      const { contact } = deleted
        ? await this.#contacts.deleteContact({ contactId: id, etag })
        : await this.#contacts.updateContact({ contactId: id, etag, givenName: mark });
      return contact!.etag;
    }
    const { user } = deleted
      ? await this.#users.deleteUser({ userId: id, etag })
      : await this.#users.updateUser({ userId: id, etag, name: mark });
    return user!.etag;
  }

  /** The ids that the mark finds. */
  async search(kind: Kind, query: string, deleted: boolean): Promise<string[]> {
    if (kind === 'contact') return (await this.#contacts.listContacts({ query, deleted })).contacts.map(({ id }) => id);
    const states = deleted ? [UserState.DELETED] : [];
    return (await this.#users.listUsers({ query, states })).users.map(({ id }) => id);
  }

  async countAll(kind: Kind, deleted: boolean): Promise<number> {
    const list = { pageSize: 1, includeTotalSize: true };
    if (kind === 'contact') return (await this.#contacts.listContacts({ ...list, deleted })).totalSize!;
    const states = deleted ? [UserState.DELETED] : [];
    return (await this.#users.listUsers({ ...list, states })).totalSize!;
  }

  [Symbol.dispose](): void {
    this.#sessions.abort();
  }
}

const newMark = (): string => `m${randomUUID().replaceAll('-', '')}`;

/** What one connection does over and over: mostly creates, then changes of what it made itself. */
const STEPS = ['contact', 'update', 'contact', 'user', 'update', 'contact', 'delete', 'update'] as const;

/** Writes one step and notes it, before and after. `own` are the entries of this connection. */
async function write(api: Api, own: Entry[], step: (typeof STEPS)[number], touch: (entry: Entry) => void) {
  if (step === 'contact' || step === 'user') {
    const entry = newEntry(step);
    own.push(entry);
    touch(entry);
    entry.created = await api.create(entry);
    entry.acknowledged = { ...entry.attempted!, etag: entry.created.etag };
    entry.attempted = undefined;
    return;
  }
  const living = own.filter(({ acknowledged }) => acknowledged?.deleted === false);
  const entry = living.find(({ kind }) => kind === 'user') ?? living[0];
  const state = entry?.acknowledged;
  if (entry?.created === undefined || state?.etag === undefined) return;
  own.push(...own.splice(own.indexOf(entry), 1)); // another one's turn next time
  const wanted = step === 'delete' ? { mark: state.mark, deleted: true } : { mark: newMark(), deleted: false };
  entry.attempted = wanted;
  touch(entry);
  const etag = await api.change(entry.kind, entry.created.id, state.etag, wanted);
  entry.acknowledged = { ...wanted, etag };
  entry.attempted = undefined;
}

function newEntry(kind: Kind): Entry {
  const firstMark = newMark();
  const attempted = { mark: firstMark, deleted: false };
  return { kind, requestId: randomUUID(), firstMark, acknowledged: undefined, attempted };
}

/** Sends a create that was not answered once more, and once again: it takes place once. */
async function retry(api: Api, entry: Entry): Promise<void> {
  const { kind, firstMark } = entry;
  const before = await api.search(kind, firstMark, false);
  entry.created = await api.create(entry);
  const { id, etag } = entry.created;
  expect(await api.create(entry), 'a second retry').toEqual(entry.created);
  expect([[], [id]], 'before the retry').toContainEqual(before);
  expect(await api.search(kind, firstMark, false), 'after the retry').toEqual([id]);
  entry.acknowledged = { mark: firstMark, deleted: false, etag };
  entry.attempted = undefined;
}

/** Compares an entry with what is stored, and settles the change that was not answered, if there is one. */
async function verify(api: Api, entry: Entry): Promise<void> {
  const { kind, created, acknowledged, attempted } = entry;
  const { id } = created!;
  expect(await api.create(entry), 'the answer to a create, asked for again').toEqual(created);
  const stored = await api.get(kind, id);
  const isAsBefore = stored.etag === acknowledged?.etag;
  expect(stored).toEqual(isAsBefore ? acknowledged : { ...attempted, etag: stored.etag });
  expect(await api.search(kind, stored.mark, stored.deleted), 'by the name it has').toEqual([id]);
  expect(await api.search(kind, stored.mark, !stored.deleted), 'where it is not').toEqual([]);
  const marks = [entry.firstMark, acknowledged?.mark, attempted?.mark];
  const otherMarks = marks.filter((mark) => mark !== undefined && mark !== stored.mark) as string[];
  const found = await Promise.all(otherMarks.map((mark) => api.search(kind, mark, stored.deleted)));
  expect(found.flat(), 'by a name it does not have').toEqual([]);
  entry.acknowledged = stored;
  entry.attempted = undefined;
}

describe.each(databases)('$name', ({ create }) => {
  test('what was acknowledged survives kill -9, and nothing survives by half', async () => {
    await using database = await create();
    const env = {
      ...database.env,
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      KITH_LOG_LEVEL: 'warn',
    };
    const entries = Array.from({ length: CONNECTIONS }, (): Entry[] => []);
    let touched = new Set<Entry>();
    let accessToken = '';

    for (let round = 0; round <= ROUNDS; round++) {
      await using kith = await startProcess({ env });
      if (round === 0) {
        const login = createClient(AuthService, grpc(kith.address));
        accessToken = (await signedIn(login.login({ identifier: 'admin', password: ADMIN_PASSWORD }))).accessToken;
      }

      expect(await database.faults()).toEqual([]);
      using reader = new Api(kith.address, accessToken);
      const toCheck = [...touched];
      const check = async () => {
        for (let entry = toCheck.pop(); entry !== undefined; entry = toCheck.pop()) {
          await (entry.created === undefined ? retry : verify)(reader, entry);
        }
      };
      await Promise.all(Array.from({ length: CONNECTIONS }, check));
      if (round === ROUNDS) break;

      // The signal comes while the other connections wait for their answers, each round at another point.
      let left = 3 + 2 * round;
      touched = new Set();
      const killed = Promise.withResolvers<void>();
      await Promise.all([
        killed.promise,
        ...entries.map(async (own, connection) => {
          using api = new Api(kith.address, accessToken);
          for (let i = connection + round; left > 0; i++) {
            try {
              await write(api, own, STEPS[i % STEPS.length]!, (entry) => touched.add(entry));
            } catch (error) {
              if (left > 0) throw error;
              return;
            }
            if (--left > 0) continue;
            kith.kill('SIGKILL');
            killed.resolve();
          }
        }),
      ]);
      expect(await kith.exited).toMatchObject({ signal: 'SIGKILL', stderr: expect.not.stringContaining('error') });
    }

    const all = entries.flat();
    await using kith = await startProcess({ env });
    using reader = new Api(kith.address, accessToken);
    for (const kind of ['contact', 'user'] as const) {
      for (const deleted of [false, true]) {
        const expected = all.filter((entry) => entry.kind === kind && entry.acknowledged?.deleted === deleted).length;
        const administrators = kind === 'user' && !deleted ? 1 : 0;
        expect(await reader.countAll(kind, deleted), `${kind}s, deleted: ${deleted}`).toBe(expected + administrators);
      }
    }
    expect(await database.faults()).toEqual([]);
  }, 900_000);
});
