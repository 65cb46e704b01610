import { randomUUIDv7 } from 'node:crypto';
import { getOption, hasOption } from '@bufbuild/protobuf';
import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { access, required_permission } from '../gen/kith/access/v1/access_pb.ts';
import { Permission } from '../gen/kith/access/v1/role_pb.ts';
import { type ApiKey, ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService, SignInMethod } from '../gen/kith/auth/v1/session_service_pb.ts';
import { SigningKeyService } from '../gen/kith/auth/v1/signing_key_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { bytesOf, NO_FIELDS, toColumns, toFields } from '../src/contacts/contact.ts';
import { contactTerms } from '../src/contacts/terms.ts';
import type { Schema } from '../src/storage/schema.ts';
import { createKeyring } from '../src/kernel/keyring.ts';
import { createPasswords } from '../src/identity/passwords/passwords.ts';
import { writeRefreshToken } from '../src/identity/sessions/refresh-token.ts';
import { databases } from './support/databases.ts';
import { startKith } from './support/kith.ts';
import { userRowBefore0009 } from './support/rows.ts';
import { refreshed, signedIn } from './support/sign-in.ts';
import { migrateUpTo } from './support/stored-database.ts';

test.each(databases)(
  'sessions from before they told how they began go on as sign-ins by password, on $name',
  async (kind) => {
    await using database = await kind.createEmpty();
    const { must_change_password: _, ...user } = userRowBefore0009();
    const now = Date.now();
    const session = {
      id: randomUUIDv7(),
      user_id: user.id,
      epoch: 0,
      refresh_counter: 0,
      refresh_ms: now,
      create_ms: now,
      expire_ms: now + 3_600_000,
      end_by_ms: now + 3_600_000,
      end_ms: null,
    };
    await migrateUpTo(database.url, '0002-activity', async (db) => {
      await db
        .insertInto('users')
        .values(user as ReturnType<typeof userRowBefore0009>)
        .execute();
      await db
        .insertInto('sessions')
        .values(session as unknown as Schema['sessions'])
        .execute();
    });

    await using kith = await startKith({ database });
    const keyring = createKeyring(kith.config.secretKey!);
    const refreshToken = writeRefreshToken(keyring, { sessionId: session.id, counter: 0 });
    const { accessToken } = await refreshed(kith.client(AuthService).refreshAccessToken({ refreshToken }));
    expect(decodeJwt(accessToken)['amr']).toEqual(['pwd']);
    const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: user.id });
    expect(sessions).toMatchObject([{ id: session.id, methods: [SignInMethod.PASSWORD], userAgent: '', address: '' }]);
  },
);

test.each(databases)(
  'contacts from before their fields had the names of the contract keep what they hold, on $name',
  async (kind) => {
    await using database = await kind.createEmpty();
    const password = 'a good password';
    const user = userRowBefore0009({
      password_hash: await createPasswords().hash(password, { payer: 'server' }),
    });
    // What looks like a key of the JSON is text.
    const trap = '"label":"title":\\"label":';
    const entry = { label: trap, primary: true };
    const contact = {
      id: randomUUIDv7(),
      owner_id: user.id,
      sort_key: 'ada',
      given_name: 'Ada',
      family_name: '',
      company: '',
      title: 'Countess',
      emails: JSON.stringify([{ address: 'ada@example.org', ...entry }]),
      phones: JSON.stringify([{ number: '123', ...entry }]),
      addresses: JSON.stringify([{ street: trap, city: '', region: '', postalCode: '', country: '', ...entry }]),
      urls: JSON.stringify([{ url: 'https://example.org', ...entry }]),
      birthday: '--12-10',
      notes: trap,
      starred: 0 as const,
      deleted: 0 as const,
      create_ms: 0,
      update_ms: 0,
      revision: 1,
    };
    const uncounted = { ...contact, id: randomUUIDv7(), bytes: 0 };
    const fields = toFields({ ...toColumns(NO_FIELDS), ...contact, job_title: contact.title });
    const terms = contactTerms(fields);
    const { emails, phones, addresses, urls } = contact;
    const bytes = bytesOf({ ...toColumns(fields), emails, phones, addresses, urls }, terms);
    await migrateUpTo(database.url, '0004-usage', async (db) => {
      await db.insertInto('users').values(user).execute();
      const rows = [{ ...contact, bytes }, uncounted];
      await db
        .insertInto('contacts')
        .values(rows as unknown as Schema['contacts'][])
        .execute();
      await db
        .insertInto('contact_terms')
        .values(rows.flatMap(({ id }) => terms.map((term) => ({ owner_id: user.id, contact_id: id, term }))))
        .execute();
      await db
        .insertInto('user_terms')
        .values([user.username, user.email].map((term) => ({ term, user_id: user.id })))
        .execute();
      await db
        .insertInto('user_usage')
        .values({ user_id: user.id, contacts: 1, live_contacts: 1, contact_bytes: bytes } as Schema['user_usage'])
        .execute();
    });

    await using kith = await startKith({ database });
    const { accessToken } = await signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
    const contacts = kith.client(ContactService, accessToken);
    const { contact: read } = await contacts.getContact({ contactId: contact.id });
    expect(read).toMatchObject({
      jobTitle: 'Countess',
      emails: [{ address: 'ada@example.org', type: trap, primary: true }],
      phones: [{ number: '123', type: trap, primary: true }],
      addresses: [{ street: trap, type: trap, primary: true }],
      urls: [{ url: 'https://example.org', type: trap, primary: true }],
      birthday: { month: 12, day: 10 },
      notes: trap,
    });
    // What is stored is what would be stored: an update that says the same changes nothing.
    const same = { contactId: contact.id, jobTitle: 'Countess', emails: { values: read!.emails } };
    expect((await contacts.updateContact(same)).contact!.etag).toBe(read!.etag);
    // What is brought up to date in the background may still be under way.
    const faults = async () => (await database.faults()).filter((fault) => !fault.includes(uncounted.id));
    await expect.poll(faults).toEqual([]);
    await kith.stop();
    expect(await faults()).toEqual([]);
  },
);

