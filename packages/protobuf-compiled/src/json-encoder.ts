import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
  toJson,
} from '@bufbuild/protobuf';
import { base64Encode } from '@bufbuild/protobuf/wire';
import { compileSource, quote, UNUSUAL } from './compile.ts';
import { IMPLICIT, isOfJson, isPlainObject, isSent, isUnwrapped, isWrapper, REQUIRED } from './fields.ts';
import { structOf } from './plain.ts';
import { formatTime } from './times.ts';

/** Makes the JSON value of a message. */
type ToJson = (message: Message) => unknown;

/** Writes messages of one type. The function is made when it is called first. */
export interface JsonEncoder {
  write: ToJson;
}

const encoders = new WeakMap<DescMessage, JsonEncoder>();

export function jsonEncoderOf(desc: DescMessage): JsonEncoder {
  let encoder = encoders.get(desc);
  if (encoder === undefined) {
    const made: JsonEncoder = {
      write(message) {
        made.write = compile(desc);
        return made.write(message);
      },
    };
    encoder = made;
    encoders.set(desc, encoder);
  }
  return encoder;
}

function compile(desc: DescMessage): ToJson {
  if (desc.typeName === 'google.protobuf.Timestamp') return writeTime as (message: Message) => unknown;
  if (isOfJson(desc) && !isWrapper(desc)) return (message) => toJson(desc, message);
  return new JsonWriterSource(desc).compile();
}

function writeTime({
  $typeName,
  seconds,
  nanos,
}: Message & { readonly seconds: unknown; readonly nanos: number }): string {
  if ($typeName !== 'google.protobuf.Timestamp' || typeof seconds !== 'bigint') throw UNUSUAL;
  const text = formatTime(Number(seconds), nanos);
  if (text === undefined) throw UNUSUAL;
  return text;
}

/** JSON has no numbers for these. */
function numberOf(value: unknown): unknown {
  if (typeof value !== 'number') throw UNUSUAL;
  return Number.isFinite(value) ? value : String(value);
}

function bytesOf(value: unknown): string {
  if (!(value instanceof Uint8Array)) throw UNUSUAL;
  return base64Encode(value);
}

const KNOWN = {
  UNUSUAL,
  refuse,
  numberOf,
  bytesOf,
  structOf,
  prototypeOf: Object.getPrototypeOf,
  hasOwn: Object.hasOwn,
  keysOf: Object.keys,
};

/** The source of a function that makes the JSON value of messages of one type, fields by number as Protobuf-ES does. */
class JsonWriterSource {
  readonly #desc: DescMessage;
  readonly #lines: string[] = [];
  /** All members that the object has, so that it has the same hidden class always: JSON.stringify leaves out what is undefined. */
  readonly #members: { readonly name: string; readonly variable: string }[] = [];
  readonly #values: Record<string, unknown> = {};
  readonly #prototype: object;

  constructor(desc: DescMessage) {
    this.#desc = desc;
    this.#prototype = Object.getPrototypeOf(create(desc)) as object;
    const fields = desc.fields.toSorted((a, b) => a.number - b.number);
    for (const field of fields) this.#addField(field);
  }

  compile(): ToJson {
    const source = isWrapper(this.#desc) ? this.#wrapperSource() : this.#source();
    return compileSource(source, { ...KNOWN, ...this.#values }) as ToJson;
  }

  #source(): string {
    return `return function write(m) {
  ${this.#checks()}
  let v${this.#members.map(({ variable }) => `, ${variable}`).join('')};
  ${this.#lines.join('\n  ')}
  return { ${this.#members.map(({ name, variable }) => `${quote(name)}: ${variable}`).join(', ')} };
}`;
  }

  /** A wrapper is the value that it wraps. */
  #wrapperSource(): string {
    const [value] = this.#desc.fields;
    return `return function write(m) {
  ${this.#checks()}
  const v = m[${quote(value!.localName)}];
  return ${this.#expression(value!)};
}`;
  }

  #checks(): string {
    // Protobuf-ES takes any message for one without fields.
    const isForeign = this.#desc.fields.length === 0 ? 'false' : `m.$typeName !== ${quote(this.#desc.typeName)}`;
    const names = new Set(this.#desc.fields.map(({ jsonName }) => jsonName));
    const isNamedBadly = names.has('__proto__') || names.size < this.#desc.fields.length;
    // Of a registry, extensions that are kept as unknown fields are written too.
    return `if (${isForeign} || m.$unknown !== undefined || prototypeOf(m) !== ${this.#value('prototype', this.#prototype)}${isNamedBadly ? ' || true' : ''}) throw UNUSUAL;`;
  }

  #value(name: string, value: unknown): string {
    const unique = `${name}${Object.keys(this.#values).length}`;
    this.#values[unique] = value;
    return unique;
  }

