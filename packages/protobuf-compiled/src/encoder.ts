import { create, type DescField, type DescMessage, type Message, ScalarType } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { compileSource, quote, UNUSUAL } from './compile.ts';
import {
  IMPLICIT,
  isDelimited,
  isPlainObject,
  isSent,
  isUnwrapped,
  REQUIRED,
  type ScalarKind,
  scalarOf,
  tagOf,
  wireTypeOf,
} from './fields.ts';
import * as numbers from './numbers.ts';
import { structOf } from './plain.ts';
import { FULL, RESERVE_BYTES } from './room.ts';
import { sizeOfVarint, writeText } from './text.ts';

/** Writes a message at a position, and returns where it ends. */
type Write = (message: Message, bytes: Uint8Array, pos: number) => number;

/** Writes messages of one type. The function is made when it is called first. */
export interface Encoder {
  write: Write;
}

const encoders = new WeakMap<DescMessage, Encoder>();

export function encoderOf(desc: DescMessage): Encoder {
  let encoder = encoders.get(desc);
  if (encoder === undefined) {
    const made: Encoder = {
      write(...args) {
        made.write = new WriterSource(desc).compile();
        return made.write(...args);
      },
    };
    encoder = made;
    encoders.set(desc, encoder);
  }
  return encoder;
}

/** What the writing functions share. */
export const writing = { keepsUnknown: true };

/** What is written without looking for room takes at most so many bytes. It is looked for after each text, message and item. */
const UNCHECKED_BYTES_MAX = RESERVE_BYTES / 2;

/** Of a number, or of the length of a text. */
const VALUE_BYTES_MAX = 10;
const LENGTH_BYTES_MAX = 5;

const CHECK_ROOM = 'if (pos > limit) throw FULL;';

/** A length is written before what it is of, in as many bytes as the last one took: what follows is moved if it takes others. */
const length = { bytes: 1 };

function moveBehindLength(b: Uint8Array, start: number, reserved: number, size: number, end: number): number {
  length.bytes = sizeOfVarint(size);
  const from = start + reserved;
  const to = start + length.bytes;
  if (to + size > b.length - RESERVE_BYTES) throw FULL;
  if (to !== from) b.copyWithin(to, from, end);
  numbers.writeVarint(b, start, size);
  return to + size;
}

function writeBytes(value: unknown, b: Uint8Array, pos: number): number {
  if (!(value instanceof Uint8Array)) throw UNUSUAL;
  const { length: size } = value;
  if (pos + size > b.length - RESERVE_BYTES) throw FULL;
  const start = numbers.writeVarint(b, pos, size);
  b.set(value, start);
  return start + size;
}

function writeUnknown(message: Message, b: Uint8Array, pos: number): number {
  let p = pos;
  for (const { no, wireType, data } of message.$unknown!) {
    if (!(data instanceof Uint8Array)) throw UNUSUAL;
    if (p + data.length > b.length - RESERVE_BYTES) throw FULL;
    p = numbers.writeVarint(b, p, tagOf(no, wireType));
    b.set(data, p);
    p += data.length;
  }
  if (p > b.length - RESERVE_BYTES) throw FULL;
  return p;
}

/** Of a field that has its 64 bits as a text. */
function bigintOf(text: unknown): bigint {
  if (typeof text !== 'string') throw UNUSUAL;
  return BigInt(text);
}

const KNOWN = {
  UNUSUAL,
  FULL,
  ...numbers,
  text: writeText,
  writeBytes,
  writeUnknown,
  writing,
  length,
  moveBehindLength,
  structOf,
  bigintOf,
  prototypeOf: Object.getPrototypeOf,
  hasOwn: Object.hasOwn,
  keysOf: Object.keys,
};

/** The source of a function that writes messages of one type, fields by number as Protobuf-ES does. */
class WriterSource {
  readonly #desc: DescMessage;
  readonly #lines: string[] = [];
  /** How many bytes a length took the last time, by the field that it is of. */
  readonly #guesses: string[] = [];
  readonly #values: Record<string, unknown> = {};
  readonly #prototype: object;
  /** What may have been written since room was looked for. */
  #unchecked = 0;

  constructor(desc: DescMessage) {
    this.#desc = desc;
    this.#prototype = Object.getPrototypeOf(create(desc)) as object;
    const fields = desc.fields.toSorted((a, b) => a.number - b.number);
    for (const field of fields) this.#addField(field);
  }

