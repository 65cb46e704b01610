import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission } from '../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { ImportConflict, UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from '../../test/support/authenticator.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn, startKith } from '../../test/support/kith.ts';
import { mailsTo, readMail, resetCode } from '../../test/support/outbox.ts';
import { NOTICES_PER_HOUR } from './notices.ts';

const HOUR_MS = 60 * 60 * 1000;

/** Adds an authenticator app. */
async function enroll(kith: Kith, { accessToken }: SignedIn): Promise<Authenticator> {
  const secondFactor = kith.client(SecondFactorService, accessToken);
  const app = new Authenticator((await secondFactor.enrollTotp({})).uri, kith.clock);
  await secondFactor.confirmTotp({ code: app.next() });
  return app;
}

/** Signs in as another program does, without the second factor. */
async function logInAs(kith: Kith, { user, password }: Pick<SignedIn, 'user' | 'password'>, userAgent: string) {
  const response = await fetch(`${kith.address}/kith.auth.v1.AuthService/Login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'user-agent': userAgent },
    body: JSON.stringify({ identifier: user.username, password }),
  });
  return response.status;
}

const createKey = (kith: Kith, { accessToken }: SignedIn) =>
  kith.client(ApiKeyService, accessToken).createApiKey({ name: 'key', permissions: [Permission.CONTACTS_READ] });

const setPassword = async (
  kith: Kith,
  { user }: Pick<SignedIn, 'user'>,
  password: string,
  mustChangePassword = false,
) => {
  const { accessToken } = await kith.admin();
  const users = kith.client(UserService, accessToken);
  await users.setUserPassword({ userId: user.id, password, mustChangePassword });
};

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({ database: await kind.create() });
  });
  afterAll(async () => {
    await kith.stop();
    await kith.database[Symbol.asyncDispose]();
  });
  const kindsTo = async ({ user }: Pick<SignedIn, 'user'>) => (await mailsTo(kith, user.id)).map((mail) => mail.kind);

  test.each<[string, string[], (who: SignedIn) => Promise<unknown>]>([
    [
      'a password that they change',
      ['password_changed'],
      ({ accessToken, password }) =>
        kith.client(AuthService, accessToken).changePassword({ currentPassword: password, newPassword: 'another one' }),
    ],
    ['a password that an administrator sets', ['password_changed'], (who) => setPassword(kith, who, 'of an admin')],
    [
      'a password that they set as a step of a sign-in',
      ['password_changed', 'password_changed'],
      async (who) => {
        await setPassword(kith, who, 'of an admin', true);
        const auth = kith.client(AuthService);
        const { outcome } = await auth.login({ identifier: who.user.username, password: 'of an admin' });
        const { challengeToken = '' } = outcome.case === 'challenge' ? outcome.value : {};
        await auth.completeLogin({ challengeToken, answer: { case: 'newPassword', value: 'of their own' } });
      },
    ],
    [
      'a password that they reset',
      ['password_changed', 'password_reset'],
      async ({ user }) => {
        const code = await resetCode(kith, user);
        await kith
          .client(AuthService)
          .resetPassword({ identifier: user.username, code, newPassword: 'an entirely new one' });
      },
    ],
    [
      'an address that an administrator gives them',
      ['email_changed'],
      async ({ user }) => {
        const { accessToken } = await kith.admin();
        const email = `new-${user.email}`;
        await kith.client(UserService, accessToken).updateUser({ userId: user.id, email });
      },
    ],
    [
      'an address that an import gives them',
      ['email_changed'],
      async ({ user }) => {
        const { accessToken } = await kith.admin();
        const { username, name } = user;
        const row = { id: user.id, username, name, email: `imported-${user.email}` };
        const { results } = await kith
          .client(UserService, accessToken)
          .importUsers({ users: [row], onConflict: ImportConflict.UPDATE });
        expect(results).toHaveLength(1);
      },
    ],
    ['a sign-in by another program', ['new_sign_in'], (who) => logInAs(kith, who, 'other/1.0')],
    ['an authenticator app', ['second_factor_enabled'], (who) => enroll(kith, who)],
    [
      'an authenticator app that they remove',
      ['second_factor_disabled', 'second_factor_enabled'],
      async (who) => {
        await enroll(kith, who);
        await kith.client(SecondFactorService, who.accessToken).disableTotp({});
      },
    ],
    [
      'recovery codes that they replace',
      ['recovery_codes_replaced', 'second_factor_enabled'],
      async (who) => {
        await enroll(kith, who);
        await kith.client(SecondFactorService, who.accessToken).replaceRecoveryCodes({});
      },
    ],
    [
      'a second factor that an administrator removes',
      ['second_factor_reset', 'second_factor_enabled'],
      async (who) => {
        await enroll(kith, who);
        const { accessToken } = await kith.admin();
        await kith.client(SecondFactorService, accessToken).resetSecondFactor({ userId: who.user.id });
      },
    ],
    ['an API key', ['api_key_created'], (who) => createKey(kith, who)],
  ])('a user is told of %s, at the address that they had, in their language', async (_, kinds, cause) => {
    const who = await kith.user();
    const { accessToken } = await kith.admin();
    await kith.client(UserService, accessToken).updateUser({ userId: who.user.id, locale: 'de-AT' });
    await cause(who);
    const mails = await mailsTo(kith, who.user.id);
    expect(mails.map((mail) => mail.kind)).toEqual(kinds);
    expect(mails.map((mail) => mail.recipient)).toEqual(kinds.map(() => who.user.email));
    expect((await readMail(kith, mails[0]!.id)).html).toContain('lang="de"');
  });

  test('a user is told of no sign-in from where they signed in before, nor of the first, nor of a wrong password', async () => {
    const who = await kith.user();
    expect(await kindsTo(who)).toEqual([]);
    expect(await logInAs(kith, { ...who, password: 'wrong' }, 'other/1.0')).toBe(401);
    expect(await kindsTo(who)).toEqual([]);
    for (const agent of ['other/1.0', 'other/1.0', 'third/1.0', 'other/1.0']) {
      expect(await logInAs(kith, who, agent)).toBe(200);
    }
    expect(await kindsTo(who)).toEqual(['new_sign_in', 'new_sign_in']);
  });

  test('an address at localhost, which is no mailbox, is told nothing', async () => {
    const admin = await kith.admin();
    expect(admin.user.email).toBe('admin@localhost');
    await createKey(kith, admin);
    expect(await kindsTo(admin)).toEqual([]);
  });

  test('a change that is refused is not told', async () => {
    const who = await kith.user();
    const { accessToken } = await kith.admin();
    const other = await kith.user();
    const users = kith.client(UserService, accessToken);
    const userId = who.user.id;
    expect(await refusalOf(users.updateUser({ userId, email: other.user.email }))).toMatchObject({
      reason: 'EMAIL_TAKEN',
    });
    expect(await refusalOf(users.setUserPassword({ userId, password: 'x y z x y z', etag: 'old' }))).toMatchObject({
      reason: 'ETAG_MISMATCH',
    });
    const key = { name: 'too much', permissions: [Permission.ROLES_WRITE] };
    expect(await refusalOf(kith.client(ApiKeyService, who.accessToken).createApiKey(key))).toMatchObject({
      reason: 'PERMISSION_MISSING',
    });
    expect(await kindsTo(who)).toEqual([]);
  });

  test('nobody fills a mailbox with notices, nor hides one by causing many of another kind', async () => {
    const who = await kith.user();
    const twice = Array.from({ length: 2 * NOTICES_PER_HOUR }, (_, i) => i);
    for (const _ of twice) await createKey(kith, who);
    await setPassword(kith, who, 'of an admin');
    const told = ['password_changed', ...Array.from({ length: NOTICES_PER_HOUR }, () => 'api_key_created')];
    expect(await kindsTo(who)).toEqual(told);
    kith.clock.offsetMs += HOUR_MS;
    const code = await resetCode(kith, who.user);
    await kith
      .client(AuthService)
      .resetPassword({ identifier: who.user.username, code, newPassword: 'an entirely new one' });
    expect(await kindsTo(who)).toEqual(['password_changed', 'password_reset', ...told]);
  });
});
