import { randomUUID, randomUUIDv7 } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampDate, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import type { KyselyPlugin } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import {
  type ApiKey,
  ApiKeyService,
  type CreateApiKeyRequestSchema,
} from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn } from '../../../test/support/kith.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import type { Caller } from '../../kernel/access.ts';
import { Background } from '../../kernel/background.ts';
import { purge } from '../../purge.ts';
import { startRevocations } from '../revocations/revocations.ts';
import { writeApiKey } from './api-key.ts';
import { type ApiKeysApp, createApiKey } from './api-keys.ts';
import { authenticateApiKey, createKnownApiKeys, type ApiKeyCallersApp } from './authenticate.ts';
import {
  API_KEY_INVALID,
  FIELDS_INVALID,
  PERMISSION_MISSING,
  SESSION_ENDED,
  SESSION_REQUIRED,
} from '../../../test/support/refusals.ts';

const API_KEY_NOT_FOUND = { code: 'NotFound', reason: 'API_KEY_NOT_FOUND' };
const API_KEY_REQUIRED = { code: 'PermissionDenied', reason: 'API_KEY_REQUIRED' };

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

const VIEWER: Permission[] = [Permission.CONTACTS_READ, Permission.CONTACTS_WRITE];
const EDITOR: Permission[] = [
  Permission.USERS_READ,
  ...VIEWER,
  Permission.ACTIVITY_READ,
  Permission.ACTIVITY_RECORD,
  Permission.REVOCATIONS_READ,
];

const ALL: Permission[] = Object.values(Permission).filter((permission) => permission !== Permission.UNSPECIFIED);

type NewKey = Exclude<MessageInitShape<typeof CreateApiKeyRequestSchema>, { $unknown?: unknown }>;

