import { type ExpressionBuilder, type SelectQueryBuilder, sql } from 'kysely';
import type { Db } from '../storage/database.ts';
import { prepared, preparedInsertion, preparedPost } from '../storage/prepared.ts';
import { textRows } from '../storage/text-rows.ts';
import { existsPerRow, notIndexed } from '../storage/query-hints.ts';
import type { Schema } from '../storage/schema.ts';
import { COUNTED_MAX, type Count, readBounded, readKeys } from '../storage/pages.ts';
import { endOfPrefix } from '../kernel/text.ts';
import { CONTACT_SEARCH_VERSION, isInRange, type TermRange } from './terms.ts';

/** In place of 1 for deleted: the contact was merged into another one. */
export const MERGED = 2 as const; // of this type also in rows that are spread

declare module '../storage/schema.ts' {
  interface Schema {
    contacts: ContactRow;
    contact_terms: ContactTermTable;
    user_usage: UserUsageTable;
  }
}

export interface ContactRow {
  id: string;
  owner_id: string;
  /** The folded name that lists are sorted by. */
  sort_key: string;
  /** CONTACT_SEARCH_VERSION of what wrote the terms and the sort key; less while an older version's. */
  search_version: number;
  given_name: string;
  family_name: string;
  company: string;
  job_title: string;
  emails: string;
  phones: string;
  addresses: string;
  urls: string;
  /** Of YYYY-MM-DD what is known, with - for a year that is not: YYYY, YYYY-MM, --MM or --MM-DD as well. */
  birthday: string | null;
  notes: string;
  /** JSON of the fields that have no column of their own and are set; '' if none is. */
  details: string;
  /** '' for none. Not unique. */
  uid: string;
  /** Lines of what a file had and no field holds. */
  properties: string;
  /** Ids of labels, separated by blanks. */
  label_ids: string;
  /** '' for none. */
  photo_id: string;
  starred: 0 | 1;
  deleted: 0 | 1 | typeof MERGED;
  create_ms: number;
  update_ms: number;
  delete_ms: number | null;
  purge_ms: number | null;
  revision: number;
  /** The merge by which it became part of another contact; '' for none. */
  merge_id: string;
  /** What it takes with its search terms: see bytesOf. 0 while an older version's: terms and usage are not up to date. */
  bytes: number;
}

/** What finds a contact of an owner: see contactTerms. */
interface ContactTermTable {
  owner_id: string;
  term: string;
  contact_id: string;
}

/** What a user's contacts take together: those whose `bytes` are not 0. */
interface UserUsageTable {
  user_id: string;
  contacts: number;
  live_contacts: number;
  contact_bytes: number;
  /** What earlier versions of contacts take. */
  version_bytes: number;
}

/** Selects contacts of an owner. */
export interface ContactFilter {
  /** Those that are deleted, those that are not, or those that were merged into others. */
  readonly deleted: boolean | 'merged';
  readonly starred: boolean | undefined;
  /** For each word that is looked for, ranges of search terms: see contactQueries. None for every contact. */
  readonly queries: readonly (readonly TermRange[])[];
  /** Ranges of which a contact has no term. Default: none. */
  readonly without?: readonly TermRange[];
}

/** The sort key and id of the last contact of a page. */
export type ContactKey = [sortKey: string, id: string];

export const selectContact = prepared((db, ownerId: string, id: string) =>
  db.selectFrom('contacts').selectAll().where('owner_id', '=', ownerId).where('id', '=', id),
);

/** The contacts of an owner with these ids, whatever has become of them, by their ids. */
export async function selectContacts(
  db: Db,
  ownerId: string,
  ids: readonly string[],
): Promise<Map<string, ContactRow>> {
  if (ids.length === 0) return new Map();
  const rows = await db
    .selectFrom('contacts')
    .selectAll()
    .where('id', 'in', ids)
    .where(notIndexed<string>('owner_id'), '=', ownerId)
    .execute();
  return new Map(rows.map((row) => [row.id, row]));
}

