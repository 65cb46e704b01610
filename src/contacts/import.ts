import { createHash } from 'node:crypto';
import { atOneTime } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure, type PartRefusal, toPartRefusal } from '../kernel/failure.ts';
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
import { bringBackWithin, insertWithin, requirePhoneRegion, updateWithin } from './contacts.ts';
import { type PossibleDuplicate, possibleDuplicates } from './duplicates.ts';
import { escapeText, mergedParameters } from './formats/content-lines.ts';
import { ImportChanges } from './import-changes.ts';
import { NamedLabels, visibleLabels } from './labels/labels.ts';
import { inSteps, mayUndo, Undo } from './steps.ts';
import { differingFields } from './merge.ts';
import { selectFieldsBefore, selectTarget } from './merges-store.ts';
import { knownPhoto } from './photos-store.ts';
import { bytesOfPhoto, type PhotosApp, type PreparedPhoto, preparePhoto, writePhoto } from './photos.ts';
import { type ContactRow, MERGED, selectContact, selectContactsByUid } from './store.ts';

/** A contact of a file: its fields, or why it is refused. */
export type ImportRow = {
  /** The line of the file, from 1. */
  readonly line: number;
  readonly name: string;
  /** What was not taken as it stands in the file. */
  readonly notes: readonly { readonly line: number; readonly text: string }[];
} & (
  | {
      readonly fields: ContactFields;
      readonly labels: readonly string[];
      /** A picture that becomes the photo. */
      readonly photo?: { readonly picture: Uint8Array; readonly line: number } | undefined;
      readonly refusal?: undefined;
    }
  | { readonly fields?: undefined; readonly refusal: PartRefusal }
);

/** What was not taken as it stands on a line of the file; on that of the contact, unless a line is given. */
interface WriteNote {
  readonly line?: number;
  readonly text: string;
}

/** What came of a contact of a file. */
export type ImportResult = {
  /** What could not be done with it as the file says, beside the notes of the file. */
  readonly notes?: readonly WriteNote[];
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
 * Throws region_unknown, budget_exceeded, server_busy.
 */
export async function importContacts(
  app: PhotosApp,
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
    async (rowsOfStep) => {
      const step = await withPhotos(app, caller, rowsOfStep, signal);
      if (options.preview) return previewStep(app, caller, step, options);
      const written = await writeStep(app, caller, step, options);
      isWritten = written.isWritten;
      return written.results;
    },
    signal,
  );
  return { results, importId: isWritten ? options.importId : '' };
}

/** A contact of a file whose picture has been read. */
type ReadRow = ImportRow & {
  readonly prepared?: PreparedPhoto | undefined;
  /** Why it cannot be read. */
  readonly photoNote?: WriteNote | undefined;
};

/** Reads the pictures of a step, before its transaction. What is none is left out, which a note says. */
async function withPhotos(
  app: PhotosApp,
  caller: Caller,
  step: readonly ImportRow[],
  signal: AbortSignal | undefined,
): Promise<ReadRow[]> {
  const rows: ReadRow[] = [];
  for (const row of step) {
    if (row.fields === undefined || row.photo === undefined) {
      rows.push(row);
      continue;
    }
    try {
      rows.push({ ...row, prepared: await preparePhoto(app, caller, row.photo.picture, signal) });
    } catch (error) {
      const isOfPicture =
        error instanceof Failure && (error.reason === 'photo_unreadable' || error.reason === 'photo_too_large');
      if (!isOfPicture) throw error;
      rows.push({ ...row, photoNote: { line: row.photo.line, text: `PHOTO is left out: ${error.message}` } });
    }
  }
  return rows;
}

