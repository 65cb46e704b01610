import {
  type DescEnum,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonValue,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { base64Decode } from '@bufbuild/protobuf/wire';
import { compileSource, quote, UNUSUAL } from './compile.ts';
import { isOfJson, isPlainObject, isUnwrapped, isWrapper } from './fields.ts';
import { MessageSource } from './message-source.ts';
import { plainOf } from './plain.ts';
import { parseTime, time } from './times.ts';

/** Makes a message of its JSON value, with at most so many messages one in the other. */
type FromJson = (json: unknown, depth: number) => Message;

/** Reads messages of one type. The function is made when it is called first. */
export interface JsonDecoder {
  read: FromJson;
}

const decoders = new WeakMap<DescMessage, JsonDecoder>();

export function jsonDecoderOf(desc: DescMessage): JsonDecoder {
  let decoder = decoders.get(desc);
  if (decoder === undefined) {
    const made: JsonDecoder = {
      read(json, depth) {
        made.read = compile(desc);
        return made.read(json, depth);
      },
    };
    decoder = made;
    decoders.set(desc, decoder);
  }
  return decoder;
}

/** What the reading functions share. */
export const reading = { ignoresUnknown: false, names: 0 };

function compile(desc: DescMessage): FromJson {
  const read = isOfJson(desc) && !isWrapper(desc) ? readKnown(desc) : new JsonReaderSource(desc).compile();
  if (desc.typeName !== 'google.protobuf.Timestamp') return read;
  return (json, depth) => {
    if (typeof json !== 'string' || depth === 0 || !parseTime(json)) return read(json, depth);
    return { $typeName: 'google.protobuf.Timestamp', seconds: BigInt(time.seconds), nanos: time.nanos } as Message;
  };
}

/** A well-known type with JSON of its own. */
function readKnown(desc: DescMessage): FromJson {
  return (json, depth) => {
    countNames(json);
    return fromJson(desc, json as JsonValue, { recursionLimit: depth });
  };
}

/** Counts the names of members, in the objects in it too. */
function countNames(json: unknown): void {
  if (typeof json !== 'object' || json === null) return;
  if (!Array.isArray(json)) reading.names += Object.keys(json).length;
  for (const value of Object.values(json)) countNames(value);
}

const DIGITS_MAX = 18;

/** A number of 64 bits from a text of digits or a number. */
function longOf(json: unknown, isSigned: boolean): bigint {
  if (typeof json !== 'number' && (typeof json !== 'string' || json === '')) throw UNUSUAL;
  const value = BigInt(json);
  if (typeof json === 'string' && json.length <= DIGITS_MAX && (isSigned || value >= 0n)) return value;
  if ((isSigned ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) !== value) throw UNUSUAL;
  return value;
}

const NUMBERS: ReadonlyMap<unknown, number> = new Map([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]);

function doubleOf(json: unknown): number {
  const value = typeof json === 'number' ? json : NUMBERS.get(json);
  if (value === undefined || (typeof json === 'number' && !Number.isFinite(json))) throw UNUSUAL;
  return value;
}

function floatOf(json: unknown): number {
  const value = doubleOf(json);
  if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) throw UNUSUAL;
  return value;
}

function bytesOf(json: unknown): Uint8Array {
  if (typeof json !== 'string') throw UNUSUAL;
  return json === '' ? new Uint8Array(0) : base64Decode(json);
}

function refuse(): never {
  throw UNUSUAL;
}

const KNOWN = {
  UNUSUAL,
  reading,
  countNames,
  longOf,
  doubleOf,
  floatOf,
  bytesOf,
  plainOf,
  refuse,
  isArray: Array.isArray,
  keysOf: Object.keys,
};

/** The source of a function that makes messages of one type of their JSON values. */
class JsonReaderSource {
  readonly #desc: DescMessage;
  readonly #message: MessageSource;
  readonly #lines: string[] = [];

  constructor(desc: DescMessage) {
    this.#desc = desc;
    this.#message = new MessageSource(desc);
    for (const [i, field] of desc.fields.entries()) this.#addField(field, i);
  }

