import { payerOf } from '../budget/payer.ts';
import { type Caller, permissionMissing } from '../kernel/access.ts';
import { type ExportApp, piecesOf } from '../privacy/export.ts';
import { EXPORT_PAGE_ROWS } from '../privacy/personal-data.ts';
import type { Contact } from './contact.ts';
import { ANY_LABELS, listContacts } from './contacts.ts';
import type { Card } from './formats/card.ts';
import { CSV_HEADER, writeCsvRow } from './formats/csv.ts';
import { writeVCard } from './formats/vcard-writer.ts';

/** Which contacts to export, and how. */
export interface ContactsExport {
  /** A version of vCard, or CSV. */
  readonly format: '3.0' | '4.0' | 'csv';
  /** See ContactListRequest. */
  readonly query: string;
  readonly starred: boolean | undefined;
}

/**
 * Contacts of the caller's as a file, in pieces of bounded length. Holds one page at a time, and reads the next one when
 * the pieces of the last have been taken. Before each page it reads the caller again.
 *
 * Throws session_ended, permission_missing.
 */
export async function* exportContacts(
  app: ExportApp,
  caller: Caller,
  { format, query, starred }: ContactsExport,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const read = (pageToken: string) =>
    app.watchReads.run(
      payerOf(caller, ''),
      async () => {
        const reader = await app.renew(caller);
        if (!reader.permissions.has('contacts.read')) throw permissionMissing('contacts.read');
        const request = {
          query,
          starred,
          labels: ANY_LABELS,
          deleted: false,
          includeTotalSize: false,
          pageSize: EXPORT_PAGE_ROWS,
          pageToken,
        };
        return listContacts(app, reader, request);
      },
      signal,
    );

  if (format === 'csv') yield CSV_HEADER;
  let pageToken = '';
  do {
    const { items, nextPageToken } = await read(pageToken);
    const write = (contact: Contact) =>
      format === 'csv' ? writeCsvRow(toCard(contact)) : writeVCard(toCard(contact), format);
    yield* piecesOf(items.map(write).join(''));
    pageToken = nextPageToken;
  } while (pageToken !== '' && !signal.aborted);
}

/** A contact as files carry it. One without a uid has its id as that, so that an import finds it. */
function toCard(contact: Contact): Card {
  const { phones, urls } = contact;
  return {
    ...contact,
    phones: phones.map(({ number, type, primary }) => ({ number, type, primary })),
    urls: urls.map(({ url, text = '', type, primary }) => ({ url: url || text, type, primary })),
    uid: contact.uid || `urn:uuid:${contact.id}`,
  };
}
