import { setImmediate } from 'node:timers/promises';
import { appendActivities } from '../../activity/log/log.ts';
import { type App, atOneTime } from '../../app.ts';
import type { Caller } from '../../kernel/access.ts';
import { newId } from '../../kernel/id.ts';
import type { PersonalData } from '../../privacy/personal-data.ts';
import { readResource } from '../../resources/resource.ts';
import { checkEtag } from '../../storage/etag.ts';
import { publishAccessChange } from '../revocations/revocations.ts';
import { endSessionsOf } from '../sessions/sessions.ts';
import { deletePurgeable, replaceTerms, selectPurgeable, updateUserRow } from './store.ts';
import { toColumns, type UserFields } from './user-fields.ts';
import { requireOtherAdmin, userResource } from './users.ts';

/** How many rows one step removes: others write in between. */
const STEP_ROWS = 100;

/** What an erased user has until the row is removed. */
const NOTHING: UserFields = {
  username: '',
  email: '',
  name: '',
  role: 'viewer',
  state: 'deleted',
  externalId: '',
  publicMetadata: '',
  privateMetadata: '',
  locale: '',
  timeZone: '',
  avatarUrl: '',
  emailVerifiedMs: undefined,
};

/** When a user was erased, milliseconds since 1970, and the activity that tells of it. */
export interface Erasure {
  readonly eraseMs: number;
  readonly receiptId: string;
}

/**
 * Erases a user for good, deleted before or not. One transaction overwrites the profile, ends the sessions, records the
 * receipt and makes the user one whose purge time has passed, by any clock: nobody reads or undeletes the user from then
 * on. Then the rows of the user are removed in small steps, the user's own last. When `signal` is aborted meanwhile, the
 * purge goes on with them.
 *
 * Throws user_not_found, permission_missing, etag_mismatch, last_admin.
 */
export async function eraseUser(
  app: App,
  kept: readonly PersonalData[],
  caller: Caller,
  id: string,
  etag: string | undefined,
  signal: AbortSignal,
): Promise<Erasure> {
  const resource = userResource(caller, id);
  const erasure = await app.database.transaction(async (tx) => {
    const at = atOneTime(app);
    const row = await readResource(at, tx, resource);
    resource.authorize(row);
    checkEtag(row, etag);
    await requireOtherAdmin(tx, row);
    const [eraseMs, revision] = [at.now(), row.revision + 1];
    await updateUserRow(tx, id, {
      ...toColumns(NOTHING),
      // Unique, and never what anybody signs in with.
      username_key: `erased:${id}`,
      email_key: `erased:${id}`,
      undelete_state: null,
      password_hash: '',
      must_change_password: 0,
      session_epoch: row.session_epoch + 1,
      last_sign_in_ms: null,
      create_ms: eraseMs,
      update_ms: eraseMs,
      delete_ms: eraseMs,
      purge_ms: 0,
      revision,
    });
    await replaceTerms(tx, id, []);
    await publishAccessChange(tx, at, { userId: id, role: null, revision });
    await endSessionsOf(tx, at, id, { by: caller });
    const receipt = { userId: null, by: caller, action: 'kith.user.erased', attributes: { user_id: id } };
    const receiptId = newId();
    await appendActivities(tx, at, [{ ...receipt, id: receiptId }]);
    return { eraseMs, receiptId };
  }, resource.lockKey);
  while (!signal.aborted && !(await removeSome(app, kept, id, STEP_ROWS))) await setImmediate();
  return erasure;
}

/**
 * Removes up to `limit` users whose purge time has passed, with all that is kept of them. Removes at most `limit` rows
 * of one user at a time. Returns 0 if none are left.
 */
export async function purgeUsers(app: App, kept: readonly PersonalData[], limit: number): Promise<number> {
  const due = await selectPurgeable(app.database.db, app.now(), limit);
  for (const { id } of due) if (!(await removeSome(app, kept, id, limit))) return limit;
  return due.length;
}

/**
 * Removes up to `limit` rows of a user whose purge time has passed, or the user where there are no more. Returns whether
 * the user is gone. In small steps, since one statement over all rows would block other writes and a stop.
 */
async function removeSome(app: App, kept: readonly PersonalData[], id: string, limit: number): Promise<boolean> {
  for (const { remove } of kept) if (remove !== undefined && (await remove(app, id, limit)) >= limit) return false;
  await deletePurgeable(app.database.db, id, app.now());
  return true;
}
