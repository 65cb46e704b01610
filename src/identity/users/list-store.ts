import { type ExpressionBuilder, type SelectQueryBuilder, sql } from 'kysely';
import type { Role } from '../../kernel/access.ts';
import { endOfPrefix, queryWords } from '../../kernel/text.ts';
import type { Db } from '../../storage/database.ts';
import { COUNTED_MAX, type Count, readBounded, readKeys } from '../../storage/pages.ts';
import { preparedRows } from '../../storage/prepared.ts';
import { alwaysMerges, existsPerRow, notIndexed } from '../../storage/query-hints.ts';
import type { Schema } from '../../storage/schema.ts';
import { selectUsersBy, SHOWN, type ShownUserRow, type StoredState } from './store.ts';

/** Selects users. */
export interface UserFilter {
  /** At least one. */
  readonly states: readonly StoredState[];
  /** Empty for every role. */
  readonly roles: readonly Role[];
  /** Folded; '' for every user. */
  readonly query: string;
  /** As identifierKey; absent for every user. */
  readonly email?: string | undefined;
  readonly externalId?: string | undefined;
  /** Search terms that the user has, as they are. */
  readonly terms?: readonly string[];
  readonly created?: TimeRange | undefined;
  readonly signedIn?: TimeRange | undefined;
  /** Absent: newest first. */
  readonly order?: UserOrder;
}

/** From one time on and before another, milliseconds since 1970. */
export interface TimeRange {
  readonly startMs: number | undefined;
  readonly endMs: number | undefined;
}

export type UserOrder = 'newest' | 'oldest' | 'name' | 'last_sign_in';

/** The place of a user in a list: what the list is sorted by, then the id. */
export interface UserPlace {
  /** 0 before the first sign-in. */
  readonly value: string | number;
  readonly id: string;
}

/** A page of users, and the place after which the next one begins. */
export interface UserPage {
  readonly rows: readonly ShownUserRow[];
  readonly resumeAfter: UserPlace | undefined;
}

/** The most matches that are sorted, and the most users that are tested: bounds the cost of a page. */
const EXAMINED_MAX = 1000;

/**
 * A page of users. Its cost is bounded, whatever matches:
 * - By an email address or external id, there is one user at the most.
 * - If a query, or what is asked of metadata, matches few terms, their users are looked up and sorted.
 * - Else the users are read in their order, from an index for each state and role. What the index does not tell is
 *   tested for the next EXAMINED_MAX users, so that the page may be short, even empty, before the end.
 */
export async function selectUserPage(
  db: Db,
  filter: UserFilter,
  after: UserPlace | undefined,
  size: number,
): Promise<UserPage> {
  const found = await findFew(db, filter);
  if (found !== undefined) return readPlaces(db, await sortFound(db, filter, found, after, size + 1), size);
  const isTested = testsOf(filter).length > 0;
  // The end of what is tested is determined first: if each statement counted users anew, a user purged in between would
  // make it skip another one.
  const [end] = isTested
    ? await walk(db, withoutTests(filter), { after }, EXAMINED_MAX)
        .limit(1)
        .offset(EXAMINED_MAX - 1)
        .execute()
    : [];
  const { rows, last } = await readBounded<ListedUser>(size, (row, limit) => {
    const from = row === undefined ? after : placeIn(row);
    return isPlain(filter)
      ? nextUsers(db, filter, from, limit)
      : walkUsers(db, filter, { after: from, upTo: end }, limit).execute();
  });
  return { rows, resumeAfter: last === undefined ? end : placeIn(last) };
}

/** A user with the value of the place. */
type ListedUser = ShownUserRow & { readonly place: string | number };

function placeIn({ place, id }: ListedUser): UserPlace {
  return { value: place, id };
}