  compile(): Write {
    const source = this.#source();
    return compileSource(source, { ...KNOWN, ...this.#values }) as Write;
  }

  #source(): string {
    // Protobuf-ES takes any message for one without fields.
    const isForeign = this.#desc.fields.length === 0 ? 'false' : `m.$typeName !== ${quote(this.#desc.typeName)}`;
    return `${this.#guesses.map((name) => `let ${name} = 1;`).join(' ')}
return function write(m, b, pos) {
  const limit = b.length - ${RESERVE_BYTES};
  if (pos > limit) throw FULL;
  if (${isForeign} || prototypeOf(m) !== ${this.#value('prototype', this.#prototype)}) throw UNUSUAL;
  let v, size = 0, start = 0, startReserved = 0, start2 = 0, start2Reserved = 0;
  ${this.#lines.join('\n  ')}
  if (m.$unknown !== undefined && writing.keepsUnknown) return writeUnknown(m, b, pos);
  return pos;
}`;
  }

  #value(name: string, value: unknown): string {
    const unique = `${name}${Object.keys(this.#values).length}`;
    this.#values[unique] = value;
    return unique;
  }

  #guess(): string {
    const name = `guess${this.#guesses.length}`;
    this.#guesses.push(name);
    return name;
  }

  #addField(field: DescField): void {
    const before = this.#unchecked;
    const lines = this.#fieldLines(field, `m[${quote(field.localName)}]`);
    if (this.#unchecked > UNCHECKED_BYTES_MAX) {
      this.#unchecked -= before;
      this.#lines.push(CHECK_ROOM);
    }
    this.#lines.push(...lines);
  }

  #fieldLines(field: DescField, property: string): string[] {
    switch (field.fieldKind) {
      case 'list':
        return this.#list(field, property);
      case 'map':
        return this.#map(field, property);
      default:
        return this.#singular(field, property);
    }
  }

  #singular(field: DescField, property: string): string[] {
    const { oneof, presence, localName } = field;
    const write = this.#singularValue(field);
    if (oneof !== undefined) {
      const group = `m[${quote(oneof.localName)}]`;
      return [`if (${group}.case === ${quote(localName)}) { v = ${group}.value;`, ...write, '}'];
    }
    if (presence !== IMPLICIT) {
      // With a prototype of Protobuf-ES, what is absent has a value all the same.
      const isOwn = this.#prototype === Object.prototype ? '' : ` && hasOwn(m, ${quote(localName)})`;
      const missing = presence === REQUIRED ? ['else throw UNUSUAL;'] : [];
      return [`v = ${property};`, `if (v !== undefined${isOwn}) {`, ...write, '}', ...missing];
    }
    return [`v = ${property};`, `if (${isSent(field)}) {`, ...write, '}'];
  }

  /** Lines that write `v` behind its tag. */
  #singularValue(field: DescField): string[] {
    const scalar = scalarOf(field);
    if (scalar === undefined) return this.#messageValue(field, 'start');
    return [...this.#tag(field.number, wireTypeOf(scalar.type)), ...this.#scalar(scalar, 'v')];
  }

  #messageValue(field: DescField, start: string): string[] {
    const desc = field.message!;
    if (isDelimited(field)) {
      return [
        ...this.#tag(field.number, WireType.StartGroup),
        `pos = ${this.#value('type', encoderOf(desc))}.write(v, b, pos);`,
        CHECK_ROOM,
        ...this.#tag(field.number, WireType.EndGroup),
      ];
    }
    const number = field.fieldKind === 'map' ? 2 : field.number;
    if (isUnwrapped(field)) {
      const [value] = desc.fields;
      const inner = this.#singularValue(value!);
      return this.#lengthDelimited(number, start, [`if (${isSent(value!)}) {`, ...inner, '}']);
    }
    const encoder = this.#value('type', encoderOf(desc));
    const message = isPlainObject(field) ? 'structOf(v)' : 'v';
    return this.#lengthDelimited(number, start, [`pos = ${encoder}.write(${message}, b, pos);`]);
  }

  /** Lines that write what other lines write, behind a tag and a length. */
  #lengthDelimited(number: number, start: string, lines: readonly string[]): string[] {
    const guess = this.#guess();
    const reserved = `${start}Reserved`;
    this.#unchecked += LENGTH_BYTES_MAX;
    return [
      ...this.#tag(number, WireType.LengthDelimited),
      `${start} = pos;`,
      `${reserved} = ${guess};`, // which a message of the same type in this one may change
      `pos += ${reserved};`,
      ...lines,
      `size = pos - ${start} - ${reserved};`,
      `if (${reserved} === 1 && size < 128) b[${start}] = size;`,
      `else if (${reserved} === 2 && size > 127 && size < 16384) { b[${start}] = (size & 127) | 128; b[${start} + 1] = size >>> 7; }`,
      `else { pos = moveBehindLength(b, ${start}, ${reserved}, size, pos); ${guess} = length.bytes; }`,
      CHECK_ROOM,
    ];
  }

  #list(field: DescField & { readonly fieldKind: 'list' }, property: string): string[] {
    const scalar = scalarOf(field);
    const items = (lines: () => string[]): string[] => {
      return ['for (let i = 0; i < items.length; i++) {', CHECK_ROOM, 'v = items[i];', ...lines(), '}', CHECK_ROOM];
    };
    const each =
      scalar !== undefined && field.packed
        ? this.#lengthDelimited(
            field.number,
            'start',
            items(() => this.#scalar(scalar, 'v')),
          )
        : items(() => this.#singularValue(field));
    return [`{ const items = ${property};`, 'if (items.length !== 0) {', ...each, '} }'];
  }

  #map(field: DescField & { readonly fieldKind: 'map' }, property: string): string[] {
    const scalar = scalarOf(field);
    const key: ScalarKind = { type: field.mapKey, isStrict: true, isLongText: false };
    const entry = this.#lengthDelimited(field.number, 'start', [
      ...keyOfProperty(key.type),
      ...this.#tag(1, wireTypeOf(key.type)),
      ...this.#scalar(key, 'k'),
      'v = record[keys[i]];',
      ...(scalar === undefined
        ? this.#messageValue(field, 'start2')
        : [...this.#tag(2, wireTypeOf(scalar.type)), ...this.#scalar(scalar, 'v')]),
    ]);
    return [
      `{ const record = ${property}, keys = keysOf(record);`,
      'for (let i = 0; i < keys.length; i++) {',
      CHECK_ROOM,
      'let k = keys[i];',
      ...entry,
      '} }',
    ];
  }

  #tag(number: number, wireType: WireType): string[] {
    const bytes: number[] = [];
    for (let rest = tagOf(number, wireType); ; rest >>>= 7) {
      bytes.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
      if (rest <= 0x7f) break;
    }
    this.#unchecked += bytes.length;
    return [bytes.map((byte) => `b[pos++] = ${byte};`).join(' ')];
  }

  #scalar(scalar: ScalarKind, value: string): string[] {
    const { type } = scalar;
    this.#unchecked += VALUE_BYTES_MAX;
    const int32 = `if ((${value} | 0) !== ${value}) throw UNUSUAL;`;
    const uint32 = `if ((${value} >>> 0) !== ${value}) throw UNUSUAL;`;
    const varint = (of: string) =>
      `if (${of} >= 0 && ${of} < 128) b[pos++] = ${of}; else pos = writeInt32(b, pos, ${of});`;
    const long = scalar.isLongText ? `bigintOf(${value})` : value;
    switch (type) {
      case ScalarType.STRING:
        return [`pos = text(${value}, b, pos);`];
      case ScalarType.BYTES:
        return [`pos = writeBytes(${value}, b, pos);`];
      case ScalarType.BOOL:
        return [`if (${value} !== true && ${value} !== false) throw UNUSUAL;`, `b[pos++] = ${value} ? 1 : 0;`];
      case ScalarType.INT32:
        return [int32, varint(value)];
      case ScalarType.UINT32:
        return [uint32, varint(value)];
      case ScalarType.SINT32:
        return [int32, `pos = writeVarint(b, pos, ((${value} << 1) ^ (${value} >> 31)) >>> 0);`];
      case ScalarType.FIXED32:
        return [uint32, `pos = writeFixed32(b, pos, ${value});`];
      case ScalarType.SFIXED32:
        return [int32, `pos = writeFixed32(b, pos, ${value});`];
      case ScalarType.FLOAT:
        return [`pos = writeFloat(b, pos, ${value});`];
      case ScalarType.DOUBLE:
        return [`pos = writeDouble(b, pos, ${value});`];
      case ScalarType.INT64:
        return [`pos = writeInt64(b, pos, ${long});`];
      case ScalarType.UINT64:
        return [`pos = writeUint64(b, pos, ${long});`];
      case ScalarType.SINT64:
        return [`pos = writeSint64(b, pos, ${long});`];
      case ScalarType.FIXED64:
        return [`pos = writeFixed64(b, pos, ${long});`];
      default:
        return [`pos = writeSfixed64(b, pos, ${long});`];
    }
  }
}

/** Lines that make the key of a map of `k`, the property that stands for it. */
function keyOfProperty(type: ScalarType): string[] {
  switch (type) {
    case ScalarType.STRING:
      return [];
    case ScalarType.BOOL:
      return ['if (k !== "true" && k !== "false") throw UNUSUAL;', 'k = k === "true";'];
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return ['k = BigInt(k);'];
    default:
      return ['{ const n = Number(k); if (String(n) !== k) throw UNUSUAL; k = n; }'];
  }
}
