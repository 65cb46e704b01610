import type { Contact, PartialDate } from '@kith/client/contacts';
import { fieldTexts } from './field-texts.ts';
import { contactTexts } from './contact-texts.ts';
import { t } from './texts.ts';

/** A part of an entry of a list, as one control. */
export interface Column {
  readonly name: string;
  readonly label: string;
  readonly control?: 'line' | 'lines' | 'date';
  /** What keyboards of phones are to offer. */
  readonly inputMode?: 'email' | 'tel' | 'url';
}

/** What an entry has, by the names of its columns; a date as `year-month-day`, each of which may be empty. */
export interface Entered {
  readonly values: Readonly<Record<string, string>>;
  readonly primary: boolean;
}

const { form } = fieldTexts;
const KIND: Column = { name: 'type', label: contactTexts.kind };

/** The columns of each list of a contact. */
export const COLUMNS = {
  emails: [{ name: 'address', label: t.email, inputMode: 'email' }, KIND],
  phones: [{ name: 'number', label: contactTexts.number, inputMode: 'tel' }, KIND],
  addresses: [
    { name: 'street', label: contactTexts.street, control: 'lines' },
    { name: 'postalCode', label: contactTexts.postalCode },
    { name: 'city', label: contactTexts.city },
    { name: 'region', label: contactTexts.region },
    { name: 'country', label: contactTexts.country },
    KIND,
  ],
  urls: [{ name: 'url', label: form.web, inputMode: 'url' }, KIND],
  messagingHandles: [{ name: 'handle', label: form.account }, { name: 'service', label: form.service }, KIND],
  dates: [{ name: 'date', label: '', control: 'date' }, KIND],
  relations: [{ name: 'name', label: form.person }, KIND],
  languages: [{ name: 'value', label: form.language }],
  customFields: [
    { name: 'label', label: form.label },
    { name: 'value', label: form.text, control: 'lines' },
  ],
} as const satisfies Readonly<Record<string, readonly Column[]>>;
export type ListName = keyof typeof COLUMNS;

/** The lists of which one entry is the one to use first. */
export const HAVE_PRIMARY: ReadonlySet<ListName> = new Set(['emails', 'phones', 'addresses', 'urls']);

/** What the form has of a list of a contact. */
export function entriesToEdit(contact: Contact, name: ListName): readonly Entered[] {
  if (name === 'languages') return contact.languages.map((value) => ({ values: { value }, primary: false }));
  if (name === 'dates')
    return contact.dates.map(({ date, type }) => ({ values: { date: writeDate(date), type }, primary: false }));
  if (name === 'urls')
    return contact.urls.map(({ url, text, type, primary }) => ({ values: { url: url || text, type }, primary }));
  return contact[name].map((entry) => {
    const parts = entry as unknown as Readonly<Record<string, string>>;
    return {
      values: Object.fromEntries(COLUMNS[name].map((column) => [column.name, parts[column.name] ?? ''])),
      primary: 'primary' in entry && entry.primary,
    };
  });
}

/** The entries as the contract has them. */
export function entriesToSend(name: ListName, entries: readonly Entered[]): readonly unknown[] {
  if (name === 'languages') return entries.map(({ values }) => values['value']);
  if (name === 'dates') return entries.map(({ values: { date = '', type } }) => ({ date: readDate(date), type }));
  return entries.map(({ values, primary }) => (HAVE_PRIMARY.has(name) ? { ...values, primary } : { ...values }));
}

/** Whether nothing was entered. */
export const isBlank = ({ values }: Entered): boolean =>
  Object.values(values).every((value) => value.replaceAll('-', '').trim() === '');

/** An entry with nothing in it. */
export const blank = (name: ListName): Entered => ({
  values: Object.fromEntries(COLUMNS[name].map((column) => [column.name, ''])),
  primary: false,
});

/** A date as the form has it: `1815-12-10`, `-12-10` without a year, '' for none. */
export function writeDate(date: PartialDate | undefined): string {
  return date === undefined ? '' : [date.year, date.month, date.day].map((part) => part ?? '').join('-');
}

/** A date of the form as the contract has it; undefined where nothing was entered. */
export function readDate(text: string): Pick<PartialDate, 'year' | 'month' | 'day'> | undefined {
  const [year, month, day] = text.split('-').map((part) => (part === '' ? undefined : Number(part)));
  if (year === undefined && month === undefined && day === undefined) return undefined;
  return {
    ...(year !== undefined && { year }),
    ...(month !== undefined && { month }),
    ...(day !== undefined && { day }),
  };
}
