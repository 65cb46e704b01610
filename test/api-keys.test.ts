import { readFileSync } from 'node:fs';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { needCommand } from './support/commands.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { grpc, type Kith, refusalOf, type SignedIn, startKith, protocols } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { startOn } from './support/stored.ts';
import { patternOf, runSteps, stepsOf } from './support/tour.ts';
import { startWatch } from './support/watch.ts';
import { API_KEY_INVALID, PERMISSION_MISSING } from './support/refusals.ts';

/** No progress is told in the time a test takes. */
const NEVER = { progressMs: 60 * 60 * 1000 };

interface TestKey {
  readonly owner: SignedIn;
  readonly id: string;
  readonly secret: string;
  /** What it was exchanged for. */
  readonly accessToken: string;
}

/** A key of a new user, who is an editor. */
async function newKey(
  kith: Kith,
  permissions: Permission[] = [Permission.ACTIVITY_READ, Permission.USERS_READ],
  expireMs?: number,
): Promise<TestKey> {
  const owner = await kith.user(Role.EDITOR);
  const expiry = expireMs === undefined ? {} : { expireTime: timestampFromMs(expireMs) };
  const request = { name: 'of a test', permissions, ...expiry };
  const { apiKey, secret } = await kith.client(ApiKeyService, owner.accessToken).createApiKey(request);
  const { accessToken } = await kith.client(ApiKeyService, secret).exchangeApiKey({});
  return { owner, id: apiKey!.id, secret, accessToken };
}

const revoke = (kith: Kith, { owner, id }: TestKey) =>
  kith.client(ApiKeyService, owner.accessToken).revokeApiKey({ userId: owner.user.id, apiKeyId: id });

/** A connection of its own for each. */
const activityOf = (kith: Kith, bearer: string) => createClient(ActivityService, grpc(kith.address, bearer));

const refusedOn = async (kith: Kith, bearer: string): Promise<string | undefined> =>
  kith
    .client(AuthService, bearer)
    .userMe({})
    .then(
      () => undefined,
      async (error: unknown) => (await refusalOf(Promise.reject(error))).reason,
    );

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { server: NEVER });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each(protocols)('a key and an access token of it are bearer tokens over $name', async ({ transport }) => {
    const key = await newKey(kith);
    for (const bearer of [key.secret, key.accessToken]) {
      const auth = createClient(AuthService, transport(kith.address, bearer));
      const users = createClient(UserService, transport(kith.address, bearer));
      expect(await auth.userMe({})).toMatchObject({
        user: key.owner.user,
        permissions: [Permission.USERS_READ, Permission.ACTIVITY_READ],
      });
      expect((await users.getUser({ userId: key.owner.user.id })).user).toEqual(key.owner.user);
      expect(await refusalOf(users.deleteUser({ userId: key.owner.user.id }))).toMatchObject(PERMISSION_MISSING);
    }
    await revoke(kith, key);
    for (const bearer of [key.secret, key.accessToken]) {
      const auth = createClient(AuthService, transport(kith.address, bearer));
      expect(await refusalOf(auth.userMe({}))).toMatchObject(API_KEY_INVALID);
    }
  });

  test('a key watches activity', async () => {
    const key = await newKey(kith);
    const { user } = await kith.user();
    await using watch = await startWatch(activityOf(kith, key.secret), { userId: user.id });
    await using own = await startWatch(activityOf(kith, key.accessToken), { userId: key.owner.user.id });
    const recorder = await newKey(kith, [Permission.ACTIVITY_RECORD]);
    const record = (userId: string) =>
      activityOf(kith, recorder.secret).recordUserActivity({ activities: [{ userId, action: 'page.viewed' }] });
    await record(user.id);
    await record(key.owner.user.id);
    expect(await watch.activity()).toMatchObject({ action: 'page.viewed', actorId: recorder.owner.user.id });
    expect(await own.activity()).toMatchObject({ action: 'page.viewed' });
  });

  test('a key does not watch what it may not, its owner included', async () => {
    const key = await newKey(kith, [Permission.USERS_READ]);
    for (const bearer of [key.secret, key.accessToken]) {
      for (const userId of [undefined, key.owner.user.id]) {
        const watch = startWatch(activityOf(kith, bearer), userId === undefined ? {} : { userId });
        expect(await refusalOf(watch)).toMatchObject(PERMISSION_MISSING);
      }
    }
  });

  test.each<[string, (key: TestKey, admin: SignedIn) => Promise<unknown>, object]>([
    ['the key is revoked', (key) => revoke(kith, key), API_KEY_INVALID],
    [
      'the owner is suspended',
      ({ owner }, { accessToken }) =>
        kith.client(UserService, accessToken).updateUser({ userId: owner.user.id, state: UserState.SUSPENDED }),
      API_KEY_INVALID,
    ],
    [
      'the owner is deleted',
      ({ owner }, { accessToken }) => kith.client(UserService, accessToken).deleteUser({ userId: owner.user.id }),
      API_KEY_INVALID,
    ],
    [
      'the owner loses the role',
      ({ owner }, { accessToken }) =>
        kith.client(UserService, accessToken).updateUser({ userId: owner.user.id, role: Role.VIEWER }),
      PERMISSION_MISSING,
    ],
  ])('the watches of a key end when %s', async (_, end, refusal) => {
    const key = await newKey(kith);
    const watches = await Promise.all(
      [key.secret, key.accessToken].flatMap((bearer) => [
        startWatch(activityOf(kith, bearer)),
        startWatch(activityOf(kith, bearer), { userId: key.owner.user.id }),
      ]),
    );
    await end(key, await kith.admin());
    for (const watch of watches) expect(await watch.end()).toMatchObject(refusal);
  });

  test('the watches of a key go on when its owner signs out, and when another key is revoked', async () => {
    const [key, other] = [await newKey(kith), await newKey(kith)];
    const { user, accessToken } = key.owner;
    const { apiKey } = await kith
      .client(ApiKeyService, accessToken)
      .createApiKey({ name: 'another', permissions: [Permission.USERS_READ] });
    await using watch = await startWatch(activityOf(kith, key.secret), { userId: user.id, actionPrefixes: ['page'] });
    await kith.client(ApiKeyService, accessToken).revokeApiKey({ userId: user.id, apiKeyId: apiKey!.id });
    await revoke(kith, other);
    await kith.client(AuthService, accessToken).logout({});
    const recorder = await kith.user(Role.EDITOR);
    const activities = [{ userId: user.id, action: 'page.viewed' }];
    await kith.client(ActivityService, recorder.accessToken).recordUserActivity({ activities });
    expect((await watch.activity()).action).toBe('page.viewed');
  });

  test('the watches of a key end when it expires', async () => {
    await using hurried = await startOn(kind, { server: { progressMs: 20 } });
    const key = await newKey(hurried, [Permission.ACTIVITY_READ], Date.now() + 3_600_000);
    const watches = [
      await startWatch(activityOf(hurried, key.secret)),
      await startWatch(activityOf(hurried, key.accessToken)),
    ];
    hurried.clock.offsetMs = 3_600_000;
    for (const watch of watches) expect(await watch.end()).toMatchObject(API_KEY_INVALID);
  });
});

