import { setImmediate } from 'node:timers/promises';
import { payerOf } from '../budget/payer.ts';
import { type Caller, permissionMissing } from '../kernel/access.ts';
import { type ExportApp, piecesOf } from '../privacy/export.ts';
import type { Contact } from './contact.ts';
import { type LabelFilter, listContacts } from './contacts.ts';
import type { Card } from './formats/card.ts';
import { CSV_HEADER, writeCsvRow } from './formats/csv.ts';
import { writeJSContact } from './formats/jscontact-writer.ts';
import { writeVCard } from './formats/vcard-writer.ts';
import { labelNames } from './labels/labels.ts';
import { readPhoto } from './photos.ts';

/** Which contacts to export, and how. */
export interface ContactsExport {
  /** A version of vCard, or another format. */
  readonly format: '3.0' | '4.0' | 'csv' | 'jscontact';
  /** See ContactListRequest. */
  readonly query: string;
  readonly starred: boolean | undefined;
  readonly labels: LabelFilter;
}

/**
 * Contacts of the caller's as a file, in pieces of bounded length. Holds one page at a time, and reads the next one when
 * the pieces of the last have been taken. Before each page it reads the caller again.
 *
 * Throws session_ended, permission_missing, label_not_found.
 */
export async function* exportContacts(
  app: ExportApp,
  caller: Caller,
  { format, query, starred, labels }: ContactsExport,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const read = (pageSize: number, pageToken: string) =>
    app.watchReads.run(
      payerOf(caller, ''),
      async () => {
        const reader = await app.renew(caller);
        if (!reader.permissions.has('contacts.read')) throw permissionMissing('contacts.read');
        const request = {
          query,
          starred,
          labels,
          deleted: false,
          includeTotalSize: false,
          pageSize,
          pageToken,
        };
        const page = await listContacts(app, reader, request);
        const labelIds = page.items.flatMap((contact) => contact.labelIds);
        return { ...page, names: await labelNames(app.database.db, caller.userId, labelIds) };
      },
      signal,
    );

  if (format === 'csv') yield CSV_HEADER;
  let pageToken = '';
  let pageSize = PAGE_SIZE.min;
  let isFirst = true;
  const write = (card: Card): string => {
    if (format !== 'jscontact') return writeVCard(card, format === '3.0' ? '3.0' : '4.0');
    const before = isFirst ? '[\n' : ',\n';
    isFirst = false;
    return before + writeJSContact(card);
  };
  do {
    const { items, names, nextPageToken } = await read(pageSize, pageToken);
    let pageLength = 0;
    for (const some of withFewPhotos(items)) {
      const cards: string[] = [];
      let written = 0;
      for (const contact of some) {
        const card = toCard(contact, names);
        const text =
          format === 'csv' ? writeCsvRow(card) : write({ ...card, photo: await readPhoto(app, caller, contact) });
        cards.push(text);
        written += text.length;
        pageLength += text.length;
        if (written < TURN_LENGTH) continue;
        written = 0;
        await setImmediate();
      }
      yield* piecesOf(cards.join(''));
    }
    pageToken = nextPageToken;
    pageSize = nextPageSize(items.length, pageLength);
  } while (pageToken !== '' && !signal.aborted);
  if (format === 'jscontact') yield isFirst ? '[]\n' : '\n]\n';
}

/** How many contacts a page has, which is held as long as nobody reads it: a caller may have many exports open. */
const PAGE_SIZE = { min: 4, max: 100 };

/** How long a page is written, UTF-16 code units, if contacts go on being as long as they were. */
const PAGE_LENGTH = 100_000;

function nextPageSize(contacts: number, length: number): number {
  const fitting = Math.floor((PAGE_LENGTH * contacts) / Math.max(length, 1));
  return Math.min(Math.max(fitting, PAGE_SIZE.min), PAGE_SIZE.max);
}

/** How much is written before the event loop serves other calls, UTF-16 code units: some 3 ms of work. */
const TURN_LENGTH = 32_768;

/** How many photos are held at once. */
const PHOTOS_HELD = 10;

/** Contacts in their order, in groups of which none has more than PHOTOS_HELD photos. */
function withFewPhotos(contacts: readonly Contact[]): Contact[][] {
  const groups: Contact[][] = [[]];
  let photos = 0;
  for (const contact of contacts) {
    if (contact.photoId !== '' && ++photos > PHOTOS_HELD) {
      groups.push([]);
      photos = 1;
    }
    groups.at(-1)!.push(contact);
  }
  return groups;
}

/** A contact as files carry it, without its photo. One without a uid has its id as that, so that an import finds it. */
function toCard(contact: Contact, names: ReadonlyMap<string, string>): Card {
  const { phones, urls } = contact;
  return {
    ...contact,
    phones: phones.map(({ number, type, primary }) => ({ number, type, primary })),
    urls: urls.map(({ url, text = '', type, primary }) => ({ url: url || text, type, primary })),
    labels: contact.labelIds.flatMap((id) => names.get(id) ?? []),
    uid: contact.uid || `urn:uuid:${contact.id}`,
    photo: undefined,
  };
}
