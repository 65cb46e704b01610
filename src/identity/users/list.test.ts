import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { type User, UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { type ListUsersRequestSchema, UserOrder, UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { ADMIN_PASSWORD, type Kith, refusalOf } from '../../../test/support/kith.ts';
import { userRowBefore0009 } from '../../../test/support/rows.ts';
import { signedIn } from '../../../test/support/sign-in.ts';
import { migrateUpTo } from '../../../test/support/stored-database.ts';
import { startOn } from '../../../test/support/stored.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { openDatabase } from '../../storage/database.ts';
import { upgradeUsers } from './users.ts';

type ListRequest = MessageInitShape<typeof ListUsersRequestSchema>;
const PASSWORD = 'a good password';
const DAY_MS = 86_400_000;

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let accessToken: string;
  /** Oldest first, each a day after the one before; named Zed, Yan and so on. */
  let people: User[];

  const users = () => kith.client(UserService, accessToken);
  const find = async (request: ListRequest) => (await users().listUsers(request)).users.map(({ name }) => name);
  const walk = async (request: ListRequest, pageSize = 2): Promise<string[]> => {
    const names: string[] = [];
    let pageToken = '';
    do {
      const page = await users().listUsers({ ...request, pageSize, pageToken });
      names.push(...page.users.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return names;
  };

  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } });
    const names = ['Zed', 'yan', 'Xaver', 'Ángel', 'Will'];
    people = [];
    for (const [i, name] of names.entries()) {
      kith.clock.offsetMs = i * DAY_MS;
      ({ accessToken } = await signedIn(
        kith.client(AuthService).login({ identifier: 'admin', password: ADMIN_PASSWORD }),
      ));
      const { user } = await users().createUser({
        username: `list-${i}`,
        email: `List.${i}@example.org`,
        name,
        password: PASSWORD,
        externalId: `Ext|${i}`,
        role: i === 2 ? Role.EDITOR : Role.VIEWER,
        publicMetadata: JSON.stringify({ plan: i % 2 === 0 ? 'pro' : 'free', seats: i, trial: i === 1, tags: ['a'] }),
        privateMetadata: '{"plan":"secret"}',
      });
      people.push(user!);
    }
    for (const i of [3, 0]) {
      kith.clock.offsetMs += 60_000;
      await signedIn(kith.client(AuthService).login({ identifier: `list-${i}`, password: PASSWORD }));
    }
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const { NEWEST, OLDEST, NAME, LAST_SIGN_IN } = UserOrder;

  test.each<[string, UserOrder, string[]]>([
    ['newest first', UserOrder.UNSPECIFIED, ['Will', 'Ángel', 'Xaver', 'yan', 'Zed']],
    ['newest first, said', NEWEST, ['Will', 'Ángel', 'Xaver', 'yan', 'Zed']],
    ['oldest first', OLDEST, ['Zed', 'yan', 'Xaver', 'Ángel', 'Will']],
    ['by name', NAME, ['Ángel', 'Will', 'Xaver', 'yan', 'Zed']],
  ])('%s', async (_, order, names) => {
    const isOurs = (name: string) => name !== 'Administrator';
    for (const pageSize of [1, 2, 1000]) {
      expect((await walk({ order }, pageSize)).filter(isOurs)).toEqual(names);
    }
    expect(await walk({ order, query: 'list-' })).toEqual(names);
    expect(await walk({ order, roles: [Role.VIEWER] })).toEqual(names.filter((name) => name !== 'Xaver'));
  });

  test('by the last sign-in, and those who never signed in come last', async () => {
    const names = await walk({ order: LAST_SIGN_IN, roles: [Role.VIEWER, Role.EDITOR] });
    expect(names).toEqual(['Zed', 'Ángel', 'Will', 'Xaver', 'yan']);
  });

  test.each<[string, ListRequest, string[]]>([
    ['an email address, in any case', { email: ' list.1@EXAMPLE.org' }, ['yan']],
    ['the beginning of one', { email: 'list.1@example' }, []],
    ['an external id', { externalId: 'Ext|3' }, ['Ángel']],
    ['an external id in another case', { externalId: 'ext|3' }, []],
    ['both, of two users', { externalId: 'Ext|3', email: 'list.1@example.org' }, []],
    ['both, of one user', { externalId: 'Ext|3', email: 'list.3@example.org' }, ['Ángel']],
    ['an email address, of another role', { email: 'list.1@example.org', roles: [Role.ADMIN] }, []],
    ['an email address, of another state', { email: 'list.1@example.org', states: [UserState.SUSPENDED] }, []],
    ['an email address and another query', { email: 'list.1@example.org', query: 'zed' }, []],
    ['an email address and a query', { email: 'list.1@example.org', query: 'YAN' }, ['yan']],
    ['a text', { publicMetadata: { name: 'plan', value: { case: 'text', value: 'pro' } } }, ['Will', 'Xaver', 'Zed']],
    ['a number', { publicMetadata: { name: 'seats', value: { case: 'number', value: 3 } } }, ['Ángel']],
    ['a number as a text', { publicMetadata: { name: 'seats', value: { case: 'text', value: '3' } } }, []],
    ['a truth value', { publicMetadata: { name: 'trial', value: { case: 'truth', value: true } } }, ['yan']],
    ['the beginning of a text', { publicMetadata: { name: 'plan', value: { case: 'text', value: 'pr' } } }, []],
    [
      'public and private metadata',
      {
        publicMetadata: { name: 'plan', value: { case: 'text', value: 'free' } },
        privateMetadata: { name: 'plan', value: { case: 'text', value: 'secret' } },
      },
      ['Ángel', 'yan'],
    ],
    ['private metadata', { privateMetadata: { name: 'plan', value: { case: 'text', value: 'pro' } } }, []],
    [
      'metadata, by name, of a role',
      {
        publicMetadata: { name: 'plan', value: { case: 'text', value: 'pro' } },
        order: NAME,
        roles: [Role.VIEWER],
      },
      ['Will', 'Zed'],
    ],
  ])('finds users by %s', async (_, request, names) => {
    expect(await find(request)).toEqual(names);
    expect(await walk(request, 1)).toEqual(names);
    const { totalSize, totalSizeAtLeast } = await users().listUsers({
      ...request,
      includeTotalSize: true,
      pageSize: 1,
    });
    expect({ totalSize, totalSizeAtLeast }).toEqual({ totalSize: names.length, totalSizeAtLeast: false });
  });

  test.each([NEWEST, OLDEST, NAME, LAST_SIGN_IN])(
    'within a time of creation and of sign-in, in order %s',
    async (order) => {
      const created = (n: number) => people[n]!.createTime!;
      const names = async (request: ListRequest) => (await walk({ order, ...request })).toSorted();
      expect(await names({ createStartTime: created(1), createEndTime: created(3) })).toEqual(['Xaver', 'yan']);
      expect(await names({ createStartTime: created(3) })).toEqual(['Will', 'Ángel']);
      const justAfter = { ...created(4), nanos: created(4).nanos + 1 };
      expect(await names({ createStartTime: justAfter })).toEqual([]);
      expect(await names({ createStartTime: created(3), createEndTime: justAfter })).toEqual(['Will', 'Ángel']);
      const last = timestampMs((await users().getUser({ userId: people[0]!.id })).user!.lastSignInTime!);
      const viewers = { roles: [Role.VIEWER] };
      expect(await names({ ...viewers, signInStartTime: timestampFromMs(last) })).toEqual(['Zed']);
      expect(await names({ ...viewers, signInEndTime: timestampFromMs(last) })).toEqual(['Ángel']);
      expect(await names({ ...viewers, signInStartTime: timestampFromMs(0) })).toEqual(['Zed', 'Ángel']);
      const both = { createEndTime: created(1), signInStartTime: timestampFromMs(0), includeTotalSize: true };
      expect((await users().listUsers({ order, ...viewers, ...both })).totalSize).toBe(1);
    },
  );

  test('a page token is good for the filters and the order that it was given for', async () => {
    const request = { order: NAME, publicMetadata: { name: 'plan', value: { case: 'text' as const, value: 'pro' } } };
    const { nextPageToken: pageToken } = await users().listUsers({ ...request, pageSize: 1 });
    expect(pageToken).not.toBe('');
    expect(await find({ ...request, pageToken })).toEqual(['Xaver', 'Zed']);
    for (const other of [
      { ...request, order: OLDEST },
      { ...request, publicMetadata: { name: 'plan', value: { case: 'text' as const, value: 'free' } } },
      { ...request, createEndTime: timestampFromMs(1e15 / 1000) },
      { order: NAME },
    ]) {
      expect(await refusalOf(users().listUsers({ ...other, pageToken }))).toMatchObject({
        reason: 'PAGE_TOKEN_INVALID',
      });
    }
  });

  test.each<[string, ListRequest]>([
    ['an order that there is not', { order: 99 as UserOrder }],
    ['metadata without a name', { publicMetadata: { value: { case: 'text', value: 'a' } } }],
    ['metadata without a value', { publicMetadata: { name: 'a' } }],
    ['a time before 1970', { createStartTime: { seconds: -1n, nanos: 0 } }],
  ])('%s is refused', async (_, request) => {
    expect(await refusalOf(users().listUsers(request))).toMatchObject({ reason: 'FIELDS_INVALID' });
  });

  test('a renamed user is sorted by the new name, and found by new metadata alone', async () => {
    const { user } = await users().createUser({
      username: 'renamed',
      email: `${randomUUID()}@example.org`,
      name: 'Aaron',
      password: PASSWORD,
      publicMetadata: '{"team":"a"}',
    });
    await users().updateUser({ userId: user!.id, name: 'Zzz', publicMetadata: '{"team":"b"}' });
    expect((await walk({ order: NAME })).at(-1)).toBe('Zzz');
    const team = (value: string) => ({ publicMetadata: { name: 'team', value: { case: 'text' as const, value } } });
    expect([await find(team('a')), await find(team('b'))]).toEqual([[], ['Zzz']]);
    await users().deleteUser({ userId: user!.id });
  });

  test('users of an earlier version are sorted by name in small steps', async () => {
    await using database = await kind.createEmpty();
    const rows = ['Zed', 'Yan', 'Ángel'].map((name) => userRowBefore0009({ name }));
    await migrateUpTo(database.url, '0008-binary-responses', async (db) => {
      await db.insertInto('users').values(rows).execute();
    });
    await using opened = await openDatabase(database.url);
    expect([await upgradeUsers({ database: opened }, 2), await upgradeUsers({ database: opened }, 2)]).toEqual([2, 1]);
    expect(await upgradeUsers({ database: opened }, 2)).toBe(0);
    const keys = await opened.db.selectFrom('users').select('name_key').orderBy('name_key').execute();
    expect(keys.map(({ name_key }) => name_key)).toEqual(['angel', 'yan', 'zed']);
  });
});
