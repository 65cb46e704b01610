import {
  create,
  createFileRegistry,
  type DescField,
  type DescMessage,
  getOption,
  type Message,
  type MessageInitShape,
  ScalarType,
  setExtension,
} from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  type FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';
import {
  field as fieldRules,
  type FieldRules,
  FieldRulesSchema,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import type { Generator } from '../../test/support/generator.ts';
import { type FieldPlan, Kind, type Plan, REPEATS_MAX } from './plan.ts';

type FieldInit = MessageInitShape<typeof FieldDescriptorProtoSchema>;

/** A field of a descriptor, with rules. */
function fieldOf(
  name: string,
  number: number,
  type: Type,
  more: FieldInit = {},
  rules?: MessageInitShape<typeof FieldRulesSchema>,
): FieldInit {
  const jsonName = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  const options = create(FieldOptionsSchema);
  if (rules !== undefined) setExtension(options, fieldRules, create(FieldRulesSchema, rules));
  return { label: Label.OPTIONAL, ...more, name, jsonName, number, type, options };
}

const REPEATED = { label: Label.REPEATED };
const items = (max: number) => ({ type: { case: 'repeated', value: { maxItems: BigInt(max) } } }) as const;
const characters = (max: number) => ({ type: { case: 'string', value: { maxLen: BigInt(max) } } }) as const;
const THING = { typeName: '.scan.test.Thing' };

/** Every kind of field, some of them under rules, and messages in messages of their kind. */
const file = create(FileDescriptorProtoSchema, {
  name: 'scan_test.proto',
  package: 'scan.test',
  syntax: 'proto3',
  dependency: ['google/protobuf/timestamp.proto', 'google/protobuf/wrappers.proto'],
  enumType: [
    {
      name: 'Colour',
      value: [
        { name: 'RED', number: 0 },
        { name: 'BLUE', number: 1 },
      ],
    },
  ],
  messageType: [
    {
      name: 'Thing',
      oneofDecl: [{ name: 'choice' }],
      nestedType: [
        {
          name: 'LabelsEntry',
          options: { mapEntry: true },
          field: [fieldOf('key', 1, Type.STRING), fieldOf('value', 2, Type.STRING)],
        },
        {
          name: 'CountsEntry',
          options: { mapEntry: true },
          field: [fieldOf('key', 1, Type.INT32), fieldOf('value', 2, Type.FIXED64)],
        },
      ],
      field: [
        fieldOf('text', 1, Type.STRING, {}, characters(5)),
        fieldOf('whole_number', 2, Type.INT32),
        fieldOf('large', 3, Type.UINT64),
        fieldOf('fixed', 4, Type.FIXED32),
        fieldOf('real', 5, Type.DOUBLE),
        fieldOf('flag', 6, Type.BOOL),
        fieldOf('blob', 7, Type.BYTES),
        fieldOf('colour', 8, Type.ENUM, { typeName: '.scan.test.Colour' }),
        fieldOf('inner', 9, Type.MESSAGE, THING),
        fieldOf('texts', 10, Type.STRING, REPEATED, items(3)),
        fieldOf('numbers', 11, Type.SINT32, REPEATED, items(4)),
        fieldOf('fixeds', 12, Type.FIXED64, REPEATED, items(2)),
        fieldOf('colours', 13, Type.ENUM, { ...REPEATED, typeName: '.scan.test.Colour' }, items(3)),
        fieldOf('things', 14, Type.MESSAGE, { ...REPEATED, ...THING }, items(3)),
        fieldOf(
          'labels',
          15,
          Type.MESSAGE,
          { ...REPEATED, typeName: '.scan.test.Thing.LabelsEntry' },
          {
            type: {
              case: 'map',
              value: { maxPairs: 2n, keys: characters(3), values: characters(4) },
            },
          },
        ),
        fieldOf(
          'counts',
          16,
          Type.MESSAGE,
          { ...REPEATED, typeName: '.scan.test.Thing.CountsEntry' },
          {
            type: { case: 'map', value: { maxPairs: 3n } },
          },
        ),
        fieldOf('one', 17, Type.MESSAGE, { ...THING, oneofIndex: 0 }),
        fieldOf('other', 18, Type.MESSAGE, { ...THING, oneofIndex: 0 }),
        fieldOf('third', 19, Type.STRING, { oneofIndex: 0 }),
        fieldOf('time', 20, Type.MESSAGE, { typeName: '.google.protobuf.Timestamp' }),
        fieldOf('wrapped', 21, Type.MESSAGE, { typeName: '.google.protobuf.StringValue' }),
        fieldOf('far_away', 3000, Type.BOOL),
      ],
    },
  ],
});
const dependencies = [file_google_protobuf_timestamp, file_google_protobuf_wrappers];
export const ThingSchema = createFileRegistry(
  file,
  (path) => dependencies.find(({ proto }) => proto.name === path)?.proto,
).getMessage('scan.test.Thing') as DescMessage;

/** How often something is written wrong: once in so many places. */
export type Wrongness = number;

const happens = (g: Generator, oneIn: number): boolean => oneIn !== Infinity && g.below(oneIn) === 0;

/** How many items or pairs: mostly few, now and then as many as may be, or one more. */
function countFor(g: Generator, { countMax }: FieldPlan, wrongness: Wrongness): number {
  const most = Math.min(countMax, 120);
  if (happens(g, wrongness)) return most + 1;
  return happens(g, 12) ? most : g.below(Math.min(most, 3) + 1);
}

function textFor(g: Generator, charactersMax: number, wrongness: Wrongness): string {
  const isLong = charactersMax !== Infinity && happens(g, 4 * wrongness);
  return isLong ? 'a'.repeat(12 * charactersMax + g.below(3)) : g.text(Math.min(charactersMax, 12));
}

/** A message in binary, written wrong here and there. */
export function writeBinary(g: Generator, plan: Plan, wrongness: Wrongness, depth = 1): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of shuffled(g, plan.fields)) {
    if (g.below(3) === 0 || (field.message !== undefined && g.below(4) < depth - 1)) continue;
    const { kind } = field;
    const isSingle = kind === Kind.Scalar || kind === Kind.Message;
    const count = isSingle ? (happens(g, 30) ? g.below(REPEATS_MAX + 2) : 1) : countFor(g, field, wrongness);
    if (field.isPackable && g.below(2) === 0) writePacked(g, writer, field, count, wrongness);
    else for (let i = 0; i < count; i++) writeOne(g, writer, field, wrongness, depth);
    if (happens(g, wrongness)) writeUnknown(g, writer);
  }
  return writer.finish();
}

