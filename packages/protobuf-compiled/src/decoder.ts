import { type DescField, type DescMessage, type Message, ScalarType } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { compileSource, quote, UNUSUAL } from './compile.ts';
import { isDelimited, isPlainObject, isUnwrapped, type ScalarKind, scalarOf, tagOf, wireTypeOf } from './fields.ts';
import { MessageSource } from './message-source.ts';
import * as numbers from './numbers.ts';
import { plainOf } from './plain.ts';
import { readText } from './text.ts';

/** Reads a message that ends at `end`, with at most so many messages one in the other. */
type Read = (bytes: Uint8Array, pos: number, end: number, depth: number) => Message;

/** Reads messages of one type. The function is made when it is called first. */
export interface Decoder {
  read: Read;
}

const decoders = new WeakMap<DescMessage, Decoder>();

export function decoderOf(desc: DescMessage): Decoder {
  let decoder = decoders.get(desc);
  if (decoder === undefined) {
    const made: Decoder = {
      read(...args) {
        made.read = new ReaderSource(desc).compile();
        return made.read(...args);
      },
    };
    decoder = made;
    decoders.set(desc, decoder);
  }
  return decoder;
}

/** What the reading functions share. */
export const reading = { keepsUnknown: true };

/** Skips a field that is not known, but no group. */
function skip(b: Uint8Array, pos: number, end: number, tag: number): number {
  let p = pos;
  switch ((tag & 7) as WireType) {
    case WireType.Varint:
      // Protobuf-ES looks at no more than whether it ends.
      while (p < end && b[p]! > 0x7f) p++;
      p++;
      break;
    case WireType.Bit64:
      p += 8;
      break;
    case WireType.Bit32:
      p += 4;
      break;
    case WireType.LengthDelimited: {
      let length = b[p++]!;
      if (length > 0x7f) {
        length = numbers.readVarint(b, pos, end);
        p = numbers.cursor.pos;
      }
      p += length;
      break;
    }
    default:
      throw UNUSUAL;
  }
  if (p > end || tag < 8) throw UNUSUAL;
  return p;
}

/** What the sources name. */
const KNOWN = { UNUSUAL, ...numbers, text: readText, skip, reading, plainOf };

/** The source of a function that reads messages of one type. */
class ReaderSource {
  readonly #desc: DescMessage;
  readonly #cases: string[] = [];
  readonly #message: MessageSource;

  constructor(desc: DescMessage) {
    this.#desc = desc;
    this.#message = new MessageSource(desc);
    for (const [i, field] of desc.fields.entries()) if (!isDelimited(field)) this.#addCase(field, i);
  }

