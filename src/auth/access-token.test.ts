import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import {
  calculateJwkThumbprint,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { type AccessTokens, createAccessTokens } from './access-token.ts';
import type { SigningKeys } from './signing-keys.ts';

const ISSUER = 'https://kith.example.org';
const START_MS = 1_800_000_000_000;
const claims = { userId: randomUUID(), sessionId: randomUUID() };

const invalid = expect.objectContaining({ name: 'Failure', reason: 'access_token_invalid' });
const expired = expect.objectContaining({ name: 'Failure', reason: 'access_token_expired' });

let keys: SigningKeys;
let nowMs = START_MS;
let tokens: AccessTokens;
let publicPem: string;
beforeAll(async () => {
  const pair = await generateKeyPair('ES256');
  const jwk = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  publicPem = await exportSPKI(pair.publicKey);
  keys = {
    current: { kid, privateKey: pair.privateKey },
    publicKey: (id) => (id === kid ? pair.publicKey : undefined),
    jwks: { keys: [jwk] },
  };
  tokens = createAccessTokens(keys, { issuer: ISSUER, audience: 'kith', ttlMs: 300_000, now: () => nowMs });
});

const sign = () => tokens.sign({ ...claims, role: 'editor', signInMs: START_MS - 5000 });

/** A token like those of Kith but for what is given; undefined leaves out. */
async function forge(
  payload: JWTPayload = {},
  header: Partial<JWTHeaderParameters> = {},
  key = keys.current.privateKey,
) {
  const seconds = Math.floor(nowMs / 1000);
  const all = {
    sub: claims.userId,
    sid: claims.sessionId,
    iss: ISSUER,
    aud: 'kith',
    iat: seconds,
    exp: seconds + 300,
    jti: randomUUID(),
    ...payload,
  };
  const present = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new SignJWT(present)
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: keys.current.kid, ...header })
    .sign(key);
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

test('a token tells whom it was signed for, and when it expires', async () => {
  nowMs = START_MS + 999;
  const { token, expireMs } = await sign();
  expect(expireMs).toBe(START_MS + 300_000);
  expect(await tokens.verify(token)).toMatchObject(claims);
  expect(await tokens.verify(await forge())).toMatchObject(claims);
  nowMs = START_MS;
});

test('no two tokens are the same', async () => {
  expect((await sign()).token).not.toBe((await sign()).token);
});

test('a token is good to its last millisecond, seen before or not', async () => {
  const { token, expireMs } = await sign();
  const unseen = await forge();
  nowMs = expireMs - 1;
  expect(await tokens.verify(token)).toMatchObject(claims);
  nowMs = expireMs;
  for (const late of [token, unseen]) await expect(tokens.verify(late)).rejects.toEqual(expired);
  nowMs = START_MS;
  expect(await tokens.verify(token)).toMatchObject(claims);
  nowMs = expireMs + 1;
  await expect(tokens.verify(token)).rejects.toEqual(expired);
  nowMs = START_MS;
});

describe('a token is refused', () => {
  test.each<[string, () => Promise<string> | string]>([
    ['that is empty', () => ''],
    ['that is no JWT', () => 'token'],
    ['of four parts', async () => `${await forge()}.x`],
    ['without its signature', async () => (await forge()).replace(/[^.]*$/, '')],
    ['without a payload', async () => (await forge()).replace(/\.[^.]*\./, '..')],
    ['of another key', async () => forge({}, {}, (await generateKeyPair('ES256')).privateKey)],
    [
      'of another key under another id',
      async () => forge({}, { kid: 'other' }, (await generateKeyPair('ES256')).privateKey),
    ],
    ['without a key id', async () => forge({}, { kid: undefined } as never)],
    [
      'with its own key inside',
      async () => {
        const pair = await generateKeyPair('ES256');
        return forge(
          {},
          { jwk: await exportJWK(pair.publicKey), jku: 'https://evil.example/jwks.json' },
          pair.privateKey,
        );
      },
    ],
    [
      'of the algorithm none',
      async () => `${encode({ alg: 'none', typ: 'at+jwt', kid: keys.current.kid })}.${(await forge()).split('.')[1]}.`,
    ],
    [
      'whose MAC is made with the public key',
      async () => {
        const input = `${encode({ alg: 'HS256', typ: 'at+jwt', kid: keys.current.kid })}.${(await forge()).split('.')[1]}`;
        return `${input}.${createHmac('sha256', publicPem).update(input).digest('base64url')}`;
      },
    ],
    ['of another algorithm', async () => forge({}, { alg: 'EdDSA' }, (await generateKeyPair('EdDSA')).privateKey)],
    ['of another curve', async () => forge({}, { alg: 'ES384' }, (await generateKeyPair('ES384')).privateKey)],
    ['of the type JWT', async () => forge({}, { typ: 'JWT' })],
    ['of no type', async () => forge({}, { typ: undefined } as never)],
    [
      'with a critical extension',
      () => `${encode({ alg: 'ES256', typ: 'at+jwt', kid: keys.current.kid, crit: ['x'], x: 1 })}.e30.AA`,
    ],
    ['of another issuer', async () => forge({ iss: 'https://other.example.org' })],
    ['of the issuer with a slash', async () => forge({ iss: `${ISSUER}/` })],
    ['for another audience', async () => forge({ aud: 'other' })],
    ['for no audience', async () => forge({ aud: [] })],
    ['not valid yet', async () => forge({ nbf: Math.floor(START_MS / 1000) + 60 })],
    ['with an expiry that is text', async () => forge({ exp: '9999999999' as never })],
    ['with a session that is a number', async () => forge({ sid: 1 })],
    ...(['sub', 'sid', 'iss', 'aud', 'iat', 'exp', 'jti'] as const).map((claim): [string, () => Promise<string>] => [
      `without ${claim}`,
      async () => forge({ [claim]: undefined }),
    ]),
  ])('%s', async (_, make) => {
    await expect(tokens.verify(await make())).rejects.toEqual(invalid);
  });

  test('longer than 4096, however right it is', async () => {
    const payload = 4096 - (await forge({ extra: '' })).length;
    expect(await tokens.verify(await forge({ extra: 'a'.repeat(Math.floor(payload * 0.7)) }))).toMatchObject(claims);
    await expect(tokens.verify(await forge({ extra: 'a'.repeat(4096) }))).rejects.toEqual(invalid);
    await expect(tokens.verify('a'.repeat(10_000_000))).rejects.toEqual(invalid);
  });

  test('that differs in any letter from one that was seen', async () => {
    const { token } = await sign();
    await tokens.verify(token);
    for (let i = 0; i < token.length; i += 7) {
      const other = token.slice(0, i) + (token[i] === 'A' ? 'B' : 'A') + token.slice(i + 1);
      await expect(tokens.verify(other)).rejects.toEqual(expect.objectContaining({ name: 'Failure' }));
    }
  });

  test('of an RSA key that claims to be ours', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    await expect(tokens.verify(await forge({}, { alg: 'RS256' }, privateKey as never))).rejects.toEqual(invalid);
  });
});
