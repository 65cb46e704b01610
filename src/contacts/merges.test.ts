import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactField,
  ContactFormat,
  ContactImportStatus,
  ContactService,
  ContactStatus,
  type CreateContactRequestSchema,
  type MergeContactsRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../gen/kith/contact/v1/label_service_pb.ts';
import { type GetUsageResponse, UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { purge } from '../purge.ts';

type Fields = MessageInitShape<typeof CreateContactRequestSchema>;
type MergeRequest = Omit<MessageInitShape<typeof MergeContactsRequestSchema>, '$typeName'>;
const DAY_MS = 24 * 60 * 60 * 1000;

const ADA: Fields = {
  givenName: 'Ada',
  company: 'Engines',
  emails: [{ address: 'ada@example.org', type: '' }, { address: 'ada@work.example' }],
  phones: [{ number: '+44 20 7946 0018' }],
  notes: 'First',
  birthday: { month: 12, day: 10 },
};
const COUNTESS: Fields = {
  givenName: 'Ada',
  familyName: 'King',
  emails: [{ address: 'ADA@example.org', type: 'home' }],
  phones: [{ number: '020 7946 0018', type: 'home' }, { number: '020 7946 0018 ext. 5' }],
  phoneRegion: 'GB',
  notes: 'Second',
  starred: true,
};

describe.each(databases)('merges of contacts, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_CONTACT_BYTES_PER_USER: '1048576' } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const usageOf = ({ contacts, contactBytes }: GetUsageResponse) => ({
    contacts: Number(contacts!.used),
    contactBytes: Number(contactBytes!.used),
  });

  const newBook = async () => {
    const { accessToken, user } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    const get = async (contactId: string) => (await client.getContact({ contactId })).contact!;
    const merge = async (contacts: readonly Contact[], more: MergeRequest = {}) => {
      const versions = contacts.map(({ id, etag }) => ({ contactId: id, etag }));
      return (await client.mergeContacts({ contacts: versions, keptContactId: contacts[0]!.id, ...more })).contact!;
    };
    return {
      user,
      accessToken,
      client,
      get,
      merge,
      create: async (...contacts: Fields[]) =>
        (await client.batchCreateContacts({ contacts, allOrNothing: true })).results.map(({ contact }) => contact!),
      unmerge: async ({ id }: { id: string }, etag?: string) =>
        client.unmergeContact({ contactId: id, ...(etag !== undefined && { etag }) }),
      names: async (deleted = false) =>
        (await client.listContacts({ deleted })).contacts.map(({ givenName, id }) => givenName || id),
      usage: async () => usageOf(await kith.client(UserService, accessToken).getUsage({ userId: user.id })),
    };
  };

  /** What a contact has, without what every change changes. */
  const fieldsOf = (contact: Contact) => ({ ...contact, etag: '', updateTime: undefined });

  test('unite what the contacts have, each once, and bring it back', async () => {
    const book = await newBook();
    const [ada, countess] = await book.create(ADA, COUNTESS);
    const merged = await book.merge([ada!, countess!]);
    expect(merged).toMatchObject({
      id: ada!.id,
      givenName: 'Ada',
      familyName: 'King',
      company: 'Engines',
      emails: [
        { address: 'ada@example.org', type: 'home', primary: true },
        { address: 'ada@work.example', primary: false },
      ],
      phones: [
        { number: '+44 20 7946 0018', type: 'home', primary: true, e164: '+442079460018' },
        { number: '020 7946 0018 ext. 5', primary: false },
      ],
      notes: 'First\n\nSecond',
      birthday: { month: 12, day: 10 },
      starred: true,
    });
    expect(await book.get(ada!.id)).toEqual(merged);
    expect(await book.names()).toEqual(['Ada']);
    expect(await book.names(true)).toEqual([]);
    const { contact, restoredContactIds } = await book.unmerge(merged, merged.etag);
    expect(restoredContactIds).toEqual([countess!.id]);
    expect(fieldsOf(contact!)).toEqual(fieldsOf(ada!));
    expect(fieldsOf(await book.get(countess!.id))).toEqual(fieldsOf(countess!));
    expect((await book.get(countess!.id)).etag).not.toBe(countess!.etag);
    expect(await book.names()).toEqual(['Ada', 'Ada']);
  });

  test('ask where values differ, and take those that are chosen', async () => {
    const book = await newBook();
    const contacts = await book.create(
      { ...ADA, jobTitle: 'Analyst' },
      {
        givenName: 'Augusta',
        company: 'Engines',
        jobTitle: 'Countess',
        pronouns: 'she/her',
        emails: [{ address: 'a@b' }],
      },
      { givenName: 'Ada', birthday: { year: 1815, month: 12, day: 10 } },
    );
    expect(await refusalOf(book.merge(contacts))).toMatchObject({
      code: 'FailedPrecondition',
      reason: 'MERGE_CHOICE_MISSING',
      metadata: { fields: 'given_name job_title birthday' },
    });
    const choices = [
      { field: ContactField.GIVEN_NAME, contactId: contacts[1]!.id },
      { field: ContactField.BIRTHDAY, contactId: contacts[2]!.id },
      { field: ContactField.PRONOUNS, contactId: contacts[2]!.id },
      { field: ContactField.EMAILS, contactId: contacts[1]!.id },
      { field: ContactField.NOTES, contactId: contacts[2]!.id },
    ];
    expect(await refusalOf(book.merge(contacts, { choices }))).toMatchObject({ metadata: { fields: 'job_title' } });
    expect(await book.names()).toEqual(['Ada', 'Ada', 'Augusta']);
    const merged = await book.merge(contacts, { choices, preferKept: true });
    expect(merged).toMatchObject({
      givenName: 'Augusta',
      jobTitle: 'Analyst',
      pronouns: '',
      notes: '',
      emails: [{ address: 'a@b', primary: true }],
      birthday: { year: 1815, month: 12, day: 10 },
      phones: [{ number: '+44 20 7946 0018' }],
    });
    await book.unmerge(merged);
    for (const contact of contacts) expect(fieldsOf(await book.get(contact.id))).toEqual(fieldsOf(contact));
  });

  test('leave a way from the id of a merged contact to the one that stayed, also through several', async () => {
    const book = await newBook();
    const [a, b, c] = await book.create({ givenName: 'A' }, { familyName: 'B' }, { company: 'C' });
    const ab = await book.merge([b!, a!]);
    const abc = await book.merge([c!, ab]);
    const gone = { code: 'NotFound', reason: 'CONTACT_MERGED', metadata: { contact_id: c!.id } };
    for (const contactId of [a!.id, b!.id]) {
      expect(await refusalOf(book.get(contactId))).toMatchObject(gone);
      expect(await refusalOf(book.client.updateContact({ contactId, notes: 'n' }))).toMatchObject(gone);
      expect(await refusalOf(book.client.deleteContact({ contactId }))).toMatchObject(gone);
      expect(await refusalOf(book.client.undeleteContact({ contactId }))).toMatchObject(gone);
      expect(await refusalOf(book.unmerge({ id: contactId }))).toMatchObject(gone);
      expect(await refusalOf(book.client.markContactsDistinct({ contactIds: [contactId, c!.id] }))).toMatchObject(gone);
      const { results } = await book.client.labelContacts({ contacts: [{ contactId }] });
      expect(results).toMatchObject([
        { status: ContactStatus.REFUSED, refusal: { detail: { metadata: gone.metadata } } },
      ]);
    }
    const theirs = await newBook();
    expect(await refusalOf(theirs.get(a!.id))).toMatchObject({ reason: 'CONTACT_NOT_FOUND', metadata: {} });
    // Back in the order in which they came.
    expect((await book.unmerge(abc)).restoredContactIds).toEqual([b!.id]);
    expect(fieldsOf(await book.get(b!.id))).toEqual(fieldsOf(ab));
    expect(await refusalOf(book.get(a!.id))).toMatchObject({ metadata: { contact_id: b!.id } });
    await book.unmerge(b!);
    expect(fieldsOf(await book.get(a!.id))).toEqual(fieldsOf(a!));
    expect(await refusalOf(book.unmerge(b!))).toMatchObject({ reason: 'CONTACT_NOT_MERGED' });
  });

  test('keep what was changed since when they are taken back', async () => {
    const book = await newBook();
    const [ada, countess] = await book.create(ADA, COUNTESS);
    const merged = await book.merge([ada!, countess!]);
    const [home, work] = merged.emails;
    await book.client.updateContact({
      contactId: ada!.id,
      familyName: 'Lovelace',
      notes: 'Third',
      emails: { values: [home!, { address: 'new@example.org' }] },
      phones: { values: merged.phones.slice(1) },
    });
    const { contact } = await book.unmerge(merged);
    expect(contact).toMatchObject({
      givenName: 'Ada',
      familyName: 'Lovelace',
      company: 'Engines',
      notes: 'Third',
      starred: false,
      emails: [{ address: 'ada@example.org', type: '' }, { address: 'new@example.org' }],
      phones: [],
    });
    expect(contact!.emails.map(({ address }) => address)).not.toContain(work!.address);
    expect(fieldsOf(await book.get(countess!.id))).toEqual(fieldsOf(countess!));
  });

  test('leave the contact that stayed as it is, where nothing else would be left to know it by', async () => {
    const book = await newBook();
    const [a, b] = await book.create({ emails: [{ address: 'a@b' }] }, { givenName: 'B' });
    const merged = await book.merge([a!, b!]);
    await book.client.updateContact({ contactId: merged.id, emails: {} });
    const { contact } = await book.unmerge(merged);
    expect(contact).toMatchObject({ givenName: 'B', emails: [] });
    expect(await book.names()).toEqual(['B', 'B']);
  });

  test('are refused for contacts that changed, are deleted, somebody else’s or not those of the request', async () => {
    const book = await newBook();
    const [a, b, c] = await book.create({ givenName: 'A' }, { givenName: 'A' }, { givenName: 'A' });
    const [theirs] = await (await newBook()).create({ givenName: 'A' });
    const { contact: changed } = await book.client.updateContact({ contactId: c!.id, notes: 'n' });
    const reasonOf = async (contacts: readonly Contact[], more?: MergeRequest) =>
      (await refusalOf(book.merge(contacts, more))).reason;
    expect(await reasonOf([a!, c!])).toBe('ETAG_MISMATCH');
    expect(await reasonOf([a!, theirs!])).toBe('CONTACT_NOT_FOUND');
    expect(await reasonOf([a!, { ...b!, id: randomUUID() }])).toBe('CONTACT_NOT_FOUND');
    const { contact: deleted } = await book.client.deleteContact({ contactId: c!.id });
    expect(await reasonOf([a!, changed!])).toBe('ETAG_MISMATCH');
    expect(await reasonOf([a!, deleted!])).toBe('RESOURCE_DELETED');
    expect(await reasonOf([a!])).toBe('FIELDS_INVALID');
    expect(await reasonOf([a!, a!])).toBe('FIELDS_INVALID');
    expect(await reasonOf([a!, { ...a!, id: a!.id.toUpperCase() }])).toBe('FIELDS_INVALID');
    expect(await reasonOf([a!, b!], { keptContactId: theirs!.id })).toBe('FIELDS_INVALID');
    const choice = { field: ContactField.NOTES, contactId: b!.id };
    expect(await reasonOf([a!, b!], { choices: [{ ...choice, contactId: theirs!.id }] })).toBe('FIELDS_INVALID');
    expect(await reasonOf([a!, b!], { choices: [choice, choice] })).toBe('FIELDS_INVALID');
    expect(await reasonOf([a!, b!], { choices: [{ ...choice, field: ContactField.UNSPECIFIED }] })).toBe(
      'FIELDS_INVALID',
    );
    expect(await reasonOf([a!, b!], { contacts: [{ contactId: a!.id }, { contactId: b!.id }] })).toBe('FIELDS_INVALID');
    const eleven = Array.from({ length: 11 }, () => ({ ...a!, id: randomUUID() }));
    expect(await reasonOf(eleven)).toBe('FIELDS_INVALID');
    expect(await book.names()).toEqual(['A', 'A']);
    const merged = await book.merge([a!, b!]);
    await book.client.deleteContact({ contactId: merged.id });
    expect(await refusalOf(book.unmerge(merged))).toMatchObject({ reason: 'RESOURCE_DELETED' });
    expect(await refusalOf((await newBook()).unmerge(merged))).toMatchObject({ reason: 'CONTACT_NOT_FOUND' });
  });

  test('are refused where a contact would have more than it may, with the field', async () => {
    const book = await newBook();
    const emails = (prefix: string) => Array.from({ length: 11 }, (_, i) => ({ address: `${prefix}${i}@example.org` }));
    const [a, b, c] = await book.create(
      { notes: 'a'.repeat(6000), emails: emails('a') },
      { emails: emails('b') },
      { notes: 'c'.repeat(6000), emails: emails('a') },
    );
    const tooLarge = (field: string, limit: string) => ({ reason: 'CONTACT_TOO_LARGE', metadata: { field, limit } });
    expect(await refusalOf(book.merge([a!, b!]))).toMatchObject(tooLarge('emails', '20'));
    expect(await refusalOf(book.merge([a!, c!]))).toMatchObject(tooLarge('notes', '10000'));
    const choices = [{ field: ContactField.EMAILS, contactId: b!.id }];
    const merged = await book.merge([a!, b!], { choices });
    await book.client.updateContact({ contactId: a!.id, emails: { values: emails('new') } });
    expect(await refusalOf(book.unmerge(merged))).toMatchObject(tooLarge('emails', '20'));
    await book.client.updateContact({ contactId: a!.id, emails: { values: emails('new').slice(0, 9) } });
    await book.unmerge(merged);
  });

  test('of contacts that overlap, one goes through', async () => {
    const book = await newBook();
    const [a, b, c] = await book.create({ givenName: 'A' }, { givenName: 'A' }, { givenName: 'A' });
    const answers = await Promise.allSettled([book.merge([a!, b!]), book.merge([b!, c!]), book.merge([c!, a!])]);
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const reasons = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
    for (const reason of reasons) {
      expect(['ETAG_MISMATCH', 'CONTACT_MERGED']).toContain((await refusalOf(Promise.reject(reason as Error))).reason);
    }
    expect(await book.names()).toEqual(['A', 'A']);
  });

  test('are done once for a request id, and so is taking them back', async () => {
    const book = await newBook();
    const contacts = await book.create({ givenName: 'A' }, { givenName: 'A' }, { givenName: 'A' });
    const more = { requestId: randomUUID() };
    const first = await book.merge(contacts.slice(0, 2), more);
    expect(await book.merge(contacts.slice(0, 2), more)).toEqual(first);
    const second = await book.merge([first, contacts[2]!]);
    const undo = { contactId: second.id, requestId: randomUUID() };
    const undone = await book.client.unmergeContact(undo);
    expect(await book.client.unmergeContact(undo)).toEqual(undone);
    expect(undone.restoredContactIds).toEqual([contacts[2]!.id]);
    expect(await book.names()).toEqual(['A', 'A']);
  });

  test('unite labels and what imports kept, in groups of their own, and leave the contact as it is when files come again', async () => {
    const book = await newBook();
    const labels = kith.client(LabelService, book.accessToken);
    const [work, home] = [await labels.createLabel({ name: 'Work' }), await labels.createLabel({ name: 'Home' })];
    const card = (uid: string, name: string, ...lines: string[]) =>
      ['BEGIN:VCARD', 'VERSION:3.0', `N:;${name};;;`, `UID:${uid}`, ...lines, 'END:VCARD', ''].join('\r\n');
    const file = Buffer.from(
      card('one', 'A', 'X-SAME:1', 'item1.X-ONE:1', 'item1.X-ABLabel:first') +
        card('two', 'A', 'X-SAME:1', 'item1.X-TWO:2', 'item1.X-ABLabel:second'),
    );
    const run = async () =>
      (await book.client.importContacts({ format: ContactFormat.VCARD_3, content: file })).results;
    const ids = (await run()).map(({ contactId }) => contactId);
    for (const [i, label] of [work, home].entries())
      await book.client.labelContacts({ contacts: [{ contactId: ids[i]! }], addLabelIds: [label.label!.id] });
    const contacts = await Promise.all(ids.map(book.get));
    const merged = await book.merge(contacts);
    expect(merged.labelIds.toSorted()).toEqual([work.label!.id, home.label!.id].toSorted());
    expect(merged.uid).toBe('one');
    const lines = merged.vcardProperties;
    expect(lines.filter((line) => line.includes('X-SAME'))).toHaveLength(1);
    const groupOf = (text: string) => lines.find((line) => line.includes(text))!.split('.', 1)[0];
    expect(groupOf('X-ONE')).toBe(groupOf(':first'));
    expect(groupOf('X-TWO')).toBe(groupOf(':second'));
    expect(groupOf('X-ONE')).not.toBe(groupOf('X-TWO'));
    const counts = async () => (await labels.listLabels({})).labels.map(({ contactCount }) => contactCount);
    expect(await counts()).toEqual([1, 1]);
    expect((await run()).map(({ status, contactId }) => [status, contactId])).toEqual([
      [ContactImportStatus.SAME, merged.id],
      [ContactImportStatus.SAME, merged.id],
    ]);
    expect(await book.get(merged.id)).toEqual(merged);

    // A label that is purged meanwhile does not come back.
    await labels.deleteLabel({ labelId: work.label!.id });
    await using app = await openApp(kith);
    await app.database.db.updateTable('labels').set({ purge_ms: 1 }).where('id', '=', work.label!.id).execute();
    await purge(app);
    const { contact } = await book.unmerge(merged);
    expect(contact!.labelIds).toEqual([]);
    expect((await book.get(ids[1]!)).labelIds).toEqual([home.label!.id]);
    expect(await counts()).toEqual([1]);
    expect(contact!.vcardProperties).toEqual(contacts[0]!.vcardProperties);
  });

  test('pass on from which contacts the merged ones are distinct, until they are taken back', async () => {
    const book = await newBook();
    const same = { emails: [{ address: 'a@b' }] };
    const [a, b, c] = await book.create(same, same, same);
    const pairs = async () =>
      (await book.client.listContactDuplicates({})).duplicates.map(({ first, second }) => [first!.id, second!.id]);
    await book.client.markContactsDistinct({ contactIds: [b!.id, c!.id] });
    const merged = await book.merge([a!, b!]);
    expect(await pairs()).toEqual([]);
    await book.unmerge(merged);
    expect(await pairs()).toEqual([
      [a!.id, b!.id],
      [a!.id, c!.id],
    ]);
  });

  test('count until they cannot be taken back, and are told in activity and export', async () => {
    const book = await newBook();
    const [a, b] = await book.create({ ...ADA, notes: 'n'.repeat(9000) }, { givenName: 'Ada' });
    const before = await book.usage();
    const merged = await book.merge([a!, b!]);
    const after = await book.usage();
    expect(after).toMatchObject({ contacts: 2 });
    expect(after.contactBytes - before.contactBytes).toBeGreaterThan(18_000);
    const { merges } = await book.client.listContactMerges({});
    expect(merges).toMatchObject([
      { contactId: a!.id, mergedContactIds: [b!.id], before: { givenName: 'Ada', etag: '' } },
    ]);
    const { activities } = await kith
      .client(ActivityService, book.accessToken)
      .listUserActivity({ userId: book.user.id, actionPrefixes: ['kith.contact.merged'] });
    expect(activities.map(({ attributes }) => attributes)).toEqual([{ contact_id: a!.id, merged_contact_ids: b!.id }]);
    let text = '';
    for await (const { json } of kith.client(UserService, book.accessToken).exportUserData({ userId: book.user.id }))
      text += json;
    expect(JSON.parse(text)).toMatchObject({
      contacts: [{ id: a!.id }, { id: b!.id }],
      contactMerges: [{ contactId: a!.id, mergedContactIds: [b!.id], before: { notes: 'n'.repeat(9000) } }],
    });
    await book.unmerge(merged);
    expect(await book.usage()).toEqual(before);
    const again = await book.merge([await book.get(a!.id), await book.get(b!.id)]);
    const theirs = await newBook();
    expect((await theirs.client.listContactMerges({})).merges).toEqual([]);

    await using app = await openApp(kith);
    await purge({ ...app, now: () => Date.now() + 31 * DAY_MS });
    expect(await refusalOf(book.get(b!.id))).toMatchObject({ reason: 'CONTACT_NOT_FOUND' });
    expect(await refusalOf(book.unmerge(again))).toMatchObject({ reason: 'CONTACT_NOT_MERGED' });
    expect((await book.client.listContactMerges({})).merges).toEqual([]);
    expect(await book.usage()).toMatchObject({ contacts: 1 });
  });

  test('take no more than a user may have, and can always be taken back', async () => {
    const book = await newBook();
    const large = {
      notes: 'n'.repeat(10_000),
      customFields: Array.from({ length: 19 }, (_, i) => ({ value: `${i}${'x'.repeat(1990)}` })),
    };
    const contacts = await book.create(...Array.from({ length: 12 }, () => ({ givenName: 'A', ...large })));
    let [kept] = contacts;
    let merges = 0;
    let refusal: unknown;
    while (refusal === undefined && merges < 11) {
      const merged = await Promise.allSettled([book.merge([kept!, contacts[merges + 1]!])]).then(([done]) => done);
      if (merged.status === 'rejected') refusal = await refusalOf(Promise.reject(merged.reason as Error));
      else [kept, merges] = [merged.value, merges + 1];
    }
    expect(refusal).toMatchObject({ reason: 'BUDGET_EXCEEDED', metadata: { budget: 'contact_bytes' } });
    expect(merges).toBeGreaterThan(0);
    expect(merges).toBeLessThan(11);
    // Fill what is left.
    const small = await book.client.batchCreateContacts({
      contacts: Array.from({ length: 400 }, (_, i) => ({ givenName: `x${i}`, notes: 'n'.repeat(900) })),
    });
    expect(small.results.at(-1)!.status).toBe(ContactStatus.REFUSED);
    for (let i = 0; i < merges; i++) await book.unmerge(kept!);
    for (const contact of contacts) expect(fieldsOf(await book.get(contact.id))).toEqual(fieldsOf(contact));
  }, 20_000);

  test('leave nothing by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
