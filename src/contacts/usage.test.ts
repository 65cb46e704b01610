import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { purge } from '../purge.ts';

const CONTACTS_MAX = 20;
const BYTES_MAX = 1_048_576;
/** As much as the contract allows in one field: some 40,000 bytes. */
const NOTES = '🦉'.repeat(10_000);
const DAY_MS = 24 * 60 * 60 * 1000;

describe.each(databases)('what a user stores, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, {
      env: { KITH_CONTACTS_PER_USER: String(CONTACTS_MAX), KITH_CONTACT_BYTES_PER_USER: String(BYTES_MAX) },
    });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const contactsOf = ({ accessToken }: SignedIn) => kith.client(ContactService, accessToken);
  const usageOf = async ({ user, accessToken }: SignedIn): Promise<[contacts: number, bytes: number]> => {
    const usage = await kith.client(UserService, accessToken).getUsage({ userId: user.id });
    expect([usage.contacts!.limit, usage.contactBytes!.limit]).toEqual([BigInt(CONTACTS_MAX), BigInt(BYTES_MAX)]);
    return [Number(usage.contacts!.used), Number(usage.contactBytes!.used)];
  };

  test('is counted through every change, and forgotten when purged', async () => {
    const user = await kith.user();
    const client = contactsOf(user);
    expect(await usageOf(user)).toEqual([0, 0]);
    const requestId = randomUUID();
    const { contact } = await client.createContact({ givenName: 'Ada', requestId });
    await client.createContact({ givenName: 'Ada', requestId });
    const [contacts, small] = await usageOf(user);
    expect([contacts, small > 0]).toEqual([1, true]);
    const { id } = contact!;
    await client.updateContact({ contactId: id, notes: NOTES });
    const [, large] = await usageOf(user);
    expect(large - small).toBe(Buffer.byteLength(NOTES));
    await client.updateContact({ contactId: id, notes: '' });
    expect(await usageOf(user)).toEqual([1, small]);
    await client.deleteContact({ contactId: id });
    expect(await usageOf(user)).toEqual([1, small]);
    await client.undeleteContact({ contactId: id });
    await client.createContact({ givenName: 'Bob' });
    await client.deleteContact({ contactId: id });
    await using app = await openApp(kith);
    await purge({ ...app, now: () => Date.now() + 31 * DAY_MS });
    expect(await usageOf(user)).toEqual([1, small]);
    const details = await kith.client(UserService, user.accessToken).getUserDetails({ userId: user.user.id });
    expect(details.contactCount).toBe(1);
    expect(await kith.database.faults()).toEqual([]);
  });

  test('ends at the limit of contacts, also for many creates at once', async () => {
    const user = await kith.user();
    const client = contactsOf(user);
    const outcomes = await Promise.allSettled(
      Array.from({ length: CONTACTS_MAX + 5 }, (_, n) => client.createContact({ givenName: `n${n}` })),
    );
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused).toHaveLength(5);
    for (const { reason } of refused) {
      expect(await refusalOf(Promise.reject(reason as Error))).toMatchObject({ reason: 'CONTACT_LIMIT_REACHED' });
    }
    expect((await usageOf(user))[0]).toBe(CONTACTS_MAX);
    expect(await kith.database.faults()).toEqual([]);
  });

  test('ends at the limit of bytes, and nothing of what is refused is written', async () => {
    const user = await kith.user();
    const client = contactsOf(user);
    const addresses = Array.from({ length: 20 }, () => ({ street: '🦉'.repeat(500) }));
    const large = { givenName: 'Ada', notes: NOTES, addresses };
    const { contact } = await client.createContact({ givenName: 'Small' });
    let refusal: Awaited<ReturnType<typeof refusalOf>> | undefined;
    for (let n = 0; n < CONTACTS_MAX && refusal === undefined; n++) {
      await client.createContact({ ...large, requestId: randomUUID() }).catch(async (error: unknown) => {
        refusal = await refusalOf(Promise.reject(error));
      });
      if ((await usageOf(user))[1] > BYTES_MAX - 100_000) break;
    }
    const before = await kith.database.dump();
    const urls = Array.from({ length: 20 }, () => ({ url: `https://example.org/${'x'.repeat(2000)}` }));
    const update = { contactId: contact!.id, notes: NOTES, addresses: { values: addresses }, urls: { values: urls } };
    const exceeded = {
      code: 'ResourceExhausted',
      reason: 'BUDGET_EXCEEDED',
      metadata: { budget: 'contact_bytes', limit: String(BYTES_MAX) },
    };
    expect(await refusalOf(client.createContact({ ...large, urls, requestId: randomUUID() }))).toMatchObject(exceeded);
    expect(await refusalOf(client.updateContact(update))).toMatchObject(exceeded);
    expect(await kith.database.dump()).toBe(before);
    const [, bytes] = await usageOf(user);
    expect(bytes).toBeLessThanOrEqual(BYTES_MAX);
    await client.updateContact({ contactId: contact!.id, givenName: 'S' });
  });

  test('is told to oneself and to who may read users', async () => {
    const user = await kith.user();
    const other = await kith.user();
    const ask = ({ accessToken }: SignedIn) => kith.client(UserService, accessToken).getUsage({ userId: user.user.id });
    expect(await refusalOf(ask(other))).toMatchObject({ code: 'PermissionDenied' });
    expect((await ask(await kith.admin())).contacts!.used).toBe(0n);
    expect(
      await refusalOf(kith.client(UserService, (await kith.admin()).accessToken).getUsage({ userId: randomUUID() })),
    ).toMatchObject({ reason: 'USER_NOT_FOUND' });
  });
});
