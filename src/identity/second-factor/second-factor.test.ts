import { timestampMs } from '@bufbuild/protobuf/wkt';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { Authenticator } from '../../../test/support/authenticator.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn } from '../../../test/support/kith.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import type { App } from '../../app.ts';
import { createKeyring } from '../../kernel/keyring.ts';
import { purge } from '../../purge.ts';
import { acceptRecoveryCode, acceptTotp, hasSecondFactor } from './second-factor.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import {
  FIELDS_INVALID,
  FRESH_SIGN_IN_REQUIRED,
  SESSION_ENDED,
  TOTP_CODE_WRONG,
  USER_NOT_FOUND,
} from '../../../test/support/refusals.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;

const SECOND_FACTOR_ENABLED = { code: 'FailedPrecondition', reason: 'SECOND_FACTOR_ENABLED' };
const SECOND_FACTOR_NOT_ENABLED = { code: 'FailedPrecondition', reason: 'SECOND_FACTOR_NOT_ENABLED' };
const TOTP_NOT_ENROLLED = { code: 'FailedPrecondition', reason: 'TOTP_NOT_ENROLLED' };

const NOBODY = '0190b5a0-0000-7000-8000-000000000001';

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    // Tests let minutes pass: none of them is about when an access token expires or too
    // many fail from an address.
    const env = {
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      KITH_FRESH_SIGN_IN_SECONDS: '3000',
      KITH_SIGN_IN_FAILURES_PER_ADDRESS: '1000000',
    };
    kith = await startOn(kind, { env });
  });
  afterEach(() => {
    kith.clock.offsetMs = 0;
  });
  afterAll(async () => {
    const faults = await kith.database.faults();
    await kith[Symbol.asyncDispose]();
    if (faults.length > 0) throw new Error(faults.join('\n'));
  });

  const factor = ({ accessToken }: Pick<SignedIn, 'accessToken'>, on = kith) =>
    on.client(SecondFactorService, accessToken);
  const auth = (who?: Pick<SignedIn, 'accessToken'>) => kith.client(AuthService, who?.accessToken);
  const login = ({ user, password }: SignedIn) => signedIn(auth().login({ identifier: user.username, password }));
  const users = async () => kith.client(UserService, (await kith.admin()).accessToken);

  async function enrol(who: SignedIn): Promise<Authenticator> {
    return new Authenticator((await factor(who).enrollTotp({})).uri, kith.clock);
  }

  /** A user with an authenticator app and recovery codes. */
  async function protectedUser() {
    const user = await kith.user();
    const app = await enrol(user);
    const { recoveryCodes } = await factor(user).confirmTotp({ code: app.next() });
    return { ...user, app, recoveryCodes };
  }

  /** What the log holds of a user's second factor, oldest first. */
  async function eventsOf({ user }: Pick<SignedIn, 'user'>) {
    const { accessToken } = await kith.admin();
    const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id });
    return activities
      .filter(({ action }) => action.startsWith('kith.second_factor.'))
      .map(({ action, actorId, attributes, details }) => ({ action, actorId, attributes, details }))
      .toReversed();
  }
  const event = (what: string, actorId: string, attributes = {}) => ({
    action: `kith.second_factor.${what}`,
    actorId,
    attributes,
    details: '',
  });

  const totp = (app: App, { user }: Pick<SignedIn, 'user'>, code: string) =>
    app.database.transaction((tx) => acceptTotp(tx, app, user.id, code), user.id);
  const recovery = (app: App, { user }: Pick<SignedIn, 'user'>, code: string) =>
    app.database.transaction((tx) => acceptRecoveryCode(tx, app, user.id, code), user.id);

  describe('GetSecondFactor', () => {
    test('tells that there is none', async () => {
      const answer = await factor(await kith.user()).getSecondFactor({});
      expect(answer).toMatchObject({ totpEnabled: false, recoveryCodesLeft: 0 });
      expect(answer.totpConfirmTime).toBeUndefined();
    });

    test('tells since when there is one, and how many recovery codes are left', async () => {
      const beforeMs = Date.now() + kith.clock.offsetMs;
      const user = await protectedUser();
      const answer = await factor(user).getSecondFactor({});
      expect(answer).toMatchObject({ totpEnabled: true, recoveryCodesLeft: 10 });
      expect(timestampMs(answer.totpConfirmTime!)).toBeGreaterThanOrEqual(beforeMs);
      await using app = await openApp(kith);
      expect(await recovery(app, user, user.recoveryCodes[3]!)).toBe(true);
      expect(await factor(user).getSecondFactor({})).toEqual({ ...answer, recoveryCodesLeft: 9 });
    });
  });

  describe('EnrollTotp', () => {
    test('gives a secret, the same as a URI that names the service and the account, and ten minutes', async () => {
      const who = await kith.user();
      const beforeMs = Date.now() + kith.clock.offsetMs;
      const { secret, uri, expireTime } = await factor(who).enrollTotp({});
      const afterMs = Date.now() + kith.clock.offsetMs;
      expect(secret).toMatch(/^[A-Z2-7]{32}$/);
      const issuer = new URL(kith.config.issuer).hostname;
      expect(uri).toBe(
        `otpauth://totp/${issuer}:${encodeURIComponent(who.user.email)}?secret=${secret}&issuer=${issuer}&algorithm=SHA1&digits=6&period=30`,
      );
      expect(timestampMs(expireTime!)).toBeGreaterThanOrEqual(beforeMs + 10 * MINUTE_MS);
      expect(timestampMs(expireTime!)).toBeLessThanOrEqual(afterMs + 10 * MINUTE_MS);
    });

    test('changes nothing for anybody who signs in, until confirmed', async () => {
      const who = await kith.user();
      const app = await enrol(who);
      expect(await factor(who).getSecondFactor({})).toMatchObject({ totpEnabled: false, recoveryCodesLeft: 0 });
      await auth(await login(who)).userMe({});
      await using stored = await openApp(kith);
      expect(await hasSecondFactor(stored.database.db, who.user.id)).toBe(false);
      expect(await totp(stored, who, app.code())).toBe(false);
      expect(await eventsOf(who)).toEqual([]);
    });

    test('begins anew when called again: the first secret is good for nothing', async () => {
      const who = await kith.user();
      const first = await enrol(who);
      const second = await enrol(who);
      expect(await refusalOf(factor(who).confirmTotp({ code: first.code() }))).toMatchObject(TOTP_CODE_WRONG);
      await factor(who).confirmTotp({ code: second.code() });
    });

    test('begins anew for all who call at once, and the last of them is the one to confirm', async () => {
      const who = await kith.user();
      const enrolments = await Promise.all(Array.from({ length: 4 }, () => enrol(who)));
      await using stored = await openApp(kith);
      const rows = stored.database.db.selectFrom('second_factors').selectAll().where('user_id', '=', who.user.id);
      expect(await rows.execute()).toHaveLength(1);
      const outcomes: string[] = [];
      for (const app of enrolments) {
        const call = factor(who).confirmTotp({ code: app.code() });
        outcomes.push(
          await call.then(
            () => 'ok',
            async () => (await refusalOf(call)).reason!,
          ),
        );
        if (outcomes.includes('ok')) break;
      }
      expect(outcomes.at(-1)).toBe('ok');
      expect(new Set(outcomes.slice(0, -1)).difference(new Set(['TOTP_CODE_WRONG']))).toHaveLength(0);
    });

    test('is refused when there is a second factor, which stays as it is', async () => {
      const user = await protectedUser();
      expect(await refusalOf(factor(user).enrollTotp({}))).toMatchObject(SECOND_FACTOR_ENABLED);
      await using app = await openApp(kith);
      expect(await totp(app, user, user.app.next())).toBe(true);
    });

    test('writes no secret down', async () => {
      const { secret } = await factor(await kith.user()).enrollTotp({});
      const dump = await kith.database.dump();
      expect(dump).toContain('second_factors');
      const bytes = Buffer.from(new Authenticator(`otpauth://totp/?secret=${secret}`, kith.clock).secret);
      for (const spelled of [secret, bytes.toString('hex'), bytes.toString('base64url'), bytes.toString('base64')]) {
        expect(dump).not.toContain(spelled);
      }
    });

    test('writes again what nobody confirmed in time, and purging removes it', async () => {
      const who = await kith.user();
      await enrol(who);
      const user = await protectedUser();
      await using app = await openApp(kith);
      const count = async () =>
        (await app.database.db.selectFrom('second_factors').select('user_id').execute()).filter(({ user_id }) =>
          [who.user.id, user.user.id].includes(user_id),
        );
      await purge(app);
      expect(await count()).toHaveLength(2);
      await purge({ ...app, now: () => app.now() + 12 * MINUTE_MS });
      expect(await count()).toEqual([{ user_id: user.user.id }]);
      expect(await factor(user).getSecondFactor({})).toMatchObject({ totpEnabled: true, recoveryCodesLeft: 10 });
    });
  });

  describe('ConfirmTotp', () => {
    test('gives ten recovery codes, ends the other sessions, and tells of it', async () => {
      const who = await kith.user();
      const other = await login(who);
      const app = await enrol(who);
      const { recoveryCodes } = await factor(who).confirmTotp({ code: app.code() });
      expect(new Set(recoveryCodes)).toHaveLength(10);
      expect(await refusalOf(auth(other).userMe({}))).toMatchObject(SESSION_ENDED);
      expect(await refusalOf(auth().refreshAccessToken({ refreshToken: other.refreshToken }))).toMatchObject(
        SESSION_ENDED,
      );
      await auth(who).userMe({});
      await auth().refreshAccessToken({ refreshToken: who.refreshToken });
      expect(await eventsOf(who)).toEqual([event('enabled', who.user.id)]);
    });

    test('leaves the sessions of others alone', async () => {
      const other = await kith.user();
      await protectedUser();
      expect((await auth(other).userMe({})).user).toEqual(other.user);
    });

    test('writes no code down', async () => {
      const { recoveryCodes } = await protectedUser();
      const dump = await kith.database.dump();
      expect(dump).toContain('recovery_codes');
      for (const code of recoveryCodes) {
        for (const spelled of [code, code.replaceAll('-', '')]) expect(dump).not.toContain(spelled);
      }
    });

    test('takes the code of the step before and of the step after, for clocks that differ', async () => {
      for (const away of [-1, 1]) {
        const who = await kith.user();
        const app = await enrol(who);
        // To the beginning of a step: its end would make of the step before the one before that.
        kith.clock.offsetMs += 30_000 - ((Date.now() + kith.clock.offsetMs) % 30_000);
        expect((await factor(who).confirmTotp({ code: app.code(away) })).recoveryCodes).toHaveLength(10);
      }
    });

    test.each([-4, 4])('refuses the code of %d steps away', async (away) => {
      const who = await kith.user();
      const app = await enrol(who);
      expect(await refusalOf(factor(who).confirmTotp({ code: app.code(away) }))).toMatchObject(TOTP_CODE_WRONG);
    });

    test('refuses a wrong code, and takes the right one after it', async () => {
      const who = await kith.user();
      const app = await enrol(who);
      expect(await refusalOf(factor(who).confirmTotp({ code: app.wrong() }))).toMatchObject(TOTP_CODE_WRONG);
      expect(await factor(who).getSecondFactor({})).toMatchObject({ totpEnabled: false, recoveryCodesLeft: 0 });
      expect(await eventsOf(who)).toEqual([]);
      await factor(who).confirmTotp({ code: app.code() });
    });

    test('refuses the code of another user’s app', async () => {
      const [who, other] = [await kith.user(), await kith.user()];
      const [, app] = [await enrol(who), await enrol(other)];
      expect(await refusalOf(factor(who).confirmTotp({ code: app.code() }))).toMatchObject(TOTP_CODE_WRONG);
    });

    test('looks at no code for a while after too many wrong ones, without telling', async () => {
      const who = await kith.user();
      let app = await enrol(who);
      const wrong = () => refusalOf(factor(who).confirmTotp({ code: app.wrong() }));
      const refusals = [await wrong(), await wrong(), await wrong(), await wrong()];
      // Until the longest wait begins, five minutes, so that a slow machine does not sit a shorter one out.
      for (let waited = 0; waited < 6; waited++) {
        refusals.push(await wrong());
        if (waited < 5) kith.clock.offsetMs += 5 * MINUTE_MS;
        app = await enrol(who);
      }
      refusals.push(await refusalOf(factor(who).confirmTotp({ code: app.code() })));
      expect(new Set(refusals.map((refusal) => JSON.stringify(refusal)))).toHaveLength(1);
      expect(refusals[0]).toMatchObject({ ...TOTP_CODE_WRONG, metadata: {} });
      kith.clock.offsetMs += 5 * MINUTE_MS;
      await factor(who).confirmTotp({ code: app.code() });
    });

    test('refuses when nothing was enrolled, and after ten minutes', async () => {
      const who = await kith.user();
      expect(await refusalOf(factor(who).confirmTotp({ code: '123456' }))).toMatchObject(TOTP_NOT_ENROLLED);
      const app = await enrol(who);
      kith.clock.offsetMs += 10 * MINUTE_MS;
      expect(await refusalOf(factor(who).confirmTotp({ code: app.code() }))).toMatchObject(TOTP_NOT_ENROLLED);
    });

    test('refuses when it is confirmed already', async () => {
      const user = await protectedUser();
      expect(await refusalOf(factor(user).confirmTotp({ code: user.app.next() }))).toMatchObject(SECOND_FACTOR_ENABLED);
    });

    test.each(['', '12345', '1234567', '12345a', '123456x', '123\u0000456', '١٢٣٤٥٦', '-12345', '1e5000'])(
      'refuses "%s" for its form',
      async (code) => {
        const who = await kith.user();
        await enrol(who);
        expect(await refusalOf(factor(who).confirmTotp({ code }))).toMatchObject(FIELDS_INVALID);
      },
    );

    test('confirms once when several call at once, and the codes of that one are good', async () => {
      const who = await kith.user();
      const app = await enrol(who);
      const code = app.next();
      const outcomes = await Promise.allSettled(Array.from({ length: 3 }, () => factor(who).confirmTotp({ code })));
      const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
      expect(won).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'fulfilled') continue;
        expect(await refusalOf(Promise.reject(outcome.reason as Error))).toMatchObject(SECOND_FACTOR_ENABLED);
      }
      expect(await eventsOf(who)).toEqual([event('enabled', who.user.id)]);
      await using stored = await openApp(kith);
      expect(await recovery(stored, who, won[0]!.value.recoveryCodes[0]!)).toBe(true);
    });

    test.each([
      ['suspended', async (id: string) => (await users()).updateUser({ userId: id, state: UserState.SUSPENDED })],
      ['deleted', async (id: string) => (await users()).deleteUser({ userId: id })],
    ])('is not there for a user who was %s meanwhile', async (_, end) => {
      const who = await kith.user();
      const app = await enrol(who);
      await end(who.user.id);
      expect(await refusalOf(factor(who).confirmTotp({ code: app.code() }))).toMatchObject(SESSION_ENDED);
      await using stored = await openApp(kith);
      expect(await hasSecondFactor(stored.database.db, who.user.id)).toBe(false);
    });
  });

  describe('DisableTotp', () => {
    test('removes the app and the recovery codes, and tells of it', async () => {
      const user = await protectedUser();
      await factor(user).disableTotp({});
      expect(await factor(user).getSecondFactor({})).toMatchObject({ totpEnabled: false, recoveryCodesLeft: 0 });
      await auth(await login(user)).userMe({});
      await using app = await openApp(kith);
      expect(await hasSecondFactor(app.database.db, user.user.id)).toBe(false);
      expect(await totp(app, user, user.app.next())).toBe(false);
      expect(await recovery(app, user, user.recoveryCodes[0]!)).toBe(false);
      expect(await eventsOf(user)).toEqual([event('enabled', user.user.id), event('disabled', user.user.id)]);
    });

    test('is refused when there is nothing to remove, an enrolment under way included', async () => {
      const who = await kith.user();
      expect(await refusalOf(factor(who).disableTotp({}))).toMatchObject(SECOND_FACTOR_NOT_ENABLED);
      const app = await enrol(who);
      expect(await refusalOf(factor(who).disableTotp({}))).toMatchObject(SECOND_FACTOR_NOT_ENABLED);
      await factor(who).confirmTotp({ code: app.code() });
    });

    test('happens once when several call at once', async () => {
      const user = await protectedUser();
      const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => factor(user).disableTotp({})));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(await eventsOf(user)).toHaveLength(2);
    });

    test('makes way for another app, which the codes of the first do not fit', async () => {
      const user = await protectedUser();
      await factor(user).disableTotp({});
      const second = await enrol(user);
      expect(await refusalOf(factor(user).confirmTotp({ code: user.app.next() }))).toMatchObject(TOTP_CODE_WRONG);
      const { recoveryCodes } = await factor(user).confirmTotp({ code: second.next() });
      expect(new Set(recoveryCodes).intersection(new Set(user.recoveryCodes))).toHaveLength(0);
    });
  });

  describe('ReplaceRecoveryCodes', () => {
    test('gives ten others, of which alone any works from then on, and tells of it', async () => {
      const user = await protectedUser();
      const { recoveryCodes } = await factor(user).replaceRecoveryCodes({});
      expect(new Set([...recoveryCodes, ...user.recoveryCodes])).toHaveLength(20);
      expect(await factor(user).getSecondFactor({})).toMatchObject({ totpEnabled: true, recoveryCodesLeft: 10 });
      await using app = await openApp(kith);
      expect(await recovery(app, user, user.recoveryCodes[0]!)).toBe(false);
      expect(await recovery(app, user, recoveryCodes[0]!)).toBe(true);
      expect(await eventsOf(user)).toEqual([
        event('enabled', user.user.id),
        event('recovery_codes_replaced', user.user.id),
        event('recovery_code_used', user.user.id, { recovery_codes_left: '9' }),
      ]);
    });

    test('is refused without a second factor, during an enrolment too', async () => {
      const who = await kith.user();
      expect(await refusalOf(factor(who).replaceRecoveryCodes({}))).toMatchObject(SECOND_FACTOR_NOT_ENABLED);
      await enrol(who);
      expect(await refusalOf(factor(who).replaceRecoveryCodes({}))).toMatchObject(SECOND_FACTOR_NOT_ENABLED);
    });

    test('leaves ten when several call at once', async () => {
      const user = await protectedUser();
      await Promise.all(Array.from({ length: 4 }, () => factor(user).replaceRecoveryCodes({})));
      expect(await factor(user).getSecondFactor({})).toMatchObject({ recoveryCodesLeft: 10 });
    });
  });

  describe('ResetSecondFactor', () => {
    test('removes it, ends the user’s sessions, and tells who did it', async () => {
      const user = await protectedUser();
      const by = await kith.admin();
      await factor(by).resetSecondFactor({ userId: user.user.id.toUpperCase() });
      expect(await refusalOf(auth(user).userMe({}))).toMatchObject(SESSION_ENDED);
      const again = await login(user);
      expect(await factor(again).getSecondFactor({})).toMatchObject({ totpEnabled: false, recoveryCodesLeft: 0 });
      await using app = await openApp(kith);
      expect(await totp(app, user, user.app.next())).toBe(false);
      expect(await recovery(app, user, user.recoveryCodes[0]!)).toBe(false);
      expect(await eventsOf(user)).toEqual([event('enabled', user.user.id), event('reset', by.user.id)]);
    });

    test('removes the admin’s own as well, with the session that asked', async () => {
      const { user, password } = await kith.user();
      await (await users()).updateUser({ userId: user.id, role: (await kith.admin()).user.role });
      const first = await signedIn(auth().login({ identifier: user.username, password }));
      const app = new Authenticator((await factor(first).enrollTotp({})).uri, kith.clock);
      await factor(first).confirmTotp({ code: app.next() });
      await factor(first).resetSecondFactor({ userId: user.id });
      expect(await refusalOf(auth(first).userMe({}))).toMatchObject(SESSION_ENDED);
      await auth(await signedIn(auth().login({ identifier: user.username, password }))).userMe({});
    });

    test('works for a user who is suspended or deleted, before coming back', async () => {
      const [suspended, deleted] = [await protectedUser(), await protectedUser()];
      await (await users()).updateUser({ userId: suspended.user.id, state: UserState.SUSPENDED });
      await (await users()).deleteUser({ userId: deleted.user.id });
      const by = await kith.admin();
      for (const { user } of [suspended, deleted]) await factor(by).resetSecondFactor({ userId: user.id });
      await using app = await openApp(kith);
      for (const { user } of [suspended, deleted]) {
        expect(await hasSecondFactor(app.database.db, user.id)).toBe(false);
      }
    });

    test('is refused for nobody, for a user without a second factor, and for an enrolment', async () => {
      const by = await kith.admin();
      const reset = (userId: string) => refusalOf(factor(by).resetSecondFactor({ userId }));
      expect(await reset(NOBODY)).toMatchObject(USER_NOT_FOUND);
      expect(await reset('somebody')).toMatchObject(FIELDS_INVALID);
      const who = await kith.user();
      expect(await reset(who.user.id)).toMatchObject(SECOND_FACTOR_NOT_ENABLED);
      await enrol(who);
      expect(await reset(who.user.id)).toMatchObject(SECOND_FACTOR_NOT_ENABLED);
      await auth(who).userMe({});
    });
  });

  test('what changes a second factor takes a fresh sign-in, and looking at it does not', async () => {
    const who = await kith.user();
    const by = await kith.admin();
    kith.clock.offsetMs += kith.config.freshSignInMs + SECOND_MS;
    const client = factor(who);
    for (const call of [
      () => client.enrollTotp({}),
      () => client.confirmTotp({ code: '123456' }),
      () => client.disableTotp({}),
      () => client.replaceRecoveryCodes({}),
      () => factor(by).resetSecondFactor({ userId: who.user.id }),
    ]) {
      expect(await refusalOf(call())).toMatchObject(FRESH_SIGN_IN_REQUIRED);
    }
    await client.getSecondFactor({});
  });

  describe('a code of the app', () => {
    test('is accepted once', async () => {
      const user = await protectedUser();
      const code = user.app.next();
      await using app = await openApp(kith);
      expect(await totp(app, user, code)).toBe(true);
      expect(await totp(app, user, code)).toBe(false);
    });

    test('that confirmed the app is not accepted again', async () => {
      const who = await kith.user();
      const authenticator = await enrol(who);
      const code = authenticator.code();
      await factor(who).confirmTotp({ code });
      await using app = await openApp(kith);
      expect(await totp(app, who, code)).toBe(false);
    });

    test('is not accepted after a later one', async () => {
      const user = await protectedUser();
      const [earlier, later] = [user.app.next(), user.app.next()];
      await using app = await openApp(kith);
      expect(await totp(app, user, later)).toBe(true);
      expect(await totp(app, user, earlier)).toBe(false);
      expect(await totp(app, user, user.app.next())).toBe(true);
    });

    test('is not used up by a transaction that is rolled back', async () => {
      const user = await protectedUser();
      const code = user.app.next();
      await using app = await openApp(kith);
      const undone = app.database.transaction(async (tx) => {
        expect(await acceptTotp(tx, app, user.user.id, code)).toBe(true);
        throw new Error('undone');
      });
      await expect(undone).rejects.toThrow('undone');
      expect(await totp(app, user, code)).toBe(true);
    });

    test('is accepted of no other user, of no other time, and in no other form', async () => {
      const [user, other] = [await protectedUser(), await protectedUser()];
      await using app = await openApp(kith);
      const code = user.app.next();
      expect(await totp(app, other, code)).toBe(false);
      for (const wrong of [user.app.code(-4), user.app.code(5), user.app.wrong(), '', ` ${code}`, `${code} `]) {
        expect(await totp(app, user, wrong)).toBe(false);
      }
      expect(await totp(app, { user: { ...user.user, id: NOBODY } }, code)).toBe(false);
      expect(await totp(app, user, code)).toBe(true);
    });

    test('does not open with a secret that was moved from another user, and nobody gets in', async () => {
      const [user, thief] = [await protectedUser(), await protectedUser()];
      await using app = await openApp(kith);
      const { db } = app.database;
      await db
        .updateTable('second_factors')
        .set(({ selectFrom }) => ({
          secret_sealed: selectFrom('second_factors as f')
            .select(sql<string>`f.secret_sealed`.as('secret'))
            .where('f.user_id', '=', thief.user.id),
        }))
        .where('user_id', '=', user.user.id)
        .execute();
      await expect(totp(app, user, thief.app.next())).rejects.toThrow(/was not sealed/);
    });

    test('does not open with the secret key of another installation, and nobody gets in', async () => {
      const user = await protectedUser();
      await using app = await openApp(kith);
      const moved = { ...app, keyring: createKeyring(Buffer.alloc(32, 'another')) };
      await expect(totp(moved, user, user.app.next())).rejects.toThrow(/was not sealed/);
      expect(await recovery(moved, user, user.recoveryCodes[0]!)).toBe(false);
    });
  });

  describe('a recovery code', () => {
    test('is accepted once, each', async () => {
      const user = await protectedUser();
      await using app = await openApp(kith);
      for (const code of user.recoveryCodes) expect(await recovery(app, user, code)).toBe(true);
      for (const code of user.recoveryCodes) expect(await recovery(app, user, code)).toBe(false);
      const used = (await eventsOf(user)).slice(1).map(({ attributes }) => attributes['recovery_codes_left']);
      expect(used).toEqual(['9', '8', '7', '6', '5', '4', '3', '2', '1', '0']);
    });

    test.each([
      ['in upper case', (code: string) => code.toUpperCase()],
      ['without hyphens', (code: string) => code.replaceAll('-', '')],
      ['with blanks', (code: string) => ` ${code.replaceAll('-', '  ')} `],
    ])('is read %s', async (_, spelled) => {
      const user = await protectedUser();
      await using app = await openApp(kith);
      expect(await recovery(app, user, spelled(user.recoveryCodes[0]!))).toBe(true);
      expect(await recovery(app, user, user.recoveryCodes[0]!)).toBe(false);
    });

    test('is accepted of no other user, and not by half', async () => {
      const [user, other] = [await protectedUser(), await protectedUser()];
      await using app = await openApp(kith);
      const [code] = user.recoveryCodes as [string];
      expect(await recovery(app, other, code)).toBe(false);
      for (const wrong of ['', '-', code.slice(1), code.slice(0, -1), `${code}0`, code + code, '%', '0000-0000-0000']) {
        expect(await recovery(app, user, wrong)).toBe(false);
      }
      expect(await recovery(app, user, code)).toBe(true);
    });
  });

  // CWE-362: a code that two requests at once are let in with.
  test('refresh or one-time-code race: of twelve who send a code at once, on all instances, one is let in', async () => {
    const user = await protectedUser();
    await using instances = new AsyncDisposableStack();
    const apps: App[] = [];
    const count = kind === databases[0] ? 1 : 3; // one process serves a file
    for (let i = 0; i < count; i++) apps.push(instances.use(await openApp(kith)));
    const race = async (accept: typeof totp, code: string) => {
      const attempts = Array.from({ length: 12 }, (_, i) => accept(apps[i % count]!, user, code));
      return (await Promise.all(attempts)).filter(Boolean).length;
    };
    for (let round = 0; round < 10; round++) {
      expect(await race(totp, user.app.next())).toBe(1);
      expect(await race(recovery, user.recoveryCodes[round]!)).toBe(1);
    }
    expect(await factor(user).getSecondFactor({})).toMatchObject({ recoveryCodesLeft: 0 });
    expect(await eventsOf(user)).toHaveLength(11);
  });

  test('a user who is purged leaves nothing of a second factor behind', async () => {
    const user = await protectedUser();
    await (await users()).deleteUser({ userId: user.user.id });
    await using app = await openApp(kith);
    await purge({ ...app, now: () => app.now() + kith.config.purgeAfterMs + MINUTE_MS });
    const { db } = app.database;
    for (const table of ['second_factors', 'recovery_codes'] as const) {
      expect(await db.selectFrom(table).selectAll().where('user_id', '=', user.user.id).execute()).toEqual([]);
    }
  });

  test('a user who was deleted and undeleted has the second factor of before', async () => {
    const user = await protectedUser();
    await (await users()).deleteUser({ userId: user.user.id });
    await (await users()).undeleteUser({ userId: user.user.id });
    await using app = await openApp(kith);
    expect(await hasSecondFactor(app.database.db, user.user.id)).toBe(true);
    expect(await totp(app, user, user.app.next())).toBe(true);
  });
});
