import { ownOf } from '../../kernel/own.ts';
import { formatDate, isCalendarDate, type PartialDate } from '../../kernel/partial-date.ts';
import { type Card, CardBuilder, EMPTY_CARD, type ReadCard, splitName, type TextField } from './card.ts';
import { escapeText } from './content-lines.ts';
import { formatCsvRow, readCsvRows, restoreCell } from './csv-records.ts';
import { decodeFile, decodeLine } from './text-decoding.ts';
import { parseCardDate, readProperties } from './vcard-reader.ts';
import { writeProperties } from './vcard-writer.ts';

/** How many entries of each list have columns of their own; what is beyond is in the column of properties. */
const COLUMN_ENTRIES = 4;

/** The column with what no other one holds: lines of vCard 4.0, without folding. */
const PROPERTIES = 'vCard';

const TEXT_COLUMNS = {
  'Name Prefix': 'namePrefix',
  'First Name': 'givenName',
  'Middle Name': 'middleName',
  'Last Name': 'familyName',
  'Name Suffix': 'nameSuffix',
  'Phonetic First Name': 'phoneticGivenName',
  'Phonetic Middle Name': 'phoneticMiddleName',
  'Phonetic Last Name': 'phoneticFamilyName',
  Nickname: 'nickname',
  'Organization Name': 'company',
  'Organization Title': 'jobTitle',
  'Organization Department': 'department',
  Notes: 'notes',
} as const satisfies Record<string, TextField>;

/** Lists with columns for the label and the parts of each entry, as Google names them. */
const LIST_COLUMNS = {
  'E-mail': { list: 'emails', parts: { Value: 'address' } },
  Phone: { list: 'phones', parts: { Value: 'number' } },
  Address: {
    list: 'addresses',
    parts: { Street: 'street', City: 'city', Region: 'region', 'Postal Code': 'postalCode', Country: 'country' },
  },
  Website: { list: 'urls', parts: { Value: 'url' } },
} as const;

const HEADER = [
  ...Object.keys(TEXT_COLUMNS),
  'Birthday',
  'Labels',
  ...Object.entries(LIST_COLUMNS).flatMap(([name, { parts }]) =>
    Array.from({ length: COLUMN_ENTRIES }, (_, i) =>
      ['Label', ...Object.keys(parts)].map((part) => `${name} ${i + 1} - ${part}`),
    ).flat(),
  ),
  PROPERTIES,
];

/** The first row of a file, with a byte order mark, without which Excel does not read UTF-8. */
export const CSV_HEADER = `\uFEFF${formatCsvRow(HEADER)}`;

/** A card as a row under CSV_HEADER, whose columns are those of Google Contacts and one of Kith. */
export function writeCsvRow(card: Card): string {
  const cells: string[] = Object.values(TEXT_COLUMNS).map((name) => card[name]);
  cells.push(card.birthday === undefined ? '' : formatDate(card.birthday, '-'));
  // All of them in one place, so that they keep their order.
  const isPlain = card.labels.every((name) => !/;|:::|^\* /.test(name));
  cells.push(isPlain ? card.labels.join(' ::: ') : '');
  for (const { list, parts } of Object.values(LIST_COLUMNS)) {
    for (let i = 0; i < COLUMN_ENTRIES; i++) {
      const entry = card[list][i] as unknown as
        | (Readonly<Record<string, string>> & { readonly primary: boolean })
        | undefined;
      cells.push(entry === undefined ? '' : `${entry.primary ? '* ' : ''}${entry['type']}`);
      for (const part of Object.values(parts)) cells.push(entry?.[part] ?? '');
    }
  }
  const texts = Object.fromEntries(Object.values(TEXT_COLUMNS).map((name) => [name, '']));
  const lists = Object.fromEntries(
    Object.values(LIST_COLUMNS).map(({ list }) => [list, card[list].slice(COLUMN_ENTRIES)]),
  );
  const labels = isPlain ? [] : card.labels;
  cells.push(writeProperties({ ...card, ...texts, ...lists, labels, birthday: undefined }));
  return formatCsvRow(cells);
}

