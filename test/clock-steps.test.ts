import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { createPurger, purge } from '../src/purge.ts';
import {
  IN_FORCE_MS,
  revokeSession,
  type Revocations,
  startRevocations,
} from '../src/identity/revocations/revocations.ts';
import { KNOWN_ADDRESS_MS } from '../src/identity/throttle/limits.ts';
import { Authenticator } from './support/authenticator.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { ADMIN_PASSWORD, type Kith, refusalOf, type SignedIn, startKith } from './support/kith.ts';
import { openApp } from './support/stored.ts';
import { startWatch } from './support/watch.ts';
import { challengeOf, refreshed, signedIn } from './support/sign-in.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const STEPS = [
  { step: '5 minutes', stepMs: 5 * MINUTE_MS },
  { step: '9 hours', stepMs: 9 * HOUR_MS },
  { step: '20 days', stepMs: 20 * DAY_MS },
];

/** The longest wait for one address or account, and what clocks may differ by. */
const WAIT_MAX_MS = 5 * MINUTE_MS + MINUTE_MS;

const TOO_MANY_ATTEMPTS = { reason: 'TOO_MANY_ATTEMPTS' };
const CREDENTIALS_INVALID = { reason: 'CREDENTIALS_INVALID' };

describe.each(databases)('on $name', (kind) => {
  describe.each(STEPS)('with a clock that is $step ahead, and then set right', ({ stepMs }) => {
    let database: TestDatabase;
    let kith: Kith;
    /** What the server's clock that only goes forward is ahead of the machine's. */
    let passedMs = 0;
    beforeAll(async () => {
      database = await kind.create();
      kith = await startKith({
        database,
        env: { KITH_TRUSTED_PROXIES: '127.0.0.0/8', KITH_SIGN_IN_FAILURES_PER_ADDRESS: '30' },
        monotonic: () => performance.now() + passedMs,
      });
    });
    afterAll(async () => {
      await kith.stop();
      const faults = await database.faults();
      await database[Symbol.asyncDispose]();
      if (faults.length > 0) throw new Error(faults.join('\n'));
    });

    const auth = (accessToken?: string) => kith.client(AuthService, accessToken);
    const refresh = (refreshToken: string) => refreshed(auth().refreshAccessToken({ refreshToken }));
    const keysOf = ({ accessToken }: SignedIn) => kith.client(ApiKeyService, accessToken);
    const factorOf = ({ accessToken }: SignedIn) => kith.client(SecondFactorService, accessToken);
    let addresses = 0;
    const newAddress = () => `192.0.2.${++addresses}`;
    const login = (identifier: string, password: string, address = newAddress()) =>
      signedIn(auth().login({ identifier, password }, { headers: { 'x-forwarded-for': address } }));
    const signIn = async ({ user, password }: SignedIn): Promise<SignedIn> => ({
      ...(await login(user.username, password)),
      user,
      password,
    });

    const ahead = () => void (kith.clock.offsetMs = stepMs);
    const setRight = () => void (kith.clock.offsetMs = 0);
    /** Time goes by, on both clocks. */
    function pass(ms: number): void {
      kith.clock.offsetMs += ms;
      passedMs += ms;
    }
    /** A user who is there since before the clock was wrong, signed in while it was. */
    async function userAhead(role: Role = Role.VIEWER): Promise<SignedIn> {
      setRight();
      const user = await kith.user(role);
      ahead();
      return signIn(user);
    }

    test('nobody is kept waiting at sign-in: one right sign-in ahead, then all from that address', async () => {
      const address = newAddress();
      const user = await userAhead();
      await login(user.user.username, user.password, address);
      setRight();
      await login(user.user.username, user.password, address);
      expect((await login('admin', ADMIN_PASSWORD, address)).accessToken).not.toBe('');
    });

    test('an address that failed as often as it may waits no longer than it would have', async () => {
      const [user, address] = [await userAhead(), newAddress()];
      const guesses = Array.from({ length: 31 }, () => refusalOf(login(randomUUID(), 'wrong password', address)));
      expect((await Promise.all(guesses)).filter(({ reason }) => reason === TOO_MANY_ATTEMPTS.reason)).toHaveLength(1);
      setRight();
      await login(user.user.username, user.password, address);
      // And is bounded as before.
      const more = Array.from({ length: 40 }, () => refusalOf(login(randomUUID(), 'wrong password', address)));
      const refused = (await Promise.all(more)).filter(({ reason }) => reason === TOO_MANY_ATTEMPTS.reason);
      expect(refused.length).toBeGreaterThanOrEqual(9);
      for (const { metadata } of refused) expect(Number(metadata['retry_after_seconds'])).toBeLessThanOrEqual(70);
    });

    test('an account that was guessed at waits no longer than it would have, and its failures still count', async () => {
      const [user, address] = [await userAhead(), newAddress()];
      const wrong = () => refusalOf(login(user.user.username, 'wrong password', address));
      for (let i = 0; i < 9; i++) {
        expect(await wrong()).toMatchObject(CREDENTIALS_INVALID);
        if (i > 3) kith.clock.offsetMs += WAIT_MAX_MS;
      }
      expect(await wrong()).toMatchObject(CREDENTIALS_INVALID);
      setRight();
      if (stepMs < HOUR_MS) pass(WAIT_MAX_MS);
      expect(await wrong()).toMatchObject(CREDENTIALS_INVALID); // one that is compared, and has the next one wait
      const refused = login(user.user.username, user.password, address);
      expect(await refusalOf(refused)).toMatchObject(CREDENTIALS_INVALID);
      pass(WAIT_MAX_MS);
      await login(user.user.username, user.password, address);
    });

    test('a known address stays known and is renewed by the next sign-in', async () => {
      const [user, address] = [await userAhead(), newAddress()];
      await login(user.user.username, user.password, address);
      setRight();
      await login(user.user.username, user.password, address);
      await using app = await openApp(kith);
      await purge(app);
      const { latest } = await app.database.db
        .selectFrom('throttles')
        .select(({ fn }) => fn.max<number>('forget_ms').as('latest'))
        .executeTakeFirstOrThrow();
      expect(latest).toBeLessThanOrEqual(app.now() + KNOWN_ADDRESS_MS + MINUTE_MS);
    });

    test('codes of an authenticator app are accepted again, each once', async () => {
      const user = await userAhead();
      const app = new Authenticator((await factorOf(user).enrollTotp({})).uri, kith.clock);
      await factorOf(user).confirmTotp({ code: app.code() });
      setRight();
      const {
        user: { username: identifier },
        password,
      } = user;
      const challenge = async () => (await challengeOf(auth().login({ identifier, password }))).challengeToken;
      const complete = (challengeToken: string, value: string) =>
        signedIn(auth().completeLogin({ challengeToken, answer: { case: 'totpCode', value } }));
      const code = app.code();
      expect((await complete(await challenge(), code)).accessToken).not.toBe('');
      expect(await refusalOf(complete(await challenge(), code))).toMatchObject({ reason: 'SECOND_FACTOR_WRONG' });
      // A challenge of before is over.
      ahead();
      const early = await challenge();
      setRight();
      expect(await refusalOf(complete(early, app.code()))).toMatchObject({ reason: 'CHALLENGE_INVALID' });
    });

    test('an enrolment of before has expired, and another one begins', async () => {
      const user = await userAhead();
      const { uri } = await factorOf(user).enrollTotp({});
      setRight();
      const present = await signIn(user);
      const code = new Authenticator(uri, kith.clock).code();
      expect(await refusalOf(factorOf(present).confirmTotp({ code }))).toMatchObject({ reason: 'TOTP_NOT_ENROLLED' });
      const app = new Authenticator((await factorOf(present).enrollTotp({})).uri, kith.clock);
      await factorOf(present).confirmTotp({ code: app.code() });
    });

    test('access tokens of before are refreshed, known or not, and sessions live no longer than they may', async () => {
      const user = await userAhead();
      await auth(user.accessToken).userMe({});
      const unseen = await signIn(user);
      setRight();
      for (const { accessToken, refreshToken } of [user, unseen]) {
        expect(await refusalOf(auth(accessToken).userMe({}))).toMatchObject({ reason: 'ACCESS_TOKEN_EXPIRED' });
        const next = await refresh(refreshToken);
        await auth(next.accessToken).userMe({});
        const { sessions } = await kith.client(SessionService, next.accessToken).listSessions({ userId: user.user.id });
        for (const { expireTime } of sessions.filter(({ current }) => current)) {
          expect(timestampMs(expireTime!) - Date.now()).toBeLessThanOrEqual(kith.config.sessionIdleMs);
        }
      }
    });

    test('a refresh token of before does not give its successor again: it was used long ago', async () => {
      const user = await userAhead();
      await refresh(user.refreshToken);
      setRight();
      expect(await refusalOf(refresh(user.refreshToken))).toMatchObject({ reason: 'REFRESH_TOKEN_REUSED' });
    });

    test('a sign-in of before is not fresh', async () => {
      const user = await userAhead(Role.EDITOR);
      setRight();
      const { accessToken } = await refresh(user.refreshToken);
      const create = (as: { accessToken: string }) =>
        kith.client(ApiKeyService, as.accessToken).createApiKey({ name: 'x', permissions: [Permission.USERS_READ] });
      expect(await refusalOf(create({ accessToken }))).toMatchObject({ reason: 'FRESH_SIGN_IN_REQUIRED' });
      await create(await signIn(user));
    });

    test('of too many sessions, those of before end first', async () => {
      const user = await userAhead();
      setRight();
      const present = await signIn(user);
      await using app = await openApp(kith);
      const epoch = 0;
      const { db } = app.database;
      const ofUser = db.selectFrom('sessions').selectAll().where('user_id', '=', user.user.id);
      const [row] = await ofUser.where('create_ms', '>', Date.now() + MINUTE_MS).execute();
      // Ids that sort behind all others, as those of a time to come do.
      const rows = Array.from({ length: 48 }, (_, i) => ({
        ...row!,
        id: `ffffffff-0000-7000-8000-${String(i).padStart(12, '0')}`,
        epoch,
      }));
      await db.insertInto('sessions').values(rows).execute();
      for (let i = 0; i < 2; i++) await signIn(user);
      expect((await refresh(present.refreshToken)).accessToken).not.toBe('');
      await db.deleteFrom('sessions').where('id', '>=', 'ffffffff').execute();
    });

    test('an API key that was used before is refused once it is revoked, and the time of its use goes on', async () => {
      const user = await userAhead(Role.EDITOR);
      const { apiKey, secret } = await keysOf(user).createApiKey({ name: 'x', permissions: [Permission.USERS_READ] });
      const use = () => kith.client(UserService, secret).getUser({ userId: user.user.id });
      await use();
      setRight();
      const present = await signIn(user);
      await expect
        .poll(
          async () => {
            await use();
            const [listed] = (await keysOf(present).listApiKeys({ userId: user.user.id })).apiKeys;
            return timestampMs(listed!.lastUsedTime!) - Date.now();
          },
          { timeout: 30_000 },
        )
        .toBeLessThanOrEqual(MINUTE_MS);
      await keysOf(present).revokeApiKey({ userId: user.user.id, apiKeyId: apiKey!.id });
      expect(await refusalOf(use())).toMatchObject({ reason: 'API_KEY_INVALID' });
      pass(IN_FORCE_MS + MINUTE_MS);
      expect(await refusalOf(use())).toMatchObject({ reason: 'API_KEY_INVALID' });
      pass(-IN_FORCE_MS - MINUTE_MS);
    });

    test('what was done before is there: answers to request ids, deletions, the log and its cursors', async () => {
      const editor = await userAhead(Role.EDITOR);
      const contacts = (as: { accessToken: string }) => kith.client(ContactService, as.accessToken);
      const request = { givenName: 'Ada', requestId: randomUUID() };
      const created = await contacts(editor).createContact(request);
      const gone = await contacts(editor).createContact({ givenName: 'Bob' });
      await contacts(editor).deleteContact({ contactId: gone.contact!.id });
      const watch = (as: { accessToken: string }, afterCursor = '') =>
        startWatch(kith.client(ActivityService, as.accessToken), { userId: editor.user.id, afterCursor });
      const before = await watch(editor);
      const { cursor } = before;
      before.leave();
      setRight();
      const present = await signIn(editor);
      expect((await contacts(present).createContact(request)).contact!.id).toBe(created.contact!.id);
      await using app = await openApp(kith);
      await purge(app);
      await contacts(present).undeleteContact({ contactId: gone.contact!.id });
      await using after = await watch(present, cursor);
      expect((await after.activity()).action).toBe('kith.session.started');
    });
  });

  describe.each(STEPS)('with a clock that is set $step forward and back', ({ stepMs }) => {
    let database: TestDatabase;
    const clock = { ms: Date.now(), passedMs: 0 };
    const stepped = { now: () => clock.ms, monotonic: () => clock.passedMs };
    const pass = (ms: number) => {
      clock.ms += ms;
      clock.passedMs += ms;
    };
    let app: Awaited<ReturnType<typeof openApp>>;
    beforeAll(async () => {
      database = await kind.create();
      await using kith = await startKith({ database });
      app = await openApp(kith);
    });
    afterAll(async () => {
      await app[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    });

    const ended = expect.objectContaining({ reason: 'session_ended' });
    const start = (on: Parameters<typeof startRevocations>[0]): Promise<Revocations> =>
      startRevocations(on, { ...stepped, onError() {} });

    test('what was revoked stays revoked: here, after a purge, and on an instance that started meanwhile', async () => {
      const token = {
        userId: randomUUIDv7(),
        sessionId: randomUUIDv7(),
        kind: 'session' as const,
        role: 'editor' as const,
      };
      const here = { ...app, ...stepped };
      const purgeAgain = createPurger(here);
      await using revocations = await start(app.database);
      await app.database.transaction((tx) => revokeSession(tx, here, token));
      await expect(revocations.currentRole(token)).rejects.toEqual(ended);

      clock.ms += stepMs;
      await revocations.load();
      await purgeAgain(); // sees the step
      pass(10 * MINUTE_MS);
      await purgeAgain();
      await using late = await start(app.database);
      clock.ms -= stepMs;
      for (const instance of [revocations, late]) {
        await instance.load();
        await expect(instance.currentRole(token)).rejects.toEqual(ended);
      }

      // And is forgotten when no token is left, whatever was learned before the clock was set back.
      pass(IN_FORCE_MS);
      await purgeAgain();
      pass(IN_FORCE_MS);
      await purgeAgain();
      for (const instance of [revocations, late]) {
        await instance.load();
        expect(instance.after(0, 10).revocations).toEqual([]);
      }
      expect(await app.database.db.selectFrom('revocations').selectAll().execute()).toEqual([]);
    });

    test('what was revoked ahead of time keeps nothing behind it in memory', async () => {
      const here = { ...app, ...stepped };
      await using revocations = await start(app.database);
      const revoke = async () => {
        const token = { userId: randomUUIDv7(), sessionId: randomUUIDv7() };
        await app.database.transaction((tx) => revokeSession(tx, here, token));
        return token.sessionId;
      };
      clock.ms += stepMs;
      const early = await revoke();
      clock.ms -= stepMs;
      await revoke();
      pass(IN_FORCE_MS);
      await revocations.load();
      const held = revocations.after(0, 10).revocations.map(({ session_id }) => session_id);
      expect(held).toEqual([early]);
      expect(revocations.hasEnded(early)).toBe(true);
      pass(stepMs + IN_FORCE_MS);
      await revocations.load();
      expect(revocations.after(0, 10).revocations).toEqual([]);
    });

    test('nothing is purged that is due by the wrong time alone, until the clock has run evenly', async () => {
      const here = { ...app, ...stepped };
      const { db } = app.database;
      const key = 'k'.repeat(43);
      const isThere = async () =>
        (await db.selectFrom('throttles').select('key').where('key', '=', key).execute()).length;
      await db
        .insertInto('throttles')
        .values({ key, failures: 1, until_ms: 0, forget_ms: clock.ms + 1 })
        .execute();
      const purgeAgain = createPurger(here);
      clock.ms += stepMs;
      await purgeAgain();
      expect(await isThere()).toBe(1);
      clock.ms -= stepMs;
      await purgeAgain();
      expect(await isThere()).toBe(1);
      pass(2 * MINUTE_MS);
      await purgeAgain();
      expect(await isThere()).toBe(0);
    });
  });
});
