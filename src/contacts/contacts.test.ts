import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { type Contact, ContactSchema } from '../../gen/kith/contact/v1/contact_pb.ts';
import {
  ContactService,
  CreateContactRequestSchema,
  type ListContactsRequestSchema,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { create as message, type MessageInitShape, ScalarType } from '@bufbuild/protobuf';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { Role } from '../../gen/kith/access/v1/role_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import type { App } from '../app.ts';
import { purge } from '../purge.ts';
import { bytesOf, NO_FIELDS, toColumns, toFields } from './contact.ts';
import { addUsage, type ContactRow, insertContact, SORTED_MAX } from './store.ts';
import { contactTerms } from './terms.ts';
import { signedIn } from '../../test/support/sign-in.ts';
import {
  ETAG_MISMATCH,
  FIELDS_INVALID,
  PAGE_TOKEN_INVALID,
  REQUEST_ID_REUSED,
  RESOURCE_DELETED,
  RESOURCE_NOT_DELETED,
} from '../../test/support/refusals.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

const CONTACT_NOT_FOUND = { code: 'NotFound', reason: 'CONTACT_NOT_FOUND' };
const CONTACT_EMPTY = { code: 'InvalidArgument', reason: 'CONTACT_EMPTY' };

type NewContact = Exclude<MessageInitShape<typeof CreateContactRequestSchema>, { $unknown?: unknown }>;
type ListRequest = MessageInitShape<typeof ListContactsRequestSchema>;

/** The fields of a request that are none of a contact, and labels, which have tests of their own. */
const OTHERS = ['request_id', 'phone_region', 'label_ids'];

/** The texts of a contact. */
const TEXTS = CreateContactRequestSchema.fields
  .filter(
    ({ scalar, fieldKind, name }) => fieldKind === 'scalar' && scalar === ScalarType.STRING && !OTHERS.includes(name),
  )
  .map(({ localName }) => localName as 'givenName');

const FULL = {
  ...(Object.fromEntries(TEXTS.map((name) => [name, `Some ${name}`])) as {}),
  givenName: 'Ada',
  familyName: 'Lovelace  🦉',
  company: 'Analytical Engines & Söhne',
  jobTitle: 'Countess',
  emails: [
    { address: 'Ada@Example.org', type: 'work', primary: false, valid: true },
    { address: 'ada@lovelace.example', type: '', primary: true, valid: true },
  ],
  phones: [
    { number: '+44 (20) 7946-0958', type: 'mobile', primary: true, e164: '+442079460958' },
    { number: '*100#', type: '', primary: false, e164: '' },
  ],
  addresses: [
    {
      street: '12 St James’s Square\nSecond floor',
      city: 'London',
      region: 'Greater London',
      postalCode: 'SW1Y 4JH',
      country: 'GB',
      type: 'home',
      primary: true,
    },
    { street: '', city: 'Oakham', region: '', postalCode: '', country: '', type: '', primary: false },
  ],
  urls: [
    { url: 'https://example.org/~ada?q=1#top', type: 'blog', primary: true, text: '' },
    { url: '', type: '', primary: false, text: 'gopher://example.org' },
  ],
  birthday: { year: 1815, month: 12, day: 10 },
  dates: [
    { date: { year: 1835, month: 7, day: 8 }, type: 'anniversary' },
    { date: { month: 11 }, type: '' },
  ],
  relations: [{ name: 'Charles Babbage', type: 'friend' }],
  messagingHandles: [{ handle: '@ada:example.org', service: 'Matrix', type: 'home' }],
  customFields: [{ label: 'Hat', value: '7 ⅛\nwith a feather' }],
  languages: ['en-GB', 'Français'],
  notes: 'Wrote the first program.\n\n\tIn 1843 — "Note G".\r\n',
  starred: true,
} satisfies NewContact;

describe.each(databases)('on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  /** The address book of one user. */
  function bookOf({ user, accessToken }: SignedIn, on = kith) {
    const client = on.client(ContactService, accessToken);
    return {
      user,
      client,
      create: async (contact: NewContact): Promise<Contact> => (await client.createContact(contact)).contact!,
      get: async (id: string): Promise<Contact> => (await client.getContact({ contactId: id })).contact!,
      list: (request: ListRequest = {}) => client.listContacts(request),
      ids: async (request: ListRequest = {}) => (await client.listContacts(request)).contacts.map(({ id }) => id),
    };
  }
  const newBook = async (on = kith) => bookOf(await on.user(), on);

  /** A book that several tests only add to. */
  let shared: Awaited<ReturnType<typeof newBook>>;
  beforeAll(async () => {
    shared = await newBook();
  });

  test('every field of the contract is in the full contact of these tests', () => {
    const fields = CreateContactRequestSchema.fields.filter(({ name }) => !OTHERS.includes(name));
    expect(Object.keys(FULL).toSorted()).toEqual(fields.map(({ localName }): string => localName).toSorted());
  });

  describe('CreateContact', () => {
    test('keeps every field as it was written', async () => {
      const contact = await shared.create(FULL);
      const { id, createTime, updateTime, etag } = contact;
      expect(contact).toEqual(
        message(ContactSchema, { ...FULL, id, createTime: createTime!, updateTime: updateTime!, etag }),
      );
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(updateTime).toEqual(createTime);
      expect(etag).not.toBe('');
      expect(await shared.get(id)).toEqual(contact);
      expect((await shared.list({ query: 'ada lovelace' })).contacts).toContainEqual(contact);
    });

    test.each<[string, NewContact]>([
      ['a given name', { givenName: 'Ada' }],
      ['a family name', { familyName: 'Lovelace' }],
      ['a company', { company: 'Engines' }],
      ['an email address', { emails: [{ address: 'a@b.example' }] }],
      ['a phone number', { phones: [{ number: '1' }] }],
      ['a name that is an emoji', { givenName: '🦉' }],
      ['a middle name', { middleName: 'Augusta' }],
      ['a nickname', { nickname: 'The Enchantress' }],
    ])('takes a contact with %s alone', async (_, contact) => {
      expect((await shared.create(contact)).birthday).toBeUndefined();
    });

    test.each<[string, NewContact]>([
      ['nothing', {}],
      ['names of blanks', { givenName: ' ', familyName: '\u3000', company: '\u00A0' }],
      ['a job title', { jobTitle: 'Countess' }],
      ['what stands around names', { namePrefix: 'Dr', nameSuffix: 'Jr', phoneticGivenName: 'Eida' }],
      ['an address', { addresses: [{ city: 'London' }] }],
      ['a URL', { urls: [{ url: 'https://example.org' }] }],
      ['a birthday, notes and a star', { birthday: { month: 1, day: 1 }, notes: 'Who is it?', starred: true }],
    ])('refuses a contact with %s alone', async (_, contact) => {
      expect(await refusalOf(shared.create(contact))).toMatchObject(CONTACT_EMPTY);
    });

    test.each([
      ['the first when none is', [false, false, false], [true, false, false]],
      ['the one that is said to be', [false, false, true], [false, false, true]],
    ])('makes primary %s', async (_, said, made) => {
      const contact = await shared.create({
        emails: said.map((primary, i) => ({ address: `a${i}@example.org`, primary })),
        phones: said.map((primary, i) => ({ number: `555 ${i}`, primary })),
        addresses: said.map((primary, i) => ({ city: `Town ${i}`, primary })),
        urls: said.map((primary, i) => ({ url: `https://example.org/${i}`, primary })),
      });
      for (const field of ['emails', 'phones', 'addresses', 'urls'] as const) {
        expect(contact[field].map(({ primary }) => primary)).toEqual(made);
      }
    });

    test.each([
      { year: 2000, month: 2, day: 29 },
      { month: 2, day: 29 },
      { year: 1, month: 1, day: 1 },
      { year: 9999, month: 12, day: 31 },
      { year: 33, month: 4, day: 30 },
      { year: 1815 },
      { year: 1815, month: 12 },
      { month: 12 },
    ])('keeps what is known of the birthday $year-$month-$day', async (birthday) => {
      const { id } = await shared.create({ givenName: 'Ada', birthday });
      const { year, month, day } = (await shared.get(id)).birthday!;
      expect({ year, month, day }).toEqual({ year: undefined, month: undefined, day: undefined, ...birthday });
    });

    test.each([
      'O’Hara <o.hara@example.org>',
      'zoë@bücher.example',
      'john..doe@example.org',
      '"a b"@example.org',
      'root@localhost',
      `${'a'.repeat(300)}@example.org`,
    ])('keeps the email address %s as it is, and finds it', async (address) => {
      const { id } = await shared.create({ emails: [{ address }] });
      expect((await shared.get(id)).emails).toMatchObject([{ address }]);
      expect(await shared.ids({ query: address.slice(0, 40) })).toContain(id);
    });

    test.each<[string, NonNullable<NewContact['urls']>[number], { url: string; text: string }]>([
      ['without a scheme becomes https', { url: ' example.org/~ada ' }, { url: 'https://example.org/~ada', text: '' }],
      ['with another scheme is a text', { url: 'javascript:alert(1)' }, { url: '', text: 'javascript:alert(1)' }],
      ['that was answered as a text stays one', { text: 'gopher://a' }, { url: '', text: 'gopher://a' }],
      ['has no text beside it', { url: 'http://a.example', text: 'x' }, { url: 'http://a.example', text: '' }],
    ])('a URL %s', async (_, url, kept) => {
      const contact = await shared.create({ givenName: 'Ada', urls: [url] });
      expect(contact.urls).toMatchObject([kept]);
      const { urls } = contact;
      expect((await shared.client.updateContact({ contactId: contact.id, urls: { values: urls } })).contact).toEqual(
        contact,
      );
    });

    describe('a phone number without a country code', () => {
      const numbers = [{ number: '020 7946 0958' }, { number: '+49 30 1234567' }, { number: '1-800-FLOWERS' }];
      const e164s = ({ phones }: Contact) => phones.map(({ e164 }) => e164);
      test.each([
        ['', ['', '+49301234567', '']],
        ['GB', ['+442079460958', '+49301234567', '']],
        ['us', ['', '+49301234567', '+18003569377']],
      ])('is read in the region "%s" of the call', async (phoneRegion, expected) => {
        const contact = await shared.create({ phones: numbers, phoneRegion });
        expect(e164s(contact)).toEqual(expected);
        const { contact: updated } = await shared.client.updateContact({
          contactId: contact.id,
          phones: { values: numbers.toReversed() },
          phoneRegion,
        });
        expect(e164s(updated!)).toEqual(expected.toReversed());
        expect(await shared.get(contact.id)).toEqual(updated);
      });

      test("is read in the region of the user's locale, if it names one", async () => {
        const owner = await kith.user();
        const book = bookOf(owner);
        for (const [locale, e164] of [
          ['en-GB', '+442079460958'],
          ['en', ''],
        ]) {
          await kith.client(UserService, owner.accessToken).updateUser({ userId: owner.user.id, locale: locale! });
          const contact = await book.create({ phones: [numbers[0]!] });
          expect(e164s(contact)).toEqual([e164]);
          expect(e164s((await book.client.updateContact({ contactId: contact.id, notes: 'x' })).contact!)).toEqual([
            e164,
          ]);
        }
      });

      test('is not read in a region that there is not', async () => {
        const unknown = { code: 'InvalidArgument', reason: 'REGION_UNKNOWN', metadata: { field: 'phone_region' } };
        expect(await refusalOf(shared.create({ phones: numbers, phoneRegion: 'UK' }))).toMatchObject(unknown);
        const { id } = await shared.create(FULL);
        expect(await refusalOf(shared.client.updateContact({ contactId: id, phoneRegion: 'ZZ' }))).toMatchObject(
          unknown,
        );
      });
    });

    test.each(['ask at the desk', '٠٣٠ ١٢٣٤', '+49 30 1234567 (only in the mornings)', '0800-FLOWERS', 'tel: x / y'])(
      'keeps the phone number %s as it is',
      async (number) => {
        const { id } = await shared.create({ phones: [{ number }] });
        expect((await shared.get(id)).phones).toMatchObject([{ number }]);
      },
    );

    test.each<[string, NewContact]>([
      ['a name of 201', { givenName: 'a'.repeat(201) }],
      ['a name of two lines', { familyName: 'a\nb' }],
      ['a company with a direction override', { company: 'a\u202Eb' }],
      ['a job title with a NUL', { jobTitle: 'a\0' }],
      ['notes of 10,001', { notes: 'a'.repeat(10_001) }],
      ['notes with an escape sequence', { notes: '\u001B[2J' }],
      ['21 email addresses', { emails: Array.from({ length: 21 }, (_, i) => ({ address: `a${i}@b.example` })) }],
      [
        'two primary email addresses',
        { emails: ['a@b.example', 'c@d.example'].map((address) => ({ address, primary: true })) },
      ],
      ['two primary phone numbers', { phones: ['1', '2'].map((number) => ({ number, primary: true })) }],
      ['two primary addresses', { addresses: ['A', 'B'].map((city) => ({ city, primary: true })) }],
      ['two primary URLs', { urls: ['http://a', 'http://b'].map((url) => ({ url, primary: true })) }],
      ['an email address without @', { emails: [{ address: 'nobody' }] }],
      ['an email address of two lines', { emails: [{ address: 'a@b\nc' }] }],
      ['an email address of 321', { emails: [{ address: `${'a'.repeat(319)}@b` }] }],
      ['an empty email address', { emails: [{ type: 'work' }] }],
      ['an empty phone number', { phones: [{ type: 'work' }] }],
      ['a phone number that nobody can see', { phones: [{ number: '\u3164' }] }],
      ['a phone number of 101', { phones: [{ number: '1'.repeat(101) }] }],
      ['a phone number with a line feed inside', { phones: [{ number: '1\n2' }] }],
      ['an address of a type alone', { addresses: [{ type: 'home' }] }],
      ['a type of 65', { emails: [{ address: 'a@b.example', type: 'a'.repeat(65) }] }],
      ['a URL of nothing', { urls: [{ type: 'blog' }] }],
      ['a URL that nobody can see', { urls: [{ url: '\u200B', text: '\u3164' }] }],
      ['a URL of 2049', { urls: [{ url: `https://a.example/${'a'.repeat(2031)}` }] }],
      ['a text of 2049 in place of a URL', { urls: [{ text: 'a'.repeat(2049) }] }],
      ['a date of a type alone', { dates: [{ type: 'anniversary' }] }],
      ['a date of nothing', { dates: [{ date: {} }] }],
      ['the anniversary 30 February', { dates: [{ date: { month: 2, day: 30 } }] }],
      ['a relation without a name', { relations: [{ type: 'friend' }] }],
      ['a handle that nobody can see', { messagingHandles: [{ handle: ' ', service: 'Signal' }] }],
      ['a custom field without a value', { customFields: [{ label: 'Hat' }] }],
      ['a custom field of 2001', { customFields: [{ value: 'a'.repeat(2001) }] }],
      ['an empty language', { languages: ['en', ''] }],
      ['21 relations', { relations: Array.from({ length: 21 }, (_, i) => ({ name: `R${i}` })) }],
      ['a nickname of two lines', { nickname: 'a\nb' }],
      ['a prefix of 101', { namePrefix: 'a'.repeat(101) }],
      ['a uid of 256', { uid: 'a'.repeat(256) }],
      ['a phone region of three letters', { phoneRegion: 'GBR' }],
      ['30 February', { birthday: { month: 2, day: 30 } }],
      ['29 February 1900', { birthday: { year: 1900, month: 2, day: 29 } }],
      ['31 April', { birthday: { month: 4, day: 31 } }],
      ['a month of 13', { birthday: { month: 13, day: 1 } }],
      ['a birthday of nothing', { birthday: {} }],
      ['a birthday of a day without a month', { birthday: { day: 1 } }],
      ['a birthday of a day and a year without a month', { birthday: { year: 1815, day: 1 } }],
      ['the year 0', { birthday: { year: 0, month: 1, day: 1 } }],
      ['the year 10000', { birthday: { year: 10_000, month: 1, day: 1 } }],
      ['a request id that is no UUID', { requestId: 'first try' }],
    ])('refuses %s', async (_, contact) => {
      expect(await refusalOf(shared.create({ company: 'Engines', ...contact }))).toMatchObject(FIELDS_INVALID);
    });

    test('takes as much of everything as the contract allows', async () => {
      const twenty = <T>(entry: (i: number) => T) => Array.from({ length: 20 }, (_, i) => entry(i));
      const type = '🏷'.repeat(64);
      const asked = {
        givenName: '🦉'.repeat(200),
        familyName: 'ǅ'.repeat(200),
        company: 'ﷺ'.repeat(200),
        jobTitle: '王'.repeat(200),
        emails: twenty((i) => ({ address: `🦉${i}@${'b.'.repeat(120)}org`.padEnd(321, 'ö'), type, primary: i === 19 })),
        phones: twenty((i) => ({ number: String(i + 10).repeat(50), type, primary: i === 19 })),
        addresses: twenty((i) => ({
          street: '🏠'.repeat(500),
          city: 'c'.repeat(200),
          region: 'r'.repeat(200),
          postalCode: 'p'.repeat(32),
          country: 'x'.repeat(100),
          type,
          primary: i === 19,
        })),
        urls: twenty((i) => ({ url: `https://example.org/${i}`.padEnd(2048, 'u'), type, primary: i === 19 })),
        notes: '\n🗒'.repeat(5000),
        namePrefix: '🎩'.repeat(100),
        middleName: '🦉'.repeat(200),
        nameSuffix: '🎩'.repeat(100),
        nickname: '🦉'.repeat(200),
        phoneticGivenName: 'ア'.repeat(200),
        phoneticMiddleName: 'ア'.repeat(200),
        phoneticFamilyName: 'ア'.repeat(200),
        department: '王'.repeat(200),
        dates: twenty((i) => ({ date: { year: 9999, month: 12, day: i + 1 }, type })),
        relations: twenty(() => ({ name: '🦉'.repeat(200), type })),
        messagingHandles: twenty(() => ({ handle: '🦉'.repeat(320), service: type, type })),
        customFields: twenty(() => ({ label: type, value: '🦉\n'.repeat(1000).trim() })),
        languages: twenty(() => '🗣'.repeat(64)),
        timeZone: '🕓'.repeat(64),
        pronouns: '🦉'.repeat(64),
        source: '🦉'.repeat(200),
        uid: '🦉'.repeat(255),
      };
      const contact = await shared.create(asked);
      expect(await shared.get(contact.id)).toMatchObject(asked);
      expect(await shared.ids({ query: '12'.repeat(32) })).toContain(contact.id);
    });

    test('goes with names whose terms would end amid a character', async () => {
      const start = 'e'.repeat(99);
      const { id, etag } = await shared.create({ givenName: `${start}😀`, company: `${start}𝄞` });
      const long = await shared.create({ givenName: `${start}${start}e😀` });
      expect(await shared.ids({ query: `${start}😀` })).toContain(id);
      expect((await shared.client.updateContact({ contactId: long.id, givenName: long.givenName })).contact!.etag).toBe(
        long.etag,
      );
      expect((await shared.client.updateContact({ contactId: id })).contact!.etag).toBe(etag);
    });
  });

  describe('a request id', () => {
    test('answers what the first call answered, also after the contact was changed', async () => {
      const book = await newBook();
      const asked = { ...FULL, requestId: randomUUID() };
      const first = await book.create(asked);
      expect(await book.create(asked)).toEqual(first);
      await book.client.updateContact({ contactId: first.id, givenName: 'Changed' });
      expect(await book.create(asked)).toEqual(first);
      await book.client.deleteContact({ contactId: first.id });
      expect(await book.create({ ...asked, requestId: asked.requestId.toUpperCase() })).toEqual(first);
      expect((await book.list({ includeTotalSize: true })).totalSize).toBe(0);
    });

    test('makes one contact when ten ask at once', async () => {
      const book = await newBook();
      const asked = { givenName: 'Ada', birthday: { month: 12, day: 10 }, requestId: randomUUID() };
      const answers = await Promise.all(Array.from({ length: 10 }, () => book.create(asked)));
      for (const answer of answers) expect(answer).toEqual(answers[0]);
      expect(await book.ids()).toEqual([answers[0]!.id]);
    });

    test.each<[string, NewContact]>([
      ['a name', { givenName: 'Grace' }],
      ['a type', { emails: [{ ...FULL.emails[0]!, type: 'home' }, FULL.emails[1]!] }],
      ['the primary one', { phones: FULL.phones.map((phone) => ({ ...phone, primary: !phone.primary })) }],
      ['the order of a list', { addresses: FULL.addresses.toReversed() }],
      ['a birthday without its year', { birthday: { month: 12, day: 10 } }],
      ['no notes', { notes: '' }],
      ['no star', { starred: false }],
      ['another relation', { relations: [{ name: 'Byron' }] }],
      ['a region of its numbers', { phoneRegion: 'GB' }],
    ])('is refused when the contact has %s, another one than before', async (_, other) => {
      const asked = { ...FULL, requestId: randomUUID() };
      const first = await shared.create(asked);
      expect(await refusalOf(shared.create({ ...asked, ...other }))).toMatchObject(REQUEST_ID_REUSED);
      expect(await shared.create(asked)).toEqual(first);
    });

    test('of one caller means nothing to another', async () => {
      const asked = { givenName: 'Ada', requestId: randomUUID() };
      const [first, second] = [await shared.create(asked), await (await newBook()).create(asked)];
      expect(second.id).not.toBe(first.id);
    });

    test('is refused by another method', async () => {
      const admin = await kith.admin();
      const requestId = randomUUID();
      await bookOf(admin).create({ givenName: 'Ada', requestId });
      const username = `u${randomUUID()}`;
      const user = { username, email: `${username}@example.org`, name: 'Ada', password: 'a good password', requestId };
      expect(await refusalOf(kith.client(UserService, admin.accessToken).createUser(user))).toMatchObject(
        REQUEST_ID_REUSED,
      );
    });

    test('of a call that failed is free', async () => {
      const requestId = randomUUID();
      expect(await refusalOf(shared.create({ requestId }))).toMatchObject(CONTACT_EMPTY);
      expect(await shared.create({ givenName: 'Ada', requestId })).toMatchObject({ givenName: 'Ada' });
    });
  });

  describe("somebody else's contact", () => {
    test.each(['getContact', 'updateContact', 'deleteContact', 'undeleteContact'] as const)(
      'looks to %s like a missing one, for an admin too',
      async (method) => {
        const owner = await newBook();
        const contact = await owner.create({ givenName: 'Ada' });
        for (const book of [await newBook(), bookOf(await kith.user(Role.ADMIN))]) {
          const foreign = await refusalOf(book.client[method]({ contactId: contact.id }));
          const missing = await refusalOf(book.client[method]({ contactId: randomUUIDv7() }));
          expect(foreign).toMatchObject(CONTACT_NOT_FOUND);
          expect(foreign).toEqual(missing);
          expect(await refusalOf(book.client[method]({ contactId: contact.id, etag: contact.etag }))).toEqual(missing);
          expect(await book.ids()).toEqual([]);
        }
        expect(await owner.get(contact.id)).toEqual(contact);
      },
    );
  });

  describe('UpdateContact', () => {
    test.each<[keyof typeof FULL, unknown, unknown]>([
      ...TEXTS.flatMap((name) => ['Augusta', ''].map((value): [typeof name, string, string] => [name, value, value])),
      [
        'emails',
        { values: [{ address: 'b@c.example' }] },
        [{ address: 'b@c.example', type: '', primary: true, valid: true }],
      ],
      ['emails', {}, []],
      ['phones', { values: [{ number: '123' }] }, [{ number: '123', type: '', primary: true, e164: '' }]],
      ['phones', {}, []],
      ['addresses', { values: FULL.addresses.toReversed() }, FULL.addresses.toReversed()],
      ['addresses', {}, []],
      ['urls', { values: [{ url: 'HTTP://x' }] }, [{ url: 'HTTP://x', type: '', primary: true, text: '' }]],
      ['urls', {}, []],
      ['dates', { values: [{ date: { year: 1852 } }] }, [{ date: { year: 1852 }, type: '' }]],
      ['dates', {}, []],
      ['relations', { values: [{ name: 'Byron' }] }, [{ name: 'Byron', type: '' }]],
      ['relations', {}, []],
      ['messagingHandles', { values: [{ handle: 'ada' }] }, [{ handle: 'ada', service: '', type: '' }]],
      ['messagingHandles', {}, []],
      ['customFields', { values: [{ value: 'v' }] }, [{ label: '', value: 'v' }]],
      ['customFields', {}, []],
      ['languages', { values: ['de'] }, ['de']],
      ['languages', {}, []],
      ['birthday', { value: { month: 2, day: 29 } }, { month: 2, day: 29 }],
      ['birthday', {}, undefined],
      ['starred', false, false],
    ])('changes %s to %j and nothing else', async (field, change, expected) => {
      const before = await shared.create(FULL);
      const { contact } = await shared.client.updateContact({
        contactId: before.id,
        etag: before.etag,
        [field]: change,
      });
      const { updateTime, etag } = contact!;
      expect(etag).not.toBe(before.etag);
      const { $typeName: _, ...rest } = before;
      expect(contact).toEqual(message(ContactSchema, { ...rest, updateTime: updateTime!, etag, [field]: expected }));
      expect(await shared.get(before.id)).toEqual(contact);
    });

    test('leaves etag and time when nothing is different', async () => {
      const before = await shared.create(FULL);
      const { id, givenName, notes, starred } = before;
      const same = {
        givenName,
        notes,
        starred,
        emails: { values: FULL.emails },
        phones: { values: FULL.phones },
        addresses: { values: FULL.addresses },
        urls: { values: FULL.urls },
        birthday: { value: FULL.birthday },
        dates: { values: FULL.dates },
        customFields: { values: FULL.customFields },
        languages: { values: FULL.languages },
      };
      expect((await shared.client.updateContact({ contactId: id })).contact).toEqual(before);
      expect((await shared.client.updateContact({ contactId: id.toUpperCase(), ...same })).contact).toEqual(before);
    });

    test('refuses to leave nothing to know the contact by, and changes nothing', async () => {
      const before = await shared.create(FULL);
      const bare = {
        givenName: '',
        middleName: '',
        familyName: ' ',
        nickname: '',
        company: '',
        emails: {},
        phones: {},
      };
      expect(await refusalOf(shared.client.updateContact({ contactId: before.id, ...bare }))).toMatchObject(
        CONTACT_EMPTY,
      );
      expect(await shared.get(before.id)).toEqual(before);
      await shared.client.updateContact({ contactId: before.id, ...bare, phones: { values: [{ number: '1' }] } });
    });

    test.each<[string, Record<string, unknown>]>([
      [
        'two primary email addresses',
        { emails: { values: ['a@b.example', 'c@d.example'].map((address) => ({ address, primary: true })) } },
      ],
      ['21 URLs', { urls: { values: Array.from({ length: 21 }, () => ({ url: 'https://example.org' })) } }],
      ['30 February', { birthday: { value: { month: 2, day: 30 } } }],
      ['a name of 201', { givenName: 'a'.repeat(201) }],
      ['an empty etag', { etag: '' }],
    ])('refuses %s', async (_, change) => {
      const { id } = await shared.create(FULL);
      expect(await refusalOf(shared.client.updateContact({ contactId: id, ...change }))).toMatchObject(FIELDS_INVALID);
    });

    test('a deleted contact has to be undeleted first', async () => {
      const { id } = await shared.create(FULL);
      const { contact } = await shared.client.deleteContact({ contactId: id });
      expect(await refusalOf(shared.client.updateContact({ contactId: id, givenName: 'Late' }))).toMatchObject(
        RESOURCE_DELETED,
      );
      expect(await shared.get(id)).toEqual(contact);
    });

    test('holds for searching and sorting', async () => {
      const book = await newBook();
      const first = await book.create({ givenName: 'Ada', phones: [{ number: '555 0100' }] });
      const second = await book.create({ givenName: 'Bob' });
      await book.client.updateContact({
        contactId: first.id,
        givenName: 'Zoe',
        phones: { values: [{ number: '555 0199' }] },
      });
      expect(await book.ids()).toEqual([second.id, first.id]);
      expect(await book.ids({ query: 'ada' })).toEqual([]);
      expect(await book.ids({ query: '0100' })).toEqual([]);
      expect(await book.ids({ query: 'zoe' })).toEqual([first.id]);
      expect(await book.ids({ query: '0199' })).toEqual([first.id]);
    });
  });

  describe('an etag', () => {
    test.each(['updateContact', 'deleteContact'] as const)('that is stale stops %s', async (method) => {
      const { id, etag } = await shared.create(FULL);
      const { contact } = await shared.client.updateContact({ contactId: id, givenName: 'Changed meanwhile' });
      expect(await refusalOf(shared.client[method]({ contactId: id, etag }))).toMatchObject(ETAG_MISMATCH);
      expect(await refusalOf(shared.client[method]({ contactId: id, etag: 'nonsense' }))).toMatchObject(ETAG_MISMATCH);
      expect(await shared.get(id)).toEqual(contact);
      await shared.client[method]({ contactId: id, etag: contact!.etag });
    });

    test('that is stale stops undeleteContact', async () => {
      const { id, etag } = await shared.create(FULL);
      const { contact } = await shared.client.deleteContact({ contactId: id });
      expect(await refusalOf(shared.client.undeleteContact({ contactId: id, etag }))).toMatchObject(ETAG_MISMATCH);
      expect((await shared.client.undeleteContact({ contactId: id, etag: contact!.etag })).contact).toMatchObject({
        id,
      });
    });

    test('lets one of several writers at once win', async () => {
      const { id, etag } = await shared.create(FULL);
      const names = Array.from({ length: 8 }, (_, i) => `Writer ${i}`);
      const outcomes = await Promise.allSettled(
        names.map((givenName) => shared.client.updateContact({ contactId: id, etag, givenName })),
      );
      const winners = names.filter((_, i) => outcomes[i]!.status === 'fulfilled');
      expect(winners).toEqual([(await shared.get(id)).givenName]);
    });
  });

  describe('DeleteContact and UndeleteContact', () => {
    test('delete for 30 days, and take that back with all that was', async () => {
      const before = await shared.create(FULL);
      const { contact: deleted } = await shared.client.deleteContact({ contactId: before.id });
      const { updateTime, deleteTime, purgeTime, etag } = deleted!;
      expect(deleted).toEqual({ ...before, updateTime, deleteTime, purgeTime, etag });
      expect(deleteTime).toEqual(updateTime);
      expect(timestampMs(purgeTime!) - timestampMs(deleteTime!)).toBe(30 * DAY_MS);
      expect(await shared.get(before.id)).toEqual(deleted);
      const { contact: back } = await shared.client.undeleteContact({ contactId: before.id });
      expect(back).toEqual({ ...before, updateTime: back!.updateTime, etag: back!.etag });
      expect(new Set([before.etag, etag, back!.etag])).toHaveLength(3);
    });

    test('refuse to do what is done', async () => {
      const { id } = await shared.create(FULL);
      expect(await refusalOf(shared.client.undeleteContact({ contactId: id }))).toMatchObject(RESOURCE_NOT_DELETED);
      const { contact } = await shared.client.deleteContact({ contactId: id });
      expect(await refusalOf(shared.client.deleteContact({ contactId: id }))).toMatchObject(RESOURCE_DELETED);
      expect(await shared.get(id)).toEqual(contact);
    });
  });

  describe('a query', () => {
    const name = { givenName: 'José', familyName: 'García Márquez', company: 'Straßenbau Ögel' };
    const phone = (number: string): NewContact => ({ familyName: 'Phone', phones: [{ number: '000' }, { number }] });

    test.each<[string, NewContact, string[], string[]]>([
      [
        'a name',
        name,
        ['jose', 'JOSÉ GAR', 'garcia', 'marquez', 'García Márquez José', ' jose  garcia ', 'jose marquez'],
        ['ose', 'jose lopez'],
      ],
      ['a company', name, ['strassenb', 'STRASSENBAU ÖGEL', 'STRAẞE', 'ögel', 'ogel', 'ogel str'], ['bau', 'ogel st.']],
      [
        'an email address',
        { emails: [{ address: 'x@a.example' }, { address: 'Ada.L@Mail.Example.org' }] },
        ['ada.l', 'ADA.L@mail', 'mail.example', 'Mail.Example.ORG', 'l@mail', 'example.org'],
        ['ada@', '@mail', 'org'],
      ],
      [
        'a phone number',
        phone('+49 (30) 1234-5678'),
        ['4930', '+49 30 12345678', '49-30', '(30)1234', '1234.5678', '5678', '+4', '49', '00', '４９３０'],
        ['930', '678', '5679', '+49 31', '12345679'],
      ],
      ['a short phone number', phone('112'), ['1', '11', '112', '1-1-2'], ['12', '2', '1122']],
      [
        'a phone number with an extension',
        phone('555 0100 x42'),
        ['555 0100 x42', '010042', '555-0100'],
        ['555 0100 x43'],
      ],
      ['a service code', phone('*100#'), ['*100#', '100', '*10'], ['101']],
      [
        'a company of digits',
        { company: '24/7 Repairs 1-800' },
        ['24/7', '24/7 rep', '24', '1-800', 'rep 24', '7', '800'],
        ['247', '00'],
      ],
      ['an email address of digits', { emails: [{ address: '1.23@456.example' }] }, ['1.23', '456.', '1.'], ['123']],
      ['Greek', { givenName: 'Οδυσσεύς', familyName: 'Ελύτης' }, ['οδυσ', 'ΟΔΥΣΣΕΥΣ', 'ΟΔΥΣ', 'ελυτησ'], ['δυσ']],
      [
        'Turkish',
        { givenName: 'İlkay', familyName: 'Gündoğan Işık' },
        ['ilkay', 'ILKAY', 'gundogan', 'isik', 'IŞIK'],
        [],
      ],
      [
        'CJK',
        { givenName: '小明', familyName: '王' },
        ['王', '王 小', '小明', '小', '明', '王小明', '小明王', '小 王'],
        ['明小'],
      ],
      ['emoji', { givenName: '👩‍🚀', company: '🦉🦉' }, ['👩', '👩‍🚀', '🦉', '🦉🦉'], ['🚀', '🦉🦉🦉']],
      [
        'what databases take for patterns',
        { givenName: '100%', company: "_x' OR 1=1" },
        ['100%', '_x', "_x' or 1=1"],
        ['%', '_%', '__'],
      ],
    ])('finds %s by its beginnings', async (_, contact, found, missed) => {
      const book = await newBook();
      const { id } = await book.create(contact);
      await book.create({ givenName: 'zzz' });
      const results = await Promise.all(
        [...found, ...missed].map(async (query) => {
          const page = await book.list({ query, includeTotalSize: true });
          expect(page.totalSize).toBe(page.contacts.length);
          return [query, page.contacts.map((match) => match.id)] as const;
        }),
      );
      expect(Object.fromEntries(results)).toEqual(
        Object.fromEntries([...found.map((query) => [query, [id]]), ...missed.map((query) => [query, []])]),
      );
    });

    test('finds a contact once, however much of it matches', async () => {
      const book = await newBook();
      const { id } = await book.create({
        givenName: '1234',
        familyName: '1234 1234',
        company: '1234',
        emails: [{ address: '1234@1234.example' }],
        phones: [{ number: '1234 1234' }, { number: '1234 1234' }],
      });
      for (const query of ['1', '1234', '12341234']) expect(await book.ids({ query })).toEqual([id]);
    });

    describe(`that ${SORTED_MAX} terms match, or one more`, () => {
      let owner: SignedIn;
      let rows: ContactRow[];
      const half = SORTED_MAX / 2;
      /** By a word of the company, which contacts have it. */
      const WORDS: Record<string, (i: number) => boolean> = {
        few: (i) => i < SORTED_MAX,
        many: (i) => i <= SORTED_MAX,
        '1-2': (i) => i < half,
        '12': (i) => i >= 50 && i < half + 50,
        '3-4': (i) => i <= half,
        '34': (i) => i >= 50 && i < half + 50,
      };

      beforeAll(async () => {
        owner = await kith.user();
        const deletion = { deleted: 1, delete_ms: Date.now(), purge_ms: Date.now() + 30 * DAY_MS } as const;
        rows = Array.from({ length: SORTED_MAX + 50 }, (_, i) => ({
          ...rowOf(
            owner.user.id,
            (i * 7) % 100,
            Object.keys(WORDS)
              .filter((word) => WORDS[word]!(i))
              .join(' '),
          ),
          starred: i % 2 === 0 ? 1 : 0,
          ...(i % 3 === 0 ? deletion : {}),
        }));
        await using app = await openApp(kith);
        await insertRows(app, rows);
      });

      test.each([
        { query: 'few', found: ['few'] },
        { query: 'many', found: ['many'] },
        { query: '1-2', found: ['1-2', '12'] },
        { query: '3-4', found: ['3-4', '34'] },
      ])('finds them by pages and filters alike: $query', async ({ query, found }) => {
        const book = bookOf(owner);
        for (const deleted of [false, true]) {
          for (const starred of [undefined, true, false]) {
            const expected = rows
              .filter((_, i) => found.some((word) => WORDS[word]!(i)))
              .filter((row) => row.deleted === Number(deleted))
              .filter((row) => starred === undefined || row.starred === Number(starred))
              .toSorted((a, b) => (a.sort_key < b.sort_key || (a.sort_key === b.sort_key && a.id < b.id) ? -1 : 1))
              .map(({ id }) => id);
            const request = { query, deleted, ...(starred === undefined ? {} : { starred }) };
            for (const pageSize of [1000, 50, 7]) {
              const pages = await walk(book, { ...request, pageSize });
              expect(pages.flat()).toEqual(expected);
              expect(pages.slice(0, -1).every((page) => page.length === pageSize)).toBe(true);
            }
            expect((await book.list({ ...request, pageSize: 1, includeTotalSize: true })).totalSize).toBe(
              expected.length,
            );
          }
        }
      });

      test.each(['few', 'many', '1-2', '3-4'])("finds nobody else's: %s", async (query) => {
        expect(await (await newBook()).ids({ query })).toEqual([]);
      });
    });

    test.each([
      ['101 code points', 'a'.repeat(101)],
      ['a NUL', 'a\0'],
    ])('of %s is refused', async (_, query) => {
      expect(await refusalOf(shared.list({ query }))).toMatchObject(FIELDS_INVALID);
    });
  });

  describe('ListContacts', () => {
    test('goes by given name, family name and company regardless of case and accents', async () => {
      const book = await newBook();
      const inOrder: NewContact[] = [
        { givenName: '1Z' },
        { emails: [{ address: 'A@example.org' }] },
        { givenName: 'Ada' },
        { givenName: 'ÁDA', familyName: 'Byron' },
        { givenName: 'ada', company: 'Engines' },
        { givenName: 'Ada', familyName: 'lovelace', company: 'A' },
        { givenName: 'ADA', familyName: 'Lovelace', company: 'b' },
        { familyName: 'Ada', company: 'Zoo' },
        { givenName: 'Adam' },
        { company: 'Äpfel' },
        { familyName: 'Straße' },
        { givenName: 'Strassf' },
        { givenName: 'Эмма' },
        { givenName: '王' },
        { givenName: '🦉' },
      ];
      const ids = new Map<NewContact, string>();
      for (const contact of inOrder.toReversed()) ids.set(contact, (await book.create(contact)).id);
      expect(await book.ids()).toEqual(inOrder.map((contact) => ids.get(contact)));
      expect(await walk(book, { pageSize: 1 })).toEqual(inOrder.map((contact) => [ids.get(contact)]));
    });

    test('orders contacts of the same name by age', async () => {
      const book = await newBook();
      const ids: string[] = [];
      for (let i = 0; i < 5; i++) ids.push((await book.create({ givenName: 'Ada' })).id);
      expect((await walk(book, { pageSize: 2 })).flat()).toEqual(ids);
    });

    test('filters by star, deletion and query together', async () => {
      const book = await newBook();
      const made = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          book.create({ givenName: i & 1 ? 'Ada' : 'Bob', familyName: String(i), starred: (i & 2) > 0 }),
        ),
      );
      for (const [i, { id }] of made.entries()) if (i & 4) await book.client.deleteContact({ contactId: id });
      for (const query of ['', 'ada']) {
        for (const starred of [undefined, true, false]) {
          for (const deleted of [true, false]) {
            const expected = made.filter(
              (contact, i) =>
                (query === '' || contact.givenName === 'Ada') &&
                (starred === undefined || contact.starred === starred) &&
                (i & 4) > 0 === deleted,
            );
            const request = { query, deleted, ...(starred === undefined ? {} : { starred }) };
            const page = await book.list({ ...request, includeTotalSize: true });
            expect(page.contacts.map(({ id }) => id)).toEqual(
              expected
                .toSorted((a, b) => (a.givenName + a.familyName < b.givenName + b.familyName ? -1 : 1))
                .map(({ id }) => id),
            );
            expect(page.totalSize).toBe(expected.length);
            expect((await book.list(request)).totalSize).toBeUndefined();
          }
        }
      }
    });

    test('neither skips nor repeats a contact that is there throughout while others come and go', async () => {
      const book = await newBook();
      const kept: string[] = [];
      for (let i = 10; i < 30; i++) kept.push((await book.create({ givenName: `n${i}` })).id);
      const going = (await Promise.all([15, 20, 25].map((i) => book.create({ givenName: `n${i}a` })))).map(
        ({ id }) => id,
      );
      const pages = await walk(book, { pageSize: 3 }, async (page) => {
        await book.create({ givenName: `n${10 + page}b` });
        await book.create({ givenName: 'a first one' });
        const id = going[page - 1];
        if (id !== undefined) await book.client.deleteContact({ contactId: id });
      });
      const seen = pages.flat();
      expect(new Set(seen)).toHaveLength(seen.length);
      expect(seen.filter((id) => kept.includes(id))).toEqual(kept);
    });

    test('says on the last page that it is the last', async () => {
      const book = await newBook();
      expect(await walk(book, {})).toEqual([[]]);
      for (let i = 0; i < 4; i++) await book.create({ givenName: `n${i}` });
      expect((await walk(book, { pageSize: 2 })).map((page) => page.length)).toEqual([2, 2]);
    });

    test('refuses page tokens that it did not give this caller for these filters', async () => {
      const book = await newBook();
      const other = await newBook();
      for (const { create } of [book, book, book, other, other]) await create({ givenName: 'Ada', starred: true });
      const { nextPageToken: pageToken } = await book.list({ pageSize: 1 });
      const refusals = await Promise.all(
        [
          book.list({ pageToken, query: 'a' }),
          book.list({ pageToken, starred: true }),
          book.list({ pageToken, starred: false }),
          book.list({ pageToken, deleted: true }),
          book.list({ pageToken: pageToken.slice(1) }),
          book.list({ pageToken: `${pageToken}AAAA` }),
          book.list({ pageToken: 'A' }),
          other.list({ pageToken }),
        ].map(refusalOf),
      );
      for (const refusal of refusals) expect(refusal).toMatchObject(PAGE_TOKEN_INVALID);
      expect((await book.list({ pageToken, pageSize: 1000 })).contacts).toHaveLength(2);
    });

    test('refuses a negative page size', async () => {
      expect(await refusalOf(shared.list({ pageSize: -1 }))).toMatchObject(FIELDS_INVALID);
    });
  });

  describe('a book of 25,000', { timeout: 300_000 }, () => {
    let many: Kith;
    let app: App & AsyncDisposable;
    let owner: SignedIn;
    beforeAll(async () => {
      many = await startOn(kind);
      app = await openApp(many);
      owner = await many.user();
      await insertRows(
        app,
        Array.from({ length: 24_998 }, (_, i) => rowOf(owner.user.id, i)),
      );
      await many.database.analyze();
    }, 300_000);
    afterAll(async () => {
      await app[Symbol.asyncDispose]();
      await many[Symbol.asyncDispose]();
    });

    test('takes no more, deleted ones counted, not even from several calls at once', async () => {
      const book = bookOf(owner, many);
      const asked = { givenName: 'Last but one', requestId: randomUUID() };
      const first = await book.create(asked);
      const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => book.create({ givenName: 'Last' })));
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      expect(refused).toHaveLength(4);
      for (const { reason } of refused) {
        expect(await refusalOf(Promise.reject(reason as Error))).toMatchObject({
          code: 'ResourceExhausted',
          reason: 'CONTACT_LIMIT_REACHED',
          metadata: { limit: '25000' },
        });
      }
      await book.client.deleteContact({ contactId: first.id });
      expect(await refusalOf(book.create({ givenName: 'Too many' }))).toMatchObject({
        reason: 'CONTACT_LIMIT_REACHED',
      });
      expect(await book.create(asked)).toEqual(first);
      await book.client.undeleteContact({ contactId: first.id });
      expect(await bookOf(await many.user(), many).create({ givenName: 'Of another' })).toMatchObject({
        givenName: 'Of another',
      });
    });

    test.each([
      [0, 50],
      [1000, 1000],
      [1001, 1000],
      [2 ** 31 - 1, 1000],
    ])('a page size of %d gives %d', async (pageSize, length) => {
      expect((await bookOf(owner, many).list({ pageSize })).contacts).toHaveLength(length);
    });

    test('is read and searched to its end', async () => {
      const book = bookOf(owner, many);
      const pages = await walk(book, { pageSize: 1000, query: 'n' });
      expect(new Set(pages.flat())).toHaveLength(24_998);
      const total = async (query: string) => {
        const { totalSize, totalSizeAtLeast } = await book.list({ pageSize: 1, query, includeTotalSize: true });
        return [totalSize, totalSizeAtLeast];
      };
      expect(await total('')).toEqual([10_000, true]);
      expect(await total('n1234')).toEqual([11, false]);
      // Of the first 10,000 by name, all but "Last" match.
      expect(await total('n')).toEqual([9999, true]);
    });

    test('goes with its user when the user is purged', async () => {
      const admin = await many.admin();
      await many.client(UserService, admin.accessToken).deleteUser({ userId: owner.user.id });
      many.clock.offsetMs = 31 * DAY_MS;
      await purge(app);
      const dump = await many.database.dump();
      expect(dump).not.toContain(owner.user.id);
      expect(dump).not.toContain('n1234');
      expect(dump).toContain('Of another');
      many.clock.offsetMs = 0;
    });
  });

  describe('as time passes', () => {
    test('a deleted contact is gone after 30 days, others are not', async () => {
      await using later = await startOn(kind);
      await using app = await openApp(later);
      const user = await later.user();
      const book = bookOf(user, later);
      const [gone, back, kept] = await Promise.all(
        ['Gone', 'Back', 'Kept'].map((givenName) => book.create({ givenName })),
      );
      for (const contact of [gone, back]) await book.client.deleteContact({ contactId: contact!.id });
      const { contact: restored } = await book.client.undeleteContact({ contactId: back!.id });

      const again = async () =>
        bookOf(
          {
            ...user,
            ...(await signedIn(
              later.client(AuthService).login({ identifier: user.user.username, password: user.password }),
            )),
            user: user.user,
          },
          later,
        );
      later.clock.offsetMs = 29.99 * DAY_MS;
      await purge(app);
      expect(await (await again()).ids({ deleted: true })).toEqual([gone!.id]);

      later.clock.offsetMs = 30.01 * DAY_MS;
      const last = await again();
      for (const method of ['getContact', 'updateContact', 'undeleteContact'] as const) {
        expect(await refusalOf(last.client[method]({ contactId: gone!.id }))).toMatchObject(CONTACT_NOT_FOUND);
      }
      await purge(app);
      expect(await last.ids({ deleted: true })).toEqual([]);
      expect(await refusalOf(last.client.getContact({ contactId: gone!.id }))).toMatchObject(CONTACT_NOT_FOUND);
      // The log still tells the owner that there was one.
      const tables = JSON.parse(await later.database.dump()) as [string, unknown[]][];
      expect(JSON.stringify(tables.filter(([table]) => table !== 'activity'))).not.toContain(gone!.id);
      expect((await last.list()).contacts).toEqual([restored, kept]);
    });
  });

  test('nothing that was written is there by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });

  async function walk(
    book: { list(request: ListRequest): ReturnType<typeof shared.list> },
    request: ListRequest,
    between?: (page: number) => Promise<void>,
  ): Promise<string[][]> {
    const pages: string[][] = [];
    for (let pageToken: string | undefined; pageToken !== ''; ) {
      const page = await book.list({ ...request, ...(pageToken === undefined ? {} : { pageToken }) });
      pages.push(page.contacts.map(({ id }) => id));
      pageToken = page.nextPageToken;
      await between?.(pages.length);
    }
    return pages;
  }
});

function rowOf(ownerId: string, i: number, company = ''): ContactRow {
  const fields = { ...NO_FIELDS, givenName: `n${i}`, company };
  return {
    ...toColumns(fields),
    id: randomUUIDv7(),
    owner_id: ownerId,
    deleted: 0,
    create_ms: 0,
    update_ms: 0,
    delete_ms: null,
    purge_ms: null,
    revision: 1,
    merge_id: '',
    bytes: bytesOf(toColumns(fields), contactTerms(fields)),
  };
}

function insertRows(app: App, rows: readonly ContactRow[]): Promise<void> {
  return app.database.transaction(async (tx) => {
    for (const row of rows) {
      await insertContact(tx, row, contactTerms(toFields(row)));
      await addUsage(tx, row.owner_id, { contacts: 1, liveContacts: 1 - row.deleted, bytes: row.bytes });
    }
  });
}
