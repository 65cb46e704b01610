import { randomUUID } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import type { Client } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { LabelService } from '../gen/kith/contact/v1/label_service_pb.ts';
import { ContactFormat, ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { eraseUser } from '../src/identity/users/erase.ts';
import { getUser } from '../src/identity/users/users.ts';
import type { Caller } from '../src/kernel/access.ts';
import { exportData, PIECE_MAX, piecesOf } from '../src/privacy/export.ts';
import { quarters, toPng } from '../src/contacts/photos/pictures.testkit.ts';
import type { KeptColumn } from '../src/privacy/personal-data.ts';
import { purge } from '../src/purge.ts';
import { PERSONAL_DATA } from '../src/services.ts';
import { renew } from '../src/identity/sessions/sessions.ts';
import { createWatchLimits } from '../src/activity/activity.ts';
import { Authenticator } from './support/authenticator.ts';
import { databases } from './support/databases.ts';
import { type Kith, refusalOf, type SignedIn } from './support/kith.ts';
import { insertManyContacts } from './support/many-contacts.ts';
import { CREDENTIALS_INVALID, FRESH_SIGN_IN_REQUIRED, SESSION_ENDED, USER_NOT_FOUND } from './support/refusals.ts';
import { resetCode } from './support/outbox.ts';
import { permissionsOf } from './support/roles.ts';
import { openApp, startOn } from './support/stored.ts';

/** The columns that slices declare, as `table.column`. */
const DECLARED: ReadonlyMap<string, KeptColumn> = new Map(
  PERSONAL_DATA.flatMap(({ tables }) =>
    Object.entries(tables).flatMap(([table, columns]) =>
      Object.entries(columns).map(([column, kept]) => [`${table}.${column}`, kept] as const),
    ),
  ),
);
const PARTS = PERSONAL_DATA.flatMap(({ parts = {} }) => Object.keys(parts));

/** The parts that nobody but the user exports, and no API key. */
const OF_CONTACTS = [
  'labels',
  'contacts',
  'contactMerges',
  'contactImports',
  'contactImportChanges',
  'contactVersions',
  'distinctContacts',
  'contactPhotos',
];

type Row = Readonly<Record<string, unknown>>;

async function tablesOf({ database }: Kith): Promise<[table: string, rows: Row[]][]> {
  return JSON.parse(await database.dump()) as [string, Row[]][];
}

/** Where a text stands in the database, as `table.column`, once each. */
async function placesOf(kith: Kith, isThere: (value: string) => boolean): Promise<string[]> {
  const found = (await tablesOf(kith)).flatMap(([table, rows]) =>
    rows.flatMap((row) =>
      Object.entries(row).flatMap(([column, value]) =>
        typeof value === 'string' && isThere(value) ? [`${table}.${column}`] : [],
      ),
    ),
  );
  return [...new Set(found)].toSorted();
}

interface Document extends Record<string, unknown> {
  readonly omitted: readonly string[];
  readonly user: Row;
  readonly activity: readonly Row[];
}

async function exported(users: Client<typeof UserService>, userId: string): Promise<Document> {
  let text = '';
  for await (const { json } of users.exportUserData({ userId })) text += json;
  return JSON.parse(text) as Document;
}

/** A user of whom every slice keeps something, with a text of their own in each. */
async function fullUser(kith: Kith): Promise<SignedIn & { readonly marker: string }> {
  const { accessToken: admin } = await kith.admin();
  const one = await kith.user(Role.EDITOR);
  const marker = `m${randomUUID()}`;
  const userId = one.user.id;
  const contacts = kith.client(ContactService, one.accessToken);
  const { contact: kept } = await contacts.createContact({ givenName: `${marker} kept`, requestId: randomUUID() });
  await contacts.setContactPhoto({ contactId: kept!.id, image: toPng(quarters(2)) });
  const { contact } = await contacts.createContact({ givenName: `${marker} deleted` });
  const { contact: other } = await contacts.createContact({ givenName: `${marker} other` });
  await contacts.markContactsDistinct({ contactIds: [contact!.id, other!.id] });
  const { contact: merged } = await contacts.createContact({ givenName: other!.givenName });
  await contacts.mergeContacts({
    contacts: [other!, merged!].map(({ id, etag }) => ({ contactId: id, etag })),
    keptContactId: other!.id,
  });
  await contacts.importContacts({
    format: ContactFormat.VCARD_3,
    content: Buffer.from(`BEGIN:VCARD\nN:;${marker} other;;;\nUID:urn:uuid:${other!.id}\nTEL:1\nEND:VCARD\n`),
    source: `${marker} file`,
  });
  await contacts.deleteContact({ contactId: contact!.id });
  await kith.client(LabelService, one.accessToken).createLabel({ name: `${marker} label` });
  await kith.client(ApiKeyService, one.accessToken).createApiKey({
    name: `${marker} key`,
    permissions: [Permission.USERS_READ],
  });
  await kith.client(UserService, admin).updateUser({
    userId,
    name: `${marker} name`,
    externalId: `${marker} external`,
    publicMetadata: JSON.stringify({ plan: `${marker} public` }),
    privateMetadata: JSON.stringify({ note: `${marker} private` }),
    avatarUrl: `https://example.org/${marker}`,
  });
  await kith.client(ActivityService, admin).recordUserActivity({
    activities: [{ userId, action: 'page.viewed', details: `${marker} activity` }],
  });
  const factor = kith.client(SecondFactorService, one.accessToken);
  const app = new Authenticator((await factor.enrollTotp({})).uri, kith.clock);
  await factor.confirmTotp({ code: app.next() });
  await resetCode(kith, one.user);
  // A role that changes is published to those who verify tokens.
  await kith.client(UserService, admin).updateUser({ userId, role: Role.VIEWER });
  return { ...one, marker };
}

test('a text is cut into pieces that hold whole code points', () => {
  const text = `${'a'.repeat(PIECE_MAX - 1)}🦉${'b'.repeat(2 * PIECE_MAX)}`;
  const pieces = [...piecesOf(text)];
  expect(pieces.join('')).toBe(text);
  expect(pieces.map((piece) => piece.isWellFormed() && piece.length <= PIECE_MAX)).toEqual([true, true, true, true]);
  expect([...piecesOf('')]).toEqual([]);
});

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  let users: Client<typeof UserService>;
  /** On the same database. */
  let app: Awaited<ReturnType<typeof openApp>>;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_WATCHES_PER_CALLER: '3' } });
    app = await openApp(kith);
    users = kith.client(UserService, (await kith.admin()).accessToken);
  });
  afterAll(async () => {
    await app[Symbol.asyncDispose]();
    await kith[Symbol.asyncDispose]();
  });

  const erase = async (userId: string) => users.eraseUser({ userId });

  test('every column with ids of users is declared by a slice, with where it is exported or why it is not', async () => {
    const { user } = await fullUser(kith);
    const holding = await placesOf(kith, (value) => value === user.id);
    expect(holding.filter((place) => !DECLARED.has(place))).toEqual([]);
    // A declaration of what this user has nothing of would show nothing here, nor in the test of erasing.
    const byActor = ['activity.actor_id'];
    expect([...DECLARED.keys()].filter((place) => !holding.includes(place) && !byActor.includes(place))).toEqual([]);
    const named = [...DECLARED.values()].flatMap(({ exported: part }) => (typeof part === 'string' ? [part] : []));
    expect(named.filter((part) => !PARTS.includes(part))).toEqual([]);
    expect(new Set(named)).toEqual(new Set(PARTS));
  });

  test.runIf(kind === databases[0])('every column that refers to users, or is named like one, is declared', () => {
    using db = new DatabaseSync(new URL(kith.database.url).pathname, { readOnly: true });
    const tables = db.prepare("select name from sqlite_schema where type = 'table'").all();
    const columns = tables.flatMap(({ name }) => {
      const table = String(name);
      const foreign = db.prepare(`select "from" from pragma_foreign_key_list(?) where "table" = 'users'`).all(table);
      const all = db.prepare('select name from pragma_table_info(?)').all(table);
      const named = all.map((column) => String(column['name'])).filter((each) => NAMES.test(each));
      return [...new Set([...foreign.map((column) => String(column['from'])), ...named])].map((c) => `${table}.${c}`);
    });
    expect(columns.length).toBeGreaterThan(8);
    expect(columns.filter((column) => !DECLARED.has(column))).toEqual([]);
  });

  test('a user exports all that is kept of them, but for secrets and what they may not read', async () => {
    const { user, marker, accessToken } = await fullUser(kith);
    const document = await exported(kith.client(UserService, accessToken), user.id);
    expect(document).toMatchObject({
      userId: user.id,
      omitted: ['user.privateMetadata'],
      user: {
        id: user.id,
        email: user.email,
        name: `${marker} name`,
        externalId: `${marker} external`,
        publicMetadata: JSON.stringify({ plan: `${marker} public` }),
        hasPassword: true,
        mustChangePassword: false,
      },
      sessions: [{ userId: user.id, address: '127.0.0.1', current: true }],
      apiKeys: [{ name: `${marker} key`, permissions: ['PERMISSION_USERS_READ'] }],
      secondFactor: { totpEnabled: true, recoveryCodesLeft: 10 },
      mails: ['password_reset', 'second_factor_enabled', 'api_key_created'].map((kind) => ({
        recipient: user.email,
        kind,
      })),
      labels: [{ name: `${marker} label` }],
      contacts: [
        { givenName: `${marker} kept` },
        { givenName: `${marker} other` },
        { givenName: `${marker} deleted`, deleteTime: expect.any(String) },
        { givenName: `${marker} other`, deleteTime: expect.any(String) },
      ],
      contactMerges: [{ before: { givenName: `${marker} other` } }],
      contactImports: [{ source: `${marker} file`, updatedContacts: 1 }],
      contactImportChanges: [{ before: { givenName: `${marker} other` } }],
      contactVersions: expect.arrayContaining([
        expect.objectContaining({
          action: 'kith.contact.merged',
          contact: expect.objectContaining({ givenName: `${marker} other` }),
        }),
      ]),
      distinctContacts: [{ contactIds: [expect.any(String), expect.any(String)] }],
      contactPhotos: [
        { id: expect.any(String), contentType: 'image/jpeg', image: expect.stringMatching(/^\/9j\/[\w+/=]+$/) },
      ],
    });
    const actions = document.activity.map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['kith.contact.created', 'page.viewed', 'kith.user.created']));
    expect(actions).not.toContain('kith.user.exported');
    const text = JSON.stringify(document);
    expect(text).not.toContain(`${marker} private`);
    const secrets = (await tablesOf(kith)).flatMap(([, rows]) =>
      rows
        .filter((row) => row['id'] === user.id || row['user_id'] === user.id)
        .flatMap((row) => ['password_hash', 'secret_sealed', 'secret_hash', 'code_mac'].map((column) => row[column])),
    );
    const stored = secrets.filter((secret) => typeof secret === 'string');
    expect(stored.length).toBeGreaterThan(12);
    expect(stored.filter((secret) => text.includes(secret))).toEqual([]);
  });

  test('others are exported as far as the caller may read them, which is recorded', async () => {
    const { user, marker } = await fullUser(kith);
    const ofAdmin = await exported(users, user.id);
    expect(ofAdmin.omitted).toEqual([...OF_CONTACTS, 'activity.private']);
    expect(ofAdmin).toMatchObject({ user: { privateMetadata: JSON.stringify({ note: `${marker} private` }) } });
    expect(ofAdmin).toMatchObject({ sessions: [{ address: '127.0.0.1' }], secondFactor: { totpEnabled: true } });
    expect(ofAdmin).not.toHaveProperty('contacts');
    expect(JSON.stringify(ofAdmin)).not.toContain('kith.contact.');
    expect(ofAdmin.activity[0]).toMatchObject({ action: 'kith.user.exported' });

    const editor = await kith.user(Role.EDITOR);
    const ofEditor = await exported(kith.client(UserService, editor.accessToken), user.id);
    expect(ofEditor.omitted).toEqual([
      ...OF_CONTACTS,
      'sessions',
      'secondFactor',
      'activity.private',
      'apiKeys',
      'mails',
    ]);
    const keys = kith.client(ApiKeyService, editor.accessToken);
    const { secret } = await keys.createApiKey({ name: 'export', permissions: [Permission.USERS_READ] });
    const ofKey = await exported(kith.client(UserService, secret), editor.user.id);
    expect(ofKey.omitted).toEqual([...OF_CONTACTS, 'sessions', 'secondFactor', 'activity', 'apiKeys', 'mails']);
  });

  test('neither a stranger, a viewer nor a key with other permissions exports somebody else', async () => {
    const { user } = await kith.user();
    const viewer = await kith.user();
    const { accessToken: admin } = await kith.admin();
    const { secret } = await kith.client(ApiKeyService, admin).createApiKey({
      name: 'no users',
      permissions: permissionsOf(Role.ADMIN).filter((permission) => permission !== Permission.USERS_READ),
    });
    for (const token of [viewer.accessToken, secret]) {
      const refusal = await refusalOf(exported(kith.client(UserService, token), user.id));
      expect(refusal).toMatchObject({ code: 'PermissionDenied', reason: 'PERMISSION_MISSING' });
    }
    expect(await refusalOf(exported(users, randomUUID()))).toMatchObject(USER_NOT_FOUND);
  });

  test('an export holds one page at a time, and ends where the user is erased or the session ends', async () => {
    const { user } = await kith.user();
    const admin = await kith.user(Role.ADMIN);
    await insertManyContacts(kith.database.url, user.id, 450, () => []);
    const [caller, erasing] = [await callerOf(user.id), await callerOf(admin.user.id)];
    const exporting = { ...app, ...createWatchLimits(10), renew: (one: Caller) => renew(app, one) };
    const { signal } = new AbortController();
    const open = () => {
      const requireUser = () => getUser(app, user.id);
      return exportData(exporting, PERSONAL_DATA, { userId: user.id, caller, requireUser }, signal);
    };
    let whole = '';
    for await (const piece of open()) whole += piece;
    expect((JSON.parse(whole) as { contacts: unknown[] }).contacts).toHaveLength(450);

    const broken = open();
    let read = '';
    while (!read.includes('"contacts":[')) read += (await broken.next()).value as string;
    await broken.next(); // a page of contacts
    await eraseUser(app, PERSONAL_DATA, erasing, user.id, undefined, signal);
    await expect(Array.fromAsync(broken)).rejects.toMatchObject({ reason: 'session_ended' });
    const gone = exportData(
      exporting,
      PERSONAL_DATA,
      { userId: user.id, caller: erasing, requireUser: () => getUser(app, user.id) },
      signal,
    );
    await expect(Array.fromAsync(gone)).rejects.toMatchObject({ reason: 'user_not_found' });
  });

  test('exports that nobody reads are held up, and count as watches do', async () => {
    const { user, accessToken } = await kith.user();
    await insertManyContacts(kith.database.url, user.id, 3000, () => []);
    const leaving = new AbortController();
    const open = async () => {
      const stream = kith.client(UserService, accessToken).exportUserData({ userId: user.id }, leaving);
      await stream[Symbol.asyncIterator]().next();
    };
    for (let i = 0; i < 3; i++) await open();
    expect(await refusalOf(open())).toMatchObject({ code: 'ResourceExhausted', reason: 'BUDGET_EXCEEDED' });
    leaving.abort();
    await expect
      .poll(() => refusalOf(exported(kith.client(UserService, accessToken), user.id)).catch(() => 'ok'))
      .toBe('ok');
  });

  test('erasing leaves nothing of a user but ids, and a receipt', async () => {
    const one = await fullUser(kith);
    const { user, marker } = one;
    const other = await kith.user();
    const faults = await kith.database.faults();
    const { eraseTime, receiptId } = await erase(user.id);
    expect(eraseTime).toBeDefined();

    const staying = [...DECLARED].filter(([, { stays }]) => stays !== undefined).map(([place]) => place);
    const holding = await placesOf(kith, (value) => value.includes(user.id));
    expect(holding.filter((place) => !staying.includes(place))).toEqual(['activity.attributes']);
    for (const text of [marker, user.username, user.email, one.refreshToken]) {
      expect(await placesOf(kith, (value) => value.includes(text))).toEqual([]);
    }
    const { activities } = await kith
      .client(ActivityService, (await kith.admin()).accessToken)
      .listUserActivity({ actionPrefixes: ['kith.user.erased'], pageSize: 1 });
    expect(activities).toMatchObject([
      { id: receiptId, userId: '', actorId: (await kith.admin()).user.id, attributes: { user_id: user.id } },
    ]);
    expect(await users.getUser({ userId: other.user.id })).toMatchObject({ user: { email: other.user.email } });
    expect((await kith.database.faults()).filter((fault) => !faults.includes(fault))).toEqual([]);
  });

  test('an erased user is found by no method from the first step on, whatever the clock says', async () => {
    const { user, password, accessToken } = await fullUser(kith);
    const { secret } = await kith
      .client(ApiKeyService, accessToken)
      .createApiKey({ name: 'late', permissions: [Permission.CONTACTS_READ] });
    const admin = await kith.user(Role.ADMIN);
    const stopped = AbortSignal.abort();
    await eraseUser(app, PERSONAL_DATA, await callerOf(admin.user.id), user.id, undefined, stopped);
    expect(await placesOf(kith, (value) => value === user.id)).toContain('contacts.owner_id'); // the rest is not removed yet

    const userId = user.id;
    const token = (await kith.admin()).accessToken;
    const asked = kith.client(UserService, token);
    const calls = [
      () => asked.getUser({ userId }),
      () => asked.getUserDetails({ userId }),
      () => asked.getUsage({ userId }),
      () => asked.updateUser({ userId, name: 'Again' }),
      () => asked.deleteUser({ userId }),
      () => asked.undeleteUser({ userId }),
      () => asked.setUserPassword({ userId, password: 'another password of it' }),
      () => asked.eraseUser({ userId }),
      () => exported(asked, userId),
      () => kith.client(SessionService, token).listSessions({ userId }),
      () => kith.client(ApiKeyService, token).listApiKeys({ userId }),
      () => kith.client(SecondFactorService, token).resetSecondFactor({ userId }),
      () => kith.client(ActivityService, token).recordUserActivity({ activities: [{ userId, action: 'page.viewed' }] }),
    ];
    for (const call of calls) {
      expect({ call: String(call), ...(await refusalOf(call())) }).toMatchObject(USER_NOT_FOUND);
    }
    const { lookups } = await asked.lookupUsers({
      keys: [
        { key: { case: 'userId', value: userId } },
        { key: { case: 'email', value: user.email } },
        { key: { case: 'username', value: user.username } },
      ],
    });
    expect(lookups.map((lookup) => lookup.user)).toEqual([undefined, undefined, undefined]);
    const states = [UserState.ACTIVE, UserState.SUSPENDED, UserState.DELETED];
    const listed: string[] = [];
    let pageToken = '';
    do {
      const page = await asked.listUsers({ states, pageToken, pageSize: 1000 });
      listed.push(...page.users.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(listed).not.toContain(userId);
    // A clock that is set back does not bring the user back.
    await expect(getUser({ ...app, now: () => 1 }, userId)).rejects.toMatchObject({ reason: 'user_not_found' });
    const login = kith.client(AuthService).login({ identifier: user.username, password });
    expect(await refusalOf(login)).toMatchObject(CREDENTIALS_INVALID);
    // Erased by another process than the one that is asked, which hears of it within a second.
    const soon = { timeout: 30_000 };
    await vi.waitFor(async () => {
      expect(await refusalOf(kith.client(AuthService, accessToken).userMe({}))).toMatchObject(SESSION_ENDED);
    }, soon);
    await vi.waitFor(async () => {
      const byKey = kith.client(ContactService, secret).listContacts({});
      expect(await refusalOf(byKey)).toMatchObject({ reason: 'API_KEY_INVALID' });
    }, soon);
    const { username, email } = user;
    await users.createUser({ username, email, name: 'The next one', password: 'a password of mine' });

    await purge(app);
    expect(await placesOf(kith, (value) => value === user.id)).toEqual(['revocations.user_id']);
  });

  test('a user with many rows is erased in steps, and one who was deleted before is erased at once', async () => {
    const { user } = await kith.user();
    await insertManyContacts(kith.database.url, user.id, 350, () => ['term']);
    const activities = Array.from({ length: 100 }, () => ({ userId: user.id, action: 'page.viewed' }));
    const recording = kith.client(ActivityService, (await kith.admin()).accessToken);
    for (let i = 0; i < 3; i++) await recording.recordUserActivity({ activities });
    const { user: deleted } = await users.deleteUser({ userId: user.id });
    await users.eraseUser({ userId: user.id, etag: deleted!.etag });
    expect(await placesOf(kith, (value) => value === user.id)).toEqual(['revocations.user_id']);
  });

  test('erasing is refused to those who may not, and leaves everything as it was', async () => {
    const one = await fullUser(kith);
    const { id: userId } = one.user;
    const { accessToken: admin } = await kith.admin();
    const { secret } = await kith.client(ApiKeyService, admin).createApiKey({
      name: 'writer',
      permissions: [...permissionsOf(Role.ADMIN)],
    });
    const before = (await tablesOf(kith)).filter(([table]) => table === 'users' || table === 'contacts');
    const by = (token: string, etag?: string) =>
      refusalOf(kith.client(UserService, token).eraseUser({ userId, ...(etag && { etag }) }));
    const PERMISSION_MISSING = { code: 'PermissionDenied', reason: 'PERMISSION_MISSING' };
    expect(await by(one.accessToken)).toMatchObject(PERMISSION_MISSING);
    expect(await by((await kith.user(Role.EDITOR)).accessToken)).toMatchObject(PERMISSION_MISSING);
    expect(await by(secret)).toMatchObject(FRESH_SIGN_IN_REQUIRED);
    expect(await by(admin, 'another')).toMatchObject({ code: 'Aborted', reason: 'ETAG_MISMATCH' });
    expect(await refusalOf(users.eraseUser({ userId: randomUUID() }))).toMatchObject(USER_NOT_FOUND);
    const after = (await tablesOf(kith)).filter(([table]) => table === 'users' || table === 'contacts');
    const ofThem = (tables: typeof after) =>
      tables.map(([, rows]) => rows.filter((row) => row['id'] === userId || row['owner_id'] === userId));
    expect(ofThem(after)).toEqual(ofThem(before));
  });

  test('the last active admin is not erased', async () => {
    await using alone = await startOn(kind);
    const { user, accessToken } = await alone.admin();
    const refusal = await refusalOf(alone.client(UserService, accessToken).eraseUser({ userId: user.id }));
    expect(refusal).toMatchObject({ code: 'FailedPrecondition', reason: 'LAST_ADMIN' });
  });

  async function callerOf(userId: string): Promise<Caller> {
    const session = await app.database.db
      .selectFrom('sessions')
      .select('id')
      .where('user_id', '=', userId)
      .executeTakeFirstOrThrow();
    return renew(app, { userId, sessionId: session.id });
  }
});

const NAMES = /^(user|owner|caller|actor|subject|member|author)_id$/;