/** The same as `walk`, with the users at the places. */
function walkUsers(db: Db, filter: UserFilter, stretch: Stretch, limit: number) {
  const direction = orderOf(filter).isDescending ? 'desc' : 'asc';
  return db
    .selectFrom(walk(db, filter, stretch, limit).as('places'))
    .innerJoin('users', 'users.id', 'places.id')
    .select(SHOWN_OF_USERS)
    .select('places.value as place')
    .orderBy('places.value', direction)
    .orderBy('places.id', direction);
}

const SHOWN_OF_USERS = SHOWN.map(<C extends (typeof SHOWN)[number]>(column: C) => `users.${column}` as const);

/** A filter of which the values of a place are all that a query takes, besides what is in its text. */
type PlainFilter = Pick<UserFilter, 'states' | 'roles' | 'order'>;

/** Whether a list is of states and roles alone. Where those who never signed in follow depends on the place. */
function isPlain(filter: UserFilter): boolean {
  return testsOf(filter).length === 0 && filter.created === undefined && orderOf(filter).column !== 'last_sign_in_ms';
}

/** What most lists are: a plain list, the first page and the next ones. */
function nextUsers(
  db: Db,
  { states, roles, order }: PlainFilter,
  after: UserPlace | undefined,
  limit: number,
): Promise<ListedUser[]> {
  const shape = { states, roles, ...(order && { order }) };
  return after === undefined ? firstOfPlain(db, shape, limit) : nextOfPlain(db, shape, limit, after.value, after.id);
}

const firstOfPlain = preparedRows((db, shape: PlainFilter, limit: number) => plainUsers(db, shape, {}, limit));

const nextOfPlain = preparedRows((db, shape: PlainFilter, limit: number, value: string | number, id: string) =>
  plainUsers(db, shape, { after: { value, id } }, limit),
);

function plainUsers(db: Db, shape: PlainFilter, stretch: Stretch, limit: number) {
  const filter = { ...shape, query: '' };
  return alwaysMerges(db) ? mergeUsers(db, filter, stretch, limit) : walkUsers(db, filter, stretch, limit);
}

/** The same as `walkUsers` for a plain list, in half the time: no range is sorted, and no user looked up by the id. */
function mergeUsers(db: Db, filter: UserFilter, stretch: Stretch, limit: number) {
  const order = orderOf(filter);
  const direction = order.isDescending ? 'desc' : 'asc';
  const roles = filter.roles.length === 0 ? [undefined] : filter.roles;
  const place = sql<string | number>`${sql.ref(order.column)}`.as('place');
  const [first, ...others] = filter.states.flatMap((state) =>
    roles.map((role) => within(ofStateAndRole(db, { state, role }), order, stretch).select([...SHOWN, place])),
  );
  if (first === undefined) throw new RangeError('a filter has at least one state');
  return others
    .reduce((all, next) => all.unionAll(next), first)
    .orderBy('place', direction)
    .orderBy('id', direction)
    .limit(limit);
}

/** Reads the users at these places, of which there is one more than a page holds if another follows. */
async function readPlaces(db: Db, places: readonly UserPlace[], size: number): Promise<UserPage> {
  const { rows, last } = await readKeys(size, places, async (some) => {
    const ids = some.map(({ id }) => id);
    const byId = new Map((await selectUsersBy(db, 'id', ids)).map((row) => [row.id, row]));
    return ids.map((id) => byId.get(id));
  });
  return { rows, resumeAfter: last };
}

/**
 * Counts the users that match a filter. Examines at most COUNTED_MAX users or, with a query or metadata, the users of
 * at most as many matching terms.
 */
