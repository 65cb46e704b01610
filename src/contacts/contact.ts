import { etagOf } from '../storage/etag.ts';
import { cut, fold, isVisible } from '../kernel/text.ts';
import type { ContactRow } from './store.ts';

/** The fields of a contact that a user sets. */
export interface ContactFields {
  readonly givenName: string;
  readonly familyName: string;
  readonly company: string;
  readonly jobTitle: string;
  readonly emails: readonly Email[];
  readonly phones: readonly Phone[];
  readonly addresses: readonly Address[];
  readonly urls: readonly Url[];
  readonly birthday: PartialDate | undefined;
  readonly notes: string;
  readonly starred: boolean;
}

/** An entry of a list. Exactly one entry of a list is primary, unless the list is empty. */
interface Entry {
  /** The kind of the entry, as free text. */
  readonly type: string;
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
/** The known parts of a date of the Gregorian calendar: a year, a month or both; a day only with a month. */
export interface PartialDate {
  readonly year: number | undefined;
  readonly month: number | undefined;
  readonly day: number | undefined;
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
  | 'job_title'
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
    job_title: fields.jobTitle,
    emails: JSON.stringify(onePrimary(fields.emails)),
    phones: JSON.stringify(onePrimary(fields.phones)),
    addresses: JSON.stringify(onePrimary(fields.addresses)),
    urls: JSON.stringify(onePrimary(fields.urls)),
    birthday: fields.birthday === undefined ? null : formatDate(fields.birthday),
    notes: fields.notes,
    starred: fields.starred ? 1 : 0,
  };
}

export function toFields(row: FieldColumns): ContactFields {
  return {
    givenName: row.given_name,
    familyName: row.family_name,
    company: row.company,
    jobTitle: row.job_title,
    emails: JSON.parse(row.emails) as Email[],
    phones: JSON.parse(row.phones) as Phone[],
    addresses: JSON.parse(row.addresses) as Address[],
    urls: JSON.parse(row.urls) as Url[],
    birthday: row.birthday === null ? undefined : parseDate(row.birthday),
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

/** Whether a contact has no visible name or company, no email address and no phone number. */
export function isEmpty(fields: ContactFields): boolean {
  const { givenName, familyName, company, emails, phones } = fields;
  return !isVisible(givenName + familyName + company) && emails.length === 0 && phones.length === 0;
}

/** Approximate overhead in a database of a contact and of each of its search terms, beside their texts, bytes. */
const BYTES_PER_CONTACT = 700;
const BYTES_PER_TERM = 230;

/** The approximate size of a contact with its search terms in the database, bytes. Never 0. */
export function bytesOf(columns: FieldColumns, terms: readonly string[]): number {
  const texts = Object.values(columns).filter((value) => typeof value === 'string');
  const textBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), Buffer.byteLength(columns.sort_key) * 2);
  // The table and two indexes each hold the term.
  const termBytes = terms.reduce((sum, term) => sum + BYTES_PER_TERM + 3 * Buffer.byteLength(term), 0);
  return BYTES_PER_CONTACT + textBytes + termBytes;
}

/** The most that a page token can carry, UTF-16 code units. */
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

function formatDate({ year, month, day }: PartialDate): string {
  const digits = (n: number, length: number) => String(n).padStart(length, '0');
  return [
    year === undefined ? '-' : digits(year, 4),
    ...[month, day].filter((part) => part !== undefined).map((part) => digits(part, 2)),
  ].join('-');
}

const DATE = /^(?<year>\d{4}|-)(?:-(?<month>\d\d)(?:-(?<day>\d\d))?)?$/;

function parseDate(text: string): PartialDate {
  const { year, month, day } = DATE.exec(text)?.groups ?? {};
  const numberOf = (part: string | undefined) => (part === undefined || part === '-' ? undefined : Number(part));
  return { year: numberOf(year), month: numberOf(month), day: numberOf(day) };
}
