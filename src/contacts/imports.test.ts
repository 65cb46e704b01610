import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactFormat,
  ContactImportStatus,
  ContactService,
  ContactStatus,
  ContactUndoStatus,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../gen/kith/contact/v1/label_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { purge } from '../purge.ts';

const { CREATED, UPDATED, SAME, REFUSED } = ContactImportStatus;
const { DELETED, RESTORED, CHANGED, GONE } = ContactUndoStatus;
const DAY_MS = 24 * 60 * 60 * 1000;

const card = (uid: string, ...lines: string[]) =>
  ['BEGIN:VCARD', 'VERSION:3.0', `UID:${uid}`, ...lines, 'END:VCARD', ''].join('\r\n');

/** What a contact has, without what every change changes. */
const fieldsOf = (contact: Contact) => ({ ...contact, etag: '', updateTime: undefined });

describe.each(databases)('imports of contacts that are taken back, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_CONTACT_BYTES_PER_USER: '1048576' } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const { accessToken, user } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    const load = (content: string, options: object = {}) =>
      client.importContacts({ format: ContactFormat.VCARD_3, content: Buffer.from(content), ...options });
    return {
      user,
      accessToken,
      client,
      load,
      statuses: async (...call: Parameters<typeof load>) => (await load(...call)).results.map(({ status }) => status),
      undo: async (importId: string) =>
        new Map((await client.undoContactImport({ importId })).results.map((each) => [each.contactId, each.status])),
      get: async (contactId: string) => (await client.getContact({ contactId })).contact!,
      all: async (deleted = false) => (await client.listContacts({ deleted, pageSize: 1000 })).contacts,
      imports: async () => (await client.listContactImports({})).imports,
      bytes: async () =>
        Number((await kith.client(UserService, accessToken).getUsage({ userId: user.id })).contactBytes!.used),
    };
  };

  test('leave what was there before, with labels, and what they created is deleted as by hand', async () => {
    const book = await newBook();
    const labels = kith.client(LabelService, book.accessToken);
    const { label } = await labels.createLabel({ name: 'Navy' });
    const { contact: grace } = await book.client.createContact({
      uid: 'grace',
      givenName: 'Grace',
      notes: 'Long before',
      phones: [{ number: '(202) 555-0143' }],
      phoneRegion: 'US',
      labelIds: [label!.id],
      starred: true,
    });
    const before = await book.bytes();
    const file = card('grace', 'N:Hopper;Grace;;;', 'NOTE:Short', 'TEL:1') + card('ada', 'N:Lovelace;Ada;;;');
    const preview = await book.load(file, { preview: true });
    expect(preview.importId).toBe('');
    expect(await book.imports()).toEqual([]);
    const { importId, results } = await book.load(file, { source: 'a.vcf' });
    expect(results.map(({ status }) => status)).toEqual([UPDATED, CREATED]);
    const [, ada] = results.map(({ contactId }) => contactId);
    expect(await book.imports()).toMatchObject([
      { id: importId, source: 'a.vcf', createdContacts: 1, updatedContacts: 1, remainingContacts: 2 },
    ]);
    const again = await book.load(file);
    expect(again).toMatchObject({ results: [{ status: SAME }, { status: SAME }], importId: '' });

    expect(await book.undo(importId)).toEqual(
      new Map([
        [grace!.id, RESTORED],
        [ada, DELETED],
      ]),
    );
    expect(fieldsOf(await book.get(grace!.id))).toEqual(fieldsOf(grace!));
    expect((await book.all(true)).map(({ id }) => id)).toEqual([ada]);
    expect((await labels.listLabels({})).labels[0]!.contactCount).toBe(1);
    const { activities } = await kith
      .client(ActivityService, book.accessToken)
      .listUserActivity({ userId: book.user.id, actionPrefixes: ['kith.contact'], pageSize: 2 });
    expect(activities.map(({ action, attributes }) => ({ action, attributes }))).toEqual(
      expect.arrayContaining([
        { action: 'kith.contact.updated', attributes: { contact_id: grace!.id, import_id: importId } },
        { action: 'kith.contact.deleted', attributes: { contact_id: ada, import_id: importId } },
      ]),
    );
    // Nothing is left to take back, and asking again is no mistake.
    expect(await book.undo(importId)).toEqual(new Map());
    expect(await book.imports()).toMatchObject([{ id: importId, createdContacts: 1, remainingContacts: 0 }]);
    // The deleted one and the row of the import are what is kept.
    expect(await book.bytes()).toBeLessThan(before + 5000);
    expect(await book.statuses(file)).toEqual([UPDATED, CREATED]);
  });

  test('leave contacts that were changed, merged or deleted since as they are, and say which', async () => {
    const book = await newBook();
    const names = ['changed', 'deleted', 'kept', 'merged', 'labelled', 'plain', 'undeleted'];
    const file = names.map((name) => card(name, `N:;${name};;;`)).join('');
    const { importId, results } = await book.load(file);
    const idOf = (name: string) => results[names.indexOf(name)]!.contactId;
    const { label } = await kith.client(LabelService, book.accessToken).createLabel({ name: 'Some' });
    await book.client.updateContact({ contactId: idOf('changed'), notes: 'Mine' });
    await book.client.deleteContact({ contactId: idOf('deleted') });
    await book.client.deleteContact({ contactId: idOf('undeleted') });
    await book.client.undeleteContact({ contactId: idOf('undeleted') });
    await book.client.labelContacts({ contacts: [{ contactId: idOf('labelled') }], addLabelIds: [label!.id] });
    const [kept, merged] = [await book.get(idOf('kept')), await book.get(idOf('merged'))];
    await book.client.mergeContacts({
      contacts: [kept, merged].map(({ id, etag }) => ({ contactId: id, etag })),
      keptContactId: kept.id,
      preferKept: true,
    });
    const left = ['changed', 'kept', 'merged', 'labelled', 'undeleted'];
    const expected = (status: ContactUndoStatus, ...some: string[]) =>
      some.map((name) => [idOf(name), status] as const);
    expect(await book.undo(importId)).toEqual(
      new Map([...expected(CHANGED, ...left), ...expected(GONE, 'deleted'), ...expected(DELETED, 'plain')]),
    );
    expect(await book.imports()).toMatchObject([{ createdContacts: 7, remainingContacts: 5 }]);
    // Who did not get the answer is told again of those that are there.
    expect(await book.undo(importId)).toEqual(new Map(expected(CHANGED, ...left)));
    expect((await book.all()).map(({ givenName }) => givenName)).toEqual(['changed', 'kept', 'labelled', 'undeleted']);
    expect((await book.get(idOf('changed'))).notes).toBe('Mine');
  });

  test('take labels along that they created, where no contact has them and nobody changed them', async () => {
    const book = await newBook();
    const labels = kith.client(LabelService, book.accessToken);
    const names = async () => (await labels.listLabels({})).labels.map(({ name }) => name);
    await labels.createLabel({ name: 'Before' });
    const { contact } = await book.client.createContact({ givenName: 'Mine' });
    const { importId } = await book.load(card('a', 'N:;A;;;', 'CATEGORIES:Before,Gone,Renamed,Used'));
    const byName = new Map((await labels.listLabels({})).labels.map(({ name, id }) => [name, id]));
    await labels.updateLabel({ labelId: byName.get('Renamed')!, name: 'By hand' });
    await book.client.labelContacts({ contacts: [{ contactId: contact!.id }], addLabelIds: [byName.get('Used')!] });
    expect([...(await book.undo(importId)).values()]).toEqual([DELETED]);
    expect(await names()).toEqual(['Before', 'By hand', 'Used']);
    // One that comes back goes again, unless somebody changed it in between.
    const again = await book.load(card('a', 'N:;A;;;', 'CATEGORIES:Gone'));
    expect((await labels.listLabels({})).labels.find(({ name }) => name === 'Gone')!.id).toBe(byName.get('Gone'));
    await book.undo(importId);
    expect(await names()).toContain('Gone');
    await book.undo(again.importId);
    expect(await names()).not.toContain('Gone');
    const last = await book.load(card('b', 'N:;B;;;', 'CATEGORIES:Gone'));
    await labels.updateLabel({ labelId: byName.get('Gone')!, color: '#000000' });
    await book.undo(last.importId);
    expect(await names()).toContain('Gone');
  });

  test('are one for all parts with an id, however often a part changes a contact', async () => {
    const book = await newBook();
    const importId = randomUUID();
    const part = (content: string) => book.statuses(content, { importId: importId.toUpperCase() });
    const { contact: grace } = await book.client.createContact({ uid: 'grace', givenName: 'Grace' });
    const { contact: edsger } = await book.client.createContact({ uid: 'edsger', givenName: 'Edsger' });
    expect(await part(card('grace', 'TITLE:One') + card('ada', 'N:;Ada;;;') + card('edsger', 'TITLE:One'))).toEqual([
      UPDATED,
      CREATED,
      UPDATED,
    ]);
    await book.client.updateContact({ contactId: edsger!.id, notes: 'In between' });
    const both = card('grace', 'TITLE:Two') + card('grace', 'TITLE:Three') + card('ada', 'TITLE:Two');
    expect(await part(both + card('edsger', 'TITLE:Two'))).toEqual([UPDATED, UPDATED, UPDATED, UPDATED]);
    expect(await part(both + card('edsger', 'TITLE:Two'))).toEqual([UPDATED, UPDATED, SAME, SAME]);
    expect(await book.imports()).toMatchObject([
      { id: importId, createdContacts: 1, updatedContacts: 2, remainingContacts: 3 },
    ]);
    const [ada] = (await book.all()).filter(({ givenName }) => givenName === 'Ada');
    expect(await book.undo(importId)).toEqual(
      new Map([
        [grace!.id, RESTORED],
        [ada!.id, DELETED],
        [edsger!.id, CHANGED],
      ]),
    );
    expect(fieldsOf(await book.get(grace!.id))).toEqual(fieldsOf(grace!));
    expect(await book.get(edsger!.id)).toMatchObject({ jobTitle: 'Two', notes: 'In between' });
  });

  test('go on where a call ended, and are refused to others, unknown, and with a page token of another import', async () => {
    const book = await newBook();
    const file = (name: string) =>
      Array.from({ length: 500 }, (_, i) => card(`${name}${i}`, `N:;${name}${i};;;`)).join('');
    const importId = randomUUID();
    await book.load(file('a'), { importId });
    await book.load(card('b', 'N:;b;;;'), { importId });
    const first = await book.client.undoContactImport({ importId });
    expect(first.results).toHaveLength(500);
    expect(first.nextPageToken).not.toBe('');
    const other = await book.load(card('c', 'N:;c;;;'));
    const { nextPageToken: pageToken } = first;
    expect(await refusalOf(book.client.undoContactImport({ importId: other.importId, pageToken }))).toMatchObject({
      code: 'InvalidArgument',
      reason: 'PAGE_TOKEN_INVALID',
    });
    const second = await book.client.undoContactImport({ importId, pageToken });
    expect([second.results.length, second.nextPageToken]).toEqual([1, '']);
    expect((await book.all()).map(({ givenName }) => givenName)).toEqual(['c']);
    const notFound = { code: 'NotFound', reason: 'CONTACT_IMPORT_NOT_FOUND' };
    const theirs = await newBook();
    expect(await refusalOf(theirs.undo(importId))).toMatchObject(notFound);
    expect(await refusalOf(book.undo(randomUUID()))).toMatchObject(notFound);
    expect(await theirs.imports()).toEqual([]);
    // An id is the caller's own: somebody else's import with the same one is another.
    await theirs.load(card('c', 'N:;c;;;'), { importId: other.importId });
    await theirs.undo(other.importId);
    expect(await book.all()).toHaveLength(1);
    const pages = await book.client.listContactImports({ pageSize: 1 });
    expect(pages.imports.map(({ id }) => id)).toEqual([other.importId]);
    const rest = await book.client.listContactImports({ pageSize: 1, pageToken: pages.nextPageToken });
    expect([rest.imports.map(({ id }) => id), rest.nextPageToken]).toEqual([[importId], '']);
  });

  test('count in what a user stores, and a full address book keeps none from being taken back', async () => {
    const book = await newBook();
    const notes = 'n'.repeat(10_000);
    const contacts = Array.from({ length: 50 }, (_, i) => ({ uid: `u${i}`, givenName: `A${i}`, notes }));
    await book.client.batchCreateContacts({ contacts, allOrNothing: true });
    const before = (await book.all()).map(fieldsOf);
    // What is kept of each is about as large as the contact: not all of them can be changed.
    const { importId, results } = await book.load(
      Array.from({ length: 50 }, (_, i) => card(`u${i}`, 'NOTE:short')).join(''),
    );
    const updated = results.filter(({ status }) => status === UPDATED).length;
    expect(updated).toBeGreaterThan(10);
    expect(results.filter(({ status }) => status === REFUSED)).toHaveLength(50 - updated);
    // Fill what is left.
    const small = Array.from({ length: 400 }, (_, i) => ({ givenName: `x${i}`, notes: 'n'.repeat(900) }));
    const filled = await book.client.batchCreateContacts({ contacts: small });
    expect(filled.results.at(-1)!.status).toBe(ContactStatus.REFUSED);
    const undone = await book.undo(importId);
    expect([...undone.values()]).toEqual(Array.from({ length: updated }, () => RESTORED));
    expect((await book.all()).filter(({ uid }) => uid !== '').map(fieldsOf)).toEqual(before);
  });

  test('are forgotten when they cannot be taken back any more', async () => {
    const book = await newBook();
    await book.client.createContact({ uid: 'a', givenName: 'A' });
    const before = await book.bytes();
    const { importId } = await book.load(card('a', 'NOTE:n') + card('b', 'N:;B;;;'));
    await using app = await openApp(kith);
    await purge({ ...app, now: () => Date.now() + 31 * DAY_MS });
    expect(await refusalOf(book.undo(importId))).toMatchObject({ reason: 'CONTACT_IMPORT_NOT_FOUND' });
    expect(await book.imports()).toEqual([]);
    const after = await book.bytes();
    await book.client.deleteContact({ contactId: (await book.all())[1]!.id });
    await purge({ ...app, now: () => Date.now() + 31 * DAY_MS });
    expect(after).toBeGreaterThan(await book.bytes());
    expect(await book.bytes()).toBe(before + 1);
  });

  test('leave nothing by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
