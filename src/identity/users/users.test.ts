import { randomUUID, randomUUIDv7 } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../../gen/kith/contact/v1/contact_service_pb.ts';
import { type User, UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import {
  type CreateUserRequest,
  type ListUsersRequestSchema,
  UserService,
} from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { ADMIN_PASSWORD, type Kith, refusalOf } from '../../../test/support/kith.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import type { App } from '../../app.ts';
import { purge } from '../../purge.ts';
import { searchTerm, wordTerms } from '../../kernel/text.ts';
import { insertUser, type UserRow } from './store.ts';
import { userRow } from '../../../test/support/rows.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import {
  ETAG_MISMATCH,
  FIELDS_INVALID,
  PAGE_TOKEN_INVALID,
  REQUEST_ID_REUSED,
  RESOURCE_DELETED,
  RESOURCE_NOT_DELETED,
  USER_NOT_FOUND,
} from '../../../test/support/refusals.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

const USERNAME_TAKEN = { code: 'AlreadyExists', reason: 'USERNAME_TAKEN', metadata: { field: 'username' } };
const EMAIL_TAKEN = { code: 'AlreadyExists', reason: 'EMAIL_TAKEN', metadata: { field: 'email' } };
const LAST_ADMIN = { code: 'FailedPrecondition', reason: 'LAST_ADMIN' };

type NewUser = Partial<Omit<CreateUserRequest, '$typeName' | '$unknown'>>;
type ListRequest = MessageInitShape<typeof ListUsersRequestSchema>;

