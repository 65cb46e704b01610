import { recordActivity } from '../activity/log/log.ts';
import { type App, atOneTime } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import { PAGE_TEXT_MAX, type Page, type PageRequest, pageSizeOf, pageTokens, textOf } from '../storage/pages.ts';
import { type Contact, type ContactFields, toContact, toFields } from './contact.ts';
import { type ContactsApp, requireLive } from './contacts.ts';
import {
  countDistinct,
  deleteDistinct,
  deleteDistinctOf,
  type Groups,
  insertDistinct,
  keyOf,
  MEMBERS_READ_MAX,
  type Pair,
  selectDistinct,
  selectDistinctPage,
  selectGroups,
  selectMembers,
} from './duplicates-store.ts';
import { visibleLabels } from './labels/labels.ts';
import { displayName } from './formats/card.ts';
import { MATCH, type Match, matchOf, matchTerms } from './match.ts';
import { type ContactRow, selectLive } from './store.ts';

/** Two contacts that may be the same person, or that were said not to be. */
export interface Duplicate extends Pick<Match, 'reasons' | 'score'> {
  readonly first: Contact;
  readonly second: Contact;
}

/** The most pairs on a page, and how many are looked at for one. */
const PAGE_SIZE_MAX = 100;
const PAIRS_EXAMINED_MAX = 500;

/** How many contacts of those that share a term are compared with one another: the oldest ones. */
const COMPARED_MAX = 50;

/** How many pairs are looked at in one step. */
const STEP_PAIRS = 50;

/** What the contacts that are read for a page take and those that are on it, UTF-16 code units. */
const TEXT_MAX = 2 * PAGE_TEXT_MAX;

export interface DuplicatesRequest extends PageRequest {
  /** The pairs that are marked as distinct, instead of those that may be the same. */
  readonly markedDistinct: boolean;
}

/** Behind which pair of a term a page begins; '' for before the first one. */
type DuplicatesKey = [term: string, firstId: string, secondId: string];

/** A page of pairs of the caller's contacts. Throws page_token_invalid. */
export function listDuplicates(app: App, caller: Caller, request: DuplicatesRequest): Promise<Page<Duplicate>> {
  return request.markedDistinct ? listDistinct(app, caller, request) : listCandidates(app, caller, request);
}

async function listCandidates(app: App, caller: Caller, request: PageRequest): Promise<Page<Duplicate>> {
  const tokens = pageTokens<DuplicatesKey>(app.keyring, 'duplicates', caller.userId);
  const [begin, ...after] = tokens.read(request.pageToken) ?? [MATCH, '', ''];
  const db = app.database.longReads;
  const { groups, next } = await selectGroups(db, caller.userId, begin);
  const page = new DuplicatesPage(db, caller.userId, Math.min(pageSizeOf(request), PAGE_SIZE_MAX));
  for (const some of batches(groups)) {
    const members = await selectMembers(db, caller.userId, some);
    const pairs = some.flatMap((term) =>
      pairsOf((members.get(term) ?? []).slice(0, COMPARED_MAX))
        .filter((pair) => term !== begin || keyOf(pair) > keyOf(after))
        .map((pair) => ({ term, pair })),
    );
    for (let start = 0; start < pairs.length; start += STEP_PAIRS) {
      const last = await page.add(pairs.slice(start, start + STEP_PAIRS));
      if (last !== undefined) return page.end(tokens.write([last.term, ...last.pair]));
    }
  }
  return page.end(tokens.write(next === undefined ? undefined : [next, '', '']));
}

/** The terms of groups, as many at a time as are read at once. */
function* batches(groups: Groups['groups']): Generator<string[]> {
  let terms: string[] = [];
  let sum = 0;
  for (const { term, contacts } of groups) {
    if (terms.length > 0 && sum + contacts > MEMBERS_READ_MAX) {
      yield terms;
      terms = [];
      sum = 0;
    }
    terms.push(term);
    sum += contacts;
  }
  if (terms.length > 0) yield terms;
}

function pairsOf(ids: readonly string[]): Pair[] {
  return ids.flatMap((first, i) => ids.slice(i + 1).map((second): Pair => [first, second]));
}

