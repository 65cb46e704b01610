import { randomUUIDv7 } from 'node:crypto';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService, SignInMethod } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { grpc, type Kith, refusalOf, type SignedIn, startKith } from '../../../test/support/kith.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import { purge } from '../../purge.ts';
import { startSession } from './sessions.ts';
import { refreshed, signedIn } from '../../../test/support/sign-in.ts';
import {
  FIELDS_INVALID,
  PERMISSION_MISSING,
  REFRESH_TOKEN_REUSED,
  SESSION_ENDED,
  USER_NOT_FOUND,
} from '../../../test/support/refusals.ts';

const SECOND_MS = 1000;
const DAY_MS = 24 * 60 * 60 * SECOND_MS;

const SESSION_NOT_FOUND = { code: 'NotFound', reason: 'SESSION_NOT_FOUND' };
const REFRESH_TOKEN_INVALID = { code: 'Unauthenticated', reason: 'REFRESH_TOKEN_INVALID' };

interface TokenPair {
  readonly accessToken: string;
  readonly refreshToken: string;
}

const sessionIdOf = ({ accessToken }: { accessToken: string }): string => String(decodeJwt(accessToken)['sid']);

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const auth = (accessToken?: string, on = kith) => on.client(AuthService, accessToken);
  const users = async (on = kith) => on.client(UserService, (await on.admin()).accessToken);
  const sessions = ({ accessToken }: { accessToken: string }, on = kith) => on.client(SessionService, accessToken);
  const refresh = (refreshToken: string, on = kith) =>
    refreshed(auth(undefined, on).refreshAccessToken({ refreshToken }));
  const again = async ({ user, password }: SignedIn, on = kith): Promise<SignedIn> => {
    const response = await signedIn(auth(undefined, on).login({ identifier: user.username, password }));
    return { ...response, user: response.user, password };
  };
  const idsOf = async (as: SignedIn, on = kith, userId = as.user.id) =>
    (await sessions(as, on).listSessions({ userId })).sessions.map(({ id }) => id);

  /** Neither of the session's tokens works, and both say why. */
  async function expectEnded(session: TokenPair, on = kith): Promise<void> {
    expect(await refusalOf(auth(session.accessToken, on).userMe({}))).toMatchObject(SESSION_ENDED);
    expect(await refusalOf(refresh(session.refreshToken, on))).toMatchObject(SESSION_ENDED);
  }

  /** Both of the session's tokens work. Uses the refresh token up. */
  async function expectAlive(session: TokenPair, on = kith): Promise<void> {
    await auth(session.accessToken, on).userMe({});
    await refresh(session.refreshToken, on);
  }

  test('a session that may stand idle longer than it may live ends when it may live no longer', async () => {
    const env = { KITH_SESSION_IDLE_DAYS: '30', KITH_SESSION_MAX_DAYS: '7' };
    await using short = await startOn(kind, { env });
    const beforeMs = Date.now();
    const user = await short.user();
    const signIn = await signedIn(
      auth(undefined, short).login({ identifier: user.user.username, password: user.password }),
    );
    const endMs = timestampMs(signIn.refreshTokenExpireTime!);
    expect(endMs).toBeGreaterThanOrEqual(beforeMs + 7 * DAY_MS);
    expect(endMs).toBeLessThanOrEqual(Date.now() + 7 * DAY_MS);
    const { sessions: listed } = await sessions(signIn, short).listSessions({ userId: user.user.id });
    expect(listed.map(({ expireTime }) => timestampMs(expireTime!))).toContain(endMs);
    short.clock.offsetMs = 8 * DAY_MS;
    expect(await refusalOf(refresh(signIn.refreshToken, short))).toMatchObject(SESSION_ENDED);
  });

  describe('ListSessions', () => {
    test('shows where each sign-in came from, how and when, newest first', async () => {
      const first = await kith.user();
      const startMs = Date.now();
      const transport = grpc(kith.address);
      const second = await signedIn(
        createClient(AuthService, transport).login(
          { identifier: first.user.username, password: first.password },
          { headers: { 'user-agent': 'Phone/1.0 (of the test)' } },
        ),
      );
      const { sessions: listed } = await sessions(second).listSessions({ userId: first.user.id });
      expect(listed.map(({ id }) => id)).toEqual([sessionIdOf(second), sessionIdOf(first)]);
      expect(listed.map(({ current }) => current)).toEqual([true, false]);
      const [newest] = listed;
      expect(newest).toMatchObject({
        userAgent: expect.stringContaining('Phone/1.0 (of the test)'),
        address: expect.stringMatching(/^(127\.0\.0\.1|::1)$/),
        methods: [SignInMethod.PASSWORD],
      });
      const createMs = timestampMs(newest!.createTime!);
      expect(createMs).toBeGreaterThanOrEqual(startMs);
      expect(timestampMs(newest!.lastUsedTime!)).toBe(createMs);
      expect(timestampMs(newest!.expireTime!)).toBe(createMs + 30 * DAY_MS);
    });

    test('shows when a session was refreshed, and how much longer it lives', async () => {
      await using later = await startOn(kind);
      const session = await later.user();
      const listed = async () => (await sessions(session, later).listSessions({ userId: session.user.id })).sessions;
      const [before] = await listed();
      later.clock.offsetMs += 200 * SECOND_MS;
      await refresh(session.refreshToken, later);
      const [after] = await listed();
      const movedMs = timestampMs(after!.lastUsedTime!) - timestampMs(before!.lastUsedTime!);
      expect(movedMs).toBeGreaterThanOrEqual(200 * SECOND_MS);
      expect(timestampMs(after!.expireTime!) - timestampMs(before!.expireTime!)).toBe(movedMs);
      expect(after!.createTime).toEqual(before!.createTime);
    });

    test('leaves out what is over: signed out, revoked, expired', async () => {
      await using later = await startOn(kind);
      const expired = await later.user();
      later.clock.offsetMs += 29 * DAY_MS;
      const [signedOut, revoked, kept] = [
        await again(expired, later),
        await again(expired, later),
        await again(expired, later),
      ];
      expect(await idsOf(kept, later)).toHaveLength(4);
      await auth(signedOut.accessToken, later).logout({});
      await sessions(kept, later).revokeSession({ userId: kept.user.id, sessionId: sessionIdOf(revoked) });
      later.clock.offsetMs += DAY_MS;
      const { accessToken } = await refresh(kept.refreshToken, later);
      const { sessions: listed } = await sessions({ accessToken }, later).listSessions({ userId: kept.user.id });
      expect(listed.map(({ id }) => id)).toEqual([sessionIdOf(kept)]);
    });

    test('shows an admin the sessions of others, and none of a user who may not sign in', async () => {
      const user = await kith.user();
      const admin = await kith.admin();
      const seen = async () => (await sessions(admin).listSessions({ userId: user.user.id })).sessions;
      expect(await seen()).toMatchObject([{ id: sessionIdOf(user), current: false }]);
      await (await users()).updateUser({ userId: user.user.id, state: UserState.SUSPENDED });
      expect(await seen()).toEqual([]);
      await (await users()).deleteUser({ userId: user.user.id });
      expect(await seen()).toEqual([]);
    });

    test('shows nobody but admins the sessions of others', async () => {
      const other = await kith.user();
      for (const role of [Role.VIEWER, Role.EDITOR]) {
        const call = sessions(await kith.user(role)).listSessions({ userId: other.user.id });
        expect(await refusalOf(call)).toMatchObject(PERMISSION_MISSING);
      }
    });

    test('tells of a user who does not exist', async () => {
      const call = sessions(await kith.admin()).listSessions({ userId: randomUUIDv7() });
      expect(await refusalOf(call)).toMatchObject(USER_NOT_FOUND);
    });
  });

  describe('RevokeSession', () => {
    test('ends one session with all its tokens, and no other', async () => {
      const session = await kith.user();
      const other = await again(session);
      const next = await refresh(session.refreshToken);
      await sessions(other).revokeSession({ userId: session.user.id, sessionId: sessionIdOf(session) });
      for (const tokens of [session, next]) await expectEnded(tokens);
      expect(await idsOf(other)).toEqual([sessionIdOf(other)]);
      await expectAlive(other);
    });

    test('ends the session of the call, the same way as signing out', async () => {
      const session = await kith.user();
      await sessions(session).revokeSession({ userId: session.user.id, sessionId: sessionIdOf(session) });
      await expectEnded(session);
    });

    test('lets an admin end the session of another, by ids in upper case too', async () => {
      const session = await kith.user();
      await sessions(await kith.admin()).revokeSession({
        userId: session.user.id.toUpperCase(),
        sessionId: sessionIdOf(session).toUpperCase(),
      });
      await expectEnded(session);
    });

    test('refuses a session that is not there, not there any more, or of another user, and ends none', async () => {
      const [user, other, gone] = [await kith.user(), await kith.user(), await kith.user()];
      const signedOut = await again(user);
      await auth(signedOut.accessToken).logout({});
      await (await users()).deleteUser({ userId: gone.user.id });
      const admin = await kith.admin();
      const before = await kith.database.dump();
      for (const [as, userId, sessionId] of [
        [user, user.user.id, randomUUIDv7()],
        [user, user.user.id, sessionIdOf(signedOut)],
        [user, user.user.id, sessionIdOf(other)],
        [user, user.user.id, user.user.id],
        [admin, user.user.id, sessionIdOf(other)],
        [admin, randomUUIDv7(), sessionIdOf(other)],
        [admin, gone.user.id, sessionIdOf(gone)],
      ] as const) {
        expect(await refusalOf(sessions(as).revokeSession({ userId, sessionId }))).toMatchObject(SESSION_NOT_FOUND);
      }
      expect(await kith.database.dump()).toBe(before);
      for (const session of [user, other]) await expectAlive(session);
    });

    test.each([
      ['no session', { sessionId: '' }],
      ['a session that is no UUID', { sessionId: 'current' }],
      ['a token in place of the session', { sessionId: 'kith_rt_AZ' }],
      ['no user', { userId: '' }],
    ])('refuses %s', async (_, request) => {
      const admin = await kith.admin();
      const call = sessions(admin).revokeSession({ userId: admin.user.id, sessionId: randomUUIDv7(), ...request });
      expect(await refusalOf(call)).toMatchObject(FIELDS_INVALID);
    });

    test('ends a session once when twenty ask at once', async () => {
      const user = await kith.user();
      const doomed = await again(user);
      const request = { userId: user.user.id, sessionId: sessionIdOf(doomed) };
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, () => sessions(user).revokeSession(request)),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      const reader = kith.client(ActivityService, user.accessToken);
      const { activities } = await reader.listUserActivity({
        userId: user.user.id,
        actionPrefixes: ['kith.session.revoked'],
      });
      expect(activities).toMatchObject([{ attributes: { session_id: sessionIdOf(doomed) }, actorId: user.user.id }]);
    });
  });

  describe('RevokeAllSessions', () => {
    test('ends every session of the caller and tells how many there were', async () => {
      const first = await kith.user();
      const others = [await again(first), await again(first)];
      const stranger = await kith.user();
      expect(await sessions(first).revokeAllSessions({ userId: first.user.id })).toMatchObject({ revokedCount: 3 });
      for (const session of [first, ...others]) await expectEnded(session);
      await expectAlive(stranger);
      await expectAlive(await again(first));
    });

    test('leaves the session of the call when asked to', async () => {
      const first = await kith.user();
      const other = await again(first);
      const request = { userId: first.user.id, keepCurrent: true };
      expect(await sessions(other).revokeAllSessions(request)).toMatchObject({ revokedCount: 1 });
      await expectEnded(first);
      expect(await sessions(other).revokeAllSessions(request)).toMatchObject({ revokedCount: 0 });
      await expectAlive(other);
    });

    test('lets an admin end all sessions of another, and keep the own', async () => {
      const user = await kith.user();
      const admin = await kith.admin();
      const request = { userId: user.user.id, keepCurrent: true };
      expect(await sessions(admin).revokeAllSessions(request)).toMatchObject({ revokedCount: 1 });
      await expectEnded(user);
      await auth(admin.accessToken).userMe({});
    });

    test('tells of a user who does not exist', async () => {
      const admin = await kith.admin();
      const before = await kith.database.dump();
      const call = sessions(admin).revokeAllSessions({ userId: randomUUIDv7() });
      expect(await refusalOf(call)).toMatchObject(USER_NOT_FOUND);
      expect(await kith.database.dump()).toBe(before);
    });
  });

  test('write before authorise: a call about the sessions of another is refused and leaves everything as it was', async () => {
    const [victim, viewer, editor] = [await kith.user(), await kith.user(), await kith.user(Role.EDITOR)];
    const before = await kith.database.dump();
    for (const caller of [viewer, editor]) {
      const client = sessions(caller);
      const userId = victim.user.id;
      for (const call of [
        () => client.listSessions({ userId }),
        () => client.revokeSession({ userId, sessionId: sessionIdOf(victim) }),
        () => client.revokeAllSessions({ userId }),
        () => client.revokeAllSessions({ userId, keepCurrent: true }),
      ]) {
        expect(await refusalOf(call())).toMatchObject(PERMISSION_MISSING);
      }
    }
    expect(await kith.database.dump()).toBe(before);
    await expectAlive(victim);
  });

  test('write before authorise: an ended session ends no other', async () => {
    const victim = await kith.user();
    const ended = await again(victim);
    await auth(ended.accessToken).logout({});
    const before = await kith.database.dump();
    const userId = victim.user.id;
    for (const call of [
      () => sessions(ended).revokeSession({ userId, sessionId: sessionIdOf(victim) }),
      () => sessions(ended).revokeAllSessions({ userId }),
      () => auth(ended.accessToken).logout({}),
      () => auth(ended.accessToken).changePassword({ currentPassword: victim.password, newPassword: 'another one' }),
    ]) {
      expect(await refusalOf(call())).toMatchObject(SESSION_ENDED);
    }
    expect(await kith.database.dump()).toBe(before);
    await expectAlive(victim);
  });

  test('recycled ids: a user who takes the name of a purged one gets none of the sessions', async () => {
    await using later = await startOn(kind);
    const old = await later.user();
    const { username, email } = old.user;
    await (await users(later)).deleteUser({ userId: old.user.id });
    later.clock.offsetMs += 31 * DAY_MS;
    await using app = await openApp(later);
    await purge(app);
    const admin = await signedIn(
      auth(undefined, later).login({
        identifier: 'admin',
        password: (await later.admin()).password,
      }),
    );
    const heir = await later
      .client(UserService, admin.accessToken)
      .createUser({ username, email, name: 'Heir', password: 'password of the heir' });
    expect(heir.user!.id).not.toBe(old.user.id);
    const session = await again({ ...old, user: heir.user!, password: 'password of the heir' }, later);
    expect(await idsOf(session, later)).toEqual([sessionIdOf(session)]);
    expect(await refusalOf(refresh(old.refreshToken, later))).toMatchObject(SESSION_ENDED);
    const call = sessions(admin, later).listSessions({ userId: old.user.id });
    expect(await refusalOf(call)).toMatchObject(USER_NOT_FOUND);
    const revoking = sessions(session, later).revokeSession({ userId: heir.user!.id, sessionId: sessionIdOf(old) });
    expect(await refusalOf(revoking)).toMatchObject(SESSION_NOT_FOUND);
  });

  describe('a user with as many sessions as one may have', () => {
    const PER_USER = 3;
    let limited: Kith;
    beforeAll(async () => {
      limited = await startOn(kind, { env: { KITH_SESSIONS_PER_USER: String(PER_USER) } });
    });
    afterAll(() => limited[Symbol.asyncDispose]());

    test('signs in, and the oldest session ends', async () => {
      const oldest = await limited.user();
      const second = await again(oldest, limited);
      // Using it does not make it any younger.
      const refreshed = await refresh(oldest.refreshToken, limited);
      const third = await again(oldest, limited);
      const fourth = await again(oldest, limited);
      await expectEnded({ ...oldest, refreshToken: refreshed.refreshToken }, limited);
      expect(await idsOf(fourth, limited)).toEqual([fourth, third, second].map(sessionIdOf));
      for (const session of [second, third, fourth]) await expectAlive(session, limited);
      const { activities } = await limited
        .client(ActivityService, fourth.accessToken)
        .listUserActivity({ userId: oldest.user.id, actionPrefixes: ['kith.session.revoked'] });
      expect(activities).toMatchObject([{ attributes: { session_id: sessionIdOf(oldest) } }]);
    });

    test('has no more of them when twenty begin at once', async () => {
      const user = await limited.user();
      await using stored = await openApp(limited);
      const app = { ...stored, sessions: { idleMs: DAY_MS, maxMs: DAY_MS, perUserMax: PER_USER } };
      const client = { address: '192.0.2.1', userAgent: '' };
      const begin = () =>
        app.database.transaction((tx) => startSession(tx, app, { id: user.user.id, sessionEpoch: 0 }, client, ['pwd']));
      const begun = await Promise.all(Array.from({ length: 20 }, begin));
      expect(new Set(begun.map(({ id }) => id))).toHaveLength(20);
      const listed = await idsOf(await limited.admin(), limited, user.user.id);
      expect(listed).toHaveLength(PER_USER);
      expect(begun.map(({ id }) => id)).toEqual(expect.arrayContaining(listed));
      await vi.waitFor(() => expectEnded(user, limited));
    });

    test('does not lose one to sessions that are over', async () => {
      const first = await limited.user();
      for (let i = 0; i < PER_USER; i++) await auth((await again(first, limited)).accessToken, limited).logout({});
      await expectAlive(first, limited);
    });
  });

  describe('a call that takes a fresh sign-in', () => {
    test('is refused some minutes after, however often the session was refreshed, until the user signs in again', async () => {
      await using later = await startOn(kind, { env: { KITH_FRESH_SIGN_IN_SECONDS: '120' } });
      const session = await later.user();
      const change = (accessToken: string, newPassword: string, currentPassword = session.password) =>
        auth(accessToken, later).changePassword({ currentPassword, newPassword });
      await change(session.accessToken, 'the first new password');
      later.clock.offsetMs += 122 * SECOND_MS;
      const { accessToken } = await refresh(session.refreshToken, later);
      const before = await later.database.dump();
      for (const token of [session.accessToken, accessToken]) {
        const refused = await refusalOf(change(token, 'the second new password', 'the first new password'));
        expect(refused).toMatchObject({
          code: 'Unauthenticated',
          reason: 'FRESH_SIGN_IN_REQUIRED',
          metadata: { max_age_seconds: '120' },
        });
      }
      expect(await later.database.dump()).toBe(before);
      await auth(accessToken, later).userMe({});
      const fresh = await again({ ...session, password: 'the first new password' }, later);
      await change(fresh.accessToken, 'the second new password', 'the first new password');
    });
  });

  describe('RefreshAccessToken', () => {
    test('gives new tokens for the same session, and the access token of before lives out its time', async () => {
      const session = await kith.user();
      const next = await refresh(session.refreshToken);
      expect(next.refreshToken).not.toBe(session.refreshToken);
      expect(next.accessToken).not.toBe(session.accessToken);
      expect(decodeJwt(next.accessToken)['sid']).toBe(decodeJwt(session.accessToken)['sid']);
      expect(decodeJwt(next.accessToken)['auth_time']).toBe(decodeJwt(session.accessToken)['auth_time']);
      await auth(session.accessToken).userMe({});
      await expectAlive(next);
    });

    test('carries the role as it is now', async () => {
      const session = await kith.user();
      await (await users()).updateUser({ userId: session.user.id, role: Role.EDITOR });
      expect(decodeJwt((await refresh(session.refreshToken)).accessToken)['roles']).toEqual(['editor']);
    });

    test('answers the same successor when the answer was lost', async () => {
      const { refreshToken } = await kith.user();
      const first = await refresh(refreshToken);
      const second = await refresh(refreshToken);
      expect(second.refreshToken).toBe(first.refreshToken);
      expect(second.refreshTokenExpireTime).toEqual(first.refreshTokenExpireTime);
      await expectAlive(second);
    });

    test('takes one step when twenty ask at once', async () => {
      const { refreshToken, accessToken } = await kith.user();
      const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(refreshToken)));
      expect(new Set(answers.map((answer) => answer.refreshToken))).toHaveLength(1);
      await using app = await openApp(kith);
      const session = app.database.db
        .selectFrom('sessions')
        .select(['refresh_counter', 'end_ms'])
        .where('id', '=', String(decodeJwt(accessToken)['sid']));
      expect(await session.executeTakeFirst()).toEqual({ refresh_counter: 1, end_ms: null });
      await expectAlive(answers[0]!);
    });

    test('ends the session when a token comes back whose successor was used', async () => {
      const session = await kith.user();
      const other = await again(session);
      const second = await refresh(session.refreshToken);
      const third = await refresh(second.refreshToken);
      expect(await refusalOf(refresh(session.refreshToken))).toMatchObject(REFRESH_TOKEN_REUSED);
      for (const tokens of [second, third]) await expectEnded(tokens);
      expect(await refusalOf(refresh(session.refreshToken))).toMatchObject(SESSION_ENDED);
      await expectAlive(other);
    });

    test.each([
      ['nothing that Kith wrote', () => 'a refresh token'],
      ['the access token', (_: string, accessToken: string) => accessToken.slice(0, 256)],
      ['a token without its prefix', (token: string) => token.replace('kith_rt_', '')],
      ['a token in another prefix', (token: string) => token.replace('kith_rt_', 'kith_at_')],
      ['a token without its end', (token: string) => token.slice(0, -1)],
      ['a token with something behind', (token: string) => `${token}A`],
      ['a token with a blank behind', (token: string) => `${token} `],
      ['a token with padding', (token: string) => `${token}==`],
      ['the prefix alone', () => 'kith_rt_'],
      ['a token of another session', (token: string) => flipped(token, 4)],
      ['a token of another step', (token: string) => flipped(token, 19)],
      ['a token with another MAC', (token: string) => flipped(token, 51)],
    ])('refuses %s', async (_, forge) => {
      const session = await kith.user();
      expect(await refusalOf(refresh(forge(session.refreshToken, session.accessToken)))).toMatchObject(
        REFRESH_TOKEN_INVALID,
      );
      await expectAlive(session);
    });

    test('refuses the same bytes in other letters', async () => {
      const { refreshToken } = await kith.user();
      // The last letter carries four bits that belong to no byte.
      const bytes = (token: string) => Buffer.from(token.slice('kith_rt_'.length), 'base64url').toString('hex');
      const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const spellings = letters
        .split('')
        .map((letter) => refreshToken.slice(0, -1) + letter)
        .filter((token) => token !== refreshToken && bytes(token) === bytes(refreshToken));
      expect(spellings.length).toBeGreaterThan(0);
      for (const token of spellings) expect(await refusalOf(refresh(token))).toMatchObject(REFRESH_TOKEN_INVALID);
    });

    test.each([
      { token: 'no token', refreshToken: '', refusal: REFRESH_TOKEN_INVALID },
      { token: 'a token of 257', refreshToken: 'k'.repeat(257), refusal: FIELDS_INVALID },
    ])('refuses $token', async ({ refreshToken, refusal }) => {
      expect(await refusalOf(refresh(refreshToken))).toMatchObject(refusal);
    });

    test('refuses the tokens of another installation', async () => {
      const secret = Buffer.alloc(32, 'other').toString('base64');
      await using other = await startOn(kind, { env: { KITH_SECRET_KEY: secret } });
      const { refreshToken, accessToken } = await other.admin();
      expect(await refusalOf(refresh(refreshToken))).toMatchObject(REFRESH_TOKEN_INVALID);
      // It calls itself the same: the key may as well be one that was removed here.
      expect(await refusalOf(auth(accessToken).userMe({}))).toMatchObject({
        code: 'Unauthenticated',
        reason: 'ACCESS_TOKEN_EXPIRED',
      });
    });

    test('a refresh token is no access token', async () => {
      const { refreshToken } = await kith.user();
      expect(await refusalOf(auth(refreshToken).userMe({}))).toMatchObject({
        code: 'Unauthenticated',
        reason: 'ACCESS_TOKEN_INVALID',
      });
    });
  });

  describe('Logout', () => {
    test('ends the session with all its tokens, and no other', async () => {
      const session = await kith.user();
      const other = await again(session);
      const next = await refresh(session.refreshToken);
      await auth(session.accessToken).logout({});
      await expectEnded(session);
      await expectEnded(next);
      await expectAlive(other);
    });

    test('says the second time that the session has ended', async () => {
      const { accessToken } = await kith.user();
      await auth(accessToken).logout({});
      expect(await refusalOf(auth(accessToken).logout({}))).toMatchObject(SESSION_ENDED);
    });
  });

  describe('as time passes', () => {
    test('an access token expires after 300 s, and the refresh token gives a new one', async () => {
      await using later = await startOn(kind);
      const session = await later.user();
      later.clock.offsetMs += 301 * SECOND_MS;
      expect(await refusalOf(auth(session.accessToken, later).userMe({}))).toMatchObject({
        code: 'Unauthenticated',
        reason: 'ACCESS_TOKEN_EXPIRED',
      });
      const { accessToken } = await refresh(session.refreshToken, later);
      await auth(accessToken, later).userMe({});
    });

    test('a refresh token that comes back after 30 s ends the session', async () => {
      await using later = await startOn(kind);
      const session = await later.user();
      const next = await refresh(session.refreshToken, later);
      later.clock.offsetMs += 20 * SECOND_MS;
      expect((await refresh(session.refreshToken, later)).refreshToken).toBe(next.refreshToken);
      later.clock.offsetMs += 11 * SECOND_MS;
      expect(await refusalOf(refresh(session.refreshToken, later))).toMatchObject(REFRESH_TOKEN_REUSED);
      await expectEnded(next, later);
    });

    test('a session ends 30 days after it was refreshed last, 90 days after the sign-in in any case', async () => {
      await using later = await startOn(kind);
      const start = await later.user();
      const idle = await again(start, later);
      const endBy = timestampMs(start.user.createTime!) + 90 * DAY_MS;
      let newest = await refresh(start.refreshToken, later);
      for (let day = 29; day < 90; day += 29) {
        later.clock.offsetMs = day * DAY_MS;
        newest = await refresh(newest.refreshToken, later);
        const days = (timestampMs(newest.refreshTokenExpireTime!) - endBy) / DAY_MS;
        expect(days).toBeCloseTo(Math.min(day + 30, 90) - 90, 2);
      }
      later.clock.offsetMs = 90 * DAY_MS;
      expect(await refusalOf(refresh(newest.refreshToken, later))).toMatchObject(SESSION_ENDED);
      expect(await refusalOf(refresh(idle.refreshToken, later))).toMatchObject(SESSION_ENDED);
    });

    test('a session that nobody refreshed for 30 days has ended, and is removed', async () => {
      await using later = await startOn(kind);
      const session = await later.user();
      later.clock.offsetMs = 29.9 * DAY_MS;
      const kept = await again(session, later);
      await using app = await openApp(later);
      const sessions = () =>
        app.database.db.selectFrom('sessions').select('id').where('user_id', '=', session.user.id).execute();
      await purge(app);
      expect(await sessions()).toHaveLength(2);
      later.clock.offsetMs = 30.1 * DAY_MS;
      expect(await refusalOf(refresh(session.refreshToken, later))).toMatchObject(SESSION_ENDED);
      await purge(app);
      expect(await sessions()).toEqual([{ id: decodeJwt(kept.accessToken)['sid'] }]);
      expect(await refusalOf(refresh(session.refreshToken, later))).toMatchObject(SESSION_ENDED);
      await refresh(kept.refreshToken, later);
    });
  });

  test('tokens stay good over a restart', async () => {
    await using database = await kind.create();
    const env = { KITH_ISSUER: 'https://kith.example.org' };
    const before = await startKith({ database, env });
    const session = await before.user();
    await before.stop();
    const after = await startKith({ database, env });
    const kid = decodeProtectedHeader(session.accessToken).kid;
    const next = await refresh(session.refreshToken, after);
    expect(decodeProtectedHeader(next.accessToken).kid).toBe(kid);
    await auth(next.accessToken, after).userMe({});
    await auth(session.accessToken, after).userMe({});
    await after.stop();
  });

  test('nothing that was written is there by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});

/** The token with one bit of its n-th byte changed. */
function flipped(token: string, byte: number): string {
  const prefix = 'kith_rt_';
  const bytes = Buffer.from(token.slice(prefix.length), 'base64url');
  bytes[byte]! ^= 1;
  return prefix + bytes.toString('base64url');
}
