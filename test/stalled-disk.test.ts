import { type Client, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { ADMIN_PASSWORD, grpc, refusalOf } from './support/kith.ts';
import { probe, type ServingProcess, startProcess } from './support/process.ts';
import { createStallingDisk } from './support/stalled-disk.ts';
import { signedIn } from './support/sign-in.ts';

const disk = await createStallingDisk();
if (disk === undefined) console.warn('SKIPPED: a disk that stands still takes Linux and a C compiler (cc)');

/** A disk that stands still, for as long as the test likes, under a SQLite file. */
describe.skipIf(disk === undefined)('while the disk stands still', () => {
  let kith: ServingProcess;
  let accessToken: string;
  beforeAll(async () => {
    kith = await startProcess({ env: { ...disk!.env, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD } });
    ({ accessToken } = await signedIn(
      createClient(AuthService, grpc(kith.address)).login({
        identifier: 'admin',
        password: ADMIN_PASSWORD,
      }),
    ));
  });
  afterAll(async () => {
    await disk!.resume();
    await kith[Symbol.asyncDispose]();
    await disk![Symbol.asyncDispose]();
  });

  /** Lets a write wait for the disk, and says whether it was answered. */
  async function startWriting() {
    const contacts = createClient(ContactService, grpc(kith.address, accessToken));
    await disk!.stall();
    let isAnswered = false;
    const written = contacts.createContact({ givenName: 'Ada' }).finally(() => (isAnswered = true));
    await expect.poll(() => disk!.isWaitedFor()).toBe(true);
    return { written, isAnswered: () => isAnswered };
  }

  test('what reads is answered, and what writes once the disk goes on', async () => {
    const transport = grpc(kith.address, accessToken);
    const [auth, users, contacts, activity] = [
      createClient(AuthService, transport),
      createClient(UserService, transport),
      createClient(ContactService, transport),
      createClient(ActivityService, transport),
    ];
    const { user } = await auth.userMe({});
    const write = await startWriting();
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

  test('a write whose deadline passes is told so, and those that wait too long are told to come back', async () => {
    const [contacts, users] = [ContactService, UserService].map((service) =>
      createClient(service, grpc(kith.address, accessToken)),
    ) as [Client<typeof ContactService>, Client<typeof UserService>];
    const write = await startWriting();
    const late = await refusalOf(contacts.createContact({ givenName: 'Late' }, { timeoutMs: 500 }));
    expect(late.code).toBe('DeadlineExceeded');
    const refusals = await Promise.all([
      refusalOf(contacts.createContact({ givenName: 'Refused' })),
      refusalOf(
        users.createUser({
          username: 'refused',
          email: 'refused@example.org',
          name: 'Refused',
          password: 'a password that is long',
        }),
      ),
    ]);
    const unavailable = { code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' };
    expect(refusals).toMatchObject([unavailable, unavailable]);
    expect(write.isAnswered()).toBe(false);
    await disk!.resume();
    await write.written;
    await contacts.createContact({ givenName: 'After' });
    expect((await contacts.listContacts({ query: 'refused' })).contacts).toEqual([]);
    expect((await users.listUsers({ query: 'refused' })).users).toEqual([]);
  });
});