/** Where a cell of a column belongs. */
type Target =
  | { readonly kind: 'text'; readonly name: TextField }
  | {
      readonly kind: 'entry';
      readonly list: string;
      readonly index: string;
      readonly part: string;
      readonly type?: string;
    }
  | { readonly kind: 'name' | 'birthday' | 'properties' | 'starred' | 'labels' | 'none' }
  | { readonly kind: 'other'; readonly label: string };

/**
 * The contacts of a CSV file with the columns of Google Contacts (old and new), of Outlook, or of others that name them
 * likewise. `columns` says, by the name of a column, what it holds: the name of another column that is known here, or `-`
 * for nothing. A column that is not known becomes a custom field, which a note of the first contact says. Cells that were
 * made harmless are restored.
 */
export function* readCsv(bytes: Uint8Array, columns: ReadonlyMap<string, string> = new Map()): Generator<ReadCard> {
  const { text, isBytes } = decodeFile(bytes);
  let targets: readonly Target[] | undefined;
  let isOwn = false;
  let unknown: readonly string[] = [];
  for (const { line, cells, error } of readCsvRows(isBytes ? decodeLine(text, undefined) : text)) {
    if (error !== undefined) {
      yield { card: EMPTY_CARD, line, notes: [], error };
      if (targets === undefined) return;
    } else if (targets === undefined) {
      isOwn = cells.includes(PROPERTIES);
      targets = targetsOf(cells, columns);
      if (targets.every(({ kind }) => kind === 'other' || kind === 'none')) {
        yield { card: EMPTY_CARD, line, notes: [], error: 'the first row names no column that is known' };
        return;
      }
      unknown = targets.flatMap((target) => (target.kind === 'other' ? [target.label] : []));
    } else {
      const builder = new CardBuilder();
      if (unknown.length > 0) builder.note(line, unknownNote(unknown));
      unknown = [];
      yield readRow(builder, targets, cells.map(restoreCell), line, isOwn);
    }
  }
}

/** How many columns a note names at the most. */
const COLUMNS_NOTED = 10;

function unknownNote(columns: readonly string[]): string {
  const names = columns.slice(0, COLUMNS_NOTED).map((name) => JSON.stringify(name.slice(0, 40)));
  const more = columns.length > COLUMNS_NOTED ? ` and ${columns.length - COLUMNS_NOTED} more` : '';
  return `columns that are not known become custom fields of all contacts, until it is said what they hold: ${names.join(', ')}${more}`;
}

function readRow(
  builder: CardBuilder,
  targets: readonly Target[],
  cells: readonly string[],
  line: number,
  isOwn: boolean,
): ReadCard {
  if (cells.length > targets.length) builder.note(line, 'the row has more cells than the first one');
  const entries = new Map<string, Map<string, string>>();
  let properties = '';
  let name = '';
  targets.forEach((target, i) => {
    const cell = cells[i] ?? '';
    if (cell === '') return;
    if (target.kind === 'text') {
      const before = builder.text(target.name);
      builder.setText(
        target.name,
        before === '' ? cell : `${before}${target.name === 'notes' ? '\n' : ' '}${cell}`,
        line,
      );
    } else if (target.kind === 'entry') {
      const key = `${target.list} ${target.index}`;
      const entry = entries.get(key) ?? new Map<string, string>();
      entries.set(key, entry.set(target.part, cell).set('list', target.list));
      if (target.type !== undefined) entry.set('Label', target.type);
    } else if (target.kind === 'birthday') {
      const date = dateOfCell(cell);
      if (date !== undefined) builder.setBirthday(date);
      else if (!EMPTY_DATE.test(cell)) keepValue(builder, 'Birthday', 'Birthday', cell, line);
    } else if (target.kind === 'properties') properties = cell;
    else if (target.kind === 'labels') addLabels(builder, labelsOf(cell), line);
    else if (target.kind === 'name') name = cell;
    else if (target.kind === 'starred') {
      if (/^(true|yes|1)$/i.test(cell)) builder.setStarred();
      else if (!/^(false|no|0)$/i.test(cell))
        builder.note(line, `${JSON.stringify(cell.slice(0, VALUE_NOTED))} is neither true nor false`);
    } else if (target.kind === 'other' && !builder.addCustomField(target.label, cell, line)) {
      builder.note(
        line,
        `the column ${JSON.stringify(target.label.slice(0, 40))} is left out: there is no room for it`,
      );
    }
  });
  for (const entry of entries.values()) addEntries(builder, entry, line, isOwn);
  if (properties !== '') readProperties(properties, builder, line);
  if (name !== '' && !builder.has('givenName') && !builder.has('familyName') && name !== builder.text('company')) {
    const split = splitName(name.trim());
    builder.setText('givenName', split.givenName, line);
    builder.setText('familyName', split.familyName, line);
  }
  return { card: builder.card, line, notes: builder.notes, error: '' };
}

