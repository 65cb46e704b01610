import type { Caller } from '../kernel/access.ts';
import type { Db } from '../storage/database.ts';
import { jsonOfFields } from './contact.ts';
import type { ContactsApp } from './contacts.ts';
import {
  type ContactImportRow,
  type ImportChangeRow,
  selectChange,
  selectImport,
  writeImport,
} from './imports-store.ts';
import type { LabelVersion } from './labels/labels.ts';
import type { ContactRow } from './store.ts';

/** Approximate overhead of a row in a database, bytes. */
const BYTES_PER_IMPORT = 300;
const BYTES_PER_CHANGE = 250;

/** The labels of an import: their ids, and behind a colon the revision of one that was brought back. */
export function labelsOf({ label_ids }: Pick<ContactImportRow, 'label_ids'>): LabelVersion[] {
  if (label_ids === '') return [];
  return label_ids.split(' ').map((written) => {
    const [id, revision = '1'] = written.split(':');
    return { id: id!, revision: Number(revision) };
  });
}

function writeLabel({ id, revision }: LabelVersion): string {
  return revision === 1 ? id : `${id}:${revision}`;
}

/** Which import a step is part of. */
export interface ImportPart {
  readonly id: string;
  readonly source: string;
}

/** What a step of an import does to contacts, collected to be written with it, so that it can be taken back. */
export class ImportChanges {
  readonly #tx: Db;
  readonly #app: ContactsApp;
  readonly #ownerId: string;
  readonly #part: ImportPart;
  /** The import as it is stored; undefined before it has written anything. */
  #stored: ContactImportRow | undefined;
  readonly #changes = new Map<string, ImportChangeRow>();
  readonly #labels: string[] = [];
  #created = 0;
  #updated = 0;
  #added = 0;
  /** What is to be added to the usage, and of it to what the row of the import takes. */
  #bytes = 0;
  #importAdded = 0;

  constructor(tx: Db, app: ContactsApp, { userId }: Caller, part: ImportPart) {
    this.#tx = tx;
    this.#app = app;
    this.#ownerId = userId;
    this.#part = part;
  }

  async read(): Promise<void> {
    this.#stored = await selectImport(this.#tx, this.#ownerId, this.#part.id);
    if (this.#stored === undefined) this.#bytes = this.#importBytes();
  }

  /** What is to be added to the usage if a contact is created, or this one changed but not made smaller. */
  bytesWith(before?: ContactRow): number {
    return this.#bytes + BYTES_PER_CHANGE + (before === undefined ? 0 : Buffer.byteLength(jsonOfFields(before)));
  }

  created(contactId: string): void {
    this.#created++;
    this.#add({ contact_id: contactId, revision: 1, fields_before: '', bytes: BYTES_PER_CHANGE });
  }

  /** A contact that was deleted and is there again. */
  async broughtBack({ id, revision }: ContactRow): Promise<void> {
    const stored = await this.#changeOf(id);
    if (stored === undefined) {
      this.#created++;
      this.#add({ contact_id: id, revision, fields_before: '', bytes: BYTES_PER_CHANGE });
      return;
    }
    // The import had created it, and somebody deleted it in between; or it had changed it, and its deletion is a change since.
    if (stored.fields_before === '') this.#changes.set(id, { ...stored, revision });
  }

  async updated(before: ContactRow, after: ContactRow): Promise<void> {
    const stored = await this.#changeOf(before.id);
    if (stored === undefined) {
      const fields_before = jsonOfFields(before);
      // What it takes to make the contact as large as it was, since taking an import back is never refused for that.
      const bytes = BYTES_PER_CHANGE + Buffer.byteLength(fields_before) + Math.max(before.bytes - after.bytes, 0);
      this.#updated++;
      this.#add({ contact_id: before.id, revision: after.revision, fields_before, bytes });
      return;
    }
    // Somebody changed it since this import wrote it: then it stays as it is when the import is taken back.
    if (stored.revision !== before.revision) return;
    const smaller = stored.fields_before === '' ? 0 : Math.max(before.bytes - after.bytes, 0);
    this.#changes.set(before.id, { ...stored, revision: after.revision, bytes: stored.bytes + smaller });
    this.#bytes += smaller;
  }

  /** Labels that the import creates or brings back, which go with it where no contact has them. */
  labelsAdded(labels: readonly LabelVersion[]): void {
    const written = labels.map(writeLabel);
    this.#labels.push(...written);
    const bytes = written.reduce((sum, text) => sum + text.length + 1, 0);
    this.#bytes += bytes;
    this.#importAdded += bytes;
  }

  /** What the import has done to a contact by now. */
  async #changeOf(contactId: string): Promise<ImportChangeRow | undefined> {
    const change = this.#changes.get(contactId);
    if (change !== undefined || this.#stored === undefined) return change;
    return selectChange(this.#tx, this.#ownerId, this.#part.id, contactId);
  }

  #add(change: Pick<ImportChangeRow, 'contact_id' | 'revision' | 'fields_before' | 'bytes'>): void {
    this.#changes.set(change.contact_id, { owner_id: this.#ownerId, import_id: this.#part.id, ...change });
    this.#added++;
    this.#bytes += change.bytes;
  }

  /** Returns whether the import has written anything by now. */
  async write(): Promise<boolean> {
    if (this.#changes.size + this.#labels.length === 0) return this.#stored !== undefined;
    const now = this.#app.now();
    const row: ContactImportRow = this.#stored ?? {
      owner_id: this.#ownerId,
      id: this.#part.id,
      source: this.#part.source,
      created: 0,
      updated: 0,
      remaining: 0,
      label_ids: '',
      bytes: this.#importBytes(),
      create_ms: now,
      purge_ms: 0,
    };
    const next = {
      ...row,
      created: row.created + this.#created,
      updated: row.updated + this.#updated,
      remaining: row.remaining + this.#added,
      label_ids: [row.label_ids, ...this.#labels].filter((label) => label !== '').join(' '),
      bytes: row.bytes + this.#importAdded,
      purge_ms: now + this.#app.purgeAfterMs,
    };
    await writeImport(this.#tx, next, [...this.#changes.values()], this.#bytes);
    return true;
  }

  #importBytes(): number {
    return BYTES_PER_IMPORT + Buffer.byteLength(this.#part.source);
  }
}
