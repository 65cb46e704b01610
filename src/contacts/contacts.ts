import type { Caller } from '../kernel/access.ts';
import { type KithActivity, recordActivity } from '../activity/log/log.ts';
import { type App, atOneTime } from '../app.ts';
import type { Db } from '../storage/database.ts';
import { type ResponseFormat, runIdempotently } from '../storage/idempotency.ts';
import { Failure } from '../kernel/failure.ts';
import { newId } from '../kernel/id.ts';
import { applyUpdate, type PartialUpdate } from '../resources/partial-update.ts';
import {
  type Change,
  changeResource,
  changeWithin,
  type Changing,
  readResource,
  readToChange,
  type Resource,
} from '../resources/resource.ts';
import { mapInSlices, type Page, type PageRequest, mayTakeLong, pageSizeOf, pageTokens } from '../storage/pages.ts';
import {
  bytesOf,
  type Contact,
  type ContactFields,
  type FieldColumns,
  isEmpty,
  toColumns,
  toContact,
  toFields,
} from './contact.ts';
import { type Batch, type BatchResult, runBatch } from './batch.ts';
import { type ContactChange, keepVersion, removeOldest, versionBytesMax } from './keep-version.ts';
import { knownLabels, limitReached, recountLabels, requireLabels, visibleLabels } from './labels/labels.ts';
import { selectTarget } from './merges-store.ts';
import { checkPhotoAt, knownPhoto } from './photos-store.ts';
import { removeLabel, selectPurgeable } from './labels/store.ts';
import {
  addUsage,
  addVersionUsage,
  type ContactKey,
  type ContactRow,
  type ContactUsage,
  countContactRows,
  deleteOfOwner,
  deletePurgeable,
  insertContact,
  MERGED,
  replaceTerms,
  selectContact,
  selectContactPage,
  selectLabelled,
  selectLocale,
  selectOutdated,
  selectUsage,
  updateContactRow,
  usageOf,
} from './store.ts';
import { e164Of, isPhoneRegion, needsRegion, phoneRegionOf } from './phone-number.ts';
import { contactQueries, contactTerms, LABELS_PER_CONTACT_MAX, labelTerm, type TermRange } from './terms.ts';

/** The limits of one user's contacts. */
export interface ContactLimits {
  /** How many contacts a user may have, deleted ones included until they are purged. */
  readonly perUserMax: number;
  /** How much they may take together, bytes: see bytesOf. */
  readonly bytesPerUserMax: number;
  /** How many labels a user may have, deleted ones included until they are purged. */
  readonly labelsPerUserMax: number;
}

export interface ContactsApp extends App {
  readonly contacts: ContactLimits;
}

/** A contact to create. */
export interface NewContact {
  readonly fields: ContactFields;
  /** The region of phone numbers without a country code (ISO 3166-1); '' for that of the caller's locale. */
  readonly phoneRegion: string;
  /** '' for none: see runIdempotently. */
  readonly requestId: string;
}

/**
 * Creates a contact of the caller's.
 *
 * Throws contact_empty, region_unknown, label_not_found, contact_limit_reached, budget_exceeded, request_id_reused.
 */
export async function createContact<Response>(
  app: ContactsApp,
  caller: Caller,
  contact: NewContact,
  format: ResponseFormat<Contact, Response>,
): Promise<Response> {
  requireCreatable(contact);
  return app.database.transaction((tx) => createWithin(tx, app, caller, contact, format), caller.userId);
}

/** Throws contact_empty, region_unknown. */
function requireCreatable({ fields, phoneRegion }: Omit<NewContact, 'requestId'>): void {
  requireNotEmpty(fields);
  requirePhoneRegion(phoneRegion);
}

/** Creates a contact in a transaction. Throws as createContact does, before it writes anything. */
async function createWithin<Response>(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  contact: NewContact,
  format: ResponseFormat<Contact, Response>,
): Promise<Response> {
  requireCreatable(contact);
  const { fields: written, phoneRegion, requestId } = contact;
  const input = { ...written, phoneRegion };
  return runIdempotently(tx, app, { callerId: caller.userId, requestId, input }, format, () =>
    insertWithin(tx, app, caller, contact),
  );
}