interface Candidate {
  /** The term by which the pair was found; undefined for one that is listed whatever it shares. */
  readonly term?: string;
  readonly pair: Pair;
}

/** A page of pairs, of a bounded size and made of a bounded number of rows. */
class DuplicatesPage {
  readonly #db: Db;
  readonly #ownerId: string;
  readonly #size: number;
  readonly #found: (Pick<Match, 'reasons' | 'score'> & { readonly pair: Pair })[] = [];
  readonly #rows = new Map<string, ContactRow>();
  #text = 0;
  #examined = 0;

  constructor(db: Db, ownerId: string, size: number) {
    this.#db = db;
    this.#ownerId = ownerId;
    this.#size = size;
  }

  /** Adds those of some pairs that are to be shown. Returns the last that was looked at if the page is full. */
  async add<Some extends Candidate>(some: readonly Some[]): Promise<Some | undefined> {
    const pairs = some.map(({ pair }) => pair);
    const distinct = await selectDistinct(this.#db, this.#ownerId, pairs);
    const isHidden = ({ term, pair }: Some) => term !== undefined && distinct.has(keyOf(pair));
    await this.#read(some.flatMap((candidate) => (isHidden(candidate) ? [] : candidate.pair)));
    for (const candidate of some) {
      this.#examined++;
      if (!isHidden(candidate)) this.#compare(candidate);
      const isFull =
        this.#found.length === this.#size || this.#text > TEXT_MAX || this.#examined === PAIRS_EXAMINED_MAX;
      if (isFull) return candidate;
    }
    return undefined;
  }

  async #read(ids: readonly string[]): Promise<void> {
    const missing = new Set(ids.filter((id) => !this.#rows.has(id)));
    for (const [id, row] of await selectLive(this.#db, this.#ownerId, [...missing])) {
      this.#rows.set(id, row);
      this.#text += textOf(row);
    }
  }

  #compare({ term, pair }: Candidate): void {
    const [first, second] = pair.map((id) => this.#rows.get(id));
    if (first === undefined || second === undefined) return;
    const match = matchOf(toFields(first), toFields(second));
    // A pair that shares several terms is listed with the first of them.
    if (term !== undefined && match?.term !== term) return;
    this.#found.push({ pair, reasons: match?.reasons ?? [], score: match?.score ?? 0 });
    this.#text += textOf(first) + textOf(second);
  }

  async end(nextPageToken: string): Promise<Page<Duplicate>> {
    const ids = [...new Set(this.#found.flatMap(({ pair }) => pair))];
    const contacts = await visibleLabels(
      this.#db,
      this.#ownerId,
      ids.map((id) => toContact(this.#rows.get(id)!)),
    );
    const byId = new Map(contacts.map((contact) => [contact.id, contact]));
    const items = this.#found.map(({ pair: [first, second], ...match }) => ({
      first: byId.get(first)!,
      second: byId.get(second)!,
      ...match,
    }));
    return { items, nextPageToken, total: undefined };
  }
}

/** A contact that is there and may be the same person as one that is not. */
export interface PossibleDuplicate extends Pick<Match, 'reasons' | 'score'> {
  readonly id: string;
  readonly name: string;
}

/** How many of these are found at the most. */
const POSSIBLE_MAX = 5;

/** The contacts of an owner that may be the same person as one with these fields, the likeliest first. */
export async function possibleDuplicates(
  db: Db,
  ownerId: string,
  fields: ContactFields,
): Promise<readonly PossibleDuplicate[]> {
  const terms = matchTerms(fields);
  if (terms.length === 0) return [];
  const members = await selectMembers(db, ownerId, terms);
  // Sorted, the most telling terms come first.
  const ids = new Set(terms.toSorted().flatMap((term) => (members.get(term) ?? []).slice(0, COMPARED_MAX)));
  const rows = await selectLive(db, ownerId, [...ids].slice(0, COMPARED_MAX));
  return [...rows.values()]
    .flatMap((row) => {
      const present = toFields(row);
      const match = matchOf(present, fields);
      if (match === undefined) return [];
      return [{ id: row.id, name: displayName(present), reasons: match.reasons, score: match.score }];
    })
    .toSorted((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, POSSIBLE_MAX);
}

async function listDistinct(app: App, caller: Caller, request: PageRequest): Promise<Page<Duplicate>> {
  const tokens = pageTokens<[string, string]>(app.keyring, 'distinct', caller.userId);
  const db = app.database.longReads;
  const size = Math.min(pageSizeOf(request), PAGE_SIZE_MAX);
  const found = await selectDistinctPage(db, caller.userId, tokens.read(request.pageToken), size + 1);
  const page = new DuplicatesPage(db, caller.userId, size);
  const shown = found.slice(0, size).map((pair) => ({ pair }));
  const last = await page.add(shown);
  const end = last ?? shown.at(-1);
  const isMore = end !== undefined && keyOf(end.pair) !== keyOf(found.at(-1)!);
  return page.end(tokens.write(isMore ? [...end.pair] : undefined));
}

/** The ids of pairs of a user that are marked as distinct, whether the contacts are deleted or not. */
export function distinctPairs(
  { database }: App,
  ownerId: string,
  after: readonly [string, string] | undefined,
  limit: number,
): Promise<readonly (readonly [string, string])[]> {
  return selectDistinctPage(database.db, ownerId, after, limit);
}

/** How many pairs of a user may be marked as distinct. */
export const DISTINCT_MAX = 10_000;

/**
 * Remembers of contacts of the caller's that no two of them are the same person. Returns of how many pairs that was not
 * known. Throws contact_not_found, contact_merged, resource_deleted, budget_exceeded.
 */
export function markDistinct(app: ContactsApp, caller: Caller, ids: readonly string[]): Promise<number> {
  return change(app, caller, ids, 'kith.contact.marked_distinct', async (tx, pairs, distinct, nowMs) => {
    const added = pairs.filter((pair) => !distinct.has(keyOf(pair)));
    if (added.length > 0 && (await countDistinct(tx, caller.userId, DISTINCT_MAX)) + added.length > DISTINCT_MAX) {
      throw new Failure('budget_exceeded', `a user marks at most ${DISTINCT_MAX} pairs of contacts as distinct`, {
        budget: 'distinct_contacts',
        limit: String(DISTINCT_MAX),
      });
    }
    await insertDistinct(tx, caller.userId, added, nowMs);
    return added.length;
  });
}

/** Takes back what markDistinct remembered. Returns how many pairs it was. Throws contact_not_found, contact_merged, resource_deleted. */
export function unmarkDistinct(app: ContactsApp, caller: Caller, ids: readonly string[]): Promise<number> {
  return change(app, caller, ids, 'kith.contact.unmarked_distinct', async (tx, pairs, distinct) => {
    const removed = pairs.filter((pair) => distinct.has(keyOf(pair)));
    await deleteDistinct(tx, caller.userId, removed);
    return removed.length;
  });
}

/** Changes which pairs of these contacts are marked, and records it if some were. */
function change(
  app: ContactsApp,
  caller: Caller,
  ids: readonly string[],
  action: `kith.${string}`,
  write: (tx: Db, pairs: readonly Pair[], distinct: ReadonlySet<string>, nowMs: number) => Promise<number>,
): Promise<number> {
  const sorted = [...new Set(ids)].toSorted();
  return app.database.transaction(async (tx) => {
    const at = atOneTime(app);
    for (const id of sorted) await requireLive(tx, at, caller, id);
    const pairs = pairsOf(sorted);
    const changed = await write(tx, pairs, await selectDistinct(tx, caller.userId, pairs), at.now());
    if (changed > 0) {
      const attributes = { contact_ids: sorted.join(' ') };
      await recordActivity(tx, at, { userId: caller.userId, by: caller, action, attributes, isPrivate: true });
    }
    return changed;
  }, caller.userId);
}

/** Removes up to `limit` marks of a user who is about to be purged. Returns how many were removed. */
export function purgeDistinctOf(app: App, ownerId: string, limit: number): Promise<number> {
  return app.database.transaction((tx) => deleteDistinctOf(tx, ownerId, limit));
}
