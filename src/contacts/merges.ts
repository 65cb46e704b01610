import { recordActivity } from '../activity/log/log.ts';
import { type App, atOneTime } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import { newId } from '../kernel/id.ts';
import type { Db } from '../storage/database.ts';
import { type ResponseFormat, runIdempotently } from '../storage/idempotency.ts';
import { type Page, type PageRequest, pageSizeOf, pageTokens, readBounded } from '../storage/pages.ts';
import { readToChange } from '../resources/resource.ts';
import {
  bytesOf,
  type Contact,
  type ContactFields,
  fieldsOfJson,
  isEmpty,
  jsonOfFields,
  toColumns,
  toContact,
  toFields,
} from './contact.ts';
import {
  changeContact,
  contactActivity,
  contactResource,
  type ContactsApp,
  requireNotEmpty,
  requireWithinLimits,
  toShown,
} from './contacts.ts';
import { DISTINCT_MAX } from './duplicates.ts';
import {
  countDistinct,
  deleteDistinct,
  insertDistinct,
  keyOf,
  type Pair,
  selectDistinct,
  selectDistinctFrom,
} from './duplicates-store.ts';
import { knownLabels, visibleLabels } from './labels/labels.ts';
import { knownPhoto } from './photos-store.ts';
import { type FieldName, mergeFields, type TooLarge, type Undecided, unmergeFields } from './merge.ts';
import {
  type ContactMergeRow,
  deleteMerge,
  deleteMergesOf,
  deletePurgeableMerges,
  insertMerge,
  selectLastMerge,
  selectMerged,
  selectMergedIds,
  selectMerges,
} from './merges-store.ts';
import {
  type ContactFilter,
  type ContactKey,
  type ContactRow,
  MERGED,
  replaceTerms,
  selectContactPage,
} from './store.ts';
import { contactTerms } from './terms.ts';

/** Contacts to make one of. */
export interface Merge {
  /** The contacts, each with the etag that it must still have. */
  readonly contacts: readonly { readonly id: string; readonly etag: string | undefined }[];
  /** The contact that stays. */
  readonly keptId: string;
  /** For some fields, the contact whose value stands. */
  readonly choices: readonly { readonly field: FieldName; readonly contactId: string }[];
  /** Whether the values of the contact that stays stand where others differ. */
  readonly prefersOwn: boolean;
  /** '' for none: see runIdempotently. */
  readonly requestId: string;
}

/** How the contract calls a field. */
export type NameOfField = (field: FieldName) => string;

/**
 * Makes one contact of several of the caller's: the others are kept for as long as deleted ones, and brought back by
 * unmergeContact.
 *
 * Throws contact_not_found, contact_merged, resource_deleted, etag_mismatch, merge_choice_missing, contact_too_large,
 * contact_empty, budget_exceeded, request_id_reused.
 */
export function mergeContacts<Response>(
  app: ContactsApp,
  caller: Caller,
  { requestId, ...merge }: Merge,
  nameOf: NameOfField,
  format: ResponseFormat<Contact, Response>,
): Promise<Response> {
  return app.database.transaction(
    (tx) =>
      runIdempotently(tx, app, { callerId: caller.userId, requestId, input: merge }, format, () =>
        mergeWithin(tx, atOneTime(app), caller, merge, nameOf),
      ),
    caller.userId,
  );
}

async function mergeWithin(
  tx: Db,
  at: ContactsApp,
  caller: Caller,
  { contacts, keptId, choices, prefersOwn }: Omit<Merge, 'requestId'>,
  nameOf: NameOfField,
): Promise<Contact> {
  const rows: ContactRow[] = [];
  for (const { id, etag } of contacts) rows.push(await readToChange(at, tx, contactResource(at, caller, id), etag));
  const kept = rows.find(({ id }) => id === keptId)!;
  const others = rows.filter((row) => row !== kept);
  const ordered = [kept, ...others];
  const places = choices.map(
    ({ field, contactId }) => [field, ordered.findIndex(({ id }) => id === contactId)] as const,
  );
  const fields = requireMerged(mergeFields(ordered.map(toFields), { choices: new Map(places), prefersOwn }), nameOf);
  requireNotEmpty(fields);

  const now = at.now();
  const next = withFields(at, kept, fields);
  const purge_ms = now + at.purgeAfterMs;
  const distinct = await distinctOf(tx, kept, others);
  const texts = {
    fields_before: jsonOfFields(kept),
    fields_after: jsonOfFields(next),
    distinct_ids: distinct.join(' '),
  };
  const merge: ContactMergeRow = {
    ...texts,
    id: newId(),
    owner_id: caller.userId,
    contact_id: kept.id,
    revision: next.revision,
    bytes: bytesOfMerge(kept, texts),
    create_ms: now,
    purge_ms,
  };
  const bytes = Math.max(next.bytes - kept.bytes, 0) + merge.bytes;
  await requireWithinLimits(tx, at, caller.userId, { contacts: 0, bytes });
  await insertMerge(tx, merge);
  const change = { by: caller, action: 'kith.contact.merged' };
  await changeContact(tx, at, next, kept, change);
  await replaceTerms(tx, next, contactTerms(fields));
  for (const row of others) {
    const revision = row.revision + 1;
    const hidden = { deleted: MERGED, merge_id: merge.id, delete_ms: now, purge_ms, update_ms: now, revision };
    await changeContact(tx, at, { ...row, ...hidden }, row, change);
  }
  await insertDistinct(
    tx,
    caller.userId,
    distinct.map((id) => pairOf(kept.id, id)),
    now,
  );
  await record(tx, at, caller, 'kith.contact.merged', kept, others);
  return toShown(tx, next);
}

