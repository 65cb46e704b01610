import { type ChangesPlace, presentPlace, readChanges } from '../activity/log/changes.ts';
import { readPlace, writePlace } from '../activity/log/cursor.ts';
import type { App } from '../app.ts';
import type { Caller } from '../kernel/access.ts';
import { Failure } from '../kernel/failure.ts';
import type { Keyring } from '../kernel/keyring.ts';
import type { Db } from '../storage/database.ts';
import { PAGE_TEXT_MAX, paddedJson, type PageRequest, pageSizeOf, textOf } from '../storage/pages.ts';
import { type Contact, toContact } from './contact.ts';
import { selectTarget } from './merges-store.ts';
import {
  type ContactFilter,
  type ContactKey,
  type ContactRow,
  MERGED,
  selectContactPage,
  selectContacts,
} from './store.ts';

/** A contact that is gone: deleted, or merged into another one. */
export interface Tombstone {
  readonly id: string;
  /** The contact that it was merged into; '' for none. */
  readonly mergedInto: string;
}

/** What changed for a client that keeps a copy of its owner's contacts. */
export interface SyncPage {
  /** Each as it is now. */
  readonly contacts: readonly Contact[];
  readonly tombstones: readonly Tombstone[];
  /** Whether labels changed, too. */
  readonly isLabelChanged: boolean;
  readonly nextCursor: string;
  readonly hasMore: boolean;
}

/** How many changes one page looks at, and the contacts of how many are read at once. */
const CHANGES_MAX = 200;
const CHANGES_AT_ONCE = 10;

/** Those of contacts and labels. */
const ACTIONS = ['kith.contact', 'kith.label'];

const LIVE: ContactFilter = { deleted: false, starred: undefined, queries: [] };

/**
 * A page of the caller's contacts for a copy: without a cursor all of them, after that what changed. What the log of
 * activity holds is read as watches do, in the order of transactions; and the contacts as they are afterwards.
 *
 * Throws cursor_invalid, cursor_expired.
 */
export async function syncContacts(
  app: App,
  caller: Caller,
  { cursor, pageSize }: { readonly cursor: string; readonly pageSize: number },
): Promise<SyncPage> {
  const cursors = syncCursors(app.keyring, caller.userId);
  const place = cursors.read(cursor) ?? { from: await presentPlace(app.database), listed: ['', ''] };
  const request = { pageSize, pageToken: '' };
  return place.listed === undefined
    ? changesPage(app, caller, cursors, place.from, request)
    : listPage(app, caller, cursors, { ...place, listed: place.listed }, request);
}

/** All contacts that are there, of which those that change meanwhile come again. */
async function listPage(
  { database }: App,
  { userId }: Caller,
  cursors: SyncCursors,
  { from, listed }: SyncPlace & { readonly listed: ContactKey },
  request: PageRequest,
): Promise<SyncPage> {
  const after = listed[1] === '' ? undefined : listed;
  const page = await selectContactPage(database.longReads, userId, LIVE, after, pageSizeOf(request));
  return {
    contacts: page.rows.map(toContact),
    tombstones: [],
    isLabelChanged: listed[1] === '',
    nextCursor: cursors.write({ from, listed: page.resumeAfter }),
    // What changed while the list was read comes next.
    hasMore: true,
  };
}

async function changesPage(
  { database, now }: App,
  { userId }: Caller,
  cursors: SyncCursors,
  from: ChangesPlace,
  request: PageRequest,
): Promise<SyncPage> {
  const limit = Math.min(pageSizeOf(request), CHANGES_MAX);
  const found = await readChanges(database, userId, ACTIONS, from, limit);
  const page = new ChangedContacts(database.db, userId, now());
  let isLabelChanged = false;
  for (let start = 0; start < found.changes.length; start += CHANGES_AT_ONCE) {
    const some = found.changes.slice(start, start + CHANGES_AT_ONCE);
    await page.read(some.flatMap(({ attributes }) => idsIn(attributes)));
    for (const { action, attributes, place } of some) {
      if (action.startsWith('kith.label.')) isLabelChanged = true;
      else await page.add(idsIn(attributes));
      if (!page.isFull) continue;
      return { ...page.end(), isLabelChanged, nextCursor: cursors.write({ from: place }), hasMore: true };
    }
  }
  return { ...page.end(), isLabelChanged, nextCursor: cursors.write({ from: found.next }), hasMore: !found.isEnd };
}

