import { CardBuilder, type ReadCard } from './card.ts';
import { RELATION_TYPES } from './card-types.ts';
import { escapeText, formatContentLine, type Parameter } from './content-lines.ts';
import {
  differenceOf,
  digestOf,
  ENTRY_KINDS,
  type EntryKind,
  digestOfName,
  NAME,
  readName,
  textOf,
  writeName,
} from './jscontact-entries.ts';
import { flagsOf, fromJCard, lineOf, OWN_ID } from './jscontact-lines.ts';
import {
  escapePointer,
  formatJson,
  type Json,
  JsonNumber,
  JsonObject,
  jsonObject,
  pointerOf,
  readJsonValues,
} from './json-values.ts';
import { decodeFile, decodeLine } from './text-decoding.ts';
import { pictureOfUri, readProperties } from './vcard-reader.ts';

/** The property that keeps a value of JSContact (RFC 9555, 3.2), and what it has beside what that RFC says. */
export const JSPROP = 'JSPROP';
/** Of what is kept of an entry: what the entry is recognised by. See digestOf. */
export const FOR = 'X-KITH-FOR';
/** The id of an entry, and which names it does not have that would be written. */
export const ENTRY = 'X-KITH-ENTRY';
export const WITHOUT = 'X-KITH-WITHOUT';

/**
 * The contacts of a file in JSContact (RFC 9553): one Card, an array of Cards, or one after the other. Never throws for a
 * file: what cannot be read is said in the notes, or is the error of its contact. What no field of a contact holds is kept as
 * RFC 9555 says: as a property of vCard if it is one, else as JSPROP. Takes time linear in the file, and holds one Card at a time.
 */
export function* readJSContact(bytes: Uint8Array): Generator<ReadCard> {
  const { text, isBytes } = decodeFile(bytes);
  for (const { value, line, error, illFormed } of readJsonValues(isBytes ? decodeLine(text, undefined) : text)) {
    const builder = new CardBuilder();
    const problem = error || whyNoCard(value);
    if (problem === '') new CardReader(value as JsonObject, line, builder).read();
    if (illFormed !== undefined)
      builder.note(line, `${illFormed || 'the Card'} is no Unicode text: what is none of it is left out`);
    yield { card: builder.card, line, notes: builder.notes, photoLine: builder.photoLine, error: problem };
  }
}

function whyNoCard(value: Json): string {
  if (!(value instanceof JsonObject)) return 'this is no Card: it is no object';
  const type = value.get('@type');
  if (type === undefined || type === 'Card') return '';
  const shown = typeof type === 'string' ? JSON.stringify(type.slice(0, 40).toWellFormed()) : 'no text';
  return `this is no Card: its @type is ${shown}`;
}

/** What a Card has about itself or its file, which is written anew. */
const IGNORED = new Set([
  '@type',
  'version',
  'uid',
  'updated',
  'prodId',
  'vCardProps',
  'vCard',
  'keywords',
  'relatedTo',
  NAME,
]);

/** Values that may be a property of vCard. */
const VALUES = new Set(['kind', 'language', 'created']);

class CardReader {
  readonly #card: JsonObject;
  readonly #line: number;
  readonly #builder: CardBuilder;

  constructor(card: JsonObject, line: number, builder: CardBuilder) {
    [this.#card, this.#line, this.#builder] = [card, line, builder];
  }

  read(): void {
    const [card, builder] = [this.#card, this.#builder];
    const name = this.#object(card, NAME, []);
    if (name !== undefined) readName(name, { builder, line: name.line, primary: false });
    for (const [key, value] of card) {
      if (IGNORED.has(key)) continue;
      if (VALUES.has(key)) this.#keep([key], value);
      else if (key === 'members') this.#eachOf(card, key, (id, each) => this.#keep([key, id], each));
      else if (key === 'speakToAs') this.#readSpeakToAs();
      else if (key === 'localizations') this.#eachOf(card, key, (id, each) => this.#keep([key, id], each));
      else if (LISTS.has(key)) this.#readList(card, [key]);
      else this.#keep([key], value);
    }
    this.#eachOf(card, 'relatedTo', (id, each) => this.#readRelation(id, each));
    this.#eachOf(card, 'keywords', (id, each) => {
      if (each !== true || !builder.addLabel(id)) this.#keep(['keywords', id], each);
    });
    if (card.has('version') && card.get('version') !== '1.0') this.#keep(['version'], card.get('version')!);
    const uid = card.get('uid');
    if (typeof uid === 'string') builder.setText('uid', uid, this.#line);
    else if (uid !== undefined) this.#keep(['uid'], uid);
    this.#readVCardProps(name);
    if (name === undefined) return;
    const written = writeName(builder.card, textOf(name, 'full')) ?? new JsonObject();
    this.#keepDifference([NAME], digestOfName(builder.card), differenceOf(name, written));
  }

  #readSpeakToAs(): void {
    const object = this.#object(this.#card, 'speakToAs', []);
    for (const [key, value] of object ?? []) {
      if (key === 'pronouns') this.#readList(object!, ['speakToAs', key]);
      else if (key !== '@type') this.#keep(['speakToAs', key], value);
    }
  }