/** The contacts of an owner that have one of these uids, whatever has become of them; the oldest first. */
export function selectContactsByUid(db: Db, ownerId: string, uids: readonly string[]): Promise<ContactRow[]> {
  return (
    db
      .selectFrom('contacts')
      .selectAll()
      .where('owner_id', '=', ownerId)
      .where('uid', 'in', uids)
      // The index of uids has those alone.
      .where('uid', '<>', sql<string>`''`)
      .orderBy('id')
      .execute()
  );
}

/** The locale of a user; '' for none. */
export async function selectLocale(db: Db, userId: string): Promise<string> {
  const row = await db.selectFrom('users').select('locale').where('id', '=', userId).executeTakeFirst();
  return row?.locale ?? '';
}

export async function insertContact(tx: Db, row: ContactRow, terms: readonly string[]): Promise<void> {
  await postContact(tx, row);
  await postTerms(tx, termsOf(row, terms));
}

const postContact = preparedPost<ContactRow>((tx, row) => tx.insertInto('contacts').values(row));

export const updateContactRow = preparedPost<ContactRow>((tx, row) =>
  tx.updateTable('contacts').set(row).where('owner_id', '=', row.owner_id).where('id', '=', row.id),
);

/** Gives a contact these terms. Writes those alone that are not the same. */
export async function replaceTerms(tx: Db, row: ContactOf, terms: readonly string[]): Promise<void> {
  const replaced = termsOf(row, terms);
  await deleteOtherTerms(tx, replaced);
  await postTerms(tx, replaced);
}

/** Which contact, and whose. */
type ContactOf = Pick<ContactRow, 'id' | 'owner_id'>;

/** Terms of a contact as a list in JSON: how many there are makes no other statement. */
interface Terms {
  readonly ownerId: string;
  readonly contactId: string;
  readonly terms: string;
}

function termsOf(row: ContactOf, terms: readonly string[]): Terms {
  return { ownerId: row.owner_id, contactId: row.id, terms: JSON.stringify(terms) };
}

const deleteOtherTerms = preparedPost<Terms>((tx, { ownerId, contactId, terms }) =>
  tx
    .deleteFrom('contact_terms')
    .where(notIndexed<string>('owner_id'), '=', ownerId)
    .where('contact_id', '=', contactId)
    .where('term', 'not in', tx.selectFrom(textRows(tx, terms).as('each')).select('each.value')),
);

const postTerms = preparedPost<Terms>((tx, { ownerId, contactId, terms }) =>
  tx
    .insertInto('contact_terms')
    .columns(['owner_id', 'term', 'contact_id'])
    .expression(
      (eb) =>
        eb
          .selectFrom(textRows(tx, terms).as('each'))
          .select([eb.val(ownerId).as('owner_id'), 'each.value as term', eb.val(contactId).as('contact_id')])
          .where(sql<boolean>`true`), // without which "on conflict" would be taken for a join where both are allowed
    )
    .onConflict((conflict) => conflict.doNothing()),
);

/** The most terms that a query may match for its contacts to be sorted; beyond it, the contacts are read in order and tested. */
export const SORTED_MAX = 250;

/** The most contacts that one page tests for a match. */
export const EXAMINED_MAX = 500;

/** A page of an owner's contacts by name. `resumeAfter` is the key after which the next page begins. */
export interface ContactPage {
  readonly rows: readonly ContactRow[];
  readonly resumeAfter: ContactKey | undefined;
}

/**
 * The cost of a page is bounded, whatever matches. A query reads at most SORTED_MAX + 1 terms, then
 * either looks up the contacts of these terms or tests EXAMINED_MAX contacts in the order of their
 * names. A page before the end may be short, even empty.
 */
