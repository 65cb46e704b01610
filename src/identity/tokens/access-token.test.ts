import { createHmac, generateKeyPairSync, KeyObject, randomUUID } from 'node:crypto';
import {
  CompactSign,
  calculateJwkThumbprint,
  type CryptoKey,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from 'jose';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PERMISSIONS_OF_ROLE, type Permission, type SignInMethod } from '../../kernel/access.ts';
import { Failure } from '../../kernel/failure.ts';
import { type AccessTokenKeys, type AccessTokens, createAccessTokens } from './access-token.ts';

const ISSUER = 'https://kith.example.org';
/** The order of the group, SEC 2 version 2.0, 2.4.2. */
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const START_MS = 1_800_000_000_000;
const claims = { userId: randomUUID(), sessionId: randomUUID() };

const invalid = expect.objectContaining({ name: 'Failure', reason: 'access_token_invalid' });
const expired = expect.objectContaining({ name: 'Failure', reason: 'access_token_expired' });

let signer: ReturnType<AccessTokenKeys['signer']>;
/** Whether the key is there, not there, or cannot be looked for. */
let found: 'there' | 'removed' | 'unreachable' = 'there';
let nowMs = START_MS;
let tokens: AccessTokens;
let publicPem: string;
beforeAll(async () => {
  const pair = await generateKeyPair('ES256');
  const jwk = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  publicPem = await exportSPKI(pair.publicKey);
  const publicKey = KeyObject.from(pair.publicKey);
  signer = { kid, privateKey: KeyObject.from(pair.privateKey) };
  const keys: AccessTokenKeys = {
    signer: () => signer,
    has: (id) => id === kid && found === 'there',
    async find(id) {
      if (found === 'unreachable') throw new Failure('server_unavailable', 'try again');
      return id === kid && found === 'there' ? publicKey : undefined;
    },
  };
  tokens = createAccessTokens(keys, { issuer: ISSUER, audience: 'kith', ttlMs: 300_000, now: () => nowMs });
});

afterEach(() => {
  found = 'there';
  nowMs = START_MS;
});

const SESSION = {
  ...claims,
  role: 'editor',
  methods: ['pwd'],
  signInMs: START_MS - 5000,
  notAfterMs: START_MS + 1e9,
} as const;
const sign = () => tokens.sign(SESSION);

/** A token like those of Kith but for what is given; undefined leaves out. */
async function forge(
  payload: JWTPayload = {},
  header: Partial<JWTHeaderParameters> = {},
  key: KeyObject | CryptoKey = signer.privateKey,
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
    roles: ['editor'],
    auth_time: seconds - 5,
    ...payload,
  };
  const present = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new SignJWT(present).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: signer.kid, ...header }).sign(key);
}

/** A token whose claims are what JSON.stringify would not write. */
async function forgeText(numbers: Record<string, string>): Promise<string> {
  let text = JSON.stringify(decodeJwt(await forge()));
  for (const [claim, number] of Object.entries(numbers))
    text = text.replace(new RegExp(`"${claim}":\\d+`), `"${claim}":${number}`);
  return new CompactSign(Buffer.from(text))
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: signer.kid })
    .sign(signer.privateKey);
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

test('a token of a session tells whom it was signed for, and when it expires', async () => {
  nowMs = START_MS + 999;
  const { token, expireMs } = await sign();
  expect(expireMs).toBe(START_MS + 300_000);
  const said = {
    ...claims,
    kind: 'session',
    role: 'editor',
    scope: undefined,
    signInMs: START_MS - 5000,
    expireMs,
  };
  expect(await tokens.verify(token)).toEqual(said);
  expect(await tokens.verify(token)).toEqual(said);
  nowMs = START_MS;
  expect(await tokens.verify(await forge())).toEqual(said);
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: signer.kid });
  expect(decodeJwt(token)).toEqual({
    iss: ISSUER,
    aud: 'kith',
    sub: claims.userId,
    sid: claims.sessionId,
    jti: expect.any(String),
    iat: START_MS / 1000,
    exp: expireMs / 1000,
    roles: ['editor'],
    auth_time: START_MS / 1000 - 5,
    amr: ['pwd'],
  });
});

