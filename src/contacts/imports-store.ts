import type { Db } from '../storage/database.ts';
import { addUsage } from './store.ts';

declare module '../storage/schema.ts' {
  interface Schema {
    contact_imports: ContactImportRow;
    contact_import_changes: ImportChangeRow;
  }
}

/** An import that wrote something. Its id is the caller's choice, and unique among those of the owner. */
export interface ContactImportRow {
  owner_id: string;
  id: string;
  source: string;
  /** How many contacts it created and changed. */
  created: number;
  updated: number;
  /** How many changes of it are kept. */
  remaining: number;
  /** Labels that it created or brought back, separated by blanks: see labelsOf. */
  label_ids: string;
  /** What the row takes, in the usage of the owner. */
  bytes: number;
  create_ms: number;
  /** Until when it can be taken back. */
  purge_ms: number;
}

/** What an import did to a contact, until it is taken back. */
export interface ImportChangeRow {
  owner_id: string;
  import_id: string;
  contact_id: string;
  /** The revision of the contact that the import wrote: with another one, somebody changed it since. */
  revision: number;
  /** JSON of the fields before the import; '' of a contact that it created. */
  fields_before: string;
  /** What the row takes, and what taking it back takes beside the contact as it is, in the usage of the owner. */
  bytes: number;
}

export function selectImport(db: Db, ownerId: string, id: string): Promise<ContactImportRow | undefined> {
  return db
    .selectFrom('contact_imports')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where('id', '=', id)
    .executeTakeFirst();
}

/** The time and id of the last import of a page. */
export type ImportKey = [createMs: number, id: string];

/** The imports of an owner, the newest first. */
export function selectImports(
  db: Db,
  ownerId: string,
  after: ImportKey | undefined,
  limit: number,
): Promise<ContactImportRow[]> {
  const all = db.selectFrom('contact_imports').selectAll().where('owner_id', '=', ownerId);
  const following =
    after === undefined
      ? all
      : all.where(({ eb, refTuple, tuple }) => eb(refTuple('create_ms', 'id'), '<', tuple(...after)));
  return following.orderBy('create_ms', 'desc').orderBy('id', 'desc').limit(limit).execute();
}

/** Writes an import anew or again, with changes of it, and adds `bytes` to the usage of the owner. */
export async function writeImport(
  tx: Db,
  row: ContactImportRow,
  changes: readonly ImportChangeRow[],
  bytes: number,
): Promise<void> {
  await tx
    .insertInto('contact_imports')
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(['owner_id', 'id']).doUpdateSet({
        created: row.created,
        updated: row.updated,
        remaining: row.remaining,
        label_ids: row.label_ids,
        bytes: row.bytes,
        purge_ms: row.purge_ms,
      }),
    )
    .execute();
  if (changes.length > 0) {
    await tx
      .insertInto('contact_import_changes')
      .values(changes)
      .onConflict((conflict) =>
        conflict
          .columns(['owner_id', 'import_id', 'contact_id'])
          .doUpdateSet((eb) => ({ revision: eb.ref('excluded.revision'), bytes: eb.ref('excluded.bytes') })),
      )
      .execute();
  }
  await addUsage(tx, row.owner_id, { contacts: 0, liveContacts: 0, bytes });
}

/** What an import did to a contact. */
export function selectChange(
  db: Db,
  ownerId: string,
  importId: string,
  contactId: string,
): Promise<ImportChangeRow | undefined> {
  return changesOf(db, ownerId, importId).where('contact_id', '=', contactId).executeTakeFirst();
}

/** Up to `limit` changes of an import, by the ids of contacts after this one. */
export function selectChangesAfter(
  db: Db,
  ownerId: string,
  importId: string,
  contactId: string,
  limit: number,
): Promise<ImportChangeRow[]> {
  return changesOf(db, ownerId, importId)
    .where('contact_id', '>', contactId)
    .orderBy('contact_id')
    .limit(limit)
    .execute();
}

function changesOf(db: Db, ownerId: string, importId: string) {
  return db
    .selectFrom('contact_import_changes')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where('import_id', '=', importId);
}

/** Up to `limit` changes of all imports of an owner, after one of them. */
export function selectChangesOfOwner(
  db: Db,
  ownerId: string,
  after: readonly [importId: string, contactId: string],
  limit: number,
): Promise<ImportChangeRow[]> {
  return db
    .selectFrom('contact_import_changes')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where(({ eb, refTuple, tuple }) => eb(refTuple('import_id', 'contact_id'), '>', tuple(...after)))
    .orderBy('import_id')
    .orderBy('contact_id')
    .limit(limit)
    .execute();
}

/** Removes changes of one import of an owner, and what they take from the usage. */
export async function deleteChanges(
  tx: Db,
  ownerId: string,
  importId: string,
  changes: readonly ImportChangeRow[],
): Promise<void> {
  if (changes.length === 0) return;
  const contactIds = changes.map(({ contact_id }) => contact_id);
  await tx
    .deleteFrom('contact_import_changes')
    .where('owner_id', '=', ownerId)
    .where('import_id', '=', importId)
    .where('contact_id', 'in', contactIds)
    .execute();
  await tx
    .updateTable('contact_imports')
    .set((eb) => ({ remaining: eb('remaining', '-', changes.length) }))
    .where('owner_id', '=', ownerId)
    .where('id', '=', importId)
    .execute();
  const bytes = changes.reduce((sum, change) => sum + change.bytes, 0);
  await addUsage(tx, ownerId, { contacts: 0, liveContacts: 0, bytes: -bytes });
}

/** An import that cannot be taken back any more. */
export function selectPurgeableImport(db: Db, nowMs: number): Promise<ContactImportRow | undefined> {
  return db
    .selectFrom('contact_imports')
    .selectAll()
    .where('purge_ms', '<=', nowMs)
    .orderBy('purge_ms')
    .limit(1)
    .executeTakeFirst();
}

/** Removes an import of which no changes are left, and what it takes from the usage. */
export async function deleteImport(tx: Db, { owner_id, id, bytes }: ContactImportRow): Promise<void> {
  await tx.deleteFrom('contact_imports').where('owner_id', '=', owner_id).where('id', '=', id).execute();
  await addUsage(tx, owner_id, { contacts: 0, liveContacts: 0, bytes: -bytes });
}
