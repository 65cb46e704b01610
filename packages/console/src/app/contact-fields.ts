import { type Contact, ContactField, type PartialDate, type PostalAddress } from '@kith/client/contacts';
import { locale } from '../preferences.ts';

/** Fields of one line of text, in the order in which they are shown. */
export const NAME_FIELDS = [
  'namePrefix',
  'givenName',
  'middleName',
  'familyName',
  'nameSuffix',
  'nickname',
  'phoneticGivenName',
  'phoneticMiddleName',
  'phoneticFamilyName',
  'pronouns',
] as const;
export const WORK_FIELDS = ['company', 'department', 'jobTitle'] as const;
const LISTS = [
  'emails',
  'phones',
  'addresses',
  'urls',
  'messagingHandles',
  'dates',
  'relations',
  'languages',
  'customFields',
] as const;

/**
 * Every field that contacts are merged by, in the order in which they are shown. `uid` is not among them: it identifies a
 * contact in other address books, and stays with the contact that stays.
 */
export const FIELDS = [
  ...NAME_FIELDS,
  ...WORK_FIELDS,
  'birthday',
  ...LISTS,
  'timeZone',
  'notes',
  'starred',
  'photoId',
  'labelIds',
  'source',
  'vcardProperties',
] as const satisfies readonly FieldName[];

/** A field of a contact that merges know of. */
export type FieldName = CamelCase<Exclude<keyof typeof ContactField, 'UNSPECIFIED' | 'UID'>>;

type CamelCase<Constant extends string> = Constant extends `${infer Word}_${infer Rest}`
  ? `${Lowercase<Word>}${Capitalize<CamelCase<Rest>>}`
  : Lowercase<Constant>;

/** Fields of which a merged contact has what both have, unless one of them is chosen. */
export const UNITED: ReadonlySet<FieldName> = new Set([...LISTS, 'notes', 'starred', 'labelIds', 'vcardProperties']);

/** The field as the contract names it. */
export function contactField(name: FieldName): ContactField {
  const constant = name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
  return ContactField[constant as keyof typeof ContactField];
}

/** What there is of a field, each entry as people read it, with what kind it is. Labels are by their ids. */
export function entriesOf(contact: Contact, name: FieldName): readonly Entry[] {
  switch (name) {
    case 'emails':
      return contact.emails.map(({ address, type }) => ({ text: address, type, key: address.toLowerCase() }));
    case 'phones':
      return contact.phones.map(({ number, type, e164 }) => ({ text: number, type, key: e164 || number }));
    case 'addresses':
      return contact.addresses.map((address) => ({ text: linesOfAddress(address).join(', '), type: address.type }));
    case 'urls':
      return contact.urls.map(({ url, text, type }) => ({ text: url || text, type }));
    case 'messagingHandles':
      return contact.messagingHandles.map(({ handle, service, type }) => ({
        text: handle,
        type: [service, type].filter(Boolean).join(', '),
      }));
    case 'dates':
      return contact.dates.map(({ date, type }) => ({ text: date === undefined ? '' : dateText(date), type }));
    case 'relations':
      return contact.relations.map((relation) => ({ text: relation.name, type: relation.type }));
    case 'customFields':
      return contact.customFields.map(({ label, value }) => ({ text: value, type: label }));
    case 'languages':
    case 'labelIds':
    case 'vcardProperties':
      return contact[name].map((text) => ({ text, type: '' }));
    case 'birthday':
      return contact.birthday === undefined ? [] : [{ text: dateText(contact.birthday), type: '' }];
    case 'starred':
      return contact.starred ? [{ text: '★', type: '' }] : [];
    default:
      return contact[name] === '' ? [] : [{ text: contact[name], type: '' }];
  }
}

export interface Entry {
  readonly text: string;
  /** What kind it is, in the words of the person; may be empty. */
  readonly type: string;
  /** What is the same in two entries that mean the same, where that is not the text. */
  readonly key?: string;
}

/** Entries of both, each once. */
export function unite(first: readonly Entry[], second: readonly Entry[]): readonly Entry[] {
  const keys = new Set(first.map(keyOf));
  return [...first, ...second.filter((entry) => !keys.has(keyOf(entry)))];
}

/** Whether two lists of entries have the same texts and kinds. */
export function areSame(first: readonly Entry[], second: readonly Entry[]): boolean {
  const shown = (entries: readonly Entry[]) => JSON.stringify(entries.map(({ text, type }) => [text, type]));
  return shown(first) === shown(second);
}

const keyOf = ({ text, key = text }: Entry): string => key;

/** The lines of an address, as they stand on an envelope. */
export function linesOfAddress({ street, postalCode, city, region, country }: PostalAddress): readonly string[] {
  return [...street.split('\n'), `${postalCode} ${city}`, region, country].map((line) => line.trim()).filter(Boolean);
}

const FORMATS = {
  day: { day: 'numeric' },
  month: { month: 'long' },
  year: { year: 'numeric' },
} as const satisfies Record<string, Intl.DateTimeFormatOptions>;

/** In which 29 February is. */
const LEAP_YEAR = 2000;

/** A date as far as it is known, as the reader writes it. */
export function dateText({ year, month, day }: PartialDate): string {
  const date = new Date(0);
  // Date.UTC takes the years 1 to 99 for those of the 20th century.
  date.setUTCFullYear(year ?? LEAP_YEAR, (month ?? 1) - 1, day ?? 1);
  return new Intl.DateTimeFormat(locale, {
    timeZone: 'UTC',
    ...(year !== undefined && FORMATS.year),
    ...(month !== undefined && FORMATS.month),
    ...(day !== undefined && FORMATS.day),
  }).format(date);
}
