import type { App } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import type { Db } from '../storage/database.ts';
import { jsonOfFields, toFields } from './contact.ts';
import { differingFields } from './merge.ts';
import type { ContactRow } from './store.ts';
import { deleteVersions, deleteVersionsUpTo, insertVersion, selectOldest } from './versions-store.ts';

/** How many earlier versions of a contact are kept at the most. */
const VERSIONS_MAX = 100;

/** Approximate overhead in a database of a version with its indexes, beside its texts, bytes. */
const BYTES_PER_VERSION = 400;

/** How many of an owner's versions are removed for a new one at the most. */
const REMOVED_MAX = 500;

/** How many bytes the versions of a user's contacts take at the most, beside the contacts. */
export function versionBytesMax(contactBytesMax: number): number {
  return Math.floor(contactBytesMax / 4);
}

/** Who changes a contact, and how the activity of the change is called. */
export interface ContactChange {
  readonly by: Caller;
  readonly action: string;
}

/**
 * Keeps what a contact was before a change, in the transaction of the change, and removes what it has too many of.
 * Returns by how much the bytes of versions change. What is undeleted as it was has the version from before it was deleted.
 */
export async function keepVersion(
  tx: Db,
  { now, purgeAfterMs }: App,
  row: ContactRow,
  next: ContactRow,
  { by, action }: ContactChange,
): Promise<number> {
  const changed = [...differingFields(toFields(row), toFields(next))].join(' ');
  if (changed === '' && row.deleted !== 0) return 0;
  const fields = jsonOfFields(row);
  const bytes = BYTES_PER_VERSION + Buffer.byteLength(fields) + changed.length;
  const nowMs = now();
  await insertVersion(tx, {
    owner_id: row.owner_id,
    contact_id: row.id,
    revision: row.revision,
    fields,
    action,
    changed,
    actor_session_id: by.sessionId,
    bytes,
    change_ms: nowMs,
    purge_ms: nowMs + purgeAfterMs,
  });
  if (row.revision <= VERSIONS_MAX) return bytes;
  return bytes - (await deleteVersionsUpTo(tx, row.owner_id, row.id, row.revision - VERSIONS_MAX));
}

/** Removes the oldest versions of an owner until they take `excess` bytes less: a change is never refused for them. */
export async function removeOldest(tx: Db, ownerId: string, excess: number): Promise<void> {
  const oldest = await selectOldest(tx, ownerId, REMOVED_MAX);
  let bytes = 0;
  const enough = oldest.findIndex((version) => (bytes += version.bytes) >= excess);
  await deleteVersions(tx, enough === -1 ? oldest : oldest.slice(0, enough + 1));
}