function writeOne(g: Generator, writer: BinaryWriter, field: FieldPlan, wrongness: Wrongness, depth: number): void {
  const { field: desc, kind, wire } = field;
  if (happens(g, 4 * wrongness)) return writeValue(g, writer.tag(desc.number, g.pick(WIRES)), g.pick(WIRES), '');
  writer.tag(desc.number, wire);
  if (field.message !== undefined) {
    const isDeep = desc.message?.typeName === 'scan.test.Thing' && happens(g, 400);
    writer.bytes(isDeep ? nested(g.pick([90, 99, 100, 101])) : writeBinary(g, field.message, wrongness, depth + 1));
  } else if (kind === Kind.Map) writer.bytes(writeEntry(g, field, wrongness));
  else writeValue(g, writer, wire, textFor(g, field.charactersMax, wrongness));
}

const WIRES = [WireType.Varint, WireType.Bit64, WireType.LengthDelimited, WireType.Bit32];

function writeEntry(g: Generator, field: FieldPlan, wrongness: Wrongness): Uint8Array {
  const { keyWire, valueWire, keyCharactersMax, valueCharactersMax } = field;
  const entry = new BinaryWriter();
  const key = (): void => writeValue(g, entry.tag(1, keyWire), keyWire, textFor(g, keyCharactersMax, wrongness));
  const value = (): void =>
    writeValue(g, entry.tag(2, valueWire), valueWire, textFor(g, valueCharactersMax, wrongness));
  const parts = g.pick([[key, value], [key, value], [key, value], [value, key], [key], [value], [], [key, key, value]]);
  for (const write of parts) write();
  if (happens(g, 4 * wrongness)) for (let i = 0; i < 2 * REPEATS_MAX; i++) key();
  if (happens(g, 4 * wrongness)) writeUnknown(g, entry);
  return entry.finish();
}

function writePacked(g: Generator, writer: BinaryWriter, field: FieldPlan, count: number, wrongness: Wrongness): void {
  const chunks = happens(g, 2 * wrongness) ? REPEATS_MAX + g.below(3) : g.below(3);
  for (let i = 0; i < chunks; i++) writer.tag(field.field.number, WireType.LengthDelimited).bytes(new Uint8Array());
  const packed = new BinaryWriter();
  for (let i = 0; i < count; i++) writeValue(g, packed, field.wire, '');
  writer.tag(field.field.number, WireType.LengthDelimited).bytes(packed.finish());
}

