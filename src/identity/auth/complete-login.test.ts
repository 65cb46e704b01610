import { timestampMs } from '@bufbuild/protobuf/wkt';
import { decodeJwt } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { AuthService, LoginMethod, LoginStep } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService, SignInMethod } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from '../../../test/support/authenticator.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn } from '../../../test/support/kith.ts';
import { startOn } from '../../../test/support/stored.ts';
import { challengeOf, signedIn } from '../../../test/support/sign-in.ts';
import { CHALLENGE_INVALID, SESSION_ENDED } from '../../../test/support/refusals.ts';

const MINUTE_MS = 60_000;
const NEW = 'a password of their own';

// Second factors have tests of their own: test/second-factor.test.ts.
describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } });
  });
  afterEach(() => {
    kith.clock.offsetMs = 0;
  });
  afterAll(async () => {
    const faults = await kith.database.faults();
    await kith[Symbol.asyncDispose]();
    if (faults.length > 0) throw new Error(faults.join('\n'));
  });

  const auth = (accessToken?: string) => kith.client(AuthService, accessToken);
  const users = async () => kith.client(UserService, (await kith.admin()).accessToken);
  const login = (who: Pick<SignedIn, 'user' | 'password'>) =>
    auth().login({ identifier: who.user.username, password: who.password });
  const challenge = async (who: Pick<SignedIn, 'user' | 'password'>) => (await challengeOf(login(who))).challengeToken;
  const choose = (challengeToken: string, newPassword = NEW) =>
    auth().completeLogin({ challengeToken, answer: { case: 'newPassword', value: newPassword } });
  const enter = (challengeToken: string, totpCode: string) =>
    auth().completeLogin({ challengeToken, answer: { case: 'totpCode', value: totpCode } });

  /** A user whose password an admin has set. */
  async function reset(who: SignedIn): Promise<SignedIn> {
    const password = `set for ${who.user.username}`;
    await (await users()).setUserPassword({ userId: who.user.id, password, mustChangePassword: true });
    return { ...who, password };
  }
  async function protect(who: SignedIn): Promise<Authenticator> {
    const factor = kith.client(SecondFactorService, who.accessToken);
    const app = new Authenticator((await factor.enrollTotp({})).uri, kith.clock);
    await factor.confirmTotp({ code: app.next() });
    return app;
  }

  test.each<[string, (id: string) => Promise<unknown>]>([
    [
      'suspended and reinstated',
      async (id) => {
        await (await users()).updateUser({ userId: id, state: UserState.SUSPENDED });
        await (await users()).updateUser({ userId: id, state: UserState.ACTIVE });
      },
    ],
    [
      'deleted and undeleted',
      async (id) => {
        await (await users()).deleteUser({ userId: id });
        await (await users()).undeleteUser({ userId: id });
      },
    ],
  ])('a sign-in on its way is over when its user was %s meanwhile', async (_, change) => {
    const who = await reset(await kith.user());
    const token = await challenge(who);
    await change(who.user.id);
    expect(await refusalOf(choose(token))).toMatchObject(CHALLENGE_INVALID);
    expect((await signedIn(choose(await challenge(who)))).accessToken).not.toBe('');
  });

  test('a new password signs in, and takes the place of the one that had to be changed', async () => {
    const who = await reset(await kith.user());
    const asked = await challengeOf(login(who));
    expect(asked).toMatchObject({ step: LoginStep.NEW_PASSWORD, methods: [LoginMethod.NEW_PASSWORD] });
    const { accessToken, refreshToken, user } = await signedIn(choose(asked.challengeToken));
    expect((await auth(accessToken).userMe({})).user).toEqual(user);
    await auth().refreshAccessToken({ refreshToken });
    expect(await refusalOf(login(who))).toMatchObject({ reason: 'CREDENTIALS_INVALID' });
    await signedIn(login({ ...who, password: NEW }));
  });

  test('the second factor comes before the new password, and both are told of', async () => {
    const somebody = await kith.user();
    const app = await protect(somebody);
    const who = await reset(somebody);
    const first = await challengeOf(login(who));
    expect(first).toMatchObject({ step: LoginStep.SECOND_FACTOR });
    const second = await challengeOf(enter(first.challengeToken, app.next()));
    expect(second).toMatchObject({ step: LoginStep.NEW_PASSWORD, methods: [LoginMethod.NEW_PASSWORD] });
    expect(second.expireTime).toEqual(first.expireTime);
    const { accessToken } = await signedIn(choose(second.challengeToken));
    expect(decodeJwt(accessToken)['amr']).toEqual(expect.arrayContaining(['pwd', 'otp', 'mfa']));
    const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: who.user.id });
    expect(sessions.map(({ methods }) => methods)).toEqual([[SignInMethod.PASSWORD, SignInMethod.TOTP]]);
  });

  test('the password alone does not set another past the second factor', async () => {
    const somebody = await kith.user();
    await protect(somebody);
    const who = await reset(somebody);
    expect(await refusalOf(choose(await challenge(who)))).toMatchObject({
      code: 'InvalidArgument',
      reason: 'CHALLENGE_STEP_WRONG',
      metadata: { step: 'LOGIN_STEP_SECOND_FACTOR' },
    });
    expect(await challengeOf(login(who))).toMatchObject({ step: LoginStep.SECOND_FACTOR });
  });

  test('a challenge is told with its end, ten minutes later', async () => {
    const who = await reset(await kith.user());
    const beforeMs = Date.now();
    const told = await challengeOf(login(who));
    const expireMs = timestampMs(told.expireTime!);
    expect(expireMs).toBeGreaterThanOrEqual(beforeMs + 10 * MINUTE_MS);
    expect(expireMs).toBeLessThanOrEqual(Date.now() + 10 * MINUTE_MS);
    kith.clock.offsetMs += expireMs - Date.now();
    expect(await refusalOf(choose(told.challengeToken))).toMatchObject(CHALLENGE_INVALID);
    await login(who);
  });

  test('a sign-in that ends with a challenge is none: no session, no last sign-in, no event of one', async () => {
    const who = await reset(await kith.user());
    const state = async () => {
      const { lastSignInTime } = await (await users()).getUserDetails({ userId: who.user.id });
      const { accessToken } = await kith.admin();
      const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: who.user.id });
      const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId: who.user.id });
      return { lastSignInTime, sessions, actions: activities.map(({ action }) => action) };
    };
    const before = await state();
    await login(who);
    expect(await state()).toEqual(before);
    await choose(await challenge(who));
    const after = await state();
    expect(timestampMs(after.lastSignInTime!)).toBeGreaterThan(timestampMs(before.lastSignInTime!));
    expect(after.actions.slice(0, 2)).toEqual(['kith.session.started', 'kith.password.changed']);
  });

  describe('a new password', () => {
    test.each([
      ['the one that has to be changed', 'PASSWORD_UNCHANGED', (who: SignedIn) => who.password],
      ['the username', 'PASSWORD_IS_IDENTIFIER', (who: SignedIn) => who.user.username.toUpperCase()],
      ['the email address', 'PASSWORD_IS_IDENTIFIER', (who: SignedIn) => who.user.email],
      ['one that is guessed first', 'PASSWORD_TOO_COMMON', () => 'password123'],
      ['of seven characters', 'FIELDS_INVALID', () => 'seven c'],
      ['of 129 characters', 'FIELDS_INVALID', () => 'x'.repeat(129)],
      ['with a tab', 'FIELDS_INVALID', () => 'a new\tpassword'],
      ['of nothing', 'FIELDS_INVALID', () => ''],
    ])('that is %s is refused: %s; and the challenge stays good', async (_, reason, password) => {
      const who = await reset(await kith.user());
      const token = await challenge(who);
      expect(await refusalOf(choose(token, password(who)))).toMatchObject({ code: 'InvalidArgument', reason });
      await choose(token);
    });

    test('ends what was signed in, and challenges of before lead nowhere', async () => {
      const who = await reset(await kith.user());
      const [token, other] = [await challenge(who), await challenge(who)];
      const { accessToken } = await signedIn(choose(token));
      for (const used of [token, other]) expect(await refusalOf(choose(used))).toMatchObject(CHALLENGE_INVALID);
      expect(await refusalOf(auth(who.accessToken).userMe({}))).toMatchObject(SESSION_ENDED);
      await auth(accessToken).userMe({});
    });

    test('is set once when several come at once', async () => {
      const who = await reset(await kith.user());
      const token = await challenge(who);
      const passwords = Array.from({ length: 5 }, (_, i) => `${NEW} ${i}`);
      const outcomes = await Promise.allSettled(passwords.map((password) => choose(token, password)));
      const won = passwords.filter((_, i) => outcomes[i]!.status === 'fulfilled');
      expect(won).toHaveLength(1);
      const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
      for (const { reason } of lost) {
        expect(await refusalOf(Promise.reject(reason as Error))).toMatchObject(CHALLENGE_INVALID);
      }
      await login({ ...who, password: won[0]! });
    });
  });

  describe('a challenge is refused', () => {
    test.each([
      [
        'after the user was suspended',
        async (id: string) => (await users()).updateUser({ userId: id, state: UserState.SUSPENDED }),
      ],
      ['after the user was deleted', async (id: string) => (await users()).deleteUser({ userId: id })],
      [
        'after the user was suspended and came back',
        async (id: string) => {
          await (await users()).updateUser({ userId: id, state: UserState.SUSPENDED });
          await (await users()).updateUser({ userId: id, state: UserState.ACTIVE });
        },
      ],
      [
        'after another password was set',
        async (id: string) =>
          (await users()).setUserPassword({ userId: id, password: 'yet another password', mustChangePassword: true }),
      ],
    ])('%s', async (_, change) => {
      const who = await reset(await kith.user());
      const token = await challenge(who);
      await change(who.user.id);
      expect(await refusalOf(choose(token))).toMatchObject(CHALLENGE_INVALID);
    });

    test('after an admin took away the second factor that it asks for, and the next sign-in takes none', async () => {
      const who = await kith.user();
      const app = await protect(who);
      const token = await challenge(who);
      const { accessToken } = await kith.admin();
      await kith.client(SecondFactorService, accessToken).resetSecondFactor({ userId: who.user.id });
      expect(await refusalOf(enter(token, app.next()))).toMatchObject(CHALLENGE_INVALID);
      await signedIn(login(who));
    });

    test.each([
      ['nothing that Kith wrote', () => 'a challenge'],
      ['a refresh token', (_: string, { refreshToken }: SignedIn) => refreshToken],
      ['an access token', (_: string, { accessToken }: SignedIn) => accessToken.slice(0, 1024)],
      ['the token with its end missing', (token: string) => token.slice(0, -1)],
      ['the token with a blank behind', (token: string) => `${token} `],
      ['the token with other methods', (token: string) => flipped(token, 32)],
      ['the token of another user', (token: string) => flipped(token, 0)],
      ['the token with a later end', (token: string) => flipped(token, 27)],
    ])('when it is %s', async (_, forge) => {
      const who = await reset(await kith.user());
      const token = await challenge(who);
      expect(await refusalOf(choose(forge(token, who)))).toMatchObject(CHALLENGE_INVALID);
      await choose(token);
    });

    test.each([
      ['no answer', {}, ''],
      ['a code of five digits', { totpCode: '12345' }, 'x'],
      ['a code with a letter', { totpCode: '12345a' }, 'x'],
      ['a recovery code of 65', { recoveryCode: 'x'.repeat(65) }, 'x'],
      ['a token of 1025', { totpCode: '123456' }, 'x'.repeat(1025)],
      ['no token', { totpCode: '123456' }, ''],
    ])('by its fields: %s', async (_, answer, challengeToken) => {
      const response = await fetch(`${kith.address}/kith.auth.v1.AuthService/CompleteLogin`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ challengeToken, ...answer }),
      });
      expect({ status: response.status, body: await response.json() }).toMatchObject({
        status: 400,
        body: { code: 'invalid_argument' },
      });
    });
  });

  test('the answer to another step than the challenge asks for is refused, and uses nothing up', async () => {
    const who = await reset(await kith.user());
    const token = await challenge(who);
    for (const answer of [
      { case: 'totpCode', value: '123456' } as const,
      { case: 'recoveryCode', value: '1k7q-x0bd-m3ve' } as const,
    ]) {
      expect(await refusalOf(auth().completeLogin({ challengeToken: token, answer }))).toMatchObject({
        code: 'InvalidArgument',
        reason: 'CHALLENGE_STEP_WRONG',
        metadata: { step: 'LOGIN_STEP_NEW_PASSWORD' },
      });
    }
    await choose(token);
  });

  test('a challenge token is no access token, and no refresh token', async () => {
    const token = await challenge(await reset(await kith.user()));
    expect(await refusalOf(auth(token).userMe({}))).toMatchObject({ reason: 'ACCESS_TOKEN_INVALID' });
    expect(await refusalOf(auth().refreshAccessToken({ refreshToken: token }))).toMatchObject({
      reason: 'REFRESH_TOKEN_INVALID',
    });
  });

  test('a wrong code is told of in the activity of the user, and a wrong current password too', async () => {
    const who = await kith.user();
    const app = await protect(who);
    await refusalOf(enter(await challenge(who), app.wrong()));
    await refusalOf(auth(who.accessToken).changePassword({ currentPassword: 'not it', newPassword: NEW }));
    const told = async () => {
      const { activities } = await kith
        .client(ActivityService, who.accessToken)
        .listUserActivity({ userId: who.user.id });
      return activities.map(({ action, actorId, attributes }) => ({ action, actorId, attributes }));
    };
    await expect.poll(told, { timeout: 20_000 }).toEqual(
      expect.arrayContaining([
        { action: 'kith.sign_in.failed', actorId: '', attributes: { step: 'second_factor' } },
        { action: 'kith.password.change_failed', actorId: who.user.id, attributes: {} },
      ]),
    );
  });
});

/** The token with one bit of its n-th byte changed. */
function flipped(token: string, byte: number): string {
  const prefix = 'kith_lc_';
  const bytes = Buffer.from(token.slice(prefix.length), 'base64url');
  bytes[byte]! ^= 2;
  return prefix + bytes.toString('base64url');
}
