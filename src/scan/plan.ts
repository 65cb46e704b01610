import { create, type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import {
  field as fieldRules,
  type FieldRules,
  FieldRulesSchema,
  Ignore,
  type StringRules,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { optionOf } from './option.ts';

/**
 * How often a message may give a field that takes one value. The last one counts, and messages are
 * merged, so that a message may be written in parts; no writer does so many times.
 * https://protobuf.dev/programming-guides/encoding/#last-one-wins
 */
export const REPEATS_MAX = 8;

/** How a field is scanned. Numbers, which are compared faster than texts. */
export const Kind = { Scalar: 0, Message: 1, ScalarList: 2, MessageList: 3, Map: 4 } as const;

/** What a message type allows, in the form in which scans look at it. */
export interface Plan {
  readonly desc: DescMessage;
  readonly fields: readonly FieldPlan[];
  readonly byNumber: ReadonlyMap<number, FieldPlan>;
  /** The names that JSON may use for the fields, each with its UTF-8 bytes. */
  readonly names: readonly FieldName[];
  /** Whether JSON writes the type as an object, and not as a text or number as it does a Timestamp. */
  readonly isJsonObject: boolean;
  /** How many counters a message of the type takes while it is scanned. */
  readonly counters: number;
}

export interface FieldPlan {
  readonly field: DescField;
  readonly kind: (typeof Kind)[keyof typeof Kind];
  /** How one value is written in binary; of a list one item. */
  readonly wire: WireType;
  /** Whether items may stand one behind the other after one length. */
  readonly isPackable: boolean;
  /** Of messages, and lists of them. */
  readonly message: Plan | undefined;
  /** Of maps, how keys and values are written in binary. */
  readonly keyWire: WireType;
  readonly valueWire: WireType;
  /** The most items or pairs that the contract allows, repeated keys counted; Infinity where it does not say. */
  readonly countMax: number;
  /** The most characters of a text that the contract allows; Infinity where it does not say. */
  readonly charactersMax: number;
  /** The same of the keys and of the values of a map. */
  readonly keyCharactersMax: number;
  readonly valueCharactersMax: number;
  /** How often it may be given: see REPEATS_MAX for a field of one value. */
  readonly occurrencesMax: number;
  /**
   * Which counter of its message counts its occurrences. The next one is of a message field, where the counters
   * of that message are, and of a list, how often nothing stood behind a length.
   */
  readonly counter: number;
  /** Counters of the messages that are dropped when this field of the same oneof is set. */
  readonly replaces: readonly number[];
}

export interface FieldName {
  readonly bytes: Uint8Array;
  readonly name: string;
  readonly field: FieldPlan;
  /** Tells the two names of a field apart. */
  readonly spelling: number;
}

/** A contract with requests whose size nobody can bound. The process must not start. */
export class UnboundedTypeError extends Error {
  override readonly name = 'UnboundedTypeError';
}

/**
 * Compiles what is allowed in messages of a type, and of all types in them, from the rules
 * `repeated.max_items`, `map.max_pairs` and `string.max_len` of protovalidate.
 *
 * Throws UnboundedTypeError for what no scan here understands: groups, closed enums, maps of
 * messages, and the types of google.protobuf that hold anything.
 */
export function compilePlan(desc: DescMessage, known: Map<DescMessage, Plan> = new Map()): Plan {
  const compiled = known.get(desc);
  if (compiled !== undefined) return compiled;
  if (HOLDS_ANYTHING.has(desc.typeName)) throw new UnboundedTypeError(`${desc.typeName} has no bounds`);
  const fields: FieldPlan[] = [];
  const byNumber = new Map<number, FieldPlan>();
  const names: FieldName[] = [];
  const isJsonObject = !TEXT_IN_JSON.has(desc.typeName) && !isWrapper(desc);
  const counters = COUNTERS_OF_FIELD * desc.fields.length;
  const plan: Plan = { desc, fields, byNumber, names, isJsonObject, counters };
  known.set(desc, plan); // before its fields, which may be of its type
  for (const field of desc.fields) {
    const compiledField = compileField(field, known);
    fields.push(compiledField);
    byNumber.set(field.number, compiledField);
    for (const [spelling, name] of [...new Set([field.jsonName, field.name])].entries()) {
      names.push({ bytes: Buffer.from(name), name, field: compiledField, spelling });
    }
  }
  return plan;
}

const HOLDS_ANYTHING = new Set(
  ['Any', 'Struct', 'Value', 'ListValue', 'FieldMask'].map((name) => `google.protobuf.${name}`),
);
const TEXT_IN_JSON = new Set(['google.protobuf.Timestamp', 'google.protobuf.Duration']);

function isWrapper({ typeName }: DescMessage): boolean {
  return /^google\.protobuf\.(?:Double|Float|U?Int(?:32|64)|Bool|String|Bytes)Value$/.test(typeName);
}

function compileField(field: DescField, known: Map<DescMessage, Plan>): FieldPlan {
  const refuse = (what: string): never => {
    throw new UnboundedTypeError(`${field.parent.typeName}.${field.name}: ${what} cannot be scanned`);
  };
  if (field.enum?.open === false) refuse('a closed enum');
  const isMessage = field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message');
  if (isMessage && field.delimitedEncoding) refuse('a group');
  if (field.fieldKind === 'map' && field.mapKind === 'message') refuse('a map of messages');
  if (field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED) refuse('a required field');
  const wire = isMessage || field.fieldKind === 'map' ? WireType.LengthDelimited : wireOf(field.scalar, field.enum);
  const rules = optionOf(field, fieldRules);
  const { type } = rules.ignore === Ignore.ALWAYS ? create(FieldRulesSchema) : rules;
  const kind = kindOf(field);
  const countMax = countMaxOf(type);
  const siblings = field.oneof?.fields.filter((other) => other !== field && other.fieldKind === 'message') ?? [];
  return {
    field,
    kind,
    wire,
    isPackable: field.fieldKind === 'list' && wire !== WireType.LengthDelimited,
    message: isMessage ? compilePlan(field.message, known) : undefined,
    keyWire: field.fieldKind === 'map' ? wireOf(field.mapKey, undefined) : WireType.LengthDelimited,
    valueWire: field.fieldKind === 'map' ? wireOf(field.scalar, field.enum) : WireType.LengthDelimited,
    countMax,
    occurrencesMax: kind === Kind.Scalar || kind === Kind.Message ? REPEATS_MAX : countMax,
    charactersMax: charactersMaxOf(type),
    keyCharactersMax: charactersMaxOf(type.case === 'map' ? type.value.keys?.type : undefined),
    valueCharactersMax: charactersMaxOf(type.case === 'map' ? type.value.values?.type : undefined),
    counter: counterOf(field),
    replaces: siblings.map((other) => counterOf(other) + 1),
  };
}

/** One of occurrences, and one of what else there is to know of a field. */
const COUNTERS_OF_FIELD = 2;

function counterOf(field: DescField): number {
  return COUNTERS_OF_FIELD * field.parent.fields.indexOf(field);
}

function kindOf(field: DescField): FieldPlan['kind'] {
  switch (field.fieldKind) {
    case 'message':
      return Kind.Message;
    case 'list':
      return field.listKind === 'message' ? Kind.MessageList : Kind.ScalarList;
    case 'map':
      return Kind.Map;
    default:
      return Kind.Scalar;
  }
}

function countMaxOf(type: FieldRules['type']): number {
  if (type.case === 'repeated' && type.value.maxItems > 0n) return Number(type.value.maxItems);
  if (type.case === 'map' && type.value.maxPairs > 0n) return Number(type.value.maxPairs);
  return Infinity;
}

function charactersMaxOf(type: FieldRules['type'] | undefined): number {
  return type?.case === 'string' && type.value.maxLen > 0n ? Number(type.value.maxLen) : Infinity;
}

/** https://protobuf.dev/programming-guides/encoding/#structure */
function wireOf(scalar: ScalarType | undefined, enumeration: DescEnum | undefined): WireType {
  if (enumeration !== undefined) return WireType.Varint;
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

/** The white space that JSON may have around one value, bytes: a line feed and what it is indented by. */
const WHITE_SPACE = 32;
/** A character of a text takes this many bytes at most: a surrogate pair as two escapes. */
export const JSON_CHARACTER_BYTES = 12;
export const UTF8_CHARACTER_BYTES = 4;
const NUMBER_BYTES = 40;
const TIME_BYTES = 48;
const UUID_CHARACTERS = 36;

/**
 * About how many bytes the largest message takes that the contract allows, in JSON, where it is
 * larger than in binary; Infinity where the contract sets no bound. White space is counted as far as
 * an indented text has it.
 */
export function largestBytes(plan: Plan, within: readonly Plan[] = []): number {
  if (within.includes(plan)) return Infinity;
  if (!plan.isJsonObject) return TIME_BYTES;
  let bytes = WHITE_SPACE;
  for (const field of plan.fields)
    bytes += field.field.name.length + WHITE_SPACE + largestValue(field, [...within, plan]);
  return bytes;
}

function largestValue({ field, message, countMax }: FieldPlan, within: readonly Plan[]): number {
  const rules = optionOf(field, fieldRules);
  const { type } = rules;
  if (rules.ignore === Ignore.ALWAYS) return Infinity;
  switch (field.fieldKind) {
    case 'message':
      return message === undefined ? Infinity : largestBytes(message, within);
    case 'list': {
      const items = type.case === 'repeated' ? type.value.items : undefined;
      const item = message === undefined ? largestScalar(field, items) : largestBytes(message, within);
      return countMax * (item + WHITE_SPACE);
    }
    case 'map': {
      const [keys, values] = type.case === 'map' ? [type.value.keys, type.value.values] : [];
      const key = largestScalar({ scalar: field.mapKey }, keys);
      return countMax * (key + largestScalar(field, values) + WHITE_SPACE);
    }
    default:
      return largestScalar(field, rules);
  }
}

function largestScalar(
  { scalar, enum: enumeration }: { readonly scalar?: ScalarType | undefined; readonly enum?: DescEnum | undefined },
  rules: FieldRules | undefined,
): number {
  if (enumeration !== undefined) {
    return Math.max(NUMBER_BYTES, ...enumeration.values.map(({ name }) => name.length));
  }
  if (scalar === ScalarType.BYTES) return Infinity;
  if (scalar !== ScalarType.STRING) return NUMBER_BYTES;
  return rules?.type.case === 'string' ? JSON_CHARACTER_BYTES * longestText(rules.type.value) : Infinity;
}

/** The most characters of a text. */
function longestText(rules: StringRules): number {
  const { wellKnown } = rules;
  const bounds = [rules.maxLen, rules.maxBytes, rules.len, rules.lenBytes].filter((bound) => bound > 0n).map(Number);
  if (wellKnown.case === 'uuid' && wellKnown.value) bounds.push(UUID_CHARACTERS);
  if (rules.in.length > 0) bounds.push(Math.max(...rules.in.map(({ length }) => length)));
  return Math.min(Infinity, ...bounds);
}