function writeStep(
  app: PhotosApp,
  caller: Caller,
  step: readonly ReadRow[],
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
      shown.push({ status: 'created', id: '', duplicates, ...(result.notes && { notes: result.notes }) });
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
  readonly #app: PhotosApp;
  readonly #caller: Caller;
  readonly #options: ImportOptions;
  /** Ids of contacts by their uids, as they are at this point of the step. */
  readonly #known = new Map<string, string>();
  /** What contacts were before others were merged into them: see selectFieldsBefore. */
  #before: ReadonlyMap<string, string> = new Map();
  /** Contacts that were merged into others, and the last that were deleted, by their uids. */
  readonly #merged = new Map<string, ContactRow>();
  readonly #deleted = new Map<string, ContactRow>();

  constructor(tx: Db, app: PhotosApp, caller: Caller, options: ImportOptions) {
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

  async write(row: ReadRow): Promise<Written> {
    if (row.fields === undefined) return { status: 'refused', refusal: row.refusal };
    const { photo, note } = await this.#photoOf(row);
    const written = await this.#writeFields({ ...row, fields: { ...row.fields, photoId: photo?.id ?? '' } }, photo);
    return note === undefined || written.status === 'refused'
      ? written
      : { ...written, notes: [...(written.notes ?? []), note] };
  }

  /** The photo that a contact is to have, and why it has none where the file has one. */
  async #photoOf({
    prepared,
    photoNote,
  }: ReadRow): Promise<{ readonly photo?: PreparedPhoto; readonly note?: WriteNote }> {
    if (prepared === undefined) return photoNote === undefined ? {} : { note: photoNote };
    const isThere =
      prepared.made !== undefined || (await knownPhoto(this.#tx, this.#caller.userId, prepared.id)) !== '';
    // It was removed since its picture was compared.
    return isThere ? { photo: prepared } : { note: { text: 'PHOTO is left out this time: import the contact again' } };
  }

  async #writeFields(row: ReadRow & { readonly fields: ContactFields }, photo?: PreparedPhoto): Promise<Written> {
    const photoBytes = photo === undefined ? 0 : bytesOfPhoto(photo);
    const { keepExisting, source, phoneRegion } = this.#options;
    const [tx, app, caller] = [this.#tx, this.#app, this.#caller];
    // A photo does not tell contacts from each other: the same picture may be made into another one some day.
    const uid = uidOf({ ...row.fields, photoId: '' }, row.labels);
    try {
      const present = await this.#find(uid);
      const target = present ?? (await this.#findMerged(uid));
      // What was decided when it was merged stands.
      if (present === undefined && target !== undefined) return { status: 'same', id: target.id };
      if (present === undefined) {
        const { fields, notes } = await this.#withLabels(row.fields, row.labels, []);
        const created = { ...fields, uid, source: fields.source || source };
        const contact = await this.#create(uid, { fields: created, phoneRegion }, photoBytes);
        if (photo !== undefined) await writePhoto(tx, atOneTime(app), caller.userId, photo);
        this.#known.set(uid, contact.id);
        return { status: 'created', id: contact.id, contact, notes };
      }
      if (keepExisting || row.fields.uid === '') return { status: 'same', id: present.id };
      const { id } = present;
      const { labelIds: presentLabels, properties } = toFields(present);
      const given = { ...row.fields, properties: inOrderOf(properties, row.fields.properties) };
      const { fields, notes } = await this.#withLabels(given, row.labels, presentLabels);
      const { labelIds, ...changes } = changesOf(fields);
      const update = {
        id,
        etag: undefined,
        fields: { ...this.#since(id, { ...changes, labelIds: undefined }), labelIds },
        phoneRegion,
      };
      const next = await updateWithin(tx, app, caller, update, this.changes.bytesWith(present) + photoBytes);
      const isGiven = photo !== undefined && next.photo_id === photo.id;
      if (isGiven) await writePhoto(tx, atOneTime(app), caller.userId, photo);
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
  async #create(uid: string, given: Parameters<typeof insertWithin>[3], photoBytes: number): Promise<Contact> {
    const [tx, app, caller] = [this.#tx, this.#app, this.#caller];
    const bytes = this.changes.bytesWith() + photoBytes;
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
  ): Promise<{ readonly fields: ContactFields; readonly notes: readonly WriteNote[] }> {
    const ids: string[] = [];
    const left: string[] = [];
    for (const name of names) {
      const id = await this.labels.idOf(name);
      if (id === undefined) left.push(name);
      else ids.push(id);
    }
    const properties =
      left.length === 0 ? fields.properties : [...fields.properties, `CATEGORIES:${left.map(escapeText).join(',')}`];
    const notes = left.length === 0 ? [] : [{ text: noRoomNote(left, this.#app.contacts.labelsPerUserMax) }];
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

/** Kept properties: those that are there, if the given ones are the same in another order or with their parameters divided otherwise. */
function inOrderOf(present: readonly string[], given: readonly string[]): readonly string[] {
  const sorted = (lines: readonly string[]) => JSON.stringify(lines.map(mergedParameters).toSorted());
  return present.length === given.length && sorted(present) === sorted(given) ? present : given;
}

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