export async function countUsers(db: Db, filter: UserFilter): Promise<Count> {
  const { email, externalId } = filter;
  const [search] = searchesOf(filter);
  if (email !== undefined || externalId !== undefined) {
    const found = await findFew(db, filter);
    return { count: (await sortFound(db, filter, found ?? [], undefined, 1)).length, isAtLeast: false };
  }
  const candidates =
    search === undefined
      ? db.selectFrom(walk(db, withoutTests(filter), {}, COUNTED_MAX + 1).as('users')).select('id')
      : db
          .selectFrom(
            matching(db, search)
              .limit(COUNTED_MAX + 1)
              .select('user_id as id')
              .as('users'),
          )
          .select('id');
  const { looked } = await db
    .selectFrom(candidates.as('candidates'))
    .select(({ fn }) => fn.countAll<number>().as('looked'))
    .executeTakeFirstOrThrow();
  const isAtLeast = looked > COUNTED_MAX;
  if (search === undefined && testsOf(filter).length === 0) {
    return { count: Math.min(looked, COUNTED_MAX), isAtLeast };
  }
  const { count } = await db
    .selectFrom(db.selectFrom(candidates.as('candidates')).select('id').distinct().as('matches'))
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where((eb) => {
      const user = eb.selectFrom('users').whereRef('users.id', '=', 'matches.id');
      return existsPerRow(
        tested(user as unknown as Users, filter)
          .select('users.id')
          .limit(1),
      );
    })
    .executeTakeFirstOrThrow();
  return { count: Math.min(count, COUNTED_MAX), isAtLeast };
}

type Users = SelectQueryBuilder<Schema, 'users', object>;
type Test = (eb: ExpressionBuilder<Schema, 'users'>) => ReturnType<typeof existsPerRow>;

/** Search terms: those that begin with a text, or one of them. */
type Search = { readonly begin: string } | { readonly term: string };

function searchesOf({ query, terms = [] }: UserFilter): Search[] {
  return [...queryWords(query).map((begin) => ({ begin })), ...terms.map((term) => ({ term }))];
}

function matching(db: Db, search: Search) {
  const terms = db.selectFrom('user_terms').orderBy('term');
  if ('term' in search) return terms.where('term', '=', search.term);
  return terms.where('term', '>=', search.begin).where('term', '<', endOfPrefix(search.begin));
}

/** The ids of users that are found by what is unique, or by a search of few matches; undefined if there is none. */
async function findFew(db: Db, filter: UserFilter): Promise<string[] | undefined> {
  const { email, externalId } = filter;
  const users = db.selectFrom('users').select('id');
  if (email !== undefined) return idsOf(await users.where('email_key', '=', email).execute());
  if (externalId !== undefined) return idsOf(await users.where('external_id', '=', externalId).execute());
  for (const search of searchesOf(filter)) {
    const terms = await matching(db, search)
      .limit(EXAMINED_MAX + 1)
      .select('user_id as id')
      .execute();
    if (terms.length <= EXAMINED_MAX) return idsOf(terms);
  }
  return undefined;
}

function idsOf(rows: readonly { readonly id: string }[]): string[] {
  return [...new Set(rows.map(({ id }) => id))];
}

/** The places after one of those users who match a filter. */
async function sortFound(
  db: Db,
  filter: UserFilter,
  ids: readonly string[],
  after: UserPlace | undefined,
  limit: number,
): Promise<UserPlace[]> {
  if (ids.length === 0) return [];
  const { column, isDescending } = orderOf(filter);
  const users = db.selectFrom('users').where('users.id', 'in', ids);
  const rows = await tested(users, filter)
    .select(['users.id as id', `users.${column} as value`])
    .execute();
  const places = rows.map(({ id, value }): UserPlace => ({ id, value: value ?? 0 }));
  return places
    .filter((place) => after === undefined || follows(place, after, isDescending))
    .toSorted((a, b) => (follows(a, b, isDescending) ? 1 : -1))
    .slice(0, limit);
}

