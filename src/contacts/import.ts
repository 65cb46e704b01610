import { createHash } from 'node:crypto';
import type { Caller } from '../kernel/access.ts';
import { type PartRefusal, toPartRefusal } from '../kernel/failure.ts';
import { newId } from '../kernel/id.ts';
import { applyUpdate, type PartialUpdate } from '../resources/partial-update.ts';
import type { Db } from '../storage/database.ts';
import { UniqueViolation } from '../storage/dialect.ts';
import {
  type Contact,
  type ContactFields,
  fieldsOfJson,
  NO_FIELDS,
  toColumns,
  toContact,
  toFields,
} from './contact.ts';
import { bringBackWithin, type ContactsApp, insertWithin, requirePhoneRegion, updateWithin } from './contacts.ts';
import { type PossibleDuplicate, possibleDuplicates } from './duplicates.ts';
import { escapeText } from './formats/content-lines.ts';
import { ImportChanges } from './import-changes.ts';
import { NamedLabels, visibleLabels } from './labels/labels.ts';
import { inSteps, mayUndo, Undo } from './steps.ts';
import { differingFields } from './merge.ts';
import { selectFieldsBefore, selectTarget } from './merges-store.ts';
import { type ContactRow, MERGED, selectContact, selectContactsByUid } from './store.ts';

/** A contact of a file: its fields, or why it is refused. */
export type ImportRow = {
  /** The line of the file, from 1. */
  readonly line: number;
  readonly name: string;
  /** What was not taken as it stands in the file. */
  readonly notes: readonly { readonly line: number; readonly text: string }[];
} & (
  | { readonly fields: ContactFields; readonly labels: readonly string[]; readonly refusal?: undefined }
  | { readonly fields?: undefined; readonly refusal: PartRefusal }
);

/** What came of a contact of a file. */
export type ImportResult = {
  /** What could not be done with it as the file says, beside the notes of the file. */
  readonly notes?: readonly string[];
} & (
  | {
      readonly status: 'created' | 'updated' | 'same';
      /** '' for one that a preview would create. */
      readonly id: string;
      /** Of one that a preview would create: see possibleDuplicates. */
      readonly duplicates?: readonly PossibleDuplicate[];
    }
  | { readonly status: 'refused'; readonly refusal: PartRefusal }
);

export interface ImportOptions {
  /** Write nothing. */
  readonly preview: boolean;
  /** Leave contacts that are there as they are. */
  readonly keepExisting: boolean;
  /** The source of new contacts that have none. */
  readonly source: string;
  /** See NewContact. */
  readonly phoneRegion: string;
  /** The import that this is a part of: a UUID of the caller's choice, or '' for a new one. */
  readonly importId: string;
}

/** What came of a file, or of a part of one. */
export interface Imported {
  readonly results: readonly ImportResult[];
  /** What undoImport takes; '' as long as nothing was written. */
  readonly importId: string;
}

/**
 * Imports contacts of the caller's, and says of each what came of it. A contact of the file is about the one with its uid.
 * Without a uid it gets one that is made of its fields, so that the same contact again changes nothing, whatever has
 * become of the one that is there. They are written in steps, each in a transaction with what takes it back: see undoImport.
 *
 * Throws region_unknown.
 */
export async function importContacts(
  app: ContactsApp,
  caller: Caller,
  rows: readonly ImportRow[],
  { importId, ...others }: ImportOptions,
  signal?: AbortSignal,
): Promise<Imported> {
  const options = { ...others, importId: importId || newId() };
  requirePhoneRegion(options.phoneRegion);
  let isWritten = false;
  const results = await inSteps(
    rows,
    async (step) => {
      if (options.preview) return previewStep(app, caller, step, options);
      const written = await writeStep(app, caller, step, options);
      isWritten = written.isWritten;
      return written.results;
    },
    signal,
  );
  return { results, importId: isWritten ? options.importId : '' };
}

function writeStep(
  app: ContactsApp,
  caller: Caller,
  step: readonly ImportRow[],
  options: ImportOptions,
): Promise<{ readonly results: readonly Written[]; readonly isWritten: boolean }> {
  const write = () =>
    app.database.transaction(async (tx) => {
      const importing = new Importing(tx, app, caller, options);
      await importing.read(step);
      const results: Written[] = [];
      for (const row of step) results.push(await importing.write(row));
      if (options.preview) throw new Undo(results);
      importing.changes.labelsAdded(importing.labels.added);
      return { results, isWritten: await importing.changes.write() };
    }, caller.userId);
  return write().catch((error: unknown) => {
    // Another instance has created a label with one of the names, or brought it back: then it is there by now.
    if (error instanceof UniqueViolation) return write();
    throw error;
  });
}

