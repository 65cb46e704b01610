import { createClient } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
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
});
