import {
  create,
  createFileRegistry,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  type Message,
  type MessageInitShape,
  ScalarType,
} from '@bufbuild/protobuf';
import {
  AnySchema,
  type DescriptorProtoSchema,
  DurationSchema,
  Edition,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  FeatureSet_Utf8Validation,
  FieldDescriptorProto_Label as Label,
  type FieldDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
  FieldMaskSchema,
  FieldOptions_JSType,
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  TimestampSchema,
} from '@bufbuild/protobuf/wkt';

type FieldInit = MessageInitShape<typeof FieldDescriptorProtoSchema>;
type MessageInit = MessageInitShape<typeof DescriptorProtoSchema>;

const SCALARS = [
  Type.DOUBLE,
  Type.FLOAT,
  Type.INT64,
  Type.UINT64,
  Type.INT32,
  Type.FIXED64,
  Type.FIXED32,
  Type.BOOL,
  Type.STRING,
  Type.BYTES,
  Type.UINT32,
  Type.SFIXED32,
  Type.SFIXED64,
  Type.SINT32,
  Type.SINT64,
] as const;
const KEYS = SCALARS.filter((type) => type !== Type.DOUBLE && type !== Type.FLOAT && type !== Type.BYTES);
const LONG: ReadonlySet<Type> = new Set([Type.INT64, Type.UINT64, Type.FIXED64, Type.SFIXED64, Type.SINT64]);
const UNPACKABLE: ReadonlySet<Type> = new Set([Type.STRING, Type.BYTES]);

const WELL_KNOWN = {
  any: '.google.protobuf.Any',
  timestamp: '.google.protobuf.Timestamp',
  duration: '.google.protobuf.Duration',
  field_mask: '.google.protobuf.FieldMask',
  struct: '.google.protobuf.Struct',
  value: '.google.protobuf.Value',
  list_value: '.google.protobuf.ListValue',
  int64_value: '.google.protobuf.Int64Value',
  uint64_value: '.google.protobuf.UInt64Value',
  int32_value: '.google.protobuf.Int32Value',
  uint32_value: '.google.protobuf.UInt32Value',
  float_value: '.google.protobuf.FloatValue',
  double_value: '.google.protobuf.DoubleValue',
  bool_value: '.google.protobuf.BoolValue',
  string_value: '.google.protobuf.StringValue',
  bytes_value: '.google.protobuf.BytesValue',
};

