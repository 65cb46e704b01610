import { describe, expect, test } from 'vitest';
import { createKeyring } from '../../kernel/keyring.ts';
import { createRecoveryCodes, recoveryCodeMac } from './recovery-codes.ts';

const keyring = createKeyring(new Uint8Array(32));
const USER = '0190b5a0-0000-7000-8000-000000000001';
const CODE = '1k7q-x0bd-m3ve';

describe('recovery codes', () => {
  test('are ten, all different, of 60 bits each, without characters that look alike', () => {
    const codes = Array.from({ length: 100 }, createRecoveryCodes).flat();
    expect(codes).toHaveLength(1000);
    expect(new Set(codes)).toHaveLength(1000);
    for (const code of codes) expect(code).toMatch(/^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){2}$/);
  });

  test('use every character about as often in every place', () => {
    const codes = Array.from({ length: 1000 }, createRecoveryCodes)
      .flat()
      .map((code) => code.replaceAll('-', ''));
    for (let place = 0; place < 12; place++) {
      const counts = new Map<string, number>();
      for (const code of codes) counts.set(code.charAt(place), (counts.get(code.charAt(place)) ?? 0) + 1);
      expect(counts).toHaveLength(32);
      // 10,000 codes: 312 of each are expected, and eight standard deviations are 140.
      for (const count of counts.values()) expect(Math.abs(count - 312.5)).toBeLessThan(140);
    }
  });
});

describe('the MAC of a recovery code', () => {
  // Python's hmac, with the key that HKDF-SHA256 gives for "kith recovery-code".
  test('is the same in every version', () => {
    expect(Buffer.from(recoveryCodeMac(keyring, USER, CODE), 'base64url').toString('hex')).toBe(
      '4035e5e89844b8db5eb7f15cfcf4dd140c65d86e006aa4bfb95715ce054372d4',
    );
  });

  test.each([
    ['upper case', '1K7Q-X0BD-M3VE'],
    ['no hyphens', '1k7qx0bdm3ve'],
    ['blanks instead of hyphens', '1k7q x0bd m3ve'],
    ['blanks around', '  1k7q-x0bd-m3ve '],
    ['other groups', '1k-7qx0bd-m3v-e-'],
    ['the dashes of a word processor', '1k7q–x0bd—m3ve'],
    ['no-break spaces', '1k7q\u00a0x0bd\u00a0m3ve'],
    ['letters in place of the digits they look like', 'lk7q-xObd-m3ve'],
    ['an i in place of the 1', 'Ik7q-xobd-m3ve'],
  ])('is the same with %s', (_, spelled) => {
    expect(recoveryCodeMac(keyring, USER, spelled)).toBe(recoveryCodeMac(keyring, USER, CODE));
  });

  test.each([
    ['another character', '1k7q-x0bd-m3vf'],
    ['a character less', '1k7q-x0bd-m3v'],
    ['a character more', '1k7q-x0bd-m3ve0'],
    ['two characters swapped', 'k17q-x0bd-m3ve'],
    ['something else between', '1k7q_x0bd_m3ve'],
    ['letters of another script', '1κ7q-x0bd-m3ve'],
    ['nothing', ''],
  ])('is another with %s', (_, spelled) => {
    expect(recoveryCodeMac(keyring, USER, spelled)).not.toBe(recoveryCodeMac(keyring, USER, CODE));
  });

  test('is another for another user, and with another secret', () => {
    const own = recoveryCodeMac(keyring, USER, CODE);
    expect(recoveryCodeMac(keyring, USER.replace(/1$/, '2'), CODE)).not.toBe(own);
    expect(recoveryCodeMac(createKeyring(new Uint8Array(32).fill(1)), USER, CODE)).not.toBe(own);
  });
});
