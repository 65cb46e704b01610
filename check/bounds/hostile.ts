import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';

/**
 * Messages that are made to cost more to read than to send, of any message type.
 * Undefined where the type has no place for it. `size` is in bytes, roughly.
 */
export type Hostile = (type: DescMessage, size: number) => Uint8Array | undefined;

const WIRE_TYPE = { varint: 0, fixed64: 1, length: 2, groupStart: 3 };

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

const tag = (number: number, wireType: number) => varint(number * 8 + wireType);

function delimited(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([...tag(number, WIRE_TYPE.length), ...varint(bytes.length)]), bytes]);
}

function repeat(unit: readonly number[], size: number): Buffer {
  return Buffer.alloc(Math.floor(size / unit.length) * unit.length, Buffer.from(unit));
}

/** The smallest field number that the type does not have. */
function freeNumber({ fields }: DescMessage): number {
  const taken = new Set(fields.map(({ number }) => number));
  for (let number = 1; ; number++) if (!taken.has(number)) return number;
}

/** As many unknown fields as fit, of two bytes each where the type leaves a small number free. */
export const unknownFields: Hostile = (type, size) => repeat([...tag(freeNumber(type), WIRE_TYPE.varint), 1], size);

/** The same, where a field of the message holds them. */
export const unknownFieldsInside: Hostile = (type, size) => {
  const path = findPath(type, (field) => field.fieldKind === 'message');
  return path && wrap(path, unknownFields(path.at(-1)!.message!, size)!);
};

/** Unknown fields that each hold another one, as deep as the bytes allow. */
export const nestedUnknown: Hostile = (type, size) => {
  const number = freeNumber(type);
  // Built from the inside out, each level some bytes longer, in one buffer that is filled from its end.
  const buffer = Buffer.alloc(size);
  let start = size;
  while (start > 8) {
    const head = Buffer.from([...tag(number, WIRE_TYPE.length), ...varint(size - start)]);
    start -= head.length;
    head.copy(buffer, start);
  }
  return buffer.subarray(start);
};

/** Groups in groups that never end. */
export const deepGroups: Hostile = (type, size) => repeat(tag(freeNumber(type), WIRE_TYPE.groupStart), size);

/** The longest list of empty items in the repeated field that lies nearest. */
export const longList: Hostile = (type, size) => {
  const path = findPath(type, (field) => field.fieldKind === 'list');
  const list = path?.at(-1);
  if (path === undefined || list?.fieldKind !== 'list') return undefined;
  const items =
    list.listKind === 'enum'
      ? delimited(list.number, repeat([1], size))
      : repeat([...tag(list.number, WIRE_TYPE.length), 0], size);
  return wrap(path.slice(0, -1), items);
};

/** The largest map of distinct keys, in the map that lies nearest. */
export const longMap: Hostile = (type, size) => {
  const path = findPath(type, (field) => field.fieldKind === 'map');
  const map = path?.at(-1);
  if (path === undefined || map === undefined) return undefined;
  const entries: Buffer[] = [];
  for (let bytes = 0, i = 0; bytes < size; i++) {
    const entry = delimited(map.number, delimited(1, Buffer.from(i.toString(36))));
    entries.push(entry);
    bytes += entry.length;
  }
  return wrap(path.slice(0, -1), Buffer.concat(entries));
};

/** A message field that comes again and again, and is merged each time. */
export const merges: Hostile = (type, size) => {
  const path = findPath(type, (field) => field.fieldKind === 'message');
  const field = path?.at(-1);
  return path && field && wrap(path.slice(0, -1), repeat([...tag(field.number, WIRE_TYPE.length), 0], size));
};

/** A string field with a text as long as the message may be. */
export const hugeString: Hostile = (type, size) => text(type, Buffer.alloc(size, 'a '));

/** The same of characters that take four bytes. */
export const hugeEmoji: Hostile = (type, size) => text(type, Buffer.alloc(size - (size % 4), '🦉'));

/** A text that is not UTF-8. */
export const invalidUtf8: Hostile = (type, size) => text(type, Buffer.alloc(size, 0xff));

function text(type: DescMessage, bytes: Buffer): Uint8Array | undefined {
  const path = findPath(type, isText);
  return path && wrap(path.slice(0, -1), delimited(path.at(-1)!.number, bytes));
}

const isText = (field: DescField) => field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING;

