import { randomUUIDv7 } from 'node:crypto';
import type { Caller } from '../access.ts';
import { appendActivities } from '../activity/log.ts';
import { type App, atOneTime } from '../app.ts';
import type { Db } from '../db/database.ts';
import { answerOnce } from '../db/once.ts';
import { checkEtag } from '../etag.ts';
import { Failure } from '../failure.ts';
import { type Page, type PageRequest, pageSizeOf, pageTokens } from '../pages.ts';
import {
  type Contact,
  type ContactFields,
  completeContact,
  contactQueries,
  contactTerms,
  isEmpty,
  toColumns,
  toContact,
  toFields,
} from './contact.ts';
import {
  type ContactKey,
  type ContactRow,
  countAllContactRows,
  countContactRows,
  deleteOfOwner,
  deletePurgeable,
  insertContact,
  replaceTerms,
  selectContact,
  selectContactPage,
  updateContactRow,
} from './store.ts';

/** How many contacts a user may have, deleted ones included: the bound on what a list or search of one owner costs. */
const CONTACTS_MAX = 25_000;

/** Creates a contact of the caller's. Throws contact_empty, contact_limit_reached, request_id_reused. */
export async function createContact(
  app: App,
  caller: Caller,
  fields: ContactFields,
  requestId: string,
): Promise<Contact> {
  requireSomething(fields);
  return app.database.transaction(
    (tx) =>
      answerOnce(
        tx,
        app,
        { callerId: caller.userId, requestId, method: 'CreateContact', input: fields },
        async () => {
          await requireRoom(tx, caller);
          const at = atOneTime(app);
          const now = at.now();
          const row: ContactRow = {
            ...toColumns(fields),
            id: randomUUIDv7(),
            owner_id: caller.userId,
            deleted: 0,
            create_ms: now,
            update_ms: now,
            delete_ms: null,
            purge_ms: null,
            revision: 1,
          };
          await insertContact(tx, row, contactTerms(fields));
          await tell(tx, at, row, 'created');
          return toContact(row);
        },
        completeContact,
      ),
    caller.userId,
  );
}

/** Throws contact_not_found. */
export async function getContact(app: App, caller: Caller, id: string): Promise<Contact> {
  return toContact(await requireContact(app, app.database.db, caller, id));
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
  const { db } = app.database;
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
    items: page.rows.map(toContact),
    nextPageToken: tokens.write(page.resumeAfter),
    totalSize: request.includeTotalSize ? await countContactRows(db, caller.userId, filter) : undefined,
  };
}

/**
 * Changes the fields that `change` has.
 *
 * Throws contact_not_found, contact_empty, resource_deleted, etag_mismatch.
 */
export async function updateContact(
  app: App,
  caller: Caller,
  id: string,
  etag: string | undefined,
  change: Partial<ContactFields>,
): Promise<Contact> {
  return app.database.transaction(async (tx) => {
    const at = atOneTime(app);
    const row = await requireLiveContact(at, tx, caller, id, etag);
    const fields = { ...toFields(row), ...change };
    requireSomething(fields);
    const columns = toColumns(fields);
    if ((Object.keys(columns) as (keyof typeof columns)[]).every((column) => columns[column] === row[column])) {
      return toContact(row);
    }
    const next = revised(at, row, columns);
    await updateContactRow(tx, next);
    await replaceTerms(tx, next, contactTerms(fields));
    await tell(tx, at, next, 'updated');
    return toContact(next);
  }, caller.userId);
}

/** Deletes a contact until undeleted or purged. Throws contact_not_found, resource_deleted, etag_mismatch. */
export async function deleteContact(app: App, caller: Caller, id: string, etag: string | undefined): Promise<Contact> {
  return app.database.transaction(async (tx) => {
    const at = atOneTime(app);
    const row = await requireLiveContact(at, tx, caller, id, etag);
    const now = at.now();
    const next = revised(at, row, { deleted: 1, delete_ms: now, purge_ms: now + app.purgeAfterMs });
    await updateContactRow(tx, next);
    await tell(tx, at, next, 'deleted');
    return toContact(next);
  }, caller.userId);
}

/** Takes a deletion back. Throws contact_not_found, resource_not_deleted, etag_mismatch. */
export async function undeleteContact(
  app: App,
  caller: Caller,
  id: string,
  etag: string | undefined,
): Promise<Contact> {
  return app.database.transaction(async (tx) => {
    const at = atOneTime(app);
    const row = await requireContact(at, tx, caller, id);
    checkEtag(row, etag);
    if (row.deleted === 0) throw new Failure('resource_not_deleted', 'the contact is not deleted');
    const next = revised(at, row, { deleted: 0, delete_ms: null, purge_ms: null });
    await updateContactRow(tx, next);
    await tell(tx, at, next, 'undeleted');
    return toContact(next);
  }, caller.userId);
}

/** How many contacts a user has, without the deleted ones. */
export function countContacts(app: App, ownerId: string): Promise<number> {
  return countContactRows(app.database.db, ownerId, { deleted: false, starred: undefined, queries: [] });
}

/** Removes up to `limit` contacts whose time to be undeleted is over; how many there were. */
export function purgeContacts(app: App, limit: number): Promise<number> {
  return deletePurgeable(app.database.db, app.now(), limit);
}

/** Removes up to `limit` contacts of a user who is about to be purged; how many there were. */
export function purgeContactsOf(app: App, ownerId: string, limit: number): Promise<number> {
  return deleteOfOwner(app.database.db, ownerId, limit);
}

/** Tells the owner, and nobody else, of a change. What the contact holds is not told. */
async function tell(tx: Db, app: App, { id, owner_id }: ContactRow, what: string): Promise<void> {
  await appendActivities(tx, app, [
    {
      userId: owner_id,
      actorId: owner_id,
      action: `kith.contact.${what}`,
      attributes: { contact_id: id },
      isPrivate: true,
    },
  ]);
}

function requireSomething(fields: ContactFields): void {
  if (isEmpty(fields)) {
    throw new Failure('contact_empty', 'a contact needs a name, a company, an email address or a phone number');
  }
}

async function requireRoom(tx: Db, caller: Caller): Promise<void> {
  if ((await countAllContactRows(tx, caller.userId)) < CONTACTS_MAX) return;
  throw new Failure('contact_limit_reached', `a user has at most ${CONTACTS_MAX} contacts, deleted ones included`, {
    limit: String(CONTACTS_MAX),
  });
}

async function requireContact(app: App, db: Db, caller: Caller, id: string): Promise<ContactRow> {
  const row = await selectContact(db, caller.userId, id);
  // Past its purge time a contact is gone, whether purged yet or not.
  if (row === undefined || (row.purge_ms !== null && row.purge_ms <= app.now()))
    throw new Failure('contact_not_found', 'none of your contacts has this id');
  return row;
}

async function requireLiveContact(
  app: App,
  tx: Db,
  caller: Caller,
  id: string,
  etag: string | undefined,
): Promise<ContactRow> {
  const row = await requireContact(app, tx, caller, id);
  checkEtag(row, etag);
  if (row.deleted === 1) throw new Failure('resource_deleted', 'the contact is deleted: undelete it first');
  return row;
}

function revised(app: App, row: ContactRow, change: Partial<ContactRow>): ContactRow {
  return { ...row, ...change, update_ms: app.now(), revision: row.revision + 1 };
}
