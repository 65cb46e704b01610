import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactField,
  ContactFormat,
  ContactService,
  ContactStatus,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../gen/kith/contact/v1/label_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { purge } from '../purge.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const BYTES_MAX = 1_048_576;

/** What a contact has, without what every change changes. */
const fieldsOf = (contact: Contact) => ({ ...contact, id: '', etag: '', createTime: undefined, updateTime: undefined });

describe.each(databases)('earlier versions of contacts, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_CONTACT_BYTES_PER_USER: String(BYTES_MAX) } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const { accessToken, user } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    return {
      user,
      accessToken,
      client,
      labels: kith.client(LabelService, accessToken),
      create: async (contact: object) => (await client.createContact(contact)).contact!,
      versions: async (contactId: string) => (await client.listContactVersions({ contactId })).versions,
      get: async (contactId: string) => (await client.getContact({ contactId })).contact!,
      bytes: async () =>
        (await kith.client(UserService, accessToken).getUsage({ userId: user.id })).contactVersionBytes!,
    };
  };

  test('are kept of each change, whichever call makes it, with what it changed and by which session', async () => {
    const { client, labels, create, versions, get, user, accessToken } = await newBook();
    const contact = await create({ uid: 'ada', givenName: 'Ada', notes: 'first', phones: [{ number: '1' }] });
    const { id: contactId } = contact;
    expect(await versions(contactId)).toEqual([]);
    const { label } = await labels.createLabel({ name: 'Poets' });
    await client.updateContact({ contactId, notes: 'second', starred: true });
    await client.updateContact({ contactId, notes: 'second' });
    await client.batchUpdateContacts({ contacts: [{ contactId, phones: { values: [] } }] });
    await client.labelContacts({ contacts: [{ contactId }], addLabelIds: [label!.id] });
    const card = 'BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ada\r\nTITLE:Countess\r\nEND:VCARD\r\n';
    const { importId } = await client.importContacts({ format: ContactFormat.VCARD_3, content: Buffer.from(card) });
    await client.undoContactImport({ importId });
    const other = await create({ notes: 'more', nickname: 'A', givenName: 'Ada' });
    const kept = await get(contactId);
    await client.mergeContacts({
      contacts: [kept, other].map(({ id, etag }) => ({ contactId: id, etag })),
      keptContactId: contactId,
    });
    await client.unmergeContact({ contactId });
    await client.deleteContact({ contactId });
    await client.undeleteContact({ contactId });
    const listed = await versions(contactId);
    const { NOTES, STARRED, PHONES, LABEL_IDS, JOB_TITLE, NICKNAME } = ContactField;
    expect(listed.map(({ action, changedFields }) => [action.replace('kith.contact.', ''), changedFields])).toEqual([
      ['deleted', []],
      ['unmerged', expect.arrayContaining([NOTES, NICKNAME])],
      ['merged', expect.arrayContaining([NOTES, NICKNAME])],
      ['updated', [JOB_TITLE]],
      ['updated', [JOB_TITLE]],
      ['updated', [LABEL_IDS]],
      ['updated', [PHONES]],
      ['updated', expect.arrayContaining([NOTES, STARRED])],
    ]);
    const first = listed.at(-1)!;
    expect(first).toMatchObject({ version: 1, contact: { notes: 'first', id: '', etag: '' } });
    expect(fieldsOf(first.contact!)).toEqual(fieldsOf(contact));
    expect(listed.map(({ version }) => version)).toEqual(
      listed.map(({ version }) => version).toSorted((a, b) => b - a),
    );
    const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id });
    const sessions = new Set(activities.flatMap(({ actorSessionId }) => actorSessionId || []));
    expect(listed.every(({ actorSessionId }) => sessions.has(actorSessionId))).toBe(true);
    // The one that was merged and came back has what it was, too.
    expect((await versions(other.id)).map(({ action }) => action)).toEqual(['kith.contact.merged']);
    const page = await client.listContactVersions({ contactId, pageSize: 3 });
    const rest = await client.listContactVersions({ contactId, pageSize: 1000, pageToken: page.nextPageToken });
    expect([...page.versions, ...rest.versions]).toEqual(listed);
    expect(rest.nextPageToken).toBe('');
  });

  test('are restored with all their fields, which is taken back the same way', async () => {
    const { client, create, versions, get, user, accessToken } = await newBook();
    const contact = await create({ givenName: 'Grace', emails: [{ address: 'grace@example.org' }], notes: 'long' });
    const { id: contactId } = contact;
    await client.updateContact({ contactId, givenName: 'Gracie', notes: '', emails: { values: [] }, company: 'Navy' });
    const changed = await get(contactId);
    const { contact: restored } = await client.restoreContactVersion({ contactId, version: 1, etag: changed.etag });
    expect(fieldsOf(restored!)).toEqual(fieldsOf(contact));
    expect((await client.listContacts({ query: 'grace@example' })).contacts.map(({ id }) => id)).toEqual([contactId]);
    const { activities } = await kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id });
    expect(activities[0]).toMatchObject({
      action: 'kith.contact.updated',
      attributes: { contact_id: contactId, restored_version: '1' },
    });
    const { contact: same } = await client.restoreContactVersion({ contactId, version: 1 });
    expect(same!.etag).toBe(restored!.etag);
    const [last] = await versions(contactId);
    const { contact: back } = await client.restoreContactVersion({ contactId, version: last!.version });
    expect(fieldsOf(back!)).toEqual(fieldsOf(changed));
  });

  test('are refused of contacts of others, that are gone, deleted or changed meanwhile, and where there are none', async () => {
    const [book, theirs] = [await newBook(), await newBook()];
    const { id: contactId, etag } = await book.create({ givenName: 'Ada' });
    await book.client.updateContact({ contactId, notes: 'n' });
    const restore = (more: object) => refusalOf(book.client.restoreContactVersion({ contactId, version: 1, ...more }));
    expect(await restore({ etag })).toMatchObject({ code: 'Aborted', reason: 'ETAG_MISMATCH' });
    expect(await restore({ version: 7 })).toMatchObject({ code: 'NotFound', reason: 'CONTACT_VERSION_NOT_FOUND' });
    expect(await restore({ version: 0 })).toMatchObject({ reason: 'FIELDS_INVALID' });
    const notFound = { code: 'NotFound', reason: 'CONTACT_NOT_FOUND' };
    expect(await refusalOf(theirs.versions(contactId))).toMatchObject(notFound);
    const restored = theirs.client.restoreContactVersion({ contactId, version: 1 });
    expect(await refusalOf(restored)).toMatchObject(notFound);
    await book.client.deleteContact({ contactId });
    expect(await restore({})).toMatchObject({ reason: 'RESOURCE_DELETED' });
    expect(await book.versions(contactId)).toHaveLength(2);
    const { nextPageToken: pageToken } = await book.client.listContactVersions({ contactId, pageSize: 1 });
    const { id: other } = await book.create({ givenName: 'Other' });
    const ofOther = book.client.listContactVersions({ contactId: other, pageToken });
    expect(await refusalOf(ofOther)).toMatchObject({ reason: 'PAGE_TOKEN_INVALID' });
  });

  test('are bounded in number and bytes: the oldest go, and no change is refused', async () => {
    const { client, create, versions, bytes } = await newBook();
    const { id: contactId } = await create({ givenName: 'Ada' });
    const changes = Array.from({ length: 105 }, (_, i) => ({ contactId, notes: `${i}` }));
    const { results } = await client.batchUpdateContacts({ contacts: changes });
    expect(results.every(({ status }) => status === ContactStatus.UPDATED)).toBe(true);
    const kept = (await client.listContactVersions({ contactId, pageSize: 1000 })).versions;
    expect([kept.length, kept[0]!.version, kept.at(-1)!.version]).toEqual([100, 105, 6]);
    const { id: large } = await create({ givenName: 'Large' });
    for (let i = 0; i < 11; i++)
      await client.updateContact({ contactId: large, notes: String(i % 10).repeat(9_900) + i });
    const sizes = await bytes();
    expect(Number(sizes.limit)).toBe(BYTES_MAX / 4);
    expect(Number(sizes.used)).toBeLessThanOrEqual(BYTES_MAX / 4);
    expect(Number(sizes.used)).toBeGreaterThan(100_000);
    const notes = (text: string, i: number) => text.repeat(9_000) + String(i);
    for (let i = 0; i < 8; i++) await client.updateContact({ contactId: large, notes: notes('🦉', i) });
    expect(Number((await bytes()).used)).toBeLessThanOrEqual(BYTES_MAX / 4);
    expect((await versions(large))[0]!.contact!.notes).toBe(notes('🦉', 6));
    expect((await versions(contactId)).length).toBeLessThan(100);
  });

  test('are forgotten after their time, and counted in what a user stores until then', async () => {
    const { client, create, versions, bytes, labels } = await newBook();
    const { label } = await labels.createLabel({ name: 'Gone' });
    const { id: contactId } = await create({ givenName: 'Ada', labelIds: [label!.id] });
    await client.updateContact({ contactId, givenName: 'Augusta', labelIds: { values: [] } });
    await labels.deleteLabel({ labelId: label!.id });
    expect((await versions(contactId))[0]!.contact!.labelIds).toEqual([]);
    expect(Number((await bytes()).used)).toBeGreaterThan(400);
    await using app = await openApp(kith);
    await purge({ ...app, now: () => Date.now() + 31 * DAY_MS });
    expect(await versions(contactId)).toEqual([]);
    expect((await bytes()).used).toBe(0n);
    expect(await refusalOf(client.restoreContactVersion({ contactId, version: 1 }))).toMatchObject({
      reason: 'CONTACT_VERSION_NOT_FOUND',
    });
  });

  test('leave nothing by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