/** The row of a contact with other fields, in its next revision. */
function withFields(at: App, row: ContactRow, fields: ContactFields): ContactRow {
  const columns = toColumns(fields);
  const bytes = bytesOf(columns, contactTerms(fields));
  return { ...row, ...columns, bytes, update_ms: at.now(), revision: row.revision + 1 };
}

/** At least what the contact took before, so that taking the merge back needs no more than there is. */
function bytesOfMerge(
  kept: ContactRow,
  texts: Pick<ContactMergeRow, 'fields_before' | 'fields_after' | 'distinct_ids'>,
): number {
  return kept.bytes + Object.values(texts).reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

/** Throws merge_choice_missing, contact_too_large. */
function requireMerged(
  merged: { readonly fields: ContactFields } | Undecided | TooLarge,
  nameOf: NameOfField,
): ContactFields {
  if ('fields' in merged) return merged.fields;
  if ('undecided' in merged) {
    const fields = merged.undecided.map(nameOf).join(' ');
    throw new Failure(
      'merge_choice_missing',
      `the contacts have different values of ${fields}: choose, or prefer_kept`,
      {
        fields,
      },
    );
  }
  const field = nameOf(merged.tooLarge);
  throw new Failure('contact_too_large', `the contact would have more in ${field} than a contact may have`, {
    field,
    limit: String(merged.limit),
  });
}

/** How many marks of merged contacts pass to the one that stays. */
const DISTINCT_PASSED_MAX = 500;

/** The contacts that one of the merged ones is marked as distinct from, and that the one which stays is not. */
async function distinctOf(tx: Db, kept: ContactRow, others: readonly ContactRow[]): Promise<string[]> {
  const otherIds = others.map(({ id }) => id);
  const ids = await selectDistinctFrom(tx, kept.owner_id, otherIds, DISTINCT_PASSED_MAX);
  const strangers = ids.filter((id) => id !== kept.id && !otherIds.includes(id));
  if (strangers.length === 0) return [];
  const known = await selectDistinct(
    tx,
    kept.owner_id,
    strangers.map((id) => pairOf(kept.id, id)),
  );
  const room = DISTINCT_MAX - (await countDistinct(tx, kept.owner_id, DISTINCT_MAX));
  return strangers.filter((id) => !known.has(keyOf(pairOf(kept.id, id)))).slice(0, room);
}

function pairOf(a: string, b: string): Pair {
  return a < b ? [a, b] : [b, a];
}

/** A contact after a merge was taken back, and the contacts that are there again. */
export interface Unmerged {
  readonly contact: Contact;
  readonly restoredIds: readonly string[];
}

/**
 * Takes the last merge into a contact of the caller's back: the contacts that were merged are there again as they were,
 * and the one that stayed is as it was but for what was changed since.
 *
 * Throws contact_not_found, contact_merged, resource_deleted, etag_mismatch, contact_not_merged, contact_too_large,
 * request_id_reused.
 */
export function unmergeContact<Response>(
  app: ContactsApp,
  caller: Caller,
  { id, etag, requestId }: { readonly id: string; readonly etag: string | undefined; readonly requestId: string },
  nameOf: NameOfField,
  format: ResponseFormat<Unmerged, Response>,
): Promise<Response> {
  return app.database.transaction(
    (tx) =>
      runIdempotently(tx, app, { callerId: caller.userId, requestId, input: { id, etag } }, format, () =>
        unmergeWithin(tx, atOneTime(app), caller, id, etag, nameOf),
      ),
    caller.userId,
  );
}

async function unmergeWithin(
  tx: Db,
  at: ContactsApp,
  caller: Caller,
  id: string,
  etag: string | undefined,
  nameOf: NameOfField,
): Promise<Unmerged> {
  const kept = await readToChange(at, tx, contactResource(at, caller, id), etag);
  const merge = await selectLastMerge(tx, caller.userId, id);
  if (merge === undefined || merge.purge_ms <= at.now()) {
    throw new Failure(
      'contact_not_merged',
      'no contact was merged into this one, or longer ago than it can be taken back',
    );
  }
  const present = toFields(kept);
  const before = fieldsOfJson(merge.fields_before);
  const unmerged = requireMerged(unmergeFields(before, fieldsOfJson(merge.fields_after), present), nameOf);
  const labelIds = await knownLabels(tx, caller.userId, unmerged.labelIds);
  const photoId = await knownPhoto(tx, caller.userId, unmerged.photoId);
  const fields = { ...unmerged, labelIds, photoId };
  // What it was known by may have been changed to what came with the merge: then it keeps all of it.
  const next = withFields(at, kept, isEmpty(fields) ? present : fields);
  const others = await selectMerged(tx, caller.userId, [merge.id]);
  await deleteMerge(tx, merge);
  const change = { by: caller, action: 'kith.contact.unmerged' };
  await changeContact(tx, at, next, kept, change);
  await replaceTerms(tx, next, contactTerms(toFields(next)));
  for (const row of others) {
    const back = { deleted: 0 as const, merge_id: '', delete_ms: null, purge_ms: null, update_ms: at.now() };
    await changeContact(tx, at, { ...row, ...back, revision: row.revision + 1 }, row, change);
  }
  const distinctIds = merge.distinct_ids === '' ? [] : merge.distinct_ids.split(' ');
  await deleteDistinct(
    tx,
    caller.userId,
    distinctIds.map((other) => pairOf(id, other)),
  );
  await record(tx, at, caller, 'kith.contact.unmerged', kept, others);
  return { contact: await toShown(tx, next), restoredIds: others.map((row) => row.id) };
}

function record(
  tx: Db,
  at: App,
  caller: Caller,
  action: `kith.${string}`,
  kept: ContactRow,
  others: readonly ContactRow[],
): Promise<void> {
  const activity = contactActivity(caller, kept);
  const merged_contact_ids = others.map(({ id }) => id).join(' ');
  return recordActivity(tx, at, { ...activity, action, attributes: { ...activity.attributes, merged_contact_ids } });
}

/** A merge that can be taken back. */
export interface ContactMerge {
  readonly id: string;
  readonly contactId: string;
  readonly mergedIds: readonly string[];
  /** The contact that stayed, as it was before. */
  readonly before: ContactFields;
  readonly createMs: number;
  readonly purgeMs: number;
}

/** A page of the merges into contacts of the caller's, newest first. Throws page_token_invalid. */
export async function listMerges(app: App, caller: Caller, request: PageRequest): Promise<Page<ContactMerge>> {
  const { db } = app.database;
  const tokens = pageTokens<[id: string]>(app.keyring, 'merges', caller.userId);
  const [begin] = tokens.read(request.pageToken) ?? [];
  const { rows, last } = await readBounded<ContactMergeRow>(pageSizeOf(request), (row, limit) =>
    selectMerges(db, caller.userId, row?.id ?? begin, limit),
  );
  const mergedIds = await selectMergedIds(
    db,
    caller.userId,
    rows.map(({ id }) => id),
  );
  const before = await visibleLabels(
    db,
    caller.userId,
    rows.map((row) => fieldsOfJson(row.fields_before)),
  );
  return {
    items: rows.map((row, i) => ({
      id: row.id,
      contactId: row.contact_id,
      mergedIds: mergedIds.get(row.id) ?? [],
      before: before[i]!,
      createMs: row.create_ms,
      purgeMs: row.purge_ms,
    })),
    nextPageToken: tokens.write(last && [last.id]),
    total: undefined,
  };
}

/** A page of the caller's contacts that were merged into others, by name. Throws page_token_invalid. */
export async function listMerged(app: App, caller: Caller, request: PageRequest): Promise<Page<Contact>> {
  const { db } = app.database;
  const tokens = pageTokens<ContactKey>(app.keyring, 'merged', caller.userId);
  const filter: ContactFilter = { deleted: 'merged', starred: undefined, queries: [] };
  const after = tokens.read(request.pageToken);
  const { rows, resumeAfter } = await selectContactPage(db, caller.userId, filter, after, pageSizeOf(request));
  return {
    items: await visibleLabels(db, caller.userId, rows.map(toContact)),
    nextPageToken: tokens.write(resumeAfter),
    total: undefined,
  };
}

/** Removes up to `limit` merges that cannot be taken back any more. Returns how many were removed. */
export function purgeMerges(app: App, limit: number): Promise<number> {
  return app.database.transaction((tx) => deletePurgeableMerges(tx, app.now(), limit));
}

/** Removes up to `limit` merges of a user who is about to be purged. Returns how many were removed. */
export function purgeMergesOf(app: App, ownerId: string, limit: number): Promise<number> {
  return app.database.transaction((tx) => deleteMergesOf(tx, ownerId, limit));
}
