import { etagOf } from '../etag.ts';
import { cut, fold, isVisible, searchTerm, wordTerms } from '../text.ts';
import type { ContactRow } from './store.ts';

/** What a user writes down about a contact. */
export interface ContactFields {
  readonly givenName: string;
  readonly familyName: string;
  readonly company: string;
  readonly title: string;
  readonly emails: readonly Email[];
  readonly phones: readonly Phone[];
  readonly addresses: readonly Address[];
  readonly urls: readonly Url[];
  readonly birthday: Birthday | undefined;
  readonly notes: string;
  readonly starred: boolean;
}

/** One of several; exactly one of a list that is not empty is primary. */
interface Entry {
  readonly label: string;
  readonly primary: boolean;
}
export interface Email extends Entry {
  readonly address: string;
}
export interface Phone extends Entry {
  readonly number: string;
}
export interface Address extends Entry {
  readonly street: string;
  readonly city: string;
  readonly region: string;
  readonly postalCode: string;
  readonly country: string;
}
export interface Url extends Entry {
  readonly url: string;
}
/** A day of the Gregorian calendar, of an unknown year perhaps. */
export interface Birthday {
  readonly year: number | undefined;
  readonly month: number;
  readonly day: number;
}

/** A contact as the contract shows it; times in milliseconds since 1970. */
export interface Contact extends ContactFields {
  readonly id: string;
  readonly createMs: number;
  readonly updateMs: number;
  readonly deleteMs: number | null;
  readonly purgeMs: number | null;
  readonly etag: string;
}

/** The columns that hold the fields. */
export type FieldColumns = Pick<
  ContactRow,
  | 'sort_key'
  | 'given_name'
  | 'family_name'
  | 'company'
  | 'title'
  | 'emails'
  | 'phones'
  | 'addresses'
  | 'urls'
  | 'birthday'
  | 'notes'
  | 'starred'
>;

export function toColumns(fields: ContactFields): FieldColumns {
  return {
    sort_key: sortKeyOf(fields),
    given_name: fields.givenName,
    family_name: fields.familyName,
    company: fields.company,
    title: fields.title,
    emails: JSON.stringify(onePrimary(fields.emails)),
    phones: JSON.stringify(onePrimary(fields.phones)),
    addresses: JSON.stringify(onePrimary(fields.addresses)),
    urls: JSON.stringify(onePrimary(fields.urls)),
    birthday: fields.birthday === undefined ? null : formatBirthday(fields.birthday),
    notes: fields.notes,
    starred: fields.starred ? 1 : 0,
  };
}

export function toFields(row: FieldColumns): ContactFields {
  return {
    givenName: row.given_name,
    familyName: row.family_name,
    company: row.company,
    title: row.title,
    emails: JSON.parse(row.emails) as Email[],
    phones: JSON.parse(row.phones) as Phone[],
    addresses: JSON.parse(row.addresses) as Address[],
    urls: JSON.parse(row.urls) as Url[],
    birthday: row.birthday === null ? undefined : parseBirthday(row.birthday),
    notes: row.notes,
    starred: row.starred === 1,
  };
}

export function toContact(row: ContactRow): Contact {
  return {
    ...toFields(row),
    id: row.id,
    createMs: row.create_ms,
    updateMs: row.update_ms,
    deleteMs: row.delete_ms,
    purgeMs: row.purge_ms,
    etag: etagOf(row),
  };
}

const NO_CONTACT: Contact = {
  id: '',
  givenName: '',
  familyName: '',
  company: '',
  title: '',
  emails: [],
  phones: [],
  addresses: [],
  urls: [],
  birthday: undefined,
  notes: '',
  starred: false,
  createMs: 0,
  updateMs: 0,
  deleteMs: null,
  purgeMs: null,
  etag: '',
};

/** A contact as answered before, perhaps by a version that knew fewer fields. */
export function completeContact(stored: Partial<Contact>): Contact {
  return { ...NO_CONTACT, ...stored };
}

/** Whether there is nothing to know the contact by. */
export function isEmpty(fields: ContactFields): boolean {
  const { givenName, familyName, company, emails, phones } = fields;
  return !isVisible(givenName + familyName + company) && emails.length === 0 && phones.length === 0;
}

/** The shortest run of digits inside a phone number that finds it. */
const PHONE_DIGITS_MIN = 4;

/** Marks what is inside a phone number, as opposed to its beginning. No text of the contract holds it. */
const INSIDE = '\u0001';

/** The terms that find a contact by a beginning: see ListContactsRequest.query. */
export function contactTerms({ givenName, familyName, company, emails, phones }: ContactFields): string[] {
  const terms = [
    ...wordTerms(`${givenName} ${familyName}`),
    ...wordTerms(`${familyName} ${givenName}`),
    ...wordTerms(company),
    ...emails.flatMap(({ address }) => [searchTerm(address), searchTerm(address.slice(address.lastIndexOf('@') + 1))]),
    ...phones.flatMap(({ number }) => digitTerms(number)),
  ];
  return [...new Set(terms)].filter((term) => term !== '');
}

/**
 * The beginnings of terms that a query asks for, any of which finds a contact;
 * none asks for all. What could be a phone number asks for its digits as well.
 */
export function contactQueries(query: string): string[] {
  const text = searchTerm(query);
  if (text === '') return [];
  const digits = /^[0-9 +./()*#,;x-]*$/.test(text) ? digitsOf(text) : '';
  if (digits === '') return [text];
  const numbers = digits.length < PHONE_DIGITS_MIN ? [digits] : [digits, INSIDE + digits];
  return [...new Set([text, ...numbers])];
}

/** All digits, and every end of them that is not too short: the beginnings of these are the runs inside. */
function digitTerms(number: string): string[] {
  const digits = digitsOf(number);
  const ends = Math.max(digits.length - PHONE_DIGITS_MIN, 0);
  return [digits, ...Array.from({ length: ends }, (_, i) => INSIDE + digits.slice(i + 1))];
}

function digitsOf(text: string): string {
  return text.replace(/\D/g, '');
}

/** As long as a page token can carry. */
const SORT_KEY_LENGTH = 200;

function sortKeyOf({ givenName, familyName, company, emails, phones }: ContactFields): string {
  const name = fold(`${givenName} ${familyName} ${company}`);
  return cut(name || emails[0]?.address.toLowerCase() || phones[0]?.number || '', SORT_KEY_LENGTH);
}

function onePrimary<T extends Entry>(entries: readonly T[]): T[] {
  const primary = Math.max(
    entries.findIndex((entry) => entry.primary),
    0,
  );
  return entries.map((entry, i) => ({ ...entry, primary: i === primary }));
}

function formatBirthday({ year, month, day }: Birthday): string {
  const digits = (n: number, length: number) => String(n).padStart(length, '0');
  return `${year === undefined ? '-' : digits(year, 4)}-${digits(month, 2)}-${digits(day, 2)}`;
}

function parseBirthday(text: string): Birthday {
  const [day, month, year] = text.split('-').toReversed();
  return { year: year ? Number(year) : undefined, month: Number(month), day: Number(day) };
}
