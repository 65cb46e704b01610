import { timestampMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { Http2SessionManager } from '@connectrpc/connect-node';
import { hash } from '@node-rs/argon2';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { grpc, type Kith, type Refusal, refusalOf, type SignedIn } from '../../../test/support/kith.ts';
import type { App } from '../../app.ts';
import { PASSWORD_COST } from '../passwords/passwords.ts';
import { permissionsOf } from '../../../test/support/roles.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import { refreshed, signedIn, unchanged } from '../../../test/support/sign-in.ts';
import { CREDENTIALS_INVALID, FIELDS_INVALID, SESSION_ENDED } from '../../../test/support/refusals.ts';

const SECOND_MS = 1000;
const DAY_MS = 24 * 60 * 60 * SECOND_MS;

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { server: { passwordCost: PASSWORD_COST } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const auth = (accessToken?: string, on = kith) => on.client(AuthService, accessToken);
  const users = async (on = kith) => on.client(UserService, (await on.admin()).accessToken);
  const login = (identifier: string, password: string, on = kith) =>
    signedIn(auth(undefined, on).login({ identifier, password }));
  const refresh = (refreshToken: string, on = kith) =>
    refreshed(auth(undefined, on).refreshAccessToken({ refreshToken }));
  const again = ({ user, password }: SignedIn, on = kith) => login(user.username, password, on);
  const suspend = async ({ user }: SignedIn, on = kith) =>
    (await users(on)).updateUser({ userId: user.id, state: UserState.SUSPENDED });

  /** Neither of the session's tokens works, and both say why. */
  async function expectEnded(session: { accessToken: string; refreshToken: string }, on = kith): Promise<void> {
    expect(await refusalOf(auth(session.accessToken, on).userMe({}))).toMatchObject(SESSION_ENDED);
    expect(await refusalOf(refresh(session.refreshToken, on))).toMatchObject(SESSION_ENDED);
  }

  /** Both of the session's tokens work. Uses the refresh token up. */
  async function expectAlive(session: { accessToken: string; refreshToken: string }): Promise<void> {
    await auth(session.accessToken).userMe({});
    await refresh(session.refreshToken);
  }

  describe('Login', () => {
    test.each([
      ['the username', (u: string) => u],
      ['the username in upper case', (u: string) => u.toUpperCase()],
      ['the email address', (_: string, e: string) => e],
      ['the email address in upper case', (_: string, e: string) => e.toUpperCase()],
    ])('takes %s', async (_, identifier) => {
      const { user, password } = await kith.user();
      const response = await login(identifier(user.username, user.email), password);
      expect(response.user).toMatchObject({ id: user.id });
      expect((await auth(response.accessToken).userMe({})).user).toEqual(response.user);
    });

    test('reads an identifier without the white space around it, and counts none of it as a wrong guess', async () => {
      const { user, password } = await kith.user();
      // More than are free before a wrong one takes a wait.
      for (const around of [' ', '\t', '\n', '\u00A0', '\u3000', '\uFEFF', '\u200B']) {
        for (const identifier of [user.username, user.email]) {
          const response = await login(`${around}${identifier}${around}`, password);
          expect(response.user).toMatchObject({ id: user.id });
        }
      }
      for (const identifier of [' ', '\u3000', '\u3164']) {
        expect(await refusalOf(login(identifier, password))).toMatchObject(FIELDS_INVALID);
      }
    });

    test('gives an access token that others verify with the published keys (RFC 9068)', async () => {
      const { user, accessToken } = await kith.user(Role.EDITOR);
      const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', kith.address));
      const { payload, protectedHeader } = await jwtVerify(accessToken, keys, {
        algorithms: ['ES256'],
        typ: 'at+jwt',
        issuer: kith.config.issuer,
        audience: 'kith',
      });
      expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: expect.any(String) });
      expect(payload).toMatchObject({ sub: user.id, roles: ['editor'], amr: ['pwd'] });
      expect(payload.exp! - payload.iat!).toBe(300);
      expect(Object.keys(payload).toSorted()).toEqual([
        'amr',
        'aud',
        'auth_time',
        'exp',
        'iat',
        'iss',
        'jti',
        'roles',
        'sid',
        'sub',
      ]);
    });

    test('says when the tokens expire', async () => {
      const { user, password } = await kith.user();
      const response = await login(user.username, password);
      const { exp, iat } = decodeJwt(response.accessToken);
      expect(timestampMs(response.accessTokenExpireTime!)).toBe(exp! * SECOND_MS);
      const idleDays = (timestampMs(response.refreshTokenExpireTime!) - iat! * SECOND_MS) / DAY_MS;
      expect(idleDays).toBeCloseTo(30, 3);
    });

    test('opens a session of its own each time', async () => {
      const first = await kith.user();
      const second = await again(first);
      await auth(first.accessToken).logout({});
      await expectEnded(first);
      await expectAlive(second);
    });

    test('refuses an unknown user, a wrong password, and suspended and deleted users in the same words', async () => {
      const [known, suspended, deleted] = await Promise.all([kith.user(), kith.user(), kith.user()]);
      await suspend(suspended);
      await (await users()).deleteUser({ userId: deleted.user.id });
      const refusals: Refusal[] = await Promise.all([
        refusalOf(login('nobody', known.password)),
        refusalOf(login('nobody@example.org', known.password)),
        refusalOf(login(known.user.username, 'wrong password')),
        refusalOf(login(known.user.email, 'wrong password')),
        refusalOf(again(suspended)),
        refusalOf(login(suspended.user.username, 'wrong password')),
        refusalOf(again(deleted)),
      ]);
      expect(refusals[0]).toMatchObject({ ...CREDENTIALS_INVALID, metadata: {} });
      expect(new Set(refusals.map((refusal) => JSON.stringify(refusal)))).toHaveLength(1);
    });

    test.each([
      ['another case', (password: string) => password.toUpperCase()],
      ['a blank more', (password: string) => `${password} `],
      ['a character less', (password: string) => password.slice(0, -1)],
    ])('refuses the password with %s', async (_, spelled) => {
      const { user, password } = await kith.user();
      expect(await refusalOf(login(user.username, spelled(password)))).toMatchObject(CREDENTIALS_INVALID);
    });

    test.each([
      ['a blank in the username', (username: string) => `${username.slice(0, 5)} ${username.slice(5)}`],
      ['a pattern', (username: string) => `${username.slice(0, -1)}%`],
      ['the name', (username: string) => `User ${username}`],
      ['half of the email address', (username: string) => `${username}@`],
    ])('does not take %s for the user', async (_, identifier) => {
      const { user, password } = await kith.user();
      expect(await refusalOf(login(identifier(user.username), password))).toMatchObject(CREDENTIALS_INVALID);
    });

    test.each([
      ['an empty identifier', { identifier: '', password: 'a password' }],
      ['an identifier of 255', { identifier: 'a'.repeat(255), password: 'a password' }],
      ['a line feed in the identifier', { identifier: 'a\nb', password: 'a password' }],
      ['an empty password', { identifier: 'admin', password: '' }],
      ['a password of 129 code points', { identifier: 'admin', password: '🔑'.repeat(129) }],
      ['a NUL in the password', { identifier: 'admin', password: 'a password\0' }],
    ])('refuses %s', async (_, request) => {
      expect(await refusalOf(auth().login(request))).toMatchObject(FIELDS_INVALID);
    });

    test.each([
      ['NFC', 'NFD'],
      ['NFD', 'NFC'],
    ])('takes a password that was set in %s when it is typed in %s', async (set, typed) => {
      const password = 'Zażółć gęślą jaźń, Å';
      const { user } = await kith.user();
      const changed = await (await users()).createUser({
        username: `n${user.username}`,
        email: `n${user.email}`,
        name: 'Zażółć',
        password: password.normalize(set),
      });
      expect((await login(changed.user!.username, password.normalize(typed))).user).toMatchObject(
        unchanged(changed.user!),
      );
    });

    test('takes a password of 128 code points of four bytes', async () => {
      const password = '🔑🦉'.repeat(64);
      const session = await kith.user();
      await auth(session.accessToken).changePassword({ currentPassword: session.password, newPassword: password });
      await login(session.user.username, password);
      expect(await refusalOf(login(session.user.username, '🔑🦉'.repeat(63)))).toMatchObject(CREDENTIALS_INVALID);
    });

    test('leaves the etag, and the sign-in shows in the details', async () => {
      const session = await kith.user();
      const details = async () => (await users()).getUserDetails({ userId: session.user.id });
      const before = timestampMs((await details()).lastSignInTime!);
      const { user } = await again(session);
      expect(user).toMatchObject(unchanged(session.user));
      expect(timestampMs((await details()).lastSignInTime!)).toBeGreaterThanOrEqual(before);
      const after = timestampMs((await details()).lastSignInTime!);
      await refusalOf(login(session.user.username, 'wrong password'));
      await refresh(session.refreshToken);
      expect(timestampMs((await details()).lastSignInTime!)).toBe(after);
    });

    test('writes no password and no token down', async () => {
      const { user, password, accessToken, refreshToken } = await kith.user();
      const dump = await kith.database.dump();
      expect(dump).toContain(user.username);
      for (const secret of [password, accessToken, refreshToken, refreshToken.slice(-40)]) {
        expect(dump).not.toContain(secret);
      }
    });

    test('hashes a password again that was hashed with weaker parameters, also when several sign in at once', async () => {
      const session = await kith.user();
      await using app = await openApp(kith);
      const rows = app.database.db.selectFrom('users').select('password_hash').where('id', '=', session.user.id);
      await hashWeakly(app, session);

      await Promise.all(Array.from({ length: 5 }, () => again(session)));

      const { password_hash: stronger } = await rows.executeTakeFirstOrThrow();
      expect(stronger).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
      expect(app.passwords.isOutdated(stronger)).toBe(false);
      await again(session);
      expect(await rows.executeTakeFirstOrThrow()).toEqual({ password_hash: stronger });
      expect(await refusalOf(login(session.user.username, 'wrong password'))).toMatchObject(CREDENTIALS_INVALID);
      await auth(session.accessToken).userMe({});
    });

    test('does not hash an old password back into the place of a new one', async () => {
      const session = await kith.user();
      await using app = await openApp(kith);
      await hashWeakly(app, session);
      const changing = auth(session.accessToken).changePassword({
        currentPassword: session.password,
        newPassword: 'a new password',
      });
      await Promise.all([changing, ...Array.from({ length: 8 }, () => again(session).catch(() => undefined))]);
      expect((await login(session.user.username, 'a new password')).user).toMatchObject(unchanged(session.user));
      expect(await refusalOf(again(session))).toMatchObject(CREDENTIALS_INVALID);
    });
  });

  describe('UserMe', () => {
    test.each([
      ['a viewer', Role.VIEWER],
      ['an editor', Role.EDITOR],
      ['an admin', Role.ADMIN],
    ])('tells %s who they are and what they may', async (_, role) => {
      const { user, accessToken } = await kith.user(role);
      const response = await auth(accessToken).userMe({});
      expect(response.user).toEqual(user);
      expect(response.permissions).toEqual(permissionsOf(role));
    });

    test('tells of a new role and a new name from the next call on', async () => {
      const { user, accessToken } = await kith.user();
      const changed = await (await users()).updateUser({ userId: user.id, role: Role.EDITOR, name: 'Promoted' });
      const response = await auth(accessToken).userMe({});
      expect(response.user).toEqual(changed.user);
      expect(response.permissions).toContain(Permission.USERS_READ);
    });
  });

  describe('a user who may not sign in', () => {
    test.each([
      ['suspending', suspend],
      ['deleting', async ({ user }: SignedIn) => (await users()).deleteUser({ userId: user.id })],
    ])('%s ends all sessions at once', async (_, end) => {
      const session = await kith.user();
      const other = await again(session);
      await end(session);
      await expectEnded(session);
      await expectEnded(other);
      expect(await refusalOf(again(session))).toMatchObject(CREDENTIALS_INVALID);
    });

    test.each([
      [
        'suspended',
        suspend,
        async ({ user }: SignedIn) => (await users()).updateUser({ userId: user.id, state: UserState.ACTIVE }),
      ],
      [
        'deleted',
        async ({ user }: SignedIn) => (await users()).deleteUser({ userId: user.id }),
        async ({ user }: SignedIn) => (await users()).undeleteUser({ userId: user.id }),
      ],
    ])('who was %s signs in again, and the sessions of before stay ended', async (_, away, back) => {
      const session = await kith.user();
      await away(session);
      await back(session);
      await expectEnded(session);
      await expectAlive(await again(session));
    });

    test('is not let in by a sign-in that was under way', async () => {
      const session = await kith.user();
      const signIns = Array.from({ length: 6 }, () => again(session).catch(() => undefined));
      await suspend(session);
      for (const signedIn of await Promise.all(signIns)) {
        if (signedIn) await expectEnded(signedIn);
      }
      expect(await refusalOf(again(session))).toMatchObject(CREDENTIALS_INVALID);
    });
  });

  describe('ChangePassword', () => {
    const change = ({ accessToken, password: currentPassword }: SignedIn, newPassword: string) =>
      auth(accessToken).changePassword({ currentPassword, newPassword });

    test('puts the new password in the place of the old one', async () => {
      const session = await kith.user();
      await change(session, 'a new password');
      expect(await refusalOf(again(session))).toMatchObject(CREDENTIALS_INVALID);
      expect((await login(session.user.email, 'a new password')).user).toMatchObject(unchanged(session.user));
    });

    test('ends the other sessions and keeps this one', async () => {
      const session = await kith.user();
      const other = await again(session);
      await change(session, 'a new password');
      await expectEnded(other);
      await expectAlive(session);
    });

    test('can be done twice with the same session', async () => {
      const session = await kith.user();
      await change(session, 'a new password');
      await change({ ...session, password: 'a new password' }, 'a newer password');
      await expectAlive(session);
      await login(session.user.username, 'a newer password');
    });

    test.each([
      ['the username', ({ username }: SignedIn['user']) => username],
      ['the username in upper case', ({ username }: SignedIn['user']) => username.toUpperCase()],
      ['the email address', ({ email }: SignedIn['user']) => email],
      ['the email address in upper case', ({ email }: SignedIn['user']) => email.toUpperCase()],
    ])('refuses %s as the password', async (_, password) => {
      const session = await kith.user();
      expect(await refusalOf(change(session, password(session.user)))).toMatchObject({
        code: 'InvalidArgument',
        reason: 'PASSWORD_IS_IDENTIFIER',
      });
      await expectAlive(await again(session));
    });

    test('refuses a wrong current password and changes no user and no session', async () => {
      const session = await kith.user();
      const other = await again(session);
      await using app = await openApp(kith);
      const rows = async () => [
        await app.database.db.selectFrom('users').selectAll().orderBy('id').execute(),
        await app.database.db.selectFrom('sessions').selectAll().orderBy('id').execute(),
      ];
      const before = await rows();
      expect(
        await refusalOf(
          auth(session.accessToken).changePassword({ currentPassword: 'wrong', newPassword: 'a new password' }),
        ),
      ).toMatchObject({ code: 'PermissionDenied', reason: 'PASSWORD_WRONG' });
      expect(await rows()).toEqual(before);
      await expectAlive(other);
    });

    test.each([
      ['7 code points', '🔑'.repeat(7)],
      ['129 code points', 'a'.repeat(129)],
      ['a tab', 'a new\tpassword'],
      ['nothing', ''],
    ])('refuses a new password of %s', async (_, newPassword) => {
      expect(await refusalOf(change(await kith.user(), newPassword))).toMatchObject(FIELDS_INVALID);
    });

    test('takes 8 code points', async () => {
      const session = await kith.user();
      await change(session, '🔑🦉🔑🦉🔑🦉🔑🔑');
      expect((await login(session.user.username, '🔑🦉🔑🦉🔑🦉🔑🔑')).user).toMatchObject(unchanged(session.user));
    });

    test('lets one of several at once win, and the password is the one of the winner', async () => {
      const session = await kith.user();
      const passwords = Array.from({ length: 5 }, (_, i) => `new password ${i}`);
      const outcomes = await Promise.allSettled(passwords.map((password) => change(session, password)));
      const won = passwords.filter((_, i) => outcomes[i]!.status === 'fulfilled');
      expect(won).toHaveLength(1);
      await login(session.user.username, won[0]!);
      const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
      const refusals = await Promise.all(lost.map(({ reason }) => refusalOf(Promise.reject(reason as Error))));
      expect(refusals.map(({ reason }) => reason)).toEqual(lost.map(() => 'PASSWORD_WRONG'));
    });

    test('is not undone by a sign-in with the old password that was under way', async () => {
      const session = await kith.user();
      const signIns = Array.from({ length: 6 }, () => again(session).catch(() => undefined));
      await change(session, 'a new password');
      for (const signedIn of await Promise.all(signIns)) {
        if (signedIn) await expectEnded(signedIn);
      }
      expect(await refusalOf(again(session))).toMatchObject(CREDENTIALS_INVALID);
    });
  });

  test('nothing that was written is there by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});

/** Has the password of a user stored as weaker parameters hash it. */
async function hashWeakly({ database }: App, { user, password }: SignedIn): Promise<void> {
  const weaker = await hash(password, { memoryCost: 8192, timeCost: 1, parallelism: 1 });
  await database.db.updateTable('users').set({ password_hash: weaker }).where('id', '=', user.id).execute();
}

// Whatever the database: what callers wait for is a hash.
test('Login turns callers away when too many wait, and serves the others', async () => {
  // Hashes take longer than calls take to arrive, however slow the machine is.
  await using kith = await startOn(databases[0]!, { server: { passwordCost: { ...PASSWORD_COST, timeCost: 10 } } });
  const session = await kith.user();
  // More than a connection has streams, so from several.
  const callers = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const sessions = new Http2SessionManager(kith.address);
      await sessions.connect();
      return { sessions, client: createClient(AuthService, grpc(kith.address, undefined, sessions)) };
    }),
  );
  const outcomes = await Promise.all(
    callers.flatMap(({ client }, n) =>
      Array.from({ length: 70 }, (_, i) => refusalOf(client.login({ identifier: `nobody${n}.${i}`, password: 'x' }))),
    ),
  );
  for (const { sessions } of callers) sessions.abort();
  // All come from one address: its queue is full, or on a slow machine the wait too long.
  const reasons: (string | undefined)[] = ['BUDGET_EXCEEDED', 'SERVER_BUSY'];
  const busy = outcomes.filter(({ reason }) => reasons.includes(reason));
  expect(busy.length).toBeGreaterThan(0);
  expect(busy.length).toBeLessThan(outcomes.length);
  for (const { code, metadata } of busy) {
    expect({ code, metadata }).toEqual({
      code: 'ResourceExhausted',
      metadata: {
        budget: 'password_hashes',
        limit: expect.stringMatching(/^\d+$/),
        retry_after_seconds: expect.stringMatching(/^[1-9]\d*$/),
      },
    });
  }
  // Those that got to hash may yet find no connection to the database free.
  const others = new Set(outcomes.map(({ reason }) => reason));
  for (const reason of [...reasons, 'SERVER_UNAVAILABLE']) others.delete(reason);
  expect([...others]).toEqual(['CREDENTIALS_INVALID']);
  await signedIn(kith.client(AuthService).login({ identifier: session.user.username, password: session.password }));
});
