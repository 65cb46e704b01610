import { describe, expect, test } from 'vitest';
import { type Generator, generator } from '../../test/support/generator.ts';
import { type ContactFields, isEmpty, NO_FIELDS, toColumns, toFields } from './contact.ts';
import { e164Of } from './phone-number.ts';
import { contactQueries, contactTerms, isInRange, TERMS_MAX } from './terms.ts';

const email = (address: string) => ({ address, type: '', primary: false });
const phone = (number: string) => ({ number, type: '', primary: false });

/** Whether a query finds a contact: for each of its words, a term is of one of the ranges. */
function finds(query: string, contact: Partial<ContactFields>): boolean {
  const queries = contactQueries(query);
  const terms = contactTerms({ ...NO_FIELDS, ...contact });
  return queries.every((ranges) => ranges.some((range) => terms.some((term) => isInRange(term, range))));
}

describe('toColumns and toFields', () => {
  test('give back what they were given, with one primary', () => {
    const random = generator(5);
    for (let round = 0; round < 500; round++) {
      const fields = someContact(random);
      const back = toFields(toColumns(fields));
      const bare = (contact: ContactFields) => JSON.stringify(contact).replaceAll(/"primary":(true|false)/g, '');
      expect(bare(back)).toBe(bare(fields));
      for (const list of [back.emails, back.phones, back.addresses, back.urls]) {
        expect(list.filter(({ primary }) => primary)).toHaveLength(list.length > 0 ? 1 : 0);
      }
      expect(toColumns(back)).toEqual(toColumns(fields));
    }
  });

  test.each([
    [{ year: 1815, month: 12, day: 10 }, '1815-12-10'],
    [{ year: 7, month: 1, day: 2 }, '0007-01-02'],
    [{ year: undefined, month: 2, day: 29 }, '--02-29'],
    [{ year: 1815, month: undefined, day: undefined }, '1815'],
    [{ year: 1815, month: 12, day: undefined }, '1815-12'],
    [{ year: undefined, month: 12, day: undefined }, '--12'],
    [undefined, null],
  ])('store the birthday %j as %s', (birthday, stored) => {
    const columns = toColumns({ ...NO_FIELDS, birthday });
    expect(columns.birthday).toBe(stored);
    expect(toFields(columns).birthday).toEqual(birthday);
  });
});

describe('the sort key', () => {
  test.each<[string, Partial<ContactFields>, string]>([
    [
      'names and company',
      { givenName: 'Ada', familyName: 'Løve', company: 'Engines', emails: [email('a@b')] },
      'ada love engines',
    ],
    ['what there is of them', { familyName: ' Ádà ', nickname: 'Addy' }, 'ada'],
    ['other names', { nickname: 'Addy', middleName: 'Augusta', emails: [email('a@b')] }, 'augusta addy'],
    [
      'the email address',
      { emails: [email('Ada@Example.org'), email('b@c')], phones: [phone('1')] },
      'ada@example.org',
    ],
    ['the phone number', { phones: [phone('+1 555')] }, '+1 555'],
    ['nothing', {}, ''],
    ['at most 200', { givenName: 'ß'.repeat(150) }, 's'.repeat(200)],
    ['no half of a character', { givenName: `${'a'.repeat(199)}😀` }, 'a'.repeat(199)],
  ])('is %s', (_, fields, key) => {
    expect(toColumns({ ...NO_FIELDS, ...fields }).sort_key).toBe(key);
  });
});

describe('isEmpty', () => {
  test.each<[string, Partial<ContactFields>, boolean]>([
    ['nothing', {}, true],
    ['blanks', { givenName: ' ', familyName: '\u3000', company: '\t' }, true],
    [
      'what does not identify',
      { jobTitle: 'Dr', notes: 'n', starred: true, urls: [{ url: 'http://a', type: '', primary: true }] },
      true,
    ],
    ['prefix, suffix and department', { namePrefix: 'Dr', nameSuffix: 'Jr', department: 'D' }, true],
    ['a given name', { givenName: 'A' }, false],
    ['a middle name', { middleName: 'A' }, false],
    ['a nickname', { nickname: 'A' }, false],
    ['a family name', { familyName: 'A' }, false],
    ['a company', { company: 'A' }, false],
    ['an email address', { emails: [email('a@b')] }, false],
    ['a phone number', { phones: [phone('1')] }, false],
  ])('a contact of %s: %s', (_, fields, empty) => {
    expect(isEmpty({ ...NO_FIELDS, ...fields })).toBe(empty);
  });
});

