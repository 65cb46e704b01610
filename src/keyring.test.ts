import { describe, expect, test } from 'vitest';
import { generator } from '../test/support/generator.ts';
import { createKeyring, equalBytes } from './keyring.ts';

const keyring = createKeyring(Uint8Array.from({ length: 32 }, (_, i) => i));
const other = createKeyring(new Uint8Array(32));

describe('mac', () => {
  // HKDF-SHA256 without salt (RFC 5869), then HMAC-SHA256 of "data", by Python's hmac.
  test.each([
    ['page-token', '10fee3ea1b859a3efa5dd925f7b206d00a60f0108d66863d0d7d3b19e3ea79a4'],
    ['refresh-token', 'e49768088ee41842d2a90e1a0d15053ddc286c8d58f0ff973622acc1ba005080'],
    ['request-fingerprint', 'abe37529c21f694895f8793746f39d3ab05d92781e51633978b6720866842656'],
  ] as const)('for %s is the same in every version', (purpose, mac) => {
    expect(keyring.mac(purpose, 'data').toString('hex')).toBe(mac);
    expect(keyring.mac(purpose, Buffer.from('data')).toString('hex')).toBe(mac);
    expect(other.mac(purpose, 'data').toString('hex')).not.toBe(mac);
  });
});

describe('seal', () => {
  test('opens to what was sealed', () => {
    const random = generator(4);
    for (let round = 0; round < 200; round++) {
      const text = random.text(100);
      expect(keyring.open('signing-key', keyring.seal('signing-key', text))).toBe(text);
    }
  });

  test('never gives the same twice, nor shows what it holds', () => {
    const [first, second] = [keyring.seal('signing-key', 'secret'), keyring.seal('signing-key', 'secret')];
    expect(first).not.toBe(second);
    expect(Buffer.from(first, 'base64url').toString('latin1')).not.toContain('secret');
  });

  test('does not open with another secret', () => {
    expect(other.open('signing-key', keyring.seal('signing-key', 'secret'))).toBeUndefined();
  });

  test('opens for the owner it was sealed for alone', () => {
    const sealed = keyring.seal('totp-secret', 'secret', 'ada');
    expect(keyring.open('totp-secret', sealed, 'ada')).toBe('secret');
    for (const owner of [undefined, '', 'Ada', 'ada ', 'grace']) {
      expect(keyring.open('totp-secret', sealed, owner)).toBeUndefined();
    }
    expect(keyring.open('totp-secret', keyring.seal('totp-secret', 'secret'), 'ada')).toBeUndefined();
  });

  test('does not open for another purpose', () => {
    expect(keyring.open('totp-secret', keyring.seal('signing-key', 'secret'))).toBeUndefined();
  });

  test('does not open with any bit changed or any byte missing', () => {
    const bytes = Buffer.from(keyring.seal('signing-key', 'secret'), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      expect(keyring.open('signing-key', forged.toString('base64url'))).toBeUndefined();
    }
    for (let length = 0; length < bytes.length; length++) {
      expect(keyring.open('signing-key', bytes.toString('base64url', 0, length))).toBeUndefined();
      expect(keyring.open('signing-key', bytes.toString('base64url', bytes.length - length))).toBeUndefined();
    }
  });
});

test.each([
  ['', '', true],
  ['ab', 'ab', true],
  ['ab', 'ac', false],
  ['ab', 'abc', false],
  ['', 'a', false],
])('equalBytes("%s", "%s") is %s', (a, b, equal) => {
  expect(equalBytes(Buffer.from(a), Buffer.from(b))).toBe(equal);
});