/** What a key could do with each permission, before the permissions for roles and credentials. */
const RIGHTS_BEFORE: Readonly<Record<string, readonly string[]>> = {
  'users.read': ['GetUser', 'GetUserDetails', 'GetUsage', 'ListUsers'],
  'users.write': [
    'CreateUser',
    'CreateUser.role',
    'DeleteUser',
    'UndeleteUser',
    'RevokeSession',
    'RevokeAllSessions',
    'UpdateUser',
    'UpdateUser.username',
    'UpdateUser.email',
    'UpdateUser.role',
    'UpdateUser.state',
    'RevokeApiKey',
  ],
  'signing_keys.write': ['ListSigningKeys'],
};
const OLD_PERMISSIONS = [...Object.keys(RIGHTS_BEFORE), 'contacts.read', 'activity.record'];

/** What came later, for keys that write users as well. */
const RIGHTS_SINCE = [
  'ExportUserData',
  'ImportUsers',
  'UpdateUser.external_id',
  'UpdateUser.public_metadata',
  'UpdateUser.private_metadata',
  'UpdateUser.email_verified',
];

function rightsBefore(held: readonly string[]): string[] {
  // The others were answered ids alone.
  const lists = held.includes('users.read') && held.includes('users.write') ? ['ListSessions', 'ListApiKeys'] : [];
  return [...held.flatMap((name) => RIGHTS_BEFORE[name] ?? []), ...lists].toSorted();
}

/** What the contract lets a key with these permissions do. */
function rightsNow(held: readonly Permission[]): string[] {
  const methods = [UserService, SessionService, ApiKeyService, SigningKeyService].flatMap((service) => service.methods);
  return methods
    .flatMap((method) => {
      const { rule, freshSignIn } = getOption(method, access);
      if (freshSignIn || rule.case !== 'permission' || !held.includes(rule.value)) return [];
      const fields = method.input.fields.filter(
        (field) => hasOption(field, required_permission) && held.includes(getOption(field, required_permission)),
      );
      return [method.name, ...fields.map(({ name }) => `${method.name}.${name}`)];
    })
    .toSorted();
}

test.each(databases)(
  'API keys from before there were permissions for roles and credentials gain none, and lose to give roles alone, on $name',
  async (kind) => {
    await using database = await kind.createEmpty();
    const password = 'a password of before';
    const owner = userRowBefore0009({
      role: 'admin',
      password_hash: await createPasswords().hash(password, { payer: 'server' }),
    });
    const subsets = Array.from({ length: 2 ** OLD_PERMISSIONS.length }, (_, bits) =>
      OLD_PERMISSIONS.filter((__, bit) => bits & (1 << bit)),
    );
    const keys = new Map<string, readonly string[]>(subsets.map((held) => [randomUUIDv7(), held]));
    await migrateUpTo(database.url, '0004-usage', async (db) => {
      await db.insertInto('users').values(owner).execute();
      const rest = { name: 'key', secret_hash: '', secret_hint: '', create_ms: 0, expire_ms: null, last_used_ms: null };
      const rows = [...keys].map(([id, held]) => ({ id, permissions: JSON.stringify(held), ...rest }));
      await db
        .insertInto('api_keys')
        .values(rows.map((row) => ({ ...row, user_id: owner.id })))
        .execute();
    });

    await using kith = await startKith({ database });
    const { accessToken } = await signedIn(kith.client(AuthService).login({ identifier: owner.username, password }));
    const { apiKeys } = await kith.client(ApiKeyService, accessToken).listApiKeys({ userId: owner.id });
    expect(apiKeys).toHaveLength(subsets.length);
    const byKey = (rights: (key: ApiKey) => readonly string[]) =>
      Object.fromEntries(apiKeys.map((key) => [keys.get(key.id)!.join(), rights(key)]));
    const known = (right: string) => !RIGHTS_SINCE.includes(right);
    expect(byKey(({ permissions }) => rightsNow(permissions).filter(known))).toEqual(
      byKey(({ id }) => rightsBefore(keys.get(id)!).filter((right) => !right.endsWith('.role'))),
    );
  },
);
