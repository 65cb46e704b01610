import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ContactService,
  ContactStatus,
  type CreateContactRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { startOn } from '../../test/support/stored.ts';

type Row = MessageInitShape<typeof CreateContactRequestSchema>;
const { CREATED, REFUSED, LEFT_OUT } = ContactStatus;

describe.each(databases)('a batch of contacts, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_CONTACTS_PER_USER: '500' } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const client = kith.client(ContactService, (await kith.user()).accessToken);
    return {
      client,
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

  test('leaves nothing by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
