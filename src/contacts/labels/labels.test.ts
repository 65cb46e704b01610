import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { type Contact } from '../../../gen/kith/contact/v1/contact_pb.ts';
import { ContactService, ContactStatus } from '../../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../../gen/kith/contact/v1/label_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../../test/support/kith.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import { purge } from '../../purge.ts';

const LABELS_MAX = 105;
const DAY_MS = 24 * 60 * 60 * 1000;
const { UPDATED, REFUSED, LEFT_OUT } = ContactStatus;

describe.each(databases)('labels, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_LABELS_PER_USER: String(LABELS_MAX) } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const user = await kith.user();
    const labels = kith.client(LabelService, user.accessToken);
    const contacts = kith.client(ContactService, user.accessToken);
    const label = async (name: string) => (await labels.createLabel({ name })).label!;
    const contact = async (givenName: string, ...labelIds: string[]) =>
      (await contacts.createContact({ givenName, labelIds })).contact!;
    const counts = async () =>
      Object.fromEntries((await labels.listLabels({})).labels.map(({ name, contactCount }) => [name, contactCount]));
    const get = async ({ id }: Contact) => (await contacts.getContact({ contactId: id })).contact!;
    const names = async (filter: { anyOf?: string[]; allOf?: string[]; noneOf?: string[] }, more = {}) =>
      (await contacts.listContacts({ labels: filter, ...more })).contacts.map(({ givenName }) => givenName);
    return { user, labels, contacts, label, contact, counts, get, names };
  };

  test('have names that are unique regardless of case and accents, among those that are not deleted', async () => {
    const { labels, label } = await newBook();
    const family = await label('Élan Família');
    const same = refusalOf(labels.createLabel({ name: 'elan  FAMILIA' }));
    expect(await same).toMatchObject({
      code: 'AlreadyExists',
      reason: 'LABEL_NAME_TAKEN',
      metadata: { field: 'name' },
    });
    const other = await label('Work');
    expect(await refusalOf(labels.updateLabel({ labelId: other.id, name: 'élan família' }))).toMatchObject({
      reason: 'LABEL_NAME_TAKEN',
    });
    const { label: renamed } = await labels.updateLabel({ labelId: family.id, name: 'ELAN familia', color: '#AABBCC' });
    expect(renamed).toMatchObject({ name: 'ELAN familia', color: '#aabbcc' });
    await labels.deleteLabel({ labelId: family.id });
    await label('elan familia');
    expect(await refusalOf(labels.undeleteLabel({ labelId: family.id }))).toMatchObject({ reason: 'LABEL_NAME_TAKEN' });
    await (await newBook()).label('Work');
    const long = 'ﷺ'.repeat(99);
    await label(`${long}a`);
    await label(`${long}b`);
    expect(await refusalOf(label(`${long}A`))).toMatchObject({ reason: 'LABEL_NAME_TAKEN' });
  });

  test('are created once for each request id, and change with their etag', async () => {
    const { labels } = await newBook();
    const asked = { name: 'Work', requestId: randomUUID() };
    const [first, second] = await Promise.all([labels.createLabel(asked), labels.createLabel(asked)]);
    expect(second.label).toEqual(first.label);
    expect(await refusalOf(labels.createLabel({ ...asked, name: 'Home' }))).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
    });
    const { id: labelId, etag } = first.label!;
    await labels.updateLabel({ labelId, etag, color: '#000000' });
    expect(await refusalOf(labels.updateLabel({ labelId, etag, name: 'Jobs' }))).toMatchObject({
      code: 'Aborted',
      reason: 'ETAG_MISMATCH',
    });
    expect(await refusalOf(labels.deleteLabel({ labelId, etag }))).toMatchObject({ reason: 'ETAG_MISMATCH' });
    expect(await refusalOf(labels.undeleteLabel({ labelId }))).toMatchObject({ reason: 'RESOURCE_NOT_DELETED' });
  });

  test.each([
    ['', ''],
    ['\u200b', ''],
    ['a\nb', ''],
    ['x'.repeat(101), ''],
    ['Work', 'red'],
    ['Work', '#12345'],
    ['Work', '#12345g'],
  ])('have a name and a color as the contract says, and not %j, %j', async (name, color) => {
    const { labels } = await newBook();
    expect(await refusalOf(labels.createLabel({ name, color }))).toMatchObject({ reason: 'FIELDS_INVALID' });
  });

  test('look like missing ones to others, and so do the contacts', async () => {
    const mine = await newBook();
    const theirs = await newBook();
    const { id: labelId } = await mine.label('Work');
    const contact = await mine.contact('Ada');
    const own = await theirs.contact('Bob');
    const missing = { code: 'NotFound', reason: 'LABEL_NOT_FOUND' };
    expect(await refusalOf(theirs.labels.updateLabel({ labelId, name: 'Mine' }))).toMatchObject(missing);
    expect(await refusalOf(theirs.labels.deleteLabel({ labelId }))).toMatchObject(missing);
    expect(await refusalOf(theirs.contact('Eve', labelId))).toMatchObject({
      ...missing,
      metadata: { field: 'label_ids' },
    });
    expect(await refusalOf(theirs.names({ anyOf: [labelId] }))).toMatchObject(missing);
    const update = { contactId: own.id, labelIds: { values: [labelId] } };
    expect(await refusalOf(theirs.contacts.updateContact(update))).toMatchObject(missing);
    const labelling = { contacts: [{ contactId: contact.id }], addLabelIds: [labelId] };
    expect(await refusalOf(theirs.contacts.labelContacts(labelling))).toMatchObject(missing);
    const { results } = await theirs.contacts.labelContacts({ contacts: labelling.contacts });
    expect(results).toMatchObject([{ status: REFUSED }]);
    expect((await theirs.labels.listLabels({})).labels).toEqual([]);
  });

  test('are counted through every change of contacts', async () => {
    const { labels, contacts, label, contact, counts } = await newBook();
    const [work, home] = [await label('Work'), await label('Home')];
    const ada = await contact('Ada', work.id, home.id, work.id);
    expect(ada.labelIds.toSorted()).toEqual([work.id, home.id].toSorted());
    await contact('Bob', work.id);
    expect(await counts()).toEqual({ Home: 1, Work: 2 });
    await contacts.updateContact({ contactId: ada.id, labelIds: { values: [home.id] } });
    expect(await counts()).toEqual({ Home: 1, Work: 1 });
    await contacts.deleteContact({ contactId: ada.id });
    expect(await counts()).toEqual({ Home: 0, Work: 1 });
    await contacts.undeleteContact({ contactId: ada.id });
    await contacts.updateContact({ contactId: ada.id, notes: 'more' });
    expect(await counts()).toEqual({ Home: 1, Work: 1 });
    await labels.deleteLabel({ labelId: home.id });
    await contacts.deleteContact({ contactId: ada.id });
    expect(await counts()).toEqual({ Work: 1 });
    expect((await labels.undeleteLabel({ labelId: home.id })).label!.contactCount).toBe(0);
    await contacts.undeleteContact({ contactId: ada.id });
    expect(await counts()).toEqual({ Home: 1, Work: 1 });
  });

  test('are not shown while deleted, and are back when undeleted, whatever the contact got meanwhile', async () => {
    const { labels, contacts, label, contact, get, names } = await newBook();
    const [work, home] = [await label('Work'), await label('Home')];
    const ada = await contact('Ada', work.id);
    await labels.deleteLabel({ labelId: work.id });
    expect(await get(ada)).toMatchObject({ labelIds: [], etag: ada.etag });
    expect(await refusalOf(names({ anyOf: [work.id] }))).toMatchObject({ reason: 'LABEL_NOT_FOUND' });
    const { contact: changed } = await contacts.updateContact({ contactId: ada.id, labelIds: { values: [home.id] } });
    expect(changed!.labelIds).toEqual([home.id]);
    const listed = (await contacts.listContacts({})).contacts;
    expect(listed.map(({ labelIds }) => labelIds)).toEqual([[home.id]]);
    await labels.undeleteLabel({ labelId: work.id });
    expect((await get(ada)).labelIds.toSorted()).toEqual([work.id, home.id].toSorted());
    expect(await names({ allOf: [work.id, home.id] })).toEqual(['Ada']);
  });

  test('find contacts with any, all and none of them, beside a query', async () => {
    const { label, contact, contacts, names } = await newBook();
    const [a, b, c] = [await label('a'), await label('b'), await label('c')];
    const people: [string, string[]][] = [
      ['Ada', [a.id]],
      ['Bob', [a.id, b.id]],
      ['Cid', [b.id, c.id]],
      ['Dan', [a.id, b.id, c.id]],
      ['Eve', []],
    ];
    for (const [name, ids] of people) await contact(name, ...ids);
    for (const anyOf of [[], [b.id, c.id]]) {
      for (const allOf of [[], [a.id, b.id], [a.id, a.id.toUpperCase()]]) {
        for (const noneOf of [[], [c.id]]) {
          const expected = people.filter(
            ([, ids]) =>
              (anyOf.length === 0 || anyOf.some((id) => ids.includes(id))) &&
              allOf.every((id) => ids.includes(id.toLowerCase())) &&
              noneOf.every((id) => !ids.includes(id)),
          );
          const filter = { anyOf, allOf, noneOf };
          expect(await names(filter)).toEqual(expected.map(([name]) => name));
          const { totalSize } = await contacts.listContacts({ labels: filter, includeTotalSize: true, pageSize: 1 });
          expect(totalSize).toBe(expected.length);
        }
      }
    }
    expect(await names({ anyOf: [b.id] }, { query: 'da' })).toEqual(['Dan']);
    const { nextPageToken } = await contacts.listContacts({ labels: { noneOf: [c.id] }, pageSize: 1 });
    expect(await names({ noneOf: [c.id] }, { pageSize: 1, pageToken: nextPageToken })).toEqual(['Bob']);
    expect(await refusalOf(names({ noneOf: [a.id] }, { pageToken: nextPageToken }))).toMatchObject({
      reason: 'PAGE_TOKEN_INVALID',
    });
  });

  test('are added to many contacts and taken from them in one call, each by itself or all or nothing', async () => {
    const { user, contacts, label, contact, counts, get } = await newBook();
    const [work, home] = [await label('Work'), await label('Home')];
    const [ada, bob, cid] = [await contact('Ada', home.id), await contact('Bob'), await contact('Cid', work.id)];
    await contacts.deleteContact({ contactId: bob.id });
    const rows = [
      { contactId: ada.id, etag: ada.etag },
      { contactId: bob.id },
      { contactId: 'x' },
      { contactId: randomUUID() },
      { contactId: cid.id, etag: 'other' },
      { contactId: cid.id },
    ];
    const change = { contacts: rows, addLabelIds: [work.id], removeLabelIds: [home.id] };
    const outcomes = async (request: typeof change & { allOrNothing?: boolean }) =>
      (await contacts.labelContacts(request)).results.map(({ status, refusal }) => [status, refusal?.detail?.reason]);
    const refusals = [...(await outcomes({ ...change, allOrNothing: true }))];
    expect(refusals.map(([status]) => status)).toEqual([LEFT_OUT, REFUSED, REFUSED, REFUSED, REFUSED, LEFT_OUT]);
    expect(await get(ada)).toEqual(ada);
    const { results } = await contacts.labelContacts(change);
    expect(results.map(({ status }) => status)).toEqual([UPDATED, REFUSED, REFUSED, REFUSED, REFUSED, UPDATED]);
    expect(results[0]!.contact).toMatchObject({ labelIds: [work.id] });
    expect(results[0]!.contact!.etag).not.toBe(ada.etag);
    expect(results[5]!.contact).toEqual(cid);
    expect(await counts()).toEqual({ Home: 0, Work: 2 });
    const { activities } = await kith
      .client(ActivityService, user.accessToken)
      .listUserActivity({ userId: user.user.id, actionPrefixes: ['kith.contact.updated', 'kith.label'] });
    expect(activities.map(({ action, attributes }) => [action, attributes])).toEqual(
      expect.arrayContaining([
        ['kith.contact.updated', { contact_id: ada.id }],
        ['kith.label.created', { label_id: work.id }],
      ]),
    );
    expect(activities.filter(({ action }) => action === 'kith.contact.updated')).toHaveLength(1);
  });

  test('are as many as a user and a contact may have, deleted ones included', async () => {
    const { labels, contacts, label, contact } = await newBook();
    const ids = await Promise.all(Array.from({ length: LABELS_MAX }, async (_, i) => (await label(`l${i}`)).id));
    await labels.deleteLabel({ labelId: ids.pop()! });
    expect(await refusalOf(label('more'))).toMatchObject({
      code: 'ResourceExhausted',
      reason: 'LABEL_LIMIT_REACHED',
      metadata: { limit: String(LABELS_MAX) },
    });
    const ada = await contact('Ada', ...ids.slice(0, 100));
    const { results } = await contacts.labelContacts({ contacts: [{ contactId: ada.id }], addLabelIds: [ids[100]!] });
    expect(results[0]!.refusal!.detail!.metadata).toEqual({ limit: '100' });
    const pages = [];
    for (let pageToken = ''; ; ) {
      const page = await labels.listLabels({ pageSize: 40, pageToken });
      pages.push(page.labels.map(({ name }) => name));
      if ((pageToken = page.nextPageToken) === '') break;
    }
    expect(pages.map(({ length }) => length)).toEqual([40, 40, 24]);
    expect(pages.flat()).toEqual(pages.flat().toSorted());
  });

  test('leave the contacts in steps when they are purged', async () => {
    const { labels, contacts, label, contact, get } = await newBook();
    const [work, home] = [await label('Work'), await label('Home')];
    const people = [];
    for (const name of ['Ada', 'Bob', 'Cid']) people.push(await contact(name, work.id, home.id));
    await contacts.deleteContact({ contactId: people[2]!.id });
    await labels.deleteLabel({ labelId: work.id });
    await using app = await openApp(kith);
    await purge({ ...app, now: () => Date.now() + 31 * DAY_MS });
    expect((await labels.listLabels({ deleted: true })).labels).toEqual([]);
    expect(await refusalOf(labels.undeleteLabel({ labelId: work.id }))).toMatchObject({ reason: 'LABEL_NOT_FOUND' });
    expect(await get(people[0]!)).toEqual({ ...people[0], labelIds: [home.id] });
  });

  test('leave nothing by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
