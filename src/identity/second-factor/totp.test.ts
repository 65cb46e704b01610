import { describe, expect, test } from 'vitest';
import { base32, createTotpSecret, hotp, matchingStep, otpauthUri, stepAt } from './totp.ts';

const RFC_SECRET = Buffer.from('12345678901234567890');
const SECRET = Uint8Array.from({ length: 20 }, (_, i) => i);

describe('hotp', () => {
  // RFC 4226, appendix D.
  test.each([
    [0, '755224'],
    [1, '287082'],
    [2, '359152'],
    [3, '969429'],
    [4, '338314'],
    [5, '254676'],
    [6, '287922'],
    [7, '162583'],
    [8, '399871'],
    [9, '520489'],
  ])('of counter %d is %s', (counter, code) => {
    expect(hotp(RFC_SECRET, counter)).toBe(code);
  });

  // RFC 6238, appendix B, of whose eight digits ours are the last six.
  test.each([
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ])('of the step at second %d ends %s', (second, code) => {
    expect(hotp(RFC_SECRET, stepAt(second * 1000))).toBe(code.slice(-6));
  });

  // By pyotp 2.12.0.
  test.each([
    ['0000000000000000000000000000000000000000', 0, '328482'],
    ['0000000000000000000000000000000000000000', 253_402_300_799, '926770'],
    ['ffffffffffffffffffffffffffffffffffffffff', 29, '103905'],
    ['ffffffffffffffffffffffffffffffffffffffff', 30, '463444'],
    ['9436ba05b10ffcf1650a396fc3f090934e2ba61b', 1_000_000_000, '618911'],
    ['9436ba05b10ffcf1650a396fc3f090934e2ba61b', 20_000_000_000, '095197'],
    ['9436ba05b10ffcf1650a396fc3f090934e2ba61b', 253_402_300_799, '037110'],
    ['000102030405060708090a0b0c0d0e0f10111213', 4_102_444_800, '527339'],
  ])('of secret %s at second %d is %s', (secret, second, code) => {
    expect(hotp(Buffer.from(secret, 'hex'), stepAt(second * 1000))).toBe(code);
  });
});

describe('matchingStep', () => {
  const now = 1_795_267_217_000;
  const present = stepAt(now);

  test.each([-1, 0, 1])('takes the code of %d steps away', (away) => {
    expect(matchingStep(SECRET, hotp(SECRET, present + away), now)).toBe(present + away);
  });

  test.each([-3, -2, 2, 3])('refuses the code of %d steps away', (away) => {
    expect(matchingStep(SECRET, hotp(SECRET, present + away), now)).toBeUndefined();
  });

  test('counts steps from their first millisecond to their last', () => {
    const code = hotp(SECRET, present);
    const begin = present * 30_000;
    expect(matchingStep(SECRET, code, begin - 30_001)).toBeUndefined();
    for (const ms of [begin - 30_000, begin - 1, begin, begin + 29_999, begin + 59_999]) {
      expect(matchingStep(SECRET, code, ms)).toBe(present);
    }
    expect(matchingStep(SECRET, code, begin + 60_000)).toBeUndefined();
  });

  test('takes a code that two steps share for the later one', () => {
    const [earlier, later] = [1_047_781, 1_047_783];
    expect(hotp(SECRET, earlier)).toBe(hotp(SECRET, later));
    expect(matchingStep(SECRET, hotp(SECRET, earlier), (earlier + 1) * 30_000)).toBe(later);
  });

  test.each([
    ['nothing', () => ''],
    ['a digit less', (code: string) => code.slice(0, -1)],
    ['a digit more', (code: string) => `${code}0`],
    ['a blank before', (code: string) => ` ${code}`],
    ['digits of another script', (code: string) => code.replaceAll(/\d/g, (d) => String.fromCodePoint(0x660 + +d))],
    ['another last digit', (code: string) => code.slice(0, -1) + ((Number(code.at(-1)) + 1) % 10)],
  ])('refuses %s', (_, spelled) => {
    expect(matchingStep(SECRET, spelled(hotp(SECRET, present)), now)).toBeUndefined();
  });

  test('refuses the code of another secret', () => {
    expect(matchingStep(RFC_SECRET, hotp(SECRET, present), now)).toBeUndefined();
  });
});

/** RFC 4648, 10, without the padding. */
test.each([
  ['', ''],
  ['f', 'MY'],
  ['fo', 'MZXQ'],
  ['foo', 'MZXW6'],
  ['foob', 'MZXW6YQ'],
  ['fooba', 'MZXW6YTB'],
  ['foobar', 'MZXW6YTBOI'],
])('base32("%s") is %s', (text, encoded) => {
  expect(base32(Buffer.from(text))).toBe(encoded);
});

// By Python's base64.
test.each([
  ['ffffffffffffffffffffffffffffffffffffffff', '77777777777777777777777777777777'],
  ['9436ba05b10ffcf1650a396fc3f090934e2ba61b', 'SQ3LUBNRB76PCZIKHFX4H4EQSNHCXJQ3'],
  ['000102030405060708090a0b0c0d0e0f10111213', 'AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT'],
])('base32 of the bytes %s is %s', (bytes, encoded) => {
  expect(base32(Buffer.from(bytes, 'hex'))).toBe(encoded);
});

test('a secret has 160 bits and is never the same', () => {
  const secrets = Array.from({ length: 100 }, createTotpSecret);
  expect(new Set(secrets.map(({ length }) => length))).toEqual(new Set([20]));
  expect(new Set(secrets.map((secret) => secret.toString('hex')))).toHaveLength(100);
});

describe('otpauthUri', () => {
  // Label and secret as pyotp 2.12.0 writes them.
  test.each([
    ['accounts.example.org', 'ada', 'accounts.example.org:ada', 'accounts.example.org'],
    ['Accounts & Co', 'zoë+x@example.org', 'Accounts%20%26%20Co:zo%C3%AB%2Bx%40example.org', 'Accounts%20%26%20Co'],
  ])('names %s and %s', (issuer, account, label, parameter) => {
    expect(otpauthUri(SECRET, { issuer, account })).toBe(
      `otpauth://totp/${label}?secret=AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT&issuer=${parameter}&algorithm=SHA1&digits=6&period=30`,
    );
  });

  test('holds one colon in its label, and no parameter that a name brought along', () => {
    const { protocol, host, pathname, searchParams } = new URL(
      otpauthUri(SECRET, { issuer: '[::1]', account: 'a:b?secret=AAAA&issuer=other#/%3A' }),
    );
    expect([protocol, host]).toEqual(['otpauth:', 'totp']);
    expect(decodeURIComponent(pathname)).toBe('/[1]:ab?secret=AAAA&issuer=other#/%3A');
    expect(Object.fromEntries(searchParams)).toEqual({
      secret: 'AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT',
      issuer: '[1]',
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    });
  });
});
