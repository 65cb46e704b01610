import { sql } from 'kysely';
import type { Db } from '../storage/database.ts';
import { addUsage, type ContactRow, MERGED, selectContact } from './store.ts';

declare module '../storage/schema.ts' {
  interface Schema {
    contact_merges: ContactMergeRow;
  }
}

/** A merge that can be taken back. The contacts that were merged have its id: see ContactRow.merge_id. */
export interface ContactMergeRow {
  id: string;
  owner_id: string;
  /** The contact that stayed. */
  contact_id: string;
  /** Its revision after the merge: later merges have higher ones. */
  revision: number;
  /** JSON of its fields before the merge, and after it. */
  fields_before: string;
  fields_after: string;
  /** Ids of contacts from which it was marked as distinct with the merge, separated by blanks. */
  distinct_ids: string;
  /** What it takes, in the usage of the owner. */
  bytes: number;
  create_ms: number;
  purge_ms: number;
}

/** As SQL, without which the databases do not use the index of merged contacts. */
const NO_MERGE = sql<string>`''`;

/** How many merges are followed, one after the other, to the contact that stayed. */
const FOLLOWED_MAX = 20;

/** The contact that a merged one became part of, deleted or not; undefined if the merge or that contact is gone. */
export async function selectTarget(db: Db, merged: ContactRow): Promise<ContactRow | undefined> {
  let row: ContactRow | undefined = merged;
  for (let i = 0; i < FOLLOWED_MAX && row?.deleted === MERGED; i++) {
    const merge = await db
      .selectFrom('contact_merges')
      .select('contact_id')
      .where('id', '=', row.merge_id)
      .executeTakeFirst();
    row = merge && (await selectContact(db, merged.owner_id, merge.contact_id));
  }
  return row;
}

export async function insertMerge(tx: Db, row: ContactMergeRow): Promise<void> {
  await tx.insertInto('contact_merges').values(row).execute();
  await addUsage(tx, row.owner_id, { contacts: 0, liveContacts: 0, bytes: row.bytes });
}

/** The last merge into a contact. */
export function selectLastMerge(db: Db, ownerId: string, contactId: string): Promise<ContactMergeRow | undefined> {
  return db
    .selectFrom('contact_merges')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where('contact_id', '=', contactId)
    .orderBy('revision', 'desc')
    .limit(1)
    .executeTakeFirst();
}

/** What contacts were before anything was merged into them, as far as it is kept, by their ids. */
export async function selectFieldsBefore(
  db: Db,
  ownerId: string,
  contactIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (contactIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('contact_merges')
    .select(['contact_id', 'fields_before'])
    .where('owner_id', '=', ownerId)
    .where('contact_id', 'in', contactIds)
    .orderBy('revision', 'desc')
    .execute();
  return new Map(rows.map(({ contact_id, fields_before }) => [contact_id, fields_before]));
}

/** The merges of an owner, the newest first. */
export function selectMerges(
  db: Db,
  ownerId: string,
  afterId: string | undefined,
  limit: number,
): Promise<ContactMergeRow[]> {
  const all = db.selectFrom('contact_merges').selectAll().where('owner_id', '=', ownerId);
  const following = afterId === undefined ? all : all.where('id', '<', afterId);
  return following.orderBy('id', 'desc').limit(limit).execute();
}

/** The contacts of an owner that were merged in one of these merges, by their ids. */
export function selectMerged(db: Db, ownerId: string, mergeIds: readonly string[]): Promise<ContactRow[]> {
  return (
    db
      .selectFrom('contacts')
      .selectAll()
      .where('merge_id', 'in', mergeIds)
      // The index of merges has those alone.
      .where('merge_id', '<>', NO_MERGE)
      .where('owner_id', '=', ownerId)
      .orderBy('id')
      .execute()
  );
}

/** The ids of those contacts, by the merges. */
export async function selectMergedIds(
  db: Db,
  ownerId: string,
  mergeIds: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  if (mergeIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('contacts')
    .select(['id', 'merge_id'])
    .where('merge_id', 'in', mergeIds)
    .where('merge_id', '<>', NO_MERGE)
    .where('owner_id', '=', ownerId)
    .orderBy('id')
    .execute();
  const ids = Map.groupBy(rows, ({ merge_id }) => merge_id);
  return new Map([...ids].map(([mergeId, merged]) => [mergeId, merged.map(({ id }) => id)]));
}

/** What it takes to remove a merge. */
type StoredMerge = Pick<ContactMergeRow, 'id' | 'owner_id' | 'bytes'>;

/** Removes a merge, and what it takes from the usage. */
export async function deleteMerge(tx: Db, { id, owner_id, bytes }: StoredMerge): Promise<void> {
  await tx.deleteFrom('contact_merges').where('id', '=', id).execute();
  await addUsage(tx, owner_id, { contacts: 0, liveContacts: 0, bytes: -bytes });
}

/** Removes up to `limit` merges whose purge time has passed. Returns how many were removed. */
export async function deletePurgeableMerges(tx: Db, nowMs: number, limit: number): Promise<number> {
  const due = await tx
    .selectFrom('contact_merges')
    .select(['id', 'owner_id', 'bytes'])
    .where('purge_ms', '<=', nowMs)
    .orderBy('purge_ms')
    .limit(limit)
    .execute();
  return deleteMerges(tx, due);
}

/** Removes up to `limit` merges of an owner. Returns how many were removed. */
export async function deleteMergesOf(tx: Db, ownerId: string, limit: number): Promise<number> {
  const some = await tx
    .selectFrom('contact_merges')
    .select(['id', 'owner_id', 'bytes'])
    .where('owner_id', '=', ownerId)
    .limit(limit)
    .execute();
  return deleteMerges(tx, some);
}

async function deleteMerges(tx: Db, merges: readonly StoredMerge[]): Promise<number> {
  // Every transaction locks owners in the same order, so that none of them deadlock.
  for (const merge of merges.toSorted((a, b) => (a.owner_id < b.owner_id ? -1 : 1))) await deleteMerge(tx, merge);
  return merges.length;
}
