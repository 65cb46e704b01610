import { type App, atOneTime } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import type { Db } from '../storage/database.ts';
import { type Page, type PageRequest, pageSizeOf, pageTokens, readBounded } from '../storage/pages.ts';
import { type ContactFields, fieldsOfJson } from './contact.ts';
import { type ContactsApp, takeBackWithin } from './contacts.ts';
import { labelsOf } from './import-changes.ts';
import {
  type ContactImportRow,
  deleteChanges,
  deleteImport,
  type ImportChangeRow,
  selectChangesAfter,
  selectChangesOfOwner,
  selectImport,
  selectImports,
  selectPurgeableImport,
} from './imports-store.ts';
import { deleteUnused } from './labels/labels.ts';
import { STEP_CONTACTS } from './steps.ts';
import { MERGED, selectContact } from './store.ts';

/** How many contacts one call takes back at most. */
const UNDONE_MAX = 500;

/** What came of a contact of an import that is taken back. */
export interface UndoneContact {
  readonly id: string;
  /** Deleted or restored; or left as it is, since somebody changed it, or deleted it, after the import. */
  readonly status: 'deleted' | 'restored' | 'changed' | 'gone';
}

/**
 * Takes an import of the caller's back, from the place that a page token names on, in steps that are a transaction each.
 * A contact that was changed since stays as it is, and what is known of it is kept: who begins again is told of it again.
 *
 * Throws contact_import_not_found, page_token_invalid.
 */
export async function undoImport(
  app: ContactsApp,
  caller: Caller,
  importId: string,
  pageToken: string,
  signal?: AbortSignal,
): Promise<Pick<Page<UndoneContact>, 'items' | 'nextPageToken'>> {
  const tokens = pageTokens<[contactId: string]>(app.keyring, 'import', caller.userId, importId);
  let [after] = tokens.read(pageToken) ?? [''];
  const items: UndoneContact[] = [];
  for (let isEnd = false; !isEnd; ) {
    signal?.throwIfAborted();
    const from = after;
    const step = await app.database.transaction((tx) => undoStep(tx, app, caller, importId, from), caller.userId);
    items.push(...step);
    isEnd = step.length < STEP_CONTACTS;
    after = step.at(-1)?.id ?? after;
    if (!isEnd && items.length >= UNDONE_MAX) return { items, nextPageToken: tokens.write([after]) };
  }
  return { items, nextPageToken: '' };
}

async function undoStep(
  tx: Db,
  app: ContactsApp,
  caller: Caller,
  importId: string,
  after: string,
): Promise<UndoneContact[]> {
  const at = atOneTime(app);
  const found = await selectImport(tx, caller.userId, importId);
  if (found === undefined || found.purge_ms <= at.now()) {
    throw new Failure(
      'contact_import_not_found',
      'you have no import with this id: it wrote nothing, or longer ago than it can be taken back',
    );
  }
  const changes = await selectChangesAfter(tx, caller.userId, importId, after, STEP_CONTACTS);
  const results: UndoneContact[] = [];
  for (const change of changes) results.push({ id: change.contact_id, status: await undo(tx, at, caller, change) });
  const done = changes.filter((_, i) => results[i]!.status !== 'changed');
  await deleteChanges(tx, caller.userId, importId, done);
  const isEnd = changes.length < STEP_CONTACTS;
  if (isEnd) await deleteUnused(tx, at, caller, labelsOf(found));
  return results;
}

async function undo(
  tx: Db,
  at: ContactsApp,
  caller: Caller,
  change: ImportChangeRow,
): Promise<UndoneContact['status']> {
  const row = await selectContact(tx, caller.userId, change.contact_id);
  if (row === undefined || row.deleted === 1 || (row.purge_ms !== null && row.purge_ms <= at.now())) return 'gone';
  if (row.deleted === MERGED || row.revision !== change.revision) return 'changed';
  await takeBackWithin(tx, at, caller, row, fieldsBefore(change), { import_id: change.import_id });
  return change.fields_before === '' ? 'deleted' : 'restored';
}

