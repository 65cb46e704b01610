import { type DescEnum, type DescField, type DescMessage, type JsonValue, ScalarType } from '@bufbuild/protobuf';
import { UsageError } from '../command.ts';
import { didYouMean } from '../suggest.ts';
import { parseTime } from './time.ts';

/** `given_name` as an option: `given-name`. */
export function optionName({ name }: DescField): string {
  return name.replaceAll('_', '-');
}

/** What stands for the value of a field in help; undefined for a switch. */
export function valueName(field: DescField): string | undefined {
  if (field.fieldKind === 'map') return 'KEY=VALUE';
  if (field.fieldKind === 'message') return messageValueName(field.message);
  if (field.fieldKind === 'list') {
    return field.listKind === 'message' ? messageValueName(field.message) : scalarValueName(field);
  }
  return isSwitch(field) ? undefined : scalarValueName(field);
}

/** Whether a field is false when it is absent, so that nothing but true is worth saying. */
function isSwitch(field: DescField): boolean {
  return field.fieldKind === 'scalar' && field.scalar === ScalarType.BOOL && !field.proto.proto3Optional;
}

/** The values that a field takes, as options have them. */
export function valuesOf(field: DescField): readonly string[] | undefined {
  const { enum: desc } = field;
  if (desc !== undefined) {
    return desc.values.filter(({ number }) => number !== 0).map(({ name }) => enumWord(desc, name));
  }
  return field.fieldKind === 'scalar' && field.scalar === ScalarType.BOOL && !isSwitch(field)
    ? ['true', 'false']
    : undefined;
}

/** `USER_STATE_ACTIVE` as people write it: `active`. */
export function enumWord({ sharedPrefix = '' }: DescEnum, name: string): string {
  const short = name.toUpperCase().startsWith(sharedPrefix.toUpperCase()) ? name.slice(sharedPrefix.length) : name;
  return short.toLowerCase().replaceAll('_', '-');
}

/** What options say of a field, in the JSON of Protobuf. Throws UsageError. */
export function fieldJson(field: DescField, given: readonly string[]): JsonValue {
  const wrapped = wrapperOf(field);
  if (wrapped !== undefined) {
    const { name } = wrapped;
    return { [name]: fieldJson(wrapped, given) };
  }
  if (field.fieldKind === 'map') return Object.fromEntries(given.map((text) => pairOf(field, text)));
  if (field.fieldKind === 'list') return given.flatMap((text) => itemsJson(field, text));
  return valueJson(field, given.at(-1)!);
}

/**
 * The field of a message that is there so that an empty list or value can be told from none: `EmailAddresses` of
 * `repeated values`, `BirthdayChange` of `value`.
 */
export function wrapperOf(field: DescField): DescField | undefined {
  if (field.fieldKind !== 'message' || field.message.typeName.startsWith('google.protobuf.')) return undefined;
  const [inner, ...others] = field.message.fields;
  return others.length === 0 && inner !== undefined && /^values?$/.test(inner.name) ? inner : undefined;
}

function itemsJson(field: DescField & { fieldKind: 'list' }, text: string): JsonValue[] {
  if (field.listKind !== 'message' || !text.startsWith('[')) return [valueJson(field, text)];
  const items = parseJson(field, text);
  return Array.isArray(items) ? items : [items];
}

function valueJson(field: DescField, text: string): JsonValue {
  if (field.enum !== undefined) return enumName(field, field.enum, text);
  if (field.message !== undefined) return messageJson(field, field.message, text);
  const type = field.fieldKind === 'list' && field.listKind === 'scalar' ? field.scalar : field.scalar;
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BOOL:
      return text !== 'false';
    default:
      if (!/^-?\d+(\.\d+)?$/.test(text))
        throw new UsageError(`--${optionName(field)} takes a number, not ${JSON.stringify(text)}`);
      return text;
  }
}

/** The JSON of a message as help shows it: `{"anyOf": ["..."]}`; '' for one with more fields than help has room for. */
export function jsonShape({ fields }: DescMessage): string {
  if (fields.length > SHAPE_FIELDS) return '';
  return `{${fields.map((field) => `${JSON.stringify(field.jsonName)}: ${valueShape(field)}`).join(', ')}}`;
}

const SHAPE_FIELDS = 8;

function valueShape(field: DescField): string {
  const one =
    field.enum !== undefined ? '"..."' : field.message !== undefined ? '{...}' : (SHAPES[field.scalar ?? 0] ?? '1');
  return field.fieldKind === 'list' ? `[${one}]` : field.fieldKind === 'map' ? '{...}' : one;
}