/** Adds an entry; of Google also several of one kind in one cell. */
function addEntries(builder: CardBuilder, entry: ReadonlyMap<string, string>, line: number, isOwn: boolean): void {
  const label = entry.get('Label') ?? '';
  const isPrimary = label.startsWith('* ') || label === '*';
  const written = isPrimary ? label.slice(2) : label;
  const type = isOwn ? written : kindOf(written);
  const split = (text: string) => (isOwn ? [text] : text.split(' ::: '));
  const part = (name: string, i: number) => split(entry.get(name) ?? '')[i] ?? '';
  const count = Math.max(...[...entry].map(([name, text]) => (isPart(name) ? split(text).length : 1)));
  for (let i = 0; i < Math.min(count, 100); i++) {
    const value = part('Value', i);
    const primary = isPrimary && i === 0;
    if (!addEntry(builder, { list: entry.get('list')!, value, type, primary, part: (name) => part(name, i) }, line)) {
      // An address has no value, but parts.
      const texts = value === '' ? [...entry.keys()].filter(isPart).map((name) => part(name, i)) : [value];
      const text = texts.filter((each) => each !== '').join(', ');
      if (text !== '') keepValue(builder, entry.get('list')!, type || entry.get('list')!, text, line);
    }
  }
}

/** Whether a cell of an entry is part of its value. */
function isPart(name: string): boolean {
  return name !== 'Label' && name !== 'list';
}

/** Keeps what its column does not hold as a custom field, and says so. */
function keepValue(builder: CardBuilder, column: string, label: string, value: string, line: number): void {
  const shown = JSON.stringify(value.length > VALUE_NOTED ? `${value.slice(0, VALUE_NOTED)}...` : value);
  const why = `${shown} is no ${WHAT[column] ?? 'value'}, or one more than there is room for`;
  const isKept = builder.addCustomField(label, value, line);
  builder.note(line, isKept ? `${why}: it becomes a custom field` : `${why}: it is left out`);
}

/** How much of a value a note has. */
const VALUE_NOTED = 40;

/** What a column is to hold, for notes. */
const WHAT: Readonly<Record<string, string>> = {
  Birthday: 'date',
  'E-mail': 'email address',
  Phone: 'phone number',
  Website: 'web address',
  Address: 'address',
  Relation: 'relation',
  IM: 'messaging handle',
  Event: 'date',
  'Custom Field': 'custom field',
};

function addEntry(
  builder: CardBuilder,
  {
    list,
    value,
    type,
    primary,
    part,
  }: { list: string; value: string; type: string; primary: boolean; part: (name: string) => string },
  line: number,
): boolean {
  switch (list) {
    case 'E-mail':
      return builder.addEmail(value, type, primary, line);
    case 'Phone':
      return builder.addPhone(value, type, primary, line);
    case 'Website':
      return builder.addUrl(value, type, primary, line);
    case 'Relation':
      return builder.addRelation(value, type, line);
    case 'IM':
      return builder.addMessagingHandle(value, part('Service'), type, line);
    case 'Event': {
      const date = dateOfCell(value);
      if (date === undefined) return EMPTY_DATE.test(value);
      return builder.addDate(date, type, line);
    }
    case 'Address': {
      const before = [part('PO Box'), part('Extended Address')];
      const parts = [...before, part('Street'), part('Street 2'), part('Street 3')].filter((text) => text !== '');
      const address = {
        street: parts.join('\n'),
        city: part('City'),
        region: part('Region'),
        postalCode: part('Postal Code'),
        country: part('Country'),
      };
      const isFormatted = Object.values(address).every((text) => text === '');
      const street = isFormatted ? part('Formatted') : address.street;
      return builder.addAddress({ ...address, street, type, primary }, line);
    }
    default:
      return builder.addCustomField(type, value, line);
  }
}

