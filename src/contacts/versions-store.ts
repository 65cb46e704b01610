import type { Db } from '../storage/database.ts';
import { preparedPost } from '../storage/prepared.ts';
import { addUsage } from './store.ts';

declare module '../storage/schema.ts' {
  interface Schema {
    contact_versions: ContactVersionRow;
  }
}

/** What a contact was before a change. */
export interface ContactVersionRow {
  owner_id: string;
  contact_id: string;
  /** The revision that it had then. */
  revision: number;
  /** JSON of its fields then. */
  fields: string;
  /** The action of the activity of the change, and the names of the fields that it changed, separated by blanks. */
  action: string;
  changed: string;
  /** The session or API key that made the change. */
  actor_session_id: string;
  /** What the row takes, in the usage of the owner. */
  bytes: number;
  change_ms: number;
  purge_ms: number;
}

/** The primary key of a version. */
export type VersionKey = readonly [contactId: string, revision: number];

export const insertVersion = preparedPost<ContactVersionRow>((tx, row) =>
  tx.insertInto('contact_versions').values(row),
);

/** Removes the versions of a contact up to a revision. Returns the bytes that they took. */
export async function deleteVersionsUpTo(
  tx: Db,
  ownerId: string,
  contactId: string,
  revision: number,
): Promise<number> {
  const deleted = await tx
    .deleteFrom('contact_versions')
    .where('owner_id', '=', ownerId)
    .where('contact_id', '=', contactId)
    .where('revision', '<=', revision)
    .returning('bytes')
    .execute();
  return sumOf(deleted);
}

/** The versions of a contact before a revision, the newest first. */
export function selectVersions(
  db: Db,
  ownerId: string,
  contactId: string,
  before: number | undefined,
  limit: number,
): Promise<ContactVersionRow[]> {
  const all = db
    .selectFrom('contact_versions')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where('contact_id', '=', contactId);
  const some = before === undefined ? all : all.where('revision', '<', before);
  return some.orderBy('revision', 'desc').limit(limit).execute();
}

export function selectVersion(
  db: Db,
  ownerId: string,
  contactId: string,
  revision: number,
): Promise<ContactVersionRow | undefined> {
  return db
    .selectFrom('contact_versions')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where('contact_id', '=', contactId)
    .where('revision', '=', revision)
    .executeTakeFirst();
}

/** Up to `limit` versions of all contacts of an owner, after one of them. */
export function selectVersionsOfOwner(
  db: Db,
  ownerId: string,
  after: VersionKey,
  limit: number,
): Promise<ContactVersionRow[]> {
  return db
    .selectFrom('contact_versions')
    .selectAll()
    .where('owner_id', '=', ownerId)
    .where(({ eb, refTuple, tuple }) => eb(refTuple('contact_id', 'revision'), '>', tuple(...after)))
    .orderBy('contact_id')
    .orderBy('revision')
    .limit(limit)
    .execute();
}

/** What it takes to remove a version. */
type StoredVersion = Pick<ContactVersionRow, 'owner_id' | 'contact_id' | 'revision' | 'bytes'>;

/** Up to `limit` versions of an owner that are purged first. */
export function selectOldest(db: Db, ownerId: string, limit: number): Promise<StoredVersion[]> {
  return db
    .selectFrom('contact_versions')
    .select(['owner_id', 'contact_id', 'revision', 'bytes'])
    .where('owner_id', '=', ownerId)
    .orderBy('purge_ms')
    .limit(limit)
    .execute();
}

/** Up to `limit` versions whose purge time has passed. */
export function selectPurgeableVersions(db: Db, nowMs: number, limit: number): Promise<StoredVersion[]> {
  return db
    .selectFrom('contact_versions')
    .select(['owner_id', 'contact_id', 'revision', 'bytes'])
    .where('purge_ms', '<=', nowMs)
    .orderBy('purge_ms')
    .limit(limit)
    .execute();
}

/** Removes versions, and what they take from the usage of their owners. */
export async function deleteVersions(tx: Db, versions: readonly StoredVersion[]): Promise<void> {
  const byOwner = Map.groupBy(versions, ({ owner_id }) => owner_id);
  // Every transaction locks owners in the same order, so that none of them deadlock.
  for (const ownerId of [...byOwner.keys()].toSorted()) {
    const some = byOwner.get(ownerId)!;
    let bytes = 0;
    for (const [contactId, ofContact] of Map.groupBy(some, ({ contact_id }) => contact_id)) {
      const deleted = await tx
        .deleteFrom('contact_versions')
        .where('owner_id', '=', ownerId)
        .where('contact_id', '=', contactId)
        .where(
          'revision',
          'in',
          ofContact.map(({ revision }) => revision),
        )
        .returning('bytes')
        .execute();
      bytes += sumOf(deleted);
    }
    await addUsage(tx, ownerId, { contacts: 0, liveContacts: 0, bytes: 0, versionBytes: -bytes });
  }
}

function sumOf(rows: readonly { readonly bytes: number }[]): number {
  return rows.reduce((sum, { bytes }) => sum + bytes, 0);
}
