import type { DescField, DescMessage, MessageShape } from '@bufbuild/protobuf';
import {
  isReflectList,
  isReflectMap,
  isReflectMessage,
  reflect,
  type ReflectMessage,
} from '@bufbuild/protobuf/reflect';
import { durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import { safeText } from '../terminal/safe-text.ts';
import { type Column, formatTable } from '../terminal/table.ts';
import type { Terminal } from '../terminal/terminal.ts';
import { enumWord } from './fields.ts';

/** A table of messages, with the fields that are named; `first.id` is a field of one in another. */
export function tableOf(
  schema: DescMessage,
  messages: readonly MessageShape<DescMessage>[],
  fields: readonly string[],
  { width, styled }: Pick<Terminal, 'width' | 'styled'>,
): string[] {
  const shown = fields.flatMap((name) => {
    const path = pathOf(schema, name.split('.'));
    return path === undefined ? [] : [{ name, path }];
  });
  const columns = shown.map(
    ({ name }): Column => ({ title: name.replaceAll(/[_.]/g, ' ').toUpperCase(), whole: /^(.+[_.])?k?id$/.test(name) }),
  );
  const rows = messages.map((message) => {
    const reflected = reflect(schema, message);
    return shown.map(({ path }) => textAt(reflected, path));
  });
  const [head = '', ...lines] = formatTable(columns, rows, width);
  return [styled('bold', head), ...lines];
}

function pathOf(schema: DescMessage, names: readonly string[]): DescField[] | undefined {
  const path: DescField[] = [];
  let desc: DescMessage | undefined = schema;
  for (const name of names) {
    const field: DescField | undefined = desc?.fields.find((each) => each.name === name);
    if (field === undefined) return undefined;
    path.push(field);
    desc = field.message;
  }
  return path;
}

function textAt(message: ReflectMessage, [field, ...rest]: readonly DescField[]): string {
  if (field === undefined || !message.isSet(field)) return '';
  if (rest.length === 0) return inlineText(message, field);
  const inner: unknown = message.get(field);
  return isReflectMessage(inner) ? textAt(inner, rest) : '';
}

/** A message for people: a line for each field that has a value, and indented what is in it. */
export function detailsOf(
  schema: DescMessage,
  message: MessageShape<DescMessage>,
  styled: Terminal['styled'],
): string[] {
  return reflectedDetails(reflect(schema, message), '', styled);
}

/** The fields of a message that are named and have a value, in one line. */
export function lineOf(schema: DescMessage, message: MessageShape<DescMessage>, fields: readonly string[]): string {
  const reflected = reflect(schema, message);
  const texts = fields.map((name) => {
    const field = schema.fields.find((each) => each.name === name);
    const text = field === undefined ? '' : inlineText(reflected, field);
    return text !== '' && name.endsWith('_id') ? `${name}=${text}` : text;
  });
  return texts
    .filter((text) => text !== '')
    .map(safeText)
    .join('  ');
}

function reflectedDetails(message: ReflectMessage, indent: string, styled: Terminal['styled']): string[] {
  const fields = message.fields.filter((field) => message.isSet(field));
  const label = (field: DescField) => field.name.replaceAll('_', ' ');
  const width = Math.max(0, ...fields.map((field) => label(field).length));
  return fields.flatMap((field) => {
    const name = `${indent}${styled('dim', label(field).padEnd(width))}`;
    const nested = nestedOf(message, field);
    if (nested === undefined) return [`${name}  ${safeText(inlineText(message, field))}`];
    return nested.length === 1 && nested[0]!.fields.length <= 4
      ? [`${name}  ${safeText(messageText(nested[0]!))}`]
      : [
          name,
          ...nested.flatMap((each, i) => [...(i === 0 ? [] : ['']), ...reflectedDetails(each, `${indent}  `, styled)]),
        ];
  });
}

/** The messages in a field; undefined for fields of other kinds, and for times and durations. */
function nestedOf(message: ReflectMessage, field: DescField): ReflectMessage[] | undefined {
  if (field.message === undefined || field.fieldKind === 'map' || isWellKnown(field.message)) return undefined;
  const value: unknown = message.get(field);
  if (isReflectMessage(value)) return [value];
  return isReflectList(value) ? [...value].filter((item) => isReflectMessage(item)) : undefined;
}

/** The value of a field in one line; empty where it has none. */
function inlineText(message: ReflectMessage, field: DescField): string {
  if (!message.isSet(field)) return '';
  const value: unknown = message.get(field);
  if (isReflectList(value)) return [...value].map((item) => valueText(field, item)).join(', ');
  if (isReflectMap(value)) return [...value].map(([key, item]) => `${String(key)}=${valueText(field, item)}`).join(' ');
  return valueText(field, value);
}

function valueText(field: DescField, value: unknown): string {
  if (isReflectMessage(value)) {
    if (value.desc.typeName === 'google.protobuf.Timestamp') return timeText(value.message as Timestamp);
    if (value.desc.typeName === 'google.protobuf.Duration') return `${durationMs(value.message as Duration) / 1000} s`;
    return messageText(value);
  }
  if (field.enum !== undefined && typeof value === 'number') {
    const name = field.enum.value[value]?.name;
    return name === undefined ? String(value) : enumWord(field.enum, name);
  }
  return String(value);
}

/** `ada@example.org home primary`: the texts of a message, and the names of what is true. */
function messageText(message: ReflectMessage): string {
  return message.fields
    .filter((field) => message.isSet(field))
    .map((field) => {
      const text = inlineText(message, field);
      if (text === 'true') return field.name;
      return field.fieldKind === 'scalar' && typeof message.get(field) === 'number' ? `${field.name} ${text}` : text;
    })
    .join(' ');
}

function timeText(time: Timestamp): string {
  return timestampDate(time)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace('T', ' ')
    .replace('Z', ' UTC');
}

function isWellKnown({ typeName }: DescMessage): boolean {
  return typeName.startsWith('google.protobuf.');
}
