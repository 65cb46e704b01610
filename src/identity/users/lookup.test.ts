import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission, Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../../gen/kith/auth/v1/api_key_service_pb.ts';
import type { User } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserLookupStatus, UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../../test/support/kith.ts';
import { insertManyUsers } from '../../../test/support/many-users.ts';
import { openDatabase } from '../../storage/database.ts';
import { startOn } from '../../../test/support/stored.ts';

const { FOUND, NOT_FOUND, LEFT_OUT } = UserLookupStatus;

const byId = (value: string) => ({ key: { case: 'userId' as const, value } });
const byUsername = (value: string) => ({ key: { case: 'username' as const, value } });
const byEmail = (value: string) => ({ key: { case: 'email' as const, value } });
const byExternalId = (value: string) => ({ key: { case: 'externalId' as const, value } });
type Key = ReturnType<typeof byId | typeof byUsername | typeof byEmail | typeof byExternalId>;

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let accessToken: string;
  beforeAll(async () => {
    kith = await startOn(kind);
    ({ accessToken } = await kith.admin());
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const users = () => kith.client(UserService, accessToken);
  const lookup = async (keys: Key[], token = accessToken) =>
    (await kith.client(UserService, token).lookupUsers({ keys })).lookups;
  const create = async (given: object = {}): Promise<User> => {
    const username = `u${randomUUID()}`;
    const request = { username, email: `${username}@example.org`, name: 'Somebody', password: 'a good password' };
    return (await users().createUser({ ...request, ...given })).user!;
  };

  test('each key is answered in the order of the keys, with its user or that there is none', async () => {
    const externalId = `Ext|${randomUUID()}`;
    const [ada, grace] = [await create({ externalId }), await create()];
    const { user: deleted } = await users().deleteUser({ userId: (await create()).id });
    const lookups = await lookup([
      byUsername(grace.username.toUpperCase()),
      byId(randomUUID()),
      byExternalId(externalId),
      byExternalId(externalId.toLowerCase()),
      byEmail(ada.email.toUpperCase()),
      byId(deleted!.id.toUpperCase()),
      byEmail(ada.username),
      byUsername('not a username'),
      byEmail('not an address'),
      byId(ada.id),
      byId(grace.id),
    ]);
    expect(lookups.map(({ user }) => user)).toEqual([
      grace,
      undefined,
      ada,
      undefined,
      ada,
      deleted,
      undefined,
      undefined,
      undefined,
      ada,
      grace,
    ]);
    expect(lookups.map(({ status }) => status)).toEqual(
      lookups.map(({ user }) => (user === undefined ? NOT_FOUND : FOUND)),
    );
  });

  test('250 are looked up at once, and no more', async () => {
    const ids = await insertManyUsers(kith.database.url, 250);
    const keys = ids.toReversed().map((id, i) => (i % 2 === 0 ? byId(id) : byUsername(`many-${249 - i}`)));
    const lookups = await lookup(keys);
    expect(lookups.map(({ user }) => user?.id)).toEqual(ids.toReversed());
    for (const refused of [[], [...keys, byId(ids[0]!)]]) {
      expect(await refusalOf(lookup(refused))).toMatchObject({ code: 'InvalidArgument', reason: 'FIELDS_INVALID' });
    }
  });

  test.each<[string, object]>([
    ['no key', {}],
    ['an id that is no UUID', byId('1')],
    ['an empty username', byUsername('')],
    ['an email address of 255', byEmail('a'.repeat(255))],
    ['an external id of two lines', byExternalId('a\nb')],
  ])('%s is refused', async (_, key) => {
    expect(await refusalOf(lookup([key as Key]))).toMatchObject({ reason: 'FIELDS_INVALID' });
  });

  test('whoever may not read users finds themselves alone, with a session, by all that is known of them', async () => {
    const { user, accessToken: own } = await kith.user();
    const externalId = randomUUID();
    const privateMetadata = '{"a":1}';
    await users().updateUser({ userId: user.id, externalId, privateMetadata });
    const other = await create();
    const keys = [byId(user.id), byUsername(user.username), byEmail(user.email), byExternalId(externalId)];
    const others = [byId(other.id), byUsername(other.username), byEmail(other.email), byId(randomUUID())];
    const lookups = await lookup([...others, ...keys], own);
    expect(lookups.map(({ status }) => status)).toEqual([...others.map(() => NOT_FOUND), ...keys.map(() => FOUND)]);
    for (const { user: found } of lookups.slice(others.length)) {
      expect(found).toMatchObject({ id: user.id, externalId, privateMetadata: '' });
    }
    const { accessToken: fresh, user: owner } = await kith.user(Role.ADMIN);
    const keyWith = async (permission: Permission) =>
      (await kith.client(ApiKeyService, fresh).createApiKey({ name: 'k', permissions: [permission] })).secret;
    const asked = [byId(owner.id), byId(user.id)];
    expect((await lookup(asked, await keyWith(Permission.USERS_WRITE))).map(({ status }) => status)).toEqual([
      NOT_FOUND,
      NOT_FOUND,
    ]);
    const read = await lookup(asked, await keyWith(Permission.USERS_READ));
    expect(read.map(({ user: found }) => found?.privateMetadata)).toEqual(['', privateMetadata]);
  });

  test('an answer holds users up to a size, and says who is left out', async () => {
    const ids = await insertManyUsers(kith.database.url, 120, (n) => ({
      username: `large-${n}`,
      email: `large-${n}@example.org`,
    }));
    await using database = await openDatabase(kith.database.url);
    const metadata = `{"a":"${'x'.repeat(16_000)}"}`;
    await database.db.updateTable('users').set({ public_metadata: metadata }).where('id', 'in', ids).execute();
    const gone = byId(randomUUID());
    const lookups = await lookup([...ids.map(byId), gone]);
    const count = lookups.filter(({ status }) => status === FOUND).length;
    expect(count).toBeGreaterThan(10);
    expect(count).toBeLessThan(50);
    expect(lookups.map(({ status }) => status)).toEqual([
      ...ids.map((_, i) => (i < count ? FOUND : LEFT_OUT)),
      LEFT_OUT,
    ]);
    const rest = await lookup(ids.slice(count).map(byId));
    expect(rest[0]).toMatchObject({ status: FOUND, user: { id: ids[count] } });
    await database.db.deleteFrom('users').where('id', 'in', ids).execute();
  });

  test('a user whose purge time has passed is not found', async () => {
    const [id] = await insertManyUsers(kith.database.url, 1, () => ({
      username: 'over',
      email: 'over@x.example',
      state: 'deleted',
    }));
    expect((await lookup([byId(id!)]))[0]!.status).toBe(FOUND);
    await using database = await openDatabase(kith.database.url);
    await database.db.updateTable('users').set({ purge_ms: 1 }).where('id', '=', id!).execute();
    expect((await lookup([byId(id!)]))[0]!.status).toBe(NOT_FOUND);
  });
});
