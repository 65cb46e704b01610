import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { ErrorReason } from '../../../gen/kith/error/v1/error_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import {
  ImportConflict,
  type ImportedUserSchema,
  ImportStatus,
  UserOrder,
  UserService,
} from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../../test/support/kith.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import { startOn } from '../../../test/support/stored.ts';

type Row = MessageInitShape<typeof ImportedUserSchema>;
const { CREATED, UPDATED, SAME, REFUSED } = ImportStatus;

/** "poetical science", as in docs/import-users.md. */
const HASH = '$2b$10$SNBjG37a.BBF4zvloyHl5OGMUbunP0VFds7FX4WDWwB52QHrqZdVe';
const PASSWORD = 'poetical science';

/** A row of a user nobody has yet. */
function row(given: Row = {}): Row & { username: string; email: string; name: string } {
  const username = `i${randomUUID()}`;
  return { username, email: `${username}@example.org`, name: 'Imported', passwordHash: HASH, ...given };
}

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let accessToken: string;
  beforeAll(async () => {
    kith = await startOn(kind);
    ({ accessToken } = await kith.admin());
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const users = (token = accessToken) => kith.client(UserService, token);
  const run = async (rows: Row[], onConflict: ImportConflict = ImportConflict.UNSPECIFIED, token = accessToken) =>
    (await users(token).importUsers({ users: rows, onConflict })).results;
  const statuses = async (rows: Row[], onConflict?: ImportConflict) =>
    (await run(rows, onConflict)).map(({ status }) => status);
  /** Imports rows, and gives the id of the first. */
  const idOf = async (rows: Row[]): Promise<string> => (await run(rows))[0]!.userId;
  const get = async (userId: string) => (await users().getUser({ userId })).user!;

  test('a user is imported with id, hash, times and all fields, and signs in with the old password', async () => {
    const userId = randomUUID();
    const createMs = Date.parse('2015-12-10T12:00:00.123Z');
    const given = {
      ...row({ userId: userId.toUpperCase(), role: Role.EDITOR, name: 'Ada Lovelace' }),
      externalId: `Ext|${userId}`,
      publicMetadata: '{"a": 1}',
      privateMetadata: '{"b":2}',
      locale: 'pt-br',
      timeZone: 'Europe/Berlin',
      avatarUrl: 'https://example.org/a.png',
      createTime: timestampFromMs(createMs),
      emailVerifiedTime: timestampFromMs(createMs + 1000),
    };
    const [imported] = await run([given]);
    expect(imported).toMatchObject({ status: CREATED, userId });
    expect(imported!.refusal).toBeUndefined();
    const user = await get(userId);
    expect(user).toMatchObject({
      id: userId,
      username: given.username,
      email: given.email,
      name: 'Ada Lovelace',
      role: Role.EDITOR,
      state: UserState.ACTIVE,
      externalId: `Ext|${userId}`,
      publicMetadata: '{"a":1}',
      locale: 'pt-BR',
      privateMetadata: '{"b":2}',
      timeZone: 'Europe/Berlin',
      avatarUrl: 'https://example.org/a.png',
      emailVerifiedTime: timestampFromMs(createMs + 1000),
    });
    expect(timestampMs(user.createTime!)).toBe(createMs);
    const oldest = await users().listUsers({ order: UserOrder.OLDEST, query: given.username, pageSize: 1 });
    expect(oldest.users).toMatchObject([{ id: userId }]);
    await signedIn(kith.client(AuthService).login({ identifier: given.username, password: PASSWORD }));
    expect(await run([given]), 'again, after the hash was replaced').toMatchObject([{ status: SAME, userId }]);
    const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId });
    const created = activities.filter(({ action }) => action === 'kith.user.created');
    expect(created).toMatchObject([{ attributes: { imported: 'true' } }]);
  });

  test('the same 250 rows again change nothing', async () => {
    const rows = Array.from({ length: 250 }, (_, i) =>
      row({ name: `Many ${i}`, externalId: i % 2 === 0 ? randomUUID() : '', publicMetadata: `{"n":${i}}` }),
    );
    const first = await run(rows);
    expect(first.map(({ status }) => status)).toEqual(rows.map(() => CREATED));
    const before = await get(first[7]!.userId);
    for (const policy of [ImportConflict.REFUSE, ImportConflict.UPDATE]) {
      const again = await run(rows, policy);
      expect(again.map(({ status, userId }) => [status, userId])).toEqual(first.map(({ userId }) => [SAME, userId]));
    }
    expect(await get(first[7]!.userId)).toEqual(before);
    expect(await refusalOf(run([...rows, row()]))).toMatchObject({ reason: 'FIELDS_INVALID' });
    expect(await refusalOf(run([]))).toMatchObject({ reason: 'FIELDS_INVALID' });
  });

  test('what a row does not say stays, what it says is changed on demand alone', async () => {
    const externalId = randomUUID();
    const given = row({ externalId, locale: 'de', publicMetadata: '{"a":1}', role: Role.EDITOR });
    const userId = await idOf([given]);
    const before = await get(userId);
    const changed = { ...row({ externalId, name: 'Renamed', privateMetadata: '{"b":2}' }), username: given.username };
    expect(await run([changed])).toMatchObject([
      {
        status: REFUSED,
        userId,
        refusal: {
          detail: { reason: ErrorReason.USER_DIFFERS, metadata: { field: 'email' } },
          message: expect.stringMatching(/./),
        },
      },
    ]);
    expect(await get(userId)).toEqual(before);
    expect(await run([changed], ImportConflict.UPDATE)).toMatchObject([{ status: UPDATED, userId }]);
    const after = await get(userId);
    expect(after).toEqual({
      ...before,
      email: changed.email,
      name: 'Renamed',
      privateMetadata: '{"b":2}',
      etag: after.etag,
      updateTime: after.updateTime,
    });
    expect(after.etag).not.toBe(before.etag);
    const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId, pageSize: 1 });
    expect(activities).toMatchObject([
      { action: 'kith.user.updated', attributes: { fields: 'email,name,private_metadata' } },
    ]);
  });

  test('each row has its own refusal, and the others are written', async () => {
    const there = row({ externalId: randomUUID() });
    const deleted = row();
    const results = await run([there, deleted]);
    await users().deleteUser({ userId: results[1]!.userId });
    const good = [row(), row(), row()];
    const rows: [Row, ErrorReason, string][] = [
      [
        row({ username: there.username.toUpperCase(), externalId: randomUUID() }),
        ErrorReason.USERNAME_TAKEN,
        'username',
      ],
      [row({ email: there.email.toUpperCase() }), ErrorReason.EMAIL_TAKEN, 'email'],
      [row({ userId: randomUUID(), externalId: there.externalId! }), ErrorReason.EXTERNAL_ID_TAKEN, 'external_id'],
      [{ ...deleted, name: 'Back' }, ErrorReason.RESOURCE_DELETED, ''],
      [row({ passwordHash: 'x' }), ErrorReason.PASSWORD_HASH_UNSUPPORTED, 'password_hash'],
      [row({ publicMetadata: '[]' }), ErrorReason.METADATA_INVALID, 'public_metadata'],
      [row({ privateMetadata: `{"a":"${'é'.repeat(9000)}"}` }), ErrorReason.METADATA_TOO_LARGE, 'private_metadata'],
      [row({ locale: 'de-de-de' }), ErrorReason.LOCALE_INVALID, 'locale'],
      [row({ timeZone: 'Mars/Olympus' }), ErrorReason.TIME_ZONE_UNKNOWN, 'time_zone'],
      [row({ username: 'a b' }), ErrorReason.FIELDS_INVALID, 'username'],
      [row({ email: 'nobody' }), ErrorReason.FIELDS_INVALID, 'email'],
      [row({ name: '' }), ErrorReason.FIELDS_INVALID, 'name'],
      [row({ state: UserState.DELETED }), ErrorReason.FIELDS_INVALID, 'state'],
      [row({ userId: 'x' }), ErrorReason.FIELDS_INVALID, 'user_id'],
      [row({ avatarUrl: 'http://example.org' }), ErrorReason.FIELDS_INVALID, 'avatar_url'],
    ];
    const mixed = [
      good[0]!,
      ...rows.slice(0, 7).map(([each]) => each),
      good[1]!,
      ...rows.slice(7).map(([each]) => each),
      good[2]!,
    ];
    const all = await run(mixed);
    const refused = all.filter(({ status }) => status === REFUSED);
    const refusals = refused.map(({ refusal }) => refusal!);
    expect(refusals.map(({ detail }) => [detail?.reason, detail?.metadata['field'] ?? ''])).toEqual(
      rows.map(([, reason, field]) => [reason, field]),
    );
    for (const { message } of refusals) expect(message).toMatch(/\w/);
    expect(all.filter(({ status }) => status === CREATED)).toHaveLength(3);
    for (const { username } of good)
      await signedIn(kith.client(AuthService).login({ identifier: username, password: PASSWORD }));
  });

  test('rows of one call see each other', async () => {
    const [one, other] = [row(), row()];
    expect(await statuses([one, one, { ...other, email: one.email }, other])).toEqual([
      CREATED,
      SAME,
      REFUSED,
      CREATED,
    ]);
    const swapped = [
      { ...one, email: `x${one.email}` },
      { ...other, email: one.email },
      { ...one, email: other.email },
    ];
    expect(await statuses(swapped, ImportConflict.UPDATE)).toEqual([UPDATED, UPDATED, UPDATED]);
    const fresh = row();
    const renamed = { ...fresh, name: 'Other' };
    expect(await statuses([fresh, renamed, renamed], ImportConflict.UPDATE)).toEqual([CREATED, UPDATED, SAME]);
  });

  test('a user without a hash signs in once a password is set; one who must change it does so', async () => {
    const [without, must] = [row({ passwordHash: '' }), row({ mustChangePassword: true })];
    const userId = await idOf([without, must]);
    const login = (identifier: string, password: string) => kith.client(AuthService).login({ identifier, password });
    for (const password of ['', PASSWORD, 'x']) {
      if (password === '') continue;
      expect(await refusalOf(login(without.username, password))).toMatchObject({ reason: 'CREDENTIALS_INVALID' });
    }
    await users().setUserPassword({ userId, password: 'a password at last' });
    await signedIn(login(without.username, 'a password at last'));
    expect((await login(must.username, PASSWORD)).outcome.case).toBe('challenge');
  });

  test('times of the future are now', async () => {
    const userId = await idOf([row({ createTime: timestampFromMs(Date.now() + 1e9) })]);
    expect(timestampMs((await get(userId)).createTime!)).toBeLessThanOrEqual(Date.now() + 1000);
  });

  test('roles take their permission, users above the importer stay as they are, and the last admin stays one', async () => {
    const { accessToken: fresh, user: admin } = await kith.user(Role.ADMIN);
    const { secret } = await kith.client(ApiKeyService, fresh).createApiKey({
      name: 'importer',
      permissions: [Permission.USERS_WRITE],
    });
    const [editor] = await run([row({ role: Role.EDITOR, externalId: 'editor' })]);
    const results = await run(
      [
        row({ role: Role.ADMIN }),
        row({ role: Role.VIEWER }),
        { userId: admin.id, username: admin.username, email: admin.email, name: 'Taken over' },
        { ...row({ externalId: 'editor' }), userId: editor!.userId },
        row(),
      ],
      ImportConflict.UPDATE,
      secret,
    );
    expect(results.map(({ status, refusal }) => [status, refusal?.detail?.reason])).toEqual([
      [REFUSED, ErrorReason.FIELD_NEEDS_PERMISSION],
      [REFUSED, ErrorReason.FIELD_NEEDS_PERMISSION],
      [REFUSED, ErrorReason.PERMISSION_MISSING],
      [REFUSED, ErrorReason.PERMISSION_MISSING],
      [CREATED, undefined],
    ]);
    await users().deleteUser({ userId: admin.id });
    const { user: first } = await kith.client(AuthService, accessToken).userMe({});
    const { id, username, email, name } = first!;
    const last = [{ userId: id, username, email, name, role: Role.VIEWER }];
    const others = (await users().listUsers({ roles: [Role.ADMIN] })).users.filter((user) => user.id !== id);
    for (const other of others) await users().deleteUser({ userId: other.id });
    expect(await run(last, ImportConflict.UPDATE)).toMatchObject([
      { status: REFUSED, refusal: { detail: { reason: ErrorReason.LAST_ADMIN } } },
    ]);
  });

  test('suspending a user by an import ends the sessions', async () => {
    const { user, accessToken: own } = await kith.user();
    const { username, email, name } = user;
    const suspend = [{ username, email, name, state: UserState.SUSPENDED }];
    expect(await statuses(suspend, ImportConflict.UPDATE)).toEqual([UPDATED]);
    expect(await refusalOf(kith.client(AuthService, own).userMe({}))).toMatchObject({ reason: 'SESSION_ENDED' });
  });

  test('one of several imports of the same rows at once creates each user', async () => {
    const rows = Array.from({ length: 60 }, () => row({ externalId: randomUUID() }));
    const all = await Promise.all([run(rows), run(rows.toReversed()), run(rows)]);
    const created = all.flat().filter(({ status }) => status === CREATED);
    expect(created).toHaveLength(rows.length);
    expect(new Set(all.flat().map(({ userId }) => userId)).size).toBe(rows.length);
    expect(all.flat().filter(({ status }) => status === SAME)).toHaveLength(2 * rows.length);
  });

  test('an import and a create at once of one username leave one user', async () => {
    for (let i = 0; i < 8; i++) {
      const given = row();
      const { username, email, name } = given;
      const create = users().createUser({ username, email, name, password: 'a good password' });
      const [imported, created] = await Promise.all([
        run([given]),
        create.then(
          () => 1,
          () => 0,
        ),
      ]);
      expect([imported[0]!.status === CREATED, created]).toEqual(created === 1 ? [false, 1] : [true, 0]);
      expect((await users().listUsers({ email })).users).toHaveLength(1);
    }
  });

  test('nothing that was written is there by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