describe('on three instances', () => {
  let database: TestDatabase;
  let instances: Kith[];
  beforeAll(async () => {
    database = await databases[1]!.create();
    instances = await Promise.all([0, 1, 2].map(() => startKith({ database, server: NEVER })));
  });
  afterAll(async () => {
    await Promise.all(instances.map((kith) => kith.stop()));
    await database[Symbol.asyncDispose]();
  });

  test('a key that one has made works on all at once', async () => {
    const { secret, accessToken } = await newKey(instances[0]!);
    for (const kith of instances) {
      expect(await refusedOn(kith, secret)).toBeUndefined();
      expect(await refusedOn(kith, accessToken)).toBeUndefined();
    }
  });

  test('a key that was revoked on one is refused on all, with its access tokens and watches', async () => {
    const key = await newKey(instances[0]!);
    const watches = [];
    for (const kith of instances) {
      for (const bearer of [key.secret, key.accessToken]) {
        expect(await refusedOn(kith, bearer)).toBeUndefined();
        watches.push(await startWatch(activityOf(kith, bearer), { userId: key.owner.user.id }));
      }
    }
    await revoke(instances[1]!, key);
    expect(await refusedOn(instances[1]!, key.secret)).toBe('API_KEY_INVALID');
    for (const kith of instances) {
      for (const bearer of [key.secret, key.accessToken]) {
        await expect.poll(() => refusedOn(kith, bearer), { interval: 20, timeout: 20_000 }).toBe('API_KEY_INVALID');
      }
    }
    for (const watch of watches) expect(await watch.end()).toMatchObject(API_KEY_INVALID);
  });

  test('an owner who is suspended and let in again on one is so on all', async () => {
    const key = await newKey(instances[0]!);
    const { accessToken } = await instances[0]!.admin();
    for (const kith of instances) expect(await refusedOn(kith, key.secret)).toBeUndefined();
    for (const [state, refusal] of [
      [UserState.SUSPENDED, 'API_KEY_INVALID'],
      [UserState.ACTIVE, undefined],
    ] as const) {
      await instances[2]!.client(UserService, accessToken).updateUser({ userId: key.owner.user.id, state });
      for (const kith of instances) {
        await expect.poll(() => refusedOn(kith, key.secret), { interval: 20, timeout: 20_000 }).toBe(refusal);
      }
    }
  });

  test('however many create keys for one user on all of them, there are 100', async () => {
    const owner = await instances[0]!.user();
    const create = (kith: Kith) =>
      kith
        .client(ApiKeyService, owner.accessToken)
        .createApiKey({ name: 'one of many', permissions: [Permission.CONTACTS_READ] });
    for (let i = 0; i < 90; i++) await create(instances[i % 3]!);
    const outcomes = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => create(instances[i % 3]!)));
    const { apiKeys } = await instances[0]!
      .client(ApiKeyService, owner.accessToken)
      .listApiKeys({ userId: owner.user.id });
    expect(apiKeys.length).toBe(90 + outcomes.filter(({ status }) => status === 'fulfilled').length);
    expect(apiKeys.length).toBeLessThanOrEqual(100);
  });
});

describe('docs/api-keys.md', () => {
  const GUIDE = readFileSync('docs/api-keys.md', 'utf8');

  test('the tour runs as printed, and the log has no key', { timeout: 60_000 }, async (context) => {
    const bash = needCommand(context, 'bash');
    needCommand(context, 'curl');
    const [, password] = /"password": "([^"]+)"/.exec(GUIDE)!;
    await using kith = await startProcess({ env: { KITH_ADMIN_PASSWORD: password! } });
    const steps = stepsOf(GUIDE.replaceAll('http://localhost:8080', kith.address));
    const { code, outputs, stderr } = await runSteps(bash, steps);
    expect({ code, steps: outputs.length, stderr }).toEqual({ code: 0, steps: steps.length, stderr: '' });
    for (const [i, { line, expected = '' }] of steps.entries()) {
      expect.soft(outputs[i], `docs/api-keys.md:${line}`).toMatch(patternOf(expected));
    }
    expect(steps.length).toBeGreaterThanOrEqual(8);
    expect(kith.stdout).toContain('CreateApiKey');
    expect(kith.stdout + kith.stderr).not.toContain('kith_ak_');
  });
});
