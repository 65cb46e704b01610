import { createHmac, createPublicKey } from 'node:crypto';
import { hasOption } from '@bufbuild/protobuf';
import { calculateJwkThumbprint, decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Health } from '../gen/health/v1/health_pb.ts';
import { access } from '../gen/kith/access/v1/access_pb.ts';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { writeApiKey } from '../src/identity/api-keys/api-key.ts';
import { createKeyring } from '../src/kernel/keyring.ts';
import { SERVICES } from '../src/services.ts';
import {
  ALL,
  type Answers,
  answersOver,
  isPublic,
  type Matrix,
  type Method,
  METHODS,
  type NewKey,
  methodsOver,
  protocolsOn,
  REFUSED,
  startMatrix,
} from './support/access-matrix.ts';
import { databases } from './support/databases.ts';
import type { Kith, SignedIn } from './support/kith.ts';
import { signedIn } from './support/sign-in.ts';
import { signingKeyOf } from './support/signing-key.ts';

const THIRD_PARTY = [
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
];

/**
 * Whether all strangers are tried on a method. Who is let in is decided by the header and the method, in one place for
 * all protocols and databases: all of them meet every method once, and one method of each kind over every protocol.
 * The rest meets those whose refusal depends on stored rows or keys, and one for each other refusal.
 */
function meetsAllStrangers(method: Method, isFirst: boolean): boolean {
  return isFirst || ONE_OF_EACH_KIND.includes(method);
}

/** For callers who are signed in, for those who have a permission, and one that goes on. */
const ONE_OF_EACH_KIND: readonly Method[] = [
  AuthService.method.userMe,
  UserService.method.listUsers,
  ActivityService.method.watchUserActivity,
];

function representativesOf(all: readonly Stranger[]): Stranger[] {
  return all.filter(
    (stranger) =>
      [EXPIRED, ENDED, KEY_INVALID].includes(stranger.refusal) ||
      all.find(({ refusal }) => refusal === stranger.refusal) === stranger,
  );
}

describe.each(databases)('on $name', (kind) => {
  let matrix: Matrix;
  let strangers: readonly Stranger[];
  /** A key that expires when access tokens do. */
  let expiring: NewKey;

  beforeAll(async () => {
    matrix = await startMatrix(kind);
    strangers = await makeStrangers(matrix);
    const { kith, admin, newKey } = matrix;
    expiring = await newKey(admin, ALL, Date.now() + kith.config.accessTokenTtlMs);
  });
  afterAll(() => matrix[Symbol.asyncDispose]());

  test('the matrix has every service that is served', async () => {
    const { statuses } = await matrix.kith.client(Health).list({});
    const served = Object.keys(statuses).filter((name) => name !== '');
    expect(served.toSorted()).toEqual([...SERVICES.map(({ typeName }) => typeName), ...THIRD_PARTY].toSorted());
    expect(METHODS.filter(({ method }) => !hasOption(method, access))).toEqual([]);
  });

  describe.each(protocolsOn(kind))('$name', (protocol) => {
    let answerTo: Answers;
    beforeAll(() => {
      answerTo = answersOver(protocol, matrix.kith.address);
    });

    test.each(methodsOver(protocol))(
      '$name lets nobody in who is not signed in, unless it is public',
      async ({ method }) => {
        const { dump, refusedRequestOf } = matrix;
        const request = await refusedRequestOf(method);
        const before = await dump();
        const [actual, expected]: Record<string, string>[] = [{}, {}];
        const tried = meetsAllStrangers(method, protocol.isFirst) ? strangers : representativesOf(strangers);
        for (const { name, authorization, refusal } of tried) {
          actual![name] = await answerTo(method, authorization, request);
          expected![name] = isPublic(method) ? (REFUSED.get(method)?.answer ?? 'ok') : refusal;
        }
        expect(actual).toEqual(expected);
        expect(await dump()).toBe(before);
      },
    );

    test.each(methodsOver(protocol))(
      '$name refuses a token or an API key that was good and has expired',
      async ({ method }) => {
        const { kith, admin, dump, later, refusedRequestOf } = matrix;
        const request = await refusedRequestOf(method);
        const good = [admin.accessToken, expiring.accessToken, expiring.secret];
        for (const bearer of good) {
          expect(await answerTo(AuthService.method.userMe, `Bearer ${bearer}`, {})).toBe('ok');
        }
        await later(kith.config.accessTokenTtlMs + 1000, async () => {
          const before = await dump();
          const answers: string[] = [];
          for (const bearer of good) answers.push(await answerTo(method, `Bearer ${bearer}`, request));
          const { answer = 'ok' } = REFUSED.get(method) ?? {};
          expect(answers).toEqual(isPublic(method) ? [answer, answer, answer] : [EXPIRED, EXPIRED, KEY_INVALID]);
          expect(await dump()).toBe(before);
        });
      },
    );

    test.each(['bearer TOKEN', 'BEARER TOKEN', 'Bearer   TOKEN'])('reads %s', async (pattern) => {
      const authorization = pattern.replace('TOKEN', matrix.viewer.accessToken);
      expect(await answerTo(AuthService.method.userMe, authorization, {})).toBe('ok');
    });
  });
});

