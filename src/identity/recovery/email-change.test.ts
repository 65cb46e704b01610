import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { TIME } from '../../../test/support/example.ts';
import { type Kith, refusalOf, type SignedIn } from '../../../test/support/kith.ts';
import {
  changeCode,
  changeEmail,
  codeIn,
  mailAfter,
  mailsTo,
  readMail,
  resetCode,
  verificationCode,
} from '../../../test/support/outbox.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import { startOn } from '../../../test/support/stored.ts';

const CODE_INVALID = { code: 'Unauthenticated', reason: 'MAILED_CODE_INVALID' };
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const NEW = 'a password never seen before';

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    // The clock is moved by minutes.
    kith = await startOn(kind, { env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const as = ({ accessToken }: Pick<SignedIn, 'accessToken'>) => kith.client(AuthService, accessToken);
  const auth = () => kith.client(AuthService);
  const users = async () => kith.client(UserService, (await kith.admin()).accessToken);
  const me = async (account: SignedIn) => (await as(account).userMe({})).user!;
  const back = (token: string, newPassword = NEW) => auth().takeEmailBack({ token, newPassword });
  /** A user who has verified the address, and one that nobody has. */
  const verified = async () => {
    const account = await kith.user();
    await (await users()).updateUser({ userId: account.user.id, emailVerified: true });
    return { account, next: `next.${account.user.email}` };
  };
  const kindsTo = async (userId: string) => (await mailsTo(kith, userId)).map(({ kind: about }) => about);

  describe('verifying the address', () => {
    test('takes the code of the mail to it, once', async () => {
      const account = await kith.user();
      const code = await verificationCode(kith, account);
      const [mail] = await mailsTo(kith, account.user.id);
      expect(mail).toMatchObject({ kind: 'email_verification', recipient: account.user.email });
      expect((await me(account)).emailVerifiedTime).toBeUndefined();
      await as(account).verifyEmail({ code });
      expect(await me(account)).toMatchObject({ emailVerifiedTime: TIME });
      expect(await refusalOf(as(account).verifyEmail({ code }))).toMatchObject(CODE_INVALID);
    });

    test('mails nothing for an address that is verified', async () => {
      const { account } = await verified();
      await as(account).requestEmailVerification({});
      expect(await mailsTo(kith, account.user.id)).toEqual([]);
    });

    test('says that too many mails were asked for', async () => {
      const account = await kith.user();
      for (let i = 0; i < 2; i++) await as(account).requestEmailVerification({});
      const third = await refusalOf(as(account).requestEmailVerification({}));
      expect(third).toMatchObject({ code: 'ResourceExhausted', reason: 'TOO_MANY_ATTEMPTS' });
      expect(await mailsTo(kith, account.user.id)).toHaveLength(2);
    });
  });

  describe('changing the address', () => {
    test('takes the code of the mail to the new one, and tells the old one', async () => {
      const { account, next } = await verified();
      const code = await changeCode(kith, account, next);
      const [asked] = await mailsTo(kith, account.user.id);
      expect(asked).toMatchObject({ kind: 'email_change', recipient: next });
      expect(await me(account)).toMatchObject({ email: account.user.email });

      await as(account).confirmEmailChange({ code });
      expect(await me(account)).toMatchObject({ email: next, emailVerifiedTime: TIME });
      expect((await mailsTo(kith, account.user.id))[0]).toMatchObject({
        kind: 'email_take_back',
        recipient: account.user.email,
      });
      const { activities } = await kith
        .client(ActivityService, account.accessToken)
        .listUserActivity({ userId: account.user.id });
      expect(activities.map(({ action }) => action).slice(0, 2)).toEqual([
        'kith.user.updated',
        'kith.email.change_requested',
      ]);
      for (const { attributes } of activities) expect(JSON.stringify(attributes)).not.toContain('@');
    });

    test('mails no key to an address that never was verified: it may be a stranger’s', async () => {
      const account = await kith.user();
      const code = await changeCode(kith, account, `next.${account.user.email}`);
      await as(account).confirmEmailChange({ code });
      const [mail] = await mailsTo(kith, account.user.id);
      expect(mail).toMatchObject({ kind: 'email_changed', recipient: account.user.email });
      expect((await readMail(kith, mail!.id)).text).not.toMatch(/^[\w-]{64}$/m);
    });

    test('does not tell whether another user has the address, who is told', async () => {
      const [account, owner] = [await kith.user(), await kith.user()];
      const email = owner.user.email.toUpperCase();
      const mail = await mailAfter(kith, owner.user.id, () => as(account).requestEmailChange({ email }));
      expect(mail).toMatchObject({ kind: 'email_taken', recipient: owner.user.email });
      expect(await mailsTo(kith, account.user.id)).toEqual([]);
      expect(await codeIn(kith, mail)).toBe('');
    });

    test('is refused when another user has taken the address meanwhile, and for the own one', async () => {
      const { account, next } = await verified();
      const code = await changeCode(kith, account, next);
      const other = await kith.user();
      await (await users()).updateUser({ userId: other.user.id, email: next });
      const taken = { code: 'AlreadyExists', reason: 'EMAIL_TAKEN' };
      expect(await refusalOf(as(account).confirmEmailChange({ code }))).toMatchObject(taken);
      const own = as(account).requestEmailChange({ email: ` ${account.user.email.toUpperCase()}` });
      expect(await refusalOf(own)).toMatchObject(taken);
      expect(await me(account)).toMatchObject({ email: account.user.email });
    });

    test('takes a fresh sign-in', async () => {
      const { account, next } = await verified();
      kith.clock.offsetMs += 16 * MINUTE_MS;
      const refusal = await refusalOf(as(account).requestEmailChange({ email: next }));
      expect(refusal).toMatchObject({ reason: 'FRESH_SIGN_IN_REQUIRED' });
    });
  });

  test('a code is good for what it was mailed for, and for nothing else', async () => {
    const account = await kith.user();
    const verification = await verificationCode(kith, account);
    expect(await refusalOf(as(account).confirmEmailChange({ code: verification }))).toMatchObject(CODE_INVALID);
    const reset = auth().resetPassword({ identifier: account.user.email, code: verification, newPassword: NEW });
    expect(await refusalOf(reset)).toMatchObject(CODE_INVALID);
    const other = await kith.user();
    expect(await refusalOf(as(other).verifyEmail({ code: verification }))).toMatchObject(CODE_INVALID);
    await as(account).verifyEmail({ code: verification });
  });

  test('codes are void after a change of the address', async () => {
    const { account, next } = await verified();
    const reset = await resetCode(kith, account.user);
    await as(account).confirmEmailChange({ code: await changeCode(kith, account, next) });
    const use = auth().resetPassword({ identifier: account.user.username, code: reset, newPassword: NEW });
    expect(await refusalOf(use)).toMatchObject(CODE_INVALID);
  });

  test('of a reset of the password and a change of the address at once, one happens', async () => {
    const { account, next } = await verified();
    const reset = await resetCode(kith, account.user);
    const change = await changeCode(kith, account, next);
    const outcomes = await Promise.allSettled([
      auth().resetPassword({ identifier: account.user.username, code: reset, newPassword: NEW }),
      as(account).confirmEmailChange({ code: change }),
    ]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const { user } = await signedIn(
      auth().login({
        identifier: account.user.username,
        password: outcomes[0].status === 'fulfilled' ? NEW : account.password,
      }),
    );
    expect(user?.email).toBe(outcomes[1].status === 'fulfilled' ? next : account.user.email);
  });

  test.each<
    [
      what: string,
      codeOf: (account: SignedIn) => Promise<string>,
      use: (account: SignedIn, code: string) => Promise<unknown>,
    ]
  >([
    [
      'a verification',
      (account) => verificationCode(kith, account),
      (account, code) => as(account).verifyEmail({ code }),
    ],
    [
      'a change',
      (account) => changeCode(kith, account, `next.${account.user.email}`),
      (account, code) => as(account).confirmEmailChange({ code }),
    ],
    [
      'taking the address back',
      async (account) => {
        await (await users()).updateUser({ userId: account.user.id, emailVerified: true });
        return changeEmail(kith, account, `next.${account.user.email}`);
      },
      (_, token) => back(token),
    ],
  ])('of many uses of the code of %s at once, one is right', async (_, codeOf, use) => {
    const account = await kith.user();
    const code = await codeOf(account);
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => use(account, code)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  describe('taking the address back', () => {
    test('gives it back, ends the sessions, and takes another password', async () => {
      const { account, next } = await verified();
      const token = await changeEmail(kith, account, next);
      // Whoever has the account by now has changed the password too.
      await as(account).changePassword({ currentPassword: account.password, newPassword: `stolen ${NEW}` });
      kith.clock.offsetMs += 10 * MINUTE_MS;
      await back(token);

      expect(await refusalOf(as(account).userMe({}))).toMatchObject({ reason: 'SESSION_ENDED' });
      const { user } = await signedIn(auth().login({ identifier: account.user.email, password: NEW }));
      expect(user).toMatchObject({ email: account.user.email, emailVerifiedTime: TIME });
      expect(await refusalOf(auth().login({ identifier: next, password: NEW }))).toMatchObject({
        reason: 'CREDENTIALS_INVALID',
      });
      expect(await refusalOf(back(token))).toMatchObject(CODE_INVALID);
      const [password, address] = await mailsTo(kith, account.user.id);
      expect(password).toMatchObject({ kind: 'password_changed', recipient: account.user.email });
      expect(address).toMatchObject({ kind: 'email_changed', recipient: next });
    });

    test('is for the first address: one that the account had later gives way to it, and not the other way round', async () => {
      const { account, next } = await verified();
      const first = await changeEmail(kith, account, next);
      const second = await changeEmail(kith, account, `last.${account.user.email}`);
      await back(second);
      expect((await (await users()).getUser({ userId: account.user.id })).user).toMatchObject({ email: next });
      await back(first);
      expect((await (await users()).getUser({ userId: account.user.id })).user).toMatchObject({
        email: account.user.email,
      });
      expect(await refusalOf(back(second))).toMatchObject(CODE_INVALID);
    });

    test('leaves no claim to addresses that the account had later', async () => {
      const { account, next } = await verified();
      const first = await changeEmail(kith, account, next);
      const second = await changeEmail(kith, account, `last.${account.user.email}`);
      await back(first);
      expect(await refusalOf(back(second))).toMatchObject(CODE_INVALID);
    });

    test('is refused with another address than the mail went to, which leaves the token good', async () => {
      const { account, next } = await verified();
      const token = await changeEmail(kith, account, next);
      const backTo = (email: string) => auth().takeEmailBack({ token, newPassword: NEW, email });
      for (const other of [next, 'somebody@example.org']) {
        expect(await refusalOf(backTo(other))).toMatchObject(CODE_INVALID);
      }
      await backTo(` ${account.user.email.toUpperCase()} `);
      await signedIn(auth().login({ identifier: account.user.email, password: NEW }));
    });

    test('is refused to a suspended user, and for a token that is none', async () => {
      const { account, next } = await verified();
      const token = await changeEmail(kith, account, next);
      const flipped = `${token.slice(0, -1)}${token.endsWith('A') ? 'Q' : 'A'}`;
      for (const none of ['x', '12345678', flipped, `${token}A`, 'A'.repeat(64)]) {
        expect(await refusalOf(back(none))).toMatchObject(CODE_INVALID);
      }
      const suspend = async (state: UserState) => (await users()).updateUser({ userId: account.user.id, state });
      await suspend(UserState.SUSPENDED);
      expect(await refusalOf(back(token))).toMatchObject(CODE_INVALID);
    });

    test('leaves the token good when the password is refused or another user has the address', async () => {
      const { account, next } = await verified();
      const token = await changeEmail(kith, account, next);
      expect(await refusalOf(back(token, 'password123'))).toMatchObject({ reason: 'PASSWORD_TOO_COMMON' });
      expect(await refusalOf(back(token, account.user.email))).toMatchObject({ reason: 'PASSWORD_IS_IDENTIFIER' });
      const other = await kith.user();
      await (await users()).updateUser({ userId: other.user.id, email: account.user.email });
      expect(await refusalOf(back(token))).toMatchObject({ reason: 'EMAIL_TAKEN' });
      await (await users()).updateUser({ userId: other.user.id, email: other.user.email });
      await back(token);
      expect(await kindsTo(account.user.id)).toContain('password_changed');
    });
  });

  test('keeps no token that can be read', async () => {
    const { account, next } = await verified();
    const token = await changeEmail(kith, account, next);
    const dump = await kith.database.dump();
    expect(dump).toContain(next);
    expect(dump).not.toContain(token);
  });

  test('the address can be taken back for 7 days', async () => {
    const { account, next } = await verified();
    const token = await changeEmail(kith, account, next);
    kith.clock.offsetMs += 7 * DAY_MS;
    expect(await refusalOf(back(token))).toMatchObject(CODE_INVALID);
    kith.clock.offsetMs -= MINUTE_MS;
    await back(token);
  });
});
