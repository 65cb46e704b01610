import { randomUUID } from 'node:crypto';
import type { Client } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { type ActivityFilter, readLog, selectActivityPage } from '../src/activity/log/store.ts';
import { deleteExpired, selectSession } from '../src/identity/sessions/store.ts';
import {
  type ContactFilter,
  type ContactKey,
  countContactRows,
  deletePurgeable as deletePurgeableContacts,
  replaceTerms,
  selectContactPage,
  selectOutdated as selectOutdatedContacts,
  selectUsage,
  SORTED_MAX,
} from '../src/contacts/store.ts';
import { contactQueries } from '../src/contacts/terms.ts';
import { type Db, openDatabase } from '../src/storage/database.ts';
import { purgeResponses } from '../src/storage/idempotency.ts';
import { fold } from '../src/kernel/text.ts';
import { findAccount } from '../src/identity/users/accounts.ts';
import { countUsers, selectUserPage, type UserFilter, type UserPlace } from '../src/identity/users/list-store.ts';
import {
  deletePurgeable,
  hasOtherActiveAdmin,
  selectPurgeable,
  selectUsersBy,
  selectOutdated,
} from '../src/identity/users/store.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { type Kith, startKith } from './support/kith.ts';
import { insertManyContacts } from './support/many-contacts.ts';
import { insertManyUsers, type UserOverrides } from './support/many-users.ts';
import { type Plan, plansOf } from './support/plans.ts';

const USERS = 60_000;

/** The n-th user. Every tenth is there to be deleted and undeleted while others are listed. */
function describeUser(n: number): Required<Pick<UserOverrides, 'name' | 'role' | 'state'>> & { isRestless: boolean } {
  return {
    name: n >= 24_000 && n < 25_500 ? `Rara Avis ${n}` : n % 3 === 0 ? `Zoë Müller ${n}` : `Anna Smith ${n}`,
    role: n % 1000 === 1 ? 'admin' : n % 7 === 0 ? 'editor' : 'viewer',
    state: n % 50 === 7 ? 'suspended' : n % 20 === 3 ? 'deleted' : 'active',
    isRestless: n % 10 === 5,
  };
}

interface Listed<T> {
  readonly items: readonly T[];
  readonly pageSizes: readonly number[];
}

