import {
  type DescMessage,
  fromJsonString as fromJsonStringOfProtobuf,
  type JsonReadOptions,
  toJsonString as toJsonStringOfProtobuf,
} from '@bufbuild/protobuf';
import { TimestampSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { fromJsonString, toJsonString } from './json.ts';
import { jsonDecoderOf } from './json-decoder.ts';
import { jsonEncoderOf } from './json-encoder.ts';
import { Random, randomMessage, registry, TYPES } from './kinds.testkit.ts';
import { expectSame, MESSAGES, outcomeOf, SEED } from './same.testkit.ts';

const HOSTILE = [
  null,
  true,
  '',
  ' 1',
  '1',
  '-1',
  '0x10',
  '1e3',
  'NaN',
  'Infinity',
  '9223372036854775808',
  '18446744073709551616',
  '\ud800',
  'AQ==',
  'AQ',
  '-_',
  'CHOICE_ONE',
  'CHOICE_TWO',
  'NULL_VALUE',
  '2026-02-30T00:00:00Z',
  '2026-02-28T24:00:00Z',
  '0000-01-01T00:00:00Z',
  '2026-01-01T00:00:00.1234567891Z',
  '2026-01-01T00:00:00+01:00',
  '2024-02-29T23:59:59.5Z',
  '1.5s',
  'user.displayName,a_b',
  0,
  -0,
  1.5,
  -1,
  1e300,
  2_147_483_648,
  2 ** 53,
  [],
  [null],
  [[]],
  {},
  { '': 1 },
  { true: 'true', '01': 1 },
  { '@type': 'type.googleapis.com/google.protobuf.Duration', value: '1s' },
  JSON.parse('{"__proto__": "1", "constructor": "2"}') as object,
];

/** The JSON of a message with something in it that is not of it. */
function spoiled(json: unknown, random: Random): unknown {
  if (typeof json !== 'object' || json === null || random.chance(0.2)) return random.pick(HOSTILE);
  const keys = Object.keys(json);
  if (Array.isArray(json) || (keys.length > 0 && random.chance(0.8))) {
    if (keys.length === 0) return [random.pick(HOSTILE)];
    const key = random.pick(keys);
    const copy: Record<string, unknown> = Array.isArray(json) ? ([...json] as never) : { ...json };
    copy[key] = spoiled(copy[key], random);
    return copy;
  }
  return {
    ...json,
    [random.pick(['one_string', 'oneString', 'unknown', '[kinds.extension]', '__proto__'])]: random.pick(HOSTILE),
  };
}

/** The same JSON, or nearly, as others may write it. */
function rewritten(text: string, random: Random): string {
  const members = [...text.matchAll(/"(\w+)":("[^"\\]*"|\d+|true)/g)];
  const member = members.length === 0 ? undefined : random.pick(members);
  switch (random.below(6)) {
    case 0:
      return text.replaceAll(/":/g, '" : ');
    case 1: // twice
      return member === undefined ? text : text.replace(member[0], `${member[0]}, ${member[0]}`);
    case 2: // twice, in other letters
      return member === undefined ? text : text.replace(member[0], `${member[0]},"\\u${escapeOf(member[1]!)}":1`);
    case 3:
      return text.replaceAll(/"([a-z]+[A-Z]\w*)":/g, (_, name: string) => `"${snakeOf(name)}":`);
    case 4:
      return text.slice(0, random.below(text.length + 1));
    default:
      return text;
  }
}

const escapeOf = (name: string) => `${name.charCodeAt(0).toString(16).padStart(4, '0')}${name.slice(1)}`;
const snakeOf = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

describe('JSON of generated messages of every kind of field', () => {
  const random = new Random(SEED);
  const left = new Set<string>();
  let compiled = 0;

  test(`is written and read as by Protobuf-ES, and so is what is made of it (seed ${SEED})`, {
    timeout: 900_000,
  }, () => {
    for (let i = 0; i < MESSAGES; i++) {
      const desc = TYPES[i % TYPES.length]!;
      const message = randomMessage(desc, random);
      const options = random.pick([undefined, undefined, { registry }, { prettySpaces: 2 }, { enumAsInteger: true }]);
      expectSame(
        () => toJsonString(desc, message, options),
        () => toJsonStringOfProtobuf(desc, message, options),
        () => ({ desc: desc.typeName, i, options }),
      );
      const { value: text } = outcomeOf(() => toJsonStringOfProtobuf(desc, message)) as { value?: string };
      if (text === undefined) continue;
      count(desc, () => jsonEncoderOf(desc).write(message));
      count(desc, () => jsonDecoderOf(desc).read(JSON.parse(text), 100));
      expectRead(desc, text, undefined);
      const reading = random.pick([
        {},
        { ignoreUnknownFields: true },
        { recursionLimit: 1 + random.below(4) },
        { registry },
      ]);
      expectRead(desc, rewritten(text, random), reading);
      const hostile = JSON.stringify(spoiled(JSON.parse(text), random));
      expectRead(desc, hostile, reading);
      expectRead(desc, rewritten(hostile, random), reading);
    }
  });

  test('is mostly not left to Protobuf-ES', () => {
    expect([...left].filter((type) => !/(Groups|Kinds|Implicit|Defaults|Unchecked|Required)$/.test(type))).toEqual([]);
    expect(compiled).toBeGreaterThan(MESSAGES);
  });

  function expectRead(desc: DescMessage, text: string, options: Partial<JsonReadOptions> | undefined): void {
    expectSame(
      () => fromJsonString(desc, text, options),
      () => fromJsonStringOfProtobuf(desc, text, options),
      () => ({ desc: desc.typeName, text, options: Object.keys(options ?? {}) }),
    );
  }

  function count(desc: DescMessage, work: () => unknown): void {
    if ('value' in (outcomeOf(work) as object)) compiled++;
    else left.add(desc.typeName);
  }
});

test('times are written and read as by Protobuf-ES, from the year 1 to the year 9999', () => {
  const random = new Random(SEED);
  for (let i = 0; i < 5000; i++) {
    const seconds = BigInt(Math.floor(random.next() * 316_000_000_000) - 62_200_000_000);
    const nanos = random.pick([0, 0, 1, 5_000_000, 120_000_000, 123_456_000, 999_999_999, -1, 1_000_000_000]);
    const message = { $typeName: 'google.protobuf.Timestamp' as const, seconds, nanos };
    const write = () => toJsonStringOfProtobuf(TimestampSchema, message);
    expectSame(
      () => toJsonString(TimestampSchema, message),
      write,
      () => ({ seconds: String(seconds), nanos }),
    );
    const { value } = outcomeOf(write) as { value?: string };
    if (value === undefined) continue;
    // Digits in other places make days and hours that there are not.
    const text = value.replace(/\d(?=\D)/, () => String(random.below(10)));
    expectSame(
      () => fromJsonString(TimestampSchema, text),
      () => fromJsonStringOfProtobuf(TimestampSchema, text),
      () => text,
    );
  }
});