export async function selectContactPage(
  db: Db,
  ownerId: string,
  filter: ContactFilter,
  after: ContactKey | undefined,
  size: number,
): Promise<ContactPage> {
  const { queries, without = [] } = filter;
  if (queries.length + without.length === 0) return pageByName(db, ownerId, filter, after, size);
  const found = await findFew(db, ownerId, queries);
  const end = found === undefined ? await endOfWalk(db, ownerId, filter, after) : undefined;
  let keys: ContactKey[] = [];
  if (found === undefined) {
    const candidates = byName(filtered(db, ownerId, filter), after, size + 1);
    const walked = end === undefined ? candidates : candidates.where((eb) => isUpTo(eb, end));
    keys = await keysOf(walked.where((eb) => isFound(eb, queries, without)));
  } else if (found.ids.length > 0) {
    const candidates = byName(among(db, ownerId, filter, found.ids), after, size + 1);
    keys = await keysOf(candidates.where((eb) => isFound(eb, found.others, without)));
  }
  const { rows, last } = await readKeys(size, keys, async (some) => {
    const ids = some.map(([, id]) => id);
    const read = await among(db, ownerId, filter, ids).selectAll('contacts').execute();
    const byId = new Map(read.map((row) => [row.id, row]));
    return ids.map((id) => byId.get(id));
  });
  return { rows, resumeAfter: last ?? end };
}

async function pageByName(
  db: Db,
  ownerId: string,
  filter: ContactFilter,
  after: ContactKey | undefined,
  size: number,
): Promise<ContactPage> {
  const { rows, last } = await readBounded<ContactRow>(size, (row, limit) =>
    byName(filtered(db, ownerId, filter), row === undefined ? after : keyOf(row), limit)
      .selectAll('contacts')
      .execute(),
  );
  return { rows, resumeAfter: last && keyOf(last) };
}

function keyOf({ sort_key, id }: Pick<ContactRow, 'sort_key' | 'id'>): ContactKey {
  return [sort_key, id];
}

async function keysOf(contacts: Contacts): Promise<ContactKey[]> {
  return (await contacts.select(['contacts.sort_key', 'contacts.id']).execute()).map(keyOf);
}

/** Counts the contacts of an owner that match a filter. Examines at most COUNTED_MAX. */
export async function countContactRows(db: Db, ownerId: string, filter: ContactFilter): Promise<Count> {
  const { queries, without = [] } = filter;
  const found = queries.length === 0 ? undefined : await findFew(db, ownerId, queries);
  if (found?.ids.length === 0) return { count: 0, isAtLeast: false };
  const contacts =
    found === undefined
      ? byName(filtered(db, ownerId, filter), undefined, COUNTED_MAX + 1)
      : among(db, ownerId, filter, found.ids);
  const tests = found === undefined ? queries : found.others;
  const { looked, count } = await db
    .selectFrom(contacts.select('contacts.id').as('contacts'))
    .select((eb) => [
      eb.fn.countAll<number>().as('looked'),
      tests.length + without.length > 0
        ? eb.fn
            .count<number>(
              eb
                .case()
                .when(isFound(eb, tests, without))
                .then(1)
                .end(),
            )
            .as('count')
        : eb.fn.countAll<number>().as('count'),
    ])
    .executeTakeFirstOrThrow();
  return { count: Math.min(count, COUNTED_MAX), isAtLeast: looked > COUNTED_MAX };
}

type Contacts = SelectQueryBuilder<Schema, 'contacts', object>;

function stateOf({ deleted }: ContactFilter): ContactRow['deleted'] {
  if (deleted === 'merged') return MERGED;
  return deleted ? 1 : 0;
}

function filtered(db: Db, ownerId: string, filter: ContactFilter): Contacts {
  const { starred } = filter;
  const contacts = db
    .selectFrom('contacts')
    .where('contacts.owner_id', '=', ownerId)
    .where('contacts.deleted', '=', stateOf(filter));
  return starred === undefined ? contacts : contacts.where('contacts.starred', '=', starred ? 1 : 0);
}

