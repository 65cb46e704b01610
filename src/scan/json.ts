import { type DescField, ScalarType } from '@bufbuild/protobuf';
import { clearCounters, counters } from './counters.ts';
import { DEPTH_MAX, type Finding, malformed, SHOWN_BYTES, tooDeep, tooMany, tooManyInPair, within } from './finding.ts';
import { type FieldName, type FieldPlan, JSON_CHARACTER_BYTES, Kind, type Plan } from './plan.ts';

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const LIST = 0x5b;
const BACKSLASH = 0x5c;
const LIST_END = 0x5d;
const OBJECT = 0x7b;
const OBJECT_END = 0x7d;

/** Texts of so many bytes are looked through one by one. */
const SHORT_BYTES = 64;

/** Ends the scan of a text that is not JSON: the parser gets no further, and has the word. */
const NOT_JSON = { kind: 'malformed', message: 'not JSON' } as const;

/**
 * Looks through the bytes of a message in JSON, and says what in them the contract does not allow:
 * unknown or repeated fields, too many items, pairs or characters, objects and arrays where the type has
 * none, too deep nesting.
 *
 * Makes nothing of the bytes but what it returns and keys that are written with escapes, and looks at
 * each once. Everything else is left to the decoder: whether the text is JSON and UTF-8, numbers, times,
 * names of enums, null, every rule about values. What it passes holds no more than the contract allows
 * up to where the parser ends.
 */
export function scanJson(plan: Plan, bytes: Uint8Array): Finding | undefined {
  const finding = new JsonScan(plan, bytes).whole();
  return finding === NOT_JSON ? undefined : finding;
}

class JsonScan {
  readonly #plan: Plan;
  readonly #bytes: Uint8Array;
  #pos = 0;
  /** The first counter that is not in use. */
  #top = 0;

  constructor(plan: Plan, bytes: Uint8Array) {
    this.#plan = plan;
    this.#bytes = bytes;
  }

  whole(): Finding | undefined {
    const bytes = this.#bytes;
    // A byte order mark, which the text decoder drops.
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.#pos = 3;
    const first = this.#next();
    const { desc, isJsonObject } = this.#plan;
    if (first !== OBJECT && first !== LIST) return undefined;
    if (first === LIST || !isJsonObject) {
      return malformed(`cannot decode ${desc.toString()} from JSON: ${isJsonObject ? 'an array' : 'not a text'}`);
    }
    return this.#message(this.#plan, 1);
  }

  /** Scans an object that is a message. */
  #message(plan: Plan, depth: number): Finding | undefined {
    if (depth > DEPTH_MAX) return tooDeep(plan.desc, 'JSON');
    const base = this.#top;
    clearCounters(base, plan.counters);
    this.#top = base + plan.counters;
    this.#pos++;
    if (this.#next() === OBJECT_END) this.#pos++;
    else {
      for (;;) {
        const finding = this.#member(plan, base, depth);
        if (finding !== undefined) return finding;
        const end = this.#next();
        this.#pos++;
        if (end === OBJECT_END) break;
        if (end !== COMMA) return NOT_JSON;
      }
    }
    this.#top = base;
    return undefined;
  }

  /** A key of a message, and its value. */
  #member(plan: Plan, base: number, depth: number): Finding | undefined {
    if (this.#next() !== QUOTE) return NOT_JSON;
    const start = this.#pos + 1;
    const isPlain = this.#string();
    if (isPlain === undefined) return NOT_JSON;
    const keyEnd = this.#pos - 1;
    const found = isPlain ? findName(plan, this.#bytes, start, keyEnd) : this.#findEscaped(plan, start, keyEnd);
    if (found === undefined) {
      const key = this.#key(start, keyEnd);
      return malformed(`cannot decode ${plan.desc.toString()} from JSON: key "${key}" is unknown`);
    }
    const { field, spelling, name } = found;
    const counter = base + field.counter;
    const seen = counters[counter] ?? 0;
    if (seen !== 0) {
      return seen === spelling + 1
        ? malformed(`cannot decode ${this.#plan.desc.toString()} from JSON: duplicate object key "${name}"`)
        : malformed(`cannot decode ${field.field.toString()} from JSON: set multiple times`);
    }
    counters[counter] = spelling + 1;
    if (this.#next() !== COLON) return NOT_JSON;
    this.#pos++;
    return this.#value(field, depth);
  }

  #value(field: FieldPlan, depth: number): Finding | undefined {
    const first = this.#next();
    switch (field.kind) {
      case Kind.ScalarList:
      case Kind.MessageList:
        return first === LIST ? this.#list(field, depth) : this.#scalar(field.field, first);
      case Kind.Map:
        return first === OBJECT ? this.#map(field) : this.#scalar(field.field, first);
      case Kind.Message: {
        const finding = this.#messageOr(field, first, depth);
        return finding && within(field.field, undefined, finding);
      }
      default: {
        const start = this.#pos;
        const finding = this.#scalar(field.field, first);
        if (finding !== undefined) return finding;
        const length = this.#pos - start - 2; // without the quotes
        return length > JSON_CHARACTER_BYTES * field.charactersMax && first === QUOTE
          ? tooMany(field.field)
          : undefined;
      }
    }
  }

  #messageOr({ field, message }: FieldPlan, first: number, depth: number): Finding | undefined {
    const isObject = first === OBJECT && message?.isJsonObject === true;
    return isObject ? this.#message(message, depth + 1) : this.#scalar(field, first);
  }

