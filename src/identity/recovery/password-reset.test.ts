import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { SecondFactorService } from '../../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from '../../../test/support/authenticator.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../../test/support/kith.ts';
import { codeIn, mailsTo, resetCode } from '../../../test/support/outbox.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import { startOn } from '../../../test/support/stored.ts';

const CODE_INVALID = { code: 'Unauthenticated', reason: 'MAILED_CODE_INVALID' };
const MINUTE_MS = 60_000;
const NEW = 'a password never seen before';

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    // The clock is moved by minutes.
    kith = await startOn(kind, {
      env: { KITH_ACCESS_TOKEN_SECONDS: '3600', KITH_TRUSTED_PROXIES: '127.0.0.1' },
    });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const auth = () => kith.client(AuthService);
  const users = async () => kith.client(UserService, (await kith.admin()).accessToken);
  const reset = (identifier: string, code: string, newPassword = NEW) =>
    auth().resetPassword({ identifier, code, newPassword });
  const login = (identifier: string, password: string) => signedIn(auth().login({ identifier, password }));

  test('a code sets another password, once, and ends all sessions', async () => {
    const { user, password, accessToken } = await kith.user();
    const code = await resetCode(kith, user);
    await reset(` ${user.email.toUpperCase()}`, code.replace(' ', '-'));

    expect((await login(user.username, NEW)).user?.id).toBe(user.id);
    expect(await refusalOf(login(user.username, password))).toMatchObject({ reason: 'CREDENTIALS_INVALID' });
    expect(await refusalOf(kith.client(AuthService, accessToken).userMe({}))).toMatchObject({
      reason: 'SESSION_ENDED',
    });
    expect(await refusalOf(reset(user.username, code))).toMatchObject(CODE_INVALID);
    expect((await mailsTo(kith, user.id)).map((mail) => mail.kind)).toEqual(['password_changed', 'password_reset']);

    const { accessToken: own } = await login(user.username, NEW);
    const { activities } = await kith.client(ActivityService, own).listUserActivity({ userId: user.id });
    const actions = activities.map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['kith.password.reset_requested', 'kith.password.reset']));
  });

  test('asking for a code answers the same whether there is such a user or not, and writes to nobody else', async () => {
    const { user } = await kith.user();
    await (await users()).updateUser({ userId: user.id, state: UserState.SUSPENDED });
    for (const identifier of [user.username, user.email, 'nobody', 'nobody@example.org']) {
      expect(await auth().requestPasswordReset({ identifier })).toMatchObject({ $typeName: expect.any(String) });
      expect(await refusalOf(reset(identifier, '12345678'))).toMatchObject(CODE_INVALID);
    }
    // Requests are worked off in order: once this one has its mail, the others had theirs.
    await resetCode(kith, (await kith.user()).user);
    expect(await mailsTo(kith, user.id)).toEqual([]);
  });

  test.each([
    [
      'another email address',
      async (id: string) => (await users()).updateUser({ userId: id, email: `n${id}@example.org` }),
    ],
    [
      'another password',
      async (id: string) => (await users()).setUserPassword({ userId: id, password: `set for ${id}` }),
    ],
    ['a suspension', async (id: string) => (await users()).updateUser({ userId: id, state: UserState.SUSPENDED })],
    ['10 minutes', async () => void (kith.clock.offsetMs += 10 * MINUTE_MS)],
  ])('a code is good no more after %s', async (_, happen) => {
    const { user } = await kith.user();
    const code = await resetCode(kith, user);
    await happen(user.id);
    expect(await refusalOf(reset(user.username, code))).toMatchObject(CODE_INVALID);
  });

  test('of the codes in a mailbox, whoever asked for them, the newest three are good, until one is used', async () => {
    const { user } = await kith.user();
    const codes: string[] = [];
    while (codes.length < 4) {
      codes.push(await resetCode(kith, user));
      kith.clock.offsetMs += MINUTE_MS;
    }
    const [first, second, third] = codes as [string, string, string];
    expect(await refusalOf(reset(user.username, first))).toMatchObject(CODE_INVALID);
    await reset(user.username, second);
    expect(await refusalOf(reset(user.username, third))).toMatchObject(CODE_INVALID);
  });

  test('a stranger who asks for too many codes keeps nobody from a code who asks from where they signed in', async () => {
    const { user } = await kith.user();
    const stranger = { headers: { 'x-forwarded-for': '192.0.2.77' } };
    for (let i = 0; i < 4; i++) await auth().requestPasswordReset({ identifier: user.username }, stranger);
    await reset(user.username, await resetCode(kith, user));
    expect((await mailsTo(kith, user.id)).map((mail) => mail.kind).toSorted()).toEqual([
      'password_changed',
      ...Array.from({ length: 3 }, () => 'password_reset'),
    ]);
  });

  test("one user's code is not another's", async () => {
    const [one, other] = [await kith.user(), await kith.user()];
    const code = await resetCode(kith, one.user);
    expect(await refusalOf(reset(other.user.username, code))).toMatchObject(CODE_INVALID);
    await login(other.user.username, other.password);
    await reset(one.user.username, code);
  });

  test('a password that is refused uses no code up', async () => {
    const { user } = await kith.user();
    const code = await resetCode(kith, user);
    expect(await refusalOf(reset(user.username, code, 'password123'))).toMatchObject({ reason: 'PASSWORD_TOO_COMMON' });
    expect(await refusalOf(reset(user.username, code, user.email))).toMatchObject({ reason: 'PASSWORD_IS_IDENTIFIER' });
    await reset(user.username, code);
  });

  test('after wrong codes the right one waits its turn', async () => {
    const { user } = await kith.user();
    const code = await resetCode(kith, user);
    const wrong = code === '0000 0000' ? '00000001' : '00000000';
    for (let i = 0; i < 5; i++) expect(await refusalOf(reset(user.username, wrong))).toMatchObject(CODE_INVALID);
    expect(await refusalOf(reset(user.username, code))).toMatchObject(CODE_INVALID);
    kith.clock.offsetMs += MINUTE_MS;
    await reset(user.username, code);
  });

  test('of many uses of a code at once, one is right', async () => {
    const { user } = await kith.user();
    const code = await resetCode(kith, user);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => reset(user.username, code, `${NEW} ${i}`)),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('nobody fills a mailbox: two mails at once, then one a minute', async () => {
    const { user } = await kith.user();
    for (let i = 0; i < 4; i++) await auth().requestPasswordReset({ identifier: user.username });
    await resetCode(kith, (await kith.user()).user); // those before are done
    expect(await mailsTo(kith, user.id)).toHaveLength(2);
    kith.clock.offsetMs += MINUTE_MS;
    await resetCode(kith, user);
  });

  test('a code of a mail is no second factor: signing in asks for it as before', async () => {
    const { user, accessToken } = await kith.user();
    const factors = kith.client(SecondFactorService, accessToken);
    const { uri } = await factors.enrollTotp({});
    await factors.confirmTotp({ code: new Authenticator(uri, kith.clock).next() });
    await reset(user.username, await resetCode(kith, user));
    const { outcome } = await auth().login({ identifier: user.username, password: NEW });
    expect(outcome.case).toBe('challenge');
  });

  test('writes no code down that can be read', async () => {
    const { user } = await kith.user();
    const code = await resetCode(kith, user);
    const [mail] = await mailsTo(kith, user.id);
    expect(await codeIn(kith, mail!)).toBe(code);
    const dump = await kith.database.dump();
    expect(dump).toContain(mail!.id);
    for (const spelled of [code, code.replace(' ', '')]) expect(dump).not.toContain(spelled);
  });
});