/** The contacts with these ids that match a filter, apart from its queries. */
function among(db: Db, ownerId: string, filter: ContactFilter, ids: readonly string[]): Contacts {
  const { starred } = filter;
  const contacts = db
    .selectFrom('contacts')
    .where('contacts.id', 'in', ids)
    .where(notIndexed<string>('contacts.owner_id'), '=', ownerId)
    .where(notIndexed<number>('contacts.deleted'), '=', stateOf(filter));
  return starred === undefined
    ? contacts
    : contacts.where(notIndexed<number>('contacts.starred'), '=', starred ? 1 : 0);
}

/** The contacts of an owner with these ids that are not deleted, by their ids. */
export async function selectLive(db: Db, ownerId: string, ids: readonly string[]): Promise<Map<string, ContactRow>> {
  if (ids.length === 0) return new Map();
  const rows = await among(db, ownerId, { deleted: false, starred: undefined, queries: [] }, ids)
    .selectAll('contacts')
    .execute();
  return new Map(rows.map((row) => [row.id, row]));
}

function byName(contacts: Contacts, after: ContactKey | undefined, limit: number): Contacts {
  const following =
    after === undefined
      ? contacts
      : contacts.where(({ eb, refTuple, tuple }) =>
          eb(refTuple('contacts.sort_key', 'contacts.id'), '>', tuple(...after)),
        );
  return following.orderBy('contacts.sort_key').orderBy('contacts.id').limit(limit);
}

/**
 * The key at which a page of tested contacts from `after` on ends; undefined at the end of the list.
 * It is determined first: if each statement counted contacts anew, a contact deleted in between
 * would make it skip another one.
 */
async function endOfWalk(
  db: Db,
  ownerId: string,
  filter: ContactFilter,
  after: ContactKey | undefined,
): Promise<ContactKey | undefined> {
  const [last] = await keysOf(byName(filtered(db, ownerId, filter), after, 1).offset(EXAMINED_MAX - 1));
  return last;
}

type Expressions = ExpressionBuilder<Schema, 'contacts'>;

function isUpTo({ eb, refTuple, tuple }: Expressions, key: ContactKey) {
  return eb(refTuple('contacts.sort_key', 'contacts.id'), '<=', tuple(...key));
}

/**
 * Whether a contact has, for each query, a term in one of its ranges, and no term in the ranges `without`. Does not filter by owner, which would scan all of
 * the owner's terms.
 */
function isFound(eb: Expressions, queries: readonly (readonly TermRange[])[], without: readonly TermRange[]) {
  const hasTerm = (range: TermRange) =>
    existsPerRow(
      eb
        .selectFrom('contact_terms')
        .whereRef('contact_id', '=', 'contacts.id')
        .where((terms) => isOfRange(terms, range))
        .select('contact_id')
        .limit(1),
    );
  return eb.and([
    ...queries.map((ranges) => eb.or(ranges.map(hasTerm))),
    ...without.map((range) => eb.not(hasTerm(range))),
  ]);
}

function isOfRange(eb: ExpressionBuilder<Schema, 'contact_terms'>, { begin, like }: TermRange) {
  const isInside = [eb('term', '>=', begin), eb('term', '<', endOfPrefix(begin))];
  return eb.and(like === undefined ? isInside : [...isInside, eb('term', 'like', like)]);
}

/** Contacts that one of several queries finds, and the queries that they are still to be tested for. */
interface Found {
  readonly ids: readonly string[];
  readonly others: readonly (readonly TermRange[])[];
}

/** The contacts of an owner that the first of the queries finds which matches at most SORTED_MAX terms; undefined if none does. */
async function findFew(
  db: Db,
  ownerId: string,
  queries: readonly (readonly TermRange[])[],
): Promise<Found | undefined> {
  for (const query of queries) {
    const ids = await findByQuery(db, ownerId, query);
    if (ids !== undefined) return { ids, others: queries.filter((other) => other !== query) };
  }
  return undefined;
}

