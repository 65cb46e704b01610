import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import { ContactFormat, ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../gen/kith/contact/v1/label_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { ContactCopy } from '../../test/support/contact-copy.ts';
import { purgeActivities } from '../activity/log/purge.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

describe.each(databases)('a copy of contacts, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const { accessToken, user } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    return {
      user,
      accessToken,
      client,
      copy: new ContactCopy(),
      create: async (...names: string[]) => {
        const contacts = names.map((givenName) => ({ givenName }));
        const { results } = await client.batchCreateContacts({ contacts, allOrNothing: true });
        return results.map(({ contact }) => contact!);
      },
      all: async () => {
        const contacts: Contact[] = [];
        for (let pageToken = '', isFirst = true; isFirst || pageToken !== ''; isFirst = false) {
          const page = await client.listContacts({ pageSize: 1000, pageToken });
          contacts.push(...page.contacts);
          pageToken = page.nextPageToken;
        }
        return contacts;
      },
    };
  };

  test('is what the server has after each change, whatever makes it', async () => {
    const { client, copy, create, all, accessToken } = await newBook();
    const expectSame = async () => {
      await copy.sync(client, 3);
      expect(copy.contacts()).toEqual((await all()).toSorted(byId));
    };
    await expectSame();
    const [a, b, c, d] = await create('A', 'B', 'C', 'D', 'E', 'F', 'G');
    await expectSame();
    expect(copy.size).toBe(7);
    await client.updateContact({ contactId: a!.id, notes: 'n' });
    await client.deleteContact({ contactId: b!.id });
    await expectSame();
    await client.undeleteContact({ contactId: b!.id });
    await client.batchDeleteContacts({ contacts: [{ contactId: c!.id }] });
    await expectSame();
    const some = [a!, d!].map(({ id }) => copy.get(id)!);
    await client.mergeContacts({
      contacts: some.map(({ id, etag }) => ({ contactId: id, etag })),
      keptContactId: a!.id,
      preferKept: true,
    });
    await expectSame();
    expect(copy.tombstones.get(d!.id)).toBe(a!.id);
    expect(copy.tombstones.get(c!.id)).toBe('');
    await client.unmergeContact({ contactId: a!.id });
    await expectSame();
    const content = Buffer.from('BEGIN:VCARD\nN:;New;;;\nUID:new\nCATEGORIES:Of the file\nEND:VCARD\n');
    const { importId } = await client.importContacts({ format: ContactFormat.VCARD_3, content });
    await expectSame();
    expect(copy.areLabelsChanged).toBe(true);
    await client.undoContactImport({ importId });
    await expectSame();
    const labels = kith.client(LabelService, accessToken);
    const { label } = await labels.createLabel({ name: 'Some' });
    await client.labelContacts({ contacts: [{ contactId: a!.id }], addLabelIds: [label!.id] });
    await expectSame();
    copy.areLabelsChanged = false;
    await labels.deleteLabel({ labelId: label!.id });
    await copy.sync(client, 3);
    expect(copy.areLabelsChanged).toBe(true);
    // No contact was changed by it: the client shows the labels that there are.
    expect(copy.get(a!.id)!.labelIds).toEqual([label!.id]);
    await labels.undeleteLabel({ labelId: label!.id });
    await expectSame();
    // Nothing more, and again nothing more.
    copy.answered = 0;
    await copy.sync(client, 3);
    expect(copy.answered).toBe(0);
  });

  test('misses nothing that changes while the list is read, and what is deleted in between goes', async () => {
    const { client, copy, create, all } = await newBook();
    const contacts = await create(...Array.from({ length: 12 }, (_, i) => `N${i + 10}`));
    await copy.page(client, 5);
    // One that was read, one that moves to where the list has been, one that goes and one that comes there.
    await client.updateContact({ contactId: contacts[1]!.id, notes: 'n' });
    await client.updateContact({ contactId: contacts[11]!.id, givenName: 'A' });
    await client.deleteContact({ contactId: contacts[2]!.id });
    await client.deleteContact({ contactId: contacts[8]!.id });
    await create('A2');
    await copy.sync(client, 5);
    expect(copy.contacts()).toEqual((await all()).toSorted(byId));
    expect(copy.size).toBe(11);
  });

  test('has what was written before a call when that says that there is no more, also in the middle of many changes', async () => {
    const { client, copy, create, all } = await newBook();
    await copy.sync(client, 50);
    await create('A', 'B', 'C');
    expect(await copy.page(client, 2)).toMatchObject({ hasMore: true });
    await create('D');
    await copy.sync(client, 2);
    expect(copy.contacts()).toEqual((await all()).toSorted(byId));
  });

  test('comes in pages of bounded size, of large contacts too', async () => {
    const { client, copy, all } = await newBook();
    const notes = '🦉'.repeat(5000);
    await copy.sync(client, 1000);
    for (let part = 0; part < 3; part++) {
      const contacts = Array.from({ length: 40 }, (_, i) => ({ givenName: `L${part} ${i}`, notes }));
      await client.batchCreateContacts({ contacts, allOrNothing: true });
    }
    const page = await copy.page(client, 1000);
    expect(page.contacts.length).toBeLessThan(60);
    await copy.sync(client, 1000);
    expect(copy.contacts()).toEqual((await all()).toSorted(byId));
    const anew = new ContactCopy();
    expect((await anew.page(client, 1000)).contacts.length).toBeLessThan(60);
    await anew.sync(client, 1000);
    expect(anew.size).toBe(120);
  });

  test('is refused with a cursor of others, of a watch, or that is too old', async () => {
    const { client, copy, create, accessToken, user } = await newBook();
    await create('A');
    await copy.sync(client, 5);
    const invalid = { code: 'InvalidArgument', reason: 'CURSOR_INVALID' };
    const { watchCursor } = await kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id });
    for (const cursor of ['x', watchCursor, `${copy.cursor}A`, copy.cursor.slice(0, -4)]) {
      expect(await refusalOf(client.syncContacts({ cursor }))).toMatchObject(invalid);
    }
    const other = await newBook();
    expect(await refusalOf(other.client.syncContacts({ cursor: copy.cursor }))).toMatchObject(invalid);
    expect(
      await refusalOf(
        kith.client(ActivityService, accessToken).listUserActivity({ userId: user.id, pageToken: copy.cursor }),
      ),
    ).toMatchObject({ reason: 'PAGE_TOKEN_INVALID' });
    await create('B');
    const { cursor } = copy;
    await copy.sync(client, 5);
    await using app = await openApp(kith);
    const later = { ...app, now: () => app.now() + app.activityRetentionMs + DAY_MS };
    while ((await purgeActivities(later, 1000)) > 0);
    expect(await refusalOf(client.syncContacts({ cursor }))).toMatchObject({
      code: 'OutOfRange',
      reason: 'CURSOR_EXPIRED',
    });
    // One that has seen all that was purged is still good.
    await create('C');
    await copy.sync(client, 5);
    expect(copy.contacts().map(({ givenName }) => givenName)).toEqual(['A', 'B', 'C']);
  });
});

const byId = (a: Contact, b: Contact) => (a.id < b.id ? -1 : 1);
