import { createHash } from 'node:crypto';
import { isCalendarDate, type PartialDate } from '../../kernel/partial-date.ts';
import { ownOf } from '../../kernel/own.ts';
import { pick } from '../../kernel/pick.ts';
import { type Card, type CardBuilder, displayName, EMPTY_CARD } from './card.ts';
import { kindOfTypes, RELATION_TYPES, SERVICE_OF_SCHEME, typesOfKind } from './card-types.ts';
import { flagsOf } from './jscontact-lines.ts';
import { formatJson, isSameJson, type Json, JsonNumber, jsonObject, JsonObject } from './json-values.ts';
import { decodeUri, parseCardDate, telephone } from './vcard-reader.ts';
import { uriOfHandle } from './vcard-writer.ts';

/** An entry of a card that is one of JSContact, as the fields of the card have it. */
type Entry = object;

/** Where an entry stands in the file. */
interface Place {
  readonly builder: CardBuilder;
  readonly line: number;
  readonly primary: boolean;
}

/** Entries of a card that JSContact has as well. */
export interface EntryKind {
  /** The names that lead to the list of JSContact. */
  readonly list: string;
  /** The entries of a card, in the order in which they are read. */
  entriesOf(card: Card): readonly Entry[];
  /** Reads an entry into the card. Returns whether it could. */
  read(object: JsonObject, place: Place): boolean;
  /** The entry as JSContact has it. */
  write(entry: Entry, index: number, count: number): JsonObject;
}

/** What an entry is recognised by where it is written again: all that is written of it, but for being the primary one. */
export function digestOf(kind: EntryKind, entry: Entry): string {
  return digest(kind.list, kind.write({ ...entry, primary: false }, 0, 1));
}

/** Likewise the name of a card. */
export function digestOfName(card: Card): string {
  return digest(NAME, writeName({ ...EMPTY_CARD, ...pick(card, NAME_FIELDS) }, '') ?? new JsonObject());
}

function digest(list: string, written: JsonObject): string {
  return createHash('sha256')
    .update(`${list} ${formatJson(written)}`)
    .digest('base64url')
    .slice(0, 16);
}

/** The name of a card, which is kept as an entry is. */
export const NAME = 'name';

const NAME_PARTS = [
  { kind: 'title', field: 'namePrefix', phonetic: undefined },
  { kind: 'given', field: 'givenName', phonetic: 'phoneticGivenName' },
  { kind: 'given2', field: 'middleName', phonetic: 'phoneticMiddleName' },
  { kind: 'surname', field: 'familyName', phonetic: 'phoneticFamilyName' },
  { kind: 'credential', field: 'nameSuffix', phonetic: undefined },
] as const;

const NAME_FIELDS = NAME_PARTS.flatMap(({ field, phonetic }) => (phonetic === undefined ? [field] : [field, phonetic]));

/** Where a kind of component belongs, and what stands between several of one. */
const NAME_FIELD: Readonly<Record<string, readonly [part: (typeof NAME_PARTS)[number], separator: string]>> = {
  title: [NAME_PARTS[0], ', '],
  given: [NAME_PARTS[1], ' '],
  given2: [NAME_PARTS[2], ' '],
  surname: [NAME_PARTS[3], ' '],
  surname2: [NAME_PARTS[3], ' '],
  generation: [NAME_PARTS[4], ', '],
  credential: [NAME_PARTS[4], ', '],
};

export function readName(name: JsonObject, { builder, line }: Place): void {
  const components = listOf(name.get('components'));
  for (const part of NAME_PARTS) {
    const own = components.filter((each) => ownOf(NAME_FIELD, textOf(each, 'kind') ?? '')?.[0] === part);
    const [, separator] = NAME_FIELD[part.kind]!;
    const join = (texts: (string | undefined)[]) =>
      texts.filter((text) => text !== undefined && text !== '').join(separator);
    const value = join(own.map((each) => textOf(each, 'value')));
    if (value !== '') builder.setText(part.field, value, line);
    const phonetic = join(own.map((each) => textOf(each, 'phonetic')));
    if (part.phonetic !== undefined && phonetic !== '') builder.setText(part.phonetic, phonetic, line);
  }
}

/** The name, with `full` as people read it. Undefined for a card that has nothing that could be called a name. */
export function writeName(card: Card, formatted: string | undefined): JsonObject | undefined {
  const components: Json[] = [];
  let phonetics = '';
  for (const { kind, field, phonetic } of NAME_PARTS) {
    const sound = phonetic === undefined ? '' : card[phonetic];
    if (card[field] === '' && sound === '') continue;
    components.push(jsonObject({ kind, value: card[field], phonetic: sound === '' ? undefined : sound }));
    phonetics += sound;
  }
  const full = formatted ?? displayName(card);
  if (components.length === 0 && full === '') return undefined;
  return jsonObject({
    components: components.length === 0 ? undefined : components,
    full: full === '' ? undefined : full,
    phoneticScript: phonetics === '' ? undefined : scriptOf(phonetics),
  });
}