  /** Reads a list of entries: the ones that are preferred first where the order counts. */
  #readList(holder: JsonObject, path: readonly string[]): void {
    const list = path.join('/');
    const object = this.#object(holder, path.at(-1)!, path.slice(0, -1));
    const entries = [...(object ?? [])];
    const strengths = entries.map(([, each]) => (each instanceof JsonObject ? preferenceOf(each) : undefined) ?? 101);
    const strongest = Math.min(101, ...strengths);
    const primary = strongest <= 100 ? entries[strengths.indexOf(strongest)]?.[0] : undefined;
    if (list === 'preferredLanguages') {
      const order = entries.map((_, i) => i).toSorted((a, b) => strengths[a]! - strengths[b]!);
      entries.splice(0, entries.length, ...order.map((i) => entries[i]!));
    }
    const kind = ENTRY_KINDS.find((each) => each.list === list);
    const isOrdered = list === 'preferredLanguages' && entries.length > 1;
    for (const [id, value] of entries) {
      if (!(value instanceof JsonObject)) {
        this.#note([...path, id], value, 'is no object');
        this.#keep([...path, id], value);
        continue;
      }
      if (value.get('kind') === 'title' && list === 'titles') value.delete('kind');
      const place = { primary: id === primary, isOrdered };
      if (kind === undefined || !this.#readEntry(kind, [...path, id], value, place)) {
        this.#keepEntry([...path, id], value, kind !== undefined);
      }
    }
  }

  #readEntry(
    kind: EntryKind,
    path: readonly string[],
    value: JsonObject,
    { primary, isOrdered }: { readonly primary: boolean; readonly isOrdered: boolean },
  ): boolean {
    const builder = this.#builder;
    const before = [...kind.entriesOf(builder.card)];
    if (!kind.read(value, { builder, line: value.line, primary })) return false;
    const after = kind.entriesOf(builder.card);
    // A birthday stands before other dates.
    const index = after.findIndex((each, i) => JSON.stringify(each) !== JSON.stringify(before[i]));
    const entry = after[index];
    if (entry === undefined) return true;
    const written = kind.write(entry, index, 1);
    // The order says it, of several.
    if (isOrdered) written.set('pref', value.get('pref') ?? null);
    // Of the primary entry it says no more than that, and others are not primary.
    if (primary && 'primary' in entry) written.set('pref', value.get('pref')!);
    this.#keepDifference(path, digestOf(kind, entry), differenceOf(value, written));
    return true;
  }

  /** Keeps the id of an entry that is in the card, and what it says beside that. */
  #keepDifference(path: readonly string[], digest: string, { more, less }: ReturnType<typeof differenceOf>): void {
    const written = more.map(([name, value]) => this.#composed([...path, name], value, digest));
    const pointer = toPointer(path);
    const isOwn = path.length === 1 || (OWN_ID.test(path.at(-1)!) && more.length === 0);
    if (!isOwn || less.length > 0) {
      const without = less.length === 0 ? [] : [{ name: WITHOUT, values: less }];
      const parameters = [{ name: FOR, values: [digest] }, ...without];
      written.unshift(formatContentLine({ name: ENTRY, parameters, value: escapeText(pointer) }));
    }
    for (const line of written) this.#builder.keep(line, this.#line);
  }

  /** Keeps an entry that is not in the card: as a property of vCard, else as it is. */
  #keepEntry(path: readonly string[], value: JsonObject, isNoted: boolean): void {
    if (path[0] === 'media' && this.#readPhoto(path, value)) return;
    const kind = path[0] === 'anniversaries' ? value.get('kind') : undefined;
    if (kind === 'wedding' || (kind === 'birth' && !this.#builder.has('birthday'))) {
      this.#note(path, value, 'is no date of the Gregorian calendar, or one more than there is room for');
    }
    const line = lineOf({ list: path.slice(0, -1).join('/'), id: path.at(-1), value });
    if (line === undefined && isNoted && !SINGLES.has(path.slice(0, -1).join('/'))) {
      this.#note(path, value, 'has no field, or is one more than there is room for');
    }
    if (line === undefined) this.#keep(path, value);
    else this.#builder.keep(line, value.line);
  }

  /** Reads a photo that is in the file, and no address of one. Returns whether it is that. */
  #readPhoto(path: readonly string[], media: JsonObject): boolean {
    const picture = (media.get('kind') ?? 'photo') === 'photo' ? pictureOfUri(textOf(media, 'uri') ?? '') : undefined;
    if (picture === undefined) return false;
    const left = (why: string) => this.#builder.note(media.line, `${pointerOf(path)} is left out: ${why}`);
    if (picture.length === 0) left('there is no picture in it');
    else if (!this.#builder.setPhoto(picture, media.line)) left('a contact has one photo');
    return true;
  }

  #keep(path: readonly string[], value: Json): void {
    const line = path.length <= 2 ? lineOf(placeOfPath(path, value)) : undefined;
    this.#builder.keep(line ?? this.#composed(path, value), value instanceof JsonObject ? value.line : this.#line);
  }

  #composed(path: readonly string[], value: Json, digest?: string): string {
    const parameters: Parameter[] = [{ name: 'JSPTR', values: [toPointer(path)] }];
    if (digest !== undefined) parameters.push({ name: FOR, values: [digest] });
    return formatContentLine({ name: JSPROP, parameters, value: escapeText(escaped(formatJson(value))) });
  }

  #readRelation(id: string, value: Json): void {
    const relation =
      value instanceof JsonObject ? (value.has('relation') ? value.get('relation') : jsonObject({})) : undefined;
    const types = Object.keys(flagsOf(relation) ?? { other: true });
    const names = value instanceof JsonObject ? [...value.keys()].filter((name) => name !== '@type') : [];
    const isPlain = names.every((name) => name === 'relation') && types.every((type) => RELATION_TYPES.has(type));
    if (isPlain && types.length <= 1 && !/^[a-z][a-z0-9+.-]*:/i.test(id)) {
      if (this.#builder.addRelation(id, types[0] ?? '', this.#line)) return;
    }
    this.#keep(['relatedTo', id], value);
  }

  /** Properties of vCard, and the name as people read it, which are read as those of a vCard. */
  #readVCardProps(name: JsonObject | undefined): void {
    const card = this.#card;
    const lines = card.has('vCardProps') ? this.#linesOf(['vCardProps'], card.get('vCardProps')!) : [];
    // Stalwart has them here.
    this.#eachOf(card, 'vCard', (key, value) => {
      if (key === 'properties') lines.push(...this.#linesOf(['vCard', key], value));
      else this.#keep(['vCard', key], value);
    });
    const full = name && textOf(name, 'full');
    // The first one counts.
    if (full !== undefined) lines.unshift(`FN:${escapeText(full)}`);
    readProperties(lines.join('\n'), this.#builder, this.#line);
  }

  #linesOf(path: readonly string[], given: Json): string[] {
    if (!Array.isArray(given)) {
      this.#note(path, given, 'is no array');
      this.#keep(path, given);
      return [];
    }
    return given.flatMap((each: Json, i) => {
      const line = fromJCard(each);
      if (line !== undefined) return line.replaceAll(/[\r\n]+/g, ' ');
      this.#note([...path, String(i)], each, 'is no property of vCard', 'left out');
      return [];
    });
  }

  /** The object of a name; what is none is kept as it is, which a note says. */
  #object(holder: JsonObject, name: string, path: readonly string[]): JsonObject | undefined {
    const value = holder.get(name);
    if (value === undefined || value instanceof JsonObject) return value;
    this.#note([...path, name], value, 'is no object');
    this.#keep([...path, name], value);
    return undefined;
  }

  #eachOf(holder: JsonObject, name: string, read: (id: string, value: Json) => void): void {
    for (const [id, value] of this.#object(holder, name, []) ?? []) if (id !== '@type') read(id, value);
  }

  #note(path: readonly string[], value: Json, why: string, fate = 'kept as it is'): void {
    const line = value instanceof JsonObject ? value.line : this.#line;
    this.#builder.note(line, `${pointerOf(path)} ${why}: it is ${fate}`);
  }
}

