import { availableParallelism } from 'node:os';
import { hash as argon2 } from '@node-rs/argon2';
import { beforeAll, describe, expect, test } from 'vitest';
import { createPasswords, type Passwords } from './passwords.ts';

const SERVER_BUSY = expect.objectContaining({ name: 'Failure', reason: 'server_busy' });

let passwords: Passwords;
beforeAll(async () => {
  passwords = await createPasswords();
});

/** "password" with the salt "somesalt", from the tests of the reference implementation of argon2. */
const KNOWN = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
const KNOWN_CHEAP = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4';

test('a known hash verifies', async () => {
  expect(await passwords.verify(KNOWN, 'password')).toBe(true);
  expect(await passwords.verify(KNOWN, 'Password')).toBe(false);
});

test('a hash is argon2id with its own salt, and verifies the password alone', async () => {
  const [first, second] = [await passwords.hash('a good password'), await passwords.hash('a good password')];
  expect(first).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22,}\$[\w+/]{43}$/);
  expect(second).not.toBe(first);
  expect(await passwords.verify(first, 'a good password')).toBe(true);
  for (const wrong of ['', 'a good passwor', 'a good password ', 'A good password']) {
    expect(await passwords.verify(first, wrong)).toBe(false);
  }
});

test.each([
  ['NFC', 'NFD'],
  ['NFD', 'NFC'],
])('a password hashed in %s verifies in %s', async (hashed, typed) => {
  const password = 'Zażółć Å 한국어';
  const phc = await passwords.hash(password.normalize(hashed));
  expect(await passwords.verify(phc, password.normalize(typed))).toBe(true);
});

test('compatibility forms are other passwords', async () => {
  expect(await passwords.verify(await passwords.hash('２００５ ﬁ'), '2005 fi')).toBe(false);
});

test('nobody has a password', async () => {
  expect(await passwords.verify(undefined, '')).toBe(false);
  expect(await passwords.verify(undefined, 'a good password')).toBe(false);
});

describe('isOutdated', () => {
  test.each([
    ['of today', {}, false],
    ['with less memory', { memoryCost: 8192 }, true],
    ['with more memory', { memoryCost: 65_536 }, true],
    ['with fewer passes', { timeCost: 1 }, true],
    ['with more lanes', { parallelism: 2 }, true],
    ['of argon2i', { algorithm: 1 }, true],
  ])('tells of a hash %s', async (_, other, outdated) => {
    const today = { algorithm: 2, memoryCost: 19 * 1024, timeCost: 2, parallelism: 1, outputLen: 32 };
    expect(passwords.isOutdated(await argon2('a good password', { ...today, ...other }))).toBe(outdated);
  });
});

describe('when many wait', () => {
  test('128 wait their turn and others are turned away, until there is room again', async () => {
    const few = await createPasswords();
    const asked = 128 + availableParallelism() + 20;
    const outcomes = await Promise.allSettled(Array.from({ length: asked }, () => few.verify(KNOWN_CHEAP, 'password')));
    const served = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(served.every(({ value }) => value)).toBe(true);
    expect(served.length).toBeGreaterThanOrEqual(129);
    expect(served.length).toBeLessThanOrEqual(128 + availableParallelism());
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused.map(({ reason }) => reason)).toEqual(refused.map(() => SERVER_BUSY));
    expect(await few.verify(KNOWN_CHEAP, 'password')).toBe(true);
  });

  test('a hash that cannot be read gives its place back', async () => {
    const few = await createPasswords();
    for (let i = 0; i < availableParallelism() + 1; i++) {
      await expect(few.verify('not a hash', 'password')).rejects.toThrow(/invalid|decod|malformed/i);
    }
    expect(await few.verify(KNOWN_CHEAP, 'password')).toBe(true);
  });
});
