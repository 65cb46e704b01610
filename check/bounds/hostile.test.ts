import { fromBinary, fromJsonString } from '@bufbuild/protobuf';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { CreateContactRequestSchema } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { RecordUserActivityRequestSchema } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { UserMeRequestSchema } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { readMethods } from './contract.ts';
import * as hostile from './hostile.ts';

const { gzip, brotli, ...made } = hostile;

test('every kind of message can be made for every method, and is no larger than it should be', async () => {
  const methods = await readMethods();
  expect(methods.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['Login', 'CreateContact', 'Watch', 'ServerReflectionInfo']),
  );
  for (const [name, make] of Object.entries(made)) {
    const sizes = methods.map(({ input }) => make(input, 10_000)?.length ?? 0);
    const largest = Math.max(...sizes);
    expect({ name, isMade: largest > 0, isBounded: largest < 25_000 }).toEqual({ name, isMade: true, isBounded: true });
  }
});

test('a long list is found inside other messages, and is a message', () => {
  const contact = fromBinary(CreateContactRequestSchema, hostile.longList(CreateContactRequestSchema, 1000)!);
  expect(contact.emails).toHaveLength(500);
  const json = Buffer.from(hostile.jsonLongList(CreateContactRequestSchema, 1000)!).toString();
  expect(fromJsonString(CreateContactRequestSchema, json).emails).toHaveLength(334);
  expect(hostile.longList(UserMeRequestSchema, 1000)).toBeUndefined();
});

test('a long map is found in the items of a list', () => {
  const { activities } = fromBinary(
    RecordUserActivityRequestSchema,
    hostile.longMap(RecordUserActivityRequestSchema, 1000)!,
  );
  expect(Object.keys(activities[0]!.attributes).length).toBeGreaterThan(80);
});

test('unknown fields are unknown, and nest', () => {
  const { $unknown } = fromBinary(UserMeRequestSchema, hostile.unknownFields(UserMeRequestSchema, 300)!);
  expect($unknown).toHaveLength(150);
  expect(
    fromBinary(CreateContactRequestSchema, hostile.nestedUnknown(CreateContactRequestSchema, 300)!).$unknown,
  ).toHaveLength(1);
});

test('a megabyte is sent as a kilobyte', () => {
  const bytes = hostile.unknownFields(UserMeRequestSchema, 1_000_000)!;
  expect(gzip(bytes).length).toBeLessThan(2000);
  expect(brotli(bytes).length).toBeLessThan(2000);
  expect(gunzipSync(gzip(bytes)).equals(Buffer.from(bytes))).toBe(true);
});