test('a token says how long it is good from when it was signed on, in whole seconds', async () => {
  expect((await sign()).lifetimeMs).toBe(300_000);
  nowMs = START_MS + 1;
  expect((await sign()).lifetimeMs).toBe(299_000);
  expect((await tokens.sign({ ...SESSION, notAfterMs: START_MS + 61_000 })).lifetimeMs).toBe(60_000);
  expect((await tokens.sign({ ...SESSION, notAfterMs: START_MS })).lifetimeMs).toBe(0);
});

test('a token whose key was removed is refused as expired, so that its holder refreshes it; one for elsewhere is not', async () => {
  const { token } = await sign();
  const [foreign, other] = [await forge({ iss: 'https://elsewhere.example.org' }), await forge({ aud: 'elsewhere' })];
  await tokens.verify(token);
  found = 'removed';
  await expect(tokens.verify(token)).rejects.toEqual(expired);
  for (const refused of [foreign, other]) await expect(tokens.verify(refused)).rejects.toEqual(invalid);
});

test.each<[SignInMethod[], string[]]>([
  [['pwd'], ['pwd']],
  [
    ['pwd', 'otp'],
    ['pwd', 'otp', 'mfa'],
  ],
  [
    ['pwd', 'recovery'],
    ['pwd', 'mfa'],
  ],
])('what was proved, %j, is told as %j', async (methods, amr) => {
  expect(decodeJwt((await tokens.sign({ ...SESSION, methods })).token)['amr']).toEqual(amr);
});

test('a token of an API key tells what the key may do, and of no sign-in', async () => {
  const apiKeyId = randomUUID();
  const scope = new Set<Permission>(['users.read', 'activity.record']);
  const { token, expireMs } = await tokens.signForApiKey({
    userId: claims.userId,
    apiKeyId,
    role: 'editor',
    scope,
    notAfterMs: undefined,
  });
  expect(await tokens.verify(token)).toEqual({
    userId: claims.userId,
    sessionId: apiKeyId,
    kind: 'api_key',
    role: 'editor',
    scope,
    signInMs: undefined,
    expireMs,
  });
  expect(decodeJwt(token)).toEqual({
    iss: ISSUER,
    aud: 'kith',
    sub: claims.userId,
    sid: apiKeyId,
    client_id: apiKeyId,
    jti: expect.any(String),
    iat: START_MS / 1000,
    exp: expireMs / 1000,
    roles: ['editor'],
    scope: 'users.read activity.record',
  });
});

test('every permission comes through a scope, and no scope is none', async () => {
  const grant = { userId: claims.userId, apiKeyId: randomUUID(), role: 'admin', notAfterMs: undefined } as const;
  for (const scope of [PERMISSIONS_OF_ROLE.admin, new Set<Permission>()]) {
    const { token } = await tokens.signForApiKey({ ...grant, scope });
    expect((await tokens.verify(token)).scope).toEqual(scope);
  }
});

test('a permission that is not known, of a newer version say, is none', async () => {
  const scope = 'users.read users.fly toString __proto__ users.read USERS.WRITE';
  const key = { scope, client_id: claims.sessionId, auth_time: undefined };
  expect((await tokens.verify(await forge(key))).scope).toEqual(new Set(['users.read']));
});

test('no token is good for longer than its session or API key', async () => {
  const notAfterMs = START_MS + 10_999;
  const apiKey = {
    userId: claims.userId,
    apiKeyId: randomUUID(),
    role: 'viewer',
    scope: new Set<Permission>(),
  } as const;
  for (const { token, expireMs } of [
    await tokens.sign({ ...SESSION, notAfterMs }),
    await tokens.signForApiKey({ ...apiKey, notAfterMs }),
  ]) {
    expect(expireMs).toBe(START_MS + 10_000);
    expect((await tokens.verify(token)).expireMs).toBe(START_MS + 10_000);
  }
});

test('a token that was seen is refused once its key is removed', async () => {
  const { token } = await sign();
  await tokens.verify(token);
  found = 'removed';
  await expect(tokens.verify(token)).rejects.toEqual(expired);
  found = 'there';
  expect(await tokens.verify(token)).toMatchObject(claims);
});

test('a token is not judged when its key is unknown and cannot be looked for', async () => {
  const token = await forge();
  found = 'unreachable';
  await expect(tokens.verify(token)).rejects.toEqual(expect.objectContaining({ reason: 'server_unavailable' }));
});

