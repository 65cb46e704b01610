import type { DeleteQueryBuilder, DeleteResult, SelectQueryBuilder } from 'kysely';
import type { Db } from '../db/database.ts';
import type { ContactTable, Schema } from '../db/schema.ts';
import { readBounded } from '../pages.ts';
import { matchesAreFew } from '../search.ts';
import { endOfPrefix } from '../text.ts';

export type ContactRow = ContactTable;

/** Which of an owner's contacts a list holds. */
export interface ContactFilter {
  readonly deleted: boolean;
  readonly starred: boolean | undefined;
  /** Beginnings of search terms, any of which finds a contact; none for every contact. */
  readonly queries: readonly string[];
}

/** Where a page of contacts ends. */
export type ContactKey = [sortKey: string, id: string];

export function selectContact(db: Db, ownerId: string, id: string): Promise<ContactRow | undefined> {
  return db.selectFrom('contacts').selectAll().where('owner_id', '=', ownerId).where('id', '=', id).executeTakeFirst();
}

export async function insertContact(db: Db, row: ContactRow, terms: readonly string[]): Promise<void> {
  await db.insertInto('contacts').values(row).execute();
  await insertTerms(db, row, terms);
}

export async function updateContactRow(db: Db, row: ContactRow): Promise<void> {
  await db.updateTable('contacts').set(row).where('owner_id', '=', row.owner_id).where('id', '=', row.id).execute();
}

export async function replaceTerms(db: Db, row: ContactRow, terms: readonly string[]): Promise<void> {
  await db.deleteFrom('contact_terms').where('owner_id', '=', row.owner_id).where('contact_id', '=', row.id).execute();
  await insertTerms(db, row, terms);
}

async function insertTerms(db: Db, row: ContactRow, terms: readonly string[]): Promise<void> {
  if (terms.length === 0) return;
  const rows = terms.map((term) => ({ owner_id: row.owner_id, term, contact_id: row.id }));
  await db.insertInto('contact_terms').values(rows).execute();
}

/**
 * How many matches of queries are looked up one by one and sorted. Where there are
 * more, a walk through the owner's contacts by name comes upon a page of them soon,
 * and takes far less time for each: 250 are looked up in the time that it takes to walk by 5,000.
 */
export const SORTED_MAX = 250;

/** A page of an owner's contacts by name. `resumeAfter` is the key after which the next page begins. */
export async function selectContactPage(
  db: Db,
  ownerId: string,
  filter: ContactFilter,
  after: ContactKey | undefined,
  size: number,
): Promise<{ rows: readonly ContactRow[]; resumeAfter: ContactKey | undefined }> {
  const contacts = await filtered(db, ownerId, filter);
  const { rows, last } = await readBounded<ContactRow>(size, (row, limit) => {
    const from = row === undefined ? after : keyOf(row);
    let next = contacts.selectAll('contacts');
    if (from !== undefined) {
      next = next.where(({ eb, refTuple, tuple }) =>
        eb(refTuple('contacts.sort_key', 'contacts.id'), '>', tuple(...from)),
      );
    }
    return next.orderBy('contacts.sort_key').orderBy('contacts.id').limit(limit).execute();
  });
  return { rows, resumeAfter: last && keyOf(last) };
}

function keyOf({ sort_key, id }: ContactRow): ContactKey {
  return [sort_key, id];
}

/** How many of an owner's contacts the filter lets through. */
export async function countContactRows(db: Db, ownerId: string, filter: ContactFilter): Promise<number> {
  const contacts = await filtered(db, ownerId, filter);
  const { count } = await contacts.select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
  return count;
}

/** How many contacts an owner has, deleted ones included. */
export async function countAllContactRows(db: Db, ownerId: string): Promise<number> {
  const { count } = await db
    .selectFrom('contacts')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('owner_id', '=', ownerId)
    .executeTakeFirstOrThrow();
  return count;
}

type Contacts = SelectQueryBuilder<Schema, 'contacts', object>;

async function filtered(db: Db, ownerId: string, { deleted, starred, queries }: ContactFilter): Promise<Contacts> {
  const found = await foundBy(db, ownerId, queries);
  const contacts = found.where('contacts.owner_id', '=', ownerId).where('contacts.deleted', '=', deleted ? 1 : 0);
  return starred === undefined ? contacts : contacts.where('contacts.starred', '=', starred ? 1 : 0);
}

/**
 * The contacts that an owner's terms find, for a caller who asks for the owner's alone;
 * every contact without a query. Where the order of a cross join is kept, it has the
 * database begin with the matches: it would walk through the owner's contacts for few
 * of them too.
 */
async function foundBy(db: Db, ownerId: string, queries: readonly string[]): Promise<Contacts> {
  const contacts = db.selectFrom('contacts');
  const matches = matching(db, ownerId, queries);
  if (matches === undefined) return contacts;
  if (!(await matchesAreFew(db, matches, SORTED_MAX))) return contacts.where('contacts.id', 'in', matches);
  const found = db.selectFrom(matches.as('matches')).select('contact_id').distinct();
  return db.selectFrom(found.as('found')).crossJoin('contacts').whereRef('contacts.id', '=', 'found.contact_id');
}

/** The contacts of an owner that the queries match, one for each term that does; undefined without a query. */
function matching(db: Db, ownerId: string, queries: readonly string[]) {
  const [first, ...others] = queries.map((query) =>
    db
      .selectFrom('contact_terms')
      .select('contact_id')
      .where('owner_id', '=', ownerId)
      .where('term', '>=', query)
      .where('term', '<', endOfPrefix(query)),
  );
  return first && others.reduce((all, next) => all.unionAll(next), first);
}

/** Removes up to `limit` contacts whose time to be purged has come; how many there were. */
export function deletePurgeable(db: Db, nowMs: number, limit: number): Promise<number> {
  const due = db.selectFrom('contacts').select('id').where('purge_ms', '<=', nowMs).orderBy('purge_ms').limit(limit);
  // Asked again of the row itself: it may be undeleted between being found and being removed.
  return countDeleted(db.deleteFrom('contacts').where('id', 'in', due).where('purge_ms', '<=', nowMs));
}

/** Removes up to `limit` contacts of an owner; how many there were. */
export function deleteOfOwner(db: Db, ownerId: string, limit: number): Promise<number> {
  const some = db.selectFrom('contacts').select('id').where('owner_id', '=', ownerId).limit(limit);
  return countDeleted(db.deleteFrom('contacts').where('id', 'in', some));
}

async function countDeleted(rows: DeleteQueryBuilder<Schema, 'contacts', DeleteResult>): Promise<number> {
  const { numDeletedRows } = await rows.executeTakeFirst();
  return Number(numDeletedRows);
}
