import type { SelectQueryBuilder } from 'kysely';
import type { Role } from '../../kernel/access.ts';
import type { Db } from '../../storage/database.ts';
import { existsPerRow } from '../../storage/query-hints.ts';
import { prepared } from '../../storage/prepared.ts';
import type { Schema, UserTable } from '../../storage/schema.ts';
import { COUNTED_MAX, type Count, cutPage } from '../../storage/pages.ts';
import { matchesAtMost } from '../../storage/search.ts';
import { endOfPrefix } from '../../kernel/text.ts';
import { FIELD_NAMES } from './user-fields.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    user_terms: UserTermTable;
  }
}

/** What finds a user: see wordTerms. */
interface UserTermTable {
  term: string;
  user_id: string;
}

export type UserRow = UserTable;
export type StoredState = UserRow['state'];

/** Selects users. */
export interface UserFilter {
  readonly states: readonly StoredState[];
  /** Empty for every role. */
  readonly roles: readonly Role[];
  /** Folded; '' for every user. */
  readonly query: string;
}

/** The columns that the contract's User shows. Reading all columns takes half as long again. */
const SHOWN = ['id', ...FIELD_NAMES, 'create_ms', 'update_ms', 'delete_ms', 'purge_ms', 'revision'] as const;
export type ShownUserRow = Pick<UserRow, (typeof SHOWN)[number]>;

export const selectUser = prepared((db, id: string) => db.selectFrom('users').selectAll().where('id', '=', id));

/** The user with this username or email address, given as identifierKey. */
export function selectUserByIdentifier(db: Db, key: string): Promise<UserRow | undefined> {
  const column = key.includes('@') ? 'email_key' : 'username_key';
  return db.selectFrom('users').selectAll().where(column, '=', key).executeTakeFirst();
}

export async function hasUsers(db: Db): Promise<boolean> {
  return (await db.selectFrom('users').select('id').limit(1).executeTakeFirst()) !== undefined;
}

export async function hasOtherActiveAdmin(db: Db, id: string): Promise<boolean> {
  const other = await db
    .selectFrom('users')
    .select('id')
    .where('role', '=', 'admin')
    .where('state', '=', 'active')
    .where('id', '!=', id)
    .limit(1)
    .executeTakeFirst();
  return other !== undefined;
}

export async function insertUser(db: Db, row: UserRow, terms: readonly string[]): Promise<void> {
  await db.insertInto('users').values(row).execute();
  await insertTerms(db, row.id, terms);
}

export async function updateUserRow(db: Db, id: string, change: Partial<UserRow>): Promise<void> {
  await db.updateTable('users').set(change).where('id', '=', id).execute();
}

export async function replaceTerms(db: Db, userId: string, terms: readonly string[]): Promise<void> {
  await db.deleteFrom('user_terms').where('user_id', '=', userId).execute();
  await insertTerms(db, userId, terms);
}

async function insertTerms(db: Db, userId: string, terms: readonly string[]): Promise<void> {
  const rows = [...new Set(terms)].map((term) => ({ term, user_id: userId }));
  await db.insertInto('user_terms').values(rows).execute();
}

/** A page of users, newest first, and the id after which the next one begins. */
export interface UserPage {
  readonly rows: readonly ShownUserRow[];
  readonly resumeAfter: string | undefined;
}

/** The most matches of a query that are sorted, and the most users that are tested: bounds the cost of a page. */
const EXAMINED_MAX = 1000;

export async function selectUserPage(
  db: Db,
  filter: UserFilter,
  after: string | undefined,
  size: number,
): Promise<UserPage> {
  if (filter.query === '') return pageOf(await newest(db, filter, after, size + 1).execute(), size);
  if (await matchesAtMost(db, matching(db, filter.query).select('user_id'), EXAMINED_MAX)) {
    const rows = await newest(db, filter, after, size + 1, (users) =>
      users.where('id', 'in', matching(db, filter.query).select('user_id')),
    ).execute();
    return pageOf(rows, size);
  }
  return searchPage(db, filter, after, size);
}

/**
 * A page for a query that matches many: takes the next EXAMINED_MAX users and
 * keeps those that match, so the page may be short, even empty, before the end.
 *
 * The last id to test is determined first: if each statement counted users anew, a user purged in
 * between would make it skip another one.
 */
