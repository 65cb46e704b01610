import { type Client, createClient } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { grpc, refusalOf } from './support/kith.ts';
import { createStallingDisk, startStallingServer } from './support/stalled-disk.ts';

const disk = await createStallingDisk();
if (disk === undefined) console.warn('SKIPPED: a disk that stands still takes Linux and a C compiler (cc)');

describe.skipIf(disk === undefined)('while the disk stands still', () => {
  test('a write whose deadline passes is told so, and those that wait too long are told to come back', async () => {
    await using server = await startStallingServer(disk!);
    const { kith, accessToken } = server;
    const [contacts, users] = [ContactService, UserService].map((service) =>
      createClient(service, grpc(kith.address, accessToken)),
    ) as [Client<typeof ContactService>, Client<typeof UserService>];
    const write = await server.startWriting();
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