test('whoever turns the signature of a token into its other form has the same token, not another session', async () => {
  const { token } = await sign();
  const [header, payload, signature] = token.split('.') as [string, string, string];
  const bytes = Buffer.from(signature, 'base64url');
  const s = BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  const other = Buffer.from((P256_ORDER - s).toString(16).padStart(64, '0'), 'hex');
  const twin = `${header}.${payload}.${Buffer.concat([bytes.subarray(0, 32), other]).toString('base64url')}`;
  expect(twin).not.toBe(token);
  expect(await tokens.verify(twin)).toEqual(await tokens.verify(token));
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
      async () => `${encode({ alg: 'none', typ: 'at+jwt', kid: signer.kid })}.${(await forge()).split('.')[1]}.`,
    ],
    [
      'whose MAC is made with the public key',
      async () => {
        const input = `${encode({ alg: 'HS256', typ: 'at+jwt', kid: signer.kid })}.${(await forge()).split('.')[1]}`;
        return `${input}.${createHmac('sha256', publicPem).update(input).digest('base64url')}`;
      },
    ],
    ['of another algorithm', async () => forge({}, { alg: 'EdDSA' }, (await generateKeyPair('EdDSA')).privateKey)],
    ['of another curve', async () => forge({}, { alg: 'ES384' }, (await generateKeyPair('ES384')).privateKey)],
    ['of the type JWT', async () => forge({}, { typ: 'JWT' })],
    ['of no type', async () => forge({}, { typ: undefined } as never)],
    [
      'with a critical extension',
      () => `${encode({ alg: 'ES256', typ: 'at+jwt', kid: signer.kid, crit: ['x'], x: 1 })}.e30.AA`,
    ],
    ['of another issuer', async () => forge({ iss: 'https://other.example.org' })],
    ['of the issuer with a slash', async () => forge({ iss: `${ISSUER}/` })],
    ['for another audience', async () => forge({ aud: 'other' })],
    ['for no audience', async () => forge({ aud: [] })],
    ['not valid yet', async () => forge({ nbf: Math.floor(START_MS / 1000) + 60 })],
    ['with an expiry that is text', async () => forge({ exp: '9999999999' as never })],
    ['with an expiry that is no whole second', async () => forge({ exp: START_MS / 1000 + 0.5 })],
    ['with an expiry beyond all numbers', async () => forgeText({ exp: '1e400' })],
    ['good for more than an hour', async () => forge({ exp: START_MS / 1000 + 3601 })],
    ['with a session that is a number', async () => forge({ sid: 1 })],
    ['with a session that is empty', async () => forge({ sid: '' })],
    ['with a role that there is not', async () => forge({ roles: ['root'] })],
    ['with two roles', async () => forge({ roles: ['viewer', 'admin'] })],
    ['with a role that is no list', async () => forge({ roles: 'admin' })],
    ['without the time of the sign-in', async () => forge({ auth_time: undefined })],
    ['with a time of the sign-in that is text', async () => forge({ auth_time: '1' })],
    ['of a session with a scope', async () => forge({ scope: 'users.read' })],
    ['of an API key that signed in', async () => forge({ scope: 'users.read', client_id: claims.sessionId })],
    ['of an API key without a scope', async () => forge({ client_id: claims.sessionId, auth_time: undefined })],
    [
      'of an API key that is another',
      async () => forge({ scope: 'users.read', client_id: randomUUID(), auth_time: undefined }),
    ],
    ['whose type is spelt differently', async () => forge({}, { typ: 'application/at+jwt' })],
    ['with a member more in its header', async () => forge({}, { cty: 'JWT' })],
    [
      'whose header has its members in another order',
      async () => {
        const header = { kid: signer.kid, typ: 'at+jwt', alg: 'ES256' };
        return new SignJWT(decodeJwt(await forge())).setProtectedHeader(header).sign(signer.privateKey);
      },
    ],
    ...(['sub', 'sid', 'iss', 'aud', 'iat', 'exp', 'jti', 'roles'] as const).map(
      (claim): [string, () => Promise<string>] => [`without ${claim}`, async () => forge({ [claim]: undefined })],
    ),
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
