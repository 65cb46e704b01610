import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { clone, type DescMessage, fromJson, type Message, toBinary, toJson } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService, RecordUserActivityResponseSchema } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ContactService, CreateContactResponseSchema } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { CreateUserResponseSchema, UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { openDatabase } from '../src/storage/database.ts';
import { MIGRATIONS, TABLES } from '../src/storage/migrations/list.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { type Kith, refusalOf, type SignedIn, startKith } from './support/kith.ts';
import { refreshed, signedIn } from './support/sign-in.ts';
import { fillStored, given, storedAfter, storedTables } from './support/stored-database.ts';

interface Create {
  readonly name: string;
  readonly output: DescMessage;
  call(kith: Kith, admin: SignedIn, requestId: string): Promise<Message>;
}

const CREATES: readonly Create[] = [
  {
    name: 'CreateUser',
    output: CreateUserResponseSchema,
    call: (kith, { accessToken }, requestId) => {
      const username = `u${requestId.toLowerCase()}`;
      const rest = { name: 'Ada', password: 'poetical science', email: `${username}@example.org` };
      return kith.client(UserService, accessToken).createUser({ username, requestId, ...rest });
    },
  },
  {
    name: 'CreateContact',
    output: CreateContactResponseSchema,
    call: (kith, { accessToken }, requestId) =>
      kith.client(ContactService, accessToken).createContact({
        givenName: 'Ada',
        familyName: 'Lovelace',
        emails: [{ address: 'ada@example.org', type: 'home' }],
        phones: [{ number: '+44 20' }],
        addresses: [{ city: 'London' }],
        urls: [{ url: 'https://ada.example' }],
        birthday: { month: 12, day: 10 },
        notes: 'Notes',
        starred: true,
        requestId,
      }),
  },
  {
    name: 'RecordUserActivity',
    output: RecordUserActivityResponseSchema,
    call: (kith, { accessToken, user }, requestId) =>
      kith.client(ActivityService, accessToken).recordUserActivity({
        activities: [
          { userId: user.id, action: 'page.viewed', attributes: { page: '/' } },
          { userId: user.id, action: 'page.left', details: 'Gone' },
        ],
        requestId,
      }),
  },
];

describe.each(CREATES)('a response of $name that a version stored which knew fewer fields', ({ output, call }) => {
  let kith: Kith;
  let admin: SignedIn;
  let database: Awaited<ReturnType<typeof openDatabase>>;
  beforeAll(async () => {
    kith = await startKith();
    admin = await kith.admin();
    database = await openDatabase(kith.database.url);
  });
  afterAll(async () => {
    await database[Symbol.asyncDispose]();
    await kith[Symbol.asyncDispose]();
  });
  const json = (message: Message) => JSON.stringify(toJson(output, message as never));

  test('is answered without the field that it lacks', async () => {
    const requestId = randomUUID();
    const first = await call(kith, admin, requestId);
    const created = output.fields[0]!;
    for (const field of created.message!.fields) {
      const lacking = clone(output, first);
      for (const item of [Reflect.get(lacking, created.localName) as Message].flat()) {
        reflect(created.message!, item).clear(field);
      }
      const response = Buffer.from(toBinary(output, lacking)).toString('base64');
      await database.db.updateTable('requests').set({ response }).where('request_id', '=', requestId).execute();
      expect(json(await call(kith, admin, requestId))).toBe(json(lacking));
    }
  });

  test('is answered to the id in any case', async () => {
    const requestId = randomUUID();
    const first = json(await call(kith, admin, requestId));
    expect(json(await call(kith, admin, requestId.toUpperCase()))).toBe(first);
  });
});

test('the stored database has rows of every table of its version, and of those that a later migration names', () => {
  const tables = Object.entries(TABLES);
  const later = Object.keys(MIGRATIONS).filter((name) => name > storedAfter);
  const needed = [
    ...tables.filter(([, madeBy]) => madeBy <= storedAfter),
    ...later.flatMap((name) => {
      const source = readFileSync(`src/storage/migrations/${name}.ts`, 'utf8');
      return tables.filter(([table, madeBy]) => madeBy < name && source.includes(`'${table}'`));
    }),
  ];
  expect(needed.map(([table]) => table).filter((table) => !storedTables.has(table))).toEqual([]);
});

describe.each(databases)('of a database that an earlier version stored, on $name', (kind) => {
  let kith: Kith;
  let tokens: Record<'admin' | 'ada', string>;
  let database: TestDatabase;
  beforeAll(async () => {
    database = await kind.createEmpty();
    await fillStored(database.url);
    await using stored = await openDatabase(database.url);
    // It was made last, by the clock of the server that wrote it, and by its id first.
    await stored.db
      .updateTable('users')
      .set({ create_ms: given.madeMs - 60_000 })
      .where('username', '=', 'admin')
      .execute();
    kith = await startKith({ database, now: () => given.madeMs });
    const accessTokenOf = async (refreshToken: string) =>
      (await refreshed(kith.client(AuthService).refreshAccessToken({ refreshToken }))).accessToken;
    tokens = { admin: await accessTokenOf(given.adminRefreshToken), ada: await accessTokenOf(given.adaRefreshToken) };
  });
  afterAll(async () => {
    await kith.stop();
    await database[Symbol.asyncDispose]();
  });

  test('its tables are those that the migrations are listed to make', async () => {
    const tables = (JSON.parse(await database.dump()) as [name: string, rows: unknown][]).map(([name]) => name);
    const ours = tables.filter((name) => !/^(?:kysely|sqlite)_/.test(name));
    expect(ours.toSorted()).toEqual(Object.keys(TABLES).toSorted());
  });

  test('a session goes on, and one that was revoked does not', async () => {
    const { user } = await kith.client(AuthService, tokens.ada).userMe({});
    expect(user).toMatchObject({ id: given.adaId, username: 'ada' });
    const revoked = kith.client(AuthService).refreshAccessToken({ refreshToken: given.revokedRefreshToken });
    expect(await refusalOf(revoked)).toMatchObject({ code: 'Unauthenticated' });
  });

  test.each(CREATES)('a request of $name is answered what it was answered then', async ({ name, output }) => {
    const { by, request, response } = given.creates.find(({ method }) => method === name)!;
    const service = [UserService, ContactService, ActivityService].find(({ methods }) =>
      methods.some((method) => method.output === output),
    )!;
    const method = service.methods.find((each) => each.output === output)!;
    const client = kith.client(service, tokens[by]) as unknown as Record<
      string,
      (request: Message) => Promise<Message>
    >;
    const answer = await client[method.localName]!(fromJson(method.input, request));
    expect(toJson(output, answer)).toEqual(response);
  });

  test('page tokens lead to the next page', async () => {
    const contacts = await kith.client(ContactService, tokens.ada).listContacts({ pageToken: given.contactPageToken });
    expect(contacts.contacts.map(({ givenName }) => givenName)).toEqual(['Edsger', 'Grace']);
    const { users } = await kith.client(UserService, tokens.admin).listUsers({ pageToken: given.userPageToken });
    expect(users.map(({ username }) => username)).toEqual(['admin']);
    const activity = await kith.client(ActivityService, tokens.ada).listUserActivity({
      userId: given.adaId,
      pageToken: given.activityPageToken,
      pageSize: 2,
    });
    expect(activity.activities.map(({ id }) => id)).toEqual(given.activitiesOfNextPage);
  });

  test.each([
    ['of a list', given.watchCursor, 'page.left'],
    ['of a watch that was sent all', given.progressCursor, 'page.left'],
    ['of an activity', given.eventCursor, 'page.closed'],
  ])('a watch goes on from the cursor %s', async (_, afterCursor, next) => {
    const request = { userId: given.adaId, afterCursor, actionPrefixes: ['page'] };
    for await (const { activity } of kith.client(ActivityService, tokens.ada).watchUserActivity(request)) {
      if (activity === undefined) continue;
      expect(activity.action).toBe(next);
      return;
    }
  });

  test('an API key is good, and a sign-in that waited for a second factor is completed', async () => {
    const { user } = await kith.client(UserService, given.apiKey).getUser({ userId: given.adaId });
    expect(user?.username).toBe('ada');
    const answer = { case: 'recoveryCode', value: given.recoveryCode } as const;
    const completed = kith.client(AuthService).completeLogin({ challengeToken: given.challengeToken, answer });
    expect((await signedIn(completed)).user.username).toBe('grace');
  });
});