function writeUnknown(g: Generator, writer: BinaryWriter): void {
  const number = g.pick([5, 100, 3001, 2 ** 29 - 1]);
  const group = (): void => void writer.tag(number, WireType.StartGroup).tag(number, WireType.EndGroup);
  if (g.below(5) === 0) return group();
  const wire = g.pick(WIRES);
  writeValue(g, writer.tag(number, wire), wire, 'x');
}

/** A value of a wire type; varints also with bytes that say nothing. */
function writeValue(g: Generator, writer: BinaryWriter, wire: WireType, text: string): void {
  switch (wire) {
    case WireType.Varint:
      if (g.below(6) === 0) writer.raw(Uint8Array.of(...Array<number>(g.below(11)).fill(0x80), g.below(2)));
      else writer.uint64(BigInt(g.pick([0, 1, 2, 300, 2 ** 31, 2 ** 40])));
      return;
    case WireType.Bit64:
      return void writer.fixed64(BigInt(g.below(1000)));
    case WireType.Bit32:
      return void writer.fixed32(g.below(1000));
    default:
      return void writer.string(text);
  }
}

/** Things in one another. */
function nested(depth: number): Uint8Array {
  let bytes = new Uint8Array();
  for (let i = 1; i < depth; i++)
    bytes = new Uint8Array(new BinaryWriter().tag(9, WireType.LengthDelimited).bytes(bytes).finish());
  return bytes;
}

/** A message in JSON, written wrong here and there. */
export function writeJson(g: Generator, plan: Plan, wrongness: Wrongness, depth = 1): string {
  if (!plan.isJsonObject) return g.pick(['"2020-01-01T00:00:00Z"', '"x"', 'null']);
  const members: string[] = [];
  for (const field of shuffled(g, plan.fields)) {
    if (g.below(3) === 0 || (field.message !== undefined && g.below(4) < depth - 1)) continue;
    const { name, jsonName } = field.field;
    const times = happens(g, 3 * wrongness) ? 2 : 1;
    for (let i = 0; i < times; i++) {
      const key = g.pick([jsonName, jsonName, name]);
      members.push(`${keyOf(g, key)}${gap(g)}:${gap(g)}${jsonValue(g, field, wrongness, depth)}`);
    }
    if (happens(g, 2 * wrongness)) members.push(`${g.pick(UNKNOWN_KEYS)}:${g.pick(MISFITS)}`);
  }
  return `{${gap(g)}${members.join(`${gap(g)},${gap(g)}`)}${gap(g)}}`;
}

const UNKNOWN_KEYS = [
  '"x"',
  '"__proto__"',
  '"toString"',
  '"[scan.test.x]"',
  '""',
  '"\\u0000"',
  '"textt"',
  '"tex\\\\t"',
];
const MISFITS = ['{}', '[]', '[[]]', '{"a":{}}', '[{}]', 'null', '1', '"a"', '[null]', 'true', '{"a":[]}'];

function jsonValue(g: Generator, field: FieldPlan, wrongness: Wrongness, depth: number): string {
  if (happens(g, 2 * wrongness)) return g.pick(MISFITS);
  if (happens(g, 20)) return 'null';
  const one = (): string => {
    if (field.message !== undefined) {
      const isDeep = field.field.message?.typeName === 'scan.test.Thing' && happens(g, 400);
      return isDeep ? nestedJson(g.pick([90, 98, 99, 100])) : writeJson(g, field.message, wrongness, depth + 1);
    }
    return jsonScalar(g, field.field, field.charactersMax, wrongness);
  };
  const count = (): number => countFor(g, field, wrongness);
  switch (field.kind) {
    case Kind.Map: {
      const { keyCharactersMax, valueCharactersMax } = field;
      const isText = field.field.fieldKind === 'map' && field.field.mapKey === ScalarType.STRING;
      const pairs = Array.from({ length: count() }, (_, i) => {
        const key = isText
          ? `"${i}${textFor(g, Math.max(0, keyCharactersMax - 3), wrongness).replace(/["\\]/g, '')}"`
          : `"${i}"`;
        return `${key}:${jsonScalar(g, field.field, valueCharactersMax, wrongness)}`;
      });
      return `{${pairs.join(',')}}`;
    }
    case Kind.ScalarList:
    case Kind.MessageList:
      return `[${gap(g)}${Array.from({ length: count() }, one).join(`,${gap(g)}`)}]`;
    default:
      return one();
  }
}