/** The ids of an owner's contacts that have a term in one of the ranges; undefined if those have more than SORTED_MAX terms. */
async function findByQuery(db: Db, ownerId: string, ranges: readonly TermRange[]): Promise<string[] | undefined> {
  const [first, ...others] = ranges.map(({ begin }) => {
    const range = db
      .selectFrom('contact_terms')
      .select(['contact_id', 'term'])
      .where('owner_id', '=', ownerId)
      .where((eb) => isOfRange(eb, { begin }))
      .orderBy('term')
      .limit(SORTED_MAX + 1);
    return db.selectFrom(range.as('terms')).selectAll();
  });
  if (first === undefined) return undefined;
  const matches = others.reduce((all, next) => all.unionAll(next), first);
  const terms = await db
    .selectFrom(matches.as('terms'))
    .selectAll()
    .limit(SORTED_MAX + 1)
    .execute();
  if (terms.length > SORTED_MAX) return undefined;
  const found = terms.filter(({ term }) => ranges.some((range) => isInRange(term, range)));
  return [...new Set(found.map(({ contact_id }) => contact_id))];
}

/** What a user's contacts take. */
export interface ContactUsage {
  /** All contacts, and those that are not deleted. */
  readonly contacts: number;
  readonly liveContacts: number;
  readonly bytes: number;
  /** What earlier versions of them take. Default: nothing. */
  readonly versionBytes?: number;
}

/**
 * The usage of a user's contacts. Contacts that an older version wrote and that are not counted yet
 * count as contacts, but not as bytes.
 */
export async function selectUsage(db: Db, ownerId: string): Promise<ContactUsage> {
  const usage = (await selectUsageRow(db, ownerId))!;
  return {
    contacts: (usage.contacts ?? 0) + (usage.others ?? 0),
    liveContacts: (usage.live ?? 0) + (usage.liveOthers ?? 0),
    bytes: usage.bytes ?? 0,
    versionBytes: usage.versionBytes ?? 0,
  };
}

const selectUsageRow = prepared((db, ownerId: string) => {
  const counted = db.selectFrom('user_usage').where('user_id', '=', ownerId);
  const others = uncounted(db)
    .where('owner_id', '=', ownerId)
    .select(({ fn }) => fn.countAll<number>().as('count'));
  return db.selectNoFrom([
    counted.select('contacts').as('contacts'),
    counted.select('live_contacts').as('live'),
    counted.select('contact_bytes').as('bytes'),
    counted.select('version_bytes').as('versionBytes'),
    others.as('others'),
    others.where('deleted', '=', 0).as('liveOthers'),
  ]);
});

/** What one contact adds to the usage; nothing while an older version's. */
export function usageOf({ deleted, bytes }: Pick<ContactRow, 'deleted' | 'bytes'>): ContactUsage {
  return bytes === 0
    ? { contacts: 0, liveContacts: 0, bytes: 0 }
    : { contacts: 1, liveContacts: deleted === 0 ? 1 : 0, bytes };
}

/** Adds to the usage of a user's contacts, in the transaction of the change. */
export async function addUsage(tx: Db, ownerId: string, usage: ContactUsage): Promise<void> {
  if (!isNothing(usage)) await postUsage(tx, usageRow(ownerId, usage));
}

/** As addUsage. Returns what earlier versions take then; 0 if nothing is added. */
export async function addVersionUsage(tx: Db, ownerId: string, usage: ContactUsage): Promise<number> {
  if (isNothing(usage)) return 0;
  const [row] = await insertUsage(tx, [usageRow(ownerId, usage)]);
  return row!.version_bytes;
}

function isNothing({ contacts, liveContacts, bytes, versionBytes = 0 }: ContactUsage): boolean {
  return contacts === 0 && liveContacts === 0 && bytes === 0 && versionBytes === 0;
}

type UsageRow = Schema['user_usage'];

function usageRow(ownerId: string, { contacts, liveContacts, bytes, versionBytes = 0 }: ContactUsage): UsageRow {
  return {
    user_id: ownerId,
    contacts,
    live_contacts: liveContacts,
    contact_bytes: bytes,
    version_bytes: versionBytes,
  };
}

const postUsage = preparedPost<UsageRow>(addition);