function placeOfPath(path: readonly string[], value: Json) {
  const list = path[0] === 'speakToAs' ? path.join('/') : path[0]!;
  return { list, id: path[0] === 'speakToAs' ? undefined : path[1], value };
}

/** Lists of which every entry is one of these, or a property of vCard. */
const LISTS = new Set([
  ...ENTRY_KINDS.map(({ list }) => list),
  'calendars',
  'schedulingAddresses',
  'cryptoKeys',
  'directories',
  'media',
  'personalInfo',
]);

/** Lists of which a contact has one entry: a second one is no fault of the file. */
const SINGLES = new Set(['nicknames', 'organizations', 'titles', 'speakToAs/pronouns', 'notes', 'anniversaries']);

function preferenceOf(entry: JsonObject): number | undefined {
  const pref = entry.get('pref');
  return pref instanceof JsonNumber && /^(?:[1-9]\d?|100)$/.test(pref.text) ? Number(pref.text) : undefined;
}

/** A pointer as RFC 9555 has it: without the slash that it begins with; its backslashes escape what no contact may have. */
function toPointer(path: readonly string[]): string {
  return escaped(path.map(escapePointer).join('/').replaceAll('\\', String.raw`\u005c`));
}

/** JSON in which what no contact may have is escaped. */
function escaped(json: string): string {
  return json.replaceAll(
    /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069\uFFFD]/gu,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