/** The script of a text (ISO 15924), which JSContact wants to be told of phonetic names. */
function scriptOf(text: string): string {
  return SCRIPTS.find(([script]) => script.test(text))?.[1] ?? 'Zyyy';
}

const SCRIPTS = [
  [/\p{Script=Hiragana}/u, 'Hira'],
  [/\p{Script=Katakana}/u, 'Kana'],
  [/\p{Script=Hangul}/u, 'Hang'],
  [/\p{Script=Han}/u, 'Hani'],
  [/\p{Script=Latin}/u, 'Latn'],
  [/\p{Script=Cyrillic}/u, 'Cyrl'],
] as const;

/** Lists of which a card has entries. */
const emails: EntryKind = {
  list: 'emails',
  entriesOf: (card) => card.emails,
  read: (object, { builder, line, primary }) =>
    builder.addEmail(textOf(object, 'address') ?? '', kindOf(object), primary, line),
  write: (entry) => withKind(jsonObject({ address: textIn(entry, 'address') }), entry),
};

const phones: EntryKind = {
  list: 'phones',
  entriesOf: (card) => card.phones,
  read(object, { builder, line, primary }) {
    const number = textOf(object, 'number') ?? '';
    return builder.addPhone(/^tel:/i.test(number) ? telephone(number.slice(4)) : number, kindOf(object), primary, line);
  },
  write: (entry) => withKind(jsonObject({ number: textIn(entry, 'number') }), entry, true),
};

const links: EntryKind = {
  list: 'links',
  entriesOf: (card) => card.urls,
  read: (object, { builder, line, primary }) =>
    !object.has('kind') && builder.addUrl(textOf(object, 'uri') ?? '', kindOf(object), primary, line),
  write: (entry) => withKind(jsonObject({ uri: textIn(entry, 'url') }), entry),
};

/** Parts of addresses that are lines of the street, in the order in which they are written where the card says none. */
const STREET = [
  ['postOfficeBox'],
  ['building', 'floor', 'apartment', 'room', 'landmark'],
  ['number', 'block', 'name', 'direction', 'subdistrict', 'district'],
];
const STREET_KINDS = new Set(STREET.flat());
const ADDRESS_PARTS = {
  locality: 'city',
  region: 'region',
  postcode: 'postalCode',
  country: 'country',
} as const;

const addresses: EntryKind = {
  list: 'addresses',
  entriesOf: (card) => card.addresses,
  read(object, { builder, line, primary }) {
    // Where a vCard has a time zone and no address (RFC 9555, 2.6.1).
    const timeZone = textOf(object, 'timeZone');
    const isTimeZone = timeZone !== undefined && [...object.keys()].every((name) => /^(@type|timeZone)$/.test(name));
    if (isTimeZone && !builder.has('timeZone')) {
      builder.setText('timeZone', timeZone, line);
      return true;
    }
    const components = listOf(object.get('components'));
    const valueOf = (kind: string) =>
      components
        .filter((each) => textOf(each, 'kind') === kind)
        .map((each) => textOf(each, 'value') ?? '')
        .join(', ');
    const parts = Object.fromEntries(Object.entries(ADDRESS_PARTS).map(([kind, part]) => [part, valueOf(kind)]));
    const isBare = components.length === 0;
    const street = isBare ? (textOf(object, 'full') ?? '') : streetOf(object, components);
    const country = parts['country'] === '' ? (textOf(object, 'countryCode') ?? '') : parts['country']!;
    const { city = '', region = '', postalCode = '' } = parts;
    return builder.addAddress({ street, city, region, postalCode, country, type: kindOf(object), primary }, line);
  },
  write(entry) {
    const parts = { name: 'street', ...ADDRESS_PARTS };
    const components = Object.entries(parts)
      .filter(([, part]) => partOf(entry, part) !== '')
      .map(([kind, part]) => jsonObject({ kind, value: textIn(entry, part) }));
    return withKind(jsonObject({ components }), entry);
  },
};

/** The lines of a street: as the address orders its parts, else a line for each kind of them. */
function streetOf(address: JsonObject, components: readonly JsonObject[]): string {
  if (address.get('isOrdered') !== true) {
    const lines = STREET.map((kinds) =>
      kinds.flatMap((kind) =>
        components.filter((each) => textOf(each, 'kind') === kind).map((each) => textOf(each, 'value') ?? ''),
      ),
    );
    return lines
      .map((line) => line.filter((part) => part !== '').join(' '))
      .filter((line) => line !== '')
      .join('\n');
  }
  const separator = textOf(address, 'defaultSeparator') ?? ' ';
  let street = '';
  let between: string | undefined;
  for (const each of components) {
    const [kind, value] = [textOf(each, 'kind') ?? '', textOf(each, 'value') ?? ''];
    if (kind === 'separator') between = value;
    else if (STREET_KINDS.has(kind)) {
      street += street === '' ? value : (between ?? separator) + value;
      between = undefined;
    } else between = undefined;
  }
  return street;
}