/** Users who match all of a filter. No index is used for it: the users are those of some ids. */
function tested(users: Users, filter: UserFilter): Users {
  const { states, roles, email, externalId, created, signedIn } = filter;
  let left = users.where(notIndexed<StoredState>('users.state'), 'in', states);
  if (roles.length > 0) left = left.where(notIndexed<Role>('users.role'), 'in', roles);
  if (email !== undefined) left = left.where(notIndexed<string>('users.email_key'), '=', email);
  if (externalId !== undefined) left = left.where(notIndexed<string>('users.external_id'), '=', externalId);
  for (const search of searchesOf(filter)) left = left.where(hasTerm(search));
  if (created !== undefined) left = left.where(isWithin('create_ms', created));
  if (signedIn !== undefined) left = left.where(isWithin('last_sign_in_ms', signedIn));
  return left;
}

/** What a filter asks that the index of its order does not tell. */
function testsOf(filter: UserFilter): Test[] {
  const { created, signedIn } = filter;
  const { column } = orderOf(filter);
  return [
    ...searchesOf(filter).map(hasTerm),
    ...(created !== undefined && column !== 'create_ms' ? [isWithin('create_ms', created)] : []),
    ...(signedIn !== undefined && column !== 'last_sign_in_ms' ? [isWithin('last_sign_in_ms', signedIn)] : []),
  ];
}

function withoutTests(filter: UserFilter): UserFilter {
  const { column } = orderOf(filter);
  const { states, roles, order, created, signedIn } = filter;
  return {
    states,
    roles,
    query: '',
    ...(order && { order }),
    created: column === 'create_ms' ? created : undefined,
    signedIn: column === 'last_sign_in_ms' ? signedIn : undefined,
  };
}

function hasTerm(search: Search): Test {
  return (eb) => {
    const terms = eb.selectFrom('user_terms').whereRef('user_terms.user_id', '=', 'users.id');
    const found =
      'term' in search
        ? terms.where('term', '=', search.term)
        : terms.where('term', '>=', search.begin).where('term', '<', endOfPrefix(search.begin));
    return existsPerRow(found.select('user_id').limit(1));
  };
}

function isWithin(column: 'create_ms' | 'last_sign_in_ms', { startMs, endMs }: TimeRange): Test {
  const time = notIndexed<number>(`users.${column}`);
  return (eb) =>
    eb.and([
      eb(time, 'is not', null),
      ...(startMs === undefined ? [] : [eb(time, '>=', startMs)]),
      ...(endMs === undefined ? [] : [eb(time, '<', endMs)]),
    ]);
}

interface Order {
  readonly column: 'create_ms' | 'name_key' | 'last_sign_in_ms';
  readonly isDescending: boolean;
}

const ORDERS: Readonly<Record<UserOrder, Order>> = {
  newest: { column: 'create_ms', isDescending: true },
  oldest: { column: 'create_ms', isDescending: false },
  name: { column: 'name_key', isDescending: false },
  last_sign_in: { column: 'last_sign_in_ms', isDescending: true },
};

function orderOf({ order = 'newest' }: UserFilter): Order {
  return ORDERS[order];
}

/** Whether a place comes after another one. Texts are compared byte by byte, as the databases do. */
function follows(place: UserPlace, other: UserPlace, isDescending: boolean): boolean {
  const order = compare(place.value, other.value) || compare(place.id, other.id);
  return isDescending ? order < 0 : order > 0;
}

function compare(a: string | number, b: string | number): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return Number(a) - Number(b);
}

/** Beyond one place, and up to another one, which is included. */
interface Stretch {
  readonly after?: UserPlace | undefined;
  readonly upTo?: UserPlace | undefined;
}

/**
 * The places of the next users who match a filter, in order. Reads one range of an index for each state and role, up
 * to `limit` users of each, and merges them, so that a rare state or role is not searched for among the users of a
 * common one.
 */
