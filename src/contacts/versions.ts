import type { App } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import { type Page, type PageRequest, pageSizeOf, pageTokens, readBounded } from '../storage/pages.ts';
import { changeResource, readResource } from '../resources/resource.ts';
import { type Contact, type ContactFields, fieldsOfJson } from './contact.ts';
import { changeFields, contactResource, type ContactsApp, toShown } from './contacts.ts';
import { knownLabels, visibleLabels } from './labels/labels.ts';
import type { FieldName } from './merge.ts';
import { knownPhoto } from './photos-store.ts';
import {
  type ContactVersionRow,
  deleteVersions,
  selectOldest,
  selectPurgeableVersions,
  selectVersion,
  selectVersions,
  selectVersionsOfOwner,
} from './versions-store.ts';

/** What a contact was before a change of it; times in milliseconds since 1970. */
export interface EarlierContact {
  readonly contactId: string;
  /** Higher for later versions of a contact. */
  readonly version: number;
  readonly fields: ContactFields;
  /** The change that made another one of it. */
  readonly changeMs: number;
  readonly action: string;
  readonly actorSessionId: string;
  readonly changed: readonly FieldName[];
  readonly purgeMs: number;
}

/** A page of what a contact of the caller's was before, newest first. Throws contact_not_found, contact_merged, page_token_invalid. */
export async function listVersions(
  app: ContactsApp,
  caller: Caller,
  contactId: string,
  request: PageRequest,
): Promise<Page<EarlierContact>> {
  const { db } = app.database;
  const tokens = pageTokens<[revision: string]>(app.keyring, 'contact-versions', caller.userId, contactId);
  const [begin] = tokens.read(request.pageToken) ?? [];
  const { id } = await readResource(app, db, contactResource(app, caller, contactId));
  const { rows, last } = await readBounded<ContactVersionRow>(pageSizeOf(request), (row, limit) =>
    selectVersions(db, caller.userId, id, row?.revision ?? (begin === undefined ? undefined : Number(begin)), limit),
  );
  const kept = rows.filter(({ purge_ms }) => purge_ms > app.now());
  return {
    items: await toEarlier(db, caller.userId, kept),
    nextPageToken: tokens.write(last && [String(last.revision)]),
    total: undefined,
  };
}

async function toEarlier(db: Db, ownerId: string, rows: readonly ContactVersionRow[]): Promise<EarlierContact[]> {
  const fields = await visibleLabels(
    db,
    ownerId,
    rows.map((row) => fieldsOfJson(row.fields)),
  );
  return rows.map((row, i) => ({
    contactId: row.contact_id,
    version: row.revision,
    fields: fields[i]!,
    changeMs: row.change_ms,
    action: row.action,
    actorSessionId: row.actor_session_id,
    changed: row.changed === '' ? [] : (row.changed.split(' ') as FieldName[]),
    purgeMs: row.purge_ms,
  }));
}

/**
 * Gives a contact of the caller's all fields of an earlier version. Labels that are purged since are left out.
 *
 * Throws contact_not_found, contact_merged, resource_deleted, etag_mismatch, contact_version_not_found, budget_exceeded.
 */
export async function restoreVersion(
  app: ContactsApp,
  caller: Caller,
  { id, version, etag }: { readonly id: string; readonly version: number; readonly etag: string | undefined },
): Promise<Contact> {
  const resource = contactResource(app, caller, id);
  const row = await changeResource(app, 'update', resource, etag, async ({ tx, at, row: present }) => {
    const stored = await selectVersion(tx, caller.userId, present.id, version);
    if (stored === undefined || stored.purge_ms <= at.now()) {
      throw new Failure(
        'contact_version_not_found',
        'the contact has no such version: list its versions again, old ones are removed',
      );
    }
    const fields = fieldsOfJson(stored.fields);
    const labelIds = await knownLabels(tx, caller.userId, fields.labelIds);
    const photoId = await knownPhoto(tx, caller.userId, fields.photoId);
    const change = await changeFields(tx, at, present, { ...fields, labelIds, photoId });
    return change && { ...change, attributes: { restored_version: String(version) } };
  });
  return toShown(app.database.db, row);
}

/** A page of the earlier versions of all contacts of the caller's. Throws page_token_invalid. */
export async function listAllVersions(app: App, caller: Caller, request: PageRequest): Promise<Page<EarlierContact>> {
  const { db } = app.database;
  const tokens = pageTokens<[contactId: string, revision: string]>(app.keyring, 'all-versions', caller.userId);
  const [contactId, revision] = tokens.read(request.pageToken) ?? ['', '0'];
  const { rows, last } = await readBounded<ContactVersionRow>(pageSizeOf(request), (row, limit) =>
    selectVersionsOfOwner(
      db,
      caller.userId,
      row === undefined ? [contactId, Number(revision)] : [row.contact_id, row.revision],
      limit,
    ),
  );
  return {
    items: await toEarlier(db, caller.userId, rows),
    nextPageToken: tokens.write(last && [last.contact_id, String(last.revision)]),
    total: undefined,
  };
}

/** Removes up to `limit` versions whose purge time has passed. Returns how many were removed. */
export function purgeVersions(app: App, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const due = await selectPurgeableVersions(tx, app.now(), limit);
    await deleteVersions(tx, due);
    return due.length;
  });
}

/** Removes up to `limit` versions of a user who is about to be purged. Returns how many were removed. */
export function purgeVersionsOf(app: App, ownerId: string, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const some = await selectOldest(tx, ownerId, limit);
    await deleteVersions(tx, some);
    return some.length;
  });
}