/** The labels of a cell of Google, which marks its own with a star, or Outlook; what Google gives every contact is none. */
function labelsOf(cell: string): string[] {
  return cell
    .split(cell.includes(' ::: ') ? ' ::: ' : ';')
    .map((label) => label.trim())
    .filter((label) => label !== '' && !/^\* my ?contacts$/i.test(label))
    .map((label) => label.replace(/^\* /, ''));
}

/** Adds labels; names that no label may have are kept. */
function addLabels(builder: CardBuilder, names: readonly string[], line: number): void {
  const left = names.filter((name) => !builder.addLabel(name));
  if (left.length > 0) builder.keep(`CATEGORIES:${left.map(escapeText).join(',')}`, line);
}

/** What Google and Outlook call kinds. */
function kindOf(label: string): string {
  const lower = label.toLowerCase();
  return /^(home|work|mobile|other|main|pager|home fax|work fax|anniversary|spouse|assistant|manager|homepage)$/.test(
    lower,
  )
    ? lower
    : label;
}

/** What Outlook writes for no date. */
const EMPTY_DATE = /^0\/0\/0+$/;

/** A date as vCard writes it, or as Outlook does: month, day and year, and days above 12 in either place. */
function dateOfCell(cell: string): PartialDate | undefined {
  const date = parseCardDate(cell);
  if (date !== undefined) return date;
  const match = /^\s*(\d{1,2})([/.-])(\d{1,2})\2(\d{4})\s*$/.exec(cell);
  if (match === null) return undefined;
  const [first, second, year] = [Number(match[1]), Number(match[3]), Number(match[4])];
  const isDayFirst = match[2] === '.' || first > 12;
  const read = isDayFirst ? { year, month: second, day: first } : { year, month: first, day: second };
  return isCalendarDate(read) ? read : undefined;
}

function targetsOf(header: readonly string[], columns: ReadonlyMap<string, string>): Target[] {
  const isOutlook = header.some((column) => /^(e-mail address|business phone|business street)$/i.test(column.trim()));
  return header.map((column, i) => {
    const label = restoreCell(column).trim();
    const named = columns.get(label) ?? label;
    if (named === '-' || named === '') return { kind: 'none' };
    return targetOf(named, isOutlook, i) ?? { kind: 'other', label };
  });
}

function targetOf(column: string, isOutlook: boolean, index: number): Target | undefined {
  if (column === PROPERTIES) return { kind: 'properties' };
  const entry =
    /^(E-mail|Phone|Address|Website|Relation|Event|IM|Custom Field) (\d{1,4}) - (Label|Type|[A-Za-z ]+)$/i.exec(column);
  if (entry !== null) {
    const list = LISTS.find((each) => each.toLowerCase() === entry[1]!.toLowerCase())!;
    return { kind: 'entry', list, index: entry[2]!, part: entry[3] === 'Type' ? 'Label' : entry[3]! };
  }
  const key = column.toLowerCase().replaceAll(/[\s_-]+/g, ' ');
  const outlook = isOutlook ? outlookColumn(key) : undefined;
  if (outlook !== undefined) return outlook;
  const text = ownOf(TEXTS, key);
  if (text !== undefined) return { kind: 'text', name: text };
  if (['name', 'full name', 'display name', 'file as'].includes(key)) return { kind: 'name' };
  if (['birthday', 'birth date', 'date of birth'].includes(key)) return { kind: 'birthday' };
  if (key === 'starred') return { kind: 'starred' };
  if (['labels', 'group membership', 'categories'].includes(key)) return { kind: 'labels' };
  if (key === 'photo' || /^organization \d+ type$/.test(key)) return { kind: 'none' };
  const [list, type] = ownOf(SINGLE, key) ?? [];
  return list === undefined
    ? undefined
    : { kind: 'entry', list, index: `of ${index}`, part: 'Value', type: type ?? '' };
}

const LISTS = ['E-mail', 'Phone', 'Address', 'Website', 'Relation', 'Event', 'IM', 'Custom Field'];

