import { randomUUIDv7 } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesOf, NO_FIELDS, toColumns } from '../src/contacts/contact.ts';
import {
  type ContactFilter,
  type ContactKey,
  type ContactRow,
  countContactRows,
  EXAMINED_MAX,
  selectContactPage,
  selectUsage,
  SORTED_MAX,
} from '../src/contacts/store.ts';
import {
  MEMBERS_READ_MAX,
  type Pair,
  selectDistinct,
  selectGroups,
  selectMembers,
  TERMS_EXAMINED_MAX,
} from '../src/contacts/duplicates-store.ts';
import { MATCH } from '../src/contacts/match.ts';
import { contactQueries, contactTerms } from '../src/contacts/terms.ts';
import { openDatabase } from '../src/storage/database.ts';
import { COUNTED_MAX } from '../src/storage/pages.ts';
import { countUsers, selectUserPage, type UserFilter, type UserPlace } from '../src/identity/users/list-store.ts';
import { metadataTerm } from '../src/identity/users/metadata.ts';
import { fold } from '../src/kernel/text.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { insertManyUsers } from './support/many-users.ts';
import { rowsRead } from './support/rows-read.ts';

/** More than are ever counted. */
const MANY = COUNTED_MAX + 2000;
const PAGE = 50;

describe.each(databases)('on $name', ({ create }) => {
  let database: TestDatabase;
  let ownerId: string;
  let userIds: string[];
  let keys: ContactKey[];

  beforeAll(async () => {
    database = await create();
    userIds = await insertManyUsers(database.url, MANY, (n) => ({
      state: n % 3 === 0 ? 'suspended' : 'active',
      create_ms: 1000 + Math.floor(n / 5000),
      last_sign_in_ms: n % 4 === 0 ? 1000 + Math.floor(n / 8000) : null,
      public_metadata: n % 2 === 0 ? '{"plan":"pro"}' : n < 3 ? '{"plan":"rare"}' : '',
    }));
    ownerId = userIds[0]!;
    const rows = Array.from({ length: MANY }, (_, n) => contactRow(ownerId, n));
    keys = rows.map(({ row }): ContactKey => [row.sort_key, row.id]).toSorted((a, b) => (a[0] < b[0] ? -1 : 1));
    await using opened = await openDatabase(database.url);
    await opened.transaction(async (tx) => {
      for (let start = 0; start < MANY; start += 500) {
        const some = rows.slice(start, start + 500);
        await tx
          .insertInto('contacts')
          .values(some.map(({ row }) => row))
          .execute();
        const terms = some.flatMap(({ row, terms }) =>
          terms.map((term) => ({ owner_id: ownerId, term, contact_id: row.id })),
        );
        await tx.insertInto('contact_terms').values(terms).execute();
      }
    });
    await database.analyze();
  }, 120_000);
  afterAll(() => database[Symbol.asyncDispose]());

  describe('what a page of contacts reads does not depend on how many there are', () => {
    test.each<{ name: string; query: string; starred?: boolean; deleted?: boolean }>([
      { name: 'all', query: '' },
      { name: 'the starred ones, of which there are none', query: '', starred: true },
      { name: 'the deleted ones, of which there are none', query: '', deleted: true },
      { name: 'a letter that every contact matches', query: 'n' },
      { name: 'a letter that every contact matches, of starred ones', query: 'n', starred: true },
      { name: 'a word that the last contacts alone match', query: 'late' },
      { name: 'two words, one of which the last contacts alone match', query: 'n late' },
      { name: 'two words that many match each', query: 'n00 late' },
      { name: 'two words, and the last ones match both', query: 'n0119 la' },
      { name: 'a digit that every number begins with', query: '9' },
      { name: 'digits inside every number', query: '3333' },
      { name: 'digits inside no number', query: '123456' },
      { name: 'digits inside few numbers', query: '7654321' },
      { name: 'nobody', query: 'nobody' },
    ])('$name', async ({ query, starred, deleted = false }) => {
      const filter: ContactFilter = { deleted, starred, queries: contactQueries(query) };
      for (const after of [undefined, keys[MANY >> 1], keys[MANY - PAGE]]) {
        const read = await rowsRead(database, (db) => selectContactPage(db, ownerId, filter, after, PAGE));
        const looked = filter.queries.length * (SORTED_MAX + 1) + EXAMINED_MAX * (1 + filter.queries.flat().length + 1);
        expect(read).toBeLessThanOrEqual((filter.queries.length === 0 ? 0 : looked) + EXAMINED_MAX + 2 * (PAGE + 1));
      }
    });

    test('and shows each contact that matches once', async () => {
      await using opened = await openDatabase(database.url);
      for (const [query, count] of [
        ['late', 300],
        ['7654321', 3],
        ['3333', MANY],
      ] as const) {
        const filter: ContactFilter = { deleted: false, starred: undefined, queries: contactQueries(query) };
        const found: string[] = [];
        for (let after: ContactKey | undefined, isEnd = false; !isEnd; isEnd = after === undefined) {
          const page = await selectContactPage(opened.db, ownerId, filter, after, 1000);
          found.push(...page.rows.map(({ id }) => id));
          after = page.resumeAfter;
        }
        expect([found.length, new Set(found).size]).toEqual([count, count]);
      }
    });
  });

  test('what a page of duplicates reads does not depend on how many contacts there are, nor on how many share something', async () => {
    const terms = [`${MATCH}b`, `${MATCH}bm`, `${MATCH}d`];
    for (const begin of [MATCH, ...terms]) {
      const read = await rowsRead(database, (db) => selectGroups(db, ownerId, begin));
      expect(read).toBeLessThanOrEqual(3 * TERMS_EXAMINED_MAX);
    }
    const ofAll = `9${'3'.repeat(39)}`;
    const read = await rowsRead(database, (db) => selectMembers(db, ownerId, [...terms, ofAll]));
    expect(read).toBeLessThanOrEqual(2 * MEMBERS_READ_MAX);
    const pairs = Array.from({ length: 50 }, (_, n): Pair => [keys[n]![1], keys[n + 50]![1]]);
    expect(await rowsRead(database, (db) => selectDistinct(db, ownerId, pairs))).toBe(0);
    await using opened = await openDatabase(database.url);
    expect(await selectGroups(opened.db, ownerId, MATCH)).toMatchObject({ groups: [], next: expect.any(String) });
    expect((await selectMembers(opened.db, ownerId, [ofAll])).get(ofAll)).toHaveLength(MEMBERS_READ_MAX);
  });

  test.each(['', 'n', 'late', '3333', '123456'])('no more than 10,000 contacts are counted: "%s"', async (query) => {
    const filter: ContactFilter = { deleted: false, starred: undefined, queries: contactQueries(query) };
    await using opened = await openDatabase(database.url);
    const total = await countContactRows(opened.db, ownerId, filter);
    expect(total.isAtLeast).toBe(true);
    expect(total.count).toBeLessThanOrEqual(COUNTED_MAX);
    const read = await rowsRead(database, (db) => countContactRows(db, ownerId, filter));
    expect(read).toBeLessThanOrEqual(
      filter.queries.length * SORTED_MAX + (COUNTED_MAX + 1) * (2 + filter.queries.flat().length),
    );
  });

  test("a user's usage is one row", async () => {
    expect(await rowsRead(database, (db) => selectUsage(db, ownerId))).toBeLessThanOrEqual(1);
  });

  describe('what a page or a count of users reads does not depend on how many there are', () => {
    const LIVE = { states: ['active', 'suspended'], roles: [], query: '' } as const;
    const EVERY = { startMs: 0, endMs: 1e15 };
    const NOBODY = { startMs: 1e14, endMs: 1e15 };
    test.each<UserFilter>([
      LIVE,
      { ...LIVE, states: ['deleted'] },
      { ...LIVE, roles: ['viewer', 'admin'], order: 'name' },
      { ...LIVE, states: ['active'], roles: ['admin'] },
      { ...LIVE, query: 'u' },
      { states: ['suspended'], roles: ['viewer'], query: 'm' },
      { states: ['deleted'], roles: ['viewer'], query: 'user' },
      { ...LIVE, query: 'nobody' },
      { ...LIVE, order: 'oldest' },
      { ...LIVE, order: 'name' },
      { ...LIVE, order: 'last_sign_in', roles: ['viewer', 'admin'] },
      { ...LIVE, created: EVERY },
      { ...LIVE, created: NOBODY, order: 'oldest' },
      { ...LIVE, created: NOBODY, order: 'name' },
      { ...LIVE, created: EVERY, order: 'last_sign_in' },
      { ...LIVE, signedIn: EVERY, order: 'last_sign_in' },
      { ...LIVE, signedIn: NOBODY },
      { ...LIVE, email: 'many-7@example.org' },
      { ...LIVE, externalId: 'nobody' },
      { ...LIVE, terms: [metadataTerm('public_metadata', 'plan', 'pro')] },
      { ...LIVE, terms: [metadataTerm('public_metadata', 'plan', 'pro')], order: 'last_sign_in' },
      { ...LIVE, terms: [metadataTerm('public_metadata', 'plan', 'rare')], query: 'u' },
      { ...LIVE, terms: [metadataTerm('public_metadata', 'plan', 'pro')], query: 'nobody' },
    ])('%o', async (filter) => {
      const isPlain = filter.query === '' && Object.keys(filter).every((key) => !/terms|created|signedIn/.test(key));
      const places: UserPlace[] = [0, MANY >> 1, MANY - PAGE].map((n) => ({
        value: filter.order === 'name' ? `user ${n}` : 1001,
        id: userIds[n]!,
      }));
      for (const after of [undefined, ...places]) {
        const read = await rowsRead(database, (db) => selectUserPage(db, filter, after, PAGE));
        // 1,000 are looked at, of each range, of which there are four, and looked up among the terms and the users.
        expect(read).toBeLessThanOrEqual(isPlain ? 10 * (PAGE + 1) : 10 * 1000);
      }
      const counted = await rowsRead(database, (db) => countUsers(db, filter));
      expect(counted).toBeLessThanOrEqual(5 * (COUNTED_MAX + 1));
    });

    test('and shows each user who matches once, in the order that is asked for', async () => {
      await using opened = await openDatabase(database.url);
      const plan = (name: string) => ({ terms: [metadataTerm('public_metadata', 'plan', name)] });
      for (const [filter, count] of [
        [{ ...LIVE, order: 'oldest' }, MANY],
        [{ ...LIVE, order: 'name' }, MANY],
        [{ ...LIVE, order: 'last_sign_in' }, MANY],
        [{ ...LIVE, ...plan('pro') }, MANY / 2],
        [{ ...LIVE, ...plan('rare'), order: 'name' }, 1],
        [{ ...LIVE, ...plan('pro'), query: 'user 7', order: 'last_sign_in' }, 555],
        [{ ...LIVE, signedIn: { startMs: 1001, endMs: undefined }, order: 'last_sign_in' }, (MANY - 8000) / 4],
        [{ ...LIVE, signedIn: { startMs: 1001, endMs: undefined }, order: 'oldest' }, (MANY - 8000) / 4],
        [{ ...LIVE, created: { startMs: 1001, endMs: 1002 } }, 5000],
        [{ ...LIVE, created: { startMs: 1001, endMs: 1002 }, order: 'oldest' }, 5000],
        [{ ...LIVE, created: { startMs: undefined, endMs: 1002 }, order: 'name' }, 10_000],
      ] as const satisfies [UserFilter, number][]) {
        const listed: (readonly [string | number, string])[] = [];
        let after: UserPlace | undefined;
        do {
          const page = await selectUserPage(opened.db, filter, after, 1000);
          const { order = 'newest' } = { order: undefined, ...filter };
          for (const row of page.rows) {
            const value = {
              newest: row.create_ms,
              oldest: row.create_ms,
              name: fold(row.name),
              last_sign_in: row.last_sign_in_ms ?? 0,
            };
            listed.push([value[order], row.id]);
          }
          after = page.resumeAfter;
        } while (after !== undefined);
        expect([listed.length, new Set(listed.map(([, id]) => id)).size], `of ${JSON.stringify(filter)}`).toEqual([
          count,
          count,
        ]);
        const { order = 'newest' } = { order: undefined, ...filter };
        const isAscending = order === 'oldest' || order === 'name';
        const isInOrder = ([a, b]: readonly [string | number, string], [c, d]: readonly [string | number, string]) =>
          a === c ? b < d : a < c;
        expect(
          listed.findIndex((place, i) => i > 0 && isInOrder(listed[i - 1]!, place) !== isAscending),
          `of ${JSON.stringify(filter)}`,
        ).toBe(-1);
      }
    });
  });
});

/** The last 300 by name are late ones as well; each has a number of 40 digits, three one of 7 that is found alone. */
function contactRow(ownerId: string, n: number): { row: ContactRow; terms: string[] } {
  const number = n < 3 ? '0017654321' : `9${'3'.repeat(39)}`;
  const fields = {
    ...NO_FIELDS,
    givenName: `n${String(n).padStart(6, '0')}`,
    familyName: n >= MANY - 300 ? 'late' : '',
    company: 'Engines',
    phones: [
      { number: `9${'3'.repeat(39)}`, type: '', primary: true },
      { number, type: '', primary: false },
    ],
  };
  const columns = toColumns(fields);
  const terms = contactTerms(fields);
  const row: ContactRow = {
    ...columns,
    id: randomUUIDv7(),
    owner_id: ownerId,
    deleted: 0,
    create_ms: 0,
    update_ms: 0,
    delete_ms: null,
    purge_ms: null,
    revision: 1,
    merge_id: '',
    bytes: bytesOf(columns, terms),
  };
  return { row, terms };
}