const onlineServices: EntryKind = {
  list: 'onlineServices',
  entriesOf: (card) => card.messagingHandles,
  read(object, { builder, line }) {
    const uri = textOf(object, 'uri') ?? '';
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? '';
    const service = ownOf(SERVICE_OF_SCHEME, scheme);
    const isOfService = service !== undefined || scheme === 'im' || scheme === 'x-apple';
    const handle = textOf(object, 'user') || (isOfService ? decodeUri(uri.slice(scheme.length + 1)) : uri);
    return builder.addMessagingHandle(handle, textOf(object, 'service') ?? service ?? '', kindOf(object), line);
  },
  write(entry) {
    const [handle, service] = [textIn(entry, 'handle'), textIn(entry, 'service')];
    const scheme = Object.entries(SERVICE_OF_SCHEME).find(([, each]) => each === service)?.[0];
    const object = jsonObject({
      service: service === '' ? undefined : service,
      user: handle,
      uri: scheme === undefined ? undefined : uriOfHandle(scheme, handle),
      vCardName: scheme === undefined ? undefined : 'impp',
    });
    return withKind(object, entry);
  },
};

const preferredLanguages: EntryKind = {
  list: 'preferredLanguages',
  entriesOf: (card) => card.languages.map((language) => ({ language })),
  read: (object, { builder }) => builder.addLanguage(textOf(object, 'language') ?? ''),
  write: (entry, index, count) =>
    jsonObject({
      language: textIn(entry, 'language'),
      pref: count > 1 ? new JsonNumber(String(Math.min(index + 1, 100))) : undefined,
    }),
};

const organizations: EntryKind = {
  list: 'organizations',
  entriesOf: ({ company, department }) => (company + department === '' ? [] : [{ company, department }]),
  read(object, { builder, line }) {
    const units = listOf(object.get('units')).map((unit) => textOf(unit, 'name') ?? '');
    const [company, department] = [textOf(object, 'name') ?? '', units.filter((unit) => unit !== '').join(', ')];
    if (company + department === '' || builder.has('company') || builder.has('department')) return false;
    builder.setText('company', company, line);
    builder.setText('department', department, line);
    return true;
  },
  write(entry) {
    const [company, department] = [textIn(entry, 'company'), textIn(entry, 'department')];
    return jsonObject({
      name: company === '' ? undefined : company,
      units: department === '' ? undefined : [jsonObject({ name: department })],
    });
  },
};

/** A list of which a card has one entry, as a text. */
function single(list: string, field: 'jobTitle' | 'nickname' | 'notes' | 'pronouns', name: string): EntryKind {
  return {
    list,
    entriesOf: (card) => (card[field] === '' ? [] : [{ [name]: card[field] }]),
    read(object, { builder, line }) {
      const text = textOf(object, name);
      if (text === undefined || text === '' || object.has('kind') || builder.has(field)) return false;
      builder.setText(field, text, line);
      return builder.has(field);
    },
    write: (entry) => jsonObject({ [name]: textIn(entry, name) }),
  };
}

const anniversaries: EntryKind = {
  list: 'anniversaries',
  entriesOf: (card) => [
    ...(card.birthday === undefined ? [] : [{ kind: 'birth', date: card.birthday }]),
    ...card.dates
      .slice(
        0,
        leading(card.dates, ({ type }) => type === 'anniversary'),
      )
      .map(({ date }) => ({
        kind: 'wedding',
        date,
      })),
  ],
  read(object, { builder, line }) {
    const kind = textOf(object, 'kind');
    const date = dateOf(object.get('date'));
    if (date === undefined) return false;
    if (kind === 'wedding') return builder.addDate(date, 'anniversary', line);
    if (kind !== 'birth' || builder.has('birthday')) return false;
    builder.setBirthday(date);
    return true;
  },
  write(entry) {
    const { year, month, day } = partOf(entry, 'date') as PartialDate;
    const number = (value: number | undefined) => (value === undefined ? undefined : new JsonNumber(String(value)));
    return jsonObject({
      kind: textIn(entry, 'kind'),
      date: jsonObject({ year: number(year), month: number(month), day: number(day) }),
    });
  },
};

