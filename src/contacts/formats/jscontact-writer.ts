import { type Card, displayName, EMPTY_CARD } from './card.ts';
import { type ContentLine, parameter, parseContentLine, unescapeText } from './content-lines.ts';
import {
  anniversaryCount,
  digestOf,
  digestOfName,
  ENTRY_KINDS,
  isPrimary,
  NAME,
  relatedCount,
  writeName,
} from './jscontact-entries.ts';
import { entryOf, type Placed, toJCard } from './jscontact-lines.ts';
import { ENTRY, FOR, JSPROP, WITHOUT } from './jscontact-reader.ts';
import { formatJson, type Json, JsonNumber, jsonObject, JsonObject, namesOfPointer, parseJson } from './json-values.ts';
import { writeProperties } from './vcard-writer.ts';

/** A card as a Card of JSContact (RFC 9553) on one line, without a line end. What has no place there is in `vCardProps` (RFC 9555). */
export function writeJSContact(card: Card): string {
  return formatJson(new CardWriter(card).write());
}

/** What was kept of an entry. */
interface Kept {
  id: string | undefined;
  without: readonly string[];
  readonly more: (readonly [name: string, value: Json])[];
}

/** The order of what a Card has; anything else comes behind, and `vCardProps` last. */
const ORDER = ['@type', 'version', 'uid', 'kind', 'language', 'created', 'members', NAME];

class CardWriter {
  readonly #card: Card;
  readonly #object = new JsonObject();
  /** What was kept of entries, by the digests of these. */
  readonly #kept = new Map<string, Kept[]>();
  readonly #placed: (Placed & { readonly line: ContentLine })[] = [];
  /** Values at pointers, which are set where there is room for them. */
  readonly #pointed: (readonly [names: readonly string[], value: Json, line: ContentLine])[] = [];
  readonly #rest: ContentLine[] = [];
  #formatted: string | undefined;

  constructor(card: Card) {
    this.#card = card;
    for (const line of card.properties) {
      const parsed = parseContentLine(line, 0);
      if (parsed !== undefined) this.#take(parsed);
    }
  }

  write(): JsonObject {
    const [card, object] = [this.#card, this.#object];
    object.set('@type', 'Card');
    object.set('version', '1.0');
    if (card.uid !== '') object.set('uid', card.uid);
    this.#writeName();
    for (const kind of ENTRY_KINDS) {
      const entries = kind.entriesOf(card);
      const kept = entries.map((entry) => this.#keptOf(() => digestOf(kind, entry)));
      const ids = new Set(kept.flatMap((each) => each?.id ?? []));
      const strongest = Math.min(...kept.map(preferenceIn));
      entries.forEach((entry, i) => {
        const written = kind.write(entry, i, entries.length);
        const id = kept[i]?.id ?? this.#newId(ids);
        this.#listOf(kind.list)?.set(
          id,
          withKept(written, kept[i], isPrimary(entry) && preferenceIn(kept[i]) > strongest),
        );
      });
    }
    if (isZone(card.timeZone)) this.#place({ list: 'addresses', value: jsonObject({ timeZone: card.timeZone }) });
    this.#writeRelations();
    if (card.labels.length > 0) {
      const keywords = new JsonObject();
      for (const label of card.labels) keywords.set(label, true);
      object.set('keywords', keywords);
    }
    if (card.photo !== undefined) {
      const uri = `data:image/jpeg;base64,${Buffer.from(card.photo).toString('base64')}`;
      this.#place({ list: 'media', value: jsonObject({ kind: 'photo', uri, mediaType: 'image/jpeg' }) });
    }
    for (const each of this.#placed) if (!this.#place(each)) this.#rest.push(each.line);
    for (const [names, value, line] of this.#pointed) if (!this.#setAt(names, value)) this.#rest.push(line);
    this.#writeVCardProps();
    return ordered(object);
  }

  /** Sorts what the card keeps: to an entry, as an entry, at a pointer, or as a property of vCard. */
  #take(line: ContentLine): void {
    const digest = parameter(line, FOR);
    const pointer = line.name === JSPROP ? parameter(line, 'JSPTR') : undefined;
    if (line.name === ENTRY && digest !== undefined) {
      const names = namesOfPointer(unescaped(unescapeText(line.value)));
      const kept = this.#newKept(digest, names);
      kept.without = line.parameters.find(({ name }) => name === WITHOUT)?.values ?? [];
      return;
    }
    if (pointer !== undefined) {
      const names = namesOfPointer(unescaped(pointer));
      const value = parseJson(unescapeText(line.value));
      if (value !== undefined && digest !== undefined) {
        this.#newKept(digest, names.slice(0, -1)).more.push([names.at(-1)!, value]);
        return;
      }
      if (value !== undefined) {
        this.#pointed.push([names, value, line]);
        return;
      }
    }
    const formatted = line.name === 'FN' ? parameter(line, 'X-KITH-NAME') : undefined;
    if (formatted !== undefined) {
      if (formatted === displayName(this.#card)) this.#formatted ??= unescapeText(line.value);
      return;
    }
    const placed = entryOf(line);
    if (placed === undefined) this.#rest.push(line);
    else this.#placed.push({ ...placed, line });
  }

  /** What is kept of an entry with an id, of several that are the same. */
  #newKept(digest: string, names: readonly string[]): Kept {
    const id = names.length > 1 ? names.at(-1) : undefined;
    const known = this.#kept.get(digest) ?? [];
    this.#kept.set(digest, known);
    const found = known.find((each) => each.id === id);
    if (found !== undefined) return found;
    const kept: Kept = { id, without: [], more: [] };
    known.push(kept);
    return kept;
  }

  #keptOf(digest: () => string): Kept | undefined {
    return this.#kept.size === 0 ? undefined : this.#kept.get(digest())?.shift();
  }

  #writeName(): void {
    const kept = this.#keptOf(() => digestOfName(this.#card));
    const name = writeName(this.#card, this.#formatted) ?? (kept && new JsonObject());
    if (name !== undefined) this.#object.set(NAME, withKept(name, kept, false));
  }

  #writeRelations(): void {
    const { relations } = this.#card;
    const count = relatedCount(this.#card);
    for (const { name, type } of relations.slice(0, count)) {
      const relation = type === '' ? {} : { [type]: true };
      this.#listOf('relatedTo')?.set(name, jsonObject({ relation: jsonObject(relation) }));
    }
  }

  /** Writes a kept property as an entry, beside those that there are. */
  #place({ list, id, value }: Pick<Placed, 'list' | 'value'> & { readonly id?: string | undefined }): boolean {
    if (id === undefined && !(value instanceof JsonObject)) return this.#setAt(list.split('/'), value);
    const entries = this.#listOf(list);
    if (entries === undefined || (id !== undefined && entries.has(id))) return false;
    entries.set(id ?? this.#newId(new Set(entries.keys())), value);
    return true;
  }

  /** Sets a value where there is none: in an object that is there, or of the card itself. Returns whether it could. */
  #setAt(names: readonly string[], value: Json): boolean {
    const last = names.at(-1)!;
    const parents = names.slice(0, -1);
    if (parents.length > 0 && !this.#isAt(parents)) {
      // An entry is not made up for a part of it.
      if (parents.length > 1 && parents.join('/') !== 'speakToAs/pronouns') return false;
    }
    const holder = this.#listOf(parents.join('/'), parents);
    if (holder === undefined || last === '@type') return false;
    if (holder.has(last) && names.join('/') !== 'version') return false;
    holder.set(last, value);
    return true;
  }

  #isAt(names: readonly string[]): boolean {
    let value: Json | undefined = this.#object;
    for (const name of names) value = value instanceof JsonObject ? value.get(name) : undefined;
    return value !== undefined;
  }