/** As createWithin, without a request id. `reserved` bytes are to be written in this transaction beside the contact. */
export async function insertWithin(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  contact: Omit<NewContact, 'requestId'>,
  reserved = 0,
): Promise<Contact> {
  const at = atOneTime(app);
  const now = at.now();
  const { columns, terms, bytes, labelIds } = await toStored(tx, caller, contact);
  await requireWithinLimits(tx, app, caller.userId, { contacts: 1, bytes: bytes + reserved });
  const row: ContactRow = {
    ...columns,
    id: newId(),
    owner_id: caller.userId,
    deleted: 0,
    create_ms: now,
    update_ms: now,
    delete_ms: null,
    purge_ms: null,
    revision: 1,
    merge_id: '',
    bytes,
  };
  await insertContact(tx, row, terms);
  await addUsage(tx, caller.userId, usageOf(row));
  await recountLabels(tx, caller.userId, [], labelIds);
  await recordActivity(tx, at, { ...contactActivity(caller, row), action: 'kith.contact.created' });
  return toContact(row);
}

/** A new contact as it is stored. Throws contact_empty, region_unknown, label_not_found. */
async function toStored(tx: Db, { userId }: Caller, contact: Omit<NewContact, 'requestId'>) {
  requireCreatable(contact);
  const labelIds = [...new Set(contact.fields.labelIds)];
  await requireLabels(tx, userId, labelIds, 'label_ids');
  const fields = await readPhones(tx, userId, { ...contact.fields, labelIds }, contact.phoneRegion);
  const columns = toColumns(fields);
  const terms = contactTerms(fields);
  return { columns, terms, bytes: bytesOf(columns, terms), labelIds };
}

/**
 * Brings a deleted contact back in place of creating one that has the same fields, but for its labels and where it came
 * from, which are then those of the new one. Undefined if it has others. Throws as insertWithin does.
 */
export async function bringBackWithin(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  row: ContactRow,
  contact: Omit<NewContact, 'requestId'>,
  reserved: number,
): Promise<ContactRow | undefined> {
  const { columns, terms, bytes } = await toStored(tx, caller, contact);
  const comparable = (each: FieldColumns) => JSON.stringify({ ...toFields(each), labelIds: [], source: '', uid: '' });
  if (comparable(columns) !== comparable(row)) return undefined;
  await requireWithinLimits(tx, app, caller.userId, { contacts: 0, bytes: Math.max(bytes - row.bytes, 0) + reserved });
  const change: Change<ContactRow> = {
    columns: { ...columns, bytes, deleted: 0 },
    afterwards: (next) => replaceTerms(tx, next, terms),
  };
  return changeWithin(tx, atOneTime(app), 'undelete', contactResource(app, caller, row.id), undefined, () => change);
}

/**
 * Creates contacts of the caller's, each as createContact does, and says of each what came of it: see runBatch.
 */
export function createContacts<Response>(
  app: ContactsApp,
  caller: Caller,
  { format, ...batch }: BatchOf<NewContact, Response>,
  signal?: AbortSignal,
): Promise<BatchResult<Response>[]> {
  const each = (tx: Db, contact: NewContact) => createWithin(tx, app, caller, contact, format);
  return runBatch(app, caller, { ...batch, done: 'created', each }, signal);
}

/** What to do for contacts of a batch, and how a response is made of each. */
export interface BatchOf<Item, Response> extends Omit<Batch<Item, Response>, 'done' | 'each'> {
  readonly format: ResponseFormat<Contact, Response>;
}

/**
 * Changes contacts of the caller's, each as updateContact does, and says of each what came of it: see runBatch.
 */
export function updateContacts<Response>(
  app: ContactsApp,
  caller: Caller,
  { format, ...batch }: BatchOf<ContactUpdate, Response>,
  signal?: AbortSignal,
): Promise<BatchResult<Response>[]> {
  const each = (tx: Db, update: ContactUpdate) => updateOnce(tx, app, caller, update, format);
  return runBatch(app, caller, { ...batch, done: 'updated', each }, signal);
}

/**
 * Deletes contacts of the caller's, each as deleteContact does, and says of each what came of it: see runBatch.
 */
