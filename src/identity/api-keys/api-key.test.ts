import { randomUUIDv7 } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createKeyring } from '../../kernel/keyring.ts';
import { hintOf, isApiKey, readApiKey, writeApiKey } from './api-key.ts';

const keyring = createKeyring(Uint8Array.from({ length: 32 }, (_, i) => i));
const API_KEY_INVALID = expect.objectContaining({ name: 'Failure', reason: 'api_key_invalid' });
const ID = '0190abcd-ef01-7000-8000-0123456789ab';
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Fixes the checksum of a text, as everybody can. */
function checked(text: string): string {
  const body = text.slice(0, 84);
  let [rest, checksum] = [crc32(body), ''];
  for (let i = 0; i < 6; i++, rest = Math.floor(rest / 62)) checksum = DIGITS[rest % 62] + checksum;
  return body + checksum;
}

test('a key that was written by another version is read', () => {
  const secret = 'kith_ak_011YRABSKon5FKyvwyYjKUtsKeC58iSxsuWeOe5nlFwIVV1BdM6opq6ItinqZR9Q5Uz88OqCwXHm3bdPEl';
  expect(readApiKey(keyring, secret)).toBe(ID);
});

test('every key comes back, no two are the same, and each is spelt alike', () => {
  const secrets = new Set<string>();
  const ids = [
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    ...Array.from({ length: 500 }, () => randomUUIDv7()),
  ];
  for (const id of [...ids, ...ids]) {
    const secret = writeApiKey(keyring, id);
    expect(readApiKey(keyring, secret)).toBe(id);
    expect(secret).toMatch(/^kith_ak_[0-9A-Za-z]{82}$/);
    expect(isApiKey(secret)).toBe(true);
    expect(hintOf(secret)).toBe(secret.slice(-4));
    expect(checked(secret)).toBe(secret);
    secrets.add(secret);
  }
  expect(secrets.size).toBe(1004);
});

test('the guide tells scanners how to find it', () => {
  const guide = readFileSync('docs/api-keys.md', 'utf8');
  const [, pattern] = /^```regex\n(.*)\n```$/m.exec(guide)!;
  const secret = writeApiKey(keyring, ID);
  expect(new RegExp(pattern!).exec(`KEY="${secret}"\n`)?.[0]).toBe(secret);
  for (const text of [
    `${secret}0`,
    `x${secret}`,
    secret.slice(0, -1),
    secret.toUpperCase(),
    secret.replace('k', 'K'),
  ]) {
    expect(new RegExp(pattern!).test(text)).toBe(false);
  }
});

test.each(['', 'kith_ak', 'kith_rt_abc', 'eyJhbGciOiJFUzI1NiJ9.e30.x', 'Kith_ak_', ' kith_ak_'])(
  '%j does not claim to be an API key',
  (token) => {
    expect(isApiKey(token)).toBe(false);
  },
);

describe('what was not written is refused', () => {
  const secret = writeApiKey(keyring, ID);
  const expectRefusal = (text: string) => expect(() => readApiKey(keyring, text)).toThrow(API_KEY_INVALID);

  test('any character missing, more or another, also with the checksum made right', () => {
    for (let i = 0; i <= secret.length; i++) {
      const [before, after] = [secret.slice(0, i), secret.slice(i)];
      const forged = [before, after, before + after.slice(1), `${before}0${after}`, `${before} ${after}`];
      for (const other of ['0', '1', 'z', 'A', '_', '-', '=', '\0', 'ı', '🦉'])
        forged.push(before + other + after.slice(1));
      for (const text of forged.filter((text) => text !== secret)) {
        expectRefusal(text);
        if (checked(text) !== secret) expectRefusal(checked(text));
      }
    }
  });

  test('characters in another case', () => {
    for (let i = 0; i < secret.length; i++) {
      const char = secret.charAt(i);
      const other = char === char.toUpperCase() ? char.toLowerCase() : char.toUpperCase();
      if (other === char) continue;
      const text = secret.slice(0, i) + other + secret.slice(i + 1);
      expectRefusal(text);
      if (checked(text) !== secret) expectRefusal(checked(text));
    }
  });

  test('a number that is too large, with the same lowest bits', () => {
    let number = 0n;
    for (const char of secret.slice(8, 84)) number = number * 62n + BigInt(DIGITS.indexOf(char));
    let text = '';
    for (let rest = number + (1n << 448n); text.length < 76; rest /= 62n) text = DIGITS[Number(rest % 62n)] + text;
    expectRefusal(checked(`kith_ak_${text}`));
    expectRefusal(checked(`kith_ak_${'z'.repeat(76)}`));
  });

  test('what another installation has made', () => {
    expectRefusal(writeApiKey(createKeyring(new Uint8Array(32)), ID));
  });

  test.each([
    ['nothing', ''],
    ['the prefix alone', 'kith_ak_'],
    ['zeros', checked(`kith_ak_${'0'.repeat(76)}`)],
    ['another prefix', checked(`kith_rt_${secret.slice(8)}`)],
    ['a megabyte', `kith_ak_${'a'.repeat(1_000_000)}`],
    ['__proto__', '__proto__'],
  ])('%s', (_, text) => expectRefusal(text));

  test('ten thousand guesses that look right', () => {
    for (let i = 0; i < 10_000; i++) {
      const guess = Array.from({ length: 75 }, () => DIGITS[Math.floor(Math.random() * 62)]).join('');
      expectRefusal(checked(`kith_ak_0${guess}`));
    }
  });
});
