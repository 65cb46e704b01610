import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  getExtension,
  getOption,
  hasExtension,
  hasOption,
  isFieldSet,
  type Message,
} from '@bufbuild/protobuf';
import { type Duration, type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import {
  BytesRulesSchema,
  DurationRulesSchema,
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
  RepeatedRulesSchema,
  type Rule,
  StringRulesSchema,
  TimestampRulesSchema,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { file_kith_text_v1_text, Normalization, normalization } from '../../gen/kith/text/v1/text_pb.ts';

/** The rules of kith.text.v1, which are extensions of buf.validate.StringRules. */
export const TEXT_RULES = file_kith_text_v1_text.extensions.filter(
  ({ extendee }) => extendee.typeName === StringRulesSchema.typeName,
);

/**
 * The rules of a field as plain data. Everything that is written to documents about rules comes from here, and a rule
 * that this does not know throws, so that none is left out of a document.
 */
export interface FieldConstraints {
  /** The rules do not apply to the value that an absent field has. */
  readonly ignoreZero: boolean;
  /** What the server removes before it looks. */
  readonly normalization: Normalization;
  /** Code points. */
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly format?: 'uuid' | 'email' | 'uri';
  /** The names of rules of kith.text.v1. */
  readonly text?: readonly string[];
  /** Of numbers. */
  readonly minimum?: number;
  readonly maximum?: number;
  /** The names of the values of an enum that are allowed. */
  readonly values?: readonly string[];
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly items?: FieldConstraints;
  readonly maxPairs?: number;
  readonly keys?: FieldConstraints;
  readonly mapValues?: FieldConstraints;
  /** Of durations, seconds. */
  readonly minSeconds?: number;
  readonly maxSeconds?: number;
  /** Of times, RFC 3339. */
  readonly earliest?: string;
  readonly latest?: string;
  readonly inFuture?: boolean;
  /** In words. */
  readonly other?: readonly string[];
}

/** Throws for a rule that is not known here. */
export function constraintsOf(field: DescField): FieldConstraints {
  const rules = getOption(field, fieldOption);
  return {
    ...read(rules, field.enum, field.toString()),
    normalization: getOption(field, normalization),
  };
}

/** The rules of a message as a whole, in words. Throws for a rule that is not known here. */
export function messageRules(desc: DescMessage): string[] {
  const rules = getOption(desc, messageOption);
  only(rules, MessageRulesSchema, ['cel'], desc.typeName);
  return rules.cel.map(({ message }) => message);
}

/** Whether one field of it must be set. */
export function isRequired(oneof: DescOneof): boolean {
  return hasOption(oneof, oneofOption) && getOption(oneof, oneofOption).required;
}

function read(rules: FieldRules, desc: DescEnum | undefined, name: string): FieldConstraints {
  only(rules, FieldRulesSchema, ['cel', 'ignore', 'type'], name);
  const other = rules.cel.map(({ message }: Rule) => message);
  return {
    ignoreZero: rules.ignore === Ignore.IF_ZERO_VALUE,
    normalization: Normalization.UNSPECIFIED,
    ...(other.length > 0 && { other }),
    ...readType(rules.type, desc, name),
  };
}

function readType(type: FieldRules['type'], desc: DescEnum | undefined, name: string): Partial<FieldConstraints> {
  switch (type.case) {
    case undefined:
      return {};
    case 'string': {
      only(type.value, StringRulesSchema, ['min_len', 'max_len', 'in', 'email', 'uuid', 'uri'], name);
      const { minLen, maxLen, wellKnown } = type.value;
      const text = TEXT_RULES.filter((rule) => hasExtension(type.value, rule) && getExtension(type.value, rule));
      return {
        ...(isFieldSet(type.value, StringRulesSchema.field.minLen) && { minLength: Number(minLen) }),
        ...(isFieldSet(type.value, StringRulesSchema.field.maxLen) && { maxLength: Number(maxLen) }),
        ...(wellKnown.case !== undefined && { format: wellKnown.case as 'uuid' | 'email' | 'uri' }),
        ...(type.value.in.length > 0 && { values: type.value.in }),
        ...(text.length > 0 && { text: text.map((rule) => rule.name) }),
      };
    }
    case 'bytes': {
      only(type.value, BytesRulesSchema, ['min_len', 'max_len'], name);
      const { minLen, maxLen } = type.value;
      return { other: [`must have ${minLen} to ${maxLen} bytes`] };
    }
    case 'int32': {
      only(type.value, Int32RulesSchema, ['gte', 'lte'], name);
      const { greaterThan, lessThan } = type.value;
      return {
        ...(greaterThan.case === 'gte' && { minimum: greaterThan.value }),
        ...(lessThan.case === 'lte' && { maximum: lessThan.value }),
      };
    }
    case 'enum': {
      only(type.value, EnumRulesSchema, ['defined_only', 'in', 'not_in'], name);
      const allowed = desc?.values.filter(
        ({ number }) =>
          (type.value.in.length === 0 || type.value.in.includes(number)) && !type.value.notIn.includes(number),
      );
      return { values: allowed?.map((value) => value.name) ?? [] };
    }
    case 'repeated': {
      only(type.value, RepeatedRulesSchema, ['min_items', 'max_items', 'unique', 'items'], name);
      const { minItems, maxItems, unique, items } = type.value;
      return {
        ...(minItems > 0n && { minItems: Number(minItems) }),
        ...(maxItems > 0n && { maxItems: Number(maxItems) }),
        ...(unique && { uniqueItems: true }),
        ...(items !== undefined && { items: read(items, desc, name) }),
      };
    }
    case 'map': {
      only(type.value, MapRulesSchema, ['max_pairs', 'keys', 'values'], name);
      const { maxPairs, keys, values } = type.value;
      return {
        ...(maxPairs > 0n && { maxPairs: Number(maxPairs) }),
        ...(keys !== undefined && { keys: read(keys, undefined, name) }),
        ...(values !== undefined && { mapValues: read(values, desc, name) }),
      };
    }
    case 'duration': {
      only(type.value, DurationRulesSchema, ['gte', 'lte'], name);
      const { greaterThan, lessThan } = type.value;
      return {
        ...(greaterThan.case === 'gte' && { minSeconds: secondsOf(greaterThan.value) }),
        ...(lessThan.case === 'lte' && { maxSeconds: secondsOf(lessThan.value) }),
      };
    }
    case 'timestamp': {
      only(type.value, TimestampRulesSchema, ['gte', 'lte', 'gt_now'], name);
      const { greaterThan, lessThan } = type.value;
      return {
        ...(greaterThan.case === 'gte' && { earliest: rfc3339(greaterThan.value) }),
        ...(greaterThan.case === 'gtNow' && greaterThan.value && { inFuture: true }),
        ...(lessThan.case === 'lte' && { latest: rfc3339(lessThan.value) }),
      };
    }
    default:
      throw new Error(`${name} has rules of type ${type.case}: extend scripts/contract/rules.ts`);
  }
}

/** Throws when anything but these fields of a message of rules is set, or an extension that is not of kith.text.v1. */
function only(rules: Message, schema: DescMessage, known: readonly string[], name: string): void {
  const strange = schema.fields
    .filter((field) => isFieldSet(rules, field) && !known.includes(field.oneof?.name === 'type' ? 'type' : field.name))
    .map((field) => field.name);
  const extensions = new Set(TEXT_RULES.map(({ number }) => number));
  const unknown = (rules.$unknown ?? []).filter(({ no }) => !extensions.has(no)).map(({ no }) => `extension ${no}`);
  const found = [...strange, ...unknown];
  if (found.length > 0) throw new Error(`${name} has the rule ${found.join(', ')}: extend scripts/contract/rules.ts`);
}

function secondsOf({ seconds, nanos }: Duration): number {
  return Number(seconds) + nanos / 1e9;
}

function rfc3339(time: Timestamp): string {
  return timestampDate(time).toISOString();
}
