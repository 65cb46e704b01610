import {
  create,
  type DescMessage,
  fromBinary as fromBinaryOfProtobuf,
  type Message,
  toBinary as toBinaryOfProtobuf,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, file_google_protobuf_descriptor, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { fromBinary, toBinary, toBinaryBehind } from './binary.ts';
import { decoderOf } from './decoder.ts';
import { encoderOf } from './encoder.ts';
import { Random, randomMessage, registry, TYPES } from './kinds.testkit.ts';
import { expectSame, MESSAGES, outcomeOf, SEED } from './same.testkit.ts';

/** Bytes that are hardly those of a message any more. */
function mutated(bytes: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  const at = random.below(bytes.length + 1);
  const changed = Buffer.from(bytes);
  switch (random.below(6)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      for (let i = 0; i <= random.below(3); i++) changed[random.below(bytes.length)] = random.below(256);
      return changed;
    case 2:
      return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(12)), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([bytes, other]); // what is there twice is merged
    case 4:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random.below(4)))]);
    default:
      changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
      return changed;
  }
}

const VALUES = [
  undefined,
  null,
  '',
  'x',
  '7',
  0,
  1.5,
  -1,
  2 ** 40,
  7n,
  -1n,
  2n ** 64n,
  true,
  [],
  {},
  new Uint8Array(2),
  { case: 'x' },
];

/** A message with a value that no field of its kind has, somewhere in it. */
function spoiled(desc: DescMessage, message: Message & Record<string, unknown>, random: Random): void {
  const member = random.pick(desc.members);
  const value = message[member.localName];
  if (Array.isArray(value) && value.length > 0 && random.chance(0.5))
    value[random.below(value.length)] = random.pick(VALUES);
  else if (member.kind === 'oneof' && random.chance(0.7))
    message[member.localName] = { case: random.pick(member.fields).localName, value: random.pick(VALUES) };
  else if (member.kind === 'field' && member.fieldKind === 'map' && random.chance(0.7))
    message[member.localName] = { [random.pick(['1', 'x', 'true', '-1', '01', ''])]: random.pick(VALUES) };
  else message[member.localName] = random.pick(VALUES);
}

