import { sql } from 'kysely';
import { endOfPrefix } from '../kernel/text.ts';
import type { Db } from '../storage/database.ts';
import { notIndexed } from '../storage/query-hints.ts';
import { MATCH } from './match.ts';

declare module '../storage/schema.ts' {
  interface Schema {
    distinct_contacts: DistinctContactsTable;
  }
}

/** Two contacts of an owner that are not the same person; `first_id` sorts before `second_id`. */
interface DistinctContactsTable {
  owner_id: string;
  first_id: string;
  second_id: string;
  create_ms: number;
}

/** The ids of two contacts, in their order. */
export type Pair = readonly [firstId: string, secondId: string];

/** How many terms of an owner one page of duplicates looks at. */
export const TERMS_EXAMINED_MAX = 5000;

/** Terms that several contacts share, in order, deleted ones included. */
export interface Groups {
  readonly groups: readonly { readonly term: string; readonly contacts: number }[];
  /** Where the next terms begin; undefined if there are no more. */
  readonly next: string | undefined;
}

/** The terms from `begin` on that several contacts of an owner share. Reads an index alone, and at most TERMS_EXAMINED_MAX of it. */
export async function selectGroups(db: Db, ownerId: string, begin: string): Promise<Groups> {
  const examined = db
    .selectFrom('contact_terms')
    .select('term')
    .where('owner_id', '=', ownerId)
    .where('term', '>=', begin)
    .where('term', '<', endOfPrefix(MATCH))
    .orderBy('term');
  const [last] = await examined
    .limit(1)
    .offset(TERMS_EXAMINED_MAX - 1)
    .execute();
  const groups = await db
    .selectFrom(examined.limit(TERMS_EXAMINED_MAX).as('examined'))
    .select(['term', ({ fn }) => fn.countAll<number>().as('contacts')])
    .groupBy('term')
    .having(({ fn }) => fn.countAll(), '>', sql.lit(1))
    .orderBy('term')
    .execute();
  if (last === undefined) return { groups, next: undefined };
  // The last term may go on behind those that were looked at, unless it is all that there is.
  const { term } = last;
  const whole = groups.filter((group) => group.term < term);
  const [first] = groups;
  return first?.term === term && first.contacts === TERMS_EXAMINED_MAX
    ? { groups, next: `${term}\u0001` }
    : { groups: whole, next: term };
}

/** How many contacts of a term are read at most, deleted ones included. */
export const MEMBERS_READ_MAX = 500;

/** The contacts of an owner, without deleted ones, that have one of these terms: their ids by terms, in order. */
export async function selectMembers(
  db: Db,
  ownerId: string,
  terms: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const read = db
    .selectFrom('contact_terms')
    .select(['term', 'contact_id'])
    .where('owner_id', '=', ownerId)
    .where('term', 'in', terms)
    .orderBy('term')
    .orderBy('contact_id')
    .limit(MEMBERS_READ_MAX);
  const rows = await db
    .selectFrom(read.as('read'))
    .innerJoin('contacts', 'contacts.id', 'read.contact_id')
    .where(notIndexed<number>('contacts.deleted'), '=', 0)
    .select(['read.term', 'read.contact_id'])
    .orderBy('read.term')
    .orderBy('read.contact_id')
    .execute();
  const members = new Map<string, string[]>();
  for (const { term, contact_id } of rows) {
    const ids = members.get(term);
    if (ids === undefined) members.set(term, [contact_id]);
    else ids.push(contact_id);
  }
  return members;
}

/** Which pairs of the contacts in these are marked as distinct: see keyOf. */
export async function selectDistinct(db: Db, ownerId: string, pairs: readonly Pair[]): Promise<ReadonlySet<string>> {
  if (pairs.length === 0) return new Set();
  const [firsts, seconds] = [new Set(pairs.map(([first]) => first)), new Set(pairs.map(([, second]) => second))];
  const rows = await db
    .selectFrom('distinct_contacts')
    .select(['first_id', 'second_id'])
    .where('owner_id', '=', ownerId)
    .where('first_id', 'in', [...firsts])
    .where('second_id', 'in', [...seconds])
    .execute();
  return new Set(rows.map(({ first_id, second_id }) => keyOf([first_id, second_id])));
}

export function keyOf(pair: Pair): string {
  return pair.join(' ');
}

/** Up to `limit` contacts that one of these is marked as distinct from. */
export async function selectDistinctFrom(
  db: Db,
  ownerId: string,
  ids: readonly string[],
  limit: number,
): Promise<string[]> {
  const marked = db.selectFrom('distinct_contacts').where(notIndexed<string>('owner_id'), '=', ownerId).limit(limit);
  const rows = [
    ...(await marked.where('first_id', 'in', ids).select('second_id as id').execute()),
    ...(await marked.where('second_id', 'in', ids).select('first_id as id').execute()),
  ];
  return [...new Set(rows.map(({ id }) => id))].slice(0, limit);
}

/** The pairs of an owner that are marked as distinct, in order. */
export async function selectDistinctPage(
  db: Db,
  ownerId: string,
  after: Pair | undefined,
  limit: number,
): Promise<Pair[]> {
  const all = db.selectFrom('distinct_contacts').select(['first_id', 'second_id']).where('owner_id', '=', ownerId);
  const following =
    after === undefined
      ? all
      : all.where(({ eb, refTuple, tuple }) => eb(refTuple('first_id', 'second_id'), '>', tuple(...after)));
  const rows = await following.orderBy('first_id').orderBy('second_id').limit(limit).execute();
  return rows.map(({ first_id, second_id }) => [first_id, second_id]);
}

/** How many pairs of an owner are marked as distinct, counted up to `max`. */
export async function countDistinct(db: Db, ownerId: string, max: number): Promise<number> {
  const some = db.selectFrom('distinct_contacts').select('first_id').where('owner_id', '=', ownerId).limit(max);
  const { count } = await db
    .selectFrom(some.as('some'))
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return count;
}

export async function insertDistinct(tx: Db, ownerId: string, pairs: readonly Pair[], nowMs: number): Promise<void> {
  if (pairs.length === 0) return;
  const rows = pairs.map(([first_id, second_id]) => ({ owner_id: ownerId, first_id, second_id, create_ms: nowMs }));
  await tx.insertInto('distinct_contacts').values(rows).execute();
}

export async function deleteDistinct(tx: Db, ownerId: string, pairs: readonly Pair[]): Promise<void> {
  for (const [first, second] of pairs) {
    await tx
      .deleteFrom('distinct_contacts')
      .where('owner_id', '=', ownerId)
      .where('first_id', '=', first)
      .where('second_id', '=', second)
      .execute();
  }
}

/** Removes up to `limit` pairs of an owner. Returns how many were removed. */
export async function deleteDistinctOf(tx: Db, ownerId: string, limit: number): Promise<number> {
  const pairs = await selectDistinctPage(tx, ownerId, undefined, limit);
  await deleteDistinct(tx, ownerId, pairs);
  return pairs.length;
}