export function deleteContacts<Response>(
  app: ContactsApp,
  caller: Caller,
  { format, ...batch }: BatchOf<ContactVersion, Response>,
  signal?: AbortSignal,
): Promise<BatchResult<Response>[]> {
  const each = async (tx: Db, { id, etag }: ContactVersion) => {
    const resource = contactResource(app, caller, id);
    const row = await changeWithin(tx, atOneTime<App>(app), 'delete', resource, etag, () => DELETE);
    return format.toResponse(await toShown(tx, row));
  };
  return runBatch(app, caller, { ...batch, done: 'deleted', each }, signal);
}

/** Throws contact_not_found, contact_merged. */
export async function getContact(app: ContactsApp, caller: Caller, id: string): Promise<Contact> {
  const { db } = app.database;
  return toShown(db, await readResource(app, db, contactResource(app, caller, id)));
}

/** A contact as its owner is shown it. */
export async function toShown(db: Db, row: ContactRow): Promise<Contact> {
  const [contact] = await visibleLabels(db, row.owner_id, [toContact(row)]);
  return contact!;
}

export interface ContactListRequest extends PageRequest {
  readonly includeTotalSize: boolean;
  readonly query: string;
  /** Undefined: starred or not. */
  readonly starred: boolean | undefined;
  readonly deleted: boolean;
  readonly labels: LabelFilter;
}

/** Ids of labels of the caller's: of each list, a contact has at least one, all, or none. Empty lists select nothing. */
export interface LabelFilter {
  readonly anyOf: readonly string[];
  readonly allOf: readonly string[];
  readonly noneOf: readonly string[];
}

/** Selects contacts whatever their labels are. */
export const ANY_LABELS: LabelFilter = { anyOf: [], allOf: [], noneOf: [] };

/** A page of the caller's contacts, by name. Throws page_token_invalid, label_not_found. */
export async function listContacts(app: App, caller: Caller, request: ContactListRequest): Promise<Page<Contact>> {
  const { anyOf, allOf, noneOf } = request.labels;
  const labelIds = [...new Set([...anyOf, ...allOf, ...noneOf])];
  const db = mayTakeLong(request) || labelIds.length > 0 ? app.database.longReads : app.database.db;
  const filter = {
    deleted: request.deleted,
    starred: request.starred,
    queries: [...contactQueries(request.query), ...labelQueries(anyOf, allOf)],
    without: rangesOf(noneOf),
  };
  const tokens = pageTokens<ContactKey>(
    app.keyring,
    'contacts',
    caller.userId,
    filter.deleted,
    filter.starred ?? null,
    filter.queries,
    ...(filter.without.length === 0 ? [] : [filter.without]),
  );
  const after = tokens.read(request.pageToken);
  await requireLabels(db, caller.userId, labelIds, 'labels');
  const page = await selectContactPage(db, caller.userId, filter, after, pageSizeOf(request));
  return {
    items: await visibleLabels(db, caller.userId, await mapInSlices(page.rows, toContact)),
    nextPageToken: tokens.write(page.resumeAfter),
    total: request.includeTotalSize ? await countContactRows(db, caller.userId, filter) : undefined,
  };
}

function labelQueries(anyOf: readonly string[], allOf: readonly string[]): TermRange[][] {
  return [...allOf.map((id) => rangesOf([id])), ...(anyOf.length === 0 ? [] : [rangesOf(anyOf)])];
}

function rangesOf(labelIds: readonly string[]): TermRange[] {
  return labelIds.map((id) => ({ begin: labelTerm(id) }));
}

/** Which contact to change. */
export interface ContactVersion {
  readonly id: string;
  /** The etag the contact must still have; undefined for any. */
  readonly etag: string | undefined;
}

/** What to change in a contact. */
export interface ContactUpdate extends ContactVersion {
  /** The fields that are not undefined. */
  readonly fields: PartialUpdate<ContactFields>;
  /** See NewContact. */
  readonly phoneRegion: string;
  /** '' for none: see runIdempotently. */
  readonly requestId: string;
}

/**
 * Changes the fields that are not undefined.
 *
 * Throws contact_not_found, contact_merged, contact_empty, region_unknown, label_not_found, label_limit_reached, resource_deleted,
 * etag_mismatch, budget_exceeded, request_id_reused.
 */
