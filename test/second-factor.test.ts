import { decodeJwt } from 'jose';
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService, LoginMethod, LoginStep } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from './support/authenticator.ts';
import { findCommand, needCommand } from './support/commands.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { type Kith, refusalOf, type SignedIn, startKith } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { challengeOf, refreshed, signedIn } from './support/sign-in.ts';
import {
  CHALLENGE_INVALID,
  CREDENTIALS_INVALID,
  FRESH_SIGN_IN_REQUIRED,
  SESSION_ENDED,
  SESSION_REQUIRED,
  TOTP_CODE_WRONG,
} from './support/refusals.ts';
import { patternOf, runSteps, sectionOf, stepsOf } from './support/tour.ts';

const MINUTE_MS = 60_000;

const CHALLENGE_STEP_WRONG = { code: 'InvalidArgument', reason: 'CHALLENGE_STEP_WRONG' };
const SECOND_FACTOR_WRONG = { code: 'Unauthenticated', reason: 'SECOND_FACTOR_WRONG' };

interface Protected extends SignedIn {
  readonly app: Authenticator;
  readonly recoveryCodes: readonly string[];
}

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase;
  let servers: Kith[] = [];
  let kith: Kith;

  /** Starts as many as one database has: one process serves a file. */
  async function start(instances = 1): Promise<void> {
    database = await kind.create();
    const count = kind === databases[0] ? 1 : instances;
    // Tests let minutes pass: none of them is about when an access token expires, a sign-in is fresh no more
    // or too many fail from an address.
    const env = {
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      KITH_FRESH_SIGN_IN_SECONDS: '3600',
      KITH_SIGN_IN_FAILURES_PER_ADDRESS: '1000000',
    };
    servers = [await startKith({ database, env })];
    while (servers.length < count) servers.push(await startKith({ database, env }));
    kith = servers[0]!;
  }
  afterEach(async () => {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    servers = [];
    const faults = await database.faults();
    await database[Symbol.asyncDispose]();
    if (faults.length > 0) throw new Error(faults.join('\n'));
  });

  const auth = (accessToken?: string, on = kith) => on.client(AuthService, accessToken);
  const factor = (accessToken: string) => kith.client(SecondFactorService, accessToken);
  const users = async () => kith.client(UserService, (await kith.admin()).accessToken);
  const login = ({ user, password }: SignedIn, on = kith) =>
    auth(undefined, on).login({ identifier: user.username, password });

  async function protect(who: SignedIn): Promise<Protected> {
    const app = new Authenticator((await factor(who.accessToken).enrollTotp({})).uri, kith.clock);
    const { recoveryCodes } = await factor(who.accessToken).confirmTotp({ code: app.next() });
    return { ...who, app, recoveryCodes };
  }

  /** The token of the challenge that the password is answered with. */
  async function challenge(who: SignedIn): Promise<string> {
    return (await challengeOf(login(who))).challengeToken;
  }

  const complete = (challengeToken: string, totpCode: string, on = kith) =>
    signedIn(auth(undefined, on).completeLogin({ challengeToken, answer: { case: 'totpCode', value: totpCode } }));
  const recover = (challengeToken: string, recoveryCode: string, on = kith) =>
    signedIn(
      auth(undefined, on).completeLogin({ challengeToken, answer: { case: 'recoveryCode', value: recoveryCode } }),
    );

  test('codes are taken as apps and people write them, in groups, and none counts as a wrong one', async () => {
    await start();
    const { accessToken, ...who } = await kith.user();
    const app = new Authenticator((await factor(accessToken).enrollTotp({})).uri, kith.clock);
    const grouped = (separator: string) => app.next().replace(/^.../, `$&${separator}`);
    const { recoveryCodes } = await factor(accessToken).confirmTotp({ code: grouped(' ') });
    // More than are free before a wrong one takes a wait.
    for (const separator of [' ', '-', '\u00A0', '\u3000', '\u2009', '\u2013']) {
      const { user } = await complete(await challenge({ accessToken, ...who }), `${grouped(separator)}${separator}`);
      expect(user).toMatchObject({ id: who.user.id });
    }
    for (const spelled of [
      recoveryCodes[0]!.replaceAll('-', ' '),
      recoveryCodes[1]!.replaceAll('-', '').toUpperCase(),
      ` ${recoveryCodes[2]!.replaceAll('-', '\u2013')}\u00A0`,
    ]) {
      const { user } = await recover(await challenge({ accessToken, ...who }), spelled);
      expect(user).toMatchObject({ id: who.user.id });
    }
    const nothing = await refusalOf(recover(await challenge({ accessToken, ...who }), ' - '));
    expect(nothing).toMatchObject({ code: 'InvalidArgument', reason: 'FIELDS_INVALID' });
  });

  test('a user enrols, signs in with the app, then with a recovery code, and is reset by an admin', async () => {
    await start();
    const call = async (method: string, body: object, token?: string) => {
      const response = await fetch(`${kith.address}/kith.auth.v1.${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: await response.json() };
    };
    const { user, password } = await kith.user();
    const signIn = { identifier: user.username, password };
    const { accessToken: first } = (await call('AuthService/Login', signIn)).body.signedIn.tokens;

    const enrolment = await call('SecondFactorService/EnrollTotp', {}, first);
    expect(enrolment).toEqual({
      status: 200,
      body: { secret: expect.any(String), uri: expect.any(String), expireTime: expect.any(String) },
    });
    const app = new Authenticator(enrolment.body.uri, kith.clock);
    const confirmed = await call('SecondFactorService/ConfirmTotp', { code: app.next() }, first);
    expect(confirmed.body.recoveryCodes).toHaveLength(10);

    const asked = await call('AuthService/Login', signIn);
    expect(asked).toEqual({
      status: 200,
      body: {
        challenge: {
          challengeToken: expect.any(String),
          step: 'LOGIN_STEP_SECOND_FACTOR',
          methods: ['LOGIN_METHOD_TOTP_CODE', 'LOGIN_METHOD_RECOVERY_CODE'],
          expireTime: expect.any(String),
        },
      },
    });
    const { challengeToken } = asked.body.challenge;
    const wrong = await call('AuthService/CompleteLogin', { challengeToken, totpCode: app.wrong() });
    expect(wrong).toMatchObject({
      status: 401,
      body: { code: 'unauthenticated', details: [{ debug: { reason: 'ERROR_REASON_SECOND_FACTOR_WRONG' } }] },
    });
    const second = (await call('AuthService/CompleteLogin', { challengeToken, totpCode: app.next() })).body.signedIn;
    expect(second.user.id).toBe(user.id);
    expect(decodeJwt(second.tokens.accessToken)['amr']).toEqual(['pwd', 'otp', 'mfa']);

    const again = (await call('AuthService/Login', signIn)).body.challenge;
    const recoveryCode = confirmed.body.recoveryCodes[0].toUpperCase().replaceAll('-', ' ');
    const recovered = await call('AuthService/CompleteLogin', { challengeToken: again.challengeToken, recoveryCode });
    const third = recovered.body.signedIn.tokens.accessToken;
    expect(decodeJwt(third)['amr']).toEqual(['pwd', 'mfa']);
    expect(decodeJwt(first)['amr']).toEqual(['pwd']);

    const sessions = await call('SessionService/ListSessions', { userId: user.id }, first);
    expect(sessions.body.sessions.map(({ methods }: { methods: string[] }) => methods)).toEqual([
      ['SIGN_IN_METHOD_PASSWORD', 'SIGN_IN_METHOD_RECOVERY_CODE'],
      ['SIGN_IN_METHOD_PASSWORD', 'SIGN_IN_METHOD_TOTP'],
      ['SIGN_IN_METHOD_PASSWORD'],
    ]);

    const { accessToken: admin } = await kith.admin();
    expect(await call('SecondFactorService/ResetSecondFactor', { userId: user.id }, admin)).toEqual({
      status: 200,
      body: {},
    });
    for (const token of [first, second.tokens.accessToken, third]) {
      expect(await call('AuthService/UserMe', {}, token)).toMatchObject({ status: 401 });
    }
    const last = (await call('AuthService/Login', signIn)).body.signedIn;
    expect(decodeJwt(last.tokens.accessToken)['amr']).toEqual(['pwd']);
  });

  test('a refreshed token tells of the second factor as the first did', async () => {
    await start();
    const who = await protect(await kith.user());
    const { refreshToken } = await complete(await challenge(who), who.app.next());
    const { accessToken } = await refreshed(auth().refreshAccessToken({ refreshToken }));
    expect(decodeJwt(accessToken)['amr']).toEqual(['pwd', 'otp', 'mfa']);
  });

  test('a challenge gives nothing away, and is good for nothing but its step', async () => {
    await start();
    const who = await protect(await kith.user());
    const { challengeToken, step, methods } = await challengeOf(login(who));
    expect(step).toBe(LoginStep.SECOND_FACTOR);
    expect(methods).toEqual([LoginMethod.TOTP_CODE, LoginMethod.RECOVERY_CODE]);
    const bearer = await refusalOf(auth(challengeToken).userMe({}));
    expect(bearer).toMatchObject({ code: 'Unauthenticated', reason: 'ACCESS_TOKEN_INVALID' });
    const refresh = await refusalOf(auth().refreshAccessToken({ refreshToken: challengeToken.slice(0, 256) }));
    expect(refresh).toMatchObject({ reason: 'REFRESH_TOKEN_INVALID' });
    const answerTo = { challengeToken, answer: { case: 'newPassword' as const, value: 'another password' } };
    expect(await refusalOf(auth().completeLogin(answerTo))).toMatchObject(CHALLENGE_STEP_WRONG);
    await complete(challengeToken, who.app.next());
  });

  test('a challenge names the answers that are accepted, recovery codes as long as there are any', async () => {
    await start();
    const who = await protect(await kith.user());
    for (const code of who.recoveryCodes) {
      const { challengeToken, methods } = await challengeOf(login(who));
      expect(methods).toEqual([LoginMethod.TOTP_CODE, LoginMethod.RECOVERY_CODE]);
      await recover(challengeToken, code);
    }
    expect((await challengeOf(login(who))).methods).toEqual([LoginMethod.TOTP_CODE]);
  });

  test('a wrong password is refused alike with a second factor and without', async () => {
    await start();
    const [plain, who] = [await kith.user(), await protect(await kith.user())];
    const refusals = [];
    for (const { user } of [plain, who]) {
      refusals.push(await refusalOf(auth().login({ identifier: user.username, password: 'not the password' })));
    }
    expect(refusals[0]).toMatchObject(CREDENTIALS_INVALID);
    expect(refusals[1]).toEqual(refusals[0]);
  });

  describe('CompleteLogin refuses', () => {
    test('a code that was used, of the app or for recovery, in the words of a wrong one', async () => {
      await start();
      const who = await protect(await kith.user());
      const code = who.app.next();
      await complete(await challenge(who), code);
      const used = await refusalOf(complete(await challenge(who), code));
      await recover(await challenge(who), who.recoveryCodes[0]!);
      const recovered = await refusalOf(recover(await challenge(who), who.recoveryCodes[0]!));
      const wrong = await refusalOf(complete(await challenge(who), who.app.wrong()));
      expect(used).toMatchObject(SECOND_FACTOR_WRONG);
      expect([recovered, wrong]).toEqual([used, used]);
    });

    test('the code that confirmed the app', async () => {
      await start();
      const { accessToken, ...who } = await kith.user();
      const app = new Authenticator((await factor(accessToken).enrollTotp({})).uri, kith.clock);
      const code = app.code();
      await factor(accessToken).confirmTotp({ code });
      const token = await challenge({ ...who, accessToken });
      expect(await refusalOf(complete(token, code))).toMatchObject(SECOND_FACTOR_WRONG);
    });

    test('codes of another user, and the challenge of another user with the own code', async () => {
      await start();
      const [who, other] = [await protect(await kith.user()), await protect(await kith.user())];
      const token = await challenge(who);
      expect(await refusalOf(complete(token, other.app.next()))).toMatchObject(SECOND_FACTOR_WRONG);
      expect(await refusalOf(recover(token, other.recoveryCodes[0]!))).toMatchObject(SECOND_FACTOR_WRONG);
    });

    test('a code of the app as a recovery code, and the other way round', async () => {
      await start();
      const who = await protect(await kith.user());
      const token = await challenge(who);
      expect(await refusalOf(recover(token, who.app.next()))).toMatchObject(SECOND_FACTOR_WRONG);
      expect(await refusalOf(complete(token, who.recoveryCodes[0]!))).toMatchObject({ reason: 'FIELDS_INVALID' });
    });

    test.each([
      ['suspended', async (id: string) => (await users()).updateUser({ userId: id, state: UserState.SUSPENDED })],
      ['deleted', async (id: string) => (await users()).deleteUser({ userId: id })],
    ])('a right code of a user who was %s since the password', async (_, end) => {
      await start();
      const who = await protect(await kith.user());
      const token = await challenge(who);
      await end(who.user.id);
      expect(await refusalOf(complete(token, who.app.next()))).toMatchObject(CHALLENGE_INVALID);
      expect(await refusalOf(recover(token, who.recoveryCodes[0]!))).toMatchObject(CHALLENGE_INVALID);
    });

    test('a right code after the password was changed, and after ten minutes', async () => {
      await start();
      const who = await protect(await kith.user());
      const early = await challenge(who);
      const newPassword = `new ${who.password}`;
      await auth(who.accessToken).changePassword({ currentPassword: who.password, newPassword });
      expect(await refusalOf(complete(early, who.app.next()))).toMatchObject(CHALLENGE_INVALID);
      const token = await challenge({ ...who, password: newPassword });
      kith.clock.offsetMs += 10 * MINUTE_MS;
      expect(await refusalOf(complete(token, who.app.next()))).toMatchObject(CHALLENGE_INVALID);
    });

    test('every code after the second factor was disabled, and of the app of before after enrolling anew', async () => {
      await start();
      const who = await protect(await kith.user());
      const token = await challenge(who);
      await factor(who.accessToken).disableTotp({});
      const code = await refusalOf(complete(token, who.app.next()));
      const recovery = await refusalOf(recover(token, who.recoveryCodes[0]!));
      for (const refusal of [code, recovery]) expect(refusal.code).toBe('Unauthenticated');
      const { recoveryCodes, app } = await protect(who);
      const next = await challenge(who);
      expect(await refusalOf(complete(next, who.app.next()))).toMatchObject(SECOND_FACTOR_WRONG);
      expect(await refusalOf(recover(next, who.recoveryCodes[1]!))).toMatchObject(SECOND_FACTOR_WRONG);
      expect(recoveryCodes).toHaveLength(10);
      await complete(next, app.next());
    });
  });

  test('sign-ins that are under way while the app is confirmed end with a challenge or with an ended session', async () => {
    await start();
    const who = await kith.user();
    const app = new Authenticator((await factor(who.accessToken).enrollTotp({})).uri, kith.clock);
    const signIns = Array.from({ length: 8 }, () => login(who));
    const [, ...answers] = await Promise.all([factor(who.accessToken).confirmTotp({ code: app.code() }), ...signIns]);
    for (const { outcome } of answers) {
      if (outcome.case !== 'signedIn') continue;
      expect(await refusalOf(auth(outcome.value.tokens!.accessToken).userMe({}))).toMatchObject(SESSION_ENDED);
    }
    await challengeOf(login(who));
  });

  describe('too many wrong codes', () => {
    const miss = async (who: Protected, times: number) => {
      for (let i = 0; i < times; i++) {
        expect(await refusalOf(complete(await challenge(who), who.app.wrong()))).toMatchObject(SECOND_FACTOR_WRONG);
      }
    };

    /** Until the longest wait begins, five minutes, so that a slow machine does not sit a shorter one out. */
    const missOften = async (who: Protected) => {
      await miss(who, 4);
      for (let waited = 0; waited < 6; waited++) {
        await miss(who, 1);
        if (waited < 5) kith.clock.offsetMs += 5 * MINUTE_MS;
      }
    };

    test('shut out right ones for a while, of the app and for recovery, in the same words', async () => {
      await start();
      const [who, other] = [await protect(await kith.user()), await protect(await kith.user())];
      const wrong = await refusalOf(complete(await challenge(who), who.app.wrong()));
      await missOften(who);
      const code = who.app.next();
      expect(await refusalOf(complete(await challenge(who), code))).toEqual(wrong);
      expect(await refusalOf(recover(await challenge(who), who.recoveryCodes[0]!))).toEqual(wrong);
      await complete(await challenge(other), other.app.next());
      kith.clock.offsetMs += 5 * MINUTE_MS;
      await recover(await challenge(who), who.recoveryCodes[0]!);
      await complete(await challenge(who), who.app.next());
    });

    test('do not keep anybody from the password, nor wrong passwords from the code', async () => {
      await start();
      const who = await protect(await kith.user());
      await miss(who, 6);
      const token = await challenge(who);
      for (let i = 0; i < 6; i++) {
        await refusalOf(auth().login({ identifier: who.user.username, password: 'not the password' }));
      }
      kith.clock.offsetMs += 5 * MINUTE_MS;
      expect((await complete(token, who.app.next())).user).toMatchObject({ id: who.user.id });
    });

    test('are forgiven by a right one', async () => {
      await start();
      const who = await protect(await kith.user());
      for (let round = 0; round < 3; round++) {
        await miss(who, 3);
        expect((await complete(await challenge(who), who.app.next())).user).toMatchObject({ id: who.user.id });
      }
    });

    // CWE-307.
    test('throttling skipped on another path: wrong codes for ConfirmTotp count as wrong codes for sign-ins do', async () => {
      await start();
      const who = await protect(await kith.user());
      await missOften(who);
      await factor(who.accessToken).disableTotp({});
      const app = new Authenticator((await factor(who.accessToken).enrollTotp({})).uri, kith.clock);
      const confirm = () => factor(who.accessToken).confirmTotp({ code: app.code() });
      expect(await refusalOf(confirm())).toMatchObject(TOTP_CODE_WRONG);
      kith.clock.offsetMs += 5 * MINUTE_MS;
      await confirm();
    });
  });

  // CWE-362.
  test('refresh or one-time-code race: of twelve sign-ins with one code at once, on all instances, one succeeds', async () => {
    await start(3);
    for (const answer of [complete, recover]) {
      const who = await protect(await kith.user());
      const code = answer === complete ? who.app.next() : who.recoveryCodes[0]!;
      const tokens = await Promise.all(Array.from({ length: 12 }, () => challenge(who)));
      const outcomes = await Promise.allSettled(
        tokens.map((token, i) => answer(token, code, servers[i % servers.length])),
      );
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      expect(refused).toHaveLength(11);
      for (const { reason } of refused) {
        expect(await refusalOf(Promise.reject(reason as Error))).toMatchObject(SECOND_FACTOR_WRONG);
      }
      const { sessions } = await kith.client(SessionService, who.accessToken).listSessions({ userId: who.user.id });
      expect(sessions).toHaveLength(2); // the one that confirmed the app, and the one of the code
    }
  });

  test('an API key changes no second factor, its owner’s least of all', async () => {
    await start();
    const admin = await kith.user(Role.ADMIN);
    const who = await protect(await kith.user());
    const { secret } = await kith
      .client(ApiKeyService, admin.accessToken)
      .createApiKey({ name: 'robot', permissions: [Permission.CREDENTIALS_WRITE, Permission.ROLES_WRITE] });
    const client = factor(secret);
    for (const call of [
      () => client.getSecondFactor({}),
      () => client.enrollTotp({}),
      () => client.confirmTotp({ code: '123456' }),
      () => client.disableTotp({}),
      () => client.replaceRecoveryCodes({}),
    ]) {
      expect(await refusalOf(call())).toMatchObject(SESSION_REQUIRED);
    }
    const reset = () => client.resetSecondFactor({ userId: who.user.id });
    expect(await refusalOf(reset())).toMatchObject(FRESH_SIGN_IN_REQUIRED);
  });
});

test('the tour of docs/second-factor.md runs as printed', { timeout: 60_000 }, async (context) => {
  const bash = needCommand(context, 'bash');
  needCommand(context, 'curl');
  const node = findCommand('node')!;
  const tour = sectionOf(readFileSync('docs/second-factor.md', 'utf8'), '## A tour with curl');
  const [, password] = /"identifier": "admin", "password": "([^"]+)"/.exec(tour)!;
  await using kith = await startProcess({ env: { KITH_ADMIN_PASSWORD: password! } });
  const steps = stepsOf(tour.replaceAll('http://localhost:8080', kith.address));
  // An oathtool that gives the next code each time, as if it had been waited for.
  const oathtool = `oathtool() { "${node}" --input-type=module-typescript --eval "${OATHTOOL}" "$3" "$(wc -l <"$USED")"; echo >>"$USED"; }\nUSED=$(mktemp)\ntrap 'rm "$USED"' EXIT\n`;
  const [first, ...others] = steps;
  const { code, outputs, stderr } = await runSteps(bash, [
    { ...first!, commands: oathtool + first!.commands },
    ...others,
  ]);
  expect({ code, steps: outputs.length, stderr }).toEqual({ code: 0, steps: steps.length, stderr: '' });
  for (const [i, { line, expected = '' }] of steps.entries()) {
    expect.soft(outputs[i], `docs/second-factor.md:${line}`).toMatch(patternOf(expected));
  }
});

const OATHTOOL = `
import { Authenticator } from './test/support/authenticator.ts';
const [secret, away] = process.argv.slice(1);
console.log(new Authenticator('otpauth://totp/?secret=' + secret, { offsetMs: 0 }).code(Number(away)));
`;
