import { readFileSync } from 'node:fs';
import {
  createFileRegistry,
  type DescMessage,
  fromBinary,
  fromJsonString,
  toBinary,
  toJsonString,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { Random, randomMessage } from '../../packages/protobuf-compiled/src/kinds.testkit.ts';
import * as compiled from '../../packages/protobuf-compiled/src/index.ts';
import { CONTRACT_IMAGE, readContractImage } from './contract-image.ts';

const SEED = Number(process.env['KITH_TEST_SEED'] ?? Date.now() % 1_000_000);
const OF_EACH_TYPE = 8;

test(`messages of the contract and of all that it imports are written and read as by Protobuf-ES (seed ${SEED})`, () => {
  const registry = createFileRegistry(readContractImage());
  const random = new Random(SEED);
  const types = [...registry].filter((desc) => desc.kind === 'message');
  expect(types.length).toBeGreaterThan(200);
  for (const desc of types) for (let i = 0; i < OF_EACH_TYPE; i++) expectSame(desc, random);
});

function expectSame(desc: DescMessage, random: Random): void {
  const message = randomMessage(desc, random);
  const bytes = toBinary(desc, message);
  expect(compiled.toBinary(desc, message)).toEqual(bytes);
  expect(compiled.fromBinary(desc, bytes)).toStrictEqual(fromBinary(desc, bytes));
  const text = outcomeOf(() => toJsonString(desc, message));
  expect(outcomeOf(() => compiled.toJsonString(desc, message))).toBe(text);
  expect(outcomeOf(() => compiled.fromJsonString(desc, text))).toStrictEqual(
    outcomeOf(() => fromJsonString(desc, text)),
  );
}

/** What a function returned, or the message of what it threw: not every message has JSON. */
function outcomeOf<T>(work: () => T): T | string {
  try {
    return work();
  } catch (error) {
    return (error as Error).message;
  }
}

test('the contract itself is read and written as by Protobuf-ES', () => {
  const bytes = readFileSync(CONTRACT_IMAGE);
  const image = compiled.fromBinary(FileDescriptorSetSchema, bytes);
  expect(image).toStrictEqual(readContractImage());
  expect(compiled.toBinary(FileDescriptorSetSchema, image)).toEqual(toBinary(FileDescriptorSetSchema, image));
});
