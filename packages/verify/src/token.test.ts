import { createHmac, randomUUID } from 'node:crypto';
import { exportJWK, exportSPKI, generateKeyPair, importJWK, type CryptoKey } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Issuer, seconds, startIssuer } from './issuer.testkit.ts';
import { bearerToken, createVerifier, type Verifier } from './verify.ts';

const refusedFor = (reason: string) => expect.objectContaining({ name: 'VerificationError', reason });
const invalid = refusedFor('token_invalid');

let issuer: Issuer;
let verifier: Verifier;
beforeAll(async () => {
  issuer = await startIssuer();
  verifier = issuer.verifier();
  await verifier.ready(60_000);
});
afterAll(() => issuer[Symbol.asyncDispose]());

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const nowSeconds = () => Math.floor(issuer.clock.ms / 1000);

test('a session and its user come out of the token of a session', async () => {
  const [sub, sid] = [randomUUID(), randomUUID()];
  const at = nowSeconds();
  expect(await verifier.verify(await issuer.sign({ sub, sid, amr: ['pwd', 'otp', 'mfa'] }))).toEqual({
    userId: sub,
    sessionId: sid,
    kind: 'session',
    role: 'editor',
    permissions: new Set([
      'contacts.read',
      'contacts.write',
      'users.read',
      'activity.read',
      'activity.record',
      'revocations.read',
    ]),
    authTime: new Date((at - 60) * 1000),
    amr: ['pwd', 'otp', 'mfa'],
    issueTime: new Date(at * 1000),
    expireTime: new Date((at + 300) * 1000),
  });
});

test('a key and its owner come out of the token of an API key', async () => {
  const id = randomUUID();
  const claims = { sid: id, client_id: id, scope: 'users.read contacts.read', auth_time: undefined, amr: undefined };
  expect(await verifier.verify(await issuer.sign(claims))).toMatchObject({
    sessionId: id,
    kind: 'api_key',
    role: 'editor',
    permissions: new Set(['users.read', 'contacts.read']),
    authTime: undefined,
    amr: [],
  });
  expect((await verifier.verify(await issuer.sign({ ...claims, scope: '' }))).permissions).toEqual(new Set());
});

test('a token is good until its last millisecond, seen before or not', async () => {
  const own = await startIssuer();
  await using _ = own;
  const it = own.verifier();
  const [seen, unseen] = [await own.sign(), await own.sign()];
  const { expireTime } = await it.verify(seen);
  own.clock.ms = expireTime.getTime() - 1;
  await it.verify(seen);
  own.clock.ms += 1;
  for (const late of [seen, unseen, seen]) await expect(it.verify(late)).rejects.toEqual(refusedFor('token_expired'));
});

test('what a caller does to an answer does not change the next', async () => {
  const token = await issuer.sign();
  const { expireTime } = await verifier.verify(token);
  expireTime.setTime(0);
  expect((await verifier.verify(token)).expireTime.getTime()).toBeGreaterThan(issuer.clock.ms);
});

test('a verifier that remembers few tokens verifies as many as any', async () => {
  await using own = await startIssuer();
  const it = own.verifier({ rememberedMax: 2 });
  const [a, b, c] = await Promise.all([own.sign(), own.sign(), own.sign()]);
  for (const token of [a, b, a, c, a]) await it.verify(token);
  for (const token of [a, b, c]) expect(await it.verify(token)).toMatchObject({ role: 'editor' });
});