describe('a query', () => {
  test.each([
    ['', true],
    ['  ', true],
    ['ada', true],
    ['ada lovelace', true],
    ['lovelace ada', true],
    ['engines', true],
    ['ada@', true],
    ['mail.ex', true],
    ['+44 20', true],
    ['20794', true],
    ['0958', true],
    ['44(20)7946-0958', true],
    ['958', false],
    ['207', false],
    ['0959', false],
    ['l@mail', true],
    ['example.org', true],
    ['org', false],
    ['engines lovelace a', true],
    ['ada engine lovelace babbage', false],
    ['ngines', false],
  ])('"%s" finds the contact: %s', (query, found) => {
    const contact = {
      givenName: 'Ada',
      familyName: 'Lovelace',
      company: 'Analytical Engines',
      emails: [email('Ada.L@Mail.Example.org'), email('ada@other.example')],
      phones: [phone('+44 (20) 7946-0958')],
    };
    expect(finds(query, contact)).toBe(found);
  });

  test('that is a phone number in any spelling finds it', () => {
    const random = generator(6);
    const respelled = (digits: string) =>
      digits.replaceAll(/\d/g, (digit) => `${random.pick(['', '', ' ', '-', '.', '/', ') ', ' ('])}${digit}`);
    for (let round = 0; round < 1000; round++) {
      const digits = Array.from({ length: 4 + random.below(16) }, () => random.below(10)).join('');
      const contact = { phones: [phone(respelled(digits))] };
      const start = random.below(digits.length - 3);
      const inside = digits.slice(start, start + 4 + random.below(digits.length));
      expect({ inside, found: finds(respelled(inside), contact) }).toEqual({ inside, found: true });
      const few = digits.slice(0, 1 + random.below(3));
      expect({ few, found: finds(respelled(few), contact) }).toEqual({ few, found: true });
    }
  });

  test('that is a phone number, as written, in E.164 or as dialled within the country, finds what is read of it', () => {
    for (const [written, region] of [
      ['+44 20 7946 0018', undefined],
      ['020 7946 0018', 'GB'],
      ['0044 (0)20 7946 0018', undefined],
      ['+44 (0)20-7946.0018 x12', undefined],
      ['+1 202 555 0143', undefined],
      ['011 44 20 7946 0018', 'US'],
    ] as const) {
      const e164 = e164Of(written, region)!;
      const contact = { phones: [{ ...phone(written), e164 }] };
      const queries = [written, e164, `00${e164.slice(1)}`, e164.slice(3), e164.slice(-6, -1), written.slice(0, 6)];
      for (const query of [
        ...queries,
        ...(e164.startsWith('+44') ? ['020 7946 0018', '(020) 79', '+44 (0)20 79'] : []),
      ]) {
        expect({ written, query, found: finds(query, contact) }).toEqual({ written, query, found: true });
      }
      expect(finds('+44 20 7946 0019', contact)).toBe(false);
    }
  });

  test('that is a beginning of a name, of a word, or of an email address finds it', () => {
    const random = generator(7);
    for (let round = 0; round < 2000; round++) {
      const contact = someContact(random);
      const texts = [
        `${contact.givenName} ${contact.familyName}`,
        `${contact.familyName} ${contact.givenName}`,
        contact.company,
        ...contact.emails.map(({ address }) => address),
      ];
      const characters = Array.from(random.pick(texts));
      const query = characters.slice(0, random.below(characters.length + 1)).join('');
      expect({ texts, query, found: finds(query, contact) }).toEqual({ texts, query, found: true });
    }
  });

  test.each([1, 4, 12, 15, 20, 21, 64])('has a bounded number of terms to find numbers of %d digits', (length) => {
    const random = generator(length);
    const words = Array.from({ length: 100 }, (_, n) => `w${n}`).join(' ');
    const phones = Array.from({ length: 20 }, () =>
      phone(Array.from({ length }, () => String(random.below(10))).join('')),
    );
    const emails = Array.from({ length: 20 }, (_, n) => email(`a${n}@b${n}.example`));
    const contact = { ...NO_FIELDS, givenName: words, familyName: `${words} x`, company: `${words} y`, emails, phones };
    const terms = contactTerms(contact);
    expect(terms.length).toBeLessThanOrEqual(TERMS_MAX);
    expect(terms.length - contactTerms({ ...contact, phones: [] }).length).toBeLessThanOrEqual(20 * 9);
    const read = { ...contact, phones: phones.map((entry) => ({ ...entry, e164: '+442079460018' })) };
    expect(contactTerms(read).length).toBeLessThanOrEqual(TERMS_MAX);
    for (const { number } of phones) {
      for (let start = 0; start + 4 <= length; start++) expect(finds(number.slice(start), contact)).toBe(true);
      for (let start = 0; start + 4 <= length; start++)
        expect(finds(number.slice(start, start + 4), contact)).toBe(true);
    }
  });

  test('has no term twice and none that is empty', () => {
    const random = generator(8);
    for (let round = 0; round < 500; round++) {
      const terms = contactTerms(someContact(random));
      expect(new Set(terms)).toHaveLength(terms.length);
      expect(terms).not.toContain('');
    }
  });
});

function someContact(random: Generator): ContactFields {
  const several = <T>(entry: () => T): T[] => Array.from({ length: random.below(4) }, entry);
  const type = () => random.text(5);
  const texts = Object.entries(NO_FIELDS).flatMap(([name, empty]) => (empty === '' ? [[name, random.text(30)]] : []));
  return {
    ...NO_FIELDS,
    ...(Object.fromEntries(texts) as Partial<ContactFields>),
    emails: several(() => ({ address: `${random.text(6)}@${random.text(6)}`, type: type(), primary: false })),
    phones: several(() => ({ number: `+${random.below(1e9)} ${random.below(1e6)}`, type: type(), primary: false })),
    addresses: several(() => ({
      street: random.text(20),
      city: random.text(9),
      region: '',
      postalCode: '',
      country: random.text(2),
      type: type(),
      primary: false,
    })),
    urls: several(() => ({ url: `https://example.org/${random.text(9)}`, type: type(), primary: false })),
    dates: several(() => ({ date: { year: 1 + random.below(9999), month: undefined, day: undefined }, type: type() })),
    relations: several(() => ({ name: random.text(9), type: type() })),
    messagingHandles: several(() => ({ handle: random.text(9), service: random.text(9), type: type() })),
    customFields: several(() => ({ label: random.text(9), value: random.text(30) })),
    languages: several(() => random.text(5)),
    birthday: random.below(2)
      ? {
          year: random.below(2) ? 1 + random.below(9999) : undefined,
          month: 1 + random.below(12),
          day: random.below(2) ? 1 + random.below(28) : undefined,
        }
      : undefined,
    starred: random.below(2) === 1,
  };
}
