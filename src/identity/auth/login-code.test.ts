import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKith } from '../../../packages/client/src/node.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService, LoginStep } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService, SignInMethod } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from '../../../test/support/authenticator.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn, startKith } from '../../../test/support/kith.ts';
import { codeIn, loginCode, mailsTo, resetCode } from '../../../test/support/outbox.ts';
import { challengeOf, signedIn } from '../../../test/support/sign-in.ts';
import { startOn } from '../../../test/support/stored.ts';

const CODE_INVALID = { code: 'Unauthenticated', reason: 'MAILED_CODE_INVALID' };
const MINUTE_MS = 60_000;

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    // The clock is moved by minutes.
    kith = await startOn(kind, {
      env: {
        KITH_ACCESS_TOKEN_SECONDS: '3600',
        KITH_FRESH_SIGN_IN_SECONDS: '86400',
        KITH_TRUSTED_PROXIES: '127.0.0.1',
      },
    });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const auth = () => kith.client(AuthService);
  const users = async () => kith.client(UserService, (await kith.admin()).accessToken);
  /** A user with a verified address. */
  const verified = async (): Promise<SignedIn> => {
    const account = await kith.user();
    await (await users()).updateUser({ userId: account.user.id, emailVerified: true });
    return account;
  };
  const use = (code: Awaited<ReturnType<typeof loginCode>>) => signedIn(auth().loginWithCode(code));
  const enroll = async ({ accessToken }: SignedIn) => {
    const factors = kith.client(SecondFactorService, accessToken);
    const app = new Authenticator((await factors.enrollTotp({})).uri, kith.clock);
    await factors.confirmTotp({ code: app.next() });
    return app;
  };

  test('a code signs in once; the session and the token say how, and the activity has it', async () => {
    const { user } = await verified();
    const code = await loginCode(kith, user);
    const { accessToken, user: who } = await use({ ...code, code: code.code.replace(' ', '-') });
    expect(who.id).toBe(user.id);
    expect(decodeJwt(accessToken)).toMatchObject({ amr: ['email'] });
    const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: user.id });
    expect(sessions.map(({ methods }) => methods)).toEqual([[SignInMethod.MAILED_CODE], [SignInMethod.PASSWORD]]);
    expect(await refusalOf(use(code))).toMatchObject(CODE_INVALID);

    const actionsOf = async () => {
      const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id });
      return activities.map(({ action }) => action);
    };
    expect(await actionsOf()).toEqual(expect.arrayContaining(['kith.sign_in.code_requested', 'kith.session.started']));
    await expect.poll(actionsOf).toContain('kith.sign_in.failed');
    expect(await mailsTo(kith, user.id)).toMatchObject([{ kind: 'login_code', recipient: user.email }]);
  });

  test('of many uses of a code at once, one is right', async () => {
    const code = await loginCode(kith, (await verified()).user);
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => use(code)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('the answers are alike for users there are and are not, and only those with a verified address get a mail', async () => {
    const { user: unverified } = await kith.user();
    const { user: suspended } = await verified();
    await (await users()).updateUser({ userId: suspended.id, state: UserState.SUSPENDED });
    for (const identifier of [unverified.email, suspended.username, 'nobody', 'nobody@example.org']) {
      const { clientToken } = await auth().requestLoginCode({ identifier });
      expect(clientToken).toMatch(/^[\w-]{43}$/);
      const refusal = await refusalOf(auth().loginWithCode({ identifier, clientToken, code: '12345678' }));
      expect(refusal).toMatchObject(CODE_INVALID);
    }
    await loginCode(kith, (await verified()).user); // those before are done
    expect(await mailsTo(kith, unverified.id)).toEqual([]);
    expect(await mailsTo(kith, suspended.id)).toEqual([]);
  });

  test('a stranger who goes on asking for codes makes none void that another client was mailed, and keeps nobody from one', async () => {
    const { user } = await verified();
    const code = await loginCode(kith, user);
    const stranger = { headers: { 'x-forwarded-for': '192.0.2.77' } };
    for (let minute = 0; minute < 9; minute++) {
      for (let i = 0; i < 2; i++) await auth().requestLoginCode({ identifier: user.username }, stranger);
      await loginCode(kith, (await verified()).user); // those before are done
      kith.clock.offsetMs += MINUTE_MS;
    }
    expect(await mailsTo(kith, user.id)).toHaveLength(1 + 6); // from the sixth on, one an hour
    await use(code);
    await use(await loginCode(kith, user));
  });

  test('a code is good for the client that asked alone, for its user, and for signing in', async () => {
    const [{ user }, { user: other }] = [await verified(), await verified()];
    const code = await loginCode(kith, user);
    const { clientToken } = await auth().requestLoginCode({ identifier: other.username });
    for (const wrong of [{ clientToken }, { clientToken: 'x' }, { identifier: other.username }]) {
      expect(await refusalOf(use({ ...code, ...wrong }))).toMatchObject(CODE_INVALID);
    }
    const reset = { identifier: user.username, code: code.code, newPassword: 'a password never seen before' };
    expect(await refusalOf(auth().resetPassword(reset))).toMatchObject(CODE_INVALID);
    await use(code);
    kith.clock.offsetMs += MINUTE_MS;
    const forReset = await resetCode(kith, user);
    expect(await refusalOf(use({ ...code, code: forReset }))).toMatchObject(CODE_INVALID);
  });

  test.each<[string, (id: string) => Promise<unknown>]>([
    [
      'another email address',
      async (id) => (await users()).updateUser({ userId: id, email: `n${id}@example.org`, emailVerified: true }),
    ],
    ['another password', async (id) => (await users()).setUserPassword({ userId: id, password: `set for ${id}` })],
    [
      'a suspension that was taken back',
      async (userId) => {
        await (await users()).updateUser({ userId, state: UserState.SUSPENDED });
        await (await users()).updateUser({ userId, state: UserState.ACTIVE });
      },
    ],
    [
      'an address that is verified no more',
      async (userId) => (await users()).updateUser({ userId, emailVerified: false }),
    ],
    ['10 minutes', async () => void (kith.clock.offsetMs += 10 * MINUTE_MS)],
  ])('a code is good no more after %s', async (_, happen) => {
    const { user } = await verified();
    const code = await loginCode(kith, user);
    await happen(user.id);
    expect(await refusalOf(use(code))).toMatchObject(CODE_INVALID);
  });

  test('after wrong codes the right one waits its turn', async () => {
    const code = await loginCode(kith, (await verified()).user);
    const wrong = code.code === '0000 0000' ? '00000001' : '00000000';
    for (let i = 0; i < 5; i++) expect(await refusalOf(use({ ...code, code: wrong }))).toMatchObject(CODE_INVALID);
    expect(await refusalOf(use(code))).toMatchObject(CODE_INVALID);
    kith.clock.offsetMs += MINUTE_MS;
    await use(code);
  });

  test('a code is no second factor: that is asked for after it, and takes no code of a mail', async () => {
    const account = await verified();
    const app = await enroll(account);
    const code = await loginCode(kith, account.user);
    const { challengeToken, step } = await challengeOf(auth().loginWithCode(code));
    expect(step).toBe(LoginStep.SECOND_FACTOR);
    for (const answer of [
      { case: 'recoveryCode' as const, value: code.code },
      { case: 'totpCode' as const, value: app.wrong() },
    ]) {
      expect(await refusalOf(auth().completeLogin({ challengeToken, answer }))).toMatchObject({
        reason: 'SECOND_FACTOR_WRONG',
      });
    }
    const answer = { case: 'totpCode' as const, value: app.next() };
    const { accessToken } = await signedIn(auth().completeLogin({ challengeToken, answer }));
    // A mailbox and an app are not two factors: the mailbox is none.
    expect(decodeJwt(accessToken)).toMatchObject({ amr: ['email', 'otp'] });
  });

  test('a password that has to be changed is asked for after a code too', async () => {
    const { user } = await verified();
    const password = `set for ${user.username}`;
    await (await users()).setUserPassword({ userId: user.id, password, mustChangePassword: true });
    const { challengeToken, step } = await challengeOf(auth().loginWithCode(await loginCode(kith, user)));
    expect(step).toBe(LoginStep.NEW_PASSWORD);
    const same = { case: 'newPassword' as const, value: password };
    expect(await refusalOf(auth().completeLogin({ challengeToken, answer: same }))).toMatchObject({
      reason: 'PASSWORD_UNCHANGED',
    });
  });

  test('nothing that is stored signs in', async () => {
    const { user } = await verified();
    const { code, clientToken } = await loginCode(kith, user);
    const dump = await kith.database.dump();
    for (const secret of [code, code.replace(' ', ''), clientToken]) expect(dump).not.toContain(secret);
  });

  test('the client asks for the code, again after a wrong one, and for what comes after it', async () => {
    const account = await verified();
    const app = await enroll(account);
    using client = createKith({ url: kith.address });
    const refusals: unknown[] = [];
    const user = await client.signIn({
      identifier: account.user.email,
      async mailedCode({ error }) {
        refusals.push(error?.reason);
        if (refusals.length === 1) return '0';
        const find = async () => (await mailsTo(kith, account.user.id)).find((mail) => mail.kind === 'login_code');
        await expect.poll(find, { timeout: 30_000 }).toBeDefined();
        return codeIn(kith, (await find())!);
      },
      secondFactor: () => ({ totpCode: app.next() }),
    });
    expect(user.id).toBe(account.user.id);
    expect(refusals).toEqual([undefined, 'MAILED_CODE_INVALID']);
    expect((await client.auth.userMe()).user?.id).toBe(account.user.id);
  });
});

test('nobody signs in with codes where the operator does not let them', async () => {
  await using kith = await startKith({ env: { KITH_LOGIN_CODES: 'false' } });
  const refused = { code: 'FailedPrecondition', reason: 'LOGIN_CODES_OFF' };
  const auth = kith.client(AuthService);
  expect(await refusalOf(auth.requestLoginCode({ identifier: 'admin' }))).toMatchObject(refused);
  const code = { identifier: 'admin', clientToken: 'x', code: '12345678' };
  expect(await refusalOf(auth.loginWithCode(code))).toMatchObject(refused);
});
