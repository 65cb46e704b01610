import { type Client, createClient } from '@connectrpc/connect';
import { createQueryId, type KyselyPlugin } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import type { App } from '../src/app.ts';
import { type AuthApp, changePassword, login } from '../src/identity/auth/auth.ts';
import { openDatabase } from '../src/storage/database.ts';
import { createThrottle } from '../src/identity/throttle/throttle.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { PASSWORD_COST } from '../src/identity/passwords/passwords.ts';
import { ADMIN_PASSWORD, grpc, type Kith, refusalOf, type SignedIn, startKith } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { openApp } from './support/stored.ts';
import { challengeOf, signedIn, unchanged } from './support/sign-in.ts';
import { CREDENTIALS_INVALID } from './support/refusals.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;

const PASSWORD_WRONG = { code: 'PermissionDenied', reason: 'PASSWORD_WRONG' };
const TOO_MANY_ATTEMPTS = { code: 'ResourceExhausted', reason: 'TOO_MANY_ATTEMPTS' };

// One process serves a SQLite file.
const installations = databases.map((kind) => ({ ...kind, instanceCount: kind.name === 'SQLite' ? 1 : 3 }));

describe.each(installations)('$instanceCount instances on $name', ({ create, instanceCount }) => {
  let database: TestDatabase;
  let instances: Kith[];
  let kith: Kith;
  /** A clock that stands still unless a test moves it: no wait is over because the machine is slow. */
  const clock = { ms: 0 };

  /** Behind a proxy on this machine, which says where callers are. */
  async function start(env: Record<string, string> = {}): Promise<void> {
    const trusting = { KITH_TRUSTED_PROXIES: '127.0.0.1', ...env };
    const options = { database, env: trusting, now: () => clock.ms };
    instances = [await startKith(options)];
    while (instances.length < instanceCount) instances.push(await startKith(options));
    kith = instances[0]!;
  }
  async function stop(): Promise<void> {
    await Promise.all(instances.map((each) => each.stop()));
    instances = [];
  }

  beforeEach(async () => {
    clock.ms = Date.now();
    database = await create();
    await start();
  });
  afterEach(async () => {
    await stop();
    const faults = await database.faults();
    await database[Symbol.asyncDispose]();
    if (faults.length > 0) throw new Error(faults.join('\n'));
  });

  const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });
  const signIn = (identifier: string, password: string, address: string, on = kith.client(AuthService)) =>
    signedIn(on.login({ identifier, password }, from(address)));
  const signInAs = ({ user, password }: SignedIn, address: string) => signIn(user.username, password, address);

  /** More connections than one, which takes 100 calls at once, spread over the instances. */
  function callers(): Client<typeof AuthService>[] {
    return Array.from({ length: 3 * instanceCount }, (_, i) =>
      createClient(AuthService, grpc(instances[i % instanceCount]!.address)),
    );
  }

  /** 200 wrong guesses at once; their refusals. */
  function attack({ user }: SignedIn, addressOf: (i: number) => string) {
    const on = callers();
    return Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        refusalOf(signIn(user.username, `guess ${i}`, addressOf(i), on[i % on.length])),
      ),
    );
  }

  /** How many guesses were compared with the user's hash: those alone are told of. Stops the instances, which tell late. */
  async function countCompared({ user }: SignedIn): Promise<number> {
    await stop();
    await using opened = await openDatabase(database.url);
    const told = await opened.db
      .selectFrom('activity')
      .select('id')
      .where('user_id', '=', user.id)
      .where('action', '=', 'kith.sign_in.failed')
      .execute();
    return told.length;
  }

  describe('200 guesses at one account at once', { timeout: 180_000 }, () => {
    test('from one address: four are compared, and none of them is lost', async () => {
      const owner = await kith.user();
      const refusals = await attack(owner, () => '192.0.2.1');
      expect(new Set(refusals.map((refusal) => JSON.stringify(refusal)))).toHaveLength(1);
      expect(refusals[0]).toMatchObject({ ...CREDENTIALS_INVALID, metadata: {} });
      // After a fourth failure the wait is 10 s, after a fifth it would be 20 s.
      clock.ms += 10 * SECOND_MS - 1;
      expect(await refusalOf(signInAs(owner, '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      clock.ms += 1;
      await signInAs(owner, '192.0.2.1');
      expect(await countCompared(owner)).toBe(4);
    });

    test('from one address: the owner signs in from another one meanwhile', async () => {
      const owner = await kith.user();
      const [refusals] = await Promise.all([
        attack(owner, () => '192.0.2.1'),
        (async () => {
          for (let i = 0; i < 10; i++) await signInAs(owner, '198.51.100.7');
        })(),
      ]);
      expect(refusals).toHaveLength(200);
      await signInAs(owner, '198.51.100.7');
      expect(await countCompared(owner)).toBe(4);
    });

    test('from 200 addresses: twenty are compared, and the owner signs in from where the owner did before', async () => {
      const owner = await kith.user();
      await signInAs(owner, '2001:db8:7:7::1');
      await attack(owner, (i) => `192.0.2.${i}`);
      await signInAs(owner, '2001:db8:7:7:ffff::2'); // the same /64
      expect(await refusalOf(signInAs(owner, '198.51.100.7'))).toMatchObject(CREDENTIALS_INVALID);
      expect(await refusalOf(signInAs(owner, '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      clock.ms += 10 * SECOND_MS;
      await signInAs(owner, '198.51.100.7');
      expect(await countCompared(owner)).toBe(20);
    });

    test('from one address of IPv6 and all others of its /64: four are compared', async () => {
      const owner = await kith.user();
      await attack(owner, (i) => `2001:db8:1:2::${i.toString(16)}`);
      expect(await countCompared(owner)).toBe(4);
    });

    test('by the username and the email address, in any case: four are compared', async () => {
      const owner = await kith.user();
      const { username, email } = owner.user;
      const names = [username, username.toUpperCase(), email, email.toUpperCase()];
      const on = callers();
      await Promise.all(
        Array.from({ length: 80 }, (_, i) => refusalOf(signIn(names[i % 4]!, 'guess', '192.0.2.1', on[i % on.length]))),
      );
      expect(await refusalOf(signIn(username, owner.password, '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      expect(await countCompared(owner)).toBe(4);
    });
  });

  test('forty sign-ins of one user from one address at once succeed', async () => {
    const owner = await kith.user();
    const on = callers();
    await Promise.all(
      Array.from({ length: 40 }, (_, i) => signIn(owner.user.username, owner.password, '192.0.2.1', on[i % on.length])),
    );
    expect(await countCompared(owner)).toBe(0);
  });

  test('no wait is longer than five minutes for the owner at home, however often others fail', async () => {
    const owner = await kith.user();
    await signInAs(owner, '198.51.100.7');
    for (let i = 0; i < 30; i++) {
      await refusalOf(signIn(owner.user.username, 'guess', '198.51.100.7'));
      await refusalOf(signIn(owner.user.username, 'guess', `192.0.2.${i}`));
      clock.ms += 5 * MINUTE_MS;
    }
    expect((await signInAs(owner, '198.51.100.7')).user).toMatchObject(unchanged(owner.user));
  });

  describe('an address that failed too often', () => {
    beforeEach(async () => {
      await stop();
      await start({ KITH_SIGN_IN_FAILURES_PER_ADDRESS: '5' });
    });

    test('is told when to come back, whatever account it names, and others are not kept waiting', async () => {
      const owner = await kith.user();
      for (let i = 0; i < 5; i++) {
        expect(await refusalOf(signIn(`nobody${i}`, 'guess', '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      }
      for (const who of [owner.user.username, 'nobody', owner.user.email]) {
        expect(await refusalOf(signIn(who, owner.password, '192.0.2.1'))).toMatchObject({
          ...TOO_MANY_ATTEMPTS,
          metadata: { retry_after_seconds: '10' },
        });
      }
      await signInAs(owner, '198.51.100.7');
      clock.ms += 10 * SECOND_MS;
      await signInAs(owner, '192.0.2.1');
    });

    test('is refused on every instance', async () => {
      for (let i = 0; i < 5; i++) {
        await refusalOf(signIn(`nobody${i}`, 'guess', '192.0.2.1', instances[i % instanceCount]!.client(AuthService)));
      }
      for (const each of instances) {
        expect(await refusalOf(signIn('nobody', 'guess', '192.0.2.1', each.client(AuthService)))).toMatchObject(
          TOO_MANY_ATTEMPTS,
        );
      }
    });

    test('is refused changing the password and completing a sign-in, too', async () => {
      const owner = await kith.user();
      const { accessToken } = await kith.admin();
      const password = 'set by the admin';
      const set = { userId: owner.user.id, password, mustChangePassword: true };
      await kith.client(UserService, accessToken).setUserPassword(set);
      const { challengeToken } = await challengeOf(
        kith.client(AuthService).login({ identifier: owner.user.username, password }, from('192.0.2.1')),
      );
      const changing = await kith.user();
      for (let i = 0; i < 5; i++) await refusalOf(signIn(`nobody${i}`, 'guess', '192.0.2.1'));
      const answer = { case: 'newPassword', value: 'the next password' } as const;
      const current = { currentPassword: changing.password, newPassword: 'the next password' };
      const completed = signedIn(kith.client(AuthService).completeLogin({ challengeToken, answer }, from('192.0.2.1')));
      expect(await refusalOf(completed)).toMatchObject(TOO_MANY_ATTEMPTS);
      const changed = kith.client(AuthService, changing.accessToken).changePassword(current, from('192.0.2.1'));
      expect(await refusalOf(changed)).toMatchObject(TOO_MANY_ATTEMPTS);
    });
  });

  // CWE-307: a count in the transaction that the failure rolls back counts nothing.
  describe('failed-attempt counter rolled back with the failed sign-in', () => {
    test('a sign-in that fails leaves its count, and a server that is killed while it compares does too', async () => {
      const owner = await kith.user();
      const { username } = owner.user;
      const secretKey = Buffer.from(kith.config.secretKey!).toString('base64');
      await stop();
      const env = { ...database.env, KITH_SECRET_KEY: secretKey, KITH_LOG_LEVEL: 'error' };
      const startedMs = Date.now();
      {
        await using first = await startProcess({ env });
        const client = createClient(AuthService, grpc(first.address));
        for (let i = 0; i < 3; i++) {
          expect(await refusalOf(client.login({ identifier: username, password: 'guess' }))).toMatchObject(
            CREDENTIALS_INVALID,
          );
        }
        // The fourth and others are under way: the fourth is counted once something says so.
        const guesses = Array.from({ length: 30 }, () =>
          refusalOf(client.login({ identifier: username, password: 'guess' })).catch(() => undefined),
        );
        await using opened = await openDatabase(database.url);
        await expect
          .poll(
            async () =>
              (await opened.db.selectFrom('throttles').selectAll().where('failures', '>=', 4).execute()).length,
            {
              interval: 1,
              timeout: 30_000,
            },
          )
          .toBeGreaterThan(0);
        first.kill('SIGKILL');
        await first.exited;
        await Promise.all(guesses);
      }
      clock.ms = startedMs; // no wait that began since is over
      await start();
      expect(await refusalOf(signInAs(owner, '127.0.0.1'))).toMatchObject(CREDENTIALS_INVALID);
      await signInAs(owner, '198.51.100.7');
      clock.ms = Date.now() + 5 * MINUTE_MS;
      await signInAs(owner, '127.0.0.1');
    });
  });

  // CWE-307.
  describe('throttling skipped on another path', () => {
    const change = (who: SignedIn, currentPassword: string, address: string) =>
      kith
        .client(AuthService, who.accessToken)
        .changePassword({ currentPassword, newPassword: 'the next password' }, from(address));

    test('wrong current passwords of ChangePassword count as wrong passwords of Login do', async () => {
      const owner = await kith.user();
      const refusals = await Promise.all(
        Array.from({ length: 20 }, (_, i) => refusalOf(change(owner, `guess ${i}`, '192.0.2.1'))),
      );
      expect(new Set(refusals.map((refusal) => JSON.stringify(refusal)))).toHaveLength(1);
      expect(refusals[0]).toMatchObject(PASSWORD_WRONG);
      expect(await refusalOf(change(owner, owner.password, '192.0.2.1'))).toMatchObject(PASSWORD_WRONG);
      expect(await refusalOf(signInAs(owner, '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      clock.ms += 10 * SECOND_MS;
      await signInAs(owner, '192.0.2.1');
      await change(owner, owner.password, '192.0.2.1');
    });

    test('wrong passwords of Login count as wrong current passwords of ChangePassword do', async () => {
      const owner = await kith.user();
      for (let i = 0; i < 4; i++) await refusalOf(signIn(owner.user.email, 'guess', '192.0.2.1'));
      expect(await refusalOf(change(owner, owner.password, '192.0.2.1'))).toMatchObject(PASSWORD_WRONG);
      clock.ms += 10 * SECOND_MS;
      await change(owner, owner.password, '192.0.2.1');
    });

    test('an old password is a wrong one, and counts', async () => {
      const owner = await kith.user();
      await change(owner, owner.password, '192.0.2.1');
      for (let i = 0; i < 4; i++)
        expect(await refusalOf(signInAs(owner, '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      const now = { ...owner, password: 'the next password' };
      expect(await refusalOf(signInAs(now, '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      clock.ms += 10 * SECOND_MS;
      await signInAs(now, '192.0.2.1');
    });

    test('passwords that an admin sets do not make guesses forgotten', async () => {
      const owner = await kith.user();
      for (let i = 0; i < 4; i++) await refusalOf(signIn(owner.user.username, 'guess', '192.0.2.1'));
      const password = 'set by the admin';
      const { accessToken } = await kith.admin();
      await kith.client(UserService, accessToken).setUserPassword({ userId: owner.user.id, password });
      expect(await refusalOf(signIn(owner.user.username, password, '192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      await signIn(owner.user.username, password, '198.51.100.7');
    });

    test('an address that the proxy did not write, or that nobody trusted wrote, is no new address', async () => {
      const owner = await kith.user();
      for (let i = 0; i < 4; i++) {
        await refusalOf(signIn(owner.user.username, 'guess', `203.0.113.${i}, 192.0.2.1`));
      }
      expect(await refusalOf(signInAs(owner, '203.0.113.9, 192.0.2.1'))).toMatchObject(CREDENTIALS_INVALID);
      await stop();
      await start({ KITH_TRUSTED_PROXIES: '192.0.2.77' });
      for (let i = 0; i < 4; i++) await refusalOf(signIn(owner.user.username, 'guess', `203.0.113.${i}`));
      expect(await refusalOf(signInAs(owner, '203.0.113.9'))).toMatchObject(CREDENTIALS_INVALID);
    });
  });

  // CWE-400: CVE-2013-1443 and its like hash as much as they are sent.
  describe('parameter length as denial of service', () => {
    test.each([
      ['a password of 129 characters', { identifier: 'admin', password: 'x'.repeat(129) }],
      ['a password of 900 kB', { identifier: 'admin', password: 'x'.repeat(900_000) }],
      ['a password of 2 MB', { identifier: 'admin', password: 'x'.repeat(2_000_000) }],
      ['an identifier of 255', { identifier: 'x'.repeat(255), password: 'x' }],
      ['an identifier of 900 kB', { identifier: 'x'.repeat(900_000), password: 'x' }],
    ])('%s is refused before anything is counted or hashed', async (_, request) => {
      const before = await database.dump();
      const { reason } = await refusalOf(kith.client(AuthService).login(request));
      expect(['FIELDS_INVALID', 'REQUEST_TOO_LARGE']).toContain(reason);
      expect(await database.dump()).toBe(before);
    });

    test.each([
      ['a current password of 129', { currentPassword: 'x'.repeat(129), newPassword: 'the next password' }],
      ['a new password of 129', { currentPassword: 'x', newPassword: 'x'.repeat(129) }],
      ['a new password of 900 kB', { currentPassword: 'x', newPassword: 'x'.repeat(900_000) }],
    ])('%s is refused before anything is counted or hashed', async (_, request) => {
      const { accessToken } = await kith.user();
      const before = await database.dump();
      const { reason } = await refusalOf(kith.client(AuthService, accessToken).changePassword(request));
      expect(['FIELDS_INVALID', 'REQUEST_TOO_LARGE']).toContain(reason);
      expect(await database.dump()).toBe(before);
    });

    test('the longest password is hashed in the time of any other, and is right or wrong like it', async () => {
      const { accessToken } = await kith.admin();
      const password = '🔑🦉'.repeat(64);
      const { user } = await kith
        .client(UserService, accessToken)
        .createUser({ username: 'longest', email: 'longest@example.org', name: 'Longest', password });
      await signIn(user!.username, password, '192.0.2.1');
      expect(await refusalOf(signIn(user!.username, password.slice(0, -4), '192.0.2.1'))).toMatchObject(
        CREDENTIALS_INVALID,
      );
    });

    test('a header of 8 kB full of addresses is read to the one that counts', async () => {
      const owner = await kith.user();
      const many = Array.from({ length: 500 }, (_, i) => `10.0.${i >> 8}.${i & 255}`).join(', ');
      const { accessToken } = await signInAs(owner, `${many}, 192.0.2.1`);
      const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: owner.user.id });
      expect(sessions[0]!.address).toBe('192.0.2.1');
    });
  });
});

/** What one call had done until it was answered. */
interface Work {
  readonly statements: readonly string[];
  /** The hash function and parameters of each comparison. */
  readonly hashes: readonly string[];
}

// That answers of all classes take the same time is measured by `npm run bench:sign-in`; that they
// take it for the same work is seen here.
describe.each(databases)('on $name the same work is done', (kind) => {
  let database: TestDatabase;
  let kith: Kith;
  let app: App & AsyncDisposable;
  beforeEach(async () => {
    database = await kind.create();
    const nowMs = Date.now(); // stands still, so that no wait is over because the machine is slow
    const now = () => nowMs;
    kith = await startKith({ database, now, server: { passwordCost: PASSWORD_COST } });
    app = { ...(await openApp(kith)), now };
  });
  afterEach(async () => {
    await app.background[Symbol.asyncDispose]();
    await app[Symbol.asyncDispose]();
    await kith.stop();
    await database[Symbol.asyncDispose]();
  });

  /** Runs a call on the real database and the real hashes, and notes what it does. */
  async function workOf(call: (app: AuthApp) => Promise<unknown>): Promise<Work & { reason: string }> {
    const [statements, hashes]: [string[], string[]] = [[], []];
    const compiler = app.database.dialect.queries.createQueryCompiler();
    const noting: KyselyPlugin = {
      transformQuery({ node }) {
        // A wait is a number in the text; which one makes no work.
        statements.push(compiler.compileQuery(node, createQueryId()).sql.replaceAll(/\+ \d+/g, '+ ...'));
        return node;
      },
      transformResult: async ({ result }) => result,
    };
    const standIn = await app.passwords.hash('of nobody', { payer: 'address:192.0.2.1' });
    const watched = {
      ...app,
      throttle: createThrottle(1_000_000),
      database: { ...app.database, db: app.database.db.withPlugin(noting) },
      passwords: {
        ...app.passwords,
        verify: (hash: string | undefined, password: string) => {
          hashes.push((hash ?? standIn).split('$').slice(0, 4).join('$'));
          return app.passwords.verify(hash, password, { payer: 'address:192.0.2.1' });
        },
      },
    };
    let reason = 'answered';
    try {
      await call(watched as unknown as AuthApp); // without what opens sessions: nobody gets that far
    } catch (error) {
      reason = String(Reflect.get(error as object, 'reason'));
    }
    return { statements: [...statements], hashes: [...hashes], reason };
  }

  const client = { address: '192.0.2.1', userAgent: '' };
  const users = async () => kith.client(UserService, (await kith.admin()).accessToken);
  const workOfLogin = (identifier: string, password: string, address = client.address) =>
    workOf((on) => login(on, identifier, password, { ...client, address }));

  test('for an unknown user, a wrong password, users who may not sign in, and everybody after too many', async () => {
    const [wrong, suspended, deleted, throttled, besieged] = [
      await kith.user(),
      await kith.user(),
      await kith.user(),
      await kith.user(),
      await kith.user(),
    ];
    await (await users()).updateUser({ userId: suspended.user.id, state: UserState.SUSPENDED });
    await (await users()).deleteUser({ userId: deleted.user.id });
    for (let i = 0; i < 12; i++) await workOfLogin(throttled.user.username, 'guess');
    for (let i = 0; i < 12; i++) await workOfLogin('nobody at all', 'guess');
    for (let i = 0; i < 40; i++) await workOfLogin(besieged.user.username, 'guess', `198.51.100.${i}`);
    const works = {
      unknown: await workOfLogin('nobody', 'guess'),
      wrong: await workOfLogin(wrong.user.username, 'guess'),
      'wrong again': await workOfLogin(wrong.user.username, 'guess'),
      suspended: await workOfLogin(suspended.user.username, suspended.password),
      'suspended and wrong': await workOfLogin(suspended.user.username, 'guess'),
      deleted: await workOfLogin(deleted.user.username, deleted.password),
      throttled: await workOfLogin(throttled.user.username, throttled.password),
      'throttled and wrong': await workOfLogin(throttled.user.username, 'guess'),
      'unknown and throttled': await workOfLogin('nobody at all', 'guess'),
      'throttled by others': await workOfLogin(besieged.user.username, besieged.password),
    };
    expect(works.unknown.statements).toHaveLength(5);
    expect(works.unknown.hashes).toEqual(['$argon2id$v=19$m=19456,t=2,p=1']);
    expect(works.unknown.reason).toBe('credentials_invalid');
    for (const [name, work] of Object.entries(works)) expect({ name, ...work }).toEqual({ name, ...works.unknown });
  });

  test('for a wrong current password, and for the right one after too many', async () => {
    const [wrong, throttled] = [await kith.user(), await kith.user()];
    const { accessToken } = await kith.admin();
    expect(accessToken).not.toBe('');
    const workOfChange = ({ user }: SignedIn, current: string) =>
      workOf((on) => {
        const caller = { userId: user.id, sessionId: '', kind: 'session', permissions: new Set<never>(), signInMs: 0 };
        return changePassword(on, { ...caller, kind: 'session' }, current, 'the next password', client);
      });
    for (let i = 0; i < 12; i++) await workOfChange(throttled, 'guess');
    const works = [
      await workOfChange(wrong, 'guess'),
      await workOfChange(throttled, 'guess'),
      await workOfChange(throttled, throttled.password),
    ];
    expect(works[0]!.statements).toHaveLength(5);
    expect(works[0]!.reason).toBe('password_wrong');
    for (const work of works) expect(work).toEqual(works[0]);
  });

  test('for the administrator as for anybody', async () => {
    const unknown = await workOfLogin('nobody', 'guess');
    expect(await workOfLogin('admin', 'guess')).toEqual(unknown);
    for (let i = 0; i < 8; i++) await workOfLogin('admin', 'guess');
    expect(await workOfLogin('admin', ADMIN_PASSWORD)).toEqual(unknown);
  });
});