  /** A list of entries, which is made where there is none; undefined where something else is in its place. */
  #listOf(list: string, names = list.split('/')): JsonObject | undefined {
    let holder: JsonObject = this.#object;
    for (const name of names) {
      const next = holder.get(name) ?? new JsonObject();
      if (!(next instanceof JsonObject)) return undefined;
      holder.set(name, next);
      holder = next;
    }
    return holder;
  }

  /** An id that is not taken. */
  #newId(taken: Set<string>): string {
    let number = 1;
    while (taken.has(`kith${number}`)) number++;
    taken.add(`kith${number}`);
    return `kith${number}`;
  }

  /** What JSContact has no place for, as the properties that a vCard would have. */
  #writeVCardProps(): void {
    const { dates, relations, customFields, timeZone, starred, source } = this.#card;
    const card = {
      ...EMPTY_CARD,
      dates: dates.slice(anniversaryCount(this.#card)),
      relations: relations.slice(relatedCount(this.#card)),
      customFields,
      timeZone: isZone(timeZone) ? '' : timeZone,
      starred,
      source,
      properties: this.#card.properties.filter((line) => /^[^:;]*\./.test(line)),
    };
    // The kept properties are written behind the others, whose groups are to be none of theirs.
    const own = writeProperties(card)
      .split('\n')
      .flatMap((line) => parseContentLine(line, 0) ?? []);
    const grouped = card.properties.flatMap((line) => parseContentLine(line, 0) ?? []).length;
    const lines = [...own.slice(0, own.length - grouped), ...this.#rest];
    if (lines.length === 0) return;
    const before = this.#object.get('vCardProps');
    this.#object.set('vCardProps', [...(Array.isArray(before) ? (before as Json[]) : []), ...lines.map(toJCard)]);
  }
}

/** An entry as it was in the file that it came from. */
function withKept(written: JsonObject, kept: Kept | undefined, isPreferred: boolean): JsonObject {
  for (const name of kept?.without ?? []) written.delete(name);
  for (const [name, value] of kept?.more ?? []) if (name !== 'pref' || !isPreferred) written.set(name, value);
  return written;
}

/** How strongly an entry was preferred that was not the primary one; 101 if not at all. */
function preferenceIn(kept: Kept | undefined): number {
  const pref = kept?.more.find(([name]) => name === 'pref')?.[1];
  return pref instanceof JsonNumber ? Number(pref.text) : 101;
}

/** Whether a time zone has a name of the database of time zones, which JSContact wants. */
function isZone(timeZone: string): boolean {
  return /^[A-Z][A-Za-z]+(?:\/[A-Za-z0-9_+-]+)+$/.test(timeZone);
}

function ordered(object: JsonObject): JsonObject {
  const result = new JsonObject();
  for (const name of ORDER) if (object.has(name)) result.set(name, object.get(name)!);
  for (const [name, value] of object) if (!result.has(name)) result.set(name, value);
  return result;
}

/** Undoes what the reader did to names that have signs which no contact may have. */
function unescaped(pointer: string): string {
  return pointer.replaceAll(/\\u([0-9a-f]{4})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}