/** The contacts that an activity is about. */
function idsIn({ contact_id, merged_contact_ids }: Readonly<Record<string, string>>): string[] {
  return [contact_id, ...(merged_contact_ids?.split(' ') ?? [])].filter((id) => id !== undefined);
}

/** Contacts as they are, each once, as many as a page holds. */
class ChangedContacts {
  readonly #db: Db;
  readonly #ownerId: string;
  readonly #nowMs: number;
  readonly #seen = new Set<string>();
  #rows: ReadonlyMap<string, ContactRow> = new Map();
  readonly #contacts: Contact[] = [];
  readonly #tombstones: Tombstone[] = [];
  #text = 0;

  constructor(db: Db, ownerId: string, nowMs: number) {
    this.#db = db;
    this.#ownerId = ownerId;
    this.#nowMs = nowMs;
  }

  get isFull(): boolean {
    return this.#text > PAGE_TEXT_MAX;
  }

  /** Reads contacts that are to be added. */
  async read(ids: readonly string[]): Promise<void> {
    const missing = new Set(ids.filter((id) => !this.#seen.has(id)));
    this.#rows = await selectContacts(this.#db, this.#ownerId, [...missing]);
  }

  async add(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      if (this.#seen.has(id)) continue;
      this.#seen.add(id);
      const row = this.#rows.get(id);
      if (row?.deleted === 0) {
        this.#contacts.push(toContact(row));
        this.#text += textOf(row);
      } else this.#tombstones.push({ id, mergedInto: row === undefined ? '' : await this.#targetOf(row) });
    }
  }

  async #targetOf(row: ContactRow): Promise<string> {
    if (row.deleted !== MERGED || (row.purge_ms !== null && row.purge_ms <= this.#nowMs)) return '';
    return (await selectTarget(this.#db, row))?.id ?? '';
  }

  end(): Pick<SyncPage, 'contacts' | 'tombstones'> {
    return { contacts: this.#contacts, tombstones: this.#tombstones };
  }
}

/** Where a client is: while it reads the list, behind which contact of it. */
interface SyncPlace {
  readonly from: ChangesPlace;
  readonly listed?: ContactKey | undefined;
}

interface SyncCursors {
  /** Undefined for no cursor. Throws cursor_invalid. */
  read(cursor: string): SyncPlace | undefined;
  write(place: SyncPlace): string;
}

/** Cursors are padded to a multiple of so many bytes, so that their lengths tell little. */
const PADDING_BYTES = 256;

/** A cursor is encrypted, since positions tell how much others do, and good for its owner alone, on every instance. */
function syncCursors(keyring: Keyring, ownerId: string): SyncCursors {
  const scope = JSON.stringify(['contacts', ownerId]);
  return {
    read(cursor) {
      if (cursor === '') return undefined;
      const bytes = keyring.readToken('cursor', cursor, scope);
      if (bytes === undefined) {
        throw new Failure(
          'cursor_invalid',
          'the cursor is not one of these contacts: send one that was received, or none',
        );
      }
      const { seen, part, listed } = JSON.parse(bytes.toString()) as StoredPlace;
      const partOf = (text: string) => {
        const { before: after, view: upTo } = readPlace(text);
        return { upTo, after };
      };
      const from = { seen: readPlace(seen).view, ...(part !== undefined && { part: partOf(part) }) };
      return { from, listed };
    },
    write({ from: { seen, part }, listed }) {
      const stored: StoredPlace = {
        seen: writePlace(seen.end, seen),
        ...(part && { part: writePlace(part.after, part.upTo) }),
        listed,
      };
      return keyring.writeToken('cursor', paddedJson(stored, PADDING_BYTES), scope);
    },
  };
}

interface StoredPlace {
  readonly seen: string;
  readonly part?: string;
  readonly listed?: ContactKey | undefined;
}