function walk(db: Db, filter: UserFilter, stretch: Stretch, limit: number) {
  const order = orderOf(filter);
  const direction = order.isDescending ? 'desc' : 'asc';
  const roles = filter.roles.length === 0 ? [undefined] : filter.roles;
  const ranges = filter.states.flatMap((state) =>
    roles.flatMap((role) => rangesOf(db, filter, { state, role }, withinTimes(filter, stretch))),
  );
  const [first, ...others] = ranges.map((range) =>
    db.selectFrom(range.limit(limit).as('users')).select(['id', 'value']),
  );
  if (first === undefined) throw new RangeError('a filter has at least one state');
  const merged = others.reduce((all, next) => all.unionAll(next), first);
  return db
    .selectFrom(merged.as('users'))
    .select(['id', 'value'])
    .orderBy('value', direction)
    .orderBy('id', direction)
    .limit(limit);
}

/**
 * A stretch that is within the time that the filter asks for, if the list is sorted by that. As one bound at each end:
 * of two, one database enters the index by the wrong one. No id comes before ''.
 */
function withinTimes(filter: UserFilter, { after, upTo }: Stretch): Stretch {
  const { column, isDescending } = orderOf(filter);
  const times = column === 'create_ms' ? filter.created : column === 'last_sign_in_ms' ? filter.signedIn : undefined;
  const placeOf = (value: number | undefined) => (value === undefined ? undefined : { value, id: '' });
  const [begin, end] = [times?.startMs, times?.endMs].map(placeOf);
  const [from, to] = isDescending ? [end, begin] : [begin, end];
  return {
    after: after === undefined || (from !== undefined && follows(from, after, isDescending)) ? from : after,
    upTo: upTo === undefined || (to !== undefined && follows(upTo, to, isDescending)) ? to : upTo,
  };
}

/** What an index has together. */
interface RangeKey {
  readonly state: StoredState;
  /** Undefined for every role. */
  readonly role: Role | undefined;
}

function ofStateAndRole(db: Db, { state, role }: RangeKey): Users {
  const users: Users = db.selectFrom('users').where('state', '=', state);
  return role === undefined ? users : users.where('role', '=', role);
}

/** Those of some users whose places are in a stretch. */
function within(users: Users, order: Order, { after, upTo }: Stretch): Users {
  const [beyond, until] = relationsOf(order);
  let left = users;
  for (const [place, relation] of [
    [after, beyond],
    [upTo, until],
  ] as const) {
    if (place === undefined) continue;
    const { value, id } = place;
    left = left.where(({ eb, refTuple, tuple }) => eb(refTuple(order.column, 'id'), relation, tuple(value, id)));
  }
  return left;
}

/** How what is beyond a place relates to it, and what is up to it. */
function relationsOf({ isDescending }: Order) {
  return isDescending ? (['<', '>='] as const) : (['>', '<='] as const);
}

/**
 * The users of a state, and of a role, in a stretch, each range sorted. Those who never signed in are a range of their
 * own, the last one.
 */
function rangesOf(db: Db, filter: UserFilter, { state, role }: RangeKey, { after, upTo }: Stretch) {
  const order = orderOf(filter);
  const { column, isDescending } = order;
  const direction = isDescending ? 'desc' : 'asc';
  let users = ofStateAndRole(db, { state, role });
  for (const test of testsOf(filter)) users = users.where(test);
  const sorted = within(users, order, { after, upTo }).orderBy(column, direction).orderBy('id', direction);
  if (column !== 'last_sign_in_ms') return [sorted.select(['id', `${column} as value`])];

  const signedIn = sorted.where(column, 'is not', null).select(['id', sql<number>`last_sign_in_ms`.as('value')]);
  const isBeforeThem = upTo !== undefined && upTo.value !== 0;
  if (filter.signedIn !== undefined || isBeforeThem) return [signedIn];
  let never = users.where(column, 'is', null).orderBy('id', direction);
  const [beyond, until] = relationsOf(order);
  if (after?.value === 0) never = never.where('id', beyond, after.id);
  if (upTo !== undefined) never = never.where('id', until, upTo.id);
  return [signedIn, never.select(['id', sql<number>`0`.as('value')])];
}