export function updateContact<Response>(
  app: ContactsApp,
  caller: Caller,
  update: ContactUpdate,
  format: ResponseFormat<Contact, Response>,
): Promise<Response> {
  requirePhoneRegion(update.phoneRegion);
  return app.database.transaction((tx) => updateOnce(tx, app, caller, update, format), caller.userId);
}

/** Changes a contact in a transaction. Throws as updateContact does, before it writes anything. */
async function updateOnce<Response>(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  { id, etag, fields, phoneRegion, requestId }: ContactUpdate,
  format: ResponseFormat<Contact, Response>,
): Promise<Response> {
  requirePhoneRegion(phoneRegion);
  // As a list: an empty field is another request than an absent one.
  const written = Object.entries(fields).filter(([, value]) => value !== undefined);
  const input = { id, etag, written, phoneRegion };
  return runIdempotently(tx, app, { callerId: caller.userId, requestId, input }, format, async () =>
    toShown(tx, await updateWithin(tx, app, caller, { id, etag, fields, phoneRegion })),
  );
}

/**
 * As updateOnce, without a request id. Writes nothing if it throws, nor if the fields are the same. `reserved` bytes are
 * to be written in this transaction beside the contact, if it is changed.
 */
export async function updateWithin(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  { id, etag, fields: update, phoneRegion }: Omit<ContactUpdate, 'requestId'>,
  reserved = 0,
): Promise<ContactRow> {
  requirePhoneRegion(phoneRegion);
  const change = async ({ row }: Changing<ContactsApp, ContactRow>) => {
    let updated = applyUpdate(toFields(row), update);
    if (update.labelIds !== undefined) {
      const labelIds = await replaceLabels(tx, row, update.labelIds);
      updated = { ...updated, labelIds };
    }
    requireNotEmpty(updated);
    const fields =
      update.phones === undefined
        ? updated
        : await readPhones(tx, row.owner_id, updated, phoneRegion, toFields(row).phones);
    return changeFields(tx, app, row, fields, reserved);
  };
  return changeWithin(tx, atOneTime(app), 'update', contactResource(app, caller, id), etag, change);
}

/** What writes other fields; undefined if they are the same. Throws budget_exceeded. */
export async function changeFields(
  tx: Db,
  app: ContactsApp,
  row: ContactRow,
  fields: ContactFields,
  reserved = 0,
): Promise<Change<ContactRow> | undefined> {
  const change = rewrite(tx, row, fields);
  if (change === undefined) return undefined;
  const more = Math.max(change.columns.bytes - row.bytes, 0) + reserved;
  if (more > 0) await requireWithinLimits(tx, app, row.owner_id, { contacts: 0, bytes: more });
  return change;
}

/** As changeFields, whatever the limits are. */
function rewrite(tx: Db, row: ContactRow, fields: ContactFields) {
  const columns = toColumns(fields);
  if (isSame(columns, row)) return undefined;
  const terms = contactTerms(fields);
  return {
    columns: { ...columns, bytes: bytesOf(columns, terms) },
    afterwards: (changed: ContactRow) => replaceTerms(tx, changed, terms),
  };
}

/** What deletes a contact again that was created, or gives it the fields that it had before, as a part of a larger change. */
export async function takeBackWithin(
  tx: Db,
  at: ContactsApp,
  caller: Caller,
  row: ContactRow,
  before: ContactFields | undefined,
  attributes: Readonly<Record<string, string>>,
): Promise<void> {
  const resource = contactResource(at, caller, row.id);
  if (before === undefined) {
    await changeWithin(tx, at, 'delete', resource, undefined, () => ({ ...DELETE, attributes }));
    return;
  }
  const labelIds = await knownLabels(tx, caller.userId, before.labelIds);
  const photoId = await knownPhoto(tx, caller.userId, before.photoId);
  const change = rewrite(tx, row, { ...before, labelIds, photoId });
  await changeWithin(tx, at, 'update', resource, undefined, () => change && { ...change, attributes });
}

/**
 * The labels of a contact that is to have these, and keeps deleted ones, which come back when they are undeleted. Throws
 * label_not_found, label_limit_reached.
 */
