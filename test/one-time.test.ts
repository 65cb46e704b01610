import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Permission } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { type Kith, type SignedIn, startKith } from './support/kith.ts';

/** A clock that is never asked twice at the same time. */
let readMs = Date.now();
let kith: Kith;
let admin: SignedIn;
beforeAll(async () => {
  kith = await startKith({ now: () => ++readMs });
  admin = await kith.admin();
});
afterAll(() => kith[Symbol.asyncDispose]());

/** The time of a user's newest activity of a kind, which is the time it was recorded, too. */
async function timeOf(userId: string, action: string): Promise<number> {
  const client = kith.client(ActivityService, admin.accessToken);
  const { activities } = await client.listUserActivity({ userId, actionPrefixes: [action], pageSize: 1 });
  const [recorded, event] = [timestampMs(activities[0]!.recordTime!), timestampMs(activities[0]!.eventTime!)];
  expect(event).toBe(recorded);
  return recorded;
}

test('a change has one time, wherever it is written: contacts', async () => {
  const { id: userId } = admin.user;
  const contacts = kith.client(ContactService, admin.accessToken);
  const created = (await contacts.createContact({ givenName: 'Ada' })).contact!;
  expect(timestampMs(created.createTime!)).toBe(timestampMs(created.updateTime!));
  expect(await timeOf(userId, 'kith.contact.created')).toBe(timestampMs(created.createTime!));

  const updated = (await contacts.updateContact({ contactId: created.id, notes: 'x' })).contact!;
  expect(await timeOf(userId, 'kith.contact.updated')).toBe(timestampMs(updated.updateTime!));

  const deleted = (await contacts.deleteContact({ contactId: created.id })).contact!;
  expect(timestampMs(deleted.updateTime!)).toBe(timestampMs(deleted.deleteTime!));
  expect(timestampMs(deleted.purgeTime!) - timestampMs(deleted.deleteTime!)).toBe(kith.config.purgeAfterMs);
  expect(await timeOf(userId, 'kith.contact.deleted')).toBe(timestampMs(deleted.deleteTime!));

  const back = (await contacts.undeleteContact({ contactId: created.id })).contact!;
  expect(await timeOf(userId, 'kith.contact.undeleted')).toBe(timestampMs(back.updateTime!));
});

test('a change has one time, wherever it is written: users', async () => {
  const users = kith.client(UserService, admin.accessToken);
  const request = { username: 'ada', email: 'ada@example.org', name: 'Ada', password: 'poetical science' };
  const created = (await users.createUser(request)).user!;
  const { id } = created;
  expect(timestampMs(created.createTime!)).toBe(timestampMs(created.updateTime!));
  expect(await timeOf(id, 'kith.user.created')).toBe(timestampMs(created.createTime!));

  const updated = (await users.updateUser({ userId: id, state: UserState.SUSPENDED })).user!;
  expect(await timeOf(id, 'kith.user.updated')).toBe(timestampMs(updated.updateTime!));

  const deleted = (await users.deleteUser({ userId: id })).user!;
  expect(timestampMs(deleted.updateTime!)).toBe(timestampMs(deleted.deleteTime!));
  expect(timestampMs(deleted.purgeTime!) - timestampMs(deleted.deleteTime!)).toBe(kith.config.purgeAfterMs);
  expect(await timeOf(id, 'kith.user.deleted')).toBe(timestampMs(deleted.deleteTime!));

  const back = (await users.undeleteUser({ userId: id })).user!;
  expect(await timeOf(id, 'kith.user.undeleted')).toBe(timestampMs(back.updateTime!));
});

test('a change has one time, wherever it is written: API keys', async () => {
  const keys = kith.client(ApiKeyService, admin.accessToken);
  const { apiKey } = await keys.createApiKey({ name: 'x', permissions: [Permission.USERS_READ] });
  expect(await timeOf(admin.user.id, 'kith.api_key.created')).toBe(timestampMs(apiKey!.createTime!));
});