  #list(field: FieldPlan, depth: number): Finding | undefined {
    this.#pos++;
    if (this.#next() === LIST_END) {
      this.#pos++;
      return undefined;
    }
    for (let items = 1; ; items++) {
      if (items > field.countMax) return tooMany(field.field);
      const first = this.#next();
      const finding = this.#messageOr(field, first, depth);
      if (finding !== undefined) return within(field.field, items - 1, finding);
      const end = this.#next();
      this.#pos++;
      if (end === LIST_END) return undefined;
      if (end !== COMMA) return NOT_JSON;
    }
  }

  #map(field: FieldPlan): Finding | undefined {
    this.#pos++;
    if (this.#next() === OBJECT_END) {
      this.#pos++;
      return undefined;
    }
    for (let pairs = 1; ; pairs++) {
      if (this.#next() !== QUOTE) return NOT_JSON;
      if (pairs > field.countMax) return tooMany(field.field);
      const start = this.#pos + 1;
      if (this.#string() === undefined) return NOT_JSON;
      const keyEnd = this.#pos - 1;
      if (keyEnd - start > JSON_CHARACTER_BYTES * field.keyCharactersMax) {
        return tooManyInPair(field.field, 'key', this.#key(start, keyEnd));
      }
      if (this.#next() !== COLON) return NOT_JSON;
      this.#pos++;
      const first = this.#next();
      const valueStart = this.#pos;
      const finding = this.#scalar(field.field, first);
      if (finding !== undefined) return finding;
      if (first === QUOTE && this.#pos - 2 - valueStart > JSON_CHARACTER_BYTES * field.valueCharactersMax) {
        return tooManyInPair(field.field, 'value', this.#key(start, keyEnd));
      }
      const end = this.#next();
      this.#pos++;
      if (end === OBJECT_END) return undefined;
      if (end !== COMMA) return NOT_JSON;
    }
  }

  /** A value that is neither an object nor an array; a word or number is not looked at. */
  #scalar(field: DescField, first: number): Finding | undefined {
    if (first === QUOTE) return this.#string() === undefined ? NOT_JSON : undefined;
    if (first === OBJECT || first === LIST) {
      const got = first === OBJECT ? 'object' : 'Array';
      return malformed(`cannot decode ${field.toString()} from JSON: expected ${expected(field, first)}, got ${got}`);
    }
    const bytes = this.#bytes;
    const start = this.#pos;
    let pos = start;
    for (; pos < bytes.length; pos++) {
      const byte = bytes[pos] ?? 0;
      if (byte === COMMA || byte === OBJECT_END || byte === LIST_END || isSpace(byte)) break;
    }
    this.#pos = pos;
    return pos === start ? NOT_JSON : undefined;
  }

  /** Goes past a text, and says whether it is written without escapes; undefined for one that does not end. */
  #string(): boolean | undefined {
    const bytes = this.#bytes;
    const start = this.#pos + 1;
    let isPlain = true;
    for (let pos = start; pos < bytes.length; pos++) {
      const byte = bytes[pos];
      if (byte === QUOTE) {
        this.#pos = pos + 1;
        return isPlain;
      }
      if (byte === BACKSLASH) {
        isPlain = false;
        pos++;
      } else if (pos - start === SHORT_BYTES && isPlain) {
        // Of a long text, the next quote or escape is looked for by what is faster over many bytes.
        const quote = bytes.indexOf(QUOTE, pos);
        if (quote < 0) return undefined;
        const escape = bytes.subarray(pos, quote).indexOf(BACKSLASH);
        pos = (escape < 0 ? quote : pos + escape) - 1;
      }
    }
    return undefined;
  }

  /** The next byte that is not white space, which stays the next; -1 at the end. */
  #next(): number {
    const bytes = this.#bytes;
    let pos = this.#pos;
    while (pos < bytes.length && isSpace(bytes[pos] ?? 0)) pos++;
    this.#pos = pos;
    return bytes[pos] ?? -1;
  }

  #findEscaped({ names }: Plan, start: number, end: number): FieldName | undefined {
    const key = this.#key(start, end);
    return names.find(({ name }) => name === key);
  }

  /** The key between two quotes, of which the beginning is enough to know it. */
  #key(start: number, end: number): string {
    const written = Buffer.from(this.#bytes.subarray(start, Math.min(end, start + SHOWN_BYTES))).toString();
    try {
      return JSON.parse(`"${written}"`) as string;
    } catch {
      return written;
    }
  }
}

function isSpace(byte: number): boolean {
  return byte === SPACE || byte === LINE_FEED || byte === CARRIAGE_RETURN || byte === TAB;
}

function findName({ names }: Plan, bytes: Uint8Array, start: number, end: number): FieldName | undefined {
  for (const candidate of names) if (isAt(candidate.bytes, bytes, start, end)) return candidate;
  return undefined;
}

function isAt(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[start + i]) return false;
  return true;
}

function expected(field: DescField, got: number): string {
  if (field.fieldKind === 'list' && got === OBJECT) return 'Array';
  if (field.fieldKind === 'map' && got === LIST) return 'object';
  if (field.enum !== undefined) return field.enum.toString();
  if (field.message !== undefined) return field.message.toString();
  return ScalarType[field.scalar ?? 0]?.toLowerCase() ?? 'a value';
}