/** Walks a list to its end, with these page sizes by turns. */
async function walk<T>(
  sizes: readonly number[],
  list: (pageSize: number, pageToken: string) => Promise<{ items: readonly T[]; nextPageToken: string }>,
  onItem: (item: T) => void = () => {},
): Promise<Listed<T>> {
  const items: T[] = [];
  const pageSizes: number[] = [];
  let pageToken = '';
  do {
    const pageSize = sizes[pageSizes.length % sizes.length]!;
    const page = await list(pageSize, pageToken);
    expect(page.items.length).toBeLessThanOrEqual(pageSize);
    page.items.forEach(onItem);
    items.push(...page.items);
    pageSizes.push(page.items.length);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return { items, pageSizes };
}

/** Runs `step` over and over, several at a time, until disposed. */
function keepDoing(step: () => Promise<void>, atOnce = 4): AsyncDisposable {
  let going = true;
  const loops = Array.from({ length: atOnce }, async () => {
    while (going) await step();
  });
  return {
    async [Symbol.asyncDispose]() {
      going = false;
      await Promise.all(loops);
    },
  };
}

/** What one has and the other has not: small enough to be shown, unlike two long lists. */
function difference(a: readonly string[], b: readonly string[]): string[] {
  return [...new Set(a).difference(new Set(b))];
}

function expectIndexed(plan: Plan): void {
  expect(plan).not.toMatchObject({ seeks: [] });
  expect(plan).toMatchObject({ unbounded: [] });
}

describe.each(databases)('$name', ({ name, create }) => {
  let database: TestDatabase;
  let kith: Kith;
  /** Oldest first. */
  let ids: string[];
  let users: Client<typeof UserService>;

  beforeAll(async () => {
    database = await create();
    kith = await startKith({ database, env: { KITH_ACCESS_TOKEN_SECONDS: '3600' } });
    users = kith.client(UserService, (await kith.admin()).accessToken);
    ids = await insertManyUsers(database.url, USERS, (n) => {
      const { name, role, state } = describeUser(n);
      return { name, role, state };
    });
    await database.analyze();
  }, 120_000);

  afterAll(async () => {
    await kith?.stop();
    await database?.[Symbol.asyncDispose]();
  });

  describe('60,000 users', () => {
    type Request = Omit<Parameters<typeof users.listUsers>[0], 'pageSize' | 'pageToken'>;
    type Member = ReturnType<typeof describeUser>;
    const isLive = ({ state }: Member): boolean => state !== 'deleted';

    /** The ids of those who are there throughout and fit, newest first. */
    const settled = (fits: (user: Member) => boolean): string[] =>
      ids.filter((_, n) => !describeUser(n).isRestless && fits(describeUser(n))).toReversed();

    let theSettled: ReadonlySet<string>;
    beforeAll(() => {
      theSettled = new Set(settled(() => true));
    });

    /** Lists all pages while users are created, and deleted and undeleted where the list is just about to come. */
    async function walkAmongChanges(request: Request, sizes: readonly number[]): Promise<Listed<{ id: string }>> {
      const restless = ids
        .filter((_, n) => describeUser(n).isRestless && describeUser(n).state !== 'deleted')
        .toReversed();
      const gone = new Set<string>();
      let position = 0;
      let steps = 0;
      const change = async (): Promise<void> => {
        if (steps++ % 50 === 0) {
          const username = `new-${randomUUID()}`;
          const email = `${username}@example.org`;
          await users.createUser({ username, email, name: 'Rara Anna Zoe', password: `password of ${username}` });
          return;
        }
        const id = restless[Math.min(position + (steps % 150), restless.length - 1)]!;
        if (gone.delete(id)) return void (await users.undeleteUser({ userId: id }).catch(() => {}));
        gone.add(id);
        await users.deleteUser({ userId: id }).catch(() => {});
      };
      await using _ = keepDoing(change);
      return walk(
        sizes,
        async (pageSize, pageToken) => {
          const page = await users.listUsers({ ...(request as object), pageSize, pageToken });
          return { items: page.users, nextPageToken: page.nextPageToken };
        },
        ({ id }) => {
          while (position < restless.length && restless[position]! >= id) position++;
        },
      );
    }

    test.each<{ name: string; request: Request; sizes: number[]; fits: (user: Member) => boolean }>([
      { name: 'all', request: {}, sizes: [1000], fits: isLive },
      { name: 'all, by small and large pages', request: {}, sizes: [1000, 77, 1000, 1], fits: isLive },
      {
        name: 'a role',
        request: { roles: [Role.EDITOR] },
        sizes: [1000, 77],
        fits: (user) => isLive(user) && user.role === 'editor',
      },
      {
        name: 'a state',
        request: { states: [UserState.SUSPENDED] },
        sizes: [77],
        fits: ({ state }) => state === 'suspended',
      },
      {
        name: 'the deleted ones of a role',
        request: { states: [UserState.DELETED], roles: [Role.VIEWER] },
        sizes: [1000, 77],
        fits: ({ state, role }) => state === 'deleted' && role === 'viewer',
      },
      {
        name: 'a query that many match',
        request: { query: 'ZOE m' },
        sizes: [1000, 77],
        fits: (user) => isLive(user) && user.name.startsWith('Zoë'),
      },
      {
        name: 'a query that many match, but far from here',
        request: { query: 'rara' },
        sizes: [1000, 77],
        fits: (user) => isLive(user) && user.name.startsWith('Rara'),
      },
      {
        name: 'a query that few match',
        request: { query: 'smith 777' },
        sizes: [7],
        fits: (user) => isLive(user) && user.name.startsWith('Anna Smith 777'),
      },
      {
        name: 'a query that many match, of a role',
        request: { query: 'a', roles: [Role.ADMIN] },
        sizes: [7],
        fits: (user) => isLive(user) && user.role === 'admin' && !user.name.startsWith('Zoë'),
      },
      { name: 'a query that nobody matches', request: { query: 'nobody' }, sizes: [77], fits: () => false },
    ])(
      'walking $name among changes skips and repeats nobody',
      async ({ request, sizes, fits }) => {
        const { items } = await walkAmongChanges(request, sizes);
        const listed = items.map(({ id }) => id);
        expect(
          listed.findIndex((id, i) => i > 0 && id >= listed[i - 1]!),
          'newest first, each once',
        ).toBe(-1);
        expect(difference(settled(fits), listed), 'skipped').toEqual([]);
        expect(
          difference(listed, settled(fits)).filter((id) => theSettled.has(id)),
          'not asked for',
        ).toEqual([]);
      },
      120_000,
    );

    test('a page may be short or empty before the last, and the last alone has no token', async () => {
      const { items, pageSizes } = await walk([1000], async (pageSize, pageToken) => {
        const page = await users.listUsers({ query: 'rara avis', pageSize, pageToken });
        return { items: page.users, nextPageToken: page.nextPageToken };
      });
      expect(pageSizes[0]).toBe(0);
      expect(items.length).toBeGreaterThan(1000);
    });

    test.each<{ name: string; isAtLeast: boolean; request: Request; fits: (user: Member) => boolean }>([
      {
        name: 'a role',
        isAtLeast: false,
        request: { roles: [Role.ADMIN] },
        fits: (user) => isLive(user) && user.role === 'admin',
      },
      {
        name: 'a role, a state and a query that begins with what many match',
        isAtLeast: true,
        request: { roles: [Role.EDITOR], states: [UserState.SUSPENDED], query: 'anna' },
        fits: ({ role, state, name }) => role === 'editor' && state === 'suspended' && name.startsWith('Anna'),
      },
    ])('the total of $name counts every page, or says that there may be more', async ({ isAtLeast, request, fits }) => {
      const { totalSize = 0, totalSizeAtLeast } = await users.listUsers({
        ...(request as object),
        pageSize: 1,
        includeTotalSize: true,
      });
      const { items } = await walk([1000], async (pageSize, pageToken) => {
        const page = await users.listUsers({ ...(request as object), pageSize, pageToken });
        return { items: page.users, nextPageToken: page.nextPageToken };
      });
      expect(totalSizeAtLeast).toBe(isAtLeast);
      expect(isAtLeast ? items.length >= totalSize : items.length === totalSize).toBe(true);
      expect(items.length).toBeGreaterThanOrEqual(settled(fits).length);
    });

    test('whoever leaves between two statements of a page takes nobody along', async () => {
      await using opened = await openDatabase(database.url);
      const leaving = ids.filter((_, n) => describeUser(n).isRestless && isLive(describeUser(n)));
      let after: UserPlace | undefined;
      const db = opened.db.withPlugin({
        transformQuery: ({ node }) => node,
        async transformResult({ result }) {
          while (after !== undefined && leaving.at(-1)! >= after.id) leaving.pop();
          await users.deleteUser({ userId: leaving.pop()! }).catch(() => {});
          return result;
        },
      });
      const filter: UserFilter = { states: ['active', 'suspended'], roles: [], query: 'zoe' };
      const listed: string[] = [];
      do {
        const page = await selectUserPage(db, filter, after, 1000);
        listed.push(...page.rows.map(({ id }) => id));
        after = page.resumeAfter;
      } while (after !== undefined);
      expect(
        difference(
          settled((user) => isLive(user) && user.name.startsWith('Zoë')),
          listed,
        ),
      ).toEqual([]);
    });

    test('the first page and the last cost the same: ranges of an index, and no sorting of what is not shown', async () => {
      await using opened = await openDatabase(database.planningUrl);
      for (const states of [['active', 'suspended'], ['suspended'], ['deleted']] as const) {
        for (const roles of [[], ['viewer'], ['viewer', 'admin']] as const) {
          for (const query of ['', 'smith 777', 'nobody', 'a', 'zoe']) {
            const others = query === '' || query === 'a' ? (['oldest', 'name', 'last_sign_in'] as const) : [];
            for (const order of ['newest', ...others] as const) {
              const filter = { states, roles, query, order };
              const page = (after?: UserPlace) => plansOf(opened, (db) => selectUserPage(db, filter, after, 50));
              const first = await page();
              const last = await page({ value: order === 'name' ? 'user' : 1, id: ids[50]! });
              expect(first.length).toBeGreaterThan(0);
              for (const plan of [...first, ...last]) expectIndexed(plan);
              const ofUsers = last.filter(({ sql }) => sql.includes('"users"'));
              for (const { lines } of ofUsers) expect(lines.join('\n')).toMatch(/(?:SEARCH|Index Cond).*\bid\b/);
            }
          }
        }
      }
    });

    test('the first page reads no more of a state than it shows', async () => {
      await using opened = await openDatabase(database.planningUrl);
      const filter: UserFilter = { states: ['active', 'suspended'], roles: [], query: '' };
      const [plan] = await plansOf(opened, (db) => selectUserPage(db, filter, undefined, 50));
      // PostgreSQL says of a statement that it runs how many rows each step gave; SQLite's plan has no step for all.
      const run = '(analyze, costs off, timing off, summary off, buffers off)';
      const lines =
        name === 'PostgreSQL' ? await opened.dialect.explain(`${run} ${plan!.sql}`, plan!.parameters) : plan!.lines;
      const rows = lines.flatMap((line) => /actual rows=([\d.]+)/.exec(line)?.[1] ?? []).map(Number);
      expect(rows.length > 1).toBe(name === 'PostgreSQL');
      expect(Math.max(0, ...rows)).toBeLessThanOrEqual(2 * 51);
      expectIndexed(plan!);
    });

    test.each<{ name: string; run: (db: Db) => Promise<unknown> }>([
      { name: 'a sign-in by username', run: (db) => findAccount(db, 'many-77') },
      { name: 'a sign-in by email address', run: (db) => findAccount(db, 'many-77@example.org') },
      { name: 'the session of a call', run: (db) => selectSession(db, randomUUID()) },
      { name: 'the search for another admin', run: (db) => hasOtherActiveAdmin(db, randomUUID()) },
      { name: 'the search for users to purge', run: (db) => selectPurgeable(db, 0, 100) },
      { name: 'the purge of a user', run: (db) => deletePurgeable(db, randomUUID(), 0) },
      { name: 'the purge of contacts', run: (db) => deletePurgeableContacts(db, 0, 100) },
      { name: 'the purge of sessions', run: (db) => deleteExpired(db, 0, 100) },
      { name: 'the purge of remembered requests', run: (db) => purgeResponses(db, 0, 100) },
      {
        name: 'the total of users',
        run: (db) => countUsers(db, { states: ['active', 'suspended'], roles: [], query: '' }),
      },
      {
        name: 'the total of users of a role who match',
        run: (db) => countUsers(db, { states: ['deleted'], roles: ['viewer'], query: 'zoe' }),
      },
      { name: "a user's usage", run: (db) => selectUsage(db, randomUUID()) },
      ...(['id', 'username_key', 'email_key', 'external_id'] as const).map((column) => ({
        name: `the lookup of users by ${column}`,
        run: (db: Db) =>
          selectUsersBy(
            db,
            column,
            Array.from({ length: 50 }, () => randomUUID()),
          ),
      })),
      ...Object.entries({
        'an email address': { email: 'many-77@example.org' },
        'an external id': { externalId: 'x' },
        metadata: { terms: ['\u0001public["plan","pro"]'] },
        'a time of creation': { created: { startMs: 1, endMs: undefined } },
        'a time of creation, by name': { created: { startMs: 1, endMs: 2 }, order: 'name' as const },
        'a time of sign-in': { signedIn: { startMs: undefined, endMs: 2 }, order: 'last_sign_in' as const },
      }).flatMap(([by, more]) => {
        const filter: UserFilter = { states: ['active', 'suspended'], roles: [], query: '', ...more };
        return [
          { name: `a list by ${by}`, run: (db: Db) => selectUserPage(db, filter, undefined, 50) },
          { name: `the total by ${by}`, run: (db: Db) => countUsers(db, filter) },
        ];
      }),
    ])('$name reads by an index', async ({ run }) => {
      await using opened = await openDatabase(database.planningUrl);
      const plans = await plansOf(opened, run);
      expect(plans).not.toEqual([]);
      plans.forEach(expectIndexed);
    });

    test('the search for users of older versions walks an index of these alone', async () => {
      await using opened = await openDatabase(database.planningUrl);
      const [plan] = await plansOf(opened, (db) => selectOutdated(db, 20));
      expect(plan!.lines.join('\n')).toContain('users_outdated');
    });

    test('the search for contacts of older versions walks an index of these alone', async () => {
      await using opened = await openDatabase(database.planningUrl);
      const [plan] = await plansOf(opened, (db) => selectOutdatedContacts(db, 20));
      expect(plan!.lines.join('\n')).toContain('contacts_outdated');
    });

    test.each<ActivityFilter>([
      { userId: randomUUID(), withPrivate: true, actionPrefixes: [] },
      { userId: randomUUID(), withPrivate: false, actionPrefixes: ['contact'] },
    ])(
      "a user's activity is read by an index of the user's, from a position and up to one: $actionPrefixes",
      async (filter) => {
        await using opened = await openDatabase(database.planningUrl);
        const { dialect } = opened;
        const plans = await plansOf(opened, async (db) => {
          const limits = { rowsMax: 50, textMax: 65_536 };
          await readLog({ db, dialect }, filter, { writer: 0, seq: 5 }, { writer: 0, seq: 5000 }, limits);
          const list = { ...filter, startMs: undefined, endMs: undefined };
          const end = { writer: 0, seq: 9000 };
          const view = { end, newest: { writer: 9, seq: 9001 }, running: [7, 8] };
          await selectActivityPage({ db, dialect }, list, view, { writer: 0, seq: 5000 }, 50);
        });
        expect(plans.length).toBeGreaterThan(3);
        for (const plan of plans) {
          expectIndexed(plan);
          expect(plan.seeks).toEqual(['user_id', 'writer', 'seq', 'seq']);
        }
      },
    );
  });

  describe('4,000 contacts', () => {
    let ownerId: string;
    let keys: ContactKey[];

    beforeAll(async () => {
      ownerId = ids[0]!;
      keys = await insertManyContacts(database.url, ownerId, 4000, (n) => [
        `all ${n}`,
        ...(n <= SORTED_MAX ? [`many ${n}`] : []),
      ]);
      await database.analyze();
    }, 120_000);

    test('the terms of one contact are replaced by its own index, however many others its owner has', async () => {
      await using opened = await openDatabase(database.planningUrl);
      const row = { owner_id: ownerId, id: randomUUID() };
      const plans = await plansOf(opened, (db) => replaceTerms(db, row, []));
      expect(plans[0]!.lines.join('\n')).toMatch(/contact_terms_of\b/);
      expect(plans.flatMap(({ seeks }) => seeks)).not.toContain('owner_id');
    });

    const plansFor = async (filter: ContactFilter): Promise<Plan[]> => {
      await using opened = await openDatabase(database.planningUrl);
      return await plansOf(opened, async (db) => {
        await selectContactPage(db, ownerId, filter, undefined, 20);
        await selectContactPage(db, ownerId, filter, keys[50], 20);
        await countContactRows(db, ownerId, filter);
      });
    };

    test.each<ContactFilter>([
      { deleted: false, starred: undefined, queries: [] },
      { deleted: true, starred: undefined, queries: [] },
      { deleted: false, starred: true, queries: [] },
      { deleted: false, starred: undefined, queries: [[{ begin: 'many' }]] },
      { deleted: true, starred: undefined, queries: [[{ begin: 'many' }]] },
      { deleted: false, starred: false, queries: [[{ begin: 'many' }, { begin: 'all' }]] },
      { deleted: false, starred: undefined, queries: [[{ begin: 'many' }], [{ begin: 'all' }, { begin: 'few' }]] },
      { deleted: false, starred: undefined, queries: contactQueries('all +44 (0)20 7946 0018') },
      { deleted: false, starred: undefined, queries: contactQueries('+44 (0)20 7946 0018') },
    ])('a page reads by an index: $deleted, $starred, $queries', async (filter) => {
      const plans = await plansFor(filter);
      expect(plans.length).toBeGreaterThanOrEqual(3);
      plans.forEach(expectIndexed);
    });
  });

  describe('contacts', () => {
    const LONG = 'ä日😀'.repeat(66);
    const NAMES = [
      'Zoë',
      'zoe',
      'Åse',
      'Øyvind',
      '李 明',
      'محمد',
      '😀 Emoji',
      '\uFF5A',
      '﷽',
      'ß',
      'Ｆｕｌｌ',
      LONG,
      `${LONG}x`,
    ];

    test.each([{ sizes: [1, 7, 77] }, { sizes: [1000] }])(
      'walking by name, $sizes a page, while others come and go skips and repeats none',
      async ({ sizes }) => {
        const { accessToken } = await kith.user(Role.EDITOR);
        const contacts = kith.client(ContactService, accessToken);
        const names = [...NAMES, ...Array.from({ length: 150 }, (_, i) => (i % 3 === 0 ? `Name ${i}` : 'Same Name'))];
        const made = await Promise.all(
          names.map(
            async (givenName, i) => (await contacts.createContact({ givenName, starred: i % 2 === 0 })).contact!,
          ),
        );
        const restless = await Promise.all(
          names.map(async (givenName) => (await contacts.createContact({ givenName })).contact!),
        );
        let steps = 0;
        const change = async (): Promise<void> => {
          const i = steps++;
          const { id } = restless[i % restless.length]!;
          if (i % 5 === 0) await contacts.createContact({ givenName: names[i % names.length]! });
          else
            await contacts
              .deleteContact({ contactId: id })
              .catch(() => contacts.undeleteContact({ contactId: id }).catch(() => {}));
        };
        for (const request of [{}, { starred: true }, { query: 'SAME' }]) {
          await using _ = keepDoing(change, 2);
          const { items } = await walk(sizes, async (pageSize, pageToken) => {
            const page = await contacts.listContacts({ ...request, pageSize, pageToken });
            return { items: page.contacts, nextPageToken: page.nextPageToken };
          });
          const listed = items.map(({ id }) => id);
          expect(new Set(listed).size, 'each once').toBe(listed.length);
          const expected = made
            .filter(({ starred }) => starred || !('starred' in request))
            .filter(({ givenName }) => givenName === 'Same Name' || !('query' in request));
          expect(
            difference(
              expected.map(({ id }) => id),
              listed,
            ),
            'skipped',
          ).toEqual([]);
          const keys = items.map(({ givenName }) => Buffer.from(fold(givenName).slice(0, 190)));
          expect(keys).toEqual(keys.toSorted((a, b) => a.compare(b)));
        }
      },
    );
  });
});
