import { ownOf } from '../../kernel/own.ts';
import { isCalendarDate, type PartialDate } from '../../kernel/partial-date.ts';
import { type CardAddress, CardBuilder, displayName, type ReadCard, splitName } from './card.ts';
import {
  kindOfLabel,
  kindOfTypes,
  RELATION_OF_PROPERTY,
  SERVICE_OF_PROPERTY,
  SERVICE_OF_SCHEME,
} from './card-types.ts';
import {
  type BrokenLine,
  type ContentLine,
  escapeText,
  formatContentLine,
  isCardMark,
  LINE_LENGTH_MAX,
  parameter,
  parseContentLine,
  readContentLines,
  splitValue,
  unescapeText,
} from './content-lines.ts';
import { decodeFile } from './text-decoding.ts';

/** The most properties of a card that are read. */
export const CARD_PROPERTIES_MAX = 2000;

/**
 * The contacts of a file in vCard 2.1 (versit), 3.0 (RFC 2426) or 4.0 (RFC 6350), with the quirks of those who write them.
 * Never throws for a file: what cannot be read is said in the notes, or is the error of its card. Takes time linear in the
 * file, and holds one card at a time.
 */
export function* readVCards(bytes: Uint8Array): Generator<ReadCard> {
  let lines: (ContentLine | BrokenLine)[] | undefined;
  let begin = 0;
  let left = 0;
  let nested: NestedCard | undefined;
  for (const each of readContentLines(decodeFile(bytes))) {
    const isMark = each.name !== undefined && isCardMark(each);
    const isBegin = isMark && each.name === 'BEGIN';
    if (lines === undefined) {
      if (isBegin) [lines, begin, left] = [[], each.line, 0];
      else yield broken(each.line, each.name === undefined ? each.error : `${each.name} stands outside of a card`);
    } else if (nested !== undefined) {
      nested.add(each);
      if (isMark) nested.depth += isBegin ? 1 : -1;
      if (nested.depth === 0) {
        lines.push(nested.asProperty());
        nested = undefined;
      }
    } else if (isBegin) {
      const last = lines.at(-1);
      if (last?.name === 'AGENT' && last.value.trim() === '') {
        lines.pop();
        nested = new NestedCard(last, each);
      } else {
        // The card before has no end.
        yield readCard(lines, begin, left, 'the card has no END:VCARD before the next one');
        [lines, begin, left] = [[], each.line, 0];
      }
    } else if (isMark) {
      yield readCard(lines, begin, left, '');
      lines = undefined;
    } else if (lines.length < CARD_PROPERTIES_MAX) lines.push(each);
    else left++;
  }
  if (lines !== undefined) yield readCard(lines, begin, left, 'the file ends before END:VCARD');
}

/** Adds properties to a card, of lines without folding: what writeProperties wrote. */
export function readProperties(text: string, builder: CardBuilder, line: number): void {
  const lines = text
    .split(/\r?\n/)
    .filter((each) => each !== '')
    .slice(0, CARD_PROPERTIES_MAX)
    .map((each) => parseContentLine(each, line) ?? { line, error: 'there is a property without a colon' });
  new CardReader(lines, builder).read();
}

/** A card in place of the value of AGENT (vCard 2.1), which is kept as vCard 3.0 writes it. */
class NestedCard {
  depth = 1;
  readonly #agent: ContentLine;
  readonly #texts: string[] = [];
  #length = 0;

  constructor(agent: ContentLine, begin: ContentLine | BrokenLine) {
    this.#agent = agent;
    this.add(begin);
  }

