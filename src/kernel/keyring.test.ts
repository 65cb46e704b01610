import { describe, expect, test } from 'vitest';
import { generator } from '../../test/support/generator.ts';
import { createKeyring, equalBytes } from './keyring.ts';

const keyring = createKeyring(Uint8Array.from({ length: 32 }, (_, i) => i));
const other = createKeyring(new Uint8Array(32));

describe('mac', () => {
  // HKDF-SHA256 without salt (RFC 5869), then HMAC-SHA256 of "data", by Python's hmac.
  test.each([
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

describe('tokens', () => {
  const write = (value: string, scope = 'scope', salt?: Uint8Array) =>
    keyring.writeToken('cursor', Buffer.from(value), scope, salt);
  const SALT = Buffer.alloc(8, 7);

  test('are the same in every version', () => {
    // HKDF and HMAC by Python's hmac, AES-256-CTR by the command openssl.
    expect(write('value', 'scope', SALT)).toBe('t1jCzf74x1X_xMD3JI8RlwC-56mO-EH2iVz6HWI');
  });

  test('give back what was written', () => {
    const random = generator(5);
    for (let round = 0; round < 200; round++) {
      const text = random.text(100);
      expect(keyring.readToken('cursor', write(text), 'scope')?.toString()).toBe(text);
    }
  });

  test('show nothing but the length: with a salt of their own, each is another', () => {
    const values = ['value', 'value', 'valuf', '00000'];
    const tokens = values.map((value) => write(value));
    expect(new Set(tokens).size).toBe(values.length);
    expect(new Set(tokens.map(({ length }) => length)).size).toBe(1);
    expect(Buffer.from(tokens[0]!, 'base64url').toString('latin1')).not.toContain('value');
    expect(write('value', 'scope', SALT)).toBe(write('value', 'scope', SALT));
  });

  test('are not read with another secret, for another purpose or for another scope', () => {
    const token = write('value');
    expect(other.readToken('cursor', token, 'scope')).toBeUndefined();
    expect(keyring.readToken('page-token', token, 'scope')).toBeUndefined();
    for (const scope of [undefined, '', 'Scope', 'scope ', '5 scope']) {
      expect(keyring.readToken('cursor', token, scope)).toBeUndefined();
    }
  });

  test('are not read with any bit changed, any byte missing or another spelling', () => {
    const token = write('value');
    const bytes = Buffer.from(token, 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      expect(keyring.readToken('cursor', forged.toString('base64url'), 'scope')).toBeUndefined();
    }
    for (let length = 0; length < bytes.length; length++) {
      expect(keyring.readToken('cursor', bytes.toString('base64url', 0, length), 'scope')).toBeUndefined();
    }
    for (const spelled of [`${token}=`, ` ${token}`, `${token}\n`, `${token}.`, bytes.toString('base64'), '']) {
      expect(keyring.readToken('cursor', spelled, 'scope')).toBeUndefined();
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