describe('a token is refused', () => {
  const pem = async () => exportSPKI((await importJWK({ ...issuer.keys[0]!, ext: true }, 'ES256')) as CryptoKey);
  const payloadOf = (token: string) => token.split('.')[1]!;
  const macced = async (alg: string, key: string) => {
    const input = `${encode({ alg, typ: 'at+jwt', kid: issuer.signer.kid })}.${payloadOf(await issuer.sign())}`;
    return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
  };
  const unsigned = async (alg: string, signature = '') =>
    `${encode({ alg, typ: 'at+jwt', kid: issuer.signer.kid })}.${payloadOf(await issuer.sign())}.${signature}`;
  const withClaims = (claims: Record<string, unknown>) => () => issuer.sign(claims);
  const withHeader = (header: Record<string, unknown>) => () => issuer.sign({}, header);

  test.each<[string, () => Promise<string> | string]>([
    ['that is empty', () => ''],
    ['that is no JWT', () => 'token'],
    ['that is an API key', () => 'kith_ak_0123456789'],
    ['of dots', () => '..'],
    ['of two parts', async () => (await issuer.sign()).replace(/\.[^.]*$/, '')],
    ['of four parts', async () => `${await issuer.sign()}.x`],
    ['of five parts', async () => `${await issuer.sign()}.x.x`],
    ['without its signature', async () => (await issuer.sign()).replace(/[^.]*$/, '')],
    ['without its payload', async () => (await issuer.sign()).replace(/\.[^.]*\./, '..')],
    ['without its header', async () => (await issuer.sign()).replace(/^[^.]*/, '')],
    ['with a blank before', async () => ` ${await issuer.sign()}`],
    ['with a line after', async () => `${await issuer.sign()}\n`],
    ...[1, 2, 3, 4, 85].map((count): [string, () => Promise<string>] => [
      `without its last ${count} letters`,
      async () => (await issuer.sign()).slice(0, -count),
    ]),
    ['with a letter more', async () => `${await issuer.sign()}A`],
    [
      'with spare bits set',
      async () => (await issuer.sign()).replace(/.$/, (last) => ({ A: 'B', Q: 'R', g: 'h', w: 'x' })[last]!),
    ],
    ['with padding', async () => `${await issuer.sign()}=`],
    ['of another alphabet', async () => (await issuer.sign()).replace(/.$/, '+')],
    ['with a NUL', async () => `${await issuer.sign()}\0`],
    ['as JSON', async () => JSON.stringify({ payload: payloadOf(await issuer.sign()) })],
    ['with the scheme before', async () => `Bearer ${await issuer.sign()}`],
    ['longer than 4096', withClaims({ extra: 'a'.repeat(4096) })],
    ['of very many letters', () => 'a'.repeat(10_000_000)],
    ['of very many dots', () => '.'.repeat(10_000_000)],
    ['of another key', async () => issuer.sign({}, {}, (await generateKeyPair('ES256')).privateKey)],
    ['of the algorithm none', () => unsigned('none')],
    ['of the algorithm None', () => unsigned('None')],
    ['of the algorithm NONE with a signature', () => unsigned('NONE', 'AAAA')],
    ['of no algorithm', () => unsigned(undefined as never, 'AAAA')],
    ['whose MAC is made with the public key', async () => macced('HS256', await pem())],
    ['whose MAC is made with the public key and says ES256', async () => macced('ES256', await pem())],
    ['whose MAC is made with the key set', () => macced('HS256', JSON.stringify({ keys: issuer.keys }))],
    ['of another curve', async () => issuer.sign({}, { alg: 'ES384' }, (await generateKeyPair('ES384')).privateKey)],
    ['of RSA', async () => issuer.sign({}, { alg: 'RS256' }, (await generateKeyPair('RS256')).privateKey)],
    ['of EdDSA', async () => issuer.sign({}, { alg: 'EdDSA' }, (await generateKeyPair('EdDSA')).privateKey)],
    ['with a signature of zeros', () => unsigned('ES256', Buffer.alloc(64).toString('base64url'))],
    ['with a signature in DER', () => unsigned('ES256', Buffer.from('3006020101020101', 'hex').toString('base64url'))],
    ['without a key id', withHeader({ kid: undefined })],
    ['with an empty key id', withHeader({ kid: '' })],
    ['with a key id that is a number', withHeader({ kid: 1 })],
    ['with a key id that is a path', withHeader({ kid: '../../../../dev/null' })],
    ['with a key id that is an address', withHeader({ kid: 'https://evil.example/key' })],
    ['with a key id that is SQL', withHeader({ kid: "' or 1=1 --" })],
    ['with a key id that every object has', withHeader({ kid: '__proto__' })],
    ['with a very long key id', withHeader({ kid: 'k'.repeat(1000) })],
    ['of the type JWT', withHeader({ typ: 'JWT' })],
    ['of no type', withHeader({ typ: undefined })],
    ['of the type at+jwt in capitals', withHeader({ typ: 'AT+JWT' })],
    ['that says where the keys are', withHeader({ jku: 'https://evil.example/jwks.json' })],
    ['that says where the certificate is', withHeader({ x5u: 'https://evil.example/cert.pem' })],
    [
      'with its own key inside',
      async () => {
        const pair = await generateKeyPair('ES256');
        return issuer.sign({}, { jwk: await exportJWK(pair.publicKey) }, pair.privateKey);
      },
    ],
    [
      'with a critical extension',
      () => unsigned('ES256').then((t) => t.replace(/^[^.]*/, encode({ alg: 'ES256', crit: ['x'], x: 1 }))),
    ],
    ['of another issuer', withClaims({ iss: 'https://other.example.org' })],
    ['of the issuer with a slash', () => issuer.sign({ iss: `${issuer.address}/` })],
    ['of several issuers', () => issuer.sign({ iss: [issuer.address] })],
    ['for another audience', withClaims({ aud: 'other' })],
    ['for the audience in capitals', withClaims({ aud: 'KITH' })],
    ['for no audience', withClaims({ aud: [] })],
    ['not valid yet', () => issuer.sign({ nbf: nowSeconds() + 60 })],
    ['that is good for too long', () => issuer.sign({ exp: nowSeconds() + 3601 })],
    ['with an expiry that is text', () => issuer.sign({ exp: String(nowSeconds() + 300) })],
    ['with an expiry that is no whole number', () => issuer.sign({ exp: nowSeconds() + 300.5 })],
    ['of a user that is a number', withClaims({ sub: 1 })],
    ['of an empty user', withClaims({ sub: '' })],
    ['of a session that is a list', withClaims({ sid: [randomUUID()] })],
    ['of no role', withClaims({ roles: [] })],
    ['of two roles', withClaims({ roles: ['viewer', 'admin'] })],
    ['of a role that is text', withClaims({ roles: 'admin' })],
    ['of a role of a later version', withClaims({ roles: ['owner'] })],
    ['of a role that every object has', withClaims({ roles: ['constructor'] })],
    ['with methods that are text', withClaims({ amr: 'pwd' })],
    ['with methods that are numbers', withClaims({ amr: [1] })],
    ['of an API key with a time of sign-in', withClaims({ client_id: randomUUID(), scope: 'users.read' })],
    ['of an API key that names another', withClaims({ client_id: 'x', scope: 'users.read', auth_time: undefined })],
    ['of an API key without a scope', () => issuer.sign({ sid: 'x', client_id: 'x', auth_time: undefined })],
    [
      'of an API key with a scope that is a list',
      () => issuer.sign({ sid: 'x', client_id: 'x', scope: ['users.read'], auth_time: undefined }),
    ],
    ['of a session with a scope', withClaims({ scope: 'users.read' })],
    ...(['sub', 'sid', 'iss', 'aud', 'iat', 'exp', 'jti', 'roles', 'auth_time'] as const).map(
      (claim): [string, () => Promise<string>] => [`without ${claim}`, withClaims({ [claim]: undefined })],
    ),
  ])('%s', async (_, make) => {
    await expect(verifier.verify(await make())).rejects.toEqual(invalid);
  });

  test('that differs in any letter from one that was seen', async () => {
    const token = await issuer.sign();
    await verifier.verify(token);
    for (let i = 0; i < token.length; i += 5) {
      const other = token.slice(0, i) + (token[i] === 'A' ? 'B' : 'A') + token.slice(i + 1);
      await expect(verifier.verify(other)).rejects.toEqual(invalid);
    }
  });

  test('that has expired, and says nothing of itself', async () => {
    const token = await issuer.sign({ iat: nowSeconds() - 300, exp: nowSeconds() });
    const error = await verifier.verify(token).catch((thrown: unknown) => thrown);
    expect(error).toEqual(refusedFor('token_expired'));
    for (const part of token.split('.')) expect(String((error as Error).stack)).not.toContain(part);
  });

  test('that is no text, as a mistake of the program', async () => {
    for (const token of [undefined, null, 1, {}])
      await expect(verifier.verify(token as never)).rejects.toThrow(TypeError);
  });
});

