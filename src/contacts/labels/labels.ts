import { createHash } from 'node:crypto';
import { type KithActivity, recordActivity } from '../../activity/log/log.ts';
import { type App, atOneTime } from '../../app.ts';
import type { Caller } from '../../kernel/access.ts';
import { Failure } from '../../kernel/failure.ts';
import { newId } from '../../kernel/id.ts';
import { cut, fold } from '../../kernel/text.ts';
import { type Change, changeResource, changeWithin, type Resource } from '../../resources/resource.ts';
import type { Db } from '../../storage/database.ts';
import { UniqueViolation } from '../../storage/dialect.ts';
import { etagOf } from '../../storage/etag.ts';
import { type ResponseFormat, runIdempotently } from '../../storage/idempotency.ts';
import { cutPage, type Page, type PageRequest, pageSizeOf, pageTokens } from '../../storage/pages.ts';
import {
  addLabelled,
  countLabelsOf,
  deleteLabelsOf,
  insertLabel,
  type LabelKey,
  type LabelRow,
  selectDeletedIds,
  selectKnownIds,
  selectLabel,
  selectLabels,
  selectLabelsById,
  selectLabelsByKey,
  selectLiveIds,
  updateLabelRow,
} from './store.ts';

export interface LabelsApp extends App {
  /** How many labels a user may have, deleted ones included until they are purged. */
  readonly contacts: { readonly labelsPerUserMax: number };
}

/** What a user sets of a label. */
export interface LabelFields {
  readonly name: string;
  /** '#' and six hexadecimal digits in lower case; '' for none. */
  readonly color: string;
}

/** A label as the contract shows it; times in milliseconds since 1970. */
export interface Label extends LabelFields {
  readonly id: string;
  readonly contactCount: number;
  readonly createMs: number;
  readonly updateMs: number;
  readonly deleteMs: number | null;
  readonly purgeMs: number | null;
  readonly etag: string;
}

/** Creates a label of the caller's. Throws label_name_taken, label_limit_reached, request_id_reused. */
export async function createLabel<Response>(
  app: LabelsApp,
  caller: Caller,
  { name, color, requestId }: LabelFields & { readonly requestId: string },
  format: ResponseFormat<Label, Response>,
): Promise<Response> {
  const create = () =>
    app.database.transaction(
      (tx) =>
        runIdempotently(tx, app, { callerId: caller.userId, requestId, input: { name, color } }, format, async () => {
          const at = atOneTime(app);
          const limit = app.contacts.labelsPerUserMax;
          if ((await countLabelsOf(tx, caller.userId)) >= limit) {
            throw limitReached(`a user has at most ${limit} labels, deleted ones included`, limit);
          }
          return toLabel(await insertNew(tx, at, caller, { name, color }));
        }),
      caller.userId,
    );
  return reportTakenName(async () => {
    try {
      return await create();
    } catch (error) {
      // The same request may have taken the name on another instance: then its response is stored by now.
      if (error instanceof UniqueViolation && requestId !== '') return create();
      throw error;
    }
  });
}

async function insertNew(tx: Db, at: App, caller: Caller, { name, color }: LabelFields): Promise<LabelRow> {
  const row: LabelRow = {
    id: newId(),
    owner_id: caller.userId,
    name,
    name_key: nameKeyOf(name),
    color,
    contacts: 0,
    deleted: 0,
    create_ms: at.now(),
    update_ms: at.now(),
    delete_ms: null,
    purge_ms: null,
    revision: 1,
  };
  await insertLabel(tx, row);
  await recordActivity(tx, at, { ...labelActivity(caller, row), action: 'kith.label.created' });
  return row;
}

/** Which label, as it is after a change. */
export type LabelVersion = Pick<LabelRow, 'id' | 'revision'>;

/** Labels by their names, within a transaction that may create them. */
export class NamedLabels {
  readonly #tx: Db;
  readonly #app: LabelsApp;
  readonly #caller: Caller;
  readonly #ids = new Map<string, string>();
  /** Deleted labels that can come back and that no contact has: to bring back one of another would label that one. */
  readonly #deleted = new Map<string, LabelRow>();
  #room: number | undefined;
  /** Labels that were created, or brought back. */
  readonly added: LabelVersion[] = [];

  constructor(tx: Db, app: LabelsApp, caller: Caller) {
    this.#tx = tx;
    this.#app = app;
    this.#caller = caller;
  }

