import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import {
  ContactService,
  type CreateContactRequestSchema,
  DuplicateReason,
} from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { databases } from '../../test/support/databases.ts';
import { type Kith, refusalOf } from '../../test/support/kith.ts';
import { openApp, startOn } from '../../test/support/stored.ts';
import { upgradeContacts } from './contacts.ts';

type Fields = MessageInitShape<typeof CreateContactRequestSchema>;
const { EMAIL, PHONE, NAME_AND_COMPANY, NAME_AND_BIRTHDAY, NAME } = DuplicateReason;

const ADA: Fields = { givenName: 'Ada', familyName: 'Lovelace' };
const email = (address: string) => ({ emails: [{ address }] });
const phone = (number: string, phoneRegion = '') => ({ phones: [{ number }], phoneRegion });

describe.each(databases)('duplicates, on $name', (kind) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startOn(kind);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const newBook = async () => {
    const { accessToken, user } = await kith.user();
    const client = kith.client(ContactService, accessToken);
    const activity = kith.client(ActivityService, accessToken);
    return {
      user,
      client,
      create: async (...contacts: Fields[]) =>
        (await client.batchCreateContacts({ contacts, allOrNothing: true })).results.map(({ contact }) => contact!),
      pairs: async (markedDistinct = false) => {
        const found = [];
        let pageToken = '';
        do {
          const page = await client.listContactDuplicates({ pageSize: 100, pageToken, markedDistinct });
          found.push(...page.duplicates);
          pageToken = page.nextPageToken;
        } while (pageToken !== '');
        return found;
      },
      actions: async () =>
        (await activity.listUserActivity({ userId: user.id, actionPrefixes: ['kith.contact'] })).activities.filter(
          ({ action }) => action.endsWith('_distinct'),
        ),
    };
  };

  test.each<[string, Fields, Fields, DuplicateReason[], number]>([
    ['an address in another case', email('Ada@Example.org'), email('ada@example.ORG'), [EMAIL], 70],
    ['a domain in both forms', email('ada@bücher.example'), email('ada@xn--bcher-kva.example'), [EMAIL], 70],
    ['a number in E.164', phone('+44 (0)20 7946 0018'), phone('020 7946 0018', 'GB'), [PHONE], 60],
    [
      'a name and a company',
      { ...ADA, company: 'Engines' },
      { givenName: 'ÁDA', familyName: 'lovelace', company: 'ENGINES' },
      [NAME_AND_COMPANY],
      75,
    ],
    [
      'a name in another order and a birthday',
      { ...ADA, birthday: { month: 12, day: 10 } },
      { givenName: 'Lovelace', familyName: 'Ada', birthday: { month: 12, day: 10 } },
      [NAME_AND_BIRTHDAY],
      90,
    ],
    ['an address and the name', { ...ADA, ...email('a@b') }, { ...ADA, ...email('a@b') }, [EMAIL, NAME], 85],
    [
      'all of it',
      {
        ...ADA,
        ...email('a@b'),
        ...phone('+442079460018'),
        company: 'E',
        birthday: { year: 1815, month: 12, day: 10 },
      },
      {
        ...ADA,
        ...email('a@b'),
        ...phone('+442079460018'),
        company: 'E',
        birthday: { year: 1815, month: 12, day: 10 },
      },
      [NAME_AND_BIRTHDAY, NAME_AND_COMPANY, EMAIL, PHONE],
      99,
    ],
  ])('are contacts that share %s', async (_, first, second, reasons, score) => {
    const book = await newBook();
    const [a, b] = await book.create(first, second, { givenName: 'Zoe', ...email('zoe@example.org') });
    expect(await book.pairs()).toMatchObject([{ first: a, second: b, reasons, score }]);
  });

  test.each<[string, Fields, Fields]>([
    ['a name alone', ADA, ADA],
    ['a company alone', { company: 'Engines' }, { company: 'Engines' }],
    [
      'a birthday alone',
      { nickname: 'a', birthday: { month: 1, day: 2 } },
      { nickname: 'b', birthday: { month: 1, day: 2 } },
    ],
    ['a name and a year of birth', { ...ADA, birthday: { year: 1815 } }, { ...ADA, birthday: { year: 1815 } }],
    [
      'a name and another birthday',
      { ...ADA, birthday: { year: 1, month: 2, day: 3 } },
      { ...ADA, birthday: { month: 2, day: 3 } },
    ],
    ['digits that are no number of a region', phone('7946 0018'), phone('7946 0018')],
    ['a mailbox of another name', email('ada@example.org'), email('adá@example.org')],
  ])('are not contacts that share %s', async (_, first, second) => {
    const book = await newBook();
    await book.create(first, second);
    expect(await book.pairs()).toEqual([]);
  });

  test('go when a contact is deleted or changed, are back when it is undeleted, and are nobody else’s', async () => {
    const book = await newBook();
    const [a, b] = await book.create(email('a@b'), email('a@b'));
    await (await newBook()).create(email('a@b'));
    expect(await book.pairs()).toHaveLength(1);
    await book.client.deleteContact({ contactId: b!.id });
    expect(await book.pairs()).toEqual([]);
    await book.client.undeleteContact({ contactId: b!.id });
    expect(await book.pairs()).toHaveLength(1);
    await book.client.updateContact({ contactId: a!.id, emails: { values: [{ address: 'other@b' }] } });
    expect(await book.pairs()).toEqual([]);
  });

  test('are left out once they are marked as distinct, until that is taken back', async () => {
    const book = await newBook();
    const [a, b, c] = await book.create(email('a@b'), email('a@b'), email('a@b'));
    const ids = [a!.id, b!.id];
    expect(await book.client.markContactsDistinct({ contactIds: ids })).toMatchObject({ markedPairs: 1 });
    expect(await book.client.markContactsDistinct({ contactIds: ids.toReversed() })).toMatchObject({ markedPairs: 0 });
    const idsOf = async (marked = false) =>
      (await book.pairs(marked)).map(({ first, second }) => [first!.id, second!.id]);
    expect(await idsOf()).toEqual([
      [a!.id, c!.id],
      [b!.id, c!.id],
    ]);
    expect(await book.pairs(true)).toMatchObject([{ first: a, second: b, reasons: [EMAIL], score: 70 }]);
    await book.client.updateContact({ contactId: a!.id, nickname: 'changed', emails: {} });
    expect(await book.pairs(true)).toMatchObject([{ reasons: [], score: 0 }]);
    await book.client.updateContact({ contactId: a!.id, emails: { values: [{ address: 'a@b' }] } });
    expect(await idsOf(true)).toEqual([ids]);
    expect(await idsOf()).toHaveLength(2);
    const all = { contactIds: [a!.id, b!.id, c!.id] };
    expect(await book.client.markContactsDistinct(all)).toMatchObject({ markedPairs: 2 });
    expect(await book.pairs()).toEqual([]);
    expect(await book.client.unmarkContactsDistinct({ contactIds: ids })).toMatchObject({ unmarkedPairs: 1 });
    expect(await idsOf()).toEqual([ids]);
    expect(
      (await book.actions()).map(({ action, attributes }) => [action, attributes['contact_ids']?.split(' ')]),
    ).toEqual([
      ['kith.contact.unmarked_distinct', ids],
      ['kith.contact.marked_distinct', all.contactIds.toSorted()],
      ['kith.contact.marked_distinct', ids],
    ]);
  });

  test('are marked among contacts of one’s own that are not deleted', async () => {
    const book = await newBook();
    const [a, b, c] = await book.create(ADA, ADA, ADA);
    const [theirs] = await (await newBook()).create(ADA);
    await book.client.deleteContact({ contactId: c!.id });
    for (const method of [book.client.markContactsDistinct, book.client.unmarkContactsDistinct]) {
      const refusal = async (...contactIds: string[]) => (await refusalOf(method({ contactIds }))).reason;
      expect(await refusal(a!.id, theirs!.id)).toBe('CONTACT_NOT_FOUND');
      expect(await refusal(a!.id, randomUUID())).toBe('CONTACT_NOT_FOUND');
      expect(await refusal(a!.id, b!.id, c!.id)).toBe('RESOURCE_DELETED');
      expect(await refusal(a!.id)).toBe('FIELDS_INVALID');
      expect(await refusal(a!.id, a!.id.toUpperCase())).toBe('FIELDS_INVALID');
      expect(await refusal(...Array.from({ length: 11 }, () => randomUUID()))).toBe('FIELDS_INVALID');
    }
    expect(await book.pairs(true)).toEqual([]);
  });

  test('are listed by pages, each pair once, however many contacts share something', async () => {
    const book = await newBook();
    const shared = Array.from({ length: 20 }, (_, i) => email(`pair${i}@example.org`));
    await book.create(...shared, ...shared.map((fields, i) => ({ ...fields, ...ADA, company: `c${i % 5}` })));
    const whole = await book.pairs();
    // 20 addresses, and 5 companies of 4 each.
    expect(whole).toHaveLength(20 + 5 * 6);
    const keys = whole.map(({ first, second }) => `${first!.id} ${second!.id}`);
    expect(new Set(keys)).toHaveLength(keys.length);
    const many = await newBook();
    const [paged, tokens]: [string[], string[]] = [[], []];
    for (let pageToken = ''; ; ) {
      const page = await book.client.listContactDuplicates({ pageSize: 7, pageToken });
      expect(page.duplicates.length).toBeLessThanOrEqual(7);
      paged.push(...page.duplicates.map(({ first, second }) => `${first!.id} ${second!.id}`));
      if ((pageToken = page.nextPageToken) === '') break;
      tokens.push(pageToken);
    }
    expect(paged).toEqual(keys);
    const theirs = refusalOf(many.client.listContactDuplicates({ pageToken: tokens[0]! }));
    expect(await theirs).toMatchObject({ reason: 'PAGE_TOKEN_INVALID' });

    await many.create(...Array.from({ length: 60 }, () => email('info@example.org')));
    expect(await many.pairs()).toHaveLength((50 * 49) / 2);
  });

  test('are found of contacts of an older version when those have been brought up to date', async () => {
    const book = await newBook();
    await book.create(email('old@b'), email('old@b'));
    await using app = await openApp(kith);
    const { db } = app.database;
    await db.updateTable('contacts').set({ search_version: 1 }).where('owner_id', '=', book.user.id).execute();
    await db
      .deleteFrom('contact_terms')
      .where('owner_id', '=', book.user.id)
      .where('term', '>=', '\u0004')
      .where('term', '<', '\u0005')
      .execute();
    expect(await book.pairs()).toEqual([]);
    while ((await upgradeContacts(app, 20)) > 0);
    expect(await book.pairs()).toHaveLength(1);
  });

  test('leave nothing by half', async () => {
    expect(await kith.database.faults()).toEqual([]);
  });
});
