import type { Contact } from '@kith/client/contacts';

/** How many bytes a QR code has room for that a phone still reads from a screen; 2,331 is the most there may be. */
const BYTES_MAX = 900;

/** A contact as a vCard for a QR code, and whether something of it had to be left out. */
export interface Card {
  readonly text: string;
  readonly isCut: boolean;
}

/**
 * The vCard 3.0 (RFC 2426), which the cameras of phones read, of what one needs to call or write to somebody. As many of
 * its lines as fit into a QR code, the first ones first. ExportContacts gives all that there is.
 */
export function qrCard(contact: Contact): Card {
  const { givenName, middleName, familyName, namePrefix, nameSuffix, nickname, company, department, jobTitle } =
    contact;
  const fullName = [namePrefix, givenName, middleName, familyName, nameSuffix].filter(Boolean).join(' ');
  const head = [
    'BEGIN:VCARD',
    'VERSION:3.0',
    `N:${[familyName, givenName, middleName, namePrefix, nameSuffix].map(escaped).join(';')}`,
    `FN:${escaped(fullName || nickname || company || contact.emails[0]?.address || contact.phones[0]?.number || '')}`,
  ];
  const lines = [
    ...(company + department === '' ? [] : [`ORG:${[company, department].filter(Boolean).map(escaped).join(';')}`]),
    ...contact.phones.map(({ number, type, e164 }) => `TEL${typeOf(type)}:${escaped(e164 || number)}`),
    ...contact.emails.map(({ address, type }) => `EMAIL${typeOf(type)}:${escaped(address)}`),
    ...(jobTitle === '' ? [] : [`TITLE:${escaped(jobTitle)}`]),
    ...contact.addresses.map((address) => {
      const { street, city, region, postalCode, country, type } = address;
      const parts = ['', '', street, city, region, postalCode, country].map(escaped).join(';');
      return `ADR${typeOf(type)}:${parts}`;
    }),
    ...contact.urls.flatMap(({ url }) => (url === '' ? [] : [`URL:${escaped(url)}`])),
  ];
  const bytesOf = (texts: readonly string[]) =>
    new TextEncoder().encode([...texts, 'END:VCARD', ''].join('\r\n')).length;
  const kept = head;
  for (const line of lines) if (bytesOf([...kept, line]) <= BYTES_MAX) kept.push(line);
  return { text: [...kept, 'END:VCARD', ''].join('\r\n'), isCut: kept.length < 4 + lines.length };
}

const escaped = (text: string): string =>
  text.replaceAll(/[\\;,]/g, String.raw`\$&`).replaceAll(/\r\n|\r|\n/g, String.raw`\n`);

/** The kinds that vCard has words for; others are left out. */
const TYPES: Readonly<Record<string, string>> = {
  work: 'WORK',
  home: 'HOME',
  mobile: 'CELL',
  cell: 'CELL',
  fax: 'FAX',
};

function typeOf(type: string): string {
  const known = TYPES[type.toLowerCase()];
  return known === undefined ? '' : `;TYPE=${known}`;
}
