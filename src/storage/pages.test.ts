import { describe, expect, test } from 'vitest';
import { generator } from '../../test/support/generator.ts';
import { createKeyring } from '../kernel/keyring.ts';
import { cutPage, readBounded, pageSizeOf, pageTokens } from './pages.ts';

const keyring = createKeyring(Uint8Array.from({ length: 32 }, (_, i) => i));
const PAGE_TOKEN_INVALID = expect.objectContaining({ name: 'Failure', reason: 'page_token_invalid' });

test.each([
  [0, 50],
  [1, 1],
  [999, 999],
  [1000, 1000],
  [1001, 1000],
  [2 ** 31 - 1, 1000],
])('a page size of %d reads %d', (pageSize, size) => {
  expect(pageSizeOf({ pageSize, pageToken: '' })).toBe(size);
});

test.each([
  [[], 2, [], undefined],
  [[1], 2, [1], undefined],
  [[1, 2], 2, [1, 2], undefined],
  [[1, 2, 3], 2, [1, 2], 2],
])('rows %j of a page of %d', (rows, size, shown, last) => {
  expect(cutPage(rows, size)).toEqual({ rows: shown, last });
});

describe('page tokens', () => {
  const tokens = pageTokens(keyring, 'users', 'caller', { query: 'ada' });

  test('are empty for no page', () => {
    expect(tokens.write(undefined)).toBe('');
    expect(tokens.read('')).toBeUndefined();
  });

  test('give back every key', () => {
    const random = generator(3);
    for (let round = 0; round < 2000; round++) {
      const key = Array.from({ length: 1 + random.below(3) }, () => random.text(200));
      expect(tokens.read(tokens.write(key))).toEqual(key);
    }
  });

  test('fit into the field of the request with the longest key', () => {
    for (const character of ['王', '"', '\\', '\u2028']) {
      const key = [character.repeat(200), '0190abcd-ef01-7000-8000-0123456789ab'];
      expect(tokens.write(key).length).toBeLessThanOrEqual(2048);
    }
  });

  test('are read in every version', () => {
    const token =
      'M1--5KArpYjlSkT2KJto0tmTvl2x8ZxqqOjG3Cs7RJfUxt-3Dg30WiuaKbGOmY_U0XP3vrEZQwZ3AfORFRCfYUWYejRx-HLySeCGPxaYZJuYnRymAtXzmA';
    expect(tokens.read(token)).toEqual(['0190']);
  });

  test('do not show the key, how long it is, or whether it is the one of before', () => {
    const keys = [
      ['0', '1'],
      ['0', '1'],
      ['0', '1234567'],
      ['987654321', '12345678901234'],
    ];
    const written = keys.map((key) => tokens.write(key));
    expect(new Set(written).size).toBe(keys.length);
    expect(new Set(written.map(({ length }) => length)).size).toBe(1);
    expect(Buffer.from(written[3]!, 'base64url').toString('latin1')).not.toContain('9876');
  });

  test.each([
    ['another list', ['contacts', 'caller', { query: 'ada' }]],
    ['another caller', ['users', 'other', { query: 'ada' }]],
    ['another filter', ['users', 'caller', { query: 'adb' }]],
    ['a filter more', ['users', 'caller', { query: 'ada', role: 'admin' }]],
    ['a part more', ['users', 'caller', { query: 'ada' }, '']],
    ['parts cut elsewhere', ['users', 'calle', 'r', { query: 'ada' }]],
  ])('of %s are refused', (_, scope) => {
    expect(() => tokens.read(pageTokens(keyring, ...scope).write(['0190']))).toThrow(PAGE_TOKEN_INVALID);
  });

  test('of another installation are refused', () => {
    const other = pageTokens(createKeyring(new Uint8Array(32)), 'users', 'caller', { query: 'ada' });
    expect(() => tokens.read(other.write(['0190']))).toThrow(PAGE_TOKEN_INVALID);
  });

  test('with any bit changed or any byte missing are refused', () => {
    const bytes = Buffer.from(tokens.write(['0190']), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => tokens.read(forged.toString('base64url'))).toThrow(PAGE_TOKEN_INVALID);
    }
    for (let length = 1; length < bytes.length; length++) {
      expect(() => tokens.read(bytes.toString('base64url', 0, length))).toThrow(PAGE_TOKEN_INVALID);
    }
  });

  test.each(['A', '?', '[]', 'null', '\u0000', '🦉', '{"id":1}', 'A'.repeat(2048)])('"%s" is refused', (token) => {
    expect(() => tokens.read(token)).toThrow(PAGE_TOKEN_INVALID);
  });
});

describe('a page of rows', () => {
  const table = (count: number, letters: number) =>
    Array.from({ length: count }, (_, n) => ({ n, text: 'x'.repeat(letters) }));
  const readerOf = (rows: readonly { n: number; text: string }[]) => {
    const asked: number[] = [];
    return {
      asked,
      read: async (after: { n: number } | undefined, limit: number) => {
        asked.push(limit);
        return rows.filter(({ n }) => n > (after?.n ?? -1)).slice(0, limit);
      },
    };
  };

  test.each([
    ['as many as asked for, and more follow', 1000, 10, 200, 200, 199],
    ['all there are', 120, 10, 200, 120, undefined],
    ['all there are, exactly', 200, 10, 200, 200, undefined],
    ['none', 0, 10, 200, 0, undefined],
    ['fewer than asked for when they are large, and more follow', 1000, 190_000, 1000, 3, 2],
  ])('holds %s', async (_, count, letters, size, shown, last) => {
    const reader = readerOf(table(count, letters));
    const page = await readBounded(size, reader.read);
    expect(page.rows).toHaveLength(shown);
    expect(page.last?.n).toBe(last);
    expect(Math.max(...reader.asked)).toBeLessThanOrEqual(250);
  });
});
