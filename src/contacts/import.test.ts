import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Permission } from '../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import {
  ContactFormat,
  ContactImportStatus,
  ContactService,
  DuplicateReason,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { LabelService } from '../../gen/kith/contact/v1/label_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { generator } from '../../test/support/generator.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { startOn } from '../../test/support/stored.ts';
import { someCard } from './formats/cards.testkit.ts';
import { displayName } from './formats/card.ts';
import { missingIn, someForeignCard } from './formats/jscontact.testkit.ts';
import { writeVCard } from './formats/vcard-writer.ts';

const { CREATED, UPDATED, SAME, REFUSED } = ContactImportStatus;
const { VCARD_3, VCARD_4, CSV, JSCONTACT } = ContactFormat;

const card = (...lines: string[]) => ['BEGIN:VCARD', 'VERSION:3.0', ...lines, 'END:VCARD', ''].join('\r\n');

/** Contacts that are hard to write, of which each can be created. */
const CARDS = Array.from({ length: 60 }, (_, seed) => someCard(generator(seed + 1)))
  .filter((each) => /\w/.test(displayName(each)) && /\w/.test(each.givenName + each.company + each.nickname))
  .slice(0, 25);

describe.each(databases)('import and export of contacts, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind, { env: { KITH_CONTACTS_PER_USER: '500', KITH_LABELS_PER_USER: '30' } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const { user, accessToken } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    const labels = kith.client(LabelService, accessToken);
    const load = async (content: string, options: object = {}) =>
      (await client.importContacts({ format: VCARD_3, content: Buffer.from(content), ...options })).results;
    return {
      user,
      accessToken,
      client,
      labels,
      /** The names of labels by their ids. */
      labelNames: async () => new Map((await labels.listLabels({})).labels.map(({ id, name }) => [id, name])),
      load,
      statuses: async (...call: Parameters<typeof load>) => (await load(...call)).map(({ status }) => status),
      save: async (format: ContactFormat, query = '', labelIds: readonly string[] = []) => {
        const parts: Uint8Array[] = [];
        const request = { format, query, labels: { allOf: [...labelIds] } };
        for await (const { data } of client.exportContacts(request)) parts.push(data);
        return Buffer.concat(parts).toString();
      },
      all: async () => (await client.listContacts({ pageSize: 1000 })).contacts,
    };
  };

  test.each([
    ['vCard 3.0', VCARD_3],
    ['vCard 4.0', VCARD_4],
    ['CSV', CSV],
    ['JSContact', JSCONTACT],
  ])('%s: what is exported is the same again, here and in another address book', async (_, format) => {
    const [book, other] = [await newBook(), await newBook()];
    const file = CARDS.map((each) => writeVCard(each, '4.0')).join('');
    expect(await book.statuses(file)).toEqual(CARDS.map(() => CREATED));
    await book.client.createContact({ givenName: 'Without a uid' });
    const exported = await book.save(format);
    const before = await book.all();
    expect(await book.statuses(exported, { format })).toEqual([...CARDS, 1].map(() => SAME));
    expect(await book.all()).toEqual(before);
    expect(await other.statuses(exported, { format })).toEqual([...CARDS, 1].map(() => CREATED));
    const bare = (contacts: typeof before, names: ReadonlyMap<string, string>) =>
      contacts.map(({ id: _id, createTime: _c, updateTime: _u, etag: _e, ...fields }) => ({
        ...fields,
        labelIds: fields.labelIds.map((id) => names.get(id)),
        uid: fields.givenName === 'Without a uid' ? '' : fields.uid,
      }));
    const names = await book.labelNames();
    expect(names.size).toBeGreaterThan(2);
    expect(bare(await other.all(), await other.labelNames())).toEqual(bare(before, names));
  });

  test('Cards of JSContact come back with all that they had, and are the same again whichever way they went', async () => {
    const book = await newBook();
    const cards = Array.from({ length: 30 }, (_, i) => ({
      ...someForeignCard(generator(i + 1)),
      nicknames: { n: { name: `n${i}` } },
      uid: `urn:uuid:${i}`,
    }));
    const all = cards.map(() => SAME);
    const file = `${JSON.stringify(cards)}\n`;
    expect(await book.statuses(file, { format: JSCONTACT })).toEqual(cards.map(() => CREATED));
    expect(await book.statuses(file, { format: JSCONTACT })).toEqual(all);
    const exported = await book.save(JSCONTACT);
    const written = new Map((JSON.parse(exported) as { uid: string }[]).map((card) => [card.uid, card]));
    const missing = cards.flatMap((card) => missingIn(written.get(card.uid), card));
    expect(missing.filter((each) => !/\/(pref|@type)$/.test(each))).toEqual([]);
    for (const format of [JSCONTACT, VCARD_4, VCARD_3, CSV]) {
      expect(await book.statuses(await book.save(format), { format })).toEqual(all);
    }
    const [refused] = await book.load('{"emails": {"e": {"address": "a@b", "address": 1}}}', { format: JSCONTACT });
    expect(refused).toMatchObject({
      status: REFUSED,
      line: 1,
      refusal: { message: 'the name is there twice at /emails/e/address' },
    });
    expect(await (await newBook()).save(JSCONTACT)).toBe('[]\n');
  });

  test('the same file again changes nothing, whatever has become of its contacts', async () => {
    const book = await newBook();
    const file = card('N:Lovelace;Ada;;;', 'X-HAT:blue') + card('N:Hopper;Grace;;;', 'UID:grace', 'TEL:1');
    expect(await book.statuses(file, { source: 'a.vcf' })).toEqual([CREATED, CREATED]);
    expect(await book.statuses(file, { source: 'b.vcf' })).toEqual([SAME, SAME]);
    const [ada, grace] = await book.all();
    expect([ada, grace].map((each) => each?.source)).toEqual(['a.vcf', 'a.vcf']);
    expect(ada!.vcardProperties).toEqual(['X-HAT:blue']);
    await book.client.updateContact({ contactId: ada!.id, givenName: 'Augusta' });
    expect(await book.statuses(file)).toEqual([SAME, SAME]);
    expect((await book.all()).map(({ givenName }) => givenName)).toEqual(['Augusta', 'Grace']);
  });

  test('a contact with the uid of one that is there changes what it has, and leaves the rest', async () => {
    const book = await newBook();
    const [created] = await book.load(card('N:Hopper;Grace;;;', 'UID:grace', 'TITLE:Admiral', 'X-KITH-STARRED:TRUE'));
    const file = card('N:Hopper;Grace;Brewster;;', 'UID:grace', 'TEL:1');
    expect(await book.statuses(file, { keepExisting: true })).toEqual([SAME]);
    expect(await book.load(file, { preview: true })).toMatchObject([
      { status: UPDATED, contactId: created!.contactId },
    ]);
    expect((await book.all())[0]!.middleName).toBe('');
    expect(await book.statuses(file)).toEqual([UPDATED]);
    expect(await book.statuses(file)).toEqual([SAME]);
    expect(await book.all()).toMatchObject([
      { middleName: 'Brewster', jobTitle: 'Admiral', starred: true, phones: [{ number: '1' }] },
    ]);
  });

  test('CATEGORIES become labels by their names, are taken from no contact, and are exported again, also of one label', async () => {
    const book = await newBook();
    const { label } = await book.labels.createLabel({ name: 'Éngines', color: '#c02040' });
    const file =
      card('N:;Ada;;;', 'UID:ada', 'CATEGORIES:engines,Poets,myContacts', 'CATEGORIES:Poets\\, dead') +
      card('N:;Grace;;;', 'UID:grace', 'CATEGORIES:poets');
    const preview = await book.load(file, { preview: true });
    expect(preview.map(({ status }) => status)).toEqual([CREATED, CREATED]);
    expect((await book.labelNames()).size).toBe(1);
    expect(await book.statuses(file)).toEqual([CREATED, CREATED]);
    const labels = new Map((await book.labels.listLabels({})).labels.map((each) => [each.name, each]));
    expect([...labels].map(([name, { contactCount }]) => [name, contactCount])).toEqual([
      ['Éngines', 1],
      ['Poets', 2],
      ['Poets, dead', 1],
    ]);
    const [ada, grace] = await book.all();
    expect(ada!.labelIds).toContain(label!.id);
    expect(ada!.vcardProperties).toEqual([]);
    // One by hand, which the file does not have, and one that is deleted and hidden.
    const { label: mine } = await book.labels.createLabel({ name: 'Mine' });
    await book.client.labelContacts({ contacts: [{ contactId: grace!.id }], addLabelIds: [mine!.id, label!.id] });
    expect(await book.statuses(file)).toEqual([SAME, SAME]);
    await book.labels.deleteLabel({ labelId: label!.id });
    expect(await book.statuses(card('N:;Grace;;;', 'UID:grace', 'CATEGORIES:New'))).toEqual([UPDATED]);
    await book.labels.undeleteLabel({ labelId: label!.id });
    const names = await book.labelNames();
    const namesOf = async (i: number) => new Set((await book.all())[i]!.labelIds.map((id) => names.get(id)));
    expect(await namesOf(1)).toEqual(new Set(['Mine', 'New', 'Poets', 'Éngines']));
    const exported = await book.save(VCARD_4, '', [mine!.id]);
    expect(exported.match(/^FN:.*$/gm)).toEqual(['FN:Grace']);
    expect(exported).toMatch(/^CATEGORIES:.*Mine/m);
    expect(await book.save(CSV, '', [mine!.id])).toContain(' ::: Mine');
    expect(await refusalOf(book.save(CSV, '', [crypto.randomUUID()]))).toMatchObject({ reason: 'LABEL_NOT_FOUND' });
    // Labels of Google's own, and an id made of all that the contact has: the same file again is the same.
    const csv = 'First Name,Labels\nEdsger,* myContacts ::: * Friends ::: Mine\n';
    expect(await book.statuses(csv, { format: CSV })).toEqual([CREATED]);
    expect(await book.statuses(csv, { format: CSV })).toEqual([SAME]);
    const all = await book.labelNames();
    const [edsger] = (await book.all()).filter(({ givenName }) => givenName === 'Edsger');
    expect(edsger!.labelIds.map((id) => all.get(id))).toEqual(['Friends', 'Mine']);
  });

  test('labels that there is no room for stay with the contact and come back in the export', async () => {
    const book = await newBook();
    const file = Array.from({ length: 31 }, (_, i) => card(`N:;A${i + 10};;;`, `UID:${i}`, `CATEGORIES:L${i}`)).join(
      '',
    );
    expect(new Set(await book.statuses(file))).toEqual(new Set([CREATED]));
    expect((await book.labelNames()).size).toBe(30);
    const [last] = (await book.load(file)).slice(-1);
    expect(last).toMatchObject({
      status: SAME,
      notes: [{ line: 181, text: expect.stringMatching(/^the contact is not labelled "L30": .* more than 30 labels/) }],
    });
    const contacts = await book.all();
    expect(contacts.at(-1)).toMatchObject({ labelIds: [], vcardProperties: ['CATEGORIES:L30'] });
    expect(await book.save(VCARD_4)).toContain('CATEGORIES:L30');
    expect(new Set(await book.statuses(await book.save(VCARD_4)))).toEqual(new Set([SAME]));
  });

  test('a file that is imported and taken back again and again needs room for one, of contacts and of labels', async () => {
    const book = await newBook();
    const file = Array.from({ length: 60 }, (_, i) => card(`N:;A${i};;;`, `CATEGORIES:L${i % 25}`)).join('');
    const labelled = async () => {
      const { labels } = await book.labels.listLabels({ pageSize: 100 });
      return labels.map(({ name, contactCount }) => [name, contactCount]);
    };
    const first = await book.client.importContacts({ format: VCARD_3, content: Buffer.from(file), source: 'a' });
    const before = [await book.all(), await labelled()];
    expect((await book.labelNames()).size).toBe(25);
    let { importId } = first;
    for (const round of ['b', 'c']) {
      await book.client.undoContactImport({ importId });
      expect([await book.all(), await labelled()]).toEqual([[], []]);
      const preview = await book.load(file, { preview: true });
      expect(preview.map(({ status, notes }) => [status, notes])).toEqual(preview.map(() => [CREATED, []]));
      const again = await book.client.importContacts({ format: VCARD_3, content: Buffer.from(file), source: round });
      expect(again.results.map(({ contactId }) => contactId)).toEqual(first.results.map(({ contactId }) => contactId));
      const unchanging = (contact: object) => ({ ...contact, etag: '', updateTime: undefined, source: 'a' });
      expect([(await book.all()).map(unchanging), await labelled()]).toEqual([
        before[0]!.map((each) => unchanging(each as object)),
        before[1],
      ]);
      expect((await book.all())[0]!.source).toBe(round);
      importId = again.importId;
    }
    const { contacts } = await kith.client(UserService, book.accessToken).getUsage({ userId: book.user.id });
    expect(contacts!.used).toBe(60n);
  });

  test('what was deleted comes back with what the file says alone: another contact, or a label that contacts have, is made anew', async () => {
    const book = await newBook();
    const [first] = await book.load(card('N:;Ada;;;', 'UID:ada', 'CATEGORIES:Poets'));
    const { label: mine } = await book.labels.createLabel({ name: 'Friends' });
    const { contact: kept } = await book.client.createContact({ givenName: 'Kept', labelIds: [mine!.id] });
    await book.client.updateContact({ contactId: first!.contactId, notes: 'by hand' });
    await book.client.deleteContact({ contactId: first!.contactId });
    await book.labels.deleteLabel({ labelId: mine!.id });
    const [second] = await book.load(card('N:;Ada;;;', 'UID:ada', 'CATEGORIES:Friends'));
    expect(second).toMatchObject({ status: CREATED });
    expect(second!.contactId).not.toBe(first!.contactId);
    const { contact } = await book.client.getContact({ contactId: second!.contactId });
    expect(contact).toMatchObject({ notes: '' });
    expect(contact!.labelIds).not.toContain(mine!.id);
    expect((await book.client.getContact({ contactId: kept!.id })).contact!.labelIds).toEqual([]);
  });

  test('a preview writes nothing, and says what importing then does, with lines, names and reasons', async () => {
    const book = await newBook();
    const file =
      card('N:A;B;;;', 'PHOTO;ENCODING=b:AAAA') + card('TITLE:Nobody') + card('FN:C D', 'TEL:1') + 'BEGIN:VCARD\r\n';
    const preview = await book.load(file, { preview: true, linesBefore: 100 });
    expect(await book.all()).toEqual([]);
    expect(preview).toMatchObject([
      { status: CREATED, line: 101, name: 'B A', contactId: '', notes: [{ line: 104 }] },
      { status: REFUSED, line: 106, refusal: { detail: { reason: ErrorReason.CONTACT_EMPTY } } },
      { status: CREATED, line: 110, name: 'C D' },
      { status: REFUSED, line: 115, refusal: { detail: { reason: ErrorReason.CONTACT_UNREADABLE } } },
    ]);
    const imported = await book.load(file, { linesBefore: 100 });
    expect(imported.map((each) => ({ ...each, contactId: '' }))).toEqual(preview);
    expect(await book.all()).toHaveLength(2);
  });

  test('a preview tells which contacts that are there may be the same person, and why, the likeliest first', async () => {
    const book = await newBook();
    const { client } = book;
    const ada = { givenName: 'Ada', familyName: 'Lovelace' };
    const { contact: byNumber } = await client.createContact({
      nickname: 'Shop',
      phones: [{ number: '+442079460018' }],
    });
    const { contact: byAll } = await client.createContact({ ...ada, emails: [{ address: 'ADA@example.org' }] });
    const { contact: gone } = await client.createContact({ ...ada, emails: [{ address: 'ada@example.org' }] });
    await client.deleteContact({ contactId: gone!.id });
    const file =
      card('N:Lovelace;Ada;;;', 'EMAIL:ada@example.org', 'TEL:020 7946 0018') + card('N:Lovelace;Ada;;;', 'UID:name');
    const [first, second] = await book.load(file, { preview: true, phoneRegion: 'GB' });
    expect(first!.possibleDuplicates).toMatchObject([
      {
        contactId: byAll!.id,
        name: 'Ada Lovelace',
        reasons: [DuplicateReason.EMAIL, DuplicateReason.NAME],
        score: 85,
      },
      { contactId: byNumber!.id, name: 'Shop', reasons: [DuplicateReason.PHONE], score: 60 },
    ]);
    // A name alone is no reason, and neither is what the file itself has.
    expect(second!.possibleDuplicates).toEqual([]);
    const key = await kith.client(ApiKeyService, book.accessToken).createApiKey({
      name: 'import',
      permissions: [Permission.CONTACTS_WRITE],
    });
    const writer = kith.client(ContactService, key.secret);
    const { results } = await writer.importContacts({
      format: VCARD_3,
      content: Buffer.from(file),
      preview: true,
      phoneRegion: 'GB',
    });
    expect(results.flatMap(({ possibleDuplicates }) => possibleDuplicates)).toEqual([]);
    for (const { possibleDuplicates } of await book.load(file)) expect(possibleDuplicates).toEqual([]);
  });

  test('two imports of one file at once create its contacts once', async () => {
    const book = await newBook();
    const file = Array.from({ length: 20 }, (_, i) => card(`N:${i};A;;;`)).join('');
    const both = await Promise.all([book.statuses(file), book.statuses(file)]);
    expect(await book.all()).toHaveLength(20);
    expect(both.flat().filter((status) => status === CREATED)).toHaveLength(20);
  });

  test('more than 500 contacts, and what is beyond the limits of a user, are refused', async () => {
    const book = await newBook();
    const file = (count: number) =>
      Array.from({ length: count }, (_, i) => `BEGIN:VCARD\nFN:A${i}\nEND:VCARD\n`).join('');
    expect(await refusalOf(book.load(file(501)))).toMatchObject({
      code: 'InvalidArgument',
      reason: 'IMPORT_TOO_LARGE',
    });
    expect(await refusalOf(book.load(card('N:A;;;;'), { phoneRegion: 'ZZ' }))).toMatchObject({
      reason: 'REGION_UNKNOWN',
    });
    expect(await book.all()).toEqual([]);
    await book.client.createContact({ givenName: 'First' });
    const results = await book.load(file(500));
    expect(results.filter(({ status }) => status === CREATED)).toHaveLength(499);
    expect(results[499]).toMatchObject({
      status: REFUSED,
      refusal: { detail: { reason: ErrorReason.CONTACT_LIMIT_REACHED } },
    });
    const exported = await book.save(VCARD_4, 'a49');
    expect(exported.match(/^FN:/gm)).toHaveLength(10);
  });
});