async function replaceLabels(tx: Db, row: ContactRow, asked: readonly string[]): Promise<readonly string[]> {
  await requireLabels(tx, row.owner_id, asked, 'label_ids');
  const { labelIds } = toFields(row);
  const [visible] = await visibleLabels(tx, row.owner_id, [{ labelIds }]);
  const hidden = labelIds.filter((id) => !visible!.labelIds.includes(id));
  return withinLabelLimit([...new Set([...asked, ...hidden])]);
}

/** Throws label_limit_reached. */
function withinLabelLimit(labelIds: readonly string[]): readonly string[] {
  if (labelIds.length <= LABELS_PER_CONTACT_MAX) return labelIds;
  throw limitReached(
    `a contact has at most ${LABELS_PER_CONTACT_MAX} labels, deleted ones included`,
    LABELS_PER_CONTACT_MAX,
  );
}

/** Which labels to add to contacts, and which to take from them. A label that is in both lists is added. */
export interface Labelling<Response> extends BatchOf<ContactVersion, Response> {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/**
 * Adds labels to contacts of the caller's and takes labels from them, and says of each contact what came of it: see
 * runBatch. Throws label_not_found; contacts are refused with contact_not_found, resource_deleted, etag_mismatch,
 * label_limit_reached, budget_exceeded.
 */
export async function labelContacts<Response>(
  app: ContactsApp,
  caller: Caller,
  { add, remove, format, ...batch }: Labelling<Response>,
  signal?: AbortSignal,
): Promise<BatchResult<Response>[]> {
  const { db } = app.database;
  await requireLabels(db, caller.userId, add, 'add_label_ids');
  await requireLabels(db, caller.userId, remove, 'remove_label_ids');
  const each = async (tx: Db, { id, etag }: ContactVersion) => {
    const change = async ({ row }: Changing<ContactsApp, ContactRow>) => {
      const fields = toFields(row);
      const kept = fields.labelIds.filter((label) => !remove.includes(label));
      const labelIds = [...new Set([...kept, ...add])];
      const isChanged = new Set(labelIds).symmetricDifference(new Set(fields.labelIds)).size > 0;
      if (!isChanged) return undefined;
      await requireLabels(tx, row.owner_id, add, 'add_label_ids');
      if (labelIds.length > fields.labelIds.length) withinLabelLimit(labelIds);
      return changeFields(tx, app, row, { ...fields, labelIds });
    };
    const row = await changeWithin(tx, atOneTime(app), 'update', contactResource(app, caller, id), etag, change);
    return format.toResponse(await toShown(tx, row));
  };
  return runBatch(app, caller, { ...batch, done: 'updated', each }, signal);
}

/**
 * Removes labels whose purge time has passed: first from up to `limit` contacts, and when no contact has one any more,
 * the label. Returns how many contacts and labels were changed.
 */
export function purgeLabels(app: App, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const label = await selectPurgeable(tx, app.now());
    if (label === undefined) return 0;
    const rows = await selectLabelled(tx, label.owner_id, labelTerm(label.id), limit);
    for (const row of rows) {
      const fields = toFields(row);
      await rewriteFields(tx, row, { ...fields, labelIds: fields.labelIds.filter((id) => id !== label.id) });
    }
    if (rows.length === 0) await removeLabel(tx, label.id);
    return Math.max(rows.length, 1);
  });
}

/** Whether the fields are the same, whatever version derived the other columns from them. */
function isSame(columns: FieldColumns, row: FieldColumns): boolean {
  const names = Object.keys(columns) as (keyof FieldColumns)[];
  return names.every((name) => DERIVED.has(name) || columns[name] === row[name]);
}

const DERIVED: ReadonlySet<keyof FieldColumns> = new Set(['sort_key', 'search_version']);

const DELETE: Change<ContactRow> = { columns: { deleted: 1 } };
const UNDELETE: Change<ContactRow> = { columns: { deleted: 0 } };

/** Deletes a contact until undeleted or purged. Throws contact_not_found, contact_merged, resource_deleted, etag_mismatch. */
export async function deleteContact(
  app: ContactsApp,
  caller: Caller,
  id: string,
  etag: string | undefined,
): Promise<Contact> {
  const resource = contactResource(app, caller, id);
  const row = await changeResource(app, 'delete', resource, etag, () => DELETE);
  return toShown(app.database.db, row);
}