const insertUsage = preparedInsertion((tx, [row]: readonly UsageRow[]) =>
  addition(tx, row!).returning('version_bytes'),
);

function addition(tx: Db, row: UsageRow) {
  return tx
    .insertInto('user_usage')
    .values(row)
    .onConflict((conflict) =>
      conflict.column('user_id').doUpdateSet((eb) => ({
        contacts: eb('user_usage.contacts', '+', eb.ref('excluded.contacts')),
        live_contacts: eb('user_usage.live_contacts', '+', eb.ref('excluded.live_contacts')),
        contact_bytes: eb('user_usage.contact_bytes', '+', eb.ref('excluded.contact_bytes')),
        version_bytes: eb('user_usage.version_bytes', '+', eb.ref('excluded.version_bytes')),
      })),
    );
}

/** Contacts that an older version wrote: their terms and usage are not up to date. */
function uncounted(db: Db) {
  // A literal, without which the databases do not use the partial index of these contacts.
  return db.selectFrom('contacts').where('bytes', '=', sql.lit(0));
}

/** Up to `limit` contacts that an older version wrote, whose terms, sort key or usage are not up to date. */
export function selectOutdated(db: Db, limit: number): Promise<ContactRow[]> {
  // A literal, as above.
  const outdated = db.selectFrom('contacts').where('search_version', '<', sql.lit(CONTACT_SEARCH_VERSION));
  return outdated.selectAll().limit(limit).execute();
}

/** Up to `limit` contacts of an owner that have a term. */
export function selectLabelled(db: Db, ownerId: string, term: string, limit: number): Promise<ContactRow[]> {
  const ids = db
    .selectFrom('contact_terms')
    .select('contact_id')
    .where('owner_id', '=', ownerId)
    .where('term', '=', term)
    .limit(limit);
  return db.selectFrom('contacts').selectAll().where('id', 'in', ids).execute();
}

/** Removes up to `limit` contacts whose purge time has passed. Returns those. */
export async function deletePurgeable(
  tx: Db,
  nowMs: number,
  limit: number,
): Promise<readonly Pick<ContactRow, 'owner_id' | 'photo_id'>[]> {
  const due = tx.selectFrom('contacts').select('id').where('purge_ms', '<=', nowMs).orderBy('purge_ms').limit(limit);
  // The condition is repeated for the row itself: it may be undeleted after the subquery found it.
  const deleted = await tx
    .deleteFrom('contacts')
    .where('id', 'in', due)
    .where('purge_ms', '<=', nowMs)
    .returning(['owner_id', 'deleted', 'bytes', 'photo_id'])
    .execute();
  await subtractUsage(tx, deleted);
  return deleted;
}

/** Removes up to `limit` contacts of an owner. Returns how many were removed. */
export async function deleteOfOwner(tx: Db, ownerId: string, limit: number): Promise<number> {
  const some = tx.selectFrom('contacts').select('id').where('owner_id', '=', ownerId).limit(limit);
  const deleted = await tx
    .deleteFrom('contacts')
    .where('id', 'in', some)
    .returning(['owner_id', 'deleted', 'bytes'])
    .execute();
  return subtractUsage(tx, deleted);
}

async function subtractUsage(
  tx: Db,
  deleted: readonly Pick<ContactRow, 'owner_id' | 'deleted' | 'bytes'>[],
): Promise<number> {
  const byOwner = Map.groupBy(deleted, ({ owner_id }) => owner_id);
  // Every transaction locks owners in the same order, so that none of them deadlock.
  for (const ownerId of [...byOwner.keys()].toSorted()) {
    const usages = byOwner.get(ownerId)!.map(usageOf);
    await addUsage(tx, ownerId, {
      contacts: -usages.reduce((sum, { contacts }) => sum + contacts, 0),
      liveContacts: -usages.reduce((sum, { liveContacts }) => sum + liveContacts, 0),
      bytes: -usages.reduce((sum, { bytes }) => sum + bytes, 0),
    });
  }
  return deleted.length;
}