/** As protoc gives it to every field. */
function jsonNameOf(name: string): string {
  return name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Adds fields to a message one after the other, some with numbers whose tags take two or three bytes. */
class Fields {
  readonly field: FieldInit[] = [];
  readonly nestedType: MessageInit[] = [];
  readonly oneofDecl: { name: string }[] = [];
  readonly #typeName: string;
  #number = 0;

  constructor(typeName: string) {
    this.#typeName = typeName;
  }

  add(name: string, init: FieldInit): void {
    this.#number += this.#number === 20 ? 180 : this.#number === 230 ? 3000 : 1;
    this.field.push({ name, jsonName: jsonNameOf(name), number: this.#number, label: Label.OPTIONAL, ...init });
  }

  addMap(name: string, key: Type, value: FieldInit): void {
    const entry = `${name.replaceAll(/(^|_)([a-z\d])/g, (_, __, letter: string) => letter.toUpperCase())}Entry`;
    this.nestedType.push({
      name: entry,
      options: { mapEntry: true },
      field: [
        { name: 'key', jsonName: 'key', number: 1, label: Label.OPTIONAL, type: key },
        { name: 'value', jsonName: 'value', number: 2, label: Label.OPTIONAL, ...value },
      ],
    });
    this.add(name, { label: Label.REPEATED, type: Type.MESSAGE, typeName: `${this.#typeName}.${entry}` });
  }

  addOneof(name: string): number {
    this.oneofDecl.push({ name });
    return this.oneofDecl.length - 1;
  }
}

type Syntax = 'proto2' | 'proto3' | 'editions';

/** Fields of each scalar type alone, in a list, packed and not, in a oneof and in maps, and those of enums and messages. */
function messageOf(syntax: Syntax, packageName: string, presence: FeatureSet_FieldPresence | undefined): MessageInit {
  const name = presence === FeatureSet_FieldPresence.IMPLICIT ? 'Implicit' : 'Kinds';
  const self = `.${packageName}.${name}`;
  const fields = new Fields(self);
  const enumType = { type: Type.ENUM, typeName: `.${packageName}.Choice` };
  const repeated = { label: Label.REPEATED };
  const features =
    presence === undefined || syntax !== 'editions' ? {} : { options: { features: { fieldPresence: presence } } };
  const unpacked = (type: Type): FieldInit => {
    if (UNPACKABLE.has(type)) return repeated;
    if (syntax !== 'editions') return { ...repeated, options: { packed: syntax === 'proto2' } };
    return {
      ...repeated,
      options: { features: { repeatedFieldEncoding: FeatureSet_RepeatedFieldEncoding.EXPANDED } },
    };
  };
  const choice = fields.addOneof('choice');
  for (const type of SCALARS) {
    const typeName = Type[type].toLowerCase();
    fields.add(`one_${typeName}`, { type, ...features });
    fields.add(`many_${typeName}`, { type, ...repeated });
    fields.add(`other_${typeName}`, { type, ...unpacked(type) });
    fields.add(`chosen_${typeName}`, { type, oneofIndex: choice });
    fields.addMap(`to_${typeName}`, KEYS[SCALARS.indexOf(type) % KEYS.length]!, { type });
    if (LONG.has(type)) {
      const options = { jstype: FieldOptions_JSType.JS_STRING };
      fields.add(`text_${typeName}`, { type, options: { ...options, ...features.options } });
      fields.add(`texts_${typeName}`, { type, ...repeated, options });
    }
  }
  for (const key of KEYS) fields.addMap(`of_${Type[key].toLowerCase()}`, key, { type: Type.STRING });
  fields.add('one_enum', { ...enumType, ...features });
  fields.add('many_enum', { ...enumType, ...repeated });
  fields.add('chosen_enum', { ...enumType, oneofIndex: choice });
  fields.addMap('to_enum', Type.INT32, enumType);
  const message = { type: Type.MESSAGE, typeName: self };
  fields.add('one_message', message);
  fields.add('many_message', { ...message, ...repeated });
  fields.add('chosen_message', { ...message, oneofIndex: choice });
  fields.addMap('to_message', Type.STRING, message);
  fields.add('empty', { type: Type.MESSAGE, typeName: `.${packageName}.Empty` });
  const known = fields.addOneof('known');
  for (const [wellKnown, typeName] of Object.entries(WELL_KNOWN)) {
    const type = { type: Type.MESSAGE, typeName };
    fields.add(`one_${wellKnown}`, type);
    fields.add(`many_${wellKnown}`, { ...type, ...repeated });
    fields.add(`chosen_${wellKnown}`, { ...type, oneofIndex: known });
    fields.addMap(`to_${wellKnown}`, Type.STRING, type);
  }
  fields.add('constructor', { type: Type.STRING, jsonName: 'a "name"\n' });
  if (syntax === 'proto3') {
    for (const type of [...SCALARS, undefined]) {
      const optional = `optional_${type === undefined ? 'enum' : Type[type].toLowerCase()}`;
      const oneofIndex = fields.addOneof(`_${optional}`);
      fields.add(optional, { ...(type === undefined ? enumType : { type }), proto3Optional: true, oneofIndex });
    }
  }
  return { name, field: fields.field, nestedType: fields.nestedType, oneofDecl: fields.oneofDecl };
}

/** What is left to Protobuf-ES, at least when it is read: groups. */
function groupsOf(syntax: Syntax, packageName: string): MessageInit[] {
  if (syntax === 'proto3') return [];
  const self = `.${packageName}.Groups`;
  const delimited = { features: { messageEncoding: FeatureSet_MessageEncoding.DELIMITED } };
  const field = (name: string, number: number, label: Label): FieldInit =>
    syntax === 'proto2'
      ? { name, jsonName: name, number, label, type: Type.GROUP, typeName: self }
      : { name, jsonName: name, number, label, type: Type.MESSAGE, typeName: self, options: delimited };
  return [
    {
      name: 'Groups',
      field: [
        field('groups', 1, Label.OPTIONAL),
        field('many', 2, Label.REPEATED),
        { name: 'text', jsonName: 'text', number: 3, label: Label.OPTIONAL, type: Type.STRING },
      ],
    },
  ];
}

/** Fields with defaults, fields that must be there, and texts that need not be UTF-8. */
function othersOf(syntax: Syntax): MessageInit[] {
  if (syntax === 'proto3') return [];
  const withDefaults = [
    [Type.STRING, 'a "default"'],
    [Type.BYTES, '\\001\\377'],
    [Type.INT64, '-7'],
    [Type.UINT64, '7'],
    [Type.BOOL, 'true'],
    [Type.DOUBLE, '-inf'],
    [Type.FLOAT, '1.5'],
    [Type.INT32, '-1'],
  ] as const;
  const required: FieldInit =
    syntax === 'proto2'
      ? { label: Label.REQUIRED }
      : { label: Label.OPTIONAL, options: { features: { fieldPresence: FeatureSet_FieldPresence.LEGACY_REQUIRED } } };
  const unchecked: FieldInit =
    syntax === 'proto2' ? {} : { options: { features: { utf8Validation: FeatureSet_Utf8Validation.NONE } } };
  return [
    {
      name: 'Defaults',
      field: withDefaults.map(([type, defaultValue], i) => ({
        name: `default_${Type[type].toLowerCase()}`,
        jsonName: `default${Type[type]}`,
        number: i + 1,
        label: Label.OPTIONAL,
        type,
        defaultValue,
      })),
    },
    {
      name: 'Required',
      field: [
        { name: 'text', jsonName: 'text', number: 1, type: Type.STRING, ...required },
        { name: 'number', jsonName: 'number', number: 2, type: Type.INT32, ...required },
      ],
    },
    {
      name: 'Unchecked',
      field: [{ name: 'text', jsonName: 'text', number: 1, label: Label.OPTIONAL, type: Type.STRING, ...unchecked }],
    },
  ];
}

function fileOf(syntax: Syntax) {
  const packageName = `kinds.${syntax}`;
  return create(FileDescriptorProtoSchema, {
    name: `kinds/${syntax}.proto`,
    package: packageName,
    syntax: syntax === 'proto2' ? '' : syntax,
    ...(syntax === 'editions' ? { edition: Edition.EDITION_2023 } : {}),
    dependency: WELL_KNOWN_FILES.map(({ proto }) => proto.name),
    messageType: [
      { name: 'Empty' },
      messageOf(syntax, packageName, undefined),
      ...(syntax === 'editions' ? [messageOf(syntax, packageName, FeatureSet_FieldPresence.IMPLICIT)] : []),
      ...groupsOf(syntax, packageName),
      ...othersOf(syntax),
    ],
    enumType: [
      {
        name: 'Choice',
        ...(syntax === 'editions' ? { options: { features: { enumType: FeatureSet_EnumType.OPEN } } } : {}),
        value: [
          { name: 'CHOICE_NONE', number: 0 },
          { name: 'CHOICE_ONE', number: 1 },
          { name: 'CHOICE_LARGE', number: 2_000_000 },
          { name: 'CHOICE_NEGATIVE', number: -3 },
        ],
      },
    ],
  });
}

const WELL_KNOWN_FILES = [
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
];

const SYNTAXES = ['proto2', 'proto3', 'editions'] as const;

/** Knows every type that is below, and those that a google.protobuf.Any may hold. */
export const registry = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [...WELL_KNOWN_FILES.map(({ proto }) => proto), ...SYNTAXES.map(fileOf)],
  }),
);