/** Undeletes a contact. Throws contact_not_found, contact_merged, resource_not_deleted, etag_mismatch. */
export async function undeleteContact(
  app: ContactsApp,
  caller: Caller,
  id: string,
  etag: string | undefined,
): Promise<Contact> {
  const resource = contactResource(app, caller, id);
  const row = await changeResource(app, 'undelete', resource, etag, () => UNDELETE);
  return toShown(app.database.db, row);
}

/** The usage of a user's contacts. */
export function contactUsage(app: Pick<App, 'database'>, ownerId: string): Promise<ContactUsage> {
  return selectUsage(app.database.db, ownerId);
}

/** Removes up to `limit` contacts whose purge time has passed. Returns how many were removed. */
export function purgeContacts(app: App, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const removed = await deletePurgeable(tx, app.now(), limit);
    for (const { owner_id, photo_id } of removed) {
      if (photo_id !== '') await checkPhotoAt(tx, owner_id, photo_id, app.now());
    }
    return removed.length;
  });
}

/** Removes up to `limit` contacts of a user who is about to be purged. Returns how many were removed. */
export function purgeContactsOf(app: App, ownerId: string, limit: number): Promise<number> {
  return app.database.transaction((tx) => deleteOfOwner(tx, ownerId, limit));
}

/**
 * Brings up to `limit` contacts up to date that an older version of Kith wrote: search terms, sort key, usage, and the
 * numbers in E.164 beside those that were written. Returns how many. Each step is complete by itself.
 */
export function upgradeContacts(app: Pick<App, 'database'>, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const rows = await selectOutdated(tx, limit);
    for (const row of rows.toSorted((a, b) => (a.owner_id < b.owner_id ? -1 : 1))) {
      await rewriteFields(tx, row, await readPhones(tx, row.owner_id, toFields(row), ''));
    }
    return rows.length;
  });
}

/** Writes other fields of a contact, and what is derived from them, as no change of its owner's. */
async function rewriteFields(tx: Db, row: ContactRow, fields: ContactFields): Promise<void> {
  const columns = toColumns(fields);
  const terms = contactTerms(fields);
  await replaceTerms(tx, row, terms);
  await writeContact(tx, { ...row, ...columns, bytes: bytesOf(columns, terms) }, row);
}

/** Throws unless the caller has this contact, and it is not deleted: contact_not_found, contact_merged, resource_deleted. */
export async function requireLive(tx: Db, at: ContactsApp, caller: Caller, id: string): Promise<void> {
  await readToChange(at, tx, contactResource(at, caller, id), undefined);
}

/** A contact of the caller's. Nobody else may read or change it. */
export function contactResource(app: ContactsApp, caller: Caller, id: string): Resource<ContactRow> {
  return {
    noun: 'contact',
    lockKey: caller.userId,
    async select(db) {
      const row = await selectContact(db, caller.userId, id);
      if (row?.deleted !== MERGED) return row;
      const target = await selectTarget(db, row);
      if (target === undefined || row.purge_ms! <= app.now()) return undefined;
      throw new Failure(
        'contact_merged',
        'this contact was merged into another one, whose id is contact_id: use that, or take the merge into that one back',
        {
          contact_id: target.id,
        },
      );
    },
    notFound: () => new Failure('contact_not_found', 'none of your contacts has this id'),
    authorize: () => {},
    write: (tx, at, next, row) => {
      const kind = next.deleted === row.deleted ? 'updated' : next.deleted === 0 ? 'undeleted' : 'deleted';
      return changeContact(tx, { ...at, contacts: app.contacts }, next, row, {
        by: caller,
        action: `kith.contact.${kind}`,
      });
    },
    activity: (row) => contactActivity(caller, row),
  };
}

/** Only the owner sees the activity. It names the contact by its id alone. */
export function contactActivity(by: Caller, { id, owner_id }: ContactRow): Omit<KithActivity, 'action'> {
  return { userId: owner_id, by, attributes: { contact_id: id }, isPrivate: true };
}