/** Does all that writing does, limits included, and takes it back. */
async function previewStep(...step: Parameters<typeof writeStep>): Promise<ImportResult[]> {
  const [app, { userId, permissions }] = step;
  const { results } = await mayUndo<Written>(async () => (await writeStep(...step)).results);
  const shown: ImportResult[] = [];
  for (const { contact, ...result } of results) {
    if (contact === undefined) shown.push(result);
    else {
      // Who may not read contacts is not told of others either.
      const mayRead = permissions.has('contacts.read');
      const duplicates = mayRead ? await possibleDuplicates(app.database.longReads, userId, contact) : [];
      shown.push({ status: 'created', id: '', duplicates });
    }
  }
  return shown;
}

/** What came of a contact of a file, and of one that was created, what it has. */
type Written = ImportResult & { readonly contact?: Contact };

/** One step of an import, within its transaction. */
class Importing {
  readonly changes: ImportChanges;
  readonly labels: NamedLabels;
  readonly #tx: Db;
  readonly #app: ContactsApp;
  readonly #caller: Caller;
  readonly #options: ImportOptions;
  /** Ids of contacts by their uids, as they are at this point of the step. */
  readonly #known = new Map<string, string>();
  /** What contacts were before others were merged into them: see selectFieldsBefore. */
  #before: ReadonlyMap<string, string> = new Map();
  /** Contacts that were merged into others, and the last that were deleted, by their uids. */
  readonly #merged = new Map<string, ContactRow>();
  readonly #deleted = new Map<string, ContactRow>();

  constructor(tx: Db, app: ContactsApp, caller: Caller, options: ImportOptions) {
    this.#tx = tx;
    this.#app = app;
    this.#caller = caller;
    this.#options = options;
    this.labels = new NamedLabels(tx, app, caller);
    this.changes = new ImportChanges(tx, app, caller, { id: options.importId, source: options.source });
  }