/** What somebody sends who is not signed in. */
interface Stranger {
  readonly name: string;
  readonly authorization: string | undefined;
  readonly refusal: string;
}

const INVALID = 'Unauthenticated ACCESS_TOKEN_INVALID';
const EXPIRED = 'Unauthenticated ACCESS_TOKEN_EXPIRED';
const ENDED = 'Unauthenticated SESSION_ENDED';
const KEY_INVALID = 'Unauthenticated API_KEY_INVALID';

async function makeStrangers({ kith, admin, viewer, users, newKey }: Matrix): Promise<Stranger[]> {
  const token = admin.accessToken;
  const [header = '', payload = '', signature = ''] = token.split('.');
  const { kid, privateKey, publicJwk } = await signingKeyOf(kith);
  const claims = decodeJwt(token);
  const publicKey = createPublicKey({ key: publicJwk, format: 'jwk' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const der = publicKey.export({ type: 'spki', format: 'der' });
  const other = await generateKeyPair('ES256', { extractable: true });
  const otherJwk = { ...(await exportJWK(other.publicKey)), alg: 'ES256', use: 'sig' };
  const otherKid = await calculateJwkThumbprint(otherJwk);
  const fallen = {
    ended: await kith.user(Role.ADMIN),
    deleted: await kith.user(Role.ADMIN),
    suspended: await kith.user(Role.ADMIN),
  };
  await kith.client(AuthService, fallen.ended.accessToken).logout({});
  await users.deleteUser({ userId: fallen.deleted.user.id });
  await users.updateUser({ userId: fallen.suspended.user.id, state: UserState.SUSPENDED });
  const renewed = await kith.user(Role.ADMIN);
  await signInAndChangePassword(kith, renewed);

  const [key, gone] = [await newKey(admin, [Permission.USERS_WRITE]), await newKey(admin, [Permission.USERS_WRITE])];
  const outcasts = { deleted: await kith.user(Role.ADMIN), suspended: await kith.user(Role.ADMIN) };
  const keyOfDeleted = await newKey(outcasts.deleted, [Permission.USERS_WRITE]);
  const keyOfSuspended = await newKey(outcasts.suspended, [Permission.USERS_WRITE]);
  await kith.client(ApiKeyService, admin.accessToken).revokeApiKey({ userId: admin.user.id, apiKeyId: gone.id });
  await users.deleteUser({ userId: outcasts.deleted.user.id });
  await users.updateUser({ userId: outcasts.suspended.user.id, state: UserState.SUSPENDED });

  const HEADER = { alg: 'ES256', typ: 'at+jwt', kid };
  /** Signed with the server's own key. */
  const signed = (changes: object, header: object = HEADER) =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader(header as typeof HEADER).sign(privateKey);
  /** Signed with a key that anybody can make. */
  const forged = (header: object, key = other.privateKey) =>
    new SignJWT(claims).setProtectedHeader(header as typeof HEADER).sign(key);
  const unsigned = (alg: string, end = '') => `${encode({ ...HEADER, alg })}.${payload}.${end}`;
  const hmac = (alg: string, hash: string, secret: string | Buffer) => {
    const input = `${encode({ ...HEADER, alg })}.${payload}`;
    return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
  };
  const seconds = Math.floor(Date.now() / 1000);

  const tokens: [name: string, token: string, refusal?: string][] = [
    ['one letter', 'x'],
    ['undefined', 'undefined'],
    ['dots', '...'],
    ['three words', 'a.b.c'],
    ['five parts, as of an encrypted one', `${token}.a.b`],
    ['a token cut short', token.slice(0, -10)],
    ['a token without its signature', `${header}.${payload}.`],
    ['a token without signature and dot', `${header}.${payload}`],
    ['a payload with the signature of another', `${header}.${viewer.accessToken.split('.')[1]}.${signature}`],
    ['a header with the signature of another', `${encode({ ...HEADER, x: 1 })}.${payload}.${signature}`],
    ['a payload that is not JSON', `${header}.${Buffer.from('{').toString('base64url')}.${signature}`],
    ['a payload that is null', `${header}.${encode(null)}.${signature}`],
    ['a header that is not JSON', `e30x.${payload}.${signature}`],
    ['a header that is a list', `${encode([HEADER])}.${payload}.${signature}`],
    ['a token of 10,000 characters', `${header}.${payload}${'A'.repeat(10_000)}.${signature}`],
    ['a refresh token', admin.refreshToken],
    ['the password', Buffer.from(admin.password).toString('base64url')],
    ...['none', 'None', 'NONE', 'nOnE', '', 'none ', 'ES256 ', 'es256'].flatMap((alg): [string, string][] => [
      [`alg ${JSON.stringify(alg)} and no signature`, unsigned(alg)],
      [`alg ${JSON.stringify(alg)} and the signature of a good one`, unsigned(alg, signature)],
    ]),
    ['alg null', `${encode({ ...HEADER, alg: null })}.${payload}.`],
    ['no alg', `${encode({ typ: HEADER.typ, kid: HEADER.kid })}.${payload}.${signature}`],
    ['HS256 with the public key in PEM as the secret', hmac('HS256', 'sha256', pem)],
    ['HS256 with the public key in PEM without its last line feed', hmac('HS256', 'sha256', pem.trim())],
    ['HS256 with the public key in DER', hmac('HS256', 'sha256', der)],
    ['HS256 with the public key as published', hmac('HS256', 'sha256', JSON.stringify(publicJwk))],
    ['HS256 with x of the public key', hmac('HS256', 'sha256', Buffer.from(publicJwk.x!, 'base64url'))],
    ['HS256 with an empty secret', hmac('HS256', 'sha256', '')],
    ['HS384 with the public key', hmac('HS384', 'sha384', pem)],
    ['HS512 with the public key', hmac('HS512', 'sha512', pem)],
    ['HS256 with the kid as the secret', hmac('HS256', 'sha256', HEADER.kid)],
    ['ES256 in which r and s are zero', `${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`],
    ['ES256 in DER', `${header}.${payload}.${derOf(signature)}`],
    ['ES256 named ES384', unsigned('ES384', signature)],
    ['ES256 named RS256', unsigned('RS256', signature)],
    ['ES256 named EdDSA', unsigned('EdDSA', signature)],
    ['another key under the known kid', await forged(HEADER)],
    // As if the key had been removed since.
    ['another key under its own kid', await forged({ ...HEADER, kid: otherKid }), EXPIRED],
    ['another key without a kid', await forged({ alg: 'ES256', typ: 'at+jwt' })],
    ['another key in an embedded jwk', await forged({ ...HEADER, kid: otherKid, jwk: otherJwk })],
    ['another key in an embedded jwk under the known kid', await forged({ ...HEADER, jwk: otherJwk })],
    ['another key at a jku', await forged({ ...HEADER, kid: otherKid, jku: `${kith.address}/.well-known/jwks.json` })],
    ['another key at an x5u', await forged({ ...HEADER, kid: otherKid, x5u: 'https://elsewhere.example/cert.pem' })],
    ['another key in an x5c', await forged({ ...HEADER, x5c: [der.toString('base64')] })],
    ['a critical extension', await forged({ ...HEADER, crit: ['b64'], b64: true })],
    ...(await Promise.all(
      [
        '../../../../../../dev/null',
        '/dev/null',
        "' or '1'='1",
        "x' union select 'AAAA' --",
        '__proto__',
        'constructor',
        'toString',
        '',
        '\0',
        `${HEADER.kid} `,
      ].map(async (kid): Promise<[string, string]> => [`kid ${JSON.stringify(kid)}`, await forged({ ...HEADER, kid })]),
    )),
    ['the kid in capitals', await forged({ ...HEADER, kid: HEADER.kid.toUpperCase() }), EXPIRED],
    ['kid that is a list', await forged({ ...HEADER, kid: [HEADER.kid] })],
    ['another issuer', await signed({ iss: 'https://elsewhere.example' })],
    ['an issuer with a slash more', await signed({ iss: `${claims.iss}/` })],
    ['no issuer', await signed({ iss: undefined })],
    ['another audience', await signed({ aud: 'elsewhere' })],
    ['several audiences that are others', await signed({ aud: ['a', 'b'] })],
    ['no audience', await signed({ aud: undefined })],
    ['typ JWT', await signed({}, { ...HEADER, typ: 'JWT' })],
    ['typ id_token', await signed({}, { ...HEADER, typ: 'id_token+jwt' })],
    ['no typ', await signed({}, { alg: HEADER.alg, kid: HEADER.kid })],
    ['no sid', await signed({ sid: undefined })],
    ['sid that is a number', await signed({ sid: 1 })],
    ['sid that is null', await signed({ sid: null })],
    ['sid that is a list', await signed({ sid: [claims['sid']] })],
    ['no sub', await signed({ sub: undefined })],
    ['no jti', await signed({ jti: undefined })],
    ['no exp', await signed({ exp: undefined })],
    ['exp that is a text', await signed({ exp: String(claims.exp) })],
    ['no iat', await signed({ iat: undefined })],
    ['nbf that is to come', await signed({ nbf: seconds + 3600 })],
    ['exp that has passed', await signed({ exp: seconds - 1 }), EXPIRED],
    ['exp 0', await signed({ exp: 0 }), EXPIRED],
    ['a session that was signed out', fallen.ended.accessToken, ENDED],
    ['a user who was deleted', fallen.deleted.accessToken, ENDED],
    ['a user who was suspended', fallen.suspended.accessToken, ENDED],
    ['a session before a new password', renewed.accessToken, ENDED],
    ['a session with a scope', await signed({ scope: 'users.write' })],
    ['a session that is named a client', await signed({ client_id: claims['sid'] })],
    ['an API key that was revoked', gone.secret, KEY_INVALID],
    ['an access token of an API key that was revoked', gone.accessToken, KEY_INVALID],
    ['an API key of a user who was deleted', keyOfDeleted.secret, KEY_INVALID],
    ['an access token of it', keyOfDeleted.accessToken, KEY_INVALID],
    ['an API key of a user who was suspended', keyOfSuspended.secret, KEY_INVALID],
    ['an access token of that', keyOfSuspended.accessToken, KEY_INVALID],
    ['an API key of another installation', writeApiKey(createKeyring(new Uint8Array(32)), key.id), KEY_INVALID],
    ['another API key with the id of one', writeApiKey(createKeyring(kith.config.secretKey!), key.id), KEY_INVALID],
    ['an API key cut short', key.secret.slice(0, -1), KEY_INVALID],
    ['an API key with a character more', `${key.secret}0`, KEY_INVALID],
    ['an API key in upper case', key.secret.toUpperCase()],
    ['the id of an API key', key.id],
    ['the prefix of an API key', 'kith_ak_', KEY_INVALID],
  ];
  const headers: [name: string, authorization: string | undefined, refusal?: string][] = [
    ['no header', undefined, 'Unauthenticated ACCESS_TOKEN_MISSING'],
    ['an empty header', ''],
    ['Bearer alone', 'Bearer'],
    ['a token without a scheme', token],
    ['Basic', `Basic ${Buffer.from(`admin:${admin.password}`).toString('base64')}`],
    ['Token', `Token ${token}`],
    ['DPoP', `DPoP ${token}`],
    ['Bearer:', `Bearer: ${token}`],
    ['Bearer with a quoted token', `Bearer "${token}"`],
    ['Bearer twice', `Bearer Bearer ${token}`],
    ['a tab for the blank', `Bearer\t${token}`],
    ['a blank inside', `Bearer ${token.slice(0, 50)} ${token.slice(50)}`],
    ['a word after it', `Bearer ${token} x`],
    ['two tokens', `Bearer ${token}, Bearer ${token}`],
    ['a no-break space after it', `Bearer ${token}\u00a0`],
    ['another character after it', `Bearer ${token}!`],
    ['padding inside', `Bearer ${header}=.${payload}.${signature}`],
  ];
  return [
    ...headers.map(([name, authorization, refusal = INVALID]) => ({ name, authorization, refusal })),
    ...tokens.map(([name, value, refusal = INVALID]) => ({ name, authorization: `Bearer ${value}`, refusal })),
  ];
}

async function signInAndChangePassword(kith: Kith, { user: { username }, password }: SignedIn): Promise<void> {
  const { accessToken } = await signedIn(kith.client(AuthService).login({ identifier: username, password }));
  const change = { currentPassword: password, newPassword: `new ${password}` };
  await kith.client(AuthService, accessToken).changePassword(change);
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** A signature as TLS has it, instead of r and s side by side. */
function derOf(signature: string): string {
  const bytes = Buffer.from(signature, 'base64url');
  const integers = [bytes.subarray(0, 32), bytes.subarray(32)].map((integer) => Buffer.from([2, 33, 0, ...integer]));
  return Buffer.concat([Buffer.from([0x30, 70]), ...integers]).toString('base64url');
}