  compile(): FromJson {
    const source = isWrapper(this.#desc) ? this.#wrapperSource() : this.#source();
    return compileSource(source, { ...KNOWN, ...this.#message.values }) as FromJson;
  }

  /** A wrapper is the value that it wraps. */
  #wrapperSource(): string {
    const [value] = this.#desc.fields;
    return `${this.#message.constructorSource()}
return function read(v, depth) {
  if (depth === 0 || v === null) throw UNUSUAL;
  let f0 = ${this.#expression(value!)};
  ${this.#message.messageSource()}
  return m;
}`;
  }

  #source(): string {
    const { fields } = this.#desc;
    const indexes = new Map<string, number>();
    for (const [i, { name, jsonName }] of fields.entries()) indexes.set(name, i).set(jsonName, i);
    return `${this.#message.constructorSource()}
return function read(json, depth) {
  if (depth === 0 || typeof json !== 'object' || json === null || isArray(json)) throw UNUSUAL;
  ${fields.map((_, i) => `let r${i};`).join(' ')}
  for (const key in json) {
    reading.names++;
    const v = json[key];
    switch (${this.#message.value('indexes', indexes)}.get(key)) {
      ${fields.map((_, i) => `case ${i}: if (r${i} !== undefined) throw UNUSUAL; r${i} = v; break;`).join('\n      ')}
      default: if (!reading.ignoresUnknown || key[0] === '[') throw UNUSUAL; countNames(v);
    }
  }
  let v;
  ${this.#message.variables().join('\n  ')}
  ${this.#lines.join('\n  ')}
  ${this.#message.messageSource()}
  return m;
}`;
  }

  #addField(field: DescField, index: number): void {
    const variable = `f${index}`;
    const raw = `v = r${index};`;
    switch (field.fieldKind) {
      case 'list':
        this.#lines.push(
          raw,
          'if (v !== undefined && v !== null) {',
          'if (!isArray(v)) throw UNUSUAL;',
          'const items = v;',
          `for (let i = 0; i < items.length; i++) { v = items[i]; ${variable}.push(${this.#item(field)}); }`,
          '}',
        );
        return;
      case 'map':
        this.#lines.push(
          raw,
          'if (v !== undefined && v !== null) {',
          "if (typeof v !== 'object' || isArray(v)) throw UNUSUAL;",
          'const record = v;',
          'for (const key in record) {',
          'reading.names++;',
          ...checkKey(field.mapKey),
          `v = record[key]; ${variable}[key] = ${this.#item(field)};`,
          '} }',
        );
        return;
      default: {
        // Null stands for nothing, but where it is a value.
        const isThere = this.#takesNull(field) ? 'v !== undefined' : 'v !== undefined && v !== null';
        if (field.oneof === undefined) {
          this.#lines.push(raw, `if (${isThere}) ${variable} = ${this.#expression(field)};`);
          return;
        }
        const group = this.#message.oneofVariable(field);
        this.#lines.push(
          raw,
          `if (${isThere}) { if (${group} !== undefined) throw UNUSUAL; ${group} = { case: ${quote(field.localName)}, value: ${this.#expression(field)} }; }`,
        );
        // Protobuf-ES counts a null as another value of the oneof where it is not of a scalar.
        if (field.fieldKind !== 'scalar') this.#lines.push('else if (v === null) throw UNUSUAL;');
      }
    }
  }

  #takesNull({ message, enum: desc }: DescField): boolean {
    return message?.typeName === 'google.protobuf.Value' || desc?.typeName === 'google.protobuf.NullValue';
  }

  /** An expression for an item or a value of a map, neither of which may be null. */
  #item(field: DescField): string {
    const value = this.#expression(field);
    return this.#takesNull(field) ? value : `v === null ? refuse() : ${value}`;
  }

  /** An expression for the value that `v` is the JSON of. */
  #expression(field: DescField): string {
    if (field.message !== undefined) return this.#messageExpression(field, field.message);
    if (field.enum !== undefined) return this.#enumExpression(field.enum);
    const isText = field.fieldKind !== 'map' && 'longAsString' in field && field.longAsString;
    const long = (isSigned: boolean) => (isText ? `(longOf(v, ${isSigned}), String(v))` : `longOf(v, ${isSigned})`);
    switch (field.scalar) {
      case ScalarType.STRING:
        return "typeof v === 'string' && v.isWellFormed() ? v : refuse()";
      case ScalarType.BOOL:
        return "typeof v === 'boolean' ? v : refuse()";
      case ScalarType.BYTES:
        return 'bytesOf(v)';
      case ScalarType.FLOAT:
        return 'floatOf(v)';
      case ScalarType.DOUBLE:
        return 'doubleOf(v)';
      case ScalarType.INT32:
      case ScalarType.SINT32:
      case ScalarType.SFIXED32:
        return '(v | 0) === v ? v : refuse()';
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return '(v >>> 0) === v ? v : refuse()';
      case ScalarType.INT64:
      case ScalarType.SINT64:
      case ScalarType.SFIXED64:
        return long(true);
      default:
        return long(false);
    }
  }

  #enumExpression(desc: DescEnum): string {
    const names = new Map<unknown, number>(desc.values.map(({ jsonName, number }) => [jsonName, number]));
    for (const { name, number } of desc.values) names.set(name, number);
    if (desc.typeName === 'google.protobuf.NullValue') names.set(null, 0);
    const numbers = new Set(desc.values.map(({ number }) => number));
    const isNumber = desc.open ? '(v | 0) === v' : `${this.#message.value('numbers', numbers)}.has(v)`;
    const named = `${this.#message.value('names', names)}.get(v) ?? refuse()`;
    return `typeof v === 'number' ? (${isNumber} ? v : refuse()) : ${named}`;
  }

  #messageExpression(field: DescField, desc: DescMessage): string {
    const decoder = this.#message.value('type', jsonDecoderOf(desc));
    const read = `${decoder}.read(v, depth - 1)`;
    if (isUnwrapped(field)) return `${read}[${quote(desc.fields[0]!.localName)}]`;
    return isPlainObject(field) ? `plainOf(${read})` : read;
  }
}

/** Lines that refuse a name of a member that is not the key of a map as it is kept. */
function checkKey(type: ScalarType): string[] {
  switch (type) {
    case ScalarType.STRING:
      return ["if (key === '__proto__' || !key.isWellFormed()) throw UNUSUAL;"];
    case ScalarType.BOOL:
      return ["if (key !== 'true' && key !== 'false') throw UNUSUAL;"];
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return ['if (String(key | 0) !== key) throw UNUSUAL;'];
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return ['if (String(key >>> 0) !== key) throw UNUSUAL;'];
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return ['if (!/^(0|[1-9]\\d{0,17})$/.test(key)) throw UNUSUAL;'];
    default:
      return ['if (!/^(0|-?[1-9]\\d{0,17})$/.test(key)) throw UNUSUAL;'];
  }
}
