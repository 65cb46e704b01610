import { formatDate, type PartialDate } from '../kernel/partial-date.ts';
import { etagOf } from '../storage/etag.ts';
import { cut, fold, isVisible } from '../kernel/text.ts';
import type { ContactRow } from './store.ts';
import { CONTACT_SEARCH_VERSION } from './terms.ts';

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
  /** The number in E.164, if it can be read. */
  readonly e164?: string | undefined;
}
export interface Address extends Entry {
  readonly street: string;
  readonly city: string;
  readonly region: string;
  readonly postalCode: string;
  readonly country: string;
}
export interface Url extends Entry {
  /** An absolute http or https URL, or '' if there is a text instead. */
  readonly url: string;
  readonly text?: string | undefined;
}
/** A date other than the birthday. */
export interface DatedEvent {
  readonly date: PartialDate;
  readonly type: string;
}
export interface Relation {
  readonly name: string;
  readonly type: string;
}
export interface MessagingHandle {
  readonly handle: string;
  readonly service: string;
  readonly type: string;
}
export interface CustomField {
  readonly label: string;
  readonly value: string;
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

/** How a field of a contact is stored in a column. */
interface StoredField<Column extends keyof ContactRow, Value> {
  readonly column: Column;
  /** The value if nothing is set. */
  readonly empty: Value;
  readonly write: (value: Value) => ContactRow[Column];
  readonly read: (stored: ContactRow[Column]) => Value;
}

/** A field that is stored under its name in the JSON of the column `details`, where it is set. */
interface DetailField<Value> {
  readonly column: 'details';
  readonly empty: Value;
}

function field<Column extends keyof ContactRow, Value>(stored: StoredField<Column, Value>) {
  return stored;
}

type TextColumn = {
  [Column in keyof ContactRow]: ContactRow[Column] extends string ? Column : never;
}[keyof ContactRow];

function text<Column extends TextColumn>(column: Column): StoredField<Column, string> {
  return { column, empty: '', write: (value) => value, read: (stored) => stored };
}

function list<Column extends TextColumn, Item extends Entry>(column: Column): StoredField<Column, readonly Item[]> {
  return {
    column,
    empty: [],
    write: (items) => JSON.stringify(onePrimary(items)),
    read: (stored) => JSON.parse(stored) as Item[],
  };
}

const detailText: DetailField<string> = { column: 'details', empty: '' };

function detailList<Item>(): DetailField<readonly Item[]> {
  return { column: 'details', empty: [] };
}

/**
 * Every field of a contact that a user sets. What the database neither sorts nor looks up by is a detail: most
 * contacts have few of them.
 */
const FIELDS = {
  givenName: text('given_name'),
  familyName: text('family_name'),
  company: text('company'),
  jobTitle: text('job_title'),
  emails: list<'emails', Email>('emails'),
  phones: list<'phones', Phone>('phones'),
  addresses: list<'addresses', Address>('addresses'),
  urls: list<'urls', Url>('urls'),
  birthday: field<'birthday', PartialDate | undefined>({
    column: 'birthday',
    empty: undefined,
    write: (date) => (date === undefined ? null : formatDate(date, '-')),
    read: (stored) => (stored === null ? undefined : parseDate(stored)),
  }),
  notes: text('notes'),
  starred: field<'starred', boolean>({
    column: 'starred',
    empty: false,
    write: (isStarred) => (isStarred ? 1 : 0),
    read: (stored) => stored === 1,
  }),
  namePrefix: detailText,
  middleName: detailText,
  nameSuffix: detailText,
  nickname: detailText,
  phoneticGivenName: detailText,
  phoneticMiddleName: detailText,
  phoneticFamilyName: detailText,
  department: detailText,
  dates: detailList<DatedEvent>(),
  relations: detailList<Relation>(),
  messagingHandles: detailList<MessagingHandle>(),
  customFields: detailList<CustomField>(),
  languages: detailList<string>(),
  timeZone: detailText,
  pronouns: detailText,
  source: detailText,
  uid: text('uid'),
  /** What a file had and no field holds, as content lines of vCard: none of them has a line end in it. */
  properties: field<'properties', readonly string[]>({
    column: 'properties',
    empty: [],
    write: (lines) => lines.join('\n'),
    read: (stored) => (stored === '' ? [] : stored.split('\n')),
  }),
  /** '' for none. */
  photoId: text('photo_id'),
  /** Ids of labels, also of deleted ones: see visibleLabels. */
  labelIds: field<'label_ids', readonly string[]>({
    column: 'label_ids',
    empty: [],
    write: (ids) => ids.join(' '),
    read: (stored) => (stored === '' ? [] : stored.split(' ')),
  }),
};
type Field = keyof typeof FIELDS;

/** The fields of a contact that a user sets. */
export type ContactFields = { readonly [Name in Field]: (typeof FIELDS)[Name]['empty'] };

/** The columns that hold the fields. */
export type FieldColumns = Pick<ContactRow, 'sort_key' | 'search_version' | (typeof FIELDS)[Field]['column']>;

/** FIELDS as lists. Each field reads and writes its own column, which a type cannot say of all of them. */
const FIELD_LIST = Object.entries(FIELDS).filter(([, { column }]) => column !== 'details') as [
  Field,
  StoredField<keyof FieldColumns, unknown>,
][];
const DETAIL_NAMES = (Object.keys(FIELDS) as Field[]).filter((name) => FIELDS[name].column === 'details');

/** The fields of a contact of which nothing is set. */
export const NO_FIELDS = Object.fromEntries(
  Object.entries(FIELDS).map(([name, { empty }]) => [name, empty]),
) as unknown as ContactFields;

export function toColumns(fields: ContactFields): FieldColumns {
  const columns: Record<string, unknown> = {
    sort_key: sortKeyOf(fields),
    search_version: CONTACT_SEARCH_VERSION,
    details: writeDetails(fields),
  };
  for (const [name, { column, write }] of FIELD_LIST) columns[column] = write(fields[name]);
  return columns as FieldColumns;
}

export function toFields(row: FieldColumns): ContactFields {
  return readFields({ ...NO_FIELDS }, row);
}

/** The fields of a row as JSON, to be read with fieldsOfJson when the contact has others. */
export function jsonOfFields(row: FieldColumns): string {
  return JSON.stringify(toFields(row));
}

/** The fields that jsonOfFields wrote; of an earlier version, which knew fewer, the others are empty. */
export function fieldsOfJson(json: string): ContactFields {
  return { ...NO_FIELDS, ...(JSON.parse(json) as ContactFields) };
}

/** Sets the fields of an object that has them all: faster than to add them one by one. */
function readFields<Target extends ContactFields>(target: Target, row: FieldColumns): Target {
  const fields: Record<string, unknown> = target;
  for (let i = 0; i < FIELD_LIST.length; i++) {
    const [name, { column, read }] = FIELD_LIST[i]!;
    fields[name] = read(row[column]);
  }
  if (row.details !== '') Object.assign(fields, JSON.parse(row.details));
  return target;
}

/** JSON of the details that are set; '' for none. */
function writeDetails(fields: ContactFields): string {
  const set = DETAIL_NAMES.filter((name) => (fields[name] as string | readonly unknown[]).length > 0);
  return set.length === 0 ? '' : JSON.stringify(Object.fromEntries(set.map((name) => [name, fields[name]])));
}

export function toContact(row: ContactRow): Contact {
  const contact: Contact = {
    ...NO_FIELDS,
    id: row.id,
    createMs: row.create_ms,
    updateMs: row.update_ms,
    deleteMs: row.delete_ms,
    purgeMs: row.purge_ms,
    etag: etagOf(row),
  };
  return readFields(contact, row);
}

/** Whether a contact has no visible name or company, no email address and no phone number. */
export function isEmpty(fields: ContactFields): boolean {
  const { givenName, middleName, familyName, nickname, company, emails, phones } = fields;
  const names = givenName + middleName + familyName + nickname + company;
  return !isVisible(names) && emails.length === 0 && phones.length === 0;
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

function sortKeyOf(fields: ContactFields): string {
  const { givenName, middleName, familyName, nickname, company, emails, phones } = fields;
  const name = fold(`${givenName} ${familyName} ${company}`) || fold(`${middleName} ${nickname}`);
  return cut(name || emails[0]?.address.toLowerCase() || phones[0]?.number || '', SORT_KEY_LENGTH);
}

function onePrimary<T extends Entry>(entries: readonly T[]): T[] {
  const primary = Math.max(
    entries.findIndex((entry) => entry.primary),
    0,
  );
  return entries.map((entry, i) => ({ ...entry, primary: i === primary }));
}

const DATE = /^(?<year>\d{4}|-)(?:-(?<month>\d\d)(?:-(?<day>\d\d))?)?$/;

function parseDate(text: string): PartialDate {
  const { year, month, day } = DATE.exec(text)?.groups ?? {};
  const numberOf = (part: string | undefined) => (part === undefined || part === '-' ? undefined : Number(part));
  return { year: numberOf(year), month: numberOf(month), day: numberOf(day) };
}
