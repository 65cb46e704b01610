import { randomUUIDv7 } from 'node:crypto';
import type { Caller } from '../kernel/access.ts';
import { type KithActivity, recordActivity } from '../activity/log/log.ts';
import { type App, atOneTime } from '../app.ts';
import type { Db } from '../storage/database.ts';
import { type ResponseFormat, runIdempotently } from '../storage/idempotency.ts';
import { Failure } from '../kernel/failure.ts';
import { applyUpdate, type PartialUpdate } from '../resources/partial-update.ts';
import { changeResource, changeWithin, readResource, type Resource } from '../resources/resource.ts';
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
import {
  addUsage,
  type ContactKey,
  type ContactRow,
  type ContactUsage,
  countContactRows,
  deleteOfOwner,
  deletePurgeable,
  insertContact,
  replaceTerms,
  selectContact,
  selectContactPage,
  selectLocale,
  selectOutdated,
  selectUsage,
  updateContactRow,
  usageOf,
} from './store.ts';
import { e164Of, isPhoneRegion, needsRegion, phoneRegionOf } from './phone-number.ts';
import { contactQueries, contactTerms } from './terms.ts';

/** The limits of one user's contacts. */
export interface ContactLimits {
  /** How many contacts a user may have, deleted ones included until they are purged. */
  readonly perUserMax: number;
  /** How much they may take together, bytes: see bytesOf. */
  readonly bytesPerUserMax: number;
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
 * Throws contact_empty, region_unknown, contact_limit_reached, budget_exceeded, request_id_reused.
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
export async function createWithin<Response>(
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

/** As createWithin, without a request id. */
export async function insertWithin(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  contact: Omit<NewContact, 'requestId'>,
): Promise<Contact> {
  requireCreatable(contact);
  const at = atOneTime(app);
  const now = at.now();
  const fields = await readPhones(tx, caller.userId, contact.fields, contact.phoneRegion);
  const columns = toColumns(fields);
  const terms = contactTerms(fields);
  const bytes = bytesOf(columns, terms);
  await requireWithinLimits(tx, app, caller.userId, { contacts: 1, bytes });
  const row: ContactRow = {
    ...columns,
    id: randomUUIDv7(),
    owner_id: caller.userId,
    deleted: 0,
    create_ms: now,
    update_ms: now,
    delete_ms: null,
    purge_ms: null,
    revision: 1,
    bytes,
  };
  await insertContact(tx, row, terms);
  await addUsage(tx, caller.userId, usageOf(row));
  await recordActivity(tx, at, { ...contactActivity(caller, row), action: 'kith.contact.created' });
  return toContact(row);
}

/** Throws contact_not_found. */
export async function getContact(app: App, caller: Caller, id: string): Promise<Contact> {
  return toContact(await readResource(app, app.database.db, contactResource(caller, id)));
}

export interface ContactListRequest extends PageRequest {
  readonly includeTotalSize: boolean;
  readonly query: string;
  /** Undefined: starred or not. */
  readonly starred: boolean | undefined;
  readonly deleted: boolean;
}

/** A page of the caller's contacts, by name. Throws page_token_invalid. */
export async function listContacts(app: App, caller: Caller, request: ContactListRequest): Promise<Page<Contact>> {
  const db = mayTakeLong(request) ? app.database.longReads : app.database.db;
  const filter = { deleted: request.deleted, starred: request.starred, queries: contactQueries(request.query) };
  const tokens = pageTokens<ContactKey>(
    app.keyring,
    'contacts',
    caller.userId,
    filter.deleted,
    filter.starred ?? null,
    filter.queries,
  );
  const after = tokens.read(request.pageToken);
  const page = await selectContactPage(db, caller.userId, filter, after, pageSizeOf(request));
  return {
    items: await mapInSlices(page.rows, toContact),
    nextPageToken: tokens.write(page.resumeAfter),
    total: request.includeTotalSize ? await countContactRows(db, caller.userId, filter) : undefined,
  };
}

/** What to change in a contact. */
export interface ContactUpdate {
  /** The fields that are not undefined. */
  readonly fields: PartialUpdate<ContactFields>;
  /** See NewContact. */
  readonly phoneRegion: string;
}

/**
 * Changes the fields that are not undefined.
 *
 * Throws contact_not_found, contact_empty, region_unknown, resource_deleted, etag_mismatch, budget_exceeded.
 */
export async function updateContact(
  app: ContactsApp,
  caller: Caller,
  id: string,
  etag: string | undefined,
  update: ContactUpdate,
): Promise<Contact> {
  requirePhoneRegion(update.phoneRegion);
  return app.database.transaction((tx) => updateWithin(tx, app, caller, id, etag, update), caller.userId);
}

/** As updateContact, in a transaction. Writes nothing if it throws, nor if the fields are the same. */
export async function updateWithin(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  id: string,
  etag: string | undefined,
  { fields: update, phoneRegion }: ContactUpdate,
): Promise<Contact> {
  requirePhoneRegion(phoneRegion);
  const next = await changeWithin(tx, atOneTime(app), 'update', contactResource(caller, id), etag, async ({ row }) => {
    const updated = applyUpdate(toFields(row), update);
    requireNotEmpty(updated);
    const fields = update.phones === undefined ? updated : await readPhones(tx, row.owner_id, updated, phoneRegion);
    const columns = toColumns(fields);
    if (isSame(columns, row)) return undefined;
    const terms = contactTerms(fields);
    const bytes = bytesOf(columns, terms);
    if (bytes > row.bytes) await requireWithinLimits(tx, app, row.owner_id, { contacts: 0, bytes: bytes - row.bytes });
    return { columns: { ...columns, bytes }, afterwards: (changed) => replaceTerms(tx, changed, terms) };
  });
  return toContact(next);
}

/** Whether the fields are the same, whatever version derived the other columns from them. */
function isSame(columns: FieldColumns, row: FieldColumns): boolean {
  const names = Object.keys(columns) as (keyof FieldColumns)[];
  return names.every((name) => DERIVED.has(name) || columns[name] === row[name]);
}

const DERIVED: ReadonlySet<keyof FieldColumns> = new Set(['sort_key', 'search_version']);

/** Deletes a contact until undeleted or purged. Throws contact_not_found, resource_deleted, etag_mismatch. */
export async function deleteContact(app: App, caller: Caller, id: string, etag: string | undefined): Promise<Contact> {
  const resource = contactResource(caller, id);
  return toContact(await changeResource(app, 'delete', resource, etag, () => ({ columns: { deleted: 1 } })));
}

/** Undeletes a contact. Throws contact_not_found, resource_not_deleted, etag_mismatch. */
export async function undeleteContact(
  app: App,
  caller: Caller,
  id: string,
  etag: string | undefined,
): Promise<Contact> {
  const resource = contactResource(caller, id);
  return toContact(await changeResource(app, 'undelete', resource, etag, () => ({ columns: { deleted: 0 } })));
}

/** The usage of a user's contacts. */
export function contactUsage(app: Pick<App, 'database'>, ownerId: string): Promise<ContactUsage> {
  return selectUsage(app.database.db, ownerId);
}

/** Removes up to `limit` contacts whose purge time has passed. Returns how many were removed. */
export function purgeContacts(app: App, limit: number): Promise<number> {
  return app.database.transaction((tx) => deletePurgeable(tx, app.now(), limit));
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
      const fields = await readPhones(tx, row.owner_id, toFields(row), '');
      const columns = toColumns(fields);
      const terms = contactTerms(fields);
      await replaceTerms(tx, row, terms);
      await writeContact(tx, { ...row, ...columns, bytes: bytesOf(columns, terms) }, row);
    }
    return rows.length;
  });
}