const SHAPES: Readonly<Record<number, string>> = { [ScalarType.STRING]: '"..."', [ScalarType.BOOL]: 'true' };

/** A message is written as JSON; one that begins with a text, as that text alone; times and durations as people write them. */
function messageJson(field: DescField, message: DescMessage, text: string): JsonValue {
  if (message.typeName === 'google.protobuf.Timestamp') return parseTime(optionName(field), text);
  if (message.typeName === 'google.protobuf.Duration') return durationJson(field, text);
  if (message.typeName === PARTIAL_DATE && !text.startsWith('{')) return partialDateJson(field, text);
  const main = mainFieldOf(message);
  return text.startsWith('{') || main === undefined ? parseJson(field, text) : { [main.name]: text };
}

/** The field that says most of a message: the address of an email address. */
function mainFieldOf({ fields: [first] }: DescMessage): DescField | undefined {
  return first?.fieldKind === 'scalar' && first.scalar === ScalarType.STRING && first.name !== 'id' ? first : undefined;
}

const PARTIAL_DATE = 'kith.contact.v1.PartialDate';

/** `1906-12-09`, `1906-12`, `1906`, `--12-09` or `--12`, as far as a date is known. */
function partialDateJson(field: DescField, text: string): JsonValue {
  const { year, month, day } = /^(?:(?<year>\d{4})|-)(?:-(?<month>\d\d)(?:-(?<day>\d\d))?)?$/.exec(text)?.groups ?? {};
  if (year === undefined && month === undefined) {
    throw new UsageError(
      `--${optionName(field)} takes a date such as 1906-12-09, 1906-12 or --12-09, not ${JSON.stringify(text)}`,
    );
  }
  return {
    ...(year !== undefined && { year: Number(year) }),
    ...(month !== undefined && { month: Number(month) }),
    ...(day !== undefined && { day: Number(day) }),
  };
}

function durationJson(field: DescField, text: string): string {
  const [, count, unit = 's'] = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text) ?? [];
  if (count === undefined)
    throw new UsageError(
      `--${optionName(field)} takes a duration such as 90s, 15m, 2h or 1d, not ${JSON.stringify(text)}`,
    );
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[unit || 's'] ?? 1;
  return `${Number(count) * seconds}s`;
}

function enumName(field: DescField, desc: DescEnum, text: string): string {
  const word = text.toLowerCase().replaceAll('_', '-');
  const value = desc.values.find(
    ({ name, number }) => number !== 0 && (enumWord(desc, name) === word || name === text),
  );
  if (value !== undefined) return value.name;
  const words = valuesOf(field) ?? [];
  throw new UsageError(
    `--${optionName(field)} does not take ${JSON.stringify(text)}${didYouMean(word, words) || `; it takes ${words.join(', ')}`}`,
  );
}

function pairOf(field: DescField, text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`--${optionName(field)} takes KEY=VALUE, not ${JSON.stringify(text)}`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function parseJson(field: DescField, text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    const shape = field.message === undefined ? '' : jsonShape(field.message);
    const takes = shape === '' ? 'JSON' : `JSON such as ${shape}`;
    throw new UsageError(
      `--${optionName(field)} takes ${takes}, and ${JSON.stringify(text)} is not: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

function scalarValueName(field: DescField): string {
  if (field.enum !== undefined) return enumLabel(field.enum);
  if (field.scalar === ScalarType.BOOL) return 'true|false';
  if (field.scalar !== ScalarType.STRING) return 'N';
  const last = field.name.split('_').at(-1)!;
  return (field.fieldKind === 'list' ? last.replace(/(x)?es$|s$/, '$1') : last).toUpperCase();
}

function enumLabel({ name }: DescEnum): string {
  return name
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_')
    .split('_')
    .at(-1)!
    .toUpperCase();
}

function messageValueName(message: DescMessage): string {
  const { typeName, fields } = message;
  if (typeName === 'google.protobuf.Timestamp') return 'TIME';
  if (typeName === 'google.protobuf.Duration') return 'DURATION';
  if (typeName === PARTIAL_DATE) return 'DATE';
  const [first, ...others] = fields;
  if (others.length === 0 && first?.message !== undefined) return messageValueName(first.message);
  return mainFieldOf(message)?.name.toUpperCase() ?? 'JSON';
}