test('all of these together make the verifier ask for no keys but those it had', () => {
  expect(issuer.requests).toBe(1);
});

describe('a verifier is not made', () => {
  const good = { issuer: 'https://kith.example.org' };
  test.each<[string, object]>([
    ['without an issuer', { issuer: undefined }],
    ['for an issuer that is a name', { issuer: 'kith.example.org' }],
    ['for an issuer of another scheme', { issuer: 'file:///etc/passwd' }],
    ['for an address that is none', { ...good, address: 'kith:8080' }],
    ['for keys at a path', { ...good, jwksUrl: '/.well-known/jwks.json' }],
    ['for no audience', { ...good, audience: '' }],
    ['with an empty API key', { ...good, revocations: { apiKey: '' } }],
    ['with an API key of two lines', { ...good, revocations: { apiKey: 'kith_ak_x\nkith_ak_y' } }],
    ['without a credential', { ...good, revocations: {} }],
  ])('%s', (_, options) => {
    expect(() => createVerifier(options as never)).toThrow(TypeError);
  });
});

test('keys and revocations are asked for where the service reaches Kith, and iss stays what it is', async () => {
  await using own = await startIssuer();
  const asked: string[] = [];
  const callersUse = 'https://kith.example.org/auth/';
  const record: typeof fetch = (input, init) => {
    asked.push(input as string);
    return fetch(input, init);
  };
  const inside = own.verifier({ issuer: callersUse, address: `${own.address}/`, fetch: record });
  expect(await inside.verify(await own.sign({ iss: callersUse }))).toMatchObject({ role: 'editor' });
  await expect(inside.verify(await own.sign())).rejects.toEqual(invalid);
  const elsewhere = own.verifier({
    issuer: callersUse,
    jwksUrl: `${own.address}/.well-known/jwks.json`,
    fetch: record,
  });
  await elsewhere.verify(await own.sign({ iss: callersUse }));
  const outside = own.verifier({ issuer: 'http://127.0.0.1:1/auth/', revocations: { apiKey: 'x' }, fetch: record });
  await expect(outside.ready(1)).rejects.toEqual(refusedFor('keys_unavailable'));
  expect(new Set(asked)).toEqual(
    new Set([
      `${own.address}/.well-known/jwks.json`,
      'http://127.0.0.1:1/auth/.well-known/jwks.json',
      'http://127.0.0.1:1/auth/kith.auth.v1.RevocationService/WatchRevocations',
    ]),
  );
});

