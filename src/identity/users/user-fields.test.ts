import { randomUUID } from 'node:crypto';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import type { User } from '../../../gen/kith/user/v1/user_pb.ts';
import {
  type CreateUserRequest,
  type UpdateUserRequest,
  UserService,
} from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf, startKith } from '../../../test/support/kith.ts';
import { userRowBefore0009 } from '../../../test/support/rows.ts';
import { migrateUpTo } from '../../../test/support/stored-database.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import { getUser } from './users.ts';

type New = Partial<Omit<CreateUserRequest, '$typeName' | '$unknown'>>;
type Update = Partial<Omit<UpdateUserRequest, '$typeName' | '$unknown' | 'userId'>>;

/** A user nobody has yet. */
function somebody(given: New = {}) {
  const username = `u${randomUUID()}`;
  return { username, email: `${username}@example.org`, name: 'Somebody', password: 'a good password', ...given };
}

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let accessToken: string;
  beforeAll(async () => {
    kith = await startOn(kind);
    ({ accessToken } = await kith.admin());
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const users = () => kith.client(UserService, accessToken);
  const create = async (given: New = {}): Promise<User> => (await users().createUser(somebody(given))).user!;
  const update = async (id: string, change: Update): Promise<User> =>
    (await users().updateUser({ userId: id, ...change })).user!;
  const get = async (id: string): Promise<User> => (await users().getUser({ userId: id })).user!;

  test('a user has what other services keep with it, and what it says of itself', async () => {
    const user = await create({
      externalId: 'auth0|5F7c',
      publicMetadata: ' {"plan": "pro", "none": null} ',
      privateMetadata: '{"customer":12345678901234567890}',
      locale: 'pt-br',
      timeZone: 'Europe/berlin',
      avatarUrl: 'https://example.org/ada.png',
      emailVerified: true,
    });
    expect(user).toMatchObject({
      externalId: 'auth0|5F7c',
      publicMetadata: '{"plan":"pro"}',
      privateMetadata: '{"customer":12345678901234567890}',
      locale: 'pt-BR',
      timeZone: 'Europe/Berlin',
      avatarUrl: 'https://example.org/ada.png',
      emailVerifiedTime: user.createTime,
    });
    expect(user.lastSignInTime).toBeUndefined();
    expect(await get(user.id)).toEqual(user);
  });

  test('a user has none of it unless it is given', async () => {
    const none = { externalId: '', publicMetadata: '', privateMetadata: '', locale: '', timeZone: '', avatarUrl: '' };
    const user = await create();
    expect(user).toMatchObject(none);
    expect(user.emailVerifiedTime).toBeUndefined();
    const all = { externalId: randomUUID(), publicMetadata: '{"a":1}', locale: 'de', emailVerified: true };
    const changed = await update(user.id, { ...all, privateMetadata: '{"b":2}' });
    expect(changed).toMatchObject({ externalId: all.externalId, emailVerifiedTime: changed.updateTime });
    const cleared = await update(user.id, {
      ...none,
      publicMetadata: '{"a":null}',
      privateMetadata: '{"b":null}',
      emailVerified: false,
    });
    expect(cleared).toEqual({ ...user, etag: cleared.etag, updateTime: cleared.updateTime });
    expect(await get(user.id)).toEqual(cleared);
  });

  test.each<[string, Update, Partial<User>]>([
    ['externalId', { externalId: 'Another' }, { externalId: 'Another' }],
    ['publicMetadata', { publicMetadata: '{"b":{"d":1},"a":null}' }, { publicMetadata: '{"b":{"c":1,"d":1}}' }],
    ['privateMetadata', { privateMetadata: '{"b":2}' }, { privateMetadata: '{"a":1,"b":2}' }],
    ['locale', { locale: 'DE-ch' }, { locale: 'de-CH' }],
    ['timeZone', { timeZone: 'Asia/Kolkata' }, { timeZone: 'Asia/Kolkata' }],
    ['avatarUrl', { avatarUrl: 'https://example.org/2' }, { avatarUrl: 'https://example.org/2' }],
    ['emailVerifiedTime', { emailVerified: false }, { emailVerifiedTime: undefined }],
  ])('an update changes %s alone, and the activity names the field', async (name, change, changed) => {
    const user = await create({
      externalId: randomUUID(),
      publicMetadata: '{"a":1,"b":{"c":1}}',
      privateMetadata: '{"a":1}',
      locale: 'de',
      timeZone: 'Europe/Zurich',
      avatarUrl: 'https://example.org/1',
      emailVerified: true,
    });
    const next = await update(user.id, { ...change, etag: user.etag });
    expect(next).toEqual({ ...user, ...changed, etag: next.etag, updateTime: next.updateTime });
    expect(next.etag).not.toBe(user.etag);
    const again = await update(user.id, change);
    expect(again.etag, 'the same again changes nothing').toBe(next.etag);
    const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id });
    const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    expect(activities.map(({ action, attributes }) => [action, attributes['fields']])).toEqual([
      ['kith.user.updated', field],
      ['kith.user.created', undefined],
    ]);
  });

  test('a new email address is not verified, unless the same update says so; another case of it is the same', async () => {
    const user = await create({ emailVerified: true });
    const same = await update(user.id, { email: user.email.toUpperCase() });
    expect(same.emailVerifiedTime).toEqual(user.emailVerifiedTime);
    expect(await update(user.id, { emailVerified: true })).toEqual(same);
    const moved = await update(user.id, { email: `${randomUUID()}@example.org` });
    expect(moved.emailVerifiedTime).toBeUndefined();
    const verified = await update(user.id, { email: `${randomUUID()}@example.org`, emailVerified: true });
    expect(timestampMs(verified.emailVerifiedTime!)).toBe(timestampMs(verified.updateTime!));
  });

  test('an external id is of one user, tells upper and lower case apart, and none is of many', async () => {
    const externalId = `Ext ${randomUUID()}`;
    const taken = { code: 'AlreadyExists', reason: 'EXTERNAL_ID_TAKEN', metadata: { field: 'external_id' } };
    const user = await create({ externalId });
    const other = await create({ externalId: externalId.toLowerCase() });
    expect(await refusalOf(create({ externalId }))).toMatchObject(taken);
    expect(await refusalOf(update(other.id, { externalId }))).toMatchObject(taken);
    expect(await get(other.id)).toEqual(other);
    await users().deleteUser({ userId: user.id });
    expect(await refusalOf(create({ externalId })), 'of a deleted user').toMatchObject(taken);
    await create({ externalId: '' });
    await create({ externalId: '' });
    const { username, email } = other;
    expect(await refusalOf(create({ externalId, email }))).toMatchObject({ reason: 'EMAIL_TAKEN' });
    expect(await refusalOf(create({ externalId, email, username }))).toMatchObject({ reason: 'USERNAME_TAKEN' });
  });

  test('one of many at once has an external id', async () => {
    const externalId = randomUUID();
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => create({ externalId })));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') continue;
      expect(await refusalOf(Promise.reject(outcome.reason as Error))).toMatchObject({ reason: 'EXTERNAL_ID_TAKEN' });
    }
  });

  test('patches of metadata at once are all applied', async () => {
    const { id } = await create();
    await Promise.all(Array.from({ length: 8 }, (_, i) => update(id, { publicMetadata: `{"k${i}":${i}}` })));
    expect(JSON.parse((await get(id)).publicMetadata)).toEqual(
      Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`k${i}`, i])),
    );
  });

  test.each<[string, New & Update, string]>([
    ['an external id of 256', { externalId: 'x'.repeat(256) }, 'FIELDS_INVALID'],
    ['an external id of two lines', { externalId: 'a\nb' }, 'FIELDS_INVALID'],
    ['metadata that is no JSON', { publicMetadata: '{a:1}' }, 'METADATA_INVALID'],
    ['metadata that is no object', { privateMetadata: '["a"]' }, 'METADATA_INVALID'],
    ['metadata of more characters than bytes are stored', { publicMetadata: ' '.repeat(16_385) }, 'FIELDS_INVALID'],
    ['metadata of more bytes', { privateMetadata: `{"a":"${'é'.repeat(9000)}"}` }, 'METADATA_TOO_LARGE'],
    ['a locale with an underscore', { locale: 'pt_BR' }, 'FIELDS_INVALID'],
    ['a locale whose parts do not fit', { locale: 'de-de-de' }, 'LOCALE_INVALID'],
    ['a time zone that is an offset', { timeZone: '+01:00' }, 'FIELDS_INVALID'],
    ['a time zone of another planet', { timeZone: 'Mars/Olympus_Mons' }, 'TIME_ZONE_UNKNOWN'],
    ['an avatar over http', { avatarUrl: 'http://example.org/a.png' }, 'FIELDS_INVALID'],
    ['an avatar that is a script', { avatarUrl: 'javascript:alert(1)' }, 'FIELDS_INVALID'],
    ['an avatar without a host', { avatarUrl: 'https:///a.png' }, 'FIELDS_INVALID'],
  ])('%s is refused, in a new user and in an update', async (_, given, reason) => {
    const refusal = { code: 'InvalidArgument', reason };
    expect(await refusalOf(create(given))).toMatchObject(refusal);
    const user = await create();
    expect(await refusalOf(update(user.id, { name: 'Renamed', ...given }))).toMatchObject(refusal);
    expect(await get(user.id)).toEqual(user);
  });

  test('users change their own locale, time zone and avatar, and nothing that others keep with them', async () => {
    const { user, accessToken: own } = await kith.user();
    const client = kith.client(UserService, own);
    const change = { locale: 'de', timeZone: 'Europe/Berlin', avatarUrl: 'https://example.org/me.png' };
    expect((await client.updateUser({ userId: user.id, ...change })).user).toMatchObject(change);
    for (const value of Object.values({
      externalId: { externalId: 'x' },
      publicMetadata: { publicMetadata: '{"plan":"pro"}' },
      privateMetadata: { privateMetadata: '{"plan":"pro"}' },
      emailVerified: { emailVerified: true },
    })) {
      expect(await refusalOf(client.updateUser({ userId: user.id, ...value }))).toMatchObject({
        code: 'PermissionDenied',
        reason: 'FIELD_NEEDS_PERMISSION',
        metadata: { permission: 'PERMISSION_USERS_WRITE' },
      });
    }
  });

  test('a key that writes users keeps metadata with them; private metadata is answered to readers alone', async () => {
    const { user, accessToken: own, password } = await kith.user();
    const keyWith = async (...permissions: Permission[]) => {
      const { accessToken: fresh } = await kith.user(Role.ADMIN);
      return (await kith.client(ApiKeyService, fresh).createApiKey({ name: 'service', permissions })).secret;
    };
    const writer = kith.client(UserService, await keyWith(Permission.USERS_WRITE));
    const privateMetadata = '{"note":"of others"}';
    const written = await writer.updateUser({ userId: user.id, privateMetadata, publicMetadata: '{"plan":"pro"}' });
    expect(written.user).toMatchObject({ id: user.id, publicMetadata: '', privateMetadata: '' });
    const reader = kith.client(UserService, await keyWith(Permission.USERS_READ));
    expect((await reader.getUser({ userId: user.id })).user).toMatchObject({ privateMetadata });
    expect((await reader.getUserDetails({ userId: user.id })).user).toMatchObject({ privateMetadata });
    expect((await reader.listUsers({ query: user.username })).users).toMatchObject([{ privateMetadata }]);

    const client = kith.client(UserService, own);
    const auth = kith.client(AuthService, own);
    const login = await kith.client(AuthService).login({ identifier: user.username, password });
    const shown = [
      (await client.getUser({ userId: user.id })).user,
      (await client.getUserDetails({ userId: user.id })).user,
      (await client.updateUser({ userId: user.id, name: 'Me' })).user,
      (await auth.userMe({})).user,
      login.outcome.case === 'signedIn' ? login.outcome.value.user : undefined,
    ];
    for (const each of shown) expect(each).toMatchObject({ publicMetadata: '{"plan":"pro"}', privateMetadata: '' });
  });

  test('the last sign-in is told, and changes no etag', async () => {
    const { user, password } = await kith.user();
    const before = await get(user.id);
    kith.clock.offsetMs += 5000;
    await kith.client(AuthService).login({ identifier: user.username, password });
    const after = await get(user.id);
    expect(timestampMs(after.lastSignInTime!)).toBeGreaterThanOrEqual(timestampMs(before.lastSignInTime!) + 5000);
    expect({ ...after, lastSignInTime: before.lastSignInTime }).toEqual(before);
  });

  test('a user of an earlier version has none of it', async () => {
    await using database = await kind.createEmpty();
    const row = userRowBefore0009();
    await migrateUpTo(database.url, '0008-binary-responses', async (db) => {
      await db.insertInto('users').values(row).execute();
    });
    await using later = await startKith({ database });
    await using app = await openApp(later);
    expect(await getUser(app, row.id)).toMatchObject({
      username: row.username,
      externalId: '',
      publicMetadata: '',
      privateMetadata: '',
      locale: '',
      timeZone: '',
      avatarUrl: '',
      emailVerifiedMs: undefined,
      lastSignInMs: null,
    });
  });

  test('nothing that was written is there by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