  add(each: ContentLine | BrokenLine): void {
    const text = each.name === undefined ? '' : formatContentLine(each);
    this.#length += text.length + 2;
    if (this.#length <= LINE_LENGTH_MAX) this.#texts.push(text);
  }

  asProperty(): ContentLine | BrokenLine {
    const { line } = this.#agent;
    if (this.#length > LINE_LENGTH_MAX) return { line, error: 'AGENT is left out: it is too long' };
    return { ...this.#agent, value: escapeText(`${this.#texts.join('\n')}\n`) };
  }
}

function broken(line: number, error: string): ReadCard {
  return { card: new CardBuilder().card, line, notes: [], error };
}

function readCard(lines: readonly (ContentLine | BrokenLine)[], line: number, left: number, error: string): ReadCard {
  const builder = new CardBuilder();
  if (error === '') new CardReader(lines, builder).read();
  if (left > 0) builder.note(line, `${left} properties are left out: a card has at most ${CARD_PROPERTIES_MAX}`);
  return { card: builder.card, line, notes: builder.notes, photoLine: builder.photoLine, error };
}

type Version = '2.1' | '3.0' | '4.0';

/** What a property may be read into: it says whether it was; what was not is kept as it is. */
type Reading = (reader: CardReader, property: ContentLine) => boolean;

class CardReader {
  readonly builder: CardBuilder;
  readonly version: Version;
  readonly #lines: readonly (ContentLine | BrokenLine)[];
  /** The labels of groups, and those that a field has taken. */
  readonly #labels = new Map<string, ContentLine>();
  readonly #taken = new Set<ContentLine>();
  /** The properties that say which entry of a list is the primary one, and how strongly. */
  readonly #preferred = new Map<string, ContentLine>();

  constructor(lines: readonly (ContentLine | BrokenLine)[], builder: CardBuilder) {
    this.#lines = lines;
    this.builder = builder;
    const version = lines.find(({ name }) => name === 'VERSION');
    const said = version?.name !== undefined ? version.value.trim() : '';
    this.version = said === '2.1' || said === '4.0' ? said : '3.0';
    const strengths = new Map<string, number>();
    for (const each of lines) {
      if (each.name === undefined) continue;
      if (each.name === 'X-ABLABEL' && each.group !== '') this.#labels.set(each.group.toLowerCase(), each);
      const strength = preferenceOf(each);
      if (strength < (strengths.get(each.name) ?? 101)) {
        strengths.set(each.name, strength);
        this.#preferred.set(each.name, each);
      }
    }
  }

  read(): void {
    const unread: ContentLine[] = [];
    for (const each of this.#lines) {
      if (each.name === undefined) this.builder.note(each.line, each.error);
      else if (!this.#readProperty(each)) unread.push(each);
    }
    this.#readFormattedName();
    for (const each of unread) {
      if (each.name === 'X-ABLABEL' && this.#taken.has(each)) continue;
      this.builder.keep(formatContentLine(each), each.line);
    }
  }

  /** The kind of an entry: its label, else what TYPE says. */
  kindOf(property: ContentLine): string {
    const label = property.group === '' ? undefined : this.#labels.get(property.group.toLowerCase());
    // Stalwart writes labels as a parameter. Of an address it is the address as people write it (RFC 6350, 6.3.1).
    const written = property.name === 'ADR' ? undefined : parameter(property, 'LABEL');
    if (label === undefined) return written ?? kindOfTypes(typesOf(property));
    this.#taken.add(label);
    return kindOfLabel(unescapeText(label.value));
  }

  isPrimary(property: ContentLine): boolean {
    return this.#preferred.get(property.name) === property;
  }

  /** The parts of a structured value, with lists in them but in vCard 2.1. */
  parts({ value }: ContentLine, separator: string): string[] {
    return splitValue(value, this.version !== '2.1').map((list) => list.filter((item) => item !== '').join(separator));
  }

  #readProperty(property: ContentLine): boolean {
    const reading = ownOf(READINGS, property.name);
    return reading !== undefined && reading(this, property);
  }

  /** FN is made of the name where it is written: another one is kept, as long as the name stays. */
  #readFormattedName(): void {
    const formatted = this.#lines.find(({ name }) => name === 'FN');
    if (formatted?.name === undefined) return;
    const { line } = formatted;
    if (parameter(formatted, 'X-KITH-NAME') !== undefined) {
      this.builder.keep(formatContentLine(formatted), line);
      return;
    }
    const text = unescapeText(formatted.value);
    if (text.trim() === '') return;
    const { builder } = this;
    const isNamed = (['givenName', 'familyName', 'middleName', 'namePrefix', 'nameSuffix'] as const).some((name) =>
      builder.has(name),
    );
    if (!isNamed && displayName(builder.card) !== text) {
      const { givenName, familyName } = splitName(text.trim());
      builder.setText('givenName', givenName, line);
      builder.setText('familyName', familyName, line);
    }
    const name = displayName(builder.card);
    if (name === text || name === text.trim()) return;
    builder.keep(
      formatContentLine({
        name: 'FN',
        parameters: [{ name: 'X-KITH-NAME', values: [name] }],
        value: formatted.value,
      }),
      line,
    );
  }
}

/** How strongly a property is preferred, 1 to 100; 101 if it is not. */
function preferenceOf(property: ContentLine): number {
  const pref = parameter(property, 'PREF');
  if (pref !== undefined && /^\d{1,3}$/.test(pref)) return Number(pref);
  return typesOf(property).some((type) => /^pref(erred)?$/i.test(type)) ? 1 : 101;
}

function typesOf({ parameters }: ContentLine): string[] {
  return parameters
    .filter(({ name }) => name === 'TYPE')
    .flatMap(({ values }) => values.flatMap((value) => value.split(',')));
}

const isUri = (property: ContentLine) =>
  parameter(property, 'VALUE')?.toLowerCase() !== 'text' && hasScheme(property.value);
const hasScheme = (value: string) => /^[a-z][a-z0-9+.-]*:/i.test(value);

/** A text that a card has once: a second one is kept. */
function once(name: Parameters<CardBuilder['setText']>[0]): Reading {
  return ({ builder }, { value, line }) => {
    if (builder.has(name)) return false;
    builder.setText(name, unescapeText(value), line);
    return true;
  };
}

function birthday({ builder }: CardReader, property: ContentLine): boolean {
  const date = readDate(property);
  if (date === undefined) noteNoDate(builder, property);
  if (date === undefined || builder.has('birthday')) return false;
  builder.setBirthday(date);
  return true;
}

/** How much of a value a note has, UTF-16 code units. */
const VALUE_NOTED = 40;

/** Says that a date is kept as a property alone. */
function noteNoDate(builder: CardBuilder, { name, value, line }: ContentLine): void {
  const text = unescapeText(value).trim();
  if (text === '') return;
  const shown = text.length > VALUE_NOTED ? `${text.slice(0, VALUE_NOTED).toWellFormed()}...` : text;
  builder.note(line, `${name} is kept as it is, and is no date of the contact: ${JSON.stringify(shown)} is none`);
}

/** A date of a kind; undefined for that of the label. */
function dateOf(kind?: string): Reading {
  return (reader, property) => {
    const date = readDate(property);
    if (date === undefined) noteNoDate(reader.builder, property);
    return date !== undefined && reader.builder.addDate(date, kind ?? reader.kindOf(property), property.line);
  };
}

function relationOf(kind?: string): Reading {
  return (reader, property) => {
    if (property.name === 'RELATED' && isUri(property)) return false;
    const { builder } = reader;
    return builder.addRelation(unescapeText(property.value), kind ?? reader.kindOf(property), property.line);
  };
}

function handleOf(service: string): Reading {
  return (reader, property) => {
    const handle = unescapeText(property.value);
    return reader.builder.addMessagingHandle(handle, service, reader.kindOf(property), property.line);
  };
}

/** IMPP (RFC 4770): the address of an account, whose scheme names the service where no parameter does. */
function messagingHandle(reader: CardReader, property: ContentLine): boolean {
  const value = unescapeText(property.value);
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(value)?.[1]?.toLowerCase();
  const said = parameter(property, 'SERVICE-TYPE') ?? parameter(property, 'X-SERVICE-TYPE');
  const isSchemeOfService =
    scheme !== undefined && (scheme === 'im' || scheme === 'x-apple' || Object.hasOwn(SERVICE_OF_SCHEME, scheme));
  const handle = isSchemeOfService ? decodeUri(value.slice(scheme.length + 1)) : value;
  const service = said ?? (scheme === undefined ? '' : (ownOf(SERVICE_OF_SCHEME, scheme) ?? ''));
  return reader.builder.addMessagingHandle(handle, service, reader.kindOf(property), property.line);
}

/** X-SOCIALPROFILE of Apple and SOCIALPROFILE (RFC 9554): the kind is the service. */
function socialProfile(reader: CardReader, property: ContentLine): boolean {
  const service = parameter(property, 'SERVICE-TYPE') ?? kindOfTypes(typesOf(property));
  const user = parameter(property, 'X-USER') ?? parameter(property, 'USERNAME');
  const address = unescapeText(property.value);
  return reader.builder.addMessagingHandle(
    user === undefined || user === '' || /^https?:/i.test(address) ? address : user,
    service,
    '',
    property.line,
  );
}

export function decodeUri(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function name(reader: CardReader, property: ContentLine): boolean {
  const { builder } = reader;
  if (['familyName', 'givenName', 'middleName'].some((each) => builder.has(each as 'familyName'))) return false;
  const [familyName = '', givenName = '', middleName = ''] = reader.parts(property, ' ');
  const [, , , namePrefix = '', nameSuffix = ''] = reader.parts(property, ', ');
  const parts = { familyName, givenName, middleName, namePrefix, nameSuffix };
  for (const [each, value] of Object.entries(parts)) builder.setText(each as keyof typeof parts, value, property.line);
  return true;
}

function organization(reader: CardReader, property: ContentLine): boolean {
  const { builder } = reader;
  if (builder.has('company') || builder.has('department')) return false;
  // A comma divides nothing here (RFC 6350, 6.6.4), although some escape it and some do not.
  const [company = '', ...units] = splitValue(property.value, false).map(([part = '']) => part);
  builder.setText('company', company, property.line);
  builder.setText('department', units.filter((unit) => unit !== '').join(', '), property.line);
  return true;
}

function address(reader: CardReader, property: ContentLine): boolean {
  const parts = reader.parts(property, ', ');
  const [box = '', extended = '', street = '', city = '', region = '', postalCode = '', country = ''] = parts;
  const lines = [box, extended, street].filter((line) => line !== '').join('\n');
  const read: CardAddress = {
    street: lines,
    city,
    region,
    postalCode,
    country,
    type: reader.kindOf(property),
    primary: reader.isPrimary(property),
  };
  return parts.every((part) => part === '') || reader.builder.addAddress(read, property.line);
}

/** CATEGORIES: labels, but for what Google has with every contact; names that no label may have are kept. */
function labels({ builder, version }: CardReader, property: ContentLine): boolean {
  // Some write semicolons between them in vCard 2.1.
  const written = version === '2.1' ? property.value : property.value.replaceAll(/(?<!\\);/g, '\\;');
  const names = splitValue(written, true).flat();
  const left = names.filter((each) => each.trim() !== '' && each !== 'myContacts' && !builder.addLabel(each));
  if (left.length > 0)
    builder.keep(formatContentLine({ ...property, value: left.map(escapeText).join(',') }), property.line);
  return true;
}

/** Properties of the file, which are written anew. */
const ignored: Reading = () => true;

const READINGS: Readonly<Record<string, Reading>> = {
  VERSION: ignored,
  PRODID: ignored,
  REV: ignored,
  FN: ignored,
  N: name,
  NICKNAME: ({ builder, version }, { value, line }) => {
    if (builder.has('nickname')) return false;
    const names = splitValue(value, version !== '2.1').map((list) => list.join(', '));
    builder.setText('nickname', names.join('; '), line);
    return true;
  },
  'X-PHONETIC-FIRST-NAME': once('phoneticGivenName'),
  'X-PHONETIC-MIDDLE-NAME': once('phoneticMiddleName'),
  'X-PHONETIC-LAST-NAME': once('phoneticFamilyName'),
  ORG: organization,
  TITLE: once('jobTitle'),
  EMAIL: (reader, property) => {
    const written = unescapeText(property.value).replace(/^mailto:/i, '');
    return reader.builder.addEmail(written, reader.kindOf(property), reader.isPrimary(property), property.line);
  },
  TEL: (reader, property) => {
    const written = unescapeText(property.value);
    const number = isUri(property) && /^tel:/i.test(written) ? telephone(written.slice(4)) : written;
    return reader.builder.addPhone(number, reader.kindOf(property), reader.isPrimary(property), property.line);
  },
  ADR: address,
  URL: (reader, property) =>
    reader.builder.addUrl(
      unescapeText(property.value),
      reader.kindOf(property),
      reader.isPrimary(property),
      property.line,
    ),
  BDAY: birthday,
  ANNIVERSARY: dateOf('anniversary'),
  'X-ANNIVERSARY': dateOf('anniversary'),
  'X-EVOLUTION-ANNIVERSARY': dateOf('anniversary'),
  'X-KADDRESSBOOK-X-ANNIVERSARY': dateOf('anniversary'),
  'X-MS-ANNIVERSARY': dateOf('anniversary'),
  'X-WAB-WEDDING_ANNIVERSARY': dateOf('anniversary'),
  'X-ABDATE': dateOf(),
  RELATED: relationOf(),
  'X-ABRELATEDNAMES': relationOf(),
  ...Object.fromEntries(Object.entries(RELATION_OF_PROPERTY).map(([each, kind]) => [each, relationOf(kind)])),
  IMPP: messagingHandle,
  'X-SOCIALPROFILE': socialProfile,
  SOCIALPROFILE: socialProfile,
  ...Object.fromEntries(Object.entries(SERVICE_OF_PROPERTY).map(([each, service]) => [each, handleOf(service)])),
  LANG: ({ builder }, { value }) => builder.addLanguage(unescapeText(value)),
  TZ: once('timeZone'),
  PRONOUNS: once('pronouns'),
  NOTE: once('notes'),
  CATEGORIES: labels,
  UID: once('uid'),
  'X-KITH-SOURCE': once('source'),
  'X-KITH-STARRED': ({ builder }, { value }) => {
    if (/^(true|1)$/i.test(value.trim())) builder.setStarred();
    return true;
  },
  'X-KITH-FIELD': (reader, property) =>
    reader.builder.addCustomField(reader.kindOf(property), unescapeText(property.value), property.line),
  PHOTO: ({ builder }, property) => {
    const picture = pictureOf(property);
    if (picture === undefined) return false;
    if (picture.length === 0) builder.note(property.line, 'PHOTO is left out: there is no picture in it');
    else if (!builder.setPhoto(picture, property.line))
      builder.note(property.line, 'PHOTO is left out: a contact has one photo');
    return true;
  },
};

/** The picture that stands in a property: base64 in vCard 2.1 and 3.0, a data: URI (RFC 2397) in 4.0; undefined for an address. */
function pictureOf(property: ContentLine): Uint8Array | undefined {
  const picture = pictureOfUri(property.value);
  if (picture !== undefined) return picture;
  const encoding = parameter(property, 'ENCODING')?.toUpperCase();
  if (encoding !== 'B' && encoding !== 'BASE64') return undefined;
  return Buffer.from(property.value, 'base64');
}

/** The picture that a data: URI (RFC 2397) has; undefined for any other. */
export function pictureOfUri(written: string): Uint8Array | undefined {
  const uri = /^\s*data:[^,\\]*(;base64)\\?,/i.exec(written);
  return uri === null ? undefined : Buffer.from(written.slice(uri[0].length), 'base64');
}

/** A number of a tel: URI (RFC 3966) as people write it. */
export function telephone(uri: string): string {
  const [number = '', ...parameters] = decodeUri(uri).split(';');
  const extension = parameters.find((each) => /^ext=/i.test(each))?.slice(4);
  return extension === undefined ? number : `${number} ext. ${extension}`;
}

/** A date as vCard, ISO 8601 and Apple write it; undefined for what is no date. Times of day are left out. */
function readDate(property: ContentLine): PartialDate | undefined {
  if (parameter(property, 'VALUE')?.toLowerCase() === 'text') return undefined;
  const date = parseCardDate(property.value);
  const noYear = parameter(property, 'X-APPLE-OMIT-YEAR');
  if (date === undefined || noYear === undefined || Number(noYear) !== date.year) return date;
  return date.month === undefined ? undefined : { ...date, year: undefined };
}

/** Reads the date of a text: 1815-12-10, 18151210, 1815-12, 1815, --12-10, --1210, --12, with a time behind it or not. */
export function parseCardDate(text: string): PartialDate | undefined {
  const match =
    /^(?:(?<year>\d{4})(?:-?(?<month>\d\d)-?(?<day>\d\d)|-(?<only>\d\d))?|--(?<month2>\d\d)(?:-?(?<day2>\d\d))?)(?:[T ].*)?$/.exec(
      text.trim(),
    );
  if (match?.groups === undefined) return undefined;
  const { year, month, day, only, month2, day2 } = match.groups;
  const numberOf = (digits: string | undefined) => (digits === undefined ? undefined : Number(digits));
  const date = { year: numberOf(year), month: numberOf(month ?? only ?? month2), day: numberOf(day ?? day2) };
  return isCalendarDate(date) ? date : undefined;
}