async function searchPage(db: Db, filter: UserFilter, after: string | undefined, size: number): Promise<UserPage> {
  const { oldest, count } = await db
    .selectFrom(newestIds(db, filter, after, EXAMINED_MAX).as('users'))
    .select(({ fn }) => [fn.min<string | null>('id').as('oldest'), fn.countAll<number>().as('count')])
    .executeTakeFirstOrThrow();
  if (oldest === null) return { rows: [], resumeAfter: undefined };
  const matches = await newest(db, filter, after, size + 1, (users) =>
    users
      .where('id', '>=', oldest)
      .where((eb) =>
        existsPerRow(
          eb
            .selectFrom('user_terms')
            .whereRef('user_terms.user_id', '=', 'users.id')
            .where('term', '>=', filter.query)
            .where('term', '<', endOfPrefix(filter.query))
            .select('user_id')
            .limit(1),
        ),
      ),
  ).execute();
  if (matches.length > size) return pageOf(matches, size);
  return { rows: matches, resumeAfter: count < EXAMINED_MAX ? undefined : oldest };
}

function pageOf(rows: readonly ShownUserRow[], size: number): UserPage {
  const page = cutPage(rows, size);
  return { rows: page.rows, resumeAfter: page.last?.id };
}

/**
 * Counts the users that match a filter. Examines at most COUNTED_MAX users or, with a query, the
 * users of at most as many matching terms.
 */
export async function countUsers(db: Db, filter: UserFilter): Promise<Count> {
  if (filter.query === '') {
    const { count } = await db
      .selectFrom(newestIds(db, filter, undefined, COUNTED_MAX + 1).as('users'))
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return { count: Math.min(count, COUNTED_MAX), isAtLeast: count > COUNTED_MAX };
  }
  const terms = matching(db, filter.query)
    .select('user_id')
    .limit(COUNTED_MAX + 1);
  const { looked } = await db
    .selectFrom(terms.as('terms'))
    .select(({ fn }) => fn.countAll<number>().as('looked'))
    .executeTakeFirstOrThrow();
  const { count } = await db
    .selectFrom(db.selectFrom(terms.as('terms')).select('user_id').distinct().as('matches'))
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where((eb) => {
      let user = eb
        .selectFrom('users')
        .whereRef('users.id', '=', 'matches.user_id')
        .where('state', 'in', filter.states);
      if (filter.roles.length > 0) user = user.where('role', 'in', filter.roles);
      return existsPerRow(user.select('users.id').limit(1));
    })
    .executeTakeFirstOrThrow();
  return { count: Math.min(count, COUNTED_MAX), isAtLeast: looked > COUNTED_MAX };
}

type Ids = SelectQueryBuilder<Schema, 'users', { id: string }>;

/** The newest users below `after`, sorted. */
function newest(...asked: Parameters<typeof newestIds>): SelectQueryBuilder<Schema, 'users', ShownUserRow> {
  const [db] = asked;
  return db
    .selectFrom('users')
    .select(SHOWN)
    .where('id', 'in', newestIds(...asked))
    .orderBy('id', 'desc');
}

/**
 * The ids of the newest users below `after`. Reads one range of an index for each state and role, up
 * to `limit` ids of each, and merges them, so that a rare state or role is not searched for among
 * the users of a common one.
 */
function newestIds(
  db: Db,
  { states, roles }: UserFilter,
  after: string | undefined,
  limit: number,
  narrow = (users: Ids): Ids => users,
): Ids {
  const range = (state: StoredState, role: Role | undefined) => {
    let users: Ids = db.selectFrom('users').select('id').where('state', '=', state);
    if (role !== undefined) users = users.where('role', '=', role);
    if (after !== undefined) users = users.where('id', '<', after);
    const ordered = narrow(users).orderBy('id', 'desc').limit(limit);
    return db.selectFrom(ordered.as('users')).select('id');
  };
  const asked = roles.length === 0 ? [undefined] : roles;
  const [first, ...others] = states.flatMap((state) => asked.map((role) => range(state, role)));
  if (first === undefined) throw new RangeError('a filter has at least one state');
  const merged = others.reduce((all, next) => all.unionAll(next), first);
  return db.selectFrom(merged.as('users')).select('id').orderBy('id', 'desc').limit(limit);
}

function matching(db: Db, query: string) {
  return db.selectFrom('user_terms').where('term', '>=', query).where('term', '<', endOfPrefix(query)).orderBy('term');
}

/** Up to `limit` users whose purge time has passed. */
export function selectPurgeable(db: Db, nowMs: number, limit: number): Promise<{ id: string }[]> {
  return db.selectFrom('users').select('id').where('purge_ms', '<=', nowMs).orderBy('purge_ms').limit(limit).execute();
}

/** Removes a user if the purge time has still passed, with everything that belongs to the user. */
export async function deletePurgeable(db: Db, id: string, nowMs: number): Promise<void> {
  await db.deleteFrom('users').where('id', '=', id).where('purge_ms', '<=', nowMs).execute();
}