/** A user nobody has yet. */
function somebody(given: NewUser = {}) {
  const username = `u${randomUUID()}`;
  return { username, email: `${username}@example.org`, name: 'Somebody', password: 'a good password', ...given };
}

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const users = async (on = kith) => on.client(UserService, (await on.admin()).accessToken);
  const login = (identifier: string, password: string, on = kith) =>
    signedIn(on.client(AuthService).login({ identifier, password }));
  const create = async (given: NewUser = {}, on = kith): Promise<User> =>
    (await (await users(on)).createUser(somebody(given))).user!;
  const get = async (id: string, on = kith): Promise<User> => (await (await users(on)).getUser({ userId: id })).user!;
  const list = async (request: ListRequest, on = kith) => (await users(on)).listUsers(request);
  const finds = async (query: string, id: string) =>
    (await list({ query, pageSize: 1000 })).users.some((user) => user.id === id);

  describe('CreateUser', () => {
    test('makes a user of whom all is stored as it was written, and who can sign in', async () => {
      const asked = somebody({ name: 'Ada  Lovelace, Ωmega 🦉', role: Role.EDITOR });
      asked.username = asked.username.toUpperCase();
      asked.email = `Ada.${asked.email}`;
      const user = await create(asked);
      expect(user).toMatchObject({
        username: asked.username,
        email: asked.email,
        name: asked.name,
        role: Role.EDITOR,
        state: UserState.ACTIVE,
        updateTime: user.createTime,
      });
      expect(user.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(user.etag).not.toBe('');
      expect(user.deleteTime).toBeUndefined();
      expect(user.purgeTime).toBeUndefined();
      expect(await get(user.id)).toEqual(user);
      const { user: signedInUser } = await login(user.username, asked.password);
      expect(signedInUser).toEqual({ ...user, lastSignInTime: expect.anything() });
      expect(await get(user.id)).toEqual(signedInUser);
    });

    test('makes a viewer unless a role is given', async () => {
      expect((await create()).role).toBe(Role.VIEWER);
    });

    test.each([
      ['the username', ({ username }: User) => ({ username }), USERNAME_TAKEN],
      ['the username in another case', ({ username }: User) => ({ username: username.toUpperCase() }), USERNAME_TAKEN],
      ['the email address', ({ email }: User) => ({ email }), EMAIL_TAKEN],
      ['the email address in another case', ({ email }: User) => ({ email: email.toUpperCase() }), EMAIL_TAKEN],
      ['both', ({ username, email }: User) => ({ username, email }), USERNAME_TAKEN],
    ])('refuses %s of another user, of a deleted one too', async (_, same, refusal) => {
      const user = await create();
      expect(await refusalOf(create(same(user)))).toMatchObject(refusal);
      await (await users()).deleteUser({ userId: user.id });
      expect(await refusalOf(create(same(user)))).toMatchObject(refusal);
    });

    test('lets one of many at once have a username', async () => {
      const { username } = somebody();
      const outcomes = await Promise.allSettled(
        Array.from({ length: 6 }, (_, i) => create({ username: i % 2 ? username : username.toUpperCase() })),
      );
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      expect(refused).toHaveLength(5);
      for (const { reason } of refused) {
        expect(await refusalOf(Promise.reject(reason as Error))).toMatchObject(USERNAME_TAKEN);
      }
    });

    test.each([
      ['the username', (asked: NewUser) => asked.username!],
      ['the username in upper case', (asked: NewUser) => asked.username!.toUpperCase()],
      ['the email address', (asked: NewUser) => asked.email!],
      ['the email address in upper case', (asked: NewUser) => asked.email!.toUpperCase()],
    ])('refuses %s as the password', async (_, password) => {
      const asked = somebody();
      expect(await refusalOf(create({ ...asked, password: password(asked) }))).toMatchObject({
        code: 'InvalidArgument',
        reason: 'PASSWORD_IS_IDENTIFIER',
      });
    });

    test.each<[string, NewUser]>([
      ['no username', { username: '' }],
      ['a username of 2', { username: 'ab' }],
      ['a username of 65', { username: 'a'.repeat(65) }],
      ['a username with an @', { username: 'ada@example.org' }],
      ['a username that begins with a dot', { username: '.ada' }],
      ['a username that ends with a hyphen', { username: 'ada-' }],
      ['a username with a blank', { username: 'ada lovelace' }],
      ['a username with a line feed', { username: 'a\nda' }],
      ['a username with another alphabet in it', { username: 'аda' }],
      ['no email address', { email: '' }],
      ['an email address without @', { email: 'ada.example.org' }],
      ['an email address with two @', { email: 'ada@home@example.org' }],
      ['an email address with a name', { email: 'Ada <ada@example.org>' }],
      ['an email address with accents', { email: 'adà@example.org' }],
      ['an email address with a line feed', { email: 'ada\n@example.org' }],
      ['an email address of 255', { email: `${'a'.repeat(243)}@example.org` }],
      ['no name', { name: '' }],
      ['a name of blanks', { name: '   ' }],
      ['a name of ideographic blanks', { name: '\u3000\u00A0' }],
      ['a name of 201', { name: '王'.repeat(201) }],
      ['a name of two lines', { name: 'Ada\nLovelace' }],
      ['a name with a direction override', { name: 'Ada \u202Eecalevol' }],
      ['a name with an escape sequence', { name: 'Ada \u001B[31m' }],
      ['a role that does not exist', { role: 99 as Role }],
      ['a password of 7', { password: 'a'.repeat(7) }],
      ['a password of 129', { password: 'a'.repeat(129) }],
      ['a password with a control character', { password: 'a password\u0007' }],
      ['a request id that is no UUID', { requestId: 'first try' }],
    ])('refuses %s', async (_, given) => {
      expect(await refusalOf(create(given))).toMatchObject(FIELDS_INVALID);
    });

    test.each<[string, NewUser]>([
      ['a username of 3', { username: `${Math.floor(Math.random() * 900) + 100}` }],
      ['a username of 64', { username: `${randomUUID()}${'x'.repeat(28)}` }],
      ['a username with dot, hyphen and underscore', { username: `A.b-c_d.${randomUUID()}` }],
      ['a name of 200 of four bytes', { name: '🦉'.repeat(200) }],
      ['a name of one', { name: '王' }],
      ['an email address of 254', { email: `${randomUUID()}@${'a.'.repeat(106)}abcde` }],
    ])('takes %s', async (_, given) => {
      expect(await create(given)).toMatchObject(given);
    });
  });

  describe('a request id', () => {
    test('answers what the first call answered, also after the user was changed', async () => {
      const asked = somebody({ requestId: randomUUID() });
      const first = await create(asked);
      await (await users()).updateUser({ userId: first.id, name: 'Changed', role: Role.EDITOR });
      expect(await create(asked)).toEqual(first);
      expect(await create({ ...asked, requestId: asked.requestId!.toUpperCase() })).toEqual(first);
      await (await users()).deleteUser({ userId: first.id });
      expect(await create(asked)).toEqual(first);
      expect(await get(first.id)).toMatchObject({ name: 'Changed', state: UserState.DELETED });
    });

    test('makes one user when ten ask at once', async () => {
      const asked = somebody({ requestId: randomUUID() });
      const answers = await Promise.all(Array.from({ length: 10 }, () => create(asked)));
      for (const answer of answers) expect(answer).toEqual(answers[0]);
    });

    test.each<[string, NewUser]>([
      ['name', { name: 'Somebody else' }],
      ['username', { username: `v${randomUUID()}` }],
      ['email address', { email: `${randomUUID()}@example.org` }],
      ['role', { role: Role.EDITOR }],
      ['password', { password: 'another password' }],
    ])('is refused with another %s', async (_, other) => {
      const asked = somebody({ requestId: randomUUID() });
      const first = await create(asked);
      expect(await refusalOf(create({ ...asked, ...other }))).toMatchObject(REQUEST_ID_REUSED);
      expect(await get(first.id)).toEqual(first);
      expect(await create(asked)).toEqual(first);
    });

    test('of one caller means nothing to another', async () => {
      const requestId = randomUUID();
      const first = await create({ requestId });
      const { accessToken } = await kith.user(Role.ADMIN);
      const { user } = await kith.client(UserService, accessToken).createUser(somebody({ requestId }));
      expect(user!.id).not.toBe(first.id);
    });

    test('is refused by another method', async () => {
      const requestId = randomUUID();
      await create({ requestId });
      const contacts = kith.client(ContactService, (await kith.admin()).accessToken);
      expect(await refusalOf(contacts.createContact({ givenName: 'Ada', requestId }))).toMatchObject(REQUEST_ID_REUSED);
    });

    test('of a call that failed is free', async () => {
      const taken = await create();
      const requestId = randomUUID();
      expect(await refusalOf(create({ username: taken.username, requestId }))).toMatchObject(USERNAME_TAKEN);
      expect(await create({ requestId, name: 'Second try' })).toMatchObject({ name: 'Second try' });
    });

    test('keeps the password to itself', async () => {
      const asked = somebody({ requestId: randomUUID(), password: `secret ${randomUUID()}` });
      await create(asked);
      const dump = await kith.database.dump();
      expect(dump).toContain(asked.requestId);
      expect(dump).not.toContain(asked.password);
    });
  });

  describe('GetUser', () => {
    test('finds a user by the id in any case, deleted ones too', async () => {
      const user = await create();
      expect(await get(user.id.toUpperCase())).toEqual(user);
      const deleted = await (await users()).deleteUser({ userId: user.id });
      expect(await get(user.id)).toEqual(deleted.user);
    });

    test('shows viewers themselves and nobody else', async () => {
      const { user, accessToken } = await kith.user();
      const client = kith.client(UserService, accessToken);
      expect((await client.getUser({ userId: user.id.toUpperCase() })).user).toEqual(user);
      const refusal = {
        code: 'PermissionDenied',
        reason: 'PERMISSION_MISSING',
        metadata: { permission: 'PERMISSION_USERS_READ' },
      };
      expect(await refusalOf(client.getUser({ userId: (await create()).id }))).toMatchObject(refusal);
      expect(await refusalOf(client.getUser({ userId: randomUUIDv7() }))).toMatchObject(refusal);
    });

    test.each(['getUser', 'getUserDetails', 'updateUser', 'deleteUser', 'undeleteUser'] as const)(
      '%s says when there is no such user',
      async (method) => {
        const client = await users();
        expect(await refusalOf(client[method]({ userId: randomUUIDv7() }))).toMatchObject(USER_NOT_FOUND);
        expect(await refusalOf(client[method]({ userId: 'ada' }))).toMatchObject(FIELDS_INVALID);
        expect(await refusalOf(client[method]({}))).toMatchObject(FIELDS_INVALID);
      },
    );
  });

  describe('GetUserDetails', () => {
    test('tells what another service asks', async () => {
      const { user } = await kith.user(Role.EDITOR);
      const { $typeName: _, lastSignInTime, ...details } = await (await users()).getUserDetails({ userId: user.id });
      expect(details).toEqual({ user: (await (await users()).getUser({ userId: user.id })).user, contactCount: 0 });
      expect(timestampMs(lastSignInTime!)).toBeGreaterThanOrEqual(timestampMs(user.createTime!));
    });

    test('has no last sign-in before the first', async () => {
      const { id } = await create();
      expect((await (await users()).getUserDetails({ userId: id })).lastSignInTime).toBeUndefined();
    });

    test('counts the contacts without the deleted ones', async () => {
      const { user, accessToken } = await kith.user();
      const contacts = kith.client(ContactService, accessToken);
      const created = await Promise.all(
        ['Ada', 'Grace', 'Edsger'].map((givenName) => contacts.createContact({ givenName })),
      );
      await contacts.deleteContact({ contactId: created[0]!.contact!.id });
      const client = kith.client(UserService, accessToken);
      expect((await client.getUserDetails({ userId: user.id })).contactCount).toBe(2);
    });

    test('tells of a deleted user that they are', async () => {
      const { id } = await create();
      await (await users()).deleteUser({ userId: id });
      expect((await (await users()).getUserDetails({ userId: id })).user!.state).toBe(UserState.DELETED);
    });
  });

  describe('UpdateUser', () => {
    test.each<[string, Partial<Pick<User, 'name' | 'username' | 'email' | 'role' | 'state'>>]>([
      ['name', { name: 'Renamed' }],
      ['username', { username: `w${randomUUID()}` }],
      ['email', { email: `${randomUUID()}@example.net` }],
      ['role', { role: Role.EDITOR }],
      ['state', { state: UserState.SUSPENDED }],
    ])('changes the %s alone', async (_, change) => {
      const user = await create();
      const { user: changed } = await (await users()).updateUser({ userId: user.id, etag: user.etag, ...change });
      expect(changed).toEqual({ ...user, ...change, etag: expect.any(String), updateTime: expect.anything() });
      expect(changed!.etag).not.toBe(user.etag);
      expect(await get(user.id)).toEqual(changed);
    });

    test('leaves etag and time when nothing is different', async () => {
      const user = await create();
      const { username, email, name, role, state } = user;
      const client = await users();
      expect((await client.updateUser({ userId: user.id })).user).toEqual(user);
      expect((await client.updateUser({ userId: user.id, username, email, name, role, state })).user).toEqual(user);
    });

    test('changes the case of a username and an email address', async () => {
      const user = await create();
      const change = { username: user.username.toUpperCase(), email: user.email.toUpperCase() };
      expect((await (await users()).updateUser({ userId: user.id, ...change })).user).toMatchObject(change);
    });

    test('holds for signing in from the next call on', async () => {
      const asked = somebody();
      const user = await create(asked);
      const change = { username: `x${randomUUID()}`, email: `${randomUUID()}@example.net` };
      await (await users()).updateUser({ userId: user.id, ...change });
      for (const old of [user.username, user.email]) {
        expect(await refusalOf(login(old, asked.password))).toMatchObject({ reason: 'CREDENTIALS_INVALID' });
      }
      for (const now of [change.username, change.email]) await login(now, asked.password);
      expect(await create({ username: user.username, email: user.email })).toMatchObject({ username: user.username });
    });

    test('holds for searching', async () => {
      const word = `w${randomUUID().replaceAll('-', '')}`;
      const { id } = await create({ name: `Old${word}` });
      await (await users()).updateUser({ userId: id, name: `New${word} Later` });
      expect(await finds(`old${word}`, id)).toBe(false);
      expect(await finds(`new${word}`, id)).toBe(true);
    });

    test.each([
      ['the username', ({ username }: User) => ({ username: username.toUpperCase() }), USERNAME_TAKEN],
      ['the email address', ({ email }: User) => ({ email: email.toUpperCase() }), EMAIL_TAKEN],
      ['both', ({ username, email }: User) => ({ username, email }), USERNAME_TAKEN],
    ])('refuses %s of another user and changes nothing', async (_, same, refusal) => {
      const [user, other] = [await create(), await create()];
      expect(
        await refusalOf((await users()).updateUser({ userId: user.id, name: 'Renamed', ...same(other) })),
      ).toMatchObject(refusal);
      expect(await get(user.id)).toEqual(user);
    });

    test('a deleted user has to be undeleted first', async () => {
      const { id } = await create();
      const { user } = await (await users()).deleteUser({ userId: id });
      expect(await refusalOf((await users()).updateUser({ userId: id, name: 'Renamed' }))).toMatchObject(
        RESOURCE_DELETED,
      );
      expect(await get(id)).toEqual(user);
    });

    test('anyone renames themselves, and that is all they may', async () => {
      const { user, accessToken } = await kith.user();
      const client = kith.client(UserService, accessToken);
      const { id } = user;
      const renamed = (await client.updateUser({ userId: id, name: 'Renamed', etag: user.etag })).user!;
      expect(renamed).toMatchObject({ id, name: 'Renamed', role: Role.VIEWER });
      for (const [field, change] of Object.entries({
        username: { username: user.username },
        email: { email: user.email },
        role: { role: Role.ADMIN },
        state: { state: UserState.ACTIVE },
      })) {
        expect(await refusalOf(client.updateUser({ userId: id, name: 'Again', ...change }))).toMatchObject({
          code: 'PermissionDenied',
          reason: 'FIELD_NEEDS_PERMISSION',
          metadata: { field, permission: field === 'role' ? 'PERMISSION_ROLES_WRITE' : 'PERMISSION_USERS_WRITE' },
        });
      }
      expect(await refusalOf(client.updateUser({ userId: (await create()).id, name: 'Mine' }))).toMatchObject({
        code: 'PermissionDenied',
        reason: 'PERMISSION_MISSING',
      });
      expect(await get(id)).toEqual(renamed);
    });

    test.each<[string, Record<string, unknown>]>([
      ['an empty name', { name: '' }],
      ['a name of blanks', { name: ' ' }],
      ['an empty username', { username: '' }],
      ['a username that looks like an email address', { username: 'ada@example.org' }],
      ['an empty email address', { email: '' }],
      ['no role', { role: Role.UNSPECIFIED }],
      ['no state', { state: UserState.UNSPECIFIED }],
      ['the state of a deleted user', { state: UserState.DELETED }],
      ['an empty etag', { etag: '' }],
    ])('refuses %s', async (_, change) => {
      const { id } = await create();
      expect(await refusalOf((await users()).updateUser({ userId: id, ...change }))).toMatchObject(FIELDS_INVALID);
    });
  });

  describe('an etag', () => {
    const writes = [
      [
        'UpdateUser',
        async (id: string, etag: string) => (await users()).updateUser({ userId: id, etag, name: 'Late' }),
      ],
      ['DeleteUser', async (id: string, etag: string) => (await users()).deleteUser({ userId: id, etag })],
    ] as const;

    test.each(writes)('that is stale stops %s', async (_, write) => {
      const { id, etag } = await create();
      const { user } = await (await users()).updateUser({ userId: id, name: 'Changed meanwhile' });
      expect(await refusalOf(write(id, etag))).toMatchObject(ETAG_MISMATCH);
      expect(await refusalOf(write(id, 'nonsense'))).toMatchObject(ETAG_MISMATCH);
      expect(await get(id)).toEqual(user);
      await write(id, user!.etag);
    });

    test('that is stale stops UndeleteUser', async () => {
      const { id, etag } = await create();
      const { user } = await (await users()).deleteUser({ userId: id });
      expect(await refusalOf((await users()).undeleteUser({ userId: id, etag }))).toMatchObject(ETAG_MISMATCH);
      expect((await (await users()).undeleteUser({ userId: id, etag: user!.etag })).user).toMatchObject({ id });
    });

    test('lets one of several writers at once win', async () => {
      const { id, etag } = await create();
      const client = await users();
      const names = Array.from({ length: 8 }, (_, i) => `Writer ${i}`);
      const outcomes = await Promise.allSettled(names.map((name) => client.updateUser({ userId: id, etag, name })));
      const winners = names.filter((_, i) => outcomes[i]!.status === 'fulfilled');
      expect(winners).toEqual([(await get(id)).name]);
    });

    test('never comes back', async () => {
      const { id, name, etag } = await create();
      const client = await users();
      const etags = [etag];
      for (const next of ['Other', name, 'Other', name]) {
        etags.push((await client.updateUser({ userId: id, name: next })).user!.etag);
      }
      expect(new Set(etags)).toHaveLength(etags.length);
    });
  });

  describe('DeleteUser and UndeleteUser', () => {
    test('delete for 30 days, and take that back with all that was', async () => {
      const user = await create({ role: Role.EDITOR });
      const { user: deleted } = await (await users()).deleteUser({ userId: user.id });
      expect(deleted).toEqual({
        ...user,
        state: UserState.DELETED,
        deleteTime: deleted!.updateTime,
        updateTime: expect.anything(),
        purgeTime: expect.anything(),
        etag: expect.any(String),
      });
      expect(timestampMs(deleted!.purgeTime!) - timestampMs(deleted!.deleteTime!)).toBe(30 * DAY_MS);
      expect(deleted!.etag).not.toBe(user.etag);
      const { user: back } = await (await users()).undeleteUser({ userId: user.id });
      expect(back).toEqual({ ...user, updateTime: expect.anything(), etag: expect.any(String) });
      expect([user.etag, deleted!.etag]).not.toContain(back!.etag);
    });

    test('bring contacts back', async () => {
      const { user, password, accessToken } = await kith.user();
      const { contact } = await kith.client(ContactService, accessToken).createContact({ givenName: 'Ada' });
      await (await users()).deleteUser({ userId: user.id });
      await (await users()).undeleteUser({ userId: user.id });
      const { accessToken: fresh } = await login(user.username, password);
      expect((await kith.client(ContactService, fresh).getContact({ contactId: contact!.id })).contact).toEqual(
        contact,
      );
    });

    test('bring a suspended user back suspended', async () => {
      const asked = somebody();
      const { id } = await create(asked);
      const client = await users();
      await client.updateUser({ userId: id, state: UserState.SUSPENDED });
      await client.deleteUser({ userId: id });
      expect((await client.undeleteUser({ userId: id })).user!.state).toBe(UserState.SUSPENDED);
      expect(await refusalOf(login(asked.username, asked.password))).toMatchObject({ reason: 'CREDENTIALS_INVALID' });
    });

    test('refuse to do what is done', async () => {
      const { id } = await create();
      const client = await users();
      expect(await refusalOf(client.undeleteUser({ userId: id }))).toMatchObject(RESOURCE_NOT_DELETED);
      const { user } = await client.deleteUser({ userId: id });
      expect(await refusalOf(client.deleteUser({ userId: id }))).toMatchObject(RESOURCE_DELETED);
      expect(await get(id)).toEqual(user);
    });
  });

  describe('the last active admin', () => {
    const ways = [
      [
        'become a viewer',
        async (id: string, on: Kith) => (await users(on)).updateUser({ userId: id, role: Role.VIEWER }),
      ],
      [
        'be suspended',
        async (id: string, on: Kith) => (await users(on)).updateUser({ userId: id, state: UserState.SUSPENDED }),
      ],
      ['be deleted', async (id: string, on: Kith) => (await users(on)).deleteUser({ userId: id })],
    ] as const;

    test.each(ways)('cannot %s', async (_, lose) => {
      await using own = await startOn(kind);
      const { user: admin } = await own.admin();
      const suspended = await create({ role: Role.ADMIN }, own);
      await (await users(own)).updateUser({ userId: suspended.id, state: UserState.SUSPENDED });
      const deleted = await create({ role: Role.ADMIN }, own);
      await (await users(own)).deleteUser({ userId: deleted.id });
      await create({ role: Role.EDITOR }, own);

      expect(await refusalOf(lose(admin.id, own))).toMatchObject(LAST_ADMIN);
      expect(await get(admin.id, own)).toEqual(admin);
      expect((await (await users(own)).updateUser({ userId: admin.id, name: 'Chief' })).user).toMatchObject({
        name: 'Chief',
      });

      await (await users(own)).updateUser({ userId: suspended.id, state: UserState.ACTIVE });
      await lose(admin.id, own);
      const gone = await login('admin', ADMIN_PASSWORD, own).then(
        ({ user }) => user.role,
        () => undefined,
      );
      expect(gone).not.toBe(Role.ADMIN);
    });

    test.each(ways)('remains when two admins make each other %s at once', async (_, lose) => {
      await using own = await startOn(kind);
      for (let round = 0; round < 3; round++) {
        const pair = [await own.user(Role.ADMIN), await own.user(Role.ADMIN)] as const;
        const actors = pair.map(({ accessToken }) => ({ ...own, admin: async () => ({ ...pair[0], accessToken }) }));
        const { user: first } = await own.admin();
        // The admin of the first start steps aside for the round.
        await (await users(actors[0])).updateUser({ userId: first.id, role: Role.VIEWER });
        const outcomes = await Promise.allSettled([
          lose(pair[0].user.id, actors[1]!),
          lose(pair[1].user.id, actors[0]!),
        ]);
        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        const left = actors[outcomes[0].status === 'fulfilled' ? 1 : 0]!;
        const { users: admins } = await list({ roles: [Role.ADMIN], states: [UserState.ACTIVE] }, left);
        expect(admins).toHaveLength(1);
        await (await users(left)).updateUser({ userId: first.id, role: Role.ADMIN });
        await (await users(own)).updateUser({ userId: admins[0]!.id, role: Role.VIEWER });
      }
    });
  });

  describe('a query', () => {
    test.each([
      [
        'Ada Lovelace',
        ['Ada', 'ada lovelace', 'ADA LOVE', 'love', '  ada   love ', 'a', 'L', 'lovelace ada', 'Lovelace, A'],
        ['da', 'ovelace', 'adal', 'ada king'],
      ],
      [
        'José Müller-Lüdenscheidt',
        ['jose', 'JOSÉ', 'josé mull', 'muller-l', 'müller', 'ludenscheidt jo', 'MULLER–LUD', 'mullerlud'],
        ['ludenscheidt x'],
      ],
      ['Łukasz \u200EĐorđe\u00AD Ørsted', ['lukasz', 'łuk', 'dorde', 'ĐORĐE', 'orsted', 'ørs'], ['rsted']],
      ['Jose\u0301 Mu\u0308ller', ['josé', 'jose mü'], ['müllers']],
      ['Groß Straße', ['gross', 'GROSS STRASSE', 'groß', 'straße', 'STRAẞE', 'stras'], ['grob']],
      ['STRAẞENBAU', ['strasse', 'straße'], []],
      ['İpek Işık', ['ipek', 'IPEK', 'ı̇pek', 'isik', 'ışık', 'IŞIK'], []],
      ['Οδυσσεύς Παπαδόπουλος', ['οδυσ', 'ΟΔΥΣΣΕΥΣ', 'οδυσσευς', 'ΟΔΥΣ', 'παπαδόπουλος'], ['δυσσευς']],
      ['王小明', ['王', '王小', '王小明', '小明', '明'], ['明小']],
      ['김민수', ['김', '김민', '김민수', '민수'], ['민김']],
      ['ﬁnn Ⅷ', ['finn', 'fi', 'viii'], []],
      ['ｆｕｌｌ ｗｉｄｔｈ', ['full', 'WIDTH'], []],
      ['👩‍🚀 Sally', ['👩‍🚀', '👩', 'sally'], ['🚀']],
      ["O'Neil D’Arcy", ["o'n", "o'neil d", 'd’arcy', "D'Arcy O‘N", 'neil', 'oneil'], ['eil']],
      ['100% _sure_ \\o/ *', ['100%', '_sure', '\\o', '*'], ['1%', '%', '_ure']],
      ['a b c d e f g h i j', ['a', 'h i', 'j i h'], ['k']],
      ['Юрий Гагарин', ['юри', 'ЮРИИ', 'гагарин'], []],
    ])('on "%s" finds beginnings of its words regardless of case and accents', async (name, found, missed) => {
      // Every text is a first word of its own, so that users of other tests are not in the way.
      const { id } = await create({ name });
      const results = await Promise.all(
        [...found, ...missed].map(async (query) => [query, await finds(query, id)] as const),
      );
      expect(Object.fromEntries(results)).toEqual(
        Object.fromEntries([...found.map((query) => [query, true]), ...missed.map((query) => [query, false])]),
      );
    });

    test('finds beginnings of username and email address', async () => {
      const word = randomUUID().replaceAll('-', '');
      const { id } = await create({ username: `U.${word}-x`, email: `E+${word}@example.org`, name: 'Somebody' });
      for (const query of [`u.${word}`, `U.${word}-X`, `e+${word}`, `E+${word}@EXAMPLE.org`]) {
        expect(await finds(query, id)).toBe(true);
      }
      for (const query of [word, `e+${word}@example.com`, `u.${word}-x-`]) expect(await finds(query, id)).toBe(false);
    });

    test('finds a name by all that a query can hold of it', async () => {
      const name = `${'ß'.repeat(150)}${randomUUID()}`;
      const { id } = await create({ name });
      expect(await finds('ß'.repeat(100), id)).toBe(true);
      expect(await finds('s'.repeat(100), id)).toBe(true);
      expect(await finds('s'.repeat(99), id)).toBe(true);
    });

    test('goes with names whose terms end amid a character', async () => {
      const start = 'e'.repeat(99);
      const { id } = await create({ name: `${start}😀 ${start}` });
      expect(await finds(start, id)).toBe(true);
      expect(await finds(`${start}😀`, id)).toBe(true);
    });

    test.each([
      ['101 code points', 'a'.repeat(101)],
      ['a line feed', 'a\nb'],
    ])('of %s is refused', async (_, query) => {
      expect(await refusalOf(list({ query }))).toMatchObject(FIELDS_INVALID);
    });
  });

  describe('ListUsers', () => {
    test('filters by roles and states together with a query', async () => {
      const word = `f${randomUUID().replaceAll('-', '')}`;
      const client = await users();
      const roles: Role[] = [Role.VIEWER, Role.EDITOR, Role.ADMIN];
      const made: User[] = [];
      for (const role of roles) {
        const [active, suspended, deleted] = await Promise.all([1, 2, 3].map(() => create({ name: word, role })));
        await client.updateUser({ userId: suspended!.id, state: UserState.SUSPENDED });
        await client.deleteUser({ userId: deleted!.id });
        made.push(await get(active!.id), await get(suspended!.id), await get(deleted!.id));
      }
      const newestFirst = made.toSorted((a, b) => (a.id < b.id ? 1 : -1));
      const states: UserState[] = [UserState.ACTIVE, UserState.SUSPENDED, UserState.DELETED];
      const some = <T>(all: T[]): T[][] => [[], ...all.map((one) => [one]), all.slice(1), [...all, ...all]];
      for (const ofRoles of some(roles)) {
        for (const ofStates of some(states)) {
          const expected = newestFirst.filter(
            (user) =>
              (ofRoles.length === 0 || ofRoles.includes(user.role)) &&
              (ofStates.length === 0 ? user.state !== UserState.DELETED : ofStates.includes(user.state)),
          );
          const page = await list({ query: word, roles: ofRoles, states: ofStates, includeTotalSize: true });
          expect(page.users).toEqual(expected);
          expect(page.totalSize).toBe(expected.length);
          expect(page.nextPageToken).toBe('');
        }
      }
    });

    test.each<[string, ListRequest]>([
      ['a role that does not exist', { roles: [99 as Role] }],
      ['no role', { roles: [Role.UNSPECIFIED] }],
      ['no state', { states: [UserState.UNSPECIFIED] }],
      ['a state that does not exist', { states: [99 as UserState] }],
      ['a negative page size', { pageSize: -1 }],
      ['a page token of 2049', { pageToken: 'a'.repeat(2049) }],
    ])('refuses %s', async (_, request) => {
      expect(await refusalOf(list(request))).toMatchObject(FIELDS_INVALID);
    });

    test('refuses page tokens that it did not give this caller for these filters', async () => {
      const word = `t${randomUUID().replaceAll('-', '')}`;
      for (let i = 0; i < 3; i++) await create({ name: word });
      const { nextPageToken: pageToken } = await list({ query: word, pageSize: 1 });
      const other = await kith.user(Role.ADMIN);
      const contacts = kith.client(ContactService, (await kith.admin()).accessToken);
      const refusals = await Promise.all(
        [
          list({ query: `${word}x`, pageSize: 1, pageToken }),
          list({ pageToken }),
          list({ query: word, roles: [Role.VIEWER], pageToken }),
          list({ query: word, states: [UserState.ACTIVE], pageToken }),
          list({ query: word, pageToken: pageToken.slice(0, -2) }),
          list({ query: word, pageToken: `${pageToken}AAAA` }),
          list({ query: word, pageToken: 'AAAA' }),
          list({ query: word, pageToken: '?' }),
          list({ query: word, pageToken: Buffer.from('["0"]').toString('base64url') }),
          kith.client(UserService, other.accessToken).listUsers({ query: word, pageToken }),
          contacts.listContacts({ query: word, pageToken }),
        ].map(refusalOf),
      );
      for (const refusal of refusals) expect(refusal).toMatchObject(PAGE_TOKEN_INVALID);
      const rest = await list({ query: word.toUpperCase(), pageSize: 5, pageToken });
      expect(rest.users).toHaveLength(2);
    });
  });

  describe('a list of many users', () => {
    let many: Kith;
    let app: App & AsyncDisposable;
    /** Newest first: 1,100 of whom every 110th is suspended, then 1,200 called Common. */
    let ids: string[];
    beforeAll(async () => {
      many = await startOn(kind);
      app = await openApp(many);
      const rows = [
        ...Array.from({ length: 1200 }, (_, i) =>
          rowOf(i, { name: `Common ${i}`, role: i % 600 ? 'viewer' : 'editor' }),
        ),
        ...Array.from({ length: 1100 }, (_, i) =>
          rowOf(1200 + i, { name: `Rare ${i}`, state: i % 110 ? 'active' : 'suspended' }),
        ),
      ];
      await insertRows(app, rows);
      ids = rows.map(({ id }) => id).toReversed();
    });
    afterAll(async () => {
      await app[Symbol.asyncDispose]();
      await many[Symbol.asyncDispose]();
    });

    const walk = async (request: ListRequest, between?: (page: number) => Promise<void>) => {
      const pages: string[][] = [];
      for (let pageToken: string | undefined; pageToken !== ''; ) {
        const page = await list({ ...request, ...(pageToken === undefined ? {} : { pageToken }) }, many);
        pages.push(page.users.map(({ id }) => id));
        pageToken = page.nextPageToken;
        await between?.(pages.length);
      }
      return pages;
    };

    test.each([
      [0, 50],
      [1, 1],
      [1000, 1000],
      [1001, 1000],
      [2 ** 31 - 1, 1000],
    ])('a page size of %d gives %d', async (pageSize, length) => {
      const page = await list({ pageSize }, many);
      expect(page.users).toHaveLength(length);
      expect(page.totalSize).toBeUndefined();
    });

    test('goes newest first over all pages, each user once', async () => {
      const pages = await walk({ pageSize: 999 });
      const { user: admin } = await many.admin();
      expect(pages.map((page) => page.length)).toEqual([999, 999, 303]);
      expect(pages.flat()).toEqual([...ids, admin.id].toSorted().toReversed());
    });

    test('ends without an empty page when the last is full', async () => {
      expect(await walk({ pageSize: 5, states: [UserState.SUSPENDED] })).toHaveLength(2);
    });

    test('counts all pages when asked, on every page', async () => {
      const first = await list({ pageSize: 1, includeTotalSize: true }, many);
      expect(first.totalSize).toBe(2301);
      const second = await list({ pageSize: 1, includeTotalSize: true, pageToken: first.nextPageToken }, many);
      expect(second.totalSize).toBe(2301);
      expect(
        (await list({ query: 'rare', states: [UserState.SUSPENDED], includeTotalSize: true }, many)).totalSize,
      ).toBe(10);
      expect((await list({ query: 'nobody', includeTotalSize: true }, many)).totalSize).toBe(0);
    });

    test.each<[string, ListRequest, (i: number) => boolean]>([
      ['more than a page examines', { query: 'common' }, (i) => i >= 1100],
      ['more than a page examines, in short pages', { query: 'co', pageSize: 400 }, (i) => i >= 1100],
      ['more than a page examines, first', { query: 'rare', pageSize: 300 }, (i) => i < 1100],
      ['few', { query: 'rare 11', pageSize: 2 }, (i) => i < 1100 && `rare ${1099 - i}`.startsWith('rare 11')],
      ['one', { query: 'common 7', pageSize: 50 }, (i) => i >= 1100 && `${2299 - i}`.startsWith('7')],
      [
        'many in a rare role',
        { query: 'common', roles: [Role.EDITOR], pageSize: 1 },
        (i) => i >= 1100 && (2299 - i) % 600 === 0,
      ],
      [
        'many in a rare state',
        { query: 'rare', states: [UserState.SUSPENDED], pageSize: 3 },
        (i) => i < 1100 && (1099 - i) % 110 === 0,
      ],
      ['nobody', { query: 'nobody' }, () => false],
    ])('a query that matches %s finds each once', async (_, request, matches) => {
      const pages = await walk(request);
      expect(pages.flat()).toEqual(ids.filter((_, i) => matches(i)));
      const { totalSize } = await list({ ...request, includeTotalSize: true }, many);
      expect(totalSize).toBe(pages.flat().length);
    });

    test('neither skips nor repeats a user who is there throughout while others come and go', async () => {
      const going = ids.filter((_, i) => i < 1100 && i % 110 === 55);
      const pages = await walk({ pageSize: 200 }, async (page) => {
        await insertRows(app, [rowOf(10_000 + page, { name: 'Newcomer' })]);
        const id = going[page - 1];
        if (id !== undefined) await (await users(many)).deleteUser({ userId: id });
      });
      const seen = pages.flat();
      expect(new Set(seen)).toHaveLength(seen.length);
      const throughout = ids.filter((id) => !going.includes(id));
      expect(seen.filter((id) => throughout.includes(id))).toEqual(throughout);
      for (const id of going) await (await users(many)).undeleteUser({ userId: id });
    });
  });

  describe('as time passes', () => {
    test('a deleted user is gone after 30 days with all that was theirs, and the username is free again', async () => {
      await using later = await startOn(kind);
      await using app = await openApp(later);
      const gone = await later.user(Role.ADMIN);
      const kept = await later.user(Role.ADMIN);
      for (const { accessToken } of [gone, kept]) {
        await later.client(ContactService, accessToken).createContact({ givenName: 'Ada', requestId: randomUUID() });
      }
      const { user } = await (await users(later)).deleteUser({ userId: gone.user.id });
      const requestId = randomUUID();
      const again = somebody({ username: gone.user.username, requestId });
      const client = async () =>
        later.client(UserService, (await login(kept.user.username, kept.password, later)).accessToken);

      later.clock.offsetMs = 29.99 * DAY_MS;
      await purge(app);
      expect((await (await client()).getUser({ userId: user!.id })).user).toEqual(user);
      expect(await refusalOf((await client()).createUser(again))).toMatchObject(USERNAME_TAKEN);

      later.clock.offsetMs = 30.01 * DAY_MS;
      await purge(app);
      expect(await refusalOf((await client()).getUser({ userId: user!.id }))).toMatchObject(USER_NOT_FOUND);
      expect(await refusalOf((await client()).undeleteUser({ userId: user!.id }))).toMatchObject(USER_NOT_FOUND);
      expect(await later.database.dump()).not.toContain(user!.id);
      expect(await refusalOf(later.client(AuthService).refreshAccessToken(gone))).toMatchObject({
        reason: 'SESSION_ENDED',
      });
      const { user: next } = await (await client()).createUser(again);
      expect(next).toMatchObject({ username: user!.username });
      expect(next!.id).not.toBe(user!.id);
      expect((await (await client()).getUserDetails({ userId: kept.user.id })).contactCount).toBe(1);
    });

    test('a user past their time cannot be undeleted, though the purge has yet to come', async () => {
      await using later = await startOn(kind, { env: { KITH_PURGE_AFTER_DAYS: '1' } });
      const { id } = await create({}, later);
      await (await users(later)).deleteUser({ userId: id });
      later.clock.offsetMs = DAY_MS + 1000;
      const { accessToken } = await login('admin', ADMIN_PASSWORD, later);
      const client = later.client(UserService, accessToken);
      expect(await refusalOf(client.undeleteUser({ userId: id }))).toMatchObject(USER_NOT_FOUND);
    });

    test('a request id is remembered for 24 hours', async () => {
      await using later = await startOn(kind, { env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } });
      await using app = await openApp(later);
      const asked = somebody({ requestId: randomUUID() });
      const first = await create(asked, later);
      const client = async () => later.client(UserService, (await login('admin', ADMIN_PASSWORD, later)).accessToken);

      later.clock.offsetMs = 0.99 * DAY_MS;
      await purge(app);
      expect((await (await client()).createUser(asked)).user).toEqual(first);

      later.clock.offsetMs = 1.01 * DAY_MS;
      await purge(app);
      expect(await refusalOf((await client()).createUser(asked))).toMatchObject({ code: 'AlreadyExists' });
      const { user } = await (await client()).createUser(somebody({ requestId: asked.requestId! }));
      expect(user!.id).not.toBe(first.id);
    });

    test('an update tells its time', async () => {
      await using later = await startOn(kind);
      const user = await create({}, later);
      later.clock.offsetMs = 60_000;
      const { user: changed } = await (await users(later)).updateUser({ userId: user.id, name: 'Later' });
      expect(timestampMs(changed!.updateTime!) - timestampMs(user.updateTime!)).toBeGreaterThanOrEqual(60_000);
      expect(changed!.createTime).toEqual(user.createTime);
    });
  });

  test('the first start makes an admin, later ones do not', async () => {
    await using own = await startOn(kind);
    const { user } = await own.admin();
    expect(user).toMatchObject({ username: 'admin', role: Role.ADMIN, state: UserState.ACTIVE });
    expect((await list({}, own)).users).toEqual([user]);
  });

  test('nothing that was written is there by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});

/** The i-th user of a bulk, in the order of ids; older than any that a server makes. */
function rowOf(i: number, given: Partial<UserRow>): UserRow {
  const id = `01900000-0000-7000-8000-${String(i).padStart(12, '0')}`;
  return userRow({ id, username: `bulk${i}`, ...given });
}

function insertRows(app: App, rows: readonly UserRow[]): Promise<void> {
  return app.database.transaction(async (tx) => {
    for (const row of rows) {
      await insertUser(tx, row, [...wordTerms(row.name), searchTerm(row.username), searchTerm(row.email)]);
    }
  });
}
