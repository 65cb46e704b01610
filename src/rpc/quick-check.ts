import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  getExtension,
  hasOption,
  isFieldSet,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { scalarZeroValue } from '@bufbuild/protobuf/reflect';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import type { Validator } from '@bufbuild/protovalidate';
import {
  EnumRulesSchema,
  field as fieldOption,
  type FieldRules,
  FieldRulesSchema,
  Ignore,
  Int32RulesSchema,
  MapRulesSchema,
  message as messageOption,
  MessageRulesSchema,
  oneof as oneofOption,
  predefined,
  RepeatedRulesSchema,
  type Rule,
  SInt32RulesSchema,
  type StringRules,
  StringRulesSchema,
  UInt32RulesSchema,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { file_kith_text_v1_text } from '../../gen/kith/text/v1/text_pb.ts';
import { matchPattern } from './patterns.ts';
import { compileCel, type Subject } from './quick-cel.ts';
import { optionOf } from '../scan/option.ts';

/** Whether a message is certainly valid. False says nothing. */
export type QuickCheck = (desc: DescMessage, message: Message) => boolean;

/** Whether a value is certainly valid. False says nothing. */
type Test = (value: unknown) => boolean;

const anything: Test = () => true;
const cannotTell: Test = () => false;

/**
 * Tells of most valid messages that they are, in a fraction of the time that the
 * validator takes: that they keep the rules of the contract, and hold no unknown
 * field. It never says so of a message that the validator refuses. False says
 * nothing: ask the validator, so that what is wrong stays its word.
 *
 * Understood are the plain rules of texts, their patterns and the rules of kith.text.v1, those of 32-bit numbers,
 * enums, lists and maps, and what compileCel understands. A field with any other has to be absent, and where its rules
 * do not say whether it may be, the validator was asked once; so no rule of an absent field may look at the clock.
 */
export function createQuickCheck(validator: Validator): QuickCheck {
  const tests = new Map<DescMessage, Test>();

  const testOf = (desc: DescMessage): Test => {
    const known = tests.get(desc);
    if (known !== undefined) return known;
    let test = cannotTell;
    tests.set(desc, (message) => test(message)); // for messages that hold others of their kind
    test = messageTest(desc);
    tests.set(desc, test);
    return test;
  };

  const messageTest = (desc: DescMessage): Test => {
    const rules = optionOf(desc, messageOption);
    const cel = celTest(rules.cel, desc);
    if (cel === undefined || !hasOnly(rules, MessageRulesSchema, ['cel'])) return cannotTell;
    if (desc.oneofs.some((oneof) => hasOption(oneof, oneofOption))) return cannotTell;
    const tested = desc.fields.map((field) => {
      const test = fieldTest(field);
      return { field, name: field.localName, test, mayBeUnset: mayBeUnset(field, test) };
    });
    let needed = new Set<unknown>();
    if (tested.some((each) => each.mayBeUnset === undefined)) {
      const empty = validator.validate(desc, create(desc));
      if (empty.kind === 'error') return cannotTell;
      needed = new Set(empty.violations?.map((violation) => violation.field[0]));
    }
    const fields = tested.map((each) => ({ ...each, mayBeUnset: each.mayBeUnset ?? !needed.has(each.field) }));
    return (value) => {
      const message = value as Message & Readonly<Record<string, unknown>>;
      if (message.$unknown !== undefined && message.$unknown.length > 0) return false;
      for (const { field, name, mayBeUnset, test } of fields) {
        if (isFieldSet(message, field) ? !test(message[name]) : !mayBeUnset) return false;
      }
      return cel(message);
    };
  };

  /** Of the value of a field that is set. */
  const fieldTest = (field: DescField): Test => {
    const rules = optionOf(field, fieldOption);
    const kind = rules.type.case ?? '';
    // What is to be ignored is cut to its bound all the same.
    if (field.oneof !== undefined || rules.ignore === Ignore.ALWAYS) return cannotTell;
    if (!hasOnly(rules, FieldRulesSchema, ['required', 'ignore', 'cel', kind])) return cannotTell;
    const test = kindTest(field, rules);
    if (rules.cel.length === 0) return test;
    const subject = subjectOf(field);
    const cel = subject && celTest(rules.cel, subject);
    return cel === undefined ? cannotTell : (value) => test(value) && cel(value);
  };

  const kindTest = (field: DescField, rules: FieldRules): Test => {
    switch (field.fieldKind) {
      case 'scalar':
        return scalarTest(field.scalar, rules);
      case 'enum':
        return enumTest(field.enum, rules);
      case 'message':
        return rules.type.case === undefined ? testOf(field.message) : cannotTell;
      case 'list':
        return listTest(field, rules);
      case 'map':
        return mapTest(field, rules);
      default:
        return cannotTell;
    }
  };

  const listTest = (field: DescField & { fieldKind: 'list' }, { type }: FieldRules): Test => {
    const rules = type.case === 'repeated' ? type.value : undefined;
    if (type.case !== undefined && rules === undefined) return cannotTell;
    if (rules !== undefined && !hasOnly(rules, RepeatedRulesSchema, ['min_items', 'max_items', 'items'])) {
      return cannotTell;
    }
    const item = elementTest(field.listKind, field.scalar, field.enum, field.message, rules?.items);
    const [min, max] = boundsOf(rules, RepeatedRulesSchema.field.minItems, RepeatedRulesSchema.field.maxItems);
    return (value) => {
      const items = value as readonly unknown[];
      return items.length >= min && items.length <= max && items.every(item);
    };
  };

  const mapTest = (field: DescField & { fieldKind: 'map' }, { type }: FieldRules): Test => {
    const rules = type.case === 'map' ? type.value : undefined;
    if (rules === undefined || field.mapKey !== ScalarType.STRING || field.mapKind === 'message') return cannotTell;
    if (!hasOnly(rules, MapRulesSchema, ['min_pairs', 'max_pairs', 'keys', 'values'])) return cannotTell;
    const key = elementTest('scalar', field.mapKey, undefined, undefined, rules.keys);
    const element = elementTest(field.mapKind, field.scalar, field.enum, undefined, rules.values);
    const [min, max] = boundsOf(rules, MapRulesSchema.field.minPairs, MapRulesSchema.field.maxPairs);
    return (value) => {
      const entries = Object.entries(value as Readonly<Record<string, unknown>>);
      if (entries.length < min || entries.length > max) return false;
      return entries.every(([name, each]) => key(name) && element(each));
    };
  };

  /** Of one item of a list, or of a key or value of a map. */
  const elementTest = (
    kind: 'scalar' | 'enum' | 'message',
    scalar: ScalarType | undefined,
    enumeration: DescEnum | undefined,
    message: DescMessage | undefined,
    rules: FieldRules | undefined,
  ): Test => {
    if (rules !== undefined && !hasOnly(rules, FieldRulesSchema, [rules.type.case ?? ''])) return cannotTell;
    if (kind === 'scalar' && scalar !== undefined) return scalarTest(scalar, rules);
    if (kind === 'enum' && enumeration !== undefined) return enumTest(enumeration, rules);
    if (kind === 'message' && message !== undefined && rules?.type.case === undefined) return testOf(message);
    return cannotTell;
  };

  return (desc, message) => testOf(desc)(message);
}

/**
 * Whether a message may do without a field, given the test of its value; undefined where the validator has to be asked.
 * To ask it takes its time: it compiles the rules of the whole message.
 */
function mayBeUnset(field: DescField, test: Test): boolean | undefined {
  const { required, ignore, type, cel, celExpression, $unknown } = optionOf(field, fieldOption);
  if (required || ignore === Ignore.ALWAYS || ($unknown?.length ?? 0) > 0) return undefined;
  if (field.presence !== FeatureSet_FieldPresence.IMPLICIT && field.fieldKind !== 'list' && field.fieldKind !== 'map')
    return true;
  if (ignore === Ignore.IF_ZERO_VALUE) return true;
  if (type.case === undefined && cel.length + celExpression.length === 0) return true;
  return test === cannotTell ? undefined : test(zeroOf(field));
}

/** What a field holds that was not set. */
function zeroOf(field: DescField): unknown {
  switch (field.fieldKind) {
    case 'list':
      return [];
    case 'map':
      return {};
    case 'enum':
      return field.enum.values[0]?.number;
    case 'scalar':
      return scalarZeroValue(field.scalar, field.longAsString);
    default:
      return undefined;
  }
}

function scalarTest(scalar: ScalarType, rules: FieldRules | undefined): Test {
  const type = rules?.type;
  if (type?.case === undefined) return anything;
  if (type.case === 'string' && scalar === ScalarType.STRING) return textTest(type.value);
  if (type.case === 'int32' && scalar === ScalarType.INT32) return numberTest(type.value, Int32RulesSchema);
  if (type.case === 'uint32' && scalar === ScalarType.UINT32) return numberTest(type.value, UInt32RulesSchema);
  if (type.case === 'sint32' && scalar === ScalarType.SINT32) return numberTest(type.value, SInt32RulesSchema);
  return cannotTell;
}

/** The form of texts that are UUIDs. */
const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;

/** Bounds count code points, of which a text has at most as many as code units, and at least half as many. */
function textTest(rules: StringRules): Test {
  const expressions = expressionsOf(rules);
  const { $unknown: _, ...known } = rules; // the rules of kith.text.v1, which are among the expressions
  const understood = ['min_len', 'max_len', 'in', 'uuid', 'pattern'];
  if (expressions === undefined || !hasOnly(known, StringRulesSchema, understood)) return cannotTell;
  const { wellKnown } = rules;
  const form = wellKnown.case === 'uuid' && wellKnown.value ? UUID : undefined;
  if (wellKnown.case !== undefined && form === undefined) return cannotTell;
  const [min, max] = boundsOf(rules, StringRulesSchema.field.minLen, StringRulesSchema.field.maxLen);
  const among = rules.in.length > 0 ? new Set(rules.in) : undefined;
  return (value) => {
    const text = value as string;
    if (text.length > max || (text.length < 2 * min && Array.from(text).length < min)) return false;
    if ((form !== undefined && !form.test(text)) || (among !== undefined && !among.has(text))) return false;
    return expressions.every((test) => test(text));
  };
}

/** What the pattern and the predefined rules of kith.text.v1 ask for; undefined where that is not understood. */
function expressionsOf(rules: StringRules): Test[] | undefined {
  const { pattern } = rules;
  const tests: (Test | undefined)[] = pattern === '' ? [] : [(text) => matchPattern(pattern, text as string)];
  for (const { no } of rules.$unknown ?? []) {
    const rule = file_kith_text_v1_text.extensions.find(
      ({ number, extendee }) => number === no && extendee.typeName === rules.$typeName,
    );
    if (rule === undefined || getExtension(rules, rule) !== true) return undefined;
    tests.push(celTest(optionOf(rule, predefined).cel, 'string'));
  }
  return tests.every((test) => test !== undefined) ? tests : undefined;
}

/** Of rules in CEL; undefined where one is not understood. */
function celTest(rules: readonly Rule[], subject: Subject): Test | undefined {
  const tests = rules.map(({ expression }) => compileCel(expression, subject));
  return tests.every((test) => test !== undefined) ? (value) => tests.every((test) => test(value)) : undefined;
}

/** What `this` is in the rules of a field. */
function subjectOf(field: DescField): Subject | undefined {
  if (field.fieldKind === 'list') return field.message && { listOf: field.message };
  if (field.fieldKind === 'message') return field.message;
  return field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING ? 'string' : undefined;
}

interface NumberRules extends Message {
  readonly lessThan: { readonly case: 'lt' | 'lte' | undefined; readonly value?: number | undefined };
  readonly greaterThan: { readonly case: 'gt' | 'gte' | undefined; readonly value?: number | undefined };
}

function numberTest(rules: NumberRules, desc: DescMessage): Test {
  if (!hasOnly(rules, desc, ['lt', 'lte', 'gt', 'gte'])) return cannotTell;
  const { lessThan, greaterThan } = rules;
  const max = (lessThan.value ?? Infinity) - (lessThan.case === 'lt' ? 1 : 0);
  const min = (greaterThan.value ?? -Infinity) + (greaterThan.case === 'gt' ? 1 : 0);
  // Bounds that cross ask for a number outside of them.
  return min > max ? cannotTell : (value) => (value as number) >= min && (value as number) <= max;
}

function enumTest({ values }: DescEnum, rules: FieldRules | undefined): Test {
  const type = rules?.type;
  if (type?.case === undefined) return anything;
  if (type.case !== 'enum' || !hasOnly(type.value, EnumRulesSchema, ['defined_only', 'not_in'])) return cannotTell;
  const refused = new Set(type.value.notIn);
  const defined = new Set(values.map(({ number }) => number));
  const { definedOnly } = type.value;
  return (value) => (!definedOnly || defined.has(value as number)) && !refused.has(value as number);
}

/** What two fields of the rules say, which are 0 where they say nothing. */
function boundsOf(rules: Message | undefined, least: DescField, most: DescField): [min: number, max: number] {
  const read = (field: DescField): number | undefined =>
    rules !== undefined && isFieldSet(rules, field) ? Number(Reflect.get(rules, field.localName)) : undefined;
  return [read(least) ?? 0, read(most) ?? Infinity];
}

/** Whether rules have no other field than these: neither another rule, nor an extension. */
function hasOnly(rules: Message, desc: DescMessage, names: readonly string[]): boolean {
  if (rules.$unknown !== undefined && rules.$unknown.length > 0) return false;
  return desc.fields.every((field) => names.includes(field.name) || !isFieldSet(rules, field));
}
