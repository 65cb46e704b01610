import { availableParallelism } from 'node:os';
import { hash as argon2 } from '@node-rs/argon2';
import { beforeAll, describe, expect, test } from 'vitest';
import { createPasswords, type Passwords } from './passwords.ts';

const BUDGET_EXCEEDED = expect.objectContaining({
  name: 'Failure',
  reason: 'budget_exceeded',
  metadata: { budget: 'password_hashes', limit: '128', retry_after_seconds: expect.stringMatching(/^[1-9]\d*$/) },
});

const BY = { payer: 'address:192.0.2.1' };

let passwords: Passwords;
beforeAll(async () => {
  passwords = createPasswords();
});

/** "password" with the salt "somesalt", from the tests of the reference implementation of argon2. */
const KNOWN = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
const KNOWN_CHEAP = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4';

test('a known hash verifies', async () => {
  expect(await passwords.verify(KNOWN, 'password', BY)).toBe(true);
  expect(await passwords.verify(KNOWN, 'Password', BY)).toBe(false);
});

test('a hash is argon2id with its own salt, and verifies the password alone', async () => {
  const [first, second] = [await passwords.hash('a good password', BY), await passwords.hash('a good password', BY)];
  expect(first).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22,}\$[\w+/]{43}$/);
  expect(second).not.toBe(first);
  expect(await passwords.verify(first, 'a good password', BY)).toBe(true);
  for (const wrong of ['', 'a good passwor', 'a good password ', 'A good password']) {
    expect(await passwords.verify(first, wrong, BY)).toBe(false);
  }
});

test.each([
  ['NFC', 'NFD'],
  ['NFD', 'NFC'],
])('a password hashed in %s verifies in %s', async (hashed, typed) => {
  const password = 'Zażółć Å 한국어';
  const phc = await passwords.hash(password.normalize(hashed), BY);
  expect(await passwords.verify(phc, password.normalize(typed), BY)).toBe(true);
});

test('compatibility forms are other passwords', async () => {
  expect(await passwords.verify(await passwords.hash('２００５ ﬁ', BY), '2005 fi', BY)).toBe(false);
});

test('nobody has a password', async () => {
  expect(await passwords.verify(undefined, '', BY)).toBe(false);
  expect(await passwords.verify(undefined, 'a good password', BY)).toBe(false);
});

describe('isOutdated', () => {
  test.each([
    ['of today', {}, false],
    ['with less memory', { memoryCost: 8192 }, true],
    ['with more memory', { memoryCost: 65_536 }, true],
    ['with fewer passes', { timeCost: 1 }, true],
    ['with more parallelism', { parallelism: 2 }, true],
    ['of argon2i', { algorithm: 1 }, true],
  ])('tells of a hash %s', async (_, other, outdated) => {
    const today = { algorithm: 2, memoryCost: 19 * 1024, timeCost: 2, parallelism: 1, outputLen: 32 };
    expect(passwords.isOutdated(await argon2('a good password', { ...today, ...other }))).toBe(outdated);
  });
});

describe('a hash of another system', () => {
  /** Python's bcrypt 5.0.0, of "å password of Zoë" in NFD. */
  const NFD = '$2b$06$abcdefghijklmnopqrstuup.gEdjOGBEnGMS92b8xFwIjMWjcO/QG';
  /** argon2-cffi 25.1.0, with the parameters of today but for the length of the hash. */
  const SHORT = '$argon2id$v=19$m=19456,t=2,p=1$YXJnb24yLWNmZmkgc2FsdA$zU4Mt6ty/pO5BUKukn06Vg';

  test('verifies the password as it is typed, and is outdated', async () => {
    expect(await passwords.verify(NFD, 'å password of Zoë'.normalize('NFD'), BY)).toBe(true);
    expect(await passwords.verify(NFD, 'å password of Zoe'.normalize('NFD'), BY)).toBe(false);
    expect(passwords.isOutdated(NFD)).toBe(true);
  });

  test('with the parameters of today is outdated unless it is as long', async () => {
    expect(await passwords.verify(SHORT, 'Zażółć gęślą jaźń 🦉', BY)).toBe(true);
    expect(passwords.isOutdated(SHORT)).toBe(true);
    expect(
      passwords.isOutdated(
        '$argon2id$v=19$m=19456,t=2,p=1$YXJnb24yLWNmZmkgc2FsdA$wfIMsAakUuq24y4SrxRoKTOi3bzP/KSKQhMJ2pMWj98',
      ),
    ).toBe(false);
  });

  test('leaves the event loop alone', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    // bcryptjs 3.0.3, of cost 12: some 250 ms
    await passwords.verify('$2b$12$abcdefghijklmnopqrstuueHLWckpI7Ut91D6aWthlKy4VKsT9yUG', 'a good password', BY);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});

describe('when many wait', () => {
  test('they wait their turn and others are turned away with a hint, until there is room again', async () => {
    const few = createPasswords();
    const asked = 128 + availableParallelism() + 20;
    const outcomes = await Promise.allSettled(
      Array.from({ length: asked }, () => few.verify(KNOWN_CHEAP, 'password', BY)),
    );
    const served = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(served.every(({ value }) => value)).toBe(true);
    expect(served.length).toBeGreaterThan(0);
    expect(served.length).toBeLessThanOrEqual(128 + availableParallelism());
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused.map(({ reason }) => reason)).toEqual(refused.map(() => BUDGET_EXCEEDED));
    expect(await few.verify(KNOWN_CHEAP, 'password', BY)).toBe(true);
  });

  test('processes that share the cores run a part of the hashes each, one at the least', async () => {
    const one = createPasswords({ workers: 1000 });
    const order: number[] = [];
    await Promise.all(
      [4, 3, 2, 1].map(async (i) => {
        await one.hash('a good password', BY);
        order.push(i);
      }),
    );
    expect(order).toEqual([4, 3, 2, 1]);
  });

  test('a hash that cannot be read does not count as running', async () => {
    const few = createPasswords();
    for (let i = 0; i < availableParallelism() + 1; i++) {
      await expect(few.verify('not a hash', 'password', BY)).rejects.toThrow('cannot be read');
    }
    expect(await few.verify(KNOWN_CHEAP, 'password', BY)).toBe(true);
  });

  test('a caller who went away is not waited for', async () => {
    await expect(
      passwords.hash('a good password', { ...BY, signal: AbortSignal.abort(new Error('left')) }),
    ).rejects.toThrow('left');
    await expect(
      passwords.verify(KNOWN, 'password', { ...BY, signal: AbortSignal.abort(new Error('left')) }),
    ).rejects.toThrow('left');
  });
});