function outlookColumn(key: string): Target | undefined {
  if (key === 'title') return { kind: 'text', name: 'namePrefix' };
  if (key === 'suffix') return { kind: 'text', name: 'nameSuffix' };
  const address = /^(business|home|other) (street|city|state|postal code|country(?:\/region)?)(?: (\d))?$/.exec(key);
  if (address !== null) {
    const part =
      { street: 'Street', city: 'City', state: 'Region', 'postal code': 'Postal Code' }[address[2]!] ?? 'Country';
    // Outlook has the second and third line of a street in columns of their own.
    const place = address[3] === undefined ? part : `${part} ${address[3]}`;
    const type = address[1] === 'business' ? 'work' : address[1]!;
    return { kind: 'entry', list: 'Address', index: `of ${address[1]!}`, part: place, type };
  }
  return undefined;
}

/** Texts by the names that programs have for their columns, in lower case with blanks. */
const TEXTS: Readonly<Record<string, TextField | undefined>> = {
  ...Object.fromEntries(Object.entries(TEXT_COLUMNS).map(([column, name]) => [column.toLowerCase(), name])),
  prefix: 'namePrefix',
  'given name': 'givenName',
  firstname: 'givenName',
  'additional name': 'middleName',
  'family name': 'familyName',
  lastname: 'familyName',
  surname: 'familyName',
  suffix: 'nameSuffix',
  'given name yomi': 'phoneticGivenName',
  'given yomi': 'phoneticGivenName',
  'additional name yomi': 'phoneticMiddleName',
  'family name yomi': 'phoneticFamilyName',
  'surname yomi': 'phoneticFamilyName',
  'phonetic given name': 'phoneticGivenName',
  'phonetic family name': 'phoneticFamilyName',
  company: 'company',
  organization: 'company',
  organisation: 'company',
  'organization 1 name': 'company',
  department: 'department',
  'organization 1 department': 'department',
  title: 'jobTitle',
  'job title': 'jobTitle',
  'organization 1 title': 'jobTitle',
  note: 'notes',
  pronouns: 'pronouns',
  'time zone': 'timeZone',
  source: 'source',
  uid: 'uid',
};

/** Columns of one entry: its list, and its kind. */
const SINGLE: Readonly<Record<string, readonly [list: string, type: string] | undefined>> = {
  email: ['E-mail', ''],
  'e mail': ['E-mail', ''],
  'email address': ['E-mail', ''],
  'e mail address': ['E-mail', ''],
  'e mail 2 address': ['E-mail', ''],
  'e mail 3 address': ['E-mail', ''],
  'primary email': ['E-mail', ''],
  'secondary email': ['E-mail', ''],
  'home email': ['E-mail', 'home'],
  'work email': ['E-mail', 'work'],
  phone: ['Phone', ''],
  'phone number': ['Phone', ''],
  telephone: ['Phone', ''],
  mobile: ['Phone', 'mobile'],
  'mobile phone': ['Phone', 'mobile'],
  'mobile number': ['Phone', 'mobile'],
  'business phone': ['Phone', 'work'],
  'business phone 2': ['Phone', 'work'],
  'work phone': ['Phone', 'work'],
  'home phone': ['Phone', 'home'],
  'home phone 2': ['Phone', 'home'],
  'business fax': ['Phone', 'work fax'],
  'home fax': ['Phone', 'home fax'],
  'other fax': ['Phone', 'other fax'],
  'fax number': ['Phone', 'fax'],
  'other phone': ['Phone', 'other'],
  'primary phone': ['Phone', 'main'],
  'company main phone': ['Phone', 'company main'],
  "assistant's phone": ['Phone', 'assistant'],
  'car phone': ['Phone', 'car'],
  pager: ['Phone', 'pager'],
  'pager number': ['Phone', 'pager'],
  website: ['Website', ''],
  'web page': ['Website', ''],
  'web page 1': ['Website', ''],
  'web page 2': ['Website', ''],
  'personal web page': ['Website', 'home'],
  url: ['Website', ''],
  address: ['Custom Field', 'Address'],
  spouse: ['Relation', 'spouse'],
  "manager's name": ['Relation', 'manager'],
  "assistant's name": ['Relation', 'assistant'],
  anniversary: ['Event', 'anniversary'],
};