/** Messages of every kind of field in every syntax, and those well-known types that have JSON of their own. */
export const TYPES: readonly DescMessage[] = [
  ...SYNTAXES.flatMap((syntax) => registry.getFile(`kinds/${syntax}.proto`)!.messages),
  ...WELL_KNOWN_FILES.flatMap(({ proto }) => registry.getFile(proto.name)!.messages),
];

/** Random values that a seed decides (Mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 to 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

const TEXTS = [
  '',
  'a',
  'Ada Lovelace',
  'Ädä',
  'Ελλάδα',
  '日本語',
  '👩‍🚀',
  '\u0000\u007f\u0080',
  '\ufeffx',
  '\ufffd',
  '"\\\n\u2028',
];
const INTS = [0, 1, -1, 127, 128, -128, 16_383, 16_384, 2_147_483_647, -2_147_483_648];
const UINTS = [0, 1, 127, 128, 255, 16_384, 2_147_483_648, 4_294_967_295];
const LONGS = [
  0n,
  1n,
  -1n,
  127n,
  128n,
  1_790_000_000n,
  -(2n ** 31n),
  2n ** 32n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];
const ULONGS = [0n, 1n, 128n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n];
const DOUBLES = [0, -0, 1.5, -1.5, 1e300, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.1];

function textOf(random: Random): string {
  if (random.chance(0.7)) return random.pick(TEXTS);
  return random.pick(TEXTS).repeat(random.below(random.chance(0.1) ? 400 : 20));
}

function scalarValue(type: ScalarType, random: Random): unknown {
  switch (type) {
    case ScalarType.STRING:
      return textOf(random);
    case ScalarType.BOOL:
      return random.chance(0.5);
    case ScalarType.BYTES:
      return random.bytes(random.below(random.chance(0.1) ? 300 : 5));
    case ScalarType.DOUBLE:
      return random.pick(DOUBLES);
    case ScalarType.FLOAT:
      return Math.fround(random.pick(DOUBLES.map((double) => (Math.abs(double) === 1e300 ? 1e30 : double))));
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return random.chance(0.7) ? random.pick(INTS) : random.below(1_000_000) - 500_000;
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return random.chance(0.7) ? random.pick(UINTS) : random.below(1_000_000);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return random.pick(ULONGS);
    default:
      return random.pick(LONGS);
  }
}

function enumValue({ values, open }: DescEnum, random: Random): number {
  return open && random.chance(0.2) ? random.pick(INTS) : random.pick(values).number;
}

function keyOf(type: ScalarType, random: Random): string {
  return String(type === ScalarType.STRING && random.chance(0.05) ? '__proto__' : scalarValue(type, random));
}

/** A plain value, as google.protobuf.Struct has them. */
function plainValue(random: Random, depth: number): unknown {
  const kinds = [null, true, 1.5, 'text', ...(depth > 0 ? [[] as unknown[], {}] : [])];
  const kind = random.pick(kinds);
  if (Array.isArray(kind)) return [plainValue(random, depth - 1)];
  return typeof kind === 'object' && kind !== null ? { a: plainValue(random, depth - 1) } : kind;
}

