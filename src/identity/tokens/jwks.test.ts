import { createPublicKey, verify } from 'node:crypto';
import { createRemoteJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SigningKeyService } from '../../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { type Kith, startKith } from '../../../test/support/kith.ts';
import { http1Request, sendHttp1 } from '../../../test/support/raw.ts';

const PATH = '/.well-known/jwks.json';
const ISSUER = 'https://kith.example.org';

let kith: Kith;
let etag: string;
beforeAll(async () => {
  kith = await startKith({ env: { KITH_ISSUER: ISSUER } });
  etag = (await ask()).headers['etag']!;
});
afterAll(() => kith[Symbol.asyncDispose]());

function ask(headers: Record<string, string> = {}, method = 'GET') {
  return sendHttp1(kith.address, http1Request(method, PATH, { connection: 'close', ...headers }));
}

async function rotate(compromised = false): Promise<void> {
  const { accessToken } = await kith.admin();
  await kith.client(SigningKeyService, accessToken).rotateSigningKey({ compromised });
}

test('anybody may read the public keys, from any page, and keep them for five minutes', async () => {
  const { status, headers, body } = await ask({ origin: 'https://elsewhere.example' });
  expect(status).toBe(200);
  expect(headers).toMatchObject({
    'content-type': 'application/jwk-set+json',
    'cache-control': 'public, max-age=300',
    'access-control-allow-origin': '*',
    etag: expect.stringMatching(/^"[\w-]+"$/),
  });
  const { keys } = JSON.parse(body.toString()) as JSONWebKeySet;
  expect(keys).toEqual([expect.objectContaining({ kty: 'EC', alg: 'ES256', use: 'sig' })]);
});

test('HEAD answers as GET does, without the keys', async () => {
  const [head, get] = [await fetch(kith.address + PATH, { method: 'HEAD' }), await fetch(kith.address + PATH)];
  const described = ({ headers }: Response) =>
    ['content-type', 'content-length', 'cache-control', 'etag'].map((name) => headers.get(name));
  expect(head.status).toBe(200);
  expect(described(head)).toEqual(described(get));
  expect(described(head)).not.toContain(null);
  expect(await head.text()).toBe('');
});

describe('who has the keys already is told so', () => {
  test.each([
    ['by their tag', () => etag],
    ['by their tag as a weak one', () => `W/${etag}`],
    ['by their tag among others', () => `"a", W/"b" ,${etag}`],
    ['by any tag', () => '*'],
    ['by any tag and blanks', () => ' * '],
  ])('%s', async (_, tags) => {
    const { status, headers, body } = await ask({ 'if-none-match': tags() });
    expect(status).toBe(304);
    expect(headers).toMatchObject({ etag, 'cache-control': 'public, max-age=300' });
    expect(body.length).toBe(0);
  });

  test('over HEAD too', async () => {
    expect((await ask({ 'if-none-match': etag }, 'HEAD')).status).toBe(304);
  });
});

describe('who has other keys gets them', () => {
  test.each([
    ['for another tag', () => '"other"'],
    ['for an empty tag', () => '""'],
    ['for a tag without its quotes', () => etag.slice(1, -1)],
    ['for a part of the tag', () => `"${etag.slice(2)}`],
    ['for a star in quotes', () => '"*"'],
    ['for nothing', () => ''],
    ['for 8,000 tags', () => '"x",'.repeat(2000)],
  ])('%s', async (_, tags) => {
    const { status, body } = await ask({ 'if-none-match': tags() });
    expect(status).toBe(200);
    expect(body.length).toBeGreaterThan(100);
  });
});

test.each(['POST', 'PUT', 'DELETE', 'PATCH'])('%s is not for keys', async (method) => {
  expect((await ask({}, method)).status).toBe(404);
});

test('tokens verify with what is published: by a library that fetches it, and by hand', async () => {
  const { user, accessToken } = await kith.user();
  const remote = createRemoteJWKSet(new URL(PATH, kith.address));
  const pinned = { issuer: ISSUER, audience: 'kith', typ: 'at+jwt', algorithms: ['ES256'] };
  const { payload, protectedHeader } = await jwtVerify(accessToken, remote, pinned);
  expect(payload.sub).toBe(user.id);

  const { keys } = JSON.parse((await ask()).body.toString()) as JSONWebKeySet;
  const key = createPublicKey({ key: keys.find(({ kid }) => kid === protectedHeader.kid)!, format: 'jwk' });
  const [signed = '', signature = ''] = accessToken.split(/\.(?=[^.]*$)/);
  const isGood = (data: string) =>
    verify('sha256', Buffer.from(data), { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'));
  expect([isGood(signed), isGood(`${signed}x`)]).toEqual([true, false]);
});

test('a key that is to sign is published before, under another tag; one that may be known to others is not any more', async () => {
  const before = await ask();
  await rotate();
  const after = await ask({ 'if-none-match': before.headers['etag']! });
  expect(after.status).toBe(200);
  expect(after.headers['etag']).not.toBe(before.headers['etag']);
  const kidsOf = ({ body }: typeof after) => (JSON.parse(body.toString()) as JSONWebKeySet).keys.map(({ kid }) => kid);
  expect(kidsOf(after)).toEqual([expect.any(String), ...kidsOf(before)]);
  await rotate(true);
  const [only, ...rest] = kidsOf(await ask());
  expect(rest).toEqual([]);
  expect(kidsOf(after)).not.toContain(only);
});