/** A contact of the caller's. Nobody else may read or change it. */
function contactResource(caller: Caller, id: string): Resource<ContactRow> {
  return {
    noun: 'contact',
    lockKey: caller.userId,
    select: (db) => selectContact(db, caller.userId, id),
    notFound: () => new Failure('contact_not_found', 'none of your contacts has this id'),
    authorize: () => {},
    write: (tx, _at, next, row) => writeContact(tx, next, row),
    activity: (row) => contactActivity(caller, row),
  };
}

/** Only the owner sees the activity. It names the contact by its id alone. */
function contactActivity(by: Caller, { id, owner_id }: ContactRow): Omit<KithActivity, 'action'> {
  return { userId: owner_id, by, attributes: { contact_id: id }, isPrivate: true };
}

async function writeContact(tx: Db, next: ContactRow, row: ContactRow): Promise<void> {
  await updateContactRow(tx, next);
  const [before, after] = [usageOf(row), usageOf(next)];
  await addUsage(tx, row.owner_id, {
    contacts: after.contacts - before.contacts,
    liveContacts: after.liveContacts - before.liveContacts,
    bytes: after.bytes - before.bytes,
  });
}

/** The fields with the phone numbers in E.164 that can be read. Looks for the owner's locale only if that may help. */
async function readPhones(tx: Db, ownerId: string, fields: ContactFields, phoneRegion: string): Promise<ContactFields> {
  if (fields.phones.length === 0) return fields;
  const isLocaleOfUse = phoneRegion === '' && fields.phones.some(({ number }) => needsRegion(number));
  const code = phoneRegion.toUpperCase();
  const region = isLocaleOfUse
    ? phoneRegionOf(await selectLocale(tx, ownerId))
    : isPhoneRegion(code)
      ? code
      : undefined;
  return { ...fields, phones: fields.phones.map((phone) => ({ ...phone, e164: e164Of(phone.number, region) })) };
}

/** Throws region_unknown. */
export function requirePhoneRegion(code: string): void {
  if (code === '' || isPhoneRegion(code.toUpperCase())) return;
  throw new Failure('region_unknown', 'phone_region is not the code of a region that has phone numbers, such as GB', {
    field: 'phone_region',
  });
}

/** Throws contact_empty. */
function requireNotEmpty(fields: ContactFields): void {
  if (isEmpty(fields)) {
    throw new Failure('contact_empty', 'a contact needs a name, a company, an email address or a phone number');
  }
}

/** Throws contact_limit_reached or budget_exceeded if `more` would exceed what a user's contacts may take. */
async function requireWithinLimits(
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