describe('generated messages of every kind of field', () => {
  const random = new Random(SEED);
  const room = new Uint8Array(1 << 20);
  const left = new Map<string, number>();

  test(`are read and written as by Protobuf-ES, and so is what is made of them (seed ${SEED})`, {
    timeout: 600_000,
  }, () => {
    let before: Uint8Array = new Uint8Array();
    for (let i = 0; i < MESSAGES; i++) {
      const desc = TYPES[i % TYPES.length]!;
      const message = randomMessage(desc, random);
      const bytes = toBinaryOfProtobuf(desc, message);
      expectSame(
        () => toBinary(desc, message),
        () => bytes,
        () => ({ desc: desc.typeName, bytes: hex(bytes) }),
      );
      const input = random.chance(0.5) ? Buffer.from(bytes) : bytes;
      const limits = random.chance(0.1)
        ? { recursionLimit: 1 + random.below(4), readUnknownFields: random.chance(0.5) }
        : undefined;
      expectRead(desc, input, limits);
      count(desc, message, bytes);
      const hostile = mutated(bytes, before, random);
      expectRead(desc, hostile, limits);
      before = bytes;
      if (desc.members.length === 0) continue;
      spoiled(desc, message, random);
      expectSame(
        () => toBinary(desc, message),
        () => toBinaryOfProtobuf(desc, message),
        () => ({ desc: desc.typeName, seed: SEED, i }),
      );
    }
  });

  test('are left to Protobuf-ES where they hold groups, plain objects or keys that are no properties, and else not', () => {
    const types = [...left.keys()].filter((type) => left.get(type)! > 0);
    expect(types.filter((type) => !/(Groups|Kinds|Implicit|Struct|Value)$/.test(type))).toEqual([]);
  });

  function expectRead(desc: DescMessage, bytes: Uint8Array, options: Parameters<typeof fromBinary>[2]): void {
    expectSame(
      () => fromBinary(desc, bytes, options),
      () => fromBinaryOfProtobuf(desc, bytes, options),
      () => ({ desc: desc.typeName, bytes: hex(bytes), options }),
    );
  }

  /** Counts what the compiled functions do not do themselves. */
  function count(desc: DescMessage, message: Message, bytes: Uint8Array): void {
    for (const work of [
      () => encoderOf(desc).write(message, room, 0),
      () => decoderOf(desc).read(bytes, 0, bytes.length, 100),
    ]) {
      if ('message' in (outcomeOf(work) as object)) left.set(desc.typeName, (left.get(desc.typeName) ?? 0) + 1);
    }
  }
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('toBinary', () => {
  test('writes large messages and small ones in turns', () => {
    const file = file_google_protobuf_descriptor.proto;
    const large = create(FileDescriptorProtoSchema, {
      messageType: Array(60).fill(file.messageType[0]),
      name: 'ä'.repeat(70_000),
    });
    const small = create(TimestampSchema, { seconds: 1_790_000_000n });
    const expected = toBinaryOfProtobuf(TimestampSchema, small);
    for (const each of [file, large, file]) {
      const whole = toBinaryOfProtobuf(FileDescriptorProtoSchema, each);
      expect(toBinary(FileDescriptorProtoSchema, each)).toStrictEqual(whole);
      expect(toBinaryBehind(FileDescriptorProtoSchema, each, 5).subarray(5)).toStrictEqual(whole);
      const kept = Array.from({ length: 9000 }, () => toBinaryBehind(TimestampSchema, small, 5));
      expect(kept.every((bytes) => Buffer.compare(bytes.subarray(5), expected) === 0)).toBe(true);
    }
  });

  test('gives each message memory of its own, and toBinaryBehind a large one', () => {
    const small = create(TimestampSchema, { seconds: 5n });
    const file = file_google_protobuf_descriptor.proto;
    for (const bytes of [toBinary(TimestampSchema, small), toBinaryBehind(FileDescriptorProtoSchema, file, 5)])
      expect(bytes.buffer.byteLength).toBe(bytes.length);
  });

  test('writes a message while another is written', () => {
    const inner = create(TimestampSchema, { seconds: 1n });
    const outer = create(TimestampSchema, { nanos: 7 });
    const kept: Uint8Array[] = [];
    const seconds = { get: () => (kept.push(toBinaryBehind(TimestampSchema, inner, 0)), 5n), enumerable: true };
    Object.defineProperty(outer, 'seconds', seconds);
    for (let i = 0; i < 3000; i++) kept.push(toBinaryBehind(TimestampSchema, outer, 0));
    expect(new Set(kept.map(hex))).toEqual(new Set(['0801', '08051007']));
  });

  test('writes behind bytes that are left for the caller', () => {
    const message = create(TimestampSchema, { seconds: 5n });
    const bytes = toBinaryBehind(TimestampSchema, message, 5);
    expect(bytes.subarray(5)).toStrictEqual(toBinaryOfProtobuf(TimestampSchema, message));
    const groups = registry.getMessage('kinds.proto2.Groups')!;
    expect(toBinaryBehind(groups, create(groups), 3)).toHaveLength(3);
  });

  test('refuses a message of another type', () => {
    const duration = { $typeName: 'google.protobuf.Duration', seconds: 1n, nanos: 0 };
    const write = () => toBinary(TimestampSchema, duration as never);
    expect(write).toThrow('cannot use field google.protobuf.Timestamp.seconds with message google.protobuf.Duration');
  });
});

describe('fromBinary', () => {
  test('reads a group as Protobuf-ES does, also behind the tag of a length', () => {
    const groups = registry.getMessage('kinds.proto2.Groups')!;
    for (const hexadecimal of ['0b1a01610c', '1200', '120014', '13141c']) {
      const bytes = Buffer.from(hexadecimal, 'hex');
      expectSame(
        () => fromBinary(groups, bytes),
        () => fromBinaryOfProtobuf(groups, bytes),
        () => hexadecimal,
      );
    }
  });
});