  compile(): Read {
    const source = this.#source();
    return compileSource(source, { ...KNOWN, ...this.#message.values }) as Read;
  }

  #source(): string {
    const known = this.#message.value('known', new Set(this.#desc.fields.map(({ number }) => number)));
    return `${this.#message.constructorSource()}
return function read(b, pos, end, depth) {
  if (depth === 0) throw UNUSUAL;
  const last = end - 1;
  let t = 0, v = 0, n = 0, e = 0;
  let unknown;
  ${this.#message.variables().join('\n  ')}
  while (pos < last) {
    t = b[pos++];
    if (t > 127) { t = readTag(b, pos - 1, end); pos = cursor.pos; }
    switch (t) {
${this.#cases.join('\n')}
      default: {
        if (${known}.has(t >>> 3)) throw UNUSUAL;
        const start = pos;
        pos = skip(b, pos, end, t);
        if (reading.keepsUnknown) (unknown ??= []).push({ no: t >>> 3, wireType: t & 7, data: b.subarray(start, pos) });
      }
    }
  }
  if (pos !== end) throw UNUSUAL;
  ${this.#message.messageSource()}
  if (unknown !== undefined) m.$unknown = unknown;
  return m;
}`;
  }

  #addCase(field: DescField, index: number): void {
    const variable = `f${index}`;
    const { number } = field;
    const scalar = scalarOf(field);
    switch (field.fieldKind) {
      case 'scalar':
      case 'enum': {
        const check =
          field.enum?.open === false
            ? `if (!${this.#message.value('values', new Set(field.enum.values.map((value) => value.number)))}.has(v | 0)) throw UNUSUAL;`
            : '';
        const target = field.oneof === undefined ? variable : 'value';
        this.#case(number, wireTypeOf(scalar!.type), [
          ...(field.oneof === undefined ? [] : ['let value;']),
          ...readScalar(scalar!, target, 'end'),
          check,
          ...this.#setOneof(field, 'value'),
        ]);
        break;
      }
      case 'message':
        this.#addMessage(field, variable);
        break;
      case 'list':
        this.#addList(field, variable, scalar);
        break;
      case 'map':
        this.#addMap(field, variable, scalar);
        break;
    }
  }

  #case(number: number, wireType: WireType, lines: readonly string[]): void {
    this.#cases.push(`case ${tagOf(number, wireType)}: {\n${lines.join('\n')}\nbreak;\n}`);
  }

  #setOneof(field: DescField, value: string): string[] {
    if (field.oneof === undefined) return [];
    return [`${this.#message.oneofVariable(field)} = { case: ${quote(field.localName)}, value: ${value} };`];
  }

  #addMessage(field: DescField & { readonly fieldKind: 'message' }, variable: string): void {
    // What comes again is merged with what was there.
    const again =
      field.oneof === undefined
        ? `${variable} !== undefined`
        : `${this.#message.oneofVariable(field)} !== undefined && ${this.#message.oneofVariable(field)}.case === ${quote(field.localName)}`;
    const read = this.#readMessage(field);
    const value = isUnwrapped(field) ? `${read}[${quote(field.message.fields[0]!.localName)}]` : read;
    this.#case(field.number, WireType.LengthDelimited, [
      `if (${again}) throw UNUSUAL;`,
      ...readLength('end'),
      ...(field.oneof === undefined ? [`${variable} = ${value};`] : this.#setOneof(field, value)),
      'pos += n;',
    ]);
  }

  /** An expression that reads what takes the next `n` bytes. */
  #readMessage(field: DescField): string {
    const decoder = this.#message.value('type', decoderOf(field.message!));
    const read = `${decoder}.read(b, pos, pos + n, depth - 1)`;
    return isPlainObject(field) ? `plainOf(${read})` : read;
  }

  #addList(field: DescField & { readonly fieldKind: 'list' }, variable: string, scalar: ScalarKind | undefined): void {
    const { number } = field;
    if (scalar === undefined) {
      this.#case(number, WireType.LengthDelimited, [
        ...readLength('end'),
        `${variable}.push(${this.#readMessage(field)});`,
        'pos += n;',
      ]);
      return;
    }
    const wireType = wireTypeOf(scalar.type);
    const read = (end: string): string[] => [
      'let item;',
      ...readScalar(scalar, 'item', end),
      `${variable}.push(item);`,
    ];
    this.#case(number, wireType, read('end'));
    if (wireType === WireType.LengthDelimited) return;
    this.#case(number, WireType.LengthDelimited, [
      ...readLength('end'),
      'e = pos + n;',
      'while (pos < e) {',
      ...read('e'),
      '}',
      'if (pos !== e) throw UNUSUAL;',
    ]);
  }

  #addMap(field: DescField & { readonly fieldKind: 'map' }, variable: string, scalar: ScalarKind | undefined): void {
    const key: ScalarKind = { type: field.mapKey, isStrict: field.utf8Validation, isLongText: false };
    const valueTag = tagOf(2, scalar === undefined ? WireType.LengthDelimited : wireTypeOf(scalar.type));
    const readValue =
      scalar === undefined
        ? [
            'if (value !== undefined) throw UNUSUAL;',
            ...readLength('e'),
            `value = ${this.#readMessage(field)};`,
            'pos += n;',
          ]
        : readScalar(scalar, 'value', 'e');
    this.#case(field.number, WireType.LengthDelimited, [
      ...readLength('end'),
      'e = pos + n;',
      'let key, value;',
      'while (pos < e - 1) {',
      't = b[pos++];',
      `if (t === ${tagOf(1, wireTypeOf(key.type))}) {`,
      ...readScalar(key, 'key', 'e'),
      `} else if (t === ${valueTag}) {`,
      ...readValue,
      '} else throw UNUSUAL;',
      '}',
      // An entry without a key or a value has the values that are zero: seldom sent, and so left to Protobuf-ES.
      `if (pos !== e || key === undefined || value === undefined || key === '__proto__') throw UNUSUAL;`,
      `${variable}[key] = value;`,
    ]);
  }
}

/** Lines that read a length into `n`. */
function readLength(end: string): string[] {
  return [
    'n = b[pos++];',
    `if (n > 127) { n = readVarint(b, pos - 1, ${end}); pos = cursor.pos; }`,
    `if (n > ${end} - pos) throw UNUSUAL;`,
  ];
}

/** Lines that read a varint of 32 bits into `v`. */
function readInto(end: string): string[] {
  return ['v = b[pos++];', `if (v > 127) { v = readVarint(b, pos - 1, ${end}); pos = cursor.pos; }`];
}

function readScalar({ type, isStrict, isLongText }: ScalarKind, target: string, end: string): string[] {
  const varint = (value: string) => [...readInto(end), `${target} = ${value};`];
  const long = (value: string) => (isLongText ? `String(${value})` : value);
  const varint64 = (read: string) => [`${target} = ${long(`${read}(b, pos, ${end})`)};`, 'pos = cursor.pos;'];
  const fixed = (bytes: number, value: string) => [
    `if (${bytes} > ${end} - pos) throw UNUSUAL;`,
    `${target} = ${value};`,
    `pos += ${bytes};`,
  ];
  switch (type) {
    case ScalarType.STRING:
      return [...readLength(end), `${target} = text(b, pos, pos + n, ${isStrict});`, 'pos += n;'];
    case ScalarType.BYTES:
      return [...readLength(end), `${target} = b.subarray(pos, pos + n);`, 'pos += n;'];
    case ScalarType.BOOL:
      return ['v = b[pos++];', 'if (v > 127) throw UNUSUAL;', `${target} = v !== 0;`];
    case ScalarType.INT32:
      return varint('v | 0');
    case ScalarType.UINT32:
      return varint('v');
    case ScalarType.SINT32:
      return varint('(v >>> 1) ^ -(v & 1)');
    case ScalarType.INT64:
      return varint64('readInt64');
    case ScalarType.UINT64:
      return varint64('readUint64');
    case ScalarType.SINT64:
      return varint64('readSint64');
    case ScalarType.FIXED32:
      return fixed(4, 'readFixed32(b, pos) >>> 0');
    case ScalarType.SFIXED32:
      return fixed(4, 'readFixed32(b, pos)');
    case ScalarType.FIXED64:
      return fixed(8, long('readFixed64(b, pos)'));
    case ScalarType.SFIXED64:
      return fixed(8, long('readSfixed64(b, pos)'));
    case ScalarType.FLOAT:
      return fixed(4, 'readFloat(b, pos)');
    default:
      return fixed(8, 'readDouble(b, pos)');
  }
}