/** Writes a contact that somebody changes, and keeps what it was. */
export async function changeContact(
  tx: Db,
  at: ContactsApp,
  next: ContactRow,
  row: ContactRow,
  change: ContactChange,
): Promise<void> {
  const used = await writeContact(tx, next, row, await keepVersion(tx, at, row, next, change));
  if (row.photo_id !== '' && row.photo_id !== next.photo_id) {
    // As long as a version, a merge or an import may bring it back.
    await checkPhotoAt(tx, row.owner_id, row.photo_id, at.now() + at.purgeAfterMs);
  }
  const excess = used - versionBytesMax(at.contacts.bytesPerUserMax);
  if (excess > 0) await removeOldest(tx, row.owner_id, excess);
}

/** Writes a contact, with `versionBytes` added to what earlier versions take. Returns what they take then, if anything is added. */
async function writeContact(tx: Db, next: ContactRow, row: ContactRow, versionBytes = 0): Promise<number> {
  await updateContactRow(tx, next);
  const [before, after] = [usageOf(row), usageOf(next)];
  const used = await addVersionUsage(tx, row.owner_id, {
    contacts: after.contacts - before.contacts,
    liveContacts: after.liveContacts - before.liveContacts,
    bytes: after.bytes - before.bytes,
    versionBytes,
  });
  await recountLabels(tx, row.owner_id, countedLabels(row), countedLabels(next));
  return used;
}

/** The labels that count a contact: none of one that is not there. */
function countedLabels(row: ContactRow): readonly string[] {
  return row.deleted !== 0 || row.label_ids === '' ? [] : toFields(row).labelIds;
}

/**
 * The fields with the phone numbers in E.164 that can be read. Without a region, numbers that were there `before` stay as
 * they were read then: whoever sends a contact back, or imports it again, need not know in which region that was. Looks
 * for the owner's locale only if that may help.
 */
async function readPhones(
  tx: Db,
  ownerId: string,
  fields: ContactFields,
  phoneRegion: string,
  before: ContactFields['phones'] = [],
): Promise<ContactFields> {
  if (fields.phones.length === 0) return fields;
  const read = new Map(
    phoneRegion === '' ? before.flatMap(({ number, e164 }) => (e164 === undefined ? [] : [[number, e164]])) : [],
  );
  const isLocaleOfUse =
    phoneRegion === '' && fields.phones.some(({ number }) => !read.has(number) && needsRegion(number));
  const code = phoneRegion.toUpperCase();
  const region = isLocaleOfUse
    ? phoneRegionOf(await selectLocale(tx, ownerId))
    : isPhoneRegion(code)
      ? code
      : undefined;
  const phones = fields.phones.map((phone) => ({
    ...phone,
    e164: read.get(phone.number) ?? e164Of(phone.number, region),
  }));
  return { ...fields, phones };
}

/** Throws region_unknown. */
export function requirePhoneRegion(code: string): void {
  if (code === '' || isPhoneRegion(code.toUpperCase())) return;
  throw new Failure('region_unknown', 'phone_region is not the code of a region that has phone numbers, such as GB', {
    field: 'phone_region',
  });
}

/** Throws contact_empty. */
export function requireNotEmpty(fields: ContactFields): void {
  if (isEmpty(fields)) {
    throw new Failure(
      'contact_empty',
      'a contact needs a name, a nickname, a company, an email address or a phone number',
    );
  }
}

/** Throws contact_limit_reached or budget_exceeded if `more` would exceed what a user's contacts may take. */
export async function requireWithinLimits(
  tx: Db,
  { contacts: { perUserMax, bytesPerUserMax } }: ContactsApp,
  ownerId: string,
  more: Pick<ContactUsage, 'contacts' | 'bytes'>,
): Promise<void> {
  const usage = await selectUsage(tx, ownerId);
  if (more.contacts > 0 && usage.contacts + more.contacts > perUserMax) {
    throw new Failure('contact_limit_reached', `a user has at most ${perUserMax} contacts, deleted ones included`, {
      limit: String(perUserMax),
    });
  }
  if (usage.bytes + more.bytes > bytesPerUserMax) {
    throw new Failure(
      'budget_exceeded',
      `a user's contacts take at most ${bytesPerUserMax} bytes, deleted ones included: see GetUsage`,
      { budget: 'contact_bytes', limit: String(bytesPerUserMax) },
    );
  }
}