/** A date with what is known of it, or the day of a time; undefined for what is none of the Gregorian calendar. */
function dateOf(value: Json | undefined): PartialDate | undefined {
  if (!(value instanceof JsonObject)) return undefined;
  if (value.get('@type') === 'Timestamp' || value.has('utc')) return parseCardDate(textOf(value, 'utc') ?? '');
  if (value.has('calendarScale') && textOf(value, 'calendarScale')?.toLowerCase() !== 'gregorian') return undefined;
  const numberOf = (name: string) => {
    const number = value.get(name);
    return number instanceof JsonNumber ? Number(number.text) : undefined;
  };
  const date = { year: numberOf('year'), month: numberOf('month'), day: numberOf('day') };
  const isWhole = Object.values(date).every((part) => part === undefined || Number.isInteger(part));
  return isWhole && isCalendarDate(date) ? date : undefined;
}

export const ENTRY_KINDS: readonly EntryKind[] = [
  single('nicknames', 'nickname', 'name'),
  organizations,
  single('titles', 'jobTitle', 'name'),
  single('speakToAs/pronouns', 'pronouns', 'pronouns'),
  emails,
  phones,
  onlineServices,
  preferredLanguages,
  addresses,
  links,
  anniversaries,
  single('notes', 'notes', 'note'),
];

/** How many relations of a card JSContact has by itself: `relatedTo` has a name once, and no kinds of its own. */
export function relatedCount({ relations }: Card): number {
  const names = new Set<string>();
  return leading(relations, ({ name, type }) => {
    if (/^[a-z][a-z0-9+.-]*:/i.test(name) || names.has(name)) return false;
    names.add(name);
    return type === '' || RELATION_TYPES.has(type);
  });
}

/** How many dates of a card JSContact has by itself. */
export function anniversaryCount(card: Card): number {
  return leading(card.dates, ({ type }) => type === 'anniversary');
}

function leading<Item>(items: readonly Item[], isIncluded: (item: Item) => boolean): number {
  const end = items.findIndex((item) => !isIncluded(item));
  return end < 0 ? items.length : end;
}

/** The kind of an entry: its label, else what contexts and features say, else a TYPE of vCard. */
function kindOf(object: JsonObject): string {
  const label = textOf(object, 'label');
  if (label !== undefined && label !== '') return label;
  const contexts = Object.keys(flagsOf(object.get('contexts')) ?? {});
  const features = Object.keys(flagsOf(object.get('features')) ?? {});
  const words = [
    ...contexts.flatMap((context) => (context === 'private' ? ['home'] : context === 'work' ? ['work'] : [])),
    ...features.filter((feature) => /^(mobile|fax|pager)$/.test(feature)),
  ];
  if (words.length > 0) return kindOfTypes(words);
  const parameters = object.get('vCardParams');
  return (parameters instanceof JsonObject ? textOf(parameters, 'type') : undefined) ?? '';
}

/** Adds the kind of an entry: as contexts and features if there are such, else as text. */
function withKind(object: JsonObject, entry: Entry, isPhone = false): JsonObject {
  const type = textIn(entry, 'type');
  const words = typesOfKind(type, isPhone);
  const flags = (names: readonly string[]) => jsonObject(Object.fromEntries(names.map((name) => [name, true])));
  if (words !== undefined) {
    const contexts = words.flatMap((word) => (word === 'HOME' ? ['private'] : word === 'WORK' ? ['work'] : []));
    const features = words.flatMap((word) =>
      word === 'CELL' ? ['mobile'] : /^[HW]O/.test(word) ? [] : [word.toLowerCase()],
    );
    if (features.length > 0) object.set('features', flags(features));
    if (contexts.length > 0) object.set('contexts', flags(contexts));
  } else if (type !== '') {
    // An address has no label in JSContact.
    if (object.has('components')) object.set('vCardParams', jsonObject({ type }));
    else object.set('label', type);
  }
  if (isPrimary(entry)) object.set('pref', new JsonNumber('1'));
  return object;
}

/** What of an object another one does not say, by name, and what the other one says beside it. */
export function differenceOf(
  original: JsonObject,
  written: JsonObject,
): { readonly more: readonly (readonly [string, Json])[]; readonly less: readonly string[] } {
  return {
    more: [...original].filter(([name, value]) => name !== '@type' && !isSameJson(value, written.get(name))),
    less: [...written.keys()].filter((name) => name !== 'pref' && name !== 'full' && !original.has(name)),
  };
}

export function textOf(object: JsonObject, name: string): string | undefined {
  const value = object.get(name);
  return typeof value === 'string' ? value : undefined;
}

function textIn(entry: Entry, name: string): string {
  return partOf(entry, name) as string;
}

export function isPrimary(entry: Entry): boolean {
  return partOf(entry, 'primary') === true;
}

function partOf(entry: Entry, name: string): unknown {
  return (entry as Readonly<Record<string, unknown>>)[name];
}

function listOf(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter((each: Json) => each instanceof JsonObject) : [];
}
