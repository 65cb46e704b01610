import { createClient } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AdminService } from '../gen/kith/admin/v1/admin_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { grpc } from './support/kith.ts';
import { probe } from './support/process.ts';
import { createStallingDisk, startStallingServer } from './support/stalled-disk.ts';

const disk = await createStallingDisk();
if (disk === undefined) console.warn('SKIPPED: a disk that stands still takes Linux and a C compiler (cc)');

describe.skipIf(disk === undefined)('while the disk stands still', () => {
  test('what reads is answered, and what writes once the disk goes on', async () => {
    await using server = await startStallingServer(disk!);
    const { kith, accessToken } = server;
    const transport = grpc(kith.address, accessToken);
    const [auth, users, contacts, activity] = [
      createClient(AuthService, transport),
      createClient(UserService, transport),
      createClient(ContactService, transport),
      createClient(ActivityService, transport),
    ];
    const { user } = await auth.userMe({});
    const write = await server.startWriting();
    for (let i = 0; i < 20; i++) {
      expect((await users.getUser({ userId: user!.id })).user).toEqual(user);
      expect((await users.listUsers({})).users).toEqual([user]);
      expect((await contacts.listContacts({})).contacts).toEqual([]);
      expect((await activity.listUserActivity({ userId: user!.id })).activities.length).toBeGreaterThan(0);
      expect((await probe(`${kith.address}/readyz`)).status).toBe(200);
    }
    expect(write.isAnswered()).toBe(false);
    await disk!.resume();
    const { contact } = await write.written;
    expect((await contacts.listContacts({})).contacts).toEqual([contact]);
  });

  test('each write is flushed before it is answered, and those that waited meanwhile are flushed together', async () => {
    await using server = await startStallingServer((await createStallingDisk())!);
    const { disk } = server;
    const transport = grpc(server.kith.address, server.accessToken);
    const [contacts, admin] = [createClient(ContactService, transport), createClient(AdminService, transport)];
    for (let i = 0; i < 5; i++) {
      const before = disk.flushes();
      await contacts.createContact({ givenName: 'One' });
      expect(disk.flushes()).toBeGreaterThan(before);
    }
    const write = await server.startWriting();
    const before = disk.flushes();
    let answered = 0;
    const others = Array.from({ length: 8 }, async () => {
      await contacts.createContact({ givenName: 'Other' });
      answered += 1;
    });
    await expect.poll(async () => (await admin.getStatus({})).database?.tasksWaiting).toBeGreaterThan(1);
    expect(answered).toBe(0);
    await disk.resume();
    await Promise.all([write.written, ...others]);
    expect(disk.flushes() - before).toBeLessThan(1 + others.length);
    expect((await contacts.listContacts({})).contacts.length).toBe(5 + 1 + others.length);
  });
});