  #addField(field: DescField): void {
    const property = `m[${quote(field.localName)}]`;
    const target = `j${this.#members.length}`;
    this.#members.push({ name: field.jsonName, variable: target });
    switch (field.fieldKind) {
      case 'list':
        this.#lines.push(
          `{ const items = ${property};`,
          'if (items.length !== 0) {',
          `const made = ${target} = [];`,
          `for (let i = 0; i < items.length; i++) { v = items[i]; made.push(${this.#expression(field)}); }`,
          '} }',
        );
        return;
      case 'map':
        this.#lines.push(
          `{ const record = ${property}, keys = keysOf(record);`,
          'if (keys.length !== 0) {',
          `const made = ${target} = {};`,
          'for (let i = 0; i < keys.length; i++) {',
          'const key = keys[i];',
          "if (key === '__proto__') throw UNUSUAL;",
          `v = record[key]; made[key] = ${this.#expression(field)};`,
          '} } }',
        );
        return;
      default:
        this.#lines.push(...this.#singular(field, property, `${target} = ${this.#expression(field)};`));
    }
  }

  #singular(field: DescField, property: string, write: string): string[] {
    const { oneof, presence, localName } = field;
    if (oneof !== undefined) {
      const group = `m[${quote(oneof.localName)}]`;
      return [`if (${group}.case === ${quote(localName)}) { v = ${group}.value; ${write} }`];
    }
    if (presence !== IMPLICIT) {
      // With a prototype of Protobuf-ES, what is absent has a value all the same.
      const isOwn = this.#prototype === Object.prototype ? '' : ` && hasOwn(m, ${quote(localName)})`;
      const missing = presence === REQUIRED ? ' else throw UNUSUAL;' : '';
      return [`v = ${property};`, `if (v !== undefined${isOwn}) { ${write} }${missing}`];
    }
    return [`v = ${property};`, `if (${isSent(field)}) { ${write} }`];
  }

  /** An expression for the JSON of `v`. */
  #expression(field: DescField): string {
    if (field.message !== undefined) return this.#messageExpression(field, field.message);
    if (field.enum !== undefined) return this.#enumExpression(field.enum);
    const checked = (type: string) => `typeof v === "${type}" ? v : refuse(v)`;
    switch (field.scalar) {
      case ScalarType.STRING:
        return checked('string');
      case ScalarType.BOOL:
        return checked('boolean');
      case ScalarType.BYTES:
        return 'bytesOf(v)';
      case ScalarType.FLOAT:
      case ScalarType.DOUBLE:
        return 'numberOf(v)';
      case ScalarType.INT64:
      case ScalarType.UINT64:
      case ScalarType.SINT64:
      case ScalarType.FIXED64:
      case ScalarType.SFIXED64:
        return 'typeof v === "bigint" || typeof v === "string" ? String(v) : refuse(v)';
      default:
        return checked('number');
    }
  }

  #enumExpression(desc: DescEnum): string {
    if (desc.typeName === 'google.protobuf.NullValue') return 'typeof v === "number" ? null : refuse(v)';
    const names = new Map(desc.values.map(({ number }) => [number, desc.value[number]?.jsonName]));
    return `typeof v === "number" ? ${this.#value('names', names)}.get(v) ?? v : refuse(v)`;
  }

  #messageExpression(field: DescField, desc: DescMessage): string {
    if (isUnwrapped(field)) return this.#expression(desc.fields[0]!);
    const encoder = this.#value('type', jsonEncoderOf(desc));
    return `${encoder}.write(${isPlainObject(field) ? 'structOf(v)' : 'v'})`;
  }
}

function refuse(): never {
  throw UNUSUAL;
}