  /** Reads the contacts that the rows may be about. */
  async read(step: readonly ImportRow[]): Promise<void> {
    await this.changes.read();
    await this.labels.read(step.flatMap((row) => (row.fields === undefined ? [] : row.labels)));
    const uids = new Set(step.flatMap((row) => (row.fields === undefined ? [] : [uidOf(row.fields, row.labels)])));
    if (uids.size === 0) return;
    const { userId } = this.#caller;
    const rows = await selectContactsByUid(this.#tx, userId, [...uids]);
    for (const row of rows) {
      if (row.deleted === MERGED) this.#merged.set(row.uid, row);
      else if (row.deleted === 1) this.#deleted.set(row.uid, row);
      // The oldest of several.
      else if (!this.#known.has(row.uid)) this.#known.set(row.uid, row.id);
    }
    const ids = [...new Set([...uids].flatMap((uid) => this.#known.get(uid) ?? ID.exec(uid)?.[1] ?? []))];
    this.#before = await selectFieldsBefore(this.#tx, this.#caller.userId, ids);
  }

  async write(row: ImportRow): Promise<Written> {
    if (row.fields === undefined) return { status: 'refused', refusal: row.refusal };
    const { keepExisting, source, phoneRegion } = this.#options;
    const [tx, app, caller] = [this.#tx, this.#app, this.#caller];
    const uid = uidOf(row.fields, row.labels);
    try {
      const present = await this.#find(uid);
      const target = present ?? (await this.#findMerged(uid));
      // What was decided when it was merged stands.
      if (present === undefined && target !== undefined) return { status: 'same', id: target.id };
      if (present === undefined) {
        const { fields, notes } = await this.#withLabels(row.fields, row.labels, []);
        const created = { ...fields, uid, source: fields.source || source };
        const contact = await this.#create(uid, { fields: created, phoneRegion });
        this.#known.set(uid, contact.id);
        return { status: 'created', id: contact.id, contact, notes };
      }
      if (keepExisting || row.fields.uid === '') return { status: 'same', id: present.id };
      const { id } = present;
      const { fields, notes } = await this.#withLabels(row.fields, row.labels, toFields(present).labelIds);
      const { labelIds, ...changes } = changesOf(fields);
      const update = {
        id,
        etag: undefined,
        fields: { ...this.#since(id, { ...changes, labelIds: undefined }), labelIds },
        phoneRegion,
      };
      const next = await updateWithin(tx, app, caller, update, this.changes.bytesWith(present));
      if (next.revision === present.revision) return { status: 'same', id, notes };
      await this.changes.updated(present, next);
      return { status: 'updated', id, notes };
    } catch (error) {
      return { status: 'refused', refusal: toPartRefusal(error) };
    }
  }

  /**
   * Creates a contact; or brings the deleted one back that has the same, as an import leaves it that was taken back, so
   * that doing and undoing the same again and again needs room for one.
   */
  async #create(uid: string, given: Parameters<typeof insertWithin>[3]): Promise<Contact> {
    const [tx, app, caller] = [this.#tx, this.#app, this.#caller];
    const bytes = this.changes.bytesWith();
    const deleted = await this.#findDeleted(uid);
    const back = deleted && (await bringBackWithin(tx, app, caller, deleted, given, bytes));
    if (back !== undefined) {
      await this.changes.broughtBack(back);
      return toContact(back);
    }
    const contact = await insertWithin(tx, app, caller, given, bytes);
    this.changes.created(contact.id);
    return contact;
  }

  /**
   * The fields with the labels of these names beside those that a contact has, and without any if it has them all: a
   * file takes no label away. What there is no room for is kept as it stands in the file, which the notes say.
   */
  async #withLabels(
    fields: ContactFields,
    names: readonly string[],
    present: readonly string[],
  ): Promise<{ readonly fields: ContactFields; readonly notes: readonly string[] }> {
    const ids: string[] = [];
    const left: string[] = [];
    for (const name of names) {
      const id = await this.labels.idOf(name);
      if (id === undefined) left.push(name);
      else ids.push(id);
    }
    const properties =
      left.length === 0 ? fields.properties : [...fields.properties, `CATEGORIES:${left.map(escapeText).join(',')}`];
    const notes = left.length === 0 ? [] : [noRoomNote(left, this.#app.contacts.labelsPerUserMax)];
    if (ids.every((id) => present.includes(id))) return { fields: { ...fields, properties, labelIds: [] }, notes };
    const [visible] = await visibleLabels(this.#tx, this.#caller.userId, [{ labelIds: present }]);
    return { fields: { ...fields, properties, labelIds: [...new Set([...visible!.labelIds, ...ids])] }, notes };
  }

  /** The contact with a uid; or, of exports, the one with the id that stands for it. */
  async #find(uid: string): Promise<ContactRow | undefined> {
    const id = this.#known.get(uid) ?? ID.exec(uid)?.[1];
    const row = id === undefined ? undefined : await selectContact(this.#tx, this.#caller.userId, id);
    return row?.deleted === 0 && (row.uid === uid || row.uid === '') ? row : undefined;
  }

  /** The deleted contact that had a uid, or the id that stands for one, as long as it can be undeleted. */
  async #findDeleted(uid: string): Promise<ContactRow | undefined> {
    const id = ID.exec(uid)?.[1];
    const row =
      this.#deleted.get(uid) ?? (id === undefined ? undefined : await selectContact(this.#tx, this.#caller.userId, id));
    return row?.deleted === 1 && (row.uid === uid || row.uid === '') && row.purge_ms! > this.#app.now()
      ? row
      : undefined;
  }

  /** Without what a contact had before others were merged into it: what it has since was decided then. */
  #since(id: string, changes: PartialUpdate<ContactFields>): PartialUpdate<ContactFields> {
    const json = this.#before.get(id);
    if (json === undefined) return changes;
    const before = fieldsOfJson(json);
    const differing = differingFields(before, toFields(toColumns(applyUpdate(before, changes))));
    const kept = Object.entries(changes).map(([name, value]) => [
      name,
      differing.has(name as keyof ContactFields) ? value : undefined,
    ]);
    return Object.fromEntries(kept) as PartialUpdate<ContactFields>;
  }

  /** The contact that the one with a uid was merged into. */
  async #findMerged(uid: string): Promise<ContactRow | undefined> {
    const id = ID.exec(uid)?.[1];
    const merged =
      this.#merged.get(uid) ?? (id === undefined ? undefined : await selectContact(this.#tx, this.#caller.userId, id));
    if (merged?.deleted !== MERGED || (merged.uid !== uid && merged.uid !== '')) return undefined;
    const target = await selectTarget(this.#tx, merged);
    return target?.deleted === 0 ? target : undefined;
  }
}

/** How many names a note has at the most. */
const NAMES_NOTED = 5;

function noRoomNote(labels: readonly string[], labelsMax: number): string {
  const names = labels.slice(0, NAMES_NOTED).map((name) => JSON.stringify(name));
  const more = labels.length > NAMES_NOTED ? ` and ${labels.length - NAMES_NOTED} more` : '';
  return `the contact is not labelled ${names.join(', ')}${more}: there is no room for more than ${labelsMax} labels, deleted ones included, so that this is kept as it is`;
}

/** What exports have as the uid of a contact without one (RFC 9562, 4). */
const ID = /^urn:uuid:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** The uid of a contact; without one, a hash of the fields that it has: fields that contacts get later do not change it. */
function uidOf(fields: ContactFields, labels: readonly string[]): string {
  if (fields.uid !== '') return fields.uid;
  const changes = changesOf(fields);
  const written = JSON.stringify(labels.length === 0 ? changes : [changes, labels]);
  return `urn:kith:sha256:${createHash('sha256').update(written).digest('base64url')}`;
}

/** The fields that a file has. What it lacks stays, and so does what says which contact it is and where it came from. */
function changesOf(fields: ContactFields): PartialUpdate<ContactFields> {
  const isUnset = (value: unknown) => value === '' || value === false || (Array.isArray(value) && value.length === 0);
  const kept = Object.keys(NO_FIELDS).map((name) => {
    const value = fields[name as keyof ContactFields];
    return [name, name === 'uid' || name === 'source' || isUnset(value) ? undefined : value];
  });
  return Object.fromEntries(kept) as PartialUpdate<ContactFields>;
}
