import { describe, expect, test } from 'vitest';
import { METADATA_BYTES_MAX, METADATA_MEMBERS_MAX, metadataTerm, metadataTerms, patchMetadata } from './metadata.ts';

const patched = (present: string, patch: string) => patchMetadata('public_metadata', present, patch);

describe('a patch of metadata', () => {
  // RFC 7396, appendix A, as far as both are objects.
  test.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', ''],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['{"a":"foo"}', '{"b":{"c":{"d":null}}}', '{"a":"foo","b":{"c":{}}}'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ])('of %s with %s gives %s', (present, patch, expected) => {
    expect(patched(present, patch)).toBe(expected);
  });

  test('that is empty changes nothing', () => {
    expect(patched('{"a":1}', '')).toBe('{"a":1}');
    expect(patched('', '')).toBe('');
    expect(patched('{"a":1}', ' { } ')).toBe('{"a":1}');
  });

  test('keeps numbers as they are written, and takes names that objects have in JavaScript for names like others', () => {
    const text = '{"id":12345678901234567890,"ratio":1.50,"__proto__":{"x":1},"constructor":"c","1":true}';
    expect(JSON.parse(patched('', text))).toEqual(JSON.parse(text));
    expect(patched('', text)).toContain('12345678901234567890');
    expect(patched('{"__proto__":{"y":2}}', '{"__proto__":{"x":1.0}}')).toBe('{"__proto__":{"y":2,"x":1.0}}');
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  test('writes with escapes what no text of the contract may hold', () => {
    const text = patched('', String.raw`{"a":"\u202e\u0000\u2028\ud800\ufffd \u00e9 \ud83e\udd89"}`);
    expect(text).toBe(String.raw`{"a":"\u202e\u0000\u2028\ud800\ufffd é 🦉"}`);
    expect(patched('', text)).toBe(text);
  });

  test.each([
    ['no JSON', '{', 'is not JSON'],
    ['two values', '{} {}', 'is not JSON'],
    ['a number', '1', 'is not a JSON object'],
    ['null', 'null', 'is not a JSON object'],
    ['an array', '[{}]', 'is not a JSON object'],
    ['objects nested too deep', `${'{"a":'.repeat(17)}1${'}'.repeat(17)}`, 'is nested deeper than 16 levels'],
    ['arrays nested as deep as a text can', `{"a":${'['.repeat(16_000)}`, 'is nested deeper than 16 levels'],
  ])('that is %s is refused', (_, patch, message) => {
    expect(() => patched('', patch)).toThrow(
      expect.objectContaining({ reason: 'metadata_invalid', metadata: { field: 'public_metadata' } }),
    );
    expect(() => patched('', patch)).toThrow(message);
  });

  test('may nest 16 deep, and have brackets in texts', () => {
    const deep = `${'{"a":'.repeat(15)}{"b":"${'[{'.repeat(40)}"}${'}'.repeat(15)}`;
    expect(patched('', deep)).toBe(deep);
  });

  test('is measured by its result, in bytes of UTF-8 and in members', () => {
    const of = (length: number) => `{"a":"${'é'.repeat(length)}"}`;
    const fitting = (METADATA_BYTES_MAX - of(0).length) / 2;
    expect(patched('', of(fitting))).toHaveLength(of(fitting).length);
    const refusal = (limit: number) =>
      expect.objectContaining({
        reason: 'metadata_too_large',
        metadata: { field: 'public_metadata', limit: `${limit}` },
      });
    expect(() => patched('', of(fitting + 1))).toThrow(refusal(METADATA_BYTES_MAX));
    expect(() => patched(of(fitting), '{"b":1}')).toThrow(refusal(METADATA_BYTES_MAX));
    expect(patched(of(fitting), '{"b":1,"a":null}')).toBe('{"b":1}');
    const members = (count: number) =>
      JSON.stringify(Object.fromEntries(Array.from({ length: count }, (__, i) => [`k${i}`, i])));
    expect(patched('', members(METADATA_MEMBERS_MAX))).toBe(members(METADATA_MEMBERS_MAX));
    expect(() => patched('', members(METADATA_MEMBERS_MAX + 1))).toThrow(refusal(METADATA_MEMBERS_MAX));
  });
});

test('metadata is found by its members that are texts, numbers and truth values, of up to 100 characters', () => {
  const text = JSON.stringify({ plan: 'pro', seats: 5, trial: false, list: [1], none: null, inner: { a: 1 } });
  expect(metadataTerms('public_metadata', text)).toEqual(
    (
      [
        ['plan', 'pro'],
        ['seats', 5],
        ['trial', false],
      ] as const
    ).map(([name, value]) => metadataTerm('public_metadata', name, value)),
  );
  const long = 'x'.repeat(101);
  expect(metadataTerms('private_metadata', JSON.stringify({ [long]: 1, a: long, b: 'x' }))).toEqual([
    metadataTerm('private_metadata', 'b', 'x'),
  ]);
  expect(metadataTerm('private_metadata', 'a', 1)).not.toBe(metadataTerm('public_metadata', 'a', 1));
  expect(metadataTerm('public_metadata', 'a', 1)).not.toBe(metadataTerm('public_metadata', 'a', '1'));
  expect(metadataTerms('public_metadata', '')).toEqual([]);
});
