import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ContactService,
  ContactStatus,
  type CreateContactRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { startOn } from '../../test/support/stored.ts';

type Row = MessageInitShape<typeof CreateContactRequestSchema>;
const { CREATED, REFUSED, LEFT_OUT, UPDATED, DELETED } = ContactStatus;

describe.each(databases)('a batch of contacts, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_CONTACTS_PER_USER: '500' } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const { accessToken, user } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    const activity = kith.client(ActivityService, accessToken);
    return {
      client,
      create: async (...names: string[]) =>
        (await client.batchCreateContacts({ contacts: names.map((givenName) => ({ givenName })) })).results.map(
          ({ contact }) => contact!,
        ),
      get: async ({ id }: { id: string }) => (await client.getContact({ contactId: id })).contact!,
      actions: async (action: string) =>
        (await activity.listUserActivity({ userId: user.id, actionPrefixes: [action], pageSize: 1000 })).activities,
      run: async (contacts: Row[], allOrNothing = false) =>
        (await client.batchCreateContacts({ contacts, allOrNothing })).results,
      total: async () => (await client.listContacts({ includeTotalSize: true, pageSize: 1 })).totalSize,
    };
  };

  const MIXED: readonly [Row, ContactStatus, ErrorReason?, string?][] = [
    [{ givenName: 'Ada' }, CREATED],
    [{ jobTitle: 'Countess' }, REFUSED, ErrorReason.CONTACT_EMPTY],
    [{ givenName: 'Grace', emails: [{ address: 'nobody' }] }, REFUSED, ErrorReason.FIELDS_INVALID, 'emails'],
    [{ company: 'Engines', phones: [{ number: '020 7946 0018' }], phoneRegion: 'GB' }, CREATED],
    [{ givenName: 'Zoe', phoneRegion: 'ZZ' }, REFUSED, ErrorReason.REGION_UNKNOWN, 'phone_region'],
    [{ familyName: 'Last' }, CREATED],
  ];
  const rows = MIXED.map(([row]) => row);

  test('has a result for each, in the order of the request, and creates those that are not refused', async () => {
    const book = await newBook();
    const results = await book.run(rows);
    expect(
      results.map(({ status, refusal }) => [status, refusal?.detail?.reason, refusal?.detail?.metadata['field']]),
    ).toEqual(MIXED.map(([, status, reason, field]) => [status, reason, field]));
    const refusals = results.flatMap(({ refusal }) => refusal ?? []);
    for (const { message } of refusals) expect(message).toMatch(/\w/);
    for (const [i, { contact }] of results.entries()) {
      expect(contact !== undefined).toBe(MIXED[i]![1] === CREATED);
      if (contact === undefined) continue;
      expect((await book.client.getContact({ contactId: contact.id })).contact).toEqual(contact);
    }
    expect(results[3]!.contact!.phones[0]!.e164).toBe('+442079460018');
    expect(await book.total()).toBe(3);
  });

  test('creates none if one is refused, where all or nothing is asked for', async () => {
    const book = await newBook();
    const results = await book.run(rows, true);
    expect(results.map(({ status, refusal }) => [status, refusal?.detail?.reason])).toEqual(
      MIXED.map(([, status, reason]) => [status === CREATED ? LEFT_OUT : status, reason]),
    );
    expect(results.every(({ contact }) => contact === undefined)).toBe(true);
    expect(await book.total()).toBe(0);
    const good = await book.run(
      rows.filter((_, i) => MIXED[i]![1] === CREATED),
      true,
    );
    expect(good.map(({ status }) => status)).toEqual([CREATED, CREATED, CREATED]);
    expect(await book.total()).toBe(3);
  });

  test('creates each once that has a request id, also within one batch', async () => {
    const book = await newBook();
    const asked = Array.from({ length: 60 }, (_, i) => ({ givenName: `Ada ${i}`, requestId: randomUUID() }));
    const first = await book.run([...asked, asked[0]!]);
    expect(first[60]!.contact).toEqual(first[0]!.contact);
    expect(await book.run(asked, true)).toEqual(first.slice(0, 60));
    const [reused, single] = await book.run([{ ...asked[1], givenName: 'Other' }, asked[2]!]);
    expect(reused).toMatchObject({ status: REFUSED, refusal: { detail: { reason: ErrorReason.REQUEST_ID_REUSED } } });
    expect(single!.contact).toEqual(first[2]!.contact);
    expect((await book.client.createContact(asked[3]!)).contact).toEqual(first[3]!.contact);
    expect(await book.total()).toBe(60);
  });

  test('takes 1 to 500, as far as the user may have more', async () => {
    const book = await newBook();
    const many = Array.from({ length: 501 }, (_, i) => ({ givenName: `n${i}` }));
    expect(await refusalOf(book.run(many))).toMatchObject({ reason: 'FIELDS_INVALID' });
    expect(await refusalOf(book.run([]))).toMatchObject({ reason: 'FIELDS_INVALID' });
    await book.client.createContact({ givenName: 'First' });
    const full = await book.run(many.slice(1), true);
    expect(full.map(({ status }) => status)).toEqual([...Array(499).fill(LEFT_OUT), REFUSED]);
    expect(await book.total()).toBe(1);
    const rest = await book.run(many.slice(1));
    expect(rest.map(({ status }) => status)).toEqual([...Array(499).fill(CREATED), REFUSED]);
    expect(rest[499]!.refusal!.detail).toMatchObject({
      reason: ErrorReason.CONTACT_LIMIT_REACHED,
      metadata: { limit: '500' },
    });
    expect(rest.slice(0, 499).map(({ contact }) => contact!.givenName)).toEqual(
      many.slice(1, 500).map(({ givenName }) => givenName),
    );
  });

  test('changes each, in the order of the request, with a result for each', async () => {
    const book = await newBook();
    const [ada, bob, cid] = await book.create('Ada', 'Bob', 'Cid');
    const [theirs] = await (await newBook()).create('Eve');
    await book.client.deleteContact({ contactId: cid!.id });
    const contacts = [
      { contactId: ada!.id, etag: ada!.etag, notes: 'first' },
      { contactId: bob!.id, givenName: '' },
      { contactId: theirs!.id, notes: 'mine' },
      { contactId: cid!.id, notes: 'late' },
      { contactId: 'x', notes: 'nobody' },
      { contactId: ada!.id, etag: ada!.etag, notes: 'stale' },
      { contactId: bob!.id, phones: { values: [{ number: '020 7946 0018' }] }, phoneRegion: 'GB' },
      { contactId: ada!.id, starred: true },
    ];
    const outcomes = async (allOrNothing: boolean) =>
      (await book.client.batchUpdateContacts({ contacts, allOrNothing })).results;
    const reasons = [
      undefined,
      ErrorReason.CONTACT_EMPTY,
      ErrorReason.CONTACT_NOT_FOUND,
      ErrorReason.RESOURCE_DELETED,
      ErrorReason.FIELDS_INVALID,
      ErrorReason.ETAG_MISMATCH,
      undefined,
      undefined,
    ];
    const reasonsOf = (results: Awaited<ReturnType<typeof outcomes>>) =>
      results.map(({ refusal }) => refusal?.detail?.reason);
    const statuses = (done: ContactStatus) => reasons.map((reason) => (reason === undefined ? done : REFUSED));
    const undone = await outcomes(true);
    expect(reasonsOf(undone)).toEqual(reasons);
    expect(undone.map(({ status }) => status)).toEqual(statuses(LEFT_OUT));
    expect(await book.get(ada!)).toEqual(ada);
    const done = await outcomes(false);
    expect(reasonsOf(done)).toEqual(reasons);
    expect(done.map(({ status }) => status)).toEqual(statuses(UPDATED));
    expect(await book.get(ada!)).toEqual(done[7]!.contact);
    expect(done[7]!.contact).toMatchObject({ notes: 'first', starred: true });
    expect((await book.get(bob!)).phones).toMatchObject([{ e164: '+442079460018' }]);
    const updated = await book.actions('kith.contact.updated');
    expect(updated.map(({ attributes }) => attributes)).toEqual(
      [ada, bob, ada].map((contact) => ({ contact_id: contact!.id })),
    );
  });

  test('changes each once that has a request id', async () => {
    const book = await newBook();
    const [ada] = await book.create('Ada');
    const change = { contactId: ada!.id, etag: ada!.etag, notes: 'once', requestId: randomUUID() };
    const first = await book.client.batchUpdateContacts({ contacts: [change, change] });
    expect(first.results.map(({ status }) => status)).toEqual([UPDATED, UPDATED]);
    expect(first.results[1]!.contact).toEqual(first.results[0]!.contact);
    expect(await book.client.batchUpdateContacts({ contacts: [change, change], allOrNothing: true })).toEqual(first);
    expect((await book.client.updateContact(change)).contact).toEqual(first.results[0]!.contact);
  });

  test('deletes each, and nothing of others, and refuses what is deleted', async () => {
    const book = await newBook();
    const [ada, bob] = await book.create('Ada', 'Bob');
    const [theirs] = await (await newBook()).create('Eve');
    const versions = [ada!, bob!, theirs!].map(({ id, etag }) => ({ contactId: id, etag }));
    const run = async (contacts: object[], allOrNothing = false) =>
      (await book.client.batchDeleteContacts({ contacts, allOrNothing })).results;
    expect((await run(versions, true)).map(({ status }) => status)).toEqual([LEFT_OUT, LEFT_OUT, REFUSED]);
    expect(await book.total()).toBe(2);
    const results = await run([...versions, versions[0]!, { contactId: bob!.id, etag: 'other' }]);
    expect(results.map(({ status, refusal }) => [status, refusal?.detail?.reason])).toEqual([
      [DELETED, undefined],
      [DELETED, undefined],
      [REFUSED, ErrorReason.CONTACT_NOT_FOUND],
      [REFUSED, ErrorReason.ETAG_MISMATCH],
      [REFUSED, ErrorReason.ETAG_MISMATCH],
    ]);
    expect(results[0]!.contact).toEqual(await book.get(ada!));
    expect(results[0]!.contact!.purgeTime).toBeDefined();
    expect(await run([{ contactId: ada!.id }])).toMatchObject([
      { status: REFUSED, refusal: { detail: { reason: ErrorReason.RESOURCE_DELETED } } },
    ]);
    expect(await book.total()).toBe(0);
    expect(await book.actions('kith.contact.deleted')).toHaveLength(2);
  });

  test('tells of large contacts which ones they are, and no more, beyond what clients receive', async () => {
    const book = await newBook();
    const notes = 'n'.repeat(10_000);
    const rows = Array.from({ length: 60 }, (_, i) => ({ givenName: `n${i}`, notes }));
    const customFields = Array.from({ length: 20 }, () => ({ label: 'more', value: 'x'.repeat(500) }));
    const made = await book.run(rows);
    const contacts = made.map(({ contact }) => ({ contactId: contact!.id, customFields: { values: customFields } }));
    const { results } = await book.client.batchUpdateContacts({ contacts });
    expect(results.map(({ status }) => status)).toEqual(Array(60).fill(UPDATED));
    expect(results.map(({ contact }) => contact!.id)).toEqual(made.map(({ contact }) => contact!.id));
    const whole = results.filter(({ contact }) => contact!.notes !== '').length;
    expect(whole).toBeGreaterThan(40);
    expect(whole).toBeLessThan(55);
    const last = results.at(-1)!.contact!;
    expect(last).toMatchObject({ givenName: '', customFields: [] });
    expect((await book.get(last)).etag).toBe(last.etag);
  });

  test('leaves nothing by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