/** What a contact was before an import; undefined of one that it created. */
function fieldsBefore({ fields_before }: ImportChangeRow): ContactFields | undefined {
  return fields_before === '' ? undefined : fieldsOfJson(fields_before);
}

/** An import as the contract shows it; times in milliseconds since 1970. */
export interface ContactImport {
  readonly id: string;
  readonly source: string;
  readonly createdContacts: number;
  readonly updatedContacts: number;
  readonly remainingContacts: number;
  readonly createMs: number;
  readonly purgeMs: number;
}

/** A page of the caller's imports, newest first. Throws page_token_invalid. */
export async function listImports(app: App, caller: Caller, request: PageRequest): Promise<Page<ContactImport>> {
  const tokens = pageTokens<[createMs: string, id: string]>(app.keyring, 'imports', caller.userId);
  const begin = tokens.read(request.pageToken);
  const { rows, last } = await readBounded<ContactImportRow>(pageSizeOf(request), (row, limit) => {
    const [createMs, id] = row === undefined ? (begin ?? []) : [row.create_ms, row.id];
    const after = id === undefined ? undefined : ([Number(createMs), id] as [number, string]);
    return selectImports(app.database.db, caller.userId, after, limit);
  });
  return {
    items: rows.map(toImport),
    nextPageToken: tokens.write(last && [String(last.create_ms), last.id]),
    total: undefined,
  };
}

function toImport(row: ContactImportRow): ContactImport {
  return {
    id: row.id,
    source: row.source,
    createdContacts: row.created,
    updatedContacts: row.updated,
    remainingContacts: row.remaining,
    createMs: row.create_ms,
    purgeMs: row.purge_ms,
  };
}

/** What an import did to a contact, for exports of all that is kept of a user. */
export interface ImportChange {
  readonly importId: string;
  readonly contactId: string;
  /** What the contact was before; undefined of one that the import created. */
  readonly before: ContactFields | undefined;
}

/** A page of what the caller's imports did to contacts. Throws page_token_invalid. */
export async function listImportChanges(app: App, caller: Caller, request: PageRequest): Promise<Page<ImportChange>> {
  const tokens = pageTokens<[importId: string, contactId: string]>(app.keyring, 'import-changes', caller.userId);
  const begin = tokens.read(request.pageToken) ?? ['', ''];
  const { rows, last } = await readBounded<ImportChangeRow>(pageSizeOf(request), (row, limit) => {
    const after = row === undefined ? begin : ([row.import_id, row.contact_id] as const);
    return selectChangesOfOwner(app.database.db, caller.userId, after, limit);
  });
  return {
    items: rows.map((row) => ({ importId: row.import_id, contactId: row.contact_id, before: fieldsBefore(row) })),
    nextPageToken: tokens.write(last && [last.import_id, last.contact_id]),
    total: undefined,
  };
}

/**
 * Removes an import that cannot be taken back any more: first up to `limit` of its changes, and when there are none, the
 * import. Returns how many rows were removed.
 */
export function purgeImports(app: App, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const due = await selectPurgeableImport(tx, app.now());
    if (due === undefined) return 0;
    const changes = await selectChangesAfter(tx, due.owner_id, due.id, '', limit);
    if (changes.length === 0) await deleteImport(tx, due);
    else await deleteChanges(tx, due.owner_id, due.id, changes);
    return Math.max(changes.length, 1);
  });
}

/** Removes up to `limit` rows of imports of a user who is about to be purged. Returns how many were removed. */
export function purgeImportsOf(app: App, ownerId: string, limit: number): Promise<number> {
  return app.database.transaction(async (tx) => {
    const changes = await selectChangesOfOwner(tx, ownerId, ['', ''], limit);
    for (const [importId, some] of Map.groupBy(changes, ({ import_id }) => import_id)) {
      await deleteChanges(tx, ownerId, importId, some);
    }
    if (changes.length === limit) return changes.length;
    const imports = await selectImports(tx, ownerId, undefined, limit - changes.length);
    for (const row of imports) await deleteImport(tx, row);
    return changes.length + imports.length;
  });
}
