import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService, LoginStep } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { type User, UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { type CreateUserRequest, UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases, type TestDatabase } from '../../../test/support/databases.ts';
import { PASSWORD_COST } from '../passwords/passwords.ts';
import { ADMIN_PASSWORD, bearer, grpc, type Kith, refusalOf, startKith } from '../../../test/support/kith.ts';
import { challengeOf, signedIn } from '../../../test/support/sign-in.ts';
import { CREDENTIALS_INVALID, FIELDS_INVALID, SESSION_ENDED } from '../../../test/support/refusals.ts';

const PASSWORD_HASH_UNSUPPORTED = { code: 'InvalidArgument', reason: 'PASSWORD_HASH_UNSUPPORTED' };
const PASSWORD_IS_IDENTIFIER = { code: 'InvalidArgument', reason: 'PASSWORD_IS_IDENTIFIER' };
const PASSWORD_TOO_COMMON = { code: 'InvalidArgument', reason: 'PASSWORD_TOO_COMMON' };
const PASSWORD_UNCHANGED = { code: 'InvalidArgument', reason: 'PASSWORD_UNCHANGED' };

/** Each of ZAZOLC; src/identity/passwords/hash-formats.test.ts says where they are from. */
const IMPORTED = {
  bcrypt: '$2b$06$abcdefghijklmnopqrstuuKp47q6Oc39EHkbHzujzSfQS9B1KgDwW',
  argon2i: '$argon2i$v=19$m=64,t=3,p=2$YXJnb24yLWNmZmkgc2FsdA$WxbDkCgsFDk9gK90Eb6keg50lLdN7Rtf2czlbuhm7nA',
  argon2id: '$argon2id$v=19$m=1024,t=1,p=4$YXJnb24yLWNmZmkgc2FsdA$1+qTs7pUCZUr123V9jW3ep46sU8hePZZ',
  scrypt: '$scrypt$ln=10,r=8,p=2$cGFzc2xpYiBzY3J5cHQuLg$FGm5lPxpMRrC+HSWKUgdzBb40esOXT0XYw7T+QDq9J8',
  'PBKDF2 with SHA-1': '$pbkdf2$1000$cGFzc2xpYiBwYmtkZjL/..8$3xDnoL6CdAnbxs9BPJxgHKYOt6g',
  'PBKDF2 with SHA-256': '$pbkdf2-sha256$1000$cGFzc2xpYiBwYmtkZjL/..8$MwkpNX/HZtw5CbLKIZ731YdW/Y0NlfwXEeJUdoN8TEM',
  'PBKDF2 with SHA-512':
    '$pbkdf2-sha512$1000$cGFzc2xpYiBwYmtkZjL/..8$SImB0WhTts02hb6v3.kQr4qIf3KI5Zh4NV8AqGJHvlGVuJDCl8cq0qQyzgYEuFy7qxPn7wiGz8Fea6bZ2EgUkw',
};
const ZAZOLC = 'Zażółć gęślą jaźń 🦉';

type NewUser = Partial<Omit<CreateUserRequest, '$typeName' | '$unknown'>>;

/** A user nobody has yet, without a password. */
function somebody(given: NewUser = {}) {
  const username = `u${randomUUID()}`;
  return { username, email: `${username}@example.org`, name: 'Somebody', ...given };
}

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase;
  /** Two instances where there may be several, else twice the same. */
  let here: Kith;
  let there: Kith;
  beforeAll(async () => {
    database = await kind.create();
    here = await startKith({ database, server: { passwordCost: PASSWORD_COST } });
    there = kind === databases[0] ? here : await startKith({ database, server: { passwordCost: PASSWORD_COST } });
  });
  afterAll(async () => {
    await there.stop();
    if (here !== there) await here.stop();
    await database[Symbol.asyncDispose]();
  });

  const users = async () => here.client(UserService, (await here.admin()).accessToken);
  const login = (identifier: string, password: string, on = here) =>
    signedIn(on.client(AuthService).login({ identifier, password }));
  const challenged = (identifier: string, password: string) =>
    challengeOf(here.client(AuthService).login({ identifier, password }));
  const create = async (given: NewUser): Promise<User> => (await (await users()).createUser(somebody(given))).user!;
  const actionsOf = async (userId: string) => {
    const activity = here.client(ActivityService, (await here.admin()).accessToken);
    return (await activity.listUserActivity({ userId, pageSize: 100 })).activities.map(({ action }) => action);
  };

  describe('a new password', () => {
    test.each<[string, (asked: NewUser) => string, object]>([
      ['the username', ({ username }) => username!.toUpperCase(), PASSWORD_IS_IDENTIFIER],
      ['the email address', ({ email }) => email!, PASSWORD_IS_IDENTIFIER],
      ['a common one', () => 'Password123', PASSWORD_TOO_COMMON],
      ['the name', ({ name }) => name!, PASSWORD_TOO_COMMON],
      ['of 7', () => 'gkwtzmq', FIELDS_INVALID],
      ['of 129', () => 'gk'.repeat(64).concat('x'), FIELDS_INVALID],
      ['of two lines', () => 'a good\npassword', FIELDS_INVALID],
      ['of nothing', () => '', FIELDS_INVALID],
    ])('that is %s is refused by CreateUser and SetUserPassword', async (_, passwordOf, refusal) => {
      const asked = somebody({ name: 'Augusta King' });
      expect(await refusalOf((await users()).createUser({ ...asked, password: passwordOf(asked) }))).toMatchObject(
        refusal,
      );
      const { id } = (await (await users()).createUser({ ...asked, password: 'a good password' })).user!;
      expect(
        await refusalOf((await users()).setUserPassword({ userId: id, password: passwordOf(asked) })),
      ).toMatchObject(refusal);
      await login(asked.username, 'a good password');
    });

    test.each([
      ['of 8', 'gkwtzmqx'],
      ['of 128 of four bytes', '🦉🐎'.repeat(64)],
      ['with blanks at its ends', '  password  '],
    ])('%s is taken', async (_, password) => {
      const first = await create({ password });
      expect((await login(first.username, password)).user.id).toBe(first.id);
      const second = await create({ password: 'a good password' });
      await (await users()).setUserPassword({ userId: second.id, password });
      expect((await login(second.username, password)).user.id).toBe(second.id);
    });
  });

  describe('an imported hash', () => {
    test.each(Object.entries(IMPORTED))(
      'of %s signs its user in, and is replaced by one of our own',
      async (_, hash) => {
        const { id, username } = await create({ passwordHash: hash });
        expect(await actionsOf(id)).toEqual(['kith.user.created']);
        expect(await refusalOf(login(username, `${ZAZOLC}!`))).toMatchObject(CREDENTIALS_INVALID);
        expect(await hashOf(id)).toBe(hash);
        expect((await login(username, ZAZOLC)).user.id).toBe(id);
        expect(await hashOf(id)).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
        await login(username, ZAZOLC);
        expect(await refusalOf(login(username, `${ZAZOLC}!`))).toMatchObject(CREDENTIALS_INVALID);
      },
    );

    test.each<[string, NewUser, object]>([
      ['with a password beside it', { passwordHash: IMPORTED.scrypt, password: 'a good password' }, FIELDS_INVALID],
      ['that is empty, without a password', { passwordHash: '' }, FIELDS_INVALID],
      ['of 513 bytes', { passwordHash: `$${'x'.repeat(512)}` }, FIELDS_INVALID],
      ['that is a password', { passwordHash: 'a good password' }, PASSWORD_HASH_UNSUPPORTED],
      ['that takes too long', { passwordHash: IMPORTED.bcrypt.replace('06', '31') }, PASSWORD_HASH_UNSUPPORTED],
      ['that takes too much', { passwordHash: IMPORTED.scrypt.replace('10', '30') }, PASSWORD_HASH_UNSUPPORTED],
      ['that is cut short', { passwordHash: IMPORTED.argon2id.slice(0, -20) }, PASSWORD_HASH_UNSUPPORTED],
    ])('%s is refused, and nobody is created', async (_, given, refusal) => {
      const asked = somebody(given);
      expect(await refusalOf((await users()).createUser(asked))).toMatchObject(refusal);
      expect(await database.dump()).not.toContain(asked.username);
    });

    test('is part of what a request id stands for', async () => {
      const asked = somebody({ passwordHash: IMPORTED.bcrypt, requestId: randomUUID() });
      const { user } = await (await users()).createUser(asked);
      expect((await (await users()).createUser(asked)).user).toEqual(user);
      for (const other of [{ passwordHash: IMPORTED.scrypt }, { mustChangePassword: true }]) {
        expect(await refusalOf((await users()).createUser({ ...asked, ...other }))).toMatchObject({
          reason: 'REQUEST_ID_REUSED',
        });
      }
    });

    test('may be one that has to be changed', async () => {
      const { username } = await create({ passwordHash: IMPORTED.bcrypt, mustChangePassword: true });
      expect(await challenged(username, ZAZOLC)).toMatchObject({ step: LoginStep.NEW_PASSWORD });
    });
  });

  describe('a password that has to be changed', () => {
    test.each<[string, () => Promise<User>]>([
      ['CreateUser', () => create({ password: 'a good password', mustChangePassword: true })],
      [
        'SetUserPassword',
        async () => {
          const { id } = await create({ password: 'an older password' });
          const asked = { userId: id, password: 'a good password', mustChangePassword: true };
          return (await (await users()).setUserPassword(asked)).user!;
        },
      ],
    ])('after %s takes another one to sign in', async (_, make) => {
      const { id, username } = await make();
      const { challengeToken, step } = await challenged(username, 'a good password');
      expect(step).toBe(LoginStep.NEW_PASSWORD);
      const complete = (newPassword: string) =>
        signedIn(
          here.client(AuthService).completeLogin({
            challengeToken,
            answer: { case: 'newPassword', value: newPassword },
          }),
        );
      expect(await refusalOf(complete('a good password'))).toMatchObject(PASSWORD_UNCHANGED);
      expect(await refusalOf(complete('password123'))).toMatchObject(PASSWORD_TOO_COMMON);
      expect(await refusalOf(complete(username))).toMatchObject(PASSWORD_IS_IDENTIFIER);
      expect((await complete('a better password')).user.id).toBe(id);
      await login(username, 'a better password');
      expect(await refusalOf(login(username, 'a good password'))).toMatchObject(CREDENTIALS_INVALID);
    });

    test('is no more once another is set without saying so', async () => {
      const { id, username } = await create({ password: 'a good password', mustChangePassword: true });
      await (await users()).setUserPassword({ userId: id, password: 'a better password' });
      expect((await login(username, 'a better password')).user.id).toBe(id);
    });
  });

  describe('SetUserPassword', () => {
    test('lets the new password in and the old one out, and leaves the user as they are', async () => {
      const user = await create({ password: 'a good password' });
      const answer = await (await users()).setUserPassword({
        userId: user.id.toUpperCase(),
        etag: user.etag,
        password: 'a better password',
      });
      expect(answer.user).toEqual(user);
      expect(await refusalOf(login(user.username, 'a good password'))).toMatchObject(CREDENTIALS_INVALID);
      expect((await login(user.username, 'a better password', there)).user).toEqual({
        ...user,
        lastSignInTime: expect.anything(),
      });
    });

    test('tells of it and of each session it ends', async () => {
      const { user } = await here.user();
      const admin = await here.admin();
      await (await users()).setUserPassword({ userId: user.id, password: 'a better password' });
      const activity = here.client(ActivityService, admin.accessToken);
      const { activities } = await activity.listUserActivity({ userId: user.id, pageSize: 2 });
      expect(activities).toMatchObject([
        { action: 'kith.session.revoked', actorId: admin.user.id },
        { action: 'kith.password.set', actorId: admin.user.id },
      ]);
      expect(
        JSON.stringify(activities, (_, value: unknown) => (typeof value === 'bigint' ? null : value)),
      ).not.toContain('better');
    });

    test('of a suspended user holds once they may sign in again', async () => {
      const { id, username } = await create({ password: 'a good password' });
      await (await users()).updateUser({ userId: id, state: UserState.SUSPENDED });
      await (await users()).setUserPassword({ userId: id, password: 'a better password' });
      expect(await refusalOf(login(username, 'a better password'))).toMatchObject(CREDENTIALS_INVALID);
      await (await users()).updateUser({ userId: id, state: UserState.ACTIVE });
      await login(username, 'a better password');
    });

    test('of one’s own ends the calling session too', async () => {
      const { user, accessToken, refreshToken } = await here.user(Role.ADMIN);
      await here.client(UserService, accessToken).setUserPassword({ userId: user.id, password: 'a better password' });
      expect(await refusalOf(here.client(AuthService, accessToken).userMe({}))).toMatchObject(SESSION_ENDED);
      expect(await refusalOf(here.client(AuthService).refreshAccessToken({ refreshToken }))).toMatchObject(
        SESSION_ENDED,
      );
      await login(user.username, 'a better password');
    });

    test.each<[string, (user: User) => { userId: string; etag?: string }, object]>([
      ['nobody', () => ({ userId: randomUUIDv7() }), { code: 'NotFound', reason: 'USER_NOT_FOUND' }],
      ['what is no id', () => ({ userId: 'ada' }), FIELDS_INVALID],
      [
        'another state of the user',
        ({ id: userId }) => ({ userId, etag: 'x' }),
        { code: 'Aborted', reason: 'ETAG_MISMATCH' },
      ],
      ['no etag', ({ id: userId }) => ({ userId, etag: '' }), FIELDS_INVALID],
    ])('of %s is refused and changes nothing', async (_, target, refusal) => {
      const user = await create({ password: 'a good password' });
      const before = await hashOf(user.id);
      const asked = { ...target(user), password: 'a better password' };
      expect(await refusalOf((await users()).setUserPassword(asked))).toMatchObject(refusal);
      expect(await hashOf(user.id)).toBe(before);
    });

    test('of a deleted user is refused', async () => {
      const { id } = await create({ password: 'a good password' });
      await (await users()).deleteUser({ userId: id });
      expect(
        await refusalOf((await users()).setUserPassword({ userId: id, password: 'a better password' })),
      ).toMatchObject({
        code: 'FailedPrecondition',
        reason: 'RESOURCE_DELETED',
      });
    });

    test.each([Role.VIEWER, Role.EDITOR])('is not for role %i, for themselves neither', async (role) => {
      const { user, accessToken, password } = await here.user(role);
      const client = here.client(UserService, accessToken);
      for (const id of [user.id, (await here.admin()).user.id]) {
        expect(await refusalOf(client.setUserPassword({ userId: id, password: 'a better password' }))).toMatchObject({
          code: 'PermissionDenied',
          reason: 'PERMISSION_MISSING',
          metadata: { permission: 'PERMISSION_CREDENTIALS_WRITE' },
        });
      }
      await login(user.username, password);
      await login('admin', ADMIN_PASSWORD);
    });

    test('at once by two admins leaves one of the two passwords', async () => {
      const { id, username } = await create({ password: 'a good password' });
      const candidates = ['one better password', 'two better password'];
      await Promise.all(candidates.map(async (password) => (await users()).setUserPassword({ userId: id, password })));
      const outcomes = await Promise.allSettled(candidates.map((password) => login(username, password)));
      expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      expect(await refusalOf(login(username, 'a good password'))).toMatchObject(CREDENTIALS_INVALID);
    });
  });

  describe('CVE class: password reset that keeps sessions', () => {
    test('no session, access token or refresh token of before is any good, on any instance', async () => {
      const { user, password, ...first } = await here.user();
      const sessions = [first, await login(user.username, password), await login(user.username, password, there)];
      for (const { accessToken } of sessions) {
        for (const on of [here, there]) await on.client(AuthService, accessToken).userMe({});
      }
      await (await users()).setUserPassword({ userId: user.id, password: 'a better password' });
      for (const { accessToken, refreshToken } of sessions) {
        expect(await refusalOf(here.client(AuthService, accessToken).userMe({}))).toMatchObject(SESSION_ENDED);
        await expect
          .poll(() => refusalOf(there.client(AuthService, accessToken).userMe({})).catch(String), { timeout: 10_000 })
          .toMatchObject(SESSION_ENDED);
        for (const on of [here, there]) {
          const refused = await refusalOf(on.client(AuthService).refreshAccessToken({ refreshToken }));
          expect(refused).toMatchObject(SESSION_ENDED);
        }
      }
    });

    test('a challenge of before leads nowhere', async () => {
      const { id, username } = await create({ password: 'a good password', mustChangePassword: true });
      const { challengeToken } = await challenged(username, 'a good password');
      await (await users()).setUserPassword({ userId: id, password: 'a better password' });
      for (const on of [here, there]) {
        const completed = signedIn(
          on.client(AuthService).completeLogin({
            challengeToken,
            answer: { case: 'newPassword', value: 'the thief’s password' },
          }),
        );
        expect(await refusalOf(completed)).toMatchObject({ code: 'Unauthenticated', reason: 'CHALLENGE_INVALID' });
      }
      await login(username, 'a better password');
    });

    test('a sign-in under way with the old password opens no session, and brings no hash of it back', async () => {
      const client = await users();
      const { id, username } = await create({ passwordHash: IMPORTED.scrypt });
      const [signIns] = await Promise.all([
        Promise.allSettled(Array.from({ length: 4 }, () => login(username, ZAZOLC))),
        client.setUserPassword({ userId: id, password: 'a better password' }),
      ]);
      expect(await refusalOf(login(username, ZAZOLC))).toMatchObject(CREDENTIALS_INVALID);
      expect((await login(username, 'a better password')).user.id).toBe(id);
      for (const signIn of signIns) {
        if (signIn.status === 'rejected') continue; // it came too late, the others were before
        expect(await refusalOf(here.client(AuthService, signIn.value.accessToken).userMe({}))).toMatchObject(
          SESSION_ENDED,
        );
      }
    });
  });

  /** What is stored of a user's password. */
  async function hashOf(userId: string): Promise<string> {
    const dump = JSON.parse(await database.dump()) as [string, { id: string; password_hash: string }[]][];
    return dump.find(([table]) => table === 'users')![1].find(({ id }) => id === userId)!.password_hash;
  }
});

