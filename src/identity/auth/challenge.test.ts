import { describe, expect, test } from 'vitest';
import { createKeyring } from '../../kernel/keyring.ts';
import { type Challenge, readChallenge, writeChallenge } from './challenge.ts';

const keyring = createKeyring(Uint8Array.from({ length: 32 }, (_, i) => i));
const CHALLENGE_INVALID = expect.objectContaining({ name: 'Failure', reason: 'challenge_invalid' });

const PREFIX = 'kith_lc_';
const challenge: Challenge = {
  userId: '0190abcd-ef01-7000-8000-0123456789ab',
  sessionEpoch: 7,
  methods: ['pwd', 'otp'],
  expireMs: Date.UTC(2030, 0, 1),
};
const nowMs = challenge.expireMs - 1;

test('a challenge has the same token in every version', () => {
  expect(writeChallenge(keyring, challenge)).toBe(
    'kith_lc_AZCrze8BcACAAAEjRWeJqwAAAAAAAAAHAAABuNrFtAAD8s_Oboqcj3F4KMpE6eDJXI8W7C41CPiVw6DR_EKLPVk',
  );
});

test.each<Partial<Challenge>>([
  {},
  { sessionEpoch: 0 },
  { sessionEpoch: Number.MAX_SAFE_INTEGER },
  { methods: [] },
  { methods: ['pwd'] },
  { methods: ['pwd', 'recovery'] },
  { methods: ['pwd', 'otp', 'recovery'] },
  { userId: 'ffffffff-ffff-ffff-ffff-ffffffffffff' },
])('a challenge comes back: %o', (change) => {
  const written = { ...challenge, ...change };
  const token = writeChallenge(keyring, written);
  expect(readChallenge(keyring, token, nowMs)).toEqual(written);
  expect(token.length).toBeLessThanOrEqual(1024);
});

describe('is refused', () => {
  const token = writeChallenge(keyring, challenge);
  const bytes = Buffer.from(token.slice(PREFIX.length), 'base64url');
  const expectRefused = (other: string, atMs = nowMs, keys = keyring) =>
    expect(() => readChallenge(keys, other, atMs)).toThrow(CHALLENGE_INVALID);

  test('from the moment it expires on', () => {
    expectRefused(token, challenge.expireMs);
    expectRefused(token, challenge.expireMs + 1e12);
  });

  test('with any bit changed', () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes);
      forged[bit >> 3]! ^= 1 << (bit & 7);
      expectRefused(PREFIX + forged.toString('base64url'));
    }
  });

  test('with any letter missing, more or another', () => {
    for (let i = 0; i <= token.length; i++) {
      const [before, after] = [token.slice(0, i), token.slice(i)];
      const forged = [before, after, before + after.slice(1), `${before}A${after}`, `${before} ${after}`];
      forged.push(...['A', 'B', '_', '+', '=', '\0'].map((letter) => before + letter + after.slice(1)));
      for (const other of forged.filter((text) => text !== token)) expectRefused(other);
    }
  });

  test('with the MAC of another purpose or another secret', () => {
    const head = bytes.subarray(0, -32);
    const other = createKeyring(new Uint8Array(32));
    for (const mac of [keyring.mac('refresh-token', head), other.mac('login-challenge', head)]) {
      expectRefused(PREFIX + Buffer.concat([head, mac]).toString('base64url'));
    }
    expectRefused(token, nowMs, other);
  });

  test('as nothing at all, and as a great deal', () => {
    for (const other of ['', PREFIX, 'x', PREFIX + 'A'.repeat(1016), `${token}${token}`]) expectRefused(other);
  });
});
