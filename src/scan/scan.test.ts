import { getHeapStatistics } from 'node:v8';
import { type DescMessage, fromBinary, fromJsonString } from '@bufbuild/protobuf';
import { AnySchema, FieldMaskSchema, ListValueSchema, StructSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { requestTypes } from '../../test/support/request-types.ts';
import { CreateContactRequestSchema } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { generator } from '../../test/support/generator.ts';
import { scanBinary } from './binary.ts';
import { scanJson } from './json.ts';
import { compilePlan, Kind, type Plan, UnboundedTypeError } from './plan.ts';
import { bounds, excessOf, isAllowedBinary, mutate, ThingSchema, writeBinary, writeJson } from './scan.testkit.ts';

/** How many messages are looked at in all: KITH_TEST_SCAN_MESSAGES=100000 takes a few minutes. */
const MESSAGES = Number(process.env['KITH_TEST_SCAN_MESSAGES'] ?? 2000);
const SEED = Number(process.env['KITH_TEST_SCAN_SEED'] ?? 1);

const types: readonly DescMessage[] = [...requestTypes(), ThingSchema];
const each = Math.ceil(MESSAGES / 2 / types.length);
/** Half of the messages of our own contract would be half of nothing: the type of the tests has every kind of field. */
const rounds = types.flatMap((desc) => Array.from({ length: desc === ThingSchema ? 10 : 1 }, () => desc));
const perRound = Math.ceil((each * types.length) / rounds.length);

const WRONGNESS = [Infinity, Infinity, 400, 40, 8];

/** What the decoder says of things that the scan is about. */
const ABOUT_STRUCTURE =
  /key ".*" is unknown|duplicate object key|field \S+ from JSON: set multiple times|maximum recursion depth|(?:got|JSON:) (?:object|Array\(\d+\))$/s;

describe(`${MESSAGES} generated and mutated messages (seed ${SEED})`, () => {
  const tallies = { binary: { passed: 0, refused: 0 }, json: { passed: 0, refused: 0 } };

  test('in binary are refused where the decoder, with all rules, refuses them, and nowhere else', () => {
    const g = generator(SEED);
    const faults: string[] = [];
    for (const desc of rounds) {
      const plan = compilePlan(desc);
      for (let i = 0; i < perRound; i++) {
        const written = writeBinary(g, plan, g.pick(WRONGNESS));
        const bytes = g.below(3) === 0 ? mutate(g, written) : written;
        const finding = scanBinary(plan, bytes);
        const isPassed = finding === undefined;
        tallies.binary[isPassed ? 'passed' : 'refused']++;
        const decoded = decode(() => fromBinary(desc, bytes));
        const excess = decoded.error === undefined ? excessOf(desc, decoded.message) : undefined;
        const hasDecoded = decoded.error === undefined || /utf-?8/i.test(decoded.error);
        const isRight =
          isPassed === isAllowedBinary(desc, [bytes]) && (!isPassed || (hasDecoded && excess === undefined));
        if (!isRight)
          faults.push(`${desc.typeName} ${Buffer.from(bytes).toString('hex')} ${finding?.kind} ${decoded.error}`);
      }
    }
    expect(faults).toEqual([]);
    expect(tallies.binary.passed).toBeGreaterThan(MESSAGES / 20);
    expect(tallies.binary.refused).toBeGreaterThan(MESSAGES / 20);
  });

  test('in JSON are refused where the decoder, with all rules, refuses them, and nowhere else', () => {
    const g = generator(SEED);
    const faults: string[] = [];
    for (const desc of rounds) {
      const plan = compilePlan(desc);
      for (let i = 0; i < perRound; i++) {
        const written = Buffer.from(`${g.pick(['', '', '\ufeff'])}${writeJson(g, plan, g.pick(WRONGNESS))}`);
        const bytes = g.below(3) === 0 ? Buffer.from(mutate(g, written)) : written;
        const finding = scanJson(plan, bytes);
        tallies.json[finding === undefined ? 'passed' : 'refused']++;
        const decoded = decode(() => fromJsonString(desc, new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
        const isPassed = finding === undefined;
        const excess = decoded.error === undefined ? excessOf(desc, decoded.message) : undefined;
        // Of texts only those are refused that are sure to be too long.
        const isLong = finding?.kind === 'too_many' && isTextBound(finding.field);
        const isMisfit = decoded.error !== undefined && ABOUT_STRUCTURE.test(decoded.error);
        const isRight = isPassed
          ? excess === undefined && !isMisfit
          : excess !== undefined || isLong || decoded.error !== undefined;
        if (!isRight) faults.push(`${desc.typeName} ${bytes.toString()} ${finding?.kind} ${decoded.error}`);
      }
    }
    expect(faults).toEqual([]);
    expect(tallies.json.passed).toBeGreaterThan(MESSAGES / 20);
    expect(tallies.json.refused).toBeGreaterThan(MESSAGES / 20);
  });
});

/** What V8 has allocated in all, bytes. */
const allocated = () => getHeapStatistics().total_allocated_bytes;

/** Bytes allocated on the heap in one scan, apart from what the first ones take. */
function allocatedBy(scan: () => unknown): number {
  for (let i = 0; i < 5; i++) scan();
  const before = allocated();
  for (let i = 0; i < 20; i++) scan();
  return (allocated() - before) / 20;
}

const MEGABYTE = 1_000_000;
const fill = (text: string) => text.repeat(Math.floor(MEGABYTE / text.length));

describe('a scan allocates next to nothing, whatever the bytes', () => {
  const thing = compilePlan(ThingSchema);
  const contact = compilePlan(CreateContactRequestSchema);
  const thingBinary = (...bytes: number[]) =>
    scanBinary.bind(undefined, thing, Buffer.alloc(MEGABYTE, Buffer.of(...bytes)));
  const contactJson = (text: string) => scanJson.bind(undefined, contact, Buffer.from(text));

  test.each<[string, () => unknown]>([
    ['unknown fields', thingBinary(0xa0, 0x06)],
    ['items of nothing', thingBinary(0x72, 0x00)],
    ['texts of nothing', thingBinary(0x52, 0x00)],
    ['pairs of nothing', thingBinary(0x7a, 0x00)],
    ['packed lists of nothing', thingBinary(0x5a, 0x00)],
    ['one field again and again', thingBinary(0x10, 0x01)],
    ['messages of nothing again and again', thingBinary(0x4a, 0x00)],
    ['groups', thingBinary(0x4b)],
    [
      'one text',
      scanBinary.bind(undefined, thing, Buffer.concat([Buffer.of(0x3a, 0xc0, 0x84, 0x3d), Buffer.alloc(MEGABYTE)])),
    ],
    ['unknown keys', contactJson(`{${fill('"a":1,')}`)],
    ['one key again and again', contactJson(`{${fill('"title":"",')}`)],
    ['a key of 1 MB', contactJson(`{"${fill('a')}":1}`)],
    ['a key of 1 MB in escapes', contactJson(`{"${fill('\\u0061')}":1}`)],
    ['items', contactJson(`{"emails":[${fill('{},')}`)],
    ['arrays in one another', contactJson(fill('['))],
    ['arrays in one another in a field', contactJson(`{"emails":${fill('[')}`)],
    ['objects in one another', contactJson(fill('{"a":'))],
    ['objects in one another in a field', contactJson(`{"birthday":{"year":${fill('{"year":')}`)],
    ['blanks', contactJson(fill(' '))],
    ['a word that is none', contactJson(`{"starred":${fill('t')}}`)],
    ['one text in JSON', contactJson(`{"notes":"${fill('a')}"}`)],
  ])('%s', (_, scan) => {
    expect(allocatedBy(scan)).toBeLessThan(MEGABYTE / 4);
  });
});

describe('types whose size nobody can bound are refused at the start', () => {
  test.each([StructSchema, ValueSchema, ListValueSchema, AnySchema, FieldMaskSchema])('$typeName', (desc) => {
    expect(() => compilePlan(desc)).toThrow(UnboundedTypeError);
  });
});

test('every list and map in a request of the contract has a bound', () => {
  const plans = new Map();
  for (const desc of requestTypes()) compilePlan(desc, plans);
  const unbounded = [...plans.values()]
    .flatMap(({ fields }: Plan) => fields)
    .filter(({ kind, countMax }) => kind !== Kind.Scalar && kind !== Kind.Message && countMax === Infinity);
  expect(unbounded.map(({ field }) => field.toString())).toEqual([]);
});

function isTextBound(field: Parameters<typeof bounds>[0]): boolean {
  const { characters, key, value } = bounds(field);
  return Math.min(characters, key, value) < Infinity;
}

type Decoded<T> = { readonly message: T; readonly error?: undefined } | { readonly error: string };

function decode<T>(parse: () => T): Decoded<T> {
  try {
    return { message: parse() };
  } catch (error) {
    return { error: String(error) };
  }
}