interface CreatedKey {
  readonly apiKey: ApiKey;
  readonly secret: string;
}

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let admin: SignedIn;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_FRESH_SIGN_IN_SECONDS: '60' } });
    admin = await kith.admin();
  });
  afterEach(() => {
    kith.clock.offsetMs = 0;
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const keysOf = ({ accessToken }: { accessToken: string }) => kith.client(ApiKeyService, accessToken);
  const users = () => kith.client(UserService, admin.accessToken);
  const meOf = (bearer: string) => kith.client(AuthService, bearer).userMe({});
  const permissionsOf = async (bearer: string) => (await meOf(bearer)).permissions;

  async function createKey(owner: SignedIn, request: NewKey = {}): Promise<CreatedKey> {
    const key = { name: 'a key', permissions: [Permission.CONTACTS_READ], ...request };
    const { apiKey, secret } = await keysOf(owner).createApiKey(key);
    return { apiKey: apiKey!, secret };
  }

  const listOf = async (owner: SignedIn) => (await keysOf(owner).listApiKeys({ userId: owner.user.id })).apiKeys;
  const revoke = (owner: SignedIn, { apiKey }: CreatedKey) =>
    keysOf(owner).revokeApiKey({ userId: owner.user.id, apiKeyId: apiKey.id });
  const exchange = async (bearer: string) => (await kith.client(ApiKeyService, bearer).exchangeApiKey({})).accessToken;
  /** Waits until the background has noted that the keys were used. */
  async function expectSettled(owner: SignedIn): Promise<void> {
    const unused = async () => (await listOf(owner)).filter(({ lastUsedTime }) => lastUsedTime === undefined);
    await expect.poll(unused).toEqual([]);
  }
  const eventsOf = async (owner: SignedIn) =>
    (
      await kith
        .client(ActivityService, admin.accessToken)
        .listUserActivity({ userId: owner.user.id, actionPrefixes: ['kith.api_key'] })
    ).activities;

  describe('CreateApiKey', () => {
    test('answers a key that works, and its secret', async () => {
      const owner = await kith.user(Role.EDITOR);
      const before = Date.now();
      const expireTime = timestampFromMs(before + DAY_MS);
      const permissions = [Permission.ACTIVITY_RECORD, Permission.USERS_READ];
      const { apiKey, secret } = await createKey(owner, { name: 'Büro 🦉', permissions, expireTime });
      expect(apiKey).toMatchObject({
        id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
        name: 'Büro 🦉',
        secretHint: secret.slice(-4),
        permissions: [Permission.USERS_READ, Permission.ACTIVITY_RECORD],
        expireTime,
      });
      expect(apiKey.lastUsedTime).toBeUndefined();
      expect(timestampMs(apiKey.createTime!)).toBeGreaterThanOrEqual(before);
      expect(await meOf(secret)).toMatchObject({ user: owner.user, permissions: apiKey.permissions });
    });

    test('shows the secret once: it is nowhere else, and the database does not hold it', async () => {
      const owner = await kith.user();
      const { apiKey, secret } = await createKey(owner);
      const dump = await kith.database.dump();
      expect(dump).toContain(apiKey.id);
      const parts = Array.from({ length: secret.length - 20 }, (_, i) => secret.slice(8 + i, 20 + i));
      expect(parts.filter((part) => dump.includes(part))).toEqual([]);
      expect(await listOf(owner)).toEqual([apiKey]);
    });

    test('makes another key with each call', async () => {
      const owner = await kith.user();
      const made = [await createKey(owner), await createKey(owner)];
      expect(new Set(made.map(({ secret }) => secret)).size).toBe(2);
      expect(await listOf(owner)).toEqual(made.map(({ apiKey }) => apiKey).toReversed());
    });

    test('tells the owner’s activity, without the secret', async () => {
      const owner = await kith.user();
      const { apiKey } = await createKey(owner);
      expect(await eventsOf(owner)).toMatchObject([
        {
          action: 'kith.api_key.created',
          userId: owner.user.id,
          actorId: owner.user.id,
          attributes: { api_key_id: apiKey.id },
          details: '',
        },
      ]);
    });

    test.each<[string, NewKey]>([
      ['no name', { name: '' }],
      ['a name of blanks', { name: ' \u3000' }],
      ['a name of 101', { name: 'a'.repeat(101) }],
      ['a name of two lines', { name: 'a\nb' }],
      ['a name with a direction override', { name: 'a\u202Eb' }],
      ['no permission', { permissions: [] }],
      ['PERMISSION_UNSPECIFIED', { permissions: [Permission.UNSPECIFIED] }],
      ['an unknown permission', { permissions: [99 as Permission] }],
      ['a negative permission', { permissions: [-1 as Permission] }],
      ['a permission twice', { permissions: [Permission.CONTACTS_READ, Permission.CONTACTS_READ] }],
      ['a time that has passed', { expireTime: timestampFromMs(Date.now() - 1000) }],
      ['the year 1970', { expireTime: { seconds: 0n, nanos: 0 } }],
      ['a time beyond the year 9999', { expireTime: { seconds: 253_402_300_800n, nanos: 0 } }],
      ['a time beyond all numbers', { expireTime: { seconds: 2n ** 63n - 1n, nanos: 0 } }],
    ])('refuses %s', async (_, request) => {
      const before = await kith.database.dump();
      expect(await refusalOf(createKey(admin, request))).toMatchObject(FIELDS_INVALID);
      expect(await kith.database.dump()).toBe(before);
    });

    test('takes the last millisecond of the year 9999', async () => {
      const expireTime = timestampFromMs(Date.parse('9999-12-31T23:59:59.999Z'));
      const owner = await kith.user();
      const { apiKey, secret } = await createKey(owner, { expireTime });
      expect(timestampDate(apiKey.expireTime!).toISOString()).toBe('9999-12-31T23:59:59.999Z');
      expect(await permissionsOf(await exchange(secret))).toEqual([Permission.CONTACTS_READ]);
    });

    test.each([
      [Role.VIEWER, VIEWER],
      [Role.EDITOR, EDITOR],
    ])('gives a caller of role %s no more than the role allows', async (role, allowed) => {
      const owner = await kith.user(role);
      const outcomes = await Promise.all(
        ALL.map(async (permission) => {
          const asked = createKey(owner, { permissions: [permission] });
          return allowed.includes(permission) ? asked.then(() => 'created') : (await refusalOf(asked)).reason;
        }),
      );
      expect(outcomes).toEqual(ALL.map((one) => (allowed.includes(one) ? 'created' : 'PERMISSION_MISSING')));
      expect(await refusalOf(createKey(owner, { permissions: ALL }))).toMatchObject(PERMISSION_MISSING);
      expect((await listOf(owner)).length).toBe(allowed.length);
    });

    test('names the permission that the caller lacks', async () => {
      const permissions = [Permission.CONTACTS_READ, Permission.USERS_WRITE];
      const { metadata } = await refusalOf(createKey(await kith.user(Role.EDITOR), { permissions }));
      expect(metadata).toEqual({ permission: 'PERMISSION_USERS_WRITE' });
    });

    test('takes a fresh sign-in', async () => {
      const owner = await kith.user();
      kith.clock.offsetMs = 61_000;
      expect(await refusalOf(createKey(owner))).toMatchObject({
        code: 'Unauthenticated',
        reason: 'FRESH_SIGN_IN_REQUIRED',
        metadata: { max_age_seconds: '60' },
      });
    });

    test('makes at most 100 for a user, expired ones included, however many ask at once', async () => {
      const owner = await kith.user();
      await createKey(owner, { expireTime: timestampFromMs(Date.now() + 10_000) });
      for (let i = 0; i < 94; i++) await createKey(owner);
      kith.clock.offsetMs = 20_000;
      const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => createKey(owner)));
      expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(5);
      expect((await listOf(owner)).length).toBe(100);
      expect(await refusalOf(createKey(owner))).toMatchObject({
        code: 'ResourceExhausted',
        reason: 'API_KEY_LIMIT_REACHED',
        metadata: { limit: '100' },
      });
      const [last] = await listOf(owner);
      await keysOf(owner).revokeApiKey({ userId: owner.user.id, apiKeyId: last!.id });
      await createKey(owner);
      await createKey(await kith.user());
    });

    test('leaves no key behind by a session that was ended, though its access token is not refused yet', async () => {
      const owner = await kith.user(Role.EDITOR);
      const { sid } = decodeJwt<{ sid: string }>(owner.accessToken);
      const caller: Caller = {
        userId: owner.user.id,
        sessionId: sid,
        kind: 'session',
        permissions: new Set(['users.read']),
        signInMs: Date.now(),
      };
      const key = { name: 'late', permissions: new Set(['users.read'] as const), expireMs: null };
      await using app = await openApp(kith);
      const create = () => createApiKey(app as unknown as ApiKeysApp, caller, key);
      await users().updateUser({ userId: owner.user.id, role: Role.VIEWER });
      await expect(create()).rejects.toMatchObject({ reason: 'permission_missing' });
      await kith.client(AuthService, owner.accessToken).logout({});
      await expect(create()).rejects.toMatchObject({ reason: 'session_ended' });
      expect((await users().getUser({ userId: owner.user.id })).user!.role).toBe(Role.VIEWER);
      expect((await keysOf(admin).listApiKeys({ userId: owner.user.id })).apiKeys).toEqual([]);
    });
  });

  describe('ListApiKeys', () => {
    test('shows a user’s own keys to the user and to admins, to nobody else', async () => {
      const [owner, other] = [await kith.user(), await kith.user(Role.EDITOR)];
      const { apiKey } = await createKey(owner);
      await createKey(other);
      for (const userId of [owner.user.id, owner.user.id.toUpperCase()]) {
        for (const asking of [owner, admin]) {
          expect((await keysOf(asking).listApiKeys({ userId })).apiKeys).toEqual([apiKey]);
        }
        expect(await refusalOf(keysOf(other).listApiKeys({ userId }))).toMatchObject(PERMISSION_MISSING);
      }
    });

    test('shows the keys of a user who is deleted, until they are purged with the user', async () => {
      const owner = await kith.user();
      const { apiKey } = await createKey(owner);
      const userId = owner.user.id;
      await users().deleteUser({ userId: userId });
      expect((await keysOf(admin).listApiKeys({ userId })).apiKeys).toEqual([apiKey]);
    });

    test('refuses an unknown user', async () => {
      const unknown = keysOf(admin).listApiKeys({ userId: randomUUIDv7() });
      expect(await refusalOf(unknown)).toMatchObject({ code: 'NotFound', reason: 'USER_NOT_FOUND' });
    });
  });

  describe('RevokeApiKey', () => {
    test('ends the key and its access tokens, and nothing else', async () => {
      const owner = await kith.user();
      const [key, other] = [await createKey(owner), await createKey(owner)];
      const [accessToken, otherToken] = [await exchange(key.secret), await exchange(other.secret)];
      await revoke(owner, key);
      expect(await refusalOf(meOf(key.secret))).toMatchObject(API_KEY_INVALID);
      expect(await refusalOf(meOf(accessToken))).toMatchObject(API_KEY_INVALID);
      expect(await refusalOf(exchange(key.secret))).toMatchObject(API_KEY_INVALID);
      for (const bearer of [other.secret, otherToken, owner.accessToken]) await meOf(bearer);
      expect((await listOf(owner)).map(({ id }) => id)).toEqual([other.apiKey.id]);
    });

    test('ends it for longer than access tokens are good for', async () => {
      const owner = await kith.user();
      const key = await createKey(owner);
      await meOf(key.secret);
      await revoke(owner, key);
      for (const hours of [0.1, 0.5, 2, 24]) {
        kith.clock.offsetMs = hours * 60 * MINUTE_MS;
        expect(await refusalOf(meOf(key.secret))).toMatchObject(API_KEY_INVALID);
      }
    });

    test('takes an admin for another’s', async () => {
      const [owner, other] = [await kith.user(), await kith.user(Role.EDITOR)];
      const key = await createKey(owner);
      const request = { userId: owner.user.id.toUpperCase(), apiKeyId: key.apiKey.id.toUpperCase() };
      expect(await refusalOf(keysOf(other).revokeApiKey(request))).toMatchObject(PERMISSION_MISSING);
      await meOf(key.secret);
      await keysOf(admin).revokeApiKey(request);
      expect(await refusalOf(meOf(key.secret))).toMatchObject(API_KEY_INVALID);
      expect((await eventsOf(owner))[0]).toMatchObject({
        action: 'kith.api_key.revoked',
        actorId: admin.user.id,
        attributes: { api_key_id: key.apiKey.id },
      });
    });

    test('takes another’s key for a missing one', async () => {
      const [owner, other] = [await kith.user(), await kith.user()];
      const key = await createKey(owner);
      const missing = await refusalOf(keysOf(other).revokeApiKey({ userId: other.user.id, apiKeyId: randomUUIDv7() }));
      expect(missing).toMatchObject(API_KEY_NOT_FOUND);
      const before = await kith.database.dump();
      const apiKeyId = key.apiKey.id;
      expect(await refusalOf(keysOf(other).revokeApiKey({ userId: other.user.id, apiKeyId }))).toEqual(missing);
      expect(await refusalOf(keysOf(admin).revokeApiKey({ userId: other.user.id, apiKeyId }))).toEqual(missing);
      expect(await kith.database.dump()).toBe(before);
      await meOf(key.secret);
    });

    test('finds a key once', async () => {
      const owner = await kith.user();
      const key = await createKey(owner);
      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => revoke(owner, key)));
      expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(1);
      expect(await refusalOf(revoke(owner, key))).toMatchObject(API_KEY_NOT_FOUND);
      expect((await eventsOf(owner)).map(({ action }) => action)).toEqual([
        'kith.api_key.revoked',
        'kith.api_key.created',
      ]);
    });
  });

  describe('ExchangeApiKey', () => {
    test('answers an access token that says what the key may', async () => {
      const owner = await kith.user(Role.EDITOR);
      const { apiKey, secret } = await createKey(owner, {
        permissions: [Permission.USERS_READ, Permission.CONTACTS_READ],
      });
      const { accessToken, accessTokenExpireTime } = await kith.client(ApiKeyService, secret).exchangeApiKey({});
      expect(decodeProtectedHeader(accessToken)).toMatchObject({ alg: 'ES256', typ: 'at+jwt' });
      const claims = decodeJwt(accessToken);
      expect(claims).toEqual({
        iss: kith.config.issuer,
        aud: 'kith',
        sub: owner.user.id,
        sid: apiKey.id,
        client_id: apiKey.id,
        jti: expect.any(String),
        iat: expect.any(Number),
        exp: Number(accessTokenExpireTime!.seconds),
        roles: ['editor'],
        scope: expect.any(String),
      });
      expect(String(claims['scope']).split(' ').toSorted()).toEqual(['contacts.read', 'users.read']);
      expect(claims.exp! - claims.iat!).toBe(kith.config.accessTokenTtlMs / 1000);
      expect(await meOf(accessToken)).toEqual(await meOf(secret));
    });

    test('gives no access token that outlives the key', async () => {
      const owner = await kith.user();
      const expireMs = Date.now() + 100_000;
      const { secret } = await createKey(owner, { expireTime: timestampFromMs(expireMs) });
      const accessToken = await exchange(secret);
      expect(decodeJwt(accessToken).exp).toBe(Math.floor(expireMs / 1000));
      kith.clock.offsetMs = 100_000;
      expect(await refusalOf(meOf(accessToken))).toMatchObject({ reason: 'ACCESS_TOKEN_EXPIRED' });
    });

    test('takes the key itself, not an access token in its place, or it could be had for ever', async () => {
      const owner = await kith.user();
      const { secret } = await createKey(owner);
      expect(await refusalOf(exchange(await exchange(secret)))).toMatchObject(API_KEY_REQUIRED);
      expect(await refusalOf(exchange(owner.accessToken))).toMatchObject(API_KEY_REQUIRED);
      expect(await refusalOf(exchange(admin.accessToken))).toMatchObject(API_KEY_REQUIRED);
    });

    test('is no activity: it happens too often', async () => {
      const owner = await kith.user();
      const { secret } = await createKey(owner);
      await exchange(secret);
      expect((await eventsOf(owner)).length).toBe(1);
    });
  });

  describe('a key', () => {
    test('stops working when it expires, and is still listed', async () => {
      const owner = await kith.user();
      const { apiKey, secret } = await createKey(owner, { expireTime: timestampFromMs(Date.now() + 30_000) });
      await meOf(secret);
      kith.clock.offsetMs = 30_000;
      expect(await refusalOf(meOf(secret))).toMatchObject(API_KEY_INVALID);
      expect((await listOf(owner)).map(({ id }) => id)).toEqual([apiKey.id]);
    });

    test('that was never used before it expired does not work either', async () => {
      const { secret } = await createKey(await kith.user(), { expireTime: timestampFromMs(Date.now() + 30_000) });
      kith.clock.offsetMs = 30_000;
      expect(await refusalOf(meOf(secret))).toMatchObject(API_KEY_INVALID);
    });

    test('without an expiry works for years', async () => {
      const { secret } = await createKey(await kith.user());
      kith.clock.offsetMs = 3650 * DAY_MS;
      expect(await permissionsOf(secret)).toEqual([Permission.CONTACTS_READ]);
    });

    test('loses what its owner loses, and so does an access token of it', async () => {
      const owner = await kith.user(Role.EDITOR);
      const { secret } = await createKey(owner, { permissions: EDITOR });
      const accessToken = await exchange(secret);
      for (const bearer of [secret, accessToken]) expect(await permissionsOf(bearer)).toEqual(EDITOR);
      await users().updateUser({ userId: owner.user.id, role: Role.VIEWER });
      for (const bearer of [secret, accessToken, await exchange(secret)]) {
        expect(await permissionsOf(bearer)).toEqual(VIEWER);
        const list = kith.client(UserService, bearer).listUsers({});
        expect(await refusalOf(list)).toMatchObject(PERMISSION_MISSING);
      }
      expect(decodeJwt(await exchange(secret))).toMatchObject({
        roles: ['viewer'],
        scope: 'contacts.read contacts.write',
      });
      await users().updateUser({ userId: owner.user.id, role: Role.EDITOR });
      expect(await permissionsOf(secret)).toEqual(EDITOR);
    });

    test('gains nothing by what its owner gains, and nor does an access token of it', async () => {
      const owner = await kith.user();
      const { secret } = await createKey(owner, { permissions: [Permission.CONTACTS_READ] });
      const accessToken = await exchange(secret);
      await users().updateUser({ userId: owner.user.id, role: Role.ADMIN });
      for (const bearer of [secret, accessToken, await exchange(secret)]) {
        expect(await permissionsOf(bearer)).toEqual([Permission.CONTACTS_READ]);
      }
    });

    test.each<[string, (id: string) => Promise<unknown>, (id: string) => Promise<unknown>]>([
      [
        'suspended',
        (id) => users().updateUser({ userId: id, state: UserState.SUSPENDED }),
        (id) => users().updateUser({ userId: id, state: UserState.ACTIVE }),
      ],
      ['deleted', (id) => users().deleteUser({ userId: id }), (id) => users().undeleteUser({ userId: id })],
    ])('does not work while its owner is %s, and works again after', async (_, end, undo) => {
      const owner = await kith.user();
      const [used, unused] = [await createKey(owner), await createKey(owner)];
      const accessToken = await exchange(used.secret);
      await end(owner.user.id);
      for (const bearer of [used.secret, unused.secret, accessToken]) {
        expect(await refusalOf(meOf(bearer))).toMatchObject(API_KEY_INVALID);
      }
      await undo(owner.user.id);
      for (const bearer of [used.secret, unused.secret]) await meOf(bearer);
    });

    test('is gone with its owner', async () => {
      const owner = await kith.user();
      const { apiKey, secret } = await createKey(owner);
      await users().deleteUser({ userId: owner.user.id });
      kith.clock.offsetMs = kith.config.purgeAfterMs + DAY_MS;
      await using app = await openApp(kith);
      await purge(app);
      expect(await refusalOf(meOf(secret))).toMatchObject(API_KEY_INVALID);
      expect(await kith.database.dump()).not.toContain(apiKey.id);
    });

    test('stays when the password changes, or all sessions are ended', async () => {
      const owner = await kith.user();
      const { secret } = await createKey(owner);
      const change = { currentPassword: owner.password, newPassword: `new ${owner.password}` };
      await kith.client(AuthService, owner.accessToken).changePassword(change);
      await kith.client(AuthService, owner.accessToken).logout({});
      expect(await permissionsOf(secret)).toEqual([Permission.CONTACTS_READ]);
    });

    test('remembers when it was last used', async () => {
      const owner = await kith.user();
      const { apiKey, secret } = await createKey(owner);
      await meOf(secret);
      await expectSettled(owner);
      const [used] = await listOf(owner);
      expect(timestampMs(used!.lastUsedTime!)).toBeGreaterThanOrEqual(timestampMs(apiKey.createTime!));
      expect({ ...used, lastUsedTime: undefined }).toEqual({ ...apiKey, lastUsedTime: undefined });
    });
  });

  describe('what an API key cannot do, whatever its permissions', () => {
    let chief: SignedIn;
    let bearers: Record<string, string>;
    beforeAll(async () => {
      chief = await kith.user(Role.ADMIN);
      const { secret } = await createKey(chief, { permissions: ALL });
      bearers = { key: secret, 'its access token': await exchange(secret) };
    });

    test.each(['key', 'its access token'])('%s creates no key', async (which) => {
      const create = kith.client(ApiKeyService, bearers[which]).createApiKey({ name: 'x', permissions: VIEWER });
      expect(await refusalOf(create)).toMatchObject(SESSION_REQUIRED);
    });

    test.each(['key', 'its access token'])('%s neither changes a password nor signs out', async (which) => {
      const auth = kith.client(AuthService, bearers[which]);
      const change = auth.changePassword({ currentPassword: chief.password, newPassword: 'another password' });
      expect(await refusalOf(change)).toMatchObject(SESSION_REQUIRED);
      expect(await refusalOf(auth.logout({}))).toMatchObject(SESSION_REQUIRED);
      await meOf(chief.accessToken);
    });

    test('a key without a permission is not let in for being its owner', async () => {
      const owner = await kith.user(Role.EDITOR);
      const key = await createKey(owner, { permissions: [Permission.ACTIVITY_RECORD] });
      const { id } = owner.user;
      const accessToken = await exchange(key.secret);
      await expectSettled(owner);
      for (const bearer of [key.secret, accessToken]) {
        const before = await kith.database.dump();
        for (const call of [
          () => kith.client(UserService, bearer).getUser({ userId: id }),
          () => kith.client(UserService, bearer).getUserDetails({ userId: id }),
          () => kith.client(UserService, bearer).updateUser({ userId: id, name: 'Renamed' }),
          () => kith.client(ActivityService, bearer).listUserActivity({ userId: id }),
          () => kith.client(ApiKeyService, bearer).listApiKeys({ userId: id }),
          () => kith.client(ApiKeyService, bearer).revokeApiKey({ userId: id, apiKeyId: key.apiKey.id }),
          () => kith.client(ContactService, bearer).listContacts({}),
        ]) {
          expect(await refusalOf(call())).toMatchObject(PERMISSION_MISSING);
        }
        expect(await kith.database.dump()).toBe(before);
      }
    });

    test('a key that may read activity is not shown what its owner alone may see', async () => {
      const owner = await kith.user(Role.EDITOR);
      await kith.client(ContactService, owner.accessToken).createContact({ givenName: 'Ada' });
      const { secret } = await createKey(owner, { permissions: [Permission.ACTIVITY_READ] });
      const request = { userId: owner.user.id, actionPrefixes: ['kith.contact'] };
      const seen = async (bearer: string) =>
        (await kith.client(ActivityService, bearer).listUserActivity(request)).activities.length;
      expect(await seen(owner.accessToken)).toBe(1);
      expect(await seen(secret)).toBe(0);
      expect(await seen(await exchange(secret))).toBe(0);
    });
  });

  describe('authenticating', () => {
    /** What the server uses, with the queries counted and a clock that stands still. */
    async function openCounting() {
      const app = await openApp(kith);
      const clock = { ms: Date.now() };
      const now = () => clock.ms;
      const stopped = { now, monotonic: now };
      let queries = 0;
      const counter: KyselyPlugin = {
        transformQuery({ node }) {
          queries++;
          return node;
        },
        transformResult: async ({ result }) => result,
      };
      const database = { ...app.database, db: app.database.db.withPlugin(counter) };
      const revocations = await startRevocations(app.database, { ...stopped, onError: () => {} });
      const knownApiKeys = createKnownApiKeys();
      const counting: ApiKeyCallersApp = { ...app, ...stopped, database, revocations, knownApiKeys };
      return {
        app: counting,
        clock,
        /** How many queries `work` makes, with what it leaves to the background. */
        async queriesOf(work: () => Promise<unknown>): Promise<number> {
          const before = queries;
          await work();
          await app.background[Symbol.asyncDispose]();
          return queries - before;
        },
        async [Symbol.asyncDispose]() {
          await app.background[Symbol.asyncDispose]();
          await revocations[Symbol.asyncDispose]();
          await app[Symbol.asyncDispose]();
        },
      };
    }

    const invalid = expect.objectContaining({ reason: 'api_key_invalid' });

    test('asks about a key once in the life of an access token, and notes a use once a minute', async () => {
      const { secret } = await createKey(await kith.user());
      await using counting = await openCounting();
      const { app, clock, queriesOf } = counting;
      const use = () => authenticateApiKey(app, secret);
      expect(await queriesOf(use)).toBe(2); // asked and noted
      for (const [afterMs, count] of [
        [0, 0],
        [MINUTE_MS - 1, 0],
        [1, 1],
        [0, 0],
        [MINUTE_MS, 1],
        [kith.config.accessTokenTtlMs - 2 * MINUTE_MS - 1, 1],
        [1, 1],
        [0, 0],
      ]) {
        clock.ms += afterMs!;
        expect(await queriesOf(use)).toBe(count);
      }
    });

    test('throttling skipped on another path: made-up keys cost no query, a revoked one costs one', async () => {
      const owner = await kith.user();
      const key = await createKey(owner);
      await revoke(owner, key);
      await using counting = await openCounting();
      const { app, queriesOf } = counting;
      const elsewhere = { ...app.keyring, mac: () => Buffer.alloc(32) };
      const madeUp = [
        ...Array.from({ length: 200 }, () => writeApiKey(elsewhere, key.apiKey.id)),
        ...Array.from({ length: 90 }, (_, i) => key.secret.slice(0, i)),
        `kith_ak_${'a'.repeat(1_000_000)}`,
      ];
      const guess = async () => {
        for (const secret of madeUp) await expect(authenticateApiKey(app, secret)).rejects.toEqual(invalid);
      };
      expect(await queriesOf(guess)).toBe(0);
      const replay = async () => {
        for (let i = 0; i < 100; i++) await expect(authenticateApiKey(app, key.secret)).rejects.toEqual(invalid);
      };
      expect(await queriesOf(replay)).toBe(1);
    });

    test('refuses another secret with the id of a key', async () => {
      const key = await createKey(await kith.user());
      await using counting = await openCounting();
      const other = writeApiKey(counting.app.keyring, key.apiKey.id);
      await expect(authenticateApiKey(counting.app, other)).rejects.toEqual(invalid);
      await authenticateApiKey(counting.app, key.secret);
    });

    test('fails closed: without word of what was revoked, a key that was good is refused', async () => {
      const { secret } = await createKey(await kith.user());
      await using counting = await openCounting();
      const { app, queriesOf } = counting;
      expect(await queriesOf(() => authenticateApiKey(app, secret))).toBe(2);
      await using revocations = await startRevocations(app.database, { ...app, onError: () => {}, staleMs: 0 });
      await authenticateApiKey(app, secret);
      await app.database.db.destroy();
      await expect(authenticateApiKey({ ...app, revocations }, secret)).rejects.toMatchObject({
        reason: 'server_unavailable',
      });
    });

    test('goes on when the time of a use cannot be noted', async () => {
      const { secret } = await createKey(await kith.user());
      await using counting = await openCounting();
      const failures: unknown[] = [];
      const background = new Background((error) => failures.push(error));
      const readOnly: KyselyPlugin = {
        transformQuery({ node }) {
          if (node.kind === 'UpdateQueryNode') throw new Error('the disk is full');
          return node;
        },
        transformResult: async ({ result }) => result,
      };
      const database = { ...counting.app.database, db: counting.app.database.db.withPlugin(readOnly) };
      const app = { ...counting.app, background, database };
      expect(await authenticateApiKey(app, secret)).toMatchObject({ kind: 'api_key' });
      await background[Symbol.asyncDispose]();
      expect(failures.length).toBe(1);
      expect(await authenticateApiKey(app, secret)).toMatchObject({ kind: 'api_key' });
    });

    test('does not note a use that another instance has noted within the minute', async () => {
      const owner = await kith.user();
      const { apiKey, secret } = await createKey(owner);
      await using one = await openCounting();
      await using two = await openCounting();
      two.clock.ms = one.clock.ms;
      const lastUsed = async () => timestampMs((await listOf(owner)).find(({ id }) => id === apiKey.id)!.lastUsedTime!);
      const use = async ({ app }: typeof one) => authenticateApiKey(app, secret);
      await two.queriesOf(() => use(two));
      const first = await lastUsed();
      expect(first).toBe(two.clock.ms);
      await one.queriesOf(() => use(one));
      one.clock.ms += MINUTE_MS - 1;
      await one.queriesOf(() => use(one));
      expect(await lastUsed()).toBe(first);
      one.clock.ms += 1;
      await one.queriesOf(() => use(one));
      expect(await lastUsed()).toBe(first + MINUTE_MS);
      two.clock.ms += MINUTE_MS + 1;
      await two.queriesOf(() => use(two));
      expect(await lastUsed()).toBe(first + MINUTE_MS);
    });
  });

  test('a user id that is no UUID is refused', async () => {
    for (const userId of ['', 'me', "' or 1=1 --", `${randomUUID()}0`]) {
      expect(await refusalOf(keysOf(admin).listApiKeys({ userId }))).toMatchObject(FIELDS_INVALID);
      const request = { userId, apiKeyId: randomUUID() };
      expect(await refusalOf(keysOf(admin).revokeApiKey(request))).toMatchObject(FIELDS_INVALID);
    }
  });

  test('a session that was ended does nothing with keys', async () => {
    const owner = await kith.user();
    await kith.client(AuthService, owner.accessToken).logout({});
    expect(await refusalOf(createKey(owner))).toMatchObject(SESSION_ENDED);
    expect(await refusalOf(listOf(owner))).toMatchObject(SESSION_ENDED);
  });
});