  /** Reads the labels with these names that there are, regardless of case and accents. */
  async read(names: readonly string[]): Promise<void> {
    const keys = [...new Set(names.map(nameKeyOf))];
    const now = this.#app.now();
    for (let start = 0; start < keys.length; start += KEYS_AT_ONCE) {
      const rows = await selectLabelsByKey(this.#tx, this.#caller.userId, keys.slice(start, start + KEYS_AT_ONCE));
      for (const row of rows) {
        if (row.deleted === 0) this.#ids.set(row.name_key, row.id);
        else if (row.contacts === 0 && row.purge_ms! > now) this.#deleted.set(row.name_key, row);
      }
    }
  }

  /**
   * The id of a label with one of the names that were read. If there is none, a deleted one is brought back, which needs
   * no room, since it counts until it is purged; or one is created. Undefined if there is no room for it.
   */
  async idOf(name: string): Promise<string | undefined> {
    const key = nameKeyOf(name);
    const present = this.#ids.get(key);
    if (present !== undefined) return present;
    const { userId } = this.#caller;
    const at = atOneTime(this.#app);
    const deleted = this.#deleted.get(key);
    if (deleted !== undefined) {
      const resource = labelResource(this.#caller, deleted.id);
      return this.#add(key, await changeWithin(this.#tx, at, 'undelete', resource, undefined, () => UNDELETE));
    }
    this.#room ??= this.#app.contacts.labelsPerUserMax - (await countLabelsOf(this.#tx, userId));
    if (this.#room <= 0) return undefined;
    this.#room--;
    return this.#add(key, await insertNew(this.#tx, at, this.#caller, { name, color: '' }));
  }

  #add(key: string, { id, revision }: LabelVersion): string {
    this.#ids.set(key, id);
    this.added.push({ id, revision });
    return id;
  }
}

const KEYS_AT_ONCE = 500;

/** The names of labels of an owner by their ids, without deleted ones. */
export async function labelNames(
  db: Db,
  ownerId: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  const each = [...new Set(ids)];
  for (let start = 0; start < each.length; start += KEYS_AT_ONCE) {
    const rows = await selectLabelsById(db, ownerId, each.slice(start, start + KEYS_AT_ONCE));
    for (const { id, name, deleted } of rows) if (deleted === 0) names.set(id, name);
  }
  return names;
}

/** Deletes those of these labels that no contact has and nobody has changed since. */
export async function deleteUnused(tx: Db, at: App, caller: Caller, versions: readonly LabelVersion[]): Promise<void> {
  const last = new Map(versions.map(({ id, revision }) => [id, revision]));
  for (const { id, contacts, deleted, revision } of await selectLabelsById(tx, caller.userId, [...last.keys()])) {
    if (contacts > 0 || deleted === 1 || revision !== last.get(id)) continue;
    await changeWithin(tx, at, 'delete', labelResource(caller, id), undefined, () => DELETE);
  }
}

/** A page of the caller's labels, by name. Throws page_token_invalid. */
export async function listLabels(
  app: App,
  caller: Caller,
  request: PageRequest & { readonly deleted: boolean },
): Promise<Page<Label>> {
  const tokens = pageTokens<LabelKey>(app.keyring, 'labels', caller.userId, request.deleted);
  const after = tokens.read(request.pageToken);
  const size = pageSizeOf(request);
  const found = await selectLabels(app.database.db, caller.userId, request.deleted, after, size + 1);
  const { rows, last } = cutPage(found, size);
  return {
    items: rows.map(toLabel),
    nextPageToken: tokens.write(last && [last.name_key, last.id]),
    total: undefined,
  };
}

/**
 * Changes the fields that are not undefined. Throws label_not_found, label_name_taken, resource_deleted, etag_mismatch.
 */
export async function updateLabel(
  app: App,
  caller: Caller,
  id: string,
  etag: string | undefined,
  update: { readonly [Field in keyof LabelFields]: string | undefined },
): Promise<Label> {
  const next = await reportTakenName(() =>
    changeResource(app, 'update', labelResource(caller, id), etag, ({ row }) => {
      const { name = row.name, color = row.color } = update;
      if (name === row.name && color === row.color) return undefined;
      return { columns: { name, color, name_key: nameKeyOf(name) } };
    }),
  );
  return toLabel(next);
}

const DELETE: Change<LabelRow> = { columns: { deleted: 1 } };
const UNDELETE: Change<LabelRow> = { columns: { deleted: 0 } };

/** Deletes a label until undeleted or purged. Throws label_not_found, resource_deleted, etag_mismatch. */
export async function deleteLabel(app: App, caller: Caller, id: string, etag: string | undefined): Promise<Label> {
  const resource = labelResource(caller, id);
  return toLabel(await changeResource(app, 'delete', resource, etag, () => DELETE));
}

/** Undeletes a label. Throws label_not_found, label_name_taken, resource_not_deleted, etag_mismatch. */
export async function undeleteLabel(app: App, caller: Caller, id: string, etag: string | undefined): Promise<Label> {
  const resource = labelResource(caller, id);
  return reportTakenName(async () => toLabel(await changeResource(app, 'undelete', resource, etag, () => UNDELETE)));
}

/** Removes up to `limit` labels of a user who is about to be purged. Returns how many were removed. */
export function purgeLabelsOf(app: App, ownerId: string, limit: number): Promise<number> {
  return app.database.transaction((tx) => deleteLabelsOf(tx, ownerId, limit));
}

/** Throws label_not_found unless each of the ids is that of a label of the owner's that is not deleted. */
export async function requireLabels(db: Db, ownerId: string, ids: readonly string[], field: string): Promise<void> {
  const live = await selectLiveIds(db, ownerId, ids);
  if (ids.every((id) => live.has(id))) return;
  throw new Failure('label_not_found', 'none of your labels has one of these ids, or it is deleted', { field });
}

/** Of these ids, those of labels that are not purged. */
export async function knownLabels(db: Db, ownerId: string, ids: readonly string[]): Promise<readonly string[]> {
  const known = await selectKnownIds(db, ownerId, ids);
  return ids.filter((id) => known.has(id));
}

/** Of contacts of one owner, the labels that are shown: without deleted ones. Reads only if some have labels. */
export async function visibleLabels<Labelled extends { readonly labelIds: readonly string[] }>(
  db: Db,
  ownerId: string,
  contacts: Labelled[],
): Promise<Labelled[]> {
  if (contacts.every(({ labelIds }) => labelIds.length === 0)) return contacts;
  const deleted = await selectDeletedIds(db, ownerId);
  if (deleted.size === 0) return contacts;
  return contacts.map((contact) => ({ ...contact, labelIds: contact.labelIds.filter((id) => !deleted.has(id)) }));
}

/** Counts a contact with the labels `after` that was counted with `before`, in the transaction of the change. */
export async function recountLabels(
  tx: Db,
  ownerId: string,
  before: readonly string[],
  after: readonly string[],
): Promise<void> {
  const [then, now] = [new Set(before), new Set(after)];
  await addLabelled(tx, ownerId, [...now.difference(then)], 1);
  await addLabelled(tx, ownerId, [...then.difference(now)], -1);
}

/** Throws label_limit_reached. */
export function limitReached(message: string, limit: number): Failure {
  return new Failure('label_limit_reached', message, { limit: String(limit) });
}

/** Longer keys are cut, and told apart by a hash: the index of a database holds no more than 2,700 bytes of one. */
const NAME_KEY_LENGTH = 200;

/** What makes two names the same: see fold. A name of signs that it leaves out is compared as it is. */
function nameKeyOf(name: string): string {
  const key = fold(name) || name;
  if (key.length <= NAME_KEY_LENGTH) return key;
  return `${cut(key, NAME_KEY_LENGTH)} ${createHash('sha256').update(key).digest('base64url')}`;
}

function labelResource(caller: Caller, id: string): Resource<LabelRow> {
  return {
    noun: 'label',
    lockKey: caller.userId,
    select: (db) => selectLabel(db, caller.userId, id),
    notFound: () => new Failure('label_not_found', 'none of your labels has this id'),
    authorize: () => {},
    write: (tx, _at, next) => updateLabelRow(tx, next),
    activity: (row) => labelActivity(caller, row),
  };
}

/** Only the owner sees the activity. It names the label by its id alone. */
function labelActivity(by: Caller, { id, owner_id }: LabelRow): Omit<KithActivity, 'action'> {
  return { userId: owner_id, by, attributes: { label_id: id }, isPrivate: true };
}

/** Runs a write of a label. Throws label_name_taken if another label of the owner has the name. */
async function reportTakenName<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!(error instanceof UniqueViolation)) throw error;
    throw new Failure('label_name_taken', 'another label has this name, regardless of case and accents', {
      field: 'name',
    });
  }
}

function toLabel(row: LabelRow): Label {
  return {
    id: row.id,
    name: row.name,
    color: row.color,
    contactCount: row.contacts,
    createMs: row.create_ms,
    updateMs: row.update_ms,
    deleteMs: row.delete_ms,
    purgeMs: row.purge_ms,
    etag: etagOf(row),
  };
}