function jsonScalar(
  g: Generator,
  { scalar, enum: colours }: DescField,
  charactersMax: number,
  wrongness: Wrongness,
): string {
  if (colours !== undefined) return g.pick(['0', `"${colours.values[0]?.name}"`, '1']);
  if (scalar === ScalarType.BOOL) return g.pick(['true', 'false']);
  if (scalar === ScalarType.BYTES) return '"YQ=="';
  if (scalar !== ScalarType.STRING) return g.pick(['0', '12', '"3"', '1e2', '-1', '1.5']);
  const text = JSON.stringify(textFor(g, charactersMax, wrongness));
  return g.below(4) === 0 ? text.replace(/[^"\\]/g, escapeOf) : text;
}

function keyOf(g: Generator, key: string): string {
  return `"${g.below(8) === 0 ? key.replace(/[a-m]/g, escapeOf) : key}"`;
}

function escapeOf(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

const gap = (g: Generator): string => g.pick(['', '', '', '', ' ', '\n\t', '\r\n  ']);

function nestedJson(depth: number): string {
  return `${'{"inner":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`;
}

function shuffled<T>(g: Generator, items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: g.below(1000) }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** The same bytes, some of them changed. */
export function mutate(g: Generator, bytes: Uint8Array): Uint8Array {
  const changed = Array.from(bytes);
  for (let i = g.below(3); i >= 0; i--) {
    const at = g.below(changed.length + 1);
    const byte = g.pick([0, 1, 0x7f, 0x80, 0xff, 0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d, 0x2c, 0x3a, g.below(256)]);
    const change = g.below(5);
    if (change === 0) changed.splice(at);
    else if (change === 1) changed.splice(at, 1, byte);
    else if (change === 2) changed.splice(at, 0, byte);
    else if (change === 3) changed.splice(at, g.below(4));
    else changed.splice(at, 0, ...changed.slice(at, at + g.below(30)));
  }
  return Uint8Array.from(changed);
}

/**
 * Whether a message in binary is what its type allows, found the plain way: by taking it apart into records, and
 * looking at those of each field. `parts` are merged.
 */
export function isAllowedBinary(desc: DescMessage, parts: readonly Uint8Array[], depth = 1): boolean {
  if (depth > 100) return false;
  const records = parts.map(recordsOf);
  if (records.includes(undefined)) return false;
  const seen = new Map<DescField, { times: number; items: number; empty: number; groups: Uint8Array[][] }>();
  for (const { number, wire, value } of records.flatMap((list) => list ?? [])) {
    const field = desc.fields.find((candidate) => candidate.number === number);
    if (field === undefined || wire === WireType.StartGroup || wire === WireType.EndGroup) return false;
    const state = seen.get(field) ?? { times: 0, items: 0, empty: 0, groups: [[]] };
    seen.set(field, state);
    const own = wireOf(field);
    if (wire === WireType.LengthDelimited && own !== wire && field.fieldKind === 'list') {
      const packed = packedCount(own, value);
      if (packed === undefined) return false;
      state.items += packed;
      if (value.length === 0) state.empty++;
    } else if (wire !== own) return false;
    else {
      state.times++;
      state.items++;
      state.groups.at(-1)?.push(value);
      if (
        field.scalar === ScalarType.STRING &&
        field.fieldKind === 'scalar' &&
        value.length > 4 * bounds(field).characters
      )
        return false;
    }
    for (const other of field.oneof?.fields ?? []) if (other !== field) seen.get(other)?.groups.push([]);
  }
  for (const [field, { times, items: count, empty, groups }] of seen) {
    const messages = groups.flat();
    if (empty > REPEATS_MAX) return false;
    if (field.fieldKind === 'list' || field.fieldKind === 'map') {
      if (count > bounds(field).count) return false;
    } else if (times > REPEATS_MAX) return false;
    if (field.fieldKind === 'map') {
      if (!messages.every((entry) => isAllowedEntry(field, entry))) return false;
    } else if (field.fieldKind === 'list' && field.message !== undefined) {
      const { message } = field;
      if (!messages.every((item) => isAllowedBinary(message, [item], depth + 1))) return false;
    } else if (field.message !== undefined) {
      const { message } = field;
      // What a oneof drops is read all the same, and not merged with what follows.
      if (!groups.every((group) => group.length === 0 || isAllowedBinary(message, group, depth + 1))) return false;
    }
  }
  return true;
}

function isAllowedEntry(field: DescField & { fieldKind: 'map' }, entry: Uint8Array): boolean {
  const records = recordsOf(entry);
  if (records === undefined || records.length > 2 * REPEATS_MAX) return false;
  const wires = [WireType.Varint, wireOfScalar(field.mapKey), wireOfScalar(field.scalar)];
  if (!records.every(({ number, wire, tagBytes }) => number <= 2 && tagBytes === 1 && wire === wires[number]))
    return false;
  const lengthOf = (of: number): number => records.findLast(({ number }) => number === of)?.value.length ?? 0;
  const { key, value } = bounds(field);
  if (field.mapKey === ScalarType.STRING && lengthOf(1) > 4 * key) return false;
  return field.scalar !== ScalarType.STRING || lengthOf(2) <= 4 * value;
}

interface Record {
  readonly number: number;
  readonly wire: WireType;
  readonly tagBytes: number;
  /** What stands behind a length; of other values nothing. */
  readonly value: Uint8Array;
}

function recordsOf(bytes: Uint8Array): Record[] | undefined {
  const reader = new BinaryReader(bytes);
  const records: Record[] = [];
  try {
    while (reader.pos < reader.len) {
      const start = reader.pos;
      const [number, wire] = reader.tag();
      const tagBytes = reader.pos - start;
      const group = wire === WireType.StartGroup || wire === WireType.EndGroup;
      const value = wire === WireType.LengthDelimited ? reader.bytes() : NOTHING;
      if (wire === WireType.Varint) reader.uint64();
      if (wire === WireType.Bit64) reader.fixed64();
      if (wire === WireType.Bit32) reader.fixed32();
      records.push({ number, wire, tagBytes, value });
      if (group) return records; // refused, whatever follows
    }
    return records;
  } catch {
    return undefined;
  }
}

const NOTHING = new Uint8Array();

function packedCount(wire: WireType, value: Uint8Array): number | undefined {
  const reader = new BinaryReader(value);
  try {
    let count = 0;
    for (; reader.pos < reader.len; count++) {
      if (wire === WireType.Varint) reader.uint64();
      else if (wire === WireType.Bit64) reader.fixed64();
      else reader.fixed32();
    }
    return count;
  } catch {
    return undefined;
  }
}

function wireOf(field: DescField): WireType {
  const hasLength = field.fieldKind === 'message' || field.fieldKind === 'map' || field.message !== undefined;
  return hasLength ? WireType.LengthDelimited : wireOfScalar(field.scalar);
}

/** Of enums too. */
function wireOfScalar(scalar: ScalarType | undefined): WireType {
  if (scalar === ScalarType.STRING || scalar === ScalarType.BYTES) return WireType.LengthDelimited;
  if (scalar === ScalarType.FIXED32 || scalar === ScalarType.FLOAT || scalar === ScalarType.SFIXED32)
    return WireType.Bit32;
  const is64 = scalar === ScalarType.FIXED64 || scalar === ScalarType.DOUBLE || scalar === ScalarType.SFIXED64;
  return is64 ? WireType.Bit64 : WireType.Varint;
}

/** What the rules of a field say, read anew. */
export function bounds(field: DescField): { count: number; characters: number; key: number; value: number } {
  const { type } = getOption(field, fieldRules);
  const map = type.case === 'map' ? type.value : undefined;
  const count = (type.case === 'repeated' ? type.value.maxItems : map?.maxPairs) ?? 0n;
  const lengthOf = (rules: FieldRules['type'] | undefined): number =>
    rules?.case === 'string' && rules.value.maxLen > 0n ? Number(rules.value.maxLen) : Infinity;
  return {
    count: count > 0n ? Number(count) : Infinity,
    characters: lengthOf(type),
    key: lengthOf(map?.keys?.type),
    value: lengthOf(map?.values?.type),
  };
}

/** What a decoded message has that its type does not allow, apart from texts. */
export function excessOf(desc: DescMessage, message: Message): string | undefined {
  if ((message.$unknown?.length ?? 0) > 0) return 'an unknown field';
  const values = message as unknown as { [name: string]: unknown };
  for (const field of desc.fields) {
    const holder = field.oneof && (values[field.oneof.localName] as { case?: string; value?: unknown });
    const value =
      holder === undefined ? values[field.localName] : holder.case === field.localName ? holder.value : undefined;
    if (value === undefined || value === null) continue;
    if (field.fieldKind === 'list' && (value as unknown[]).length > bounds(field).count)
      return `too many ${field.name}`;
    if (field.fieldKind === 'map' && Object.keys(value).length > bounds(field).count) return `too many ${field.name}`;
    if (field.message === undefined || field.message.typeName.endsWith('Value')) continue;
    const { message: inner } = field;
    const inside = field.fieldKind === 'list' ? (value as Message[]) : [value as Message];
    const excess = inside.map((each) => excessOf(inner, each)).find((found) => found !== undefined);
    if (excess !== undefined) return excess;
  }
  return undefined;
}