/** Every number of the message set to its greatest, in the longest form a varint has. */
export const overlongVarints: Hostile = ({ fields }, size) => {
  const number = fields.find(
    ({ fieldKind, scalar }) => fieldKind === 'enum' || (fieldKind === 'scalar' && scalar !== ScalarType.STRING),
  )?.number;
  if (number === undefined) return undefined;
  return repeat([...tag(number, WIRE_TYPE.varint), ...Array.from({ length: 9 }, () => 0xff), 0x01], size);
};

/** A length that promises more than comes. */
export const truncated: Hostile = (type) =>
  Buffer.from([...tag(type.fields[0]?.number ?? 1, WIRE_TYPE.length), ...varint(2 ** 31 - 1), 1, 2, 3]);

/** Nothing but zeros: field number 0, which there is not. */
export const zeros: Hostile = (_type, size) => Buffer.alloc(size);

function wrap(path: readonly DescField[], bytes: Uint8Array): Uint8Array {
  return path.toReversed().reduce<Uint8Array>((inner, field) => delimited(field.number, inner), bytes);
}

/** The fields that lead to the nearest one that is wanted, which is the last of them. */
function findPath(type: DescMessage, isWanted: (field: DescField) => boolean): DescField[] | undefined {
  const seen = new Set<DescMessage>([type]);
  let paths: DescField[][] = type.fields.map((field) => [field]);
  while (paths.length > 0) {
    const found = paths.find((path) => isWanted(path.at(-1)!));
    if (found !== undefined) return found;
    paths = paths.flatMap((path) => {
      const { message } = path.at(-1)!;
      if (message === undefined || seen.has(message)) return [];
      seen.add(message);
      return message.fields.map((field) => [...path, field]);
    });
  }
  return undefined;
}

const json = (text: string) => Buffer.from(text);

const repeatText = (unit: string, size: number) => unit.repeat(Math.floor(size / unit.length));

/** Distinct keys that the type does not have. */
export const jsonKeys: Hostile = (_type, size) =>
  json(`{${Array.from({ length: Math.floor(size / 9) }, (_, i) => `"${i.toString(36).padStart(4, '_')}":1`).join()}}`);

/** One field of the type, again and again. */
export const jsonDuplicates: Hostile = ({ fields: [first] }, size) =>
  first && json(`{${repeatText(`"${first.jsonName}":null,`, size)}"${first.jsonName}":null}`);

export const jsonNestedArrays: Hostile = (type, size) =>
  json(`{"${type.fields[0]?.jsonName ?? 'a'}":${'['.repeat(size / 2)}${']'.repeat(size / 2)}}`);

export const jsonNestedObjects: Hostile = (_type, size) =>
  json(`${repeatText('{"a":', size)}1${'}'.repeat(Math.floor(size / 5))}`);

/** Nesting that stops halfway. */
export const jsonUnclosed: Hostile = (_type, size) => json(repeatText('{"a":[', size));

/** The longest list, or map, of the type. */
export const jsonLongList: Hostile = (type, size) => {
  const path = findPath(type, ({ fieldKind }) => fieldKind === 'list' || fieldKind === 'map');
  const list = path?.at(-1);
  if (path === undefined || list === undefined) return undefined;
  let inner: string;
  if (list.fieldKind === 'map')
    inner = `{${Array.from({ length: Math.floor(size / 11) }, (_, i) => `"${i.toString(36)}":"1"`).join()}}`;
  else if (list.fieldKind === 'list' && list.listKind === 'message') inner = `[${repeatText('{},', size)}{}]`;
  else inner = `[${repeatText('1,', size)}1]`;
  return json(nestJson(path, inner));
};

function nestJson(path: readonly DescField[], inner: string): string {
  return path.reduceRight((value, field, i) => {
    const isLast = i === path.length - 1;
    const held = !isLast && field.fieldKind === 'list' ? `[${value}]` : value;
    return `{"${field.jsonName}":${held}}`;
  }, inner);
}

/** A number of as many digits as fit. */
export const jsonLongNumber: Hostile = ({ fields: [first] }, size) =>
  first && json(`{"${first.jsonName}":${'9'.repeat(size)}}`);

/** A text in which every character is escaped. */
export const jsonEscapes: Hostile = ({ fields: [first] }, size) =>
  first && json(`{"${first.jsonName}":"${repeatText('\\u0061', size)}"}`);

/** Spaces, which mean nothing. */
export const jsonSpaces: Hostile = (_type, size) => json(`${' '.repeat(size)}{"_":1}`);

export function gzip(bytes: Uint8Array): Uint8Array {
  return gzipSync(bytes, { level: 9 });
}

export function brotli(bytes: Uint8Array): Uint8Array {
  return brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 22 },
  });
}