test.each<[header: string | null | undefined, token: string | undefined]>([
  ['Bearer abc', 'abc'],
  ['bearer abc.DEF-_~+/==', 'abc.DEF-_~+/=='],
  ['BEARER   abc  ', 'abc'],
  ['Bearer', undefined],
  ['Bearer ', undefined],
  ['Bearer a b', undefined],
  ['Bearer a, Bearer b', undefined],
  ['Bearerabc', undefined],
  ['Basic abc', undefined],
  ['abc', undefined],
  ['', undefined],
  [undefined, undefined],
  [null, undefined],
  [`Bearer ${'='.repeat(100_000)}`, undefined],
  [`Bearer ${' '.repeat(100_000)}\t`, undefined],
])('the token of the header %o', (header, token) => {
  expect(bearerToken(header)).toBe(token);
});

test('time passes by the clock that says more', async () => {
  const { createClock } = await import('./clock.ts');
  let [wall, monotonic] = [seconds(1000), 0];
  const clock = createClock(
    () => wall,
    () => monotonic,
  );
  const then = clock.moment();
  wall -= seconds(100);
  monotonic += seconds(7);
  expect(clock.sinceMs(then)).toBe(7000);
  wall += seconds(200);
  expect(clock.sinceMs(then)).toBe(100_000);
});
