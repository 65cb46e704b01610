import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { importHash, readHash } from './hash-formats.ts';

const PASSWORD_HASH_UNSUPPORTED = expect.objectContaining({ name: 'Failure', reason: 'password_hash_unsupported' });

const base64 = (bytes: string | Uint8Array) => Buffer.from(bytes).toString('base64').replace(/=+$/, '');
const hex = (digits: string) => base64(Buffer.from(digits.replaceAll(' ', ''), 'hex'));

const ZAZOLC = 'Zażółć gęślą jaźń 🦉';

/** Made by other implementations, or printed in a specification. */
const VECTORS: readonly [source: string, password: string, hash: string][] = [
  // crypt_blowfish's wrapper.c (Openwall)
  ['crypt_blowfish', 'U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
  ['crypt_blowfish', 'U*U*', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK'],
  ['crypt_blowfish', 'U*U*U', '$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'],
  [
    'crypt_blowfish',
    '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored',
    '$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui',
  ],
  ['crypt_blowfish', '', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy'],
  // Python's bcrypt 5.0.0
  ['bcrypt for Python', ZAZOLC, '$2b$06$abcdefghijklmnopqrstuuKp47q6Oc39EHkbHzujzSfQS9B1KgDwW'],
  ['bcrypt for Python', 'correct horse', '$2y$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC'],
  // The reference implementation of argon2, its test.c
  ['argon2', 'password', '$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA'],
  ['argon2', 'password', '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'],
  // argon2-cffi 25.1.0
  [
    'argon2-cffi',
    ZAZOLC,
    '$argon2i$v=19$m=64,t=3,p=2$YXJnb24yLWNmZmkgc2FsdA$WxbDkCgsFDk9gK90Eb6keg50lLdN7Rtf2czlbuhm7nA',
  ],
  ['argon2-cffi', ZAZOLC, '$argon2id$v=19$m=1024,t=1,p=4$YXJnb24yLWNmZmkgc2FsdA$1+qTs7pUCZUr123V9jW3ep46sU8hePZZ'],
  // RFC 7914, section 12
  [
    'RFC 7914',
    'password',
    `$scrypt$ln=10,r=8,p=16$${base64('NaCl')}$${hex(
      'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640',
    )}`,
  ],
  [
    'RFC 7914',
    'pleaseletmein',
    `$scrypt$ln=14,r=8,p=1$${base64('SodiumChloride')}$${hex(
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887',
    )}`,
  ],
  // passlib 1.7.4
  ['passlib', ZAZOLC, '$scrypt$ln=10,r=8,p=2$cGFzc2xpYiBzY3J5cHQuLg$FGm5lPxpMRrC+HSWKUgdzBb40esOXT0XYw7T+QDq9J8'],
  ['passlib', ZAZOLC, '$pbkdf2$1000$cGFzc2xpYiBwYmtkZjL/..8$3xDnoL6CdAnbxs9BPJxgHKYOt6g'],
  ['passlib', ZAZOLC, '$pbkdf2-sha256$1000$cGFzc2xpYiBwYmtkZjL/..8$MwkpNX/HZtw5CbLKIZ731YdW/Y0NlfwXEeJUdoN8TEM'],
  [
    'passlib',
    ZAZOLC,
    '$pbkdf2-sha512$1000$cGFzc2xpYiBwYmtkZjL/..8$SImB0WhTts02hb6v3.kQr4qIf3KI5Zh4NV8AqGJHvlGVuJDCl8cq0qQyzgYEuFy7qxPn7wiGz8Fea6bZ2EgUkw',
  ],
  // RFC 6070, section 2
  ['RFC 6070', 'password', `$pbkdf2-sha1$1$${base64('salt')}$${hex('0c60c80f961f0e71f3a9b524af6012062fe037a6')}`],
  ['RFC 6070', 'password', `$pbkdf2-sha1$2$${base64('salt')}$${hex('ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957')}`],
  ['RFC 6070', 'password', `$pbkdf2-sha1$4096$${base64('salt')}$${hex('4b007901b765489abead49d926f721d065a429c1')}`],
  [
    'RFC 6070',
    'passwordPASSWORDpassword',
    `$pbkdf2-sha1$4096$${base64('saltSALTsaltSALTsaltSALTsaltSALTsalt')}$${hex('3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038')}`,
  ],
  // RFC 7914, section 11; here with the parameters as the PHC string format writes them
  [
    'RFC 7914',
    'passwd',
    `$pbkdf2-sha256$i=1,l=64$${base64('salt')}$${hex(
      '55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783',
    )}`,
  ],
  [
    'RFC 7914',
    'Password',
    `$pbkdf2-sha256$i=80000$${base64('NaCl')}$${hex(
      '4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d',
    )}`,
  ],
];

describe.each(VECTORS)('%s: %j hashed as %s', (_, password, hash) => {
  const isRight = readHash(hash)!;

  test('verifies its password and no other', async () => {
    expect(await isRight(password)).toBe(true);
    expect(await isRight(`x${password}`)).toBe(false);
    expect(await isRight(password.slice(1) || 'x')).toBe(false);
  });

  test('is stored as it is', () => {
    expect(importHash(hash)).toBe(hash);
  });
});

describe('bcrypt with bits that do not count, as some libraries wrote it, is read without them', () => {
  const [, password, hash] = VECTORS.find(([by]) => by === 'bcrypt for Python')!;
  const [start, salt, rest, end] = [hash.slice(0, 28), hash.charAt(28), hash.slice(29, 59), hash.charAt(59)];
  const ALPHABET = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  const after = (character: string, padding: number) => ALPHABET.charAt(ALPHABET.indexOf(character) + padding);

  test.each([
    ['in the salt', start + after(salt, 1) + rest + end],
    ['all of those in the salt', start + after(salt, 15) + rest + end],
    ['in the hash', start + salt + rest + after(end, 3)],
    ['in both', start + after(salt, 7) + rest + after(end, 2)],
  ])('%s', async (_, padded) => {
    expect(importHash(padded)).toBe(padded);
    const verify = readHash(padded)!;
    expect([await verify(password), await verify(`${password}x`)]).toEqual([true, false]);
  });

  test('and bits that do count are not passed over', async () => {
    expect(await readHash(start + after(salt, -16) + rest + end)!(password)).toBe(false);
    expect(await readHash(start + salt + rest + after(end, 4))!(password)).toBe(false);
  });
});

test('bcrypt knows the first 72 bytes of a password', async () => {
  // Python's bcrypt 5.0.0, of 72 times "x"
  const isRight = readHash('$2b$06$abcdefghijklmnopqrstuueHLWckpI7Ut91D6aWthlKy4VKsT9yUG')!;
  expect(await isRight('x'.repeat(72))).toBe(true);
  expect(await isRight(`${'x'.repeat(72)} and more`)).toBe(true);
  expect(await isRight('x'.repeat(71))).toBe(false);
});

const SALT = base64(Buffer.alloc(16, 's'));
const HASH = base64(Buffer.alloc(32, 'h'));
const BCRYPT = 'abcdefghijklmnopqrstuueHLWckpI7Ut91D6aWthlKy4VKsT9yUG';

describe('CVE class: parameter length as denial of service, for imported hashes', () => {
  test.each([
    ['bcrypt', `$2b$14$${BCRYPT}`],
    ['argon2id in memory', `$argon2id$v=19$m=262144,t=4,p=16$${SALT}$${HASH}`],
    ['argon2id in passes', `$argon2id$v=19$m=104857,t=10,p=1$${SALT}$${HASH}`],
    ['argon2i', `$argon2i$v=19$m=262144,t=4,p=1$${SALT}$${HASH}`],
    ['scrypt in memory', `$scrypt$ln=17,r=8,p=2$${SALT}$${HASH}`],
    ['scrypt in blocks', `$scrypt$ln=15,r=32,p=2$${SALT}$${HASH}`],
    ['scrypt in parallel', `$scrypt$ln=10,r=8,p=256$${SALT}$${HASH}`],
    ['PBKDF2 with SHA-1', `$pbkdf2-sha1$2000000$${SALT}$${base64(Buffer.alloc(20))}`],
    ['PBKDF2 with SHA-256', `$pbkdf2-sha256$2000000$${SALT}$${HASH}`],
    ['PBKDF2 with SHA-512', `$pbkdf2-sha512$i=2000000$${SALT}$${base64(Buffer.alloc(64))}`],
    ['the longest salt', `$pbkdf2-sha256$1$${base64(Buffer.alloc(64))}$${HASH}`],
    ['the shortest hash', `$pbkdf2-sha256$1$${SALT}$${base64(Buffer.alloc(16))}`],
  ])('the most of %s is taken', (_, hash) => {
    expect(importHash(hash)).toBe(hash);
  });

  test.each([
    ['bcrypt of cost 15', `$2b$15$${BCRYPT}`],
    ['bcrypt of cost 31', `$2b$31$${BCRYPT}`],
    ['bcrypt of cost 99', `$2b$99$${BCRYPT}`],
    ['argon2 with more memory', `$argon2id$v=19$m=262145,t=1,p=1$${SALT}$${HASH}`],
    ['argon2 with all of the memory', `$argon2id$v=19$m=4294967295,t=1,p=1$${SALT}$${HASH}`],
    ['argon2 with more passes', `$argon2id$v=19$m=64,t=11,p=1$${SALT}$${HASH}`],
    ['argon2 with much of both', `$argon2id$v=19$m=262144,t=5,p=1$${SALT}$${HASH}`],
    ['argon2 with more parallelism', `$argon2id$v=19$m=262144,t=1,p=17$${SALT}$${HASH}`],
    ['argon2 with a longer salt', `$argon2id$v=19$m=64,t=1,p=1$${base64(Buffer.alloc(65))}$${HASH}`],
    ['argon2 with a longer hash', `$argon2id$v=19$m=64,t=1,p=1$${SALT}$${base64(Buffer.alloc(65))}`],
    ['scrypt with more memory', `$scrypt$ln=18,r=8,p=1$${SALT}$${HASH}`],
    ['scrypt with wider blocks', `$scrypt$ln=4,r=33,p=1$${SALT}$${HASH}`],
    ['scrypt with more parallelism', `$scrypt$ln=17,r=8,p=3$${SALT}$${HASH}`],
    ['scrypt with N of 2^63', `$scrypt$ln=63,r=1,p=1$${SALT}$${HASH}`],
    ['PBKDF2 with more iterations', `$pbkdf2-sha256$2000001$${SALT}$${HASH}`],
    ['PBKDF2 with 2^53 iterations', `$pbkdf2-sha256$9007199254740992$${SALT}$${HASH}`],
    ['PBKDF2 with a hash of two digests', `$pbkdf2-sha1$1500000$${SALT}$${HASH}`],
    ['PBKDF2 with a longer salt', `$pbkdf2-sha256$1$${base64(Buffer.alloc(65))}$${HASH}`],
    ['PBKDF2 with a longer hash', `$pbkdf2-sha512$1$${SALT}$${base64(Buffer.alloc(65))}`],
  ])('%s is refused', (_, hash) => {
    expect(() => importHash(hash)).toThrow(PASSWORD_HASH_UNSUPPORTED);
  });
});

test.each([
  ['nothing', ''],
  ['a password', 'a good password'],
  ['dollars', '$$$$$$'],
  ['a format that is not known', `$6$${SALT}$${HASH}`],
  ['MD5 crypt', '$1$28772684$iEwNOgGugqO9.bIz5sk8k/'],
  ['a hash without salt', '5f4dcc3b5aa765d61d8327deb882cf99'],
  ['Django’s format', 'pbkdf2_sha256$1000$aKdJ3mzXyRPwUhgq$07vXXhccMnNZWfBzA0sMliE1jewUZkQG1tV97II/yy4='],
  ['an LDAP scheme', `{CRYPT}$2b$10$${BCRYPT}`],
  ['bcrypt that takes signs for characters', `$2x$10$${BCRYPT}`],
  ['bcrypt of the first version', `$2$10$${BCRYPT}`],
  ['bcrypt of a version to come', `$2c$10$${BCRYPT}`],
  ['bcrypt of cost 3', `$2b$03$${BCRYPT}`],
  ['bcrypt with a cost of one digit', `$2b$6$${BCRYPT}`],
  ['bcrypt cut short', `$2b$10$${BCRYPT.slice(0, -1)}`],
  ['bcrypt with more behind', `$2b$10$${BCRYPT}.`],
  ['bcrypt with a NUL behind', `$2b$10$${BCRYPT}\0`],
  ['bcrypt with a line feed behind', `$2b$10$${BCRYPT}\n`],
  ['bcrypt with a character of another base64', `$2b$10$${BCRYPT.replace('abc', 'a+c')}`],
  ['argon2d', `$argon2d$v=19$m=64,t=2,p=1$${SALT}$${HASH}`],
  ['argon2 of version 1.0', `$argon2id$v=16$m=64,t=2,p=1$${SALT}$${HASH}`],
  ['argon2 without a version', `$argon2i$m=64,t=2,p=1$${SALT}$${HASH}`],
  ['argon2 without passes', `$argon2id$v=19$m=64,t=0,p=1$${SALT}$${HASH}`],
  ['argon2 without parallelism', `$argon2id$v=19$m=64,t=1,p=0$${SALT}$${HASH}`],
  ['argon2 with less memory than its parallelism needs', `$argon2id$v=19$m=31,t=1,p=4$${SALT}$${HASH}`],
  ['argon2 with its parameters in another order', `$argon2id$v=19$t=1,m=64,p=1$${SALT}$${HASH}`],
  ['argon2 with a key id', `$argon2id$v=19$m=64,t=1,p=1,keyid=AAAA$${SALT}$${HASH}`],
  ['argon2 with a leading zero', `$argon2id$v=19$m=064,t=1,p=1$${SALT}$${HASH}`],
  ['argon2 with a sign', `$argon2id$v=19$m=+64,t=1,p=1$${SALT}$${HASH}`],
  ['argon2 with a salt of 7 bytes', `$argon2id$v=19$m=64,t=1,p=1$${base64('7 bytes')}$${HASH}`],
  ['argon2 without a hash', `$argon2id$v=19$m=64,t=1,p=1$${SALT}`],
  ['argon2 with an empty hash', `$argon2id$v=19$m=64,t=1,p=1$${SALT}$`],
  ['argon2 with a hash of 15 bytes', `$argon2id$v=19$m=64,t=1,p=1$${SALT}$${base64(Buffer.alloc(15))}`],
  ['argon2 with padding', `$argon2id$v=19$m=64,t=1,p=1$${SALT}==$${HASH}`],
  ['argon2 with half a byte', `$argon2id$v=19$m=64,t=1,p=1$${SALT}AAA$${HASH}`],
  ['argon2 with bits that do not count', `$argon2id$v=19$m=64,t=1,p=1$${SALT.slice(0, -1)}x$${HASH}`],
  ['argon2 in base64url', `$argon2id$v=19$m=64,t=1,p=1$${'-_'.repeat(8)}$${HASH}`],
  ['argon2 with more behind', `$argon2id$v=19$m=64,t=1,p=1$${SALT}$${HASH}$`],
  ['scrypt of N = 1', `$scrypt$ln=0,r=8,p=1$${SALT}$${HASH}`],
  ['scrypt without blocks', `$scrypt$ln=10,r=0,p=1$${SALT}$${HASH}`],
  ['scrypt without a salt', `$scrypt$ln=10,r=8,p=1$$${HASH}`],
  ['scrypt with a fraction', `$scrypt$ln=10.5,r=8,p=1$${SALT}$${HASH}`],
  ['scrypt of libxcrypt', '$7$CU..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D'],
  ['PBKDF2 without iterations', `$pbkdf2-sha256$0$${SALT}$${HASH}`],
  ['PBKDF2 with MD5', `$pbkdf2-md5$1000$${SALT}$${base64(Buffer.alloc(16))}`],
  ['PBKDF2 of another length than it says', `$pbkdf2-sha256$i=1000,l=31$${SALT}$${HASH}`],
  ['PBKDF2 with a length after bare iterations', `$pbkdf2-sha256$1000,l=32$${SALT}$${HASH}`],
  ['PBKDF2 with exponents', `$pbkdf2-sha256$1e6$${SALT}$${HASH}`],
])('%s is no hash that is imported', (_, text) => {
  expect(() => importHash(text)).toThrow(PASSWORD_HASH_UNSUPPORTED);
});

test('a refusal does not tell the hash', () => {
  const secret = randomBytes(16).toString('hex');
  expect(() => importHash(secret)).toThrow(expect.objectContaining({ message: expect.not.stringContaining(secret) }));
});
