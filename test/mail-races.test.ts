import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { InvitationService } from '../gen/kith/auth/v1/invitation_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { databases } from './support/databases.ts';
import { sizeOf } from './support/full-size.ts';
import { type Kith, refusalOf, startKith } from './support/kith.ts';
import { changeCode, loginCode, resetCode, signUpCode } from './support/outbox.ts';
import { signedIn } from './support/sign-in.ts';

const ROUNDS = sizeOf('KITH_TEST_MAIL_RACES', 1, 1);
const USES = 50; // the titles say so
const NEW = 'a password never seen before';

vi.setConfig({ testTimeout: 60_000 + ROUNDS * 5000 });

const rounds = Array.from({ length: ROUNDS }, (_, i) => i);

/** How the calls came out: `ok`, or the reason of the refusal. */
async function outcomesOf(calls: readonly Promise<unknown>[]): Promise<string[]> {
  return Promise.all(
    calls.map((call) =>
      call.then(
        () => 'ok',
        async () => (await refusalOf(call)).reason ?? 'none',
      ),
    ),
  );
}

const winnersOf = (outcomes: readonly string[]) => outcomes.filter((outcome) => outcome === 'ok').length;

// PostgreSQL is shared by three instances, SQLite has one.
describe.each(databases.map((kind, i) => [kind.name, kind, i === 0 ? 1 : 3] as const))(
  'on %s',
  (_, kind, instances) => {
    const opened = new AsyncDisposableStack();
    let all: Kith[];
    beforeAll(async () => {
      const database = opened.use(await kind.create());
      all = [];
      for (let i = 0; i < instances; i++) {
        all.push(opened.use(await startKith({ database, env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } })));
      }
    });
    afterAll(() => opened.disposeAsync());

    const at = (i: number): Kith => all[i % all.length]!;
    const auth = (i: number) => at(i).client(AuthService);
    const users = async () => at(0).client(UserService, (await at(0).admin()).accessToken);

    test.each<[string, (user: { id: string; username: string }) => Promise<(i: number) => Promise<unknown>>]>([
      [
        'to reset a password',
        async (user) => {
          const code = await resetCode(at(0), user);
          return (i) => auth(i).resetPassword({ identifier: user.username, code, newPassword: `${NEW} ${i}` });
        },
      ],
      [
        'to sign in',
        async (user) => {
          await (await users()).updateUser({ userId: user.id, emailVerified: true });
          const code = await loginCode(at(0), user);
          return (i) => auth(i).loginWithCode(code);
        },
      ],
    ])('of 50 uses of one code %s at once, one succeeds', async (_name, prepare) => {
      for (const _ of rounds) {
        const { user } = await at(0).user();
        const use = await prepare(user);
        const outcomes = await outcomesOf(Array.from({ length: USES }, (_use, i) => use(i)));
        expect(winnersOf(outcomes)).toBe(1);
        expect(new Set(outcomes)).toEqual(new Set(['ok', 'MAILED_CODE_INVALID']));
      }
    });

    test('of a reset and a change of the address at once, one succeeds and makes the other void', async () => {
      for (const round of rounds) {
        const account = await at(0).user();
        const { user, password, accessToken } = account;
        const email = `next.${user.email}`;
        const change = await changeCode(at(0), account, email);
        const reset = await resetCode(at(0), user);
        const calls = [
          () => auth(0).resetPassword({ identifier: user.username, code: reset, newPassword: NEW }),
          () => at(1).client(AuthService, accessToken).confirmEmailChange({ code: change }),
        ];
        if (round % 2 === 1) calls.reverse();
        const outcomes = await outcomesOf(calls.map((call) => call()));
        if (round % 2 === 1) outcomes.reverse();
        const isReset = outcomes[0] === 'ok';
        expect(winnersOf(outcomes)).toBe(1);
        const { user: after } = await signedIn(
          auth(2).login({ identifier: user.username, password: isReset ? NEW : password }),
        );
        expect(after.email).toBe(isReset ? user.email : email);
      }
    });

    test('of sign-ups with one address at once, one is a user', async () => {
      for (const round of rounds) {
        const email = `${randomUUID()}@example.org`;
        const code = await signUpCode(at(0), email);
        const names = Array.from({ length: 4 }, () => `u${randomUUID()}`);
        const outcomes = await outcomesOf(
          names.map((username, i) =>
            auth(round + i).confirmSignUp({ email, code, username, name: 'One', password: NEW }),
          ),
        );
        expect(winnersOf(outcomes)).toBe(1);
        const { users: found } = await (await users()).listUsers({ email });
        expect(found.map(({ username }) => username)).toEqual([names[outcomes.indexOf('ok')]]);
      }
    });

    test('an invitation that is used at once by several gives its role to one, and is gone', async () => {
      for (const round of rounds) {
        const email = `${randomUUID()}@example.org`;
        const invitations = at(0).client(InvitationService, (await at(0).admin()).accessToken);
        const { invitation } = await invitations.createInvitation({ email, role: Role.EDITOR });
        const code = await signUpCode(at(0), email);
        const outcomes = await outcomesOf(
          Array.from({ length: 4 }, (_use, i) =>
            auth(round + i).confirmSignUp({ email, code, username: `u${randomUUID()}`, name: 'One', password: NEW }),
          ),
        );
        expect(winnersOf(outcomes)).toBe(1);
        const { users: found } = await (await users()).listUsers({ email });
        expect(found.map(({ role }) => role)).toEqual([Role.EDITOR]);
        expect(await refusalOf(invitations.resendInvitation({ invitationId: invitation!.id }))).toMatchObject({
          reason: 'INVITATION_NOT_FOUND',
        });
      }
    });
  },
);
