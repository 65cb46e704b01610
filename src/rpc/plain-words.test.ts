import { fromJson } from '@bufbuild/protobuf';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { inPlainWords } from './plain-words.ts';

function refusalOf(decode: () => unknown): string {
  try {
    decode();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was taken');
}

test.each([
  [
    'message size 80012 is larger than configured readMaxBytes 65536',
    'the message has 80012 bytes, and this method takes 65536 at the most',
  ],
  [
    'message is larger than configured readMaxBytes 65536 after decompression',
    'the message is larger than the 65536 bytes that this method takes after decompression',
  ],
  [
    refusalOf(() => fromJson(DurationSchema, '10m')),
    'cannot decode message google.protobuf.Duration from JSON: "10m": ' +
      'a duration is a number of seconds followed by s, such as "600s"',
  ],
  [
    refusalOf(() => fromJson(TimestampSchema, '2027-01-01')),
    'cannot decode message google.protobuf.Timestamp from JSON: invalid RFC 3339 string: ' +
      'a time is a date and time of RFC 3339, such as "2026-01-31T12:00:00Z"',
  ],
  ['anything else', 'anything else'],
])('%s is said as: %s', (text, expected) => {
  expect(inPlainWords(text)).toBe(expected);
});
