import type { Db } from '../../storage/database.ts';
import { post } from '../../storage/posted.ts';

declare module '../../storage/schema.ts' {
  interface Schema {
    labels: LabelRow;
  }
}

export interface LabelRow {
  id: string;
  owner_id: string;
  name: string;
  /** What the name is compared and sorted by; unique among the labels of an owner that are not deleted. */
  name_key: string;
  /** '' for none. */
  color: string;
  /** How many contacts that are not deleted have the label. */
  contacts: number;
  deleted: 0 | 1;
  create_ms: number;
  update_ms: number;
  delete_ms: number | null;
  purge_ms: number | null;
  revision: number;
}

/** The name key and id of the last label of a page. */
export type LabelKey = [nameKey: string, id: string];

export function selectLabel(db: Db, ownerId: string, id: string): Promise<LabelRow | undefined> {
  return db.selectFrom('labels').selectAll().where('owner_id', '=', ownerId).where('id', '=', id).executeTakeFirst();
}

export async function insertLabel(tx: Db, row: LabelRow): Promise<void> {
  await tx.insertInto('labels').values(row).execute();
}

export async function updateLabelRow(tx: Db, row: LabelRow): Promise<void> {
  await tx.updateTable('labels').set(row).where('owner_id', '=', row.owner_id).where('id', '=', row.id).execute();
}

export async function countLabelsOf(db: Db, ownerId: string): Promise<number> {
  const { count } = await db
    .selectFrom('labels')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('owner_id', '=', ownerId)
    .executeTakeFirstOrThrow();
  return count;
}

export function selectLabels(
  db: Db,
  ownerId: string,
  deleted: boolean,
  after: LabelKey | undefined,
  limit: number,
): Promise<LabelRow[]> {
  const labels = db
    .selectFrom('labels')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where('deleted', '=', deleted ? 1 : 0);
  const following =
    after === undefined
      ? labels
      : labels.where(({ eb, refTuple, tuple }) => eb(refTuple('name_key', 'id'), '>', tuple(...after)));
  return following.orderBy('name_key').orderBy('id').limit(limit).execute();
}

/** The labels of an owner with these name keys, deleted ones included. */
export async function selectLabelsByKey(db: Db, ownerId: string, keys: readonly string[]): Promise<LabelRow[]> {
  if (keys.length === 0) return [];
  return (
    db
      .selectFrom('labels')
      .selectAll()
      .where('owner_id', '=', ownerId)
      // The index of names has it before them.
      .where('deleted', 'in', [0, 1])
      .where('name_key', 'in', keys)
      .execute()
  );
}

/** The labels of an owner with these ids. */
export async function selectLabelsById(db: Db, ownerId: string, ids: readonly string[]): Promise<LabelRow[]> {
  if (ids.length === 0) return [];
  return db.selectFrom('labels').selectAll().where('id', 'in', ids).where('owner_id', '=', ownerId).execute();
}

/** Of these ids, those of labels of the owner that are not deleted. */
export async function selectLiveIds(db: Db, ownerId: string, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = await idsAmong(db, ownerId, ids).where('deleted', '=', 0).execute();
  return new Set(rows.map(({ id }) => id));
}

/** Of these ids, those of labels of the owner, deleted ones included. */
export async function selectKnownIds(db: Db, ownerId: string, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = await idsAmong(db, ownerId, ids).execute();
  return new Set(rows.map(({ id }) => id));
}

function idsAmong(db: Db, ownerId: string, ids: readonly string[]) {
  return db.selectFrom('labels').select('id').where('id', 'in', ids).where('owner_id', '=', ownerId);
}

/** The ids of an owner's deleted labels. */
export async function selectDeletedIds(db: Db, ownerId: string): Promise<Set<string>> {
  const rows = await db
    .selectFrom('labels')
    .select('id')
    .where('owner_id', '=', ownerId)
    .where('deleted', '=', 1)
    .execute();
  return new Set(rows.map(({ id }) => id));
}

/** Adds to how many contacts have these labels of an owner. */
export async function addLabelled(tx: Db, ownerId: string, ids: readonly string[], contacts: number): Promise<void> {
  if (ids.length === 0) return;
  const counted = tx.updateTable('labels').set((eb) => ({ contacts: eb('contacts', '+', contacts) }));
  await post(tx, counted.where('id', 'in', ids).where('owner_id', '=', ownerId));
}

/** A label whose purge time has passed. */
export function selectPurgeable(db: Db, nowMs: number): Promise<LabelRow | undefined> {
  return db
    .selectFrom('labels')
    .selectAll()
    .where('purge_ms', '<=', nowMs)
    .orderBy('purge_ms')
    .limit(1)
    .executeTakeFirst();
}

export async function removeLabel(tx: Db, id: string): Promise<void> {
  await tx.deleteFrom('labels').where('id', '=', id).execute();
}

/** Removes up to `limit` labels of an owner. Returns how many were removed. */
export async function deleteLabelsOf(tx: Db, ownerId: string, limit: number): Promise<number> {
  const some = tx.selectFrom('labels').select('id').where('owner_id', '=', ownerId).limit(limit);
  const { numDeletedRows } = await tx.deleteFrom('labels').where('id', 'in', some).executeTakeFirst();
  return Number(numDeletedRows);
}