const isWrapper = ({ typeName }: DescMessage) =>
  /^google\.protobuf\.\w+Value$/.test(typeName) && !/\.(List)?Value$/.test(typeName);

function messageValue(field: DescField & { readonly message: DescMessage }, random: Random, depth: number): unknown {
  const { message } = field;
  if (message.typeName === 'google.protobuf.Struct' && field.parent?.typeName !== 'google.protobuf.Value')
    return { a: plainValue(random, 2), 'b"': plainValue(random, 1) };
  if (field.fieldKind === 'message' && field.oneof === undefined && isWrapper(message))
    return scalarValue(message.fields[0]!.scalar!, random);
  return randomMessage(message, random, depth - 1);
}

function singularValue(field: DescField, random: Random, depth: number): unknown {
  if (field.enum !== undefined) return enumValue(field.enum, random);
  if (field.message !== undefined) return messageValue(field, random, depth);
  const value = scalarValue(field.scalar, random);
  const isText = field.fieldKind !== 'map' && 'longAsString' in field && field.longAsString;
  return isText ? String(value) : value;
}

function fieldValue(field: DescField, random: Random, depth: number): unknown {
  const count = random.chance(0.1) ? random.below(40) : random.below(3);
  if (field.fieldKind === 'list') return Array.from({ length: count }, () => singularValue(field, random, depth));
  if (field.fieldKind !== 'map') return singularValue(field, random, depth);
  const map: Record<string, unknown> = {};
  for (let i = 0; i < count; i++) {
    Object.defineProperty(map, keyOf(field.mapKey, random), {
      value: singularValue(field, random, depth),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return map;
}

/** Google's types with JSON of their own, mostly as they have it. */
function wellKnown(desc: DescMessage, random: Random): Message | undefined {
  const nanos = random.pick([0, 0, 120_000_000, 123_456_000, 999_999_999]);
  switch (desc.typeName) {
    case 'google.protobuf.Timestamp':
      return create(TimestampSchema, { seconds: BigInt(random.below(4_000_000_000) - 1_000_000_000), nanos });
    case 'google.protobuf.Duration':
      return create(DurationSchema, { seconds: BigInt(random.below(1_000_000)), nanos });
    case 'google.protobuf.FieldMask':
      return create(FieldMaskSchema, { paths: ['user', 'user.display_name', 'a_b'].slice(0, random.below(4)) });
    case 'google.protobuf.Any':
      return create(AnySchema, {});
    default:
      return undefined;
  }
}

/** A message that Protobuf-ES writes, seldom with all fields. */
export function randomMessage(desc: DescMessage, random: Random, depth = 3): Message {
  const known = random.chance(0.95) ? wellKnown(desc, random) : undefined;
  if (known !== undefined) return known;
  const message = create(desc) as Message & Record<string, unknown>;
  const probability = desc.fields.length < 10 ? 0.7 : random.pick([0.02, 0.05, 0.3 / (4 - depth)]);
  const isNeeded = (member: DescField | DescOneof) =>
    (member.kind === 'field' && member.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED) ||
    desc.typeName === 'google.protobuf.Value';
  for (const member of desc.members) {
    if (!isNeeded(member) && !random.chance(probability)) continue;
    if (member.kind === 'oneof') {
      const field = random.pick(member.fields.filter(({ message: inner }) => inner === undefined || depth > 0));
      if (field === undefined) continue;
      message[member.localName] = { case: field.localName, value: singularValue(field, random, depth) };
    } else if (member.message === undefined || depth > 0) {
      message[member.localName] = fieldValue(member, random, depth);
    }
  }
  if (random.chance(0.05) && desc.fields.length > 3) {
    message.$unknown = [{ no: 19_999, wireType: 2, data: Uint8Array.of(2, 104, 105) }];
  }
  return message;
}