test.each([
  ['gRPC', grpc],
  [
    'Connect',
    (baseUrl: string, token: string) =>
      createConnectTransport({ baseUrl, httpVersion: '2', interceptors: bearer(token) }),
  ],
])('over %s, calls are refused with a hint when to come back while too many calls wait', async (_, transport) => {
  await using kith = await startKith({ server: { passwordCost: PASSWORD_COST } });
  const { accessToken } = await kith.admin();
  // Several connections: one carries a hundred calls at once.
  const clients = Array.from({ length: 4 }, () => createClient(UserService, transport(kith.address, accessToken)));
  const outcomes = await Promise.allSettled(
    clients.flatMap((client) =>
      Array.from({ length: 80 }, () => client.createUser(somebody({ password: 'a good password' }))),
    ),
  );
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(refused.length).toBeGreaterThan(0);
  for (const { reason } of refused) {
    const { metadata } = ConnectError.from(reason);
    expect(metadata.get('retry-after')).toMatch(/^[1-9]\d*$/);
    const refusal = await refusalOf(Promise.reject(reason as Error));
    expect(refusal).toMatchObject({
      code: 'ResourceExhausted',
      metadata: { retry_after_seconds: metadata.get('retry-after'), budget: 'writes' },
    });
    // The user's share of the queue is full; or, where the machine is slow, the call would wait too long.
    expect(refusal.reason).toBeOneOf(['BUDGET_EXCEEDED', 'SERVER_BUSY']);
  }
  await kith.client(UserService, accessToken).createUser(somebody({ password: 'a good password' }));
});
