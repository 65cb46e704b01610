import { describe, expect, test } from 'vitest';
import { generator } from '../../../test/support/generator.ts';
import { createKeyring } from '../../kernel/keyring.ts';
import { readRefreshToken, writeRefreshToken } from './refresh-token.ts';

const keyring = createKeyring(Uint8Array.from({ length: 32 }, (_, i) => i));
const REFRESH_TOKEN_INVALID = expect.objectContaining({ name: 'Failure', reason: 'refresh_token_invalid' });
const step = { sessionId: '0190abcd-ef01-7000-8000-0123456789ab', counter: 7 };

test('a step has the same token in every version', () => {
  expect(writeRefreshToken(keyring, step)).toBe(
    'kith_rt_AZCrze8BcACAAAEjRWeJqwAAAAdwj725mLGVknFDWnoOjVIUU6k0s7cQ3h9P9z99kkEyyw',
  );
});

test('every step comes back, and no two steps have the same token', () => {
  const random = generator(9);
  const tokens = new Set<string>();
  for (let round = 0; round < 500; round++) {
    const hex = Array.from({ length: 32 }, () => random.below(16).toString(16)).join('');
    const sessionId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    for (const counter of [0, 1, random.below(2 ** 32), 2 ** 32 - 1]) {
      const token = writeRefreshToken(keyring, { sessionId, counter });
      expect(readRefreshToken(keyring, token)).toEqual({ sessionId, counter });
      expect(token.length).toBeLessThanOrEqual(256);
      tokens.add(token);
    }
  }
  expect(tokens.size).toBeGreaterThanOrEqual(1999);
});

describe('what was not written is refused', () => {
  const token = writeRefreshToken(keyring, step);
  const bytes = Buffer.from(token.slice(8), 'base64url');

  test('any bit changed', () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => readRefreshToken(keyring, `kith_rt_${forged.toString('base64url')}`)).toThrow(REFRESH_TOKEN_INVALID);
    }
  });

  test('any letter missing, more or another', () => {
    for (let i = 0; i <= token.length; i++) {
      const [before, after] = [token.slice(0, i), token.slice(i)];
      const forged = [
        before,
        after,
        before + after.slice(1),
        `${before}A${after}`,
        `${before} ${after}`,
        `${before}=${after}`,
      ];
      forged.push(...['A', 'B', '_', '+', '/', '.', '\0'].map((letter) => before + letter + after.slice(1)));
      for (const other of forged.filter((text) => text !== token)) {
        expect(() => readRefreshToken(keyring, other)).toThrow(REFRESH_TOKEN_INVALID);
      }
    }
  });

  test('the MAC of another purpose or another secret', () => {
    const head = bytes.subarray(0, 20);
    const other = createKeyring(new Uint8Array(32));
    for (const mac of [keyring.mac('throttle', head), other.mac('refresh-token', head)]) {
      const forged = `kith_rt_${Buffer.concat([head, mac]).toString('base64url')}`;
      expect(() => readRefreshToken(keyring, forged)).toThrow(REFRESH_TOKEN_INVALID);
    }
  });
});
