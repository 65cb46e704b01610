import {
  constants,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
  sign as signBytes,
  webcrypto,
} from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  CompactEncrypt,
  type CryptoKey,
  calculateJwkThumbprint,
  decodeJwt,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
} from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import { type Kith, startKith } from '../../../test/support/kith.ts';
import { http1Request, outcomeOf, sendHttp1 } from '../../../test/support/raw.ts';
import { signingKeyOf } from '../../../test/support/signing-key.ts';
import { createVerifier, type Verifier } from '../../../packages/verify/src/verify.ts';

const ISSUER = 'https://kith.example.org';

/** The order of the group P-256, SEC 2 version 2.0, 2.4.2. */
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** What a forger has to work with, and more than one can have: the key itself, to get the claims wrong with. */
interface Forge {
  /** A good token, and its parts as they travel. */
  readonly token: string;
  readonly header: string;
  readonly payload: string;
  readonly signature: string;
  readonly claims: JWTPayload;
  readonly kid: string;
  readonly publicJwk: JWK;
  readonly pem: string;
  readonly der: Buffer;
  /** A key pair that anybody can make. */
  readonly evil: { readonly key: CryptoKey; readonly jwk: JWK; readonly kid: string };
  /** A server that counts who comes. */
  readonly trap: string;
  /** A good token of another Kith that has the same issuer. */
  readonly foreign: string;
  /** Signs with the key of the server. */
  sign(header: object | string, payload: object | string): Promise<string>;
  /** Signs with the forger's key. */
  forge(header: object | string, payload?: object | string): Promise<string>;
  /** A good token but for what is given; undefined leaves out. Signed with the key of the server. */
  claim(changes: Record<string, unknown>): Promise<string>;
}

type Case = readonly [name: string, make: (forge: Forge) => Promise<string> | string];

const text = (value: object | string) => (typeof value === 'string' ? value : JSON.stringify(value));
const encode = (value: object | string) => Buffer.from(text(value)).toString('base64url');
const good = ({ kid }: Forge) => ({ alg: 'ES256', typ: 'at+jwt', kid });
const seconds = () => Math.floor(Date.now() / 1000);

async function signWith(key: CryptoKey, header: object | string, payload: object | string): Promise<string> {
  const input = `${encode(header)}.${encode(payload)}`;
  const signature = await webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, Buffer.from(input));
  return `${input}.${Buffer.from(signature).toString('base64url')}`;
}

/** Some other algorithm, whatever Node calls it. */
function signOtherwise(
  forge: Forge,
  alg: string,
  { privateKey }: { privateKey: KeyObject },
  hash: string | null,
  options: object = {},
): string {
  const input = `${encode({ ...good(forge), alg })}.${forge.payload}`;
  return `${input}.${signBytes(hash, Buffer.from(input), { key: privateKey, ...options }).toString('base64url')}`;
}

function hmac(forge: Forge, alg: string, hash: string, secret: string | Buffer): string {
  const input = `${encode({ ...good(forge), alg })}.${forge.payload}`;
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
}

/** The integers of a signature, r and s. */
function integersOf(signature: string): [Buffer, Buffer] {
  const bytes = Buffer.from(signature, 'base64url');
  return [bytes.subarray(0, 32), bytes.subarray(32)];
}

const ALGORITHMS: readonly Case[] = [
  ...['none', 'None', 'NONE', 'nOnE', 'none ', ' none', 'no\u0000ne', '', 'null', 'es256', 'ES256 ', 'ES256K'].flatMap(
    (alg): Case[] => [
      [`alg ${JSON.stringify(alg)} without a signature`, (f) => `${encode({ ...good(f), alg })}.${f.payload}.`],
      [
        `alg ${JSON.stringify(alg)} with the signature of a good token`,
        (f) => `${encode({ ...good(f), alg })}.${f.payload}.${f.signature}`,
      ],
    ],
  ),
  ['alg null', (f) => `${encode({ ...good(f), alg: null })}.${f.payload}.`],
  ['alg that is a list', (f) => f.sign({ ...good(f), alg: ['ES256'] }, f.claims)],
  ['alg that is a number', (f) => f.sign({ ...good(f), alg: 256 }, f.claims)],
  ['no alg', (f) => f.sign({ typ: 'at+jwt', kid: f.kid }, f.claims)],
  ['HS256 keyed with the public key in PEM', (f) => hmac(f, 'HS256', 'sha256', f.pem)],
  [
    'HS256 keyed with the public key in PEM without its last line feed',
    (f) => hmac(f, 'HS256', 'sha256', f.pem.trim()),
  ],
  ['HS256 keyed with the public key in DER', (f) => hmac(f, 'HS256', 'sha256', f.der)],
  ['HS256 keyed with the public key in DER in base64', (f) => hmac(f, 'HS256', 'sha256', f.der.toString('base64'))],
  ['HS256 keyed with the public JWK', (f) => hmac(f, 'HS256', 'sha256', JSON.stringify(f.publicJwk))],
  ['HS256 keyed with x of the public key', (f) => hmac(f, 'HS256', 'sha256', Buffer.from(f.publicJwk.x!, 'base64url'))],
  ['HS256 keyed with the point of the public key', (f) => hmac(f, 'HS256', 'sha256', f.der.subarray(-65))],
  ['HS256 keyed with nothing', (f) => hmac(f, 'HS256', 'sha256', '')],
  ['HS256 keyed with the kid', (f) => hmac(f, 'HS256', 'sha256', f.kid)],
  ['HS384 keyed with the public key in PEM', (f) => hmac(f, 'HS384', 'sha384', f.pem)],
  ['HS512 keyed with the public key in PEM', (f) => hmac(f, 'HS512', 'sha512', f.pem)],
  [
    'a MAC with the public key, called ES256',
    (f) =>
      `${f.header}.${f.payload}.${createHmac('sha512', f.pem).update(`${f.header}.${f.payload}`).digest('base64url')}`,
  ],
  ['RS256', (f) => signOtherwise(f, 'RS256', generateKeyPairSync('rsa', { modulusLength: 2048 }), 'sha256')],
  [
    'PS256',
    (f) =>
      signOtherwise(f, 'PS256', generateKeyPairSync('rsa', { modulusLength: 2048 }), 'sha256', {
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: 32,
      }),
  ],
  ['EdDSA', (f) => signOtherwise(f, 'EdDSA', generateKeyPairSync('ed25519'), null)],
  ['Ed25519', (f) => signOtherwise(f, 'Ed25519', generateKeyPairSync('ed25519'), null)],
  [
    'ES384',
    (f) =>
      signOtherwise(f, 'ES384', generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'sha384', {
        dsaEncoding: 'ieee-p1363',
      }),
  ],
  [
    'ES512',
    (f) =>
      signOtherwise(f, 'ES512', generateKeyPairSync('ec', { namedCurve: 'P-521' }), 'sha512', {
        dsaEncoding: 'ieee-p1363',
      }),
  ],
  [
    'ES256K',
    (f) =>
      signOtherwise(f, 'ES256K', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }), 'sha256', {
        dsaEncoding: 'ieee-p1363',
      }),
  ],
  [
    'ES384 with the signature of a good token',
    (f) => `${encode({ ...good(f), alg: 'ES384' })}.${f.payload}.${f.signature}`,
  ],
];

/** Written as Kith writes them, for a key that is not there: as those are whose key was removed. */
const OF_UNKNOWN_KEYS: ReadonlySet<string> = new Set([
  'another key under its own kid',
  'another Kith that calls itself the same',
  `kid "${'_'.repeat(43)}"`,
  'the kid in capitals',
]);

const KEYS: readonly Case[] = [
  ['another key under the known kid', (f) => f.forge(good(f))],
  ['another key under its own kid', (f) => f.forge({ ...good(f), kid: f.evil.kid })],
  ['another key and no kid', (f) => f.forge({ alg: 'ES256', typ: 'at+jwt' })],
  ['the own key and no kid', (f) => f.sign({ alg: 'ES256', typ: 'at+jwt' }, f.claims)],
  ['another Kith that calls itself the same', ({ foreign }) => foreign],
  ['another Kith, under the known kid', (f) => f.header + f.foreign.slice(f.foreign.indexOf('.'))],
  ['a jwk inside', (f) => f.forge({ ...good(f), kid: f.evil.kid, jwk: f.evil.jwk })],
  ['a jwk inside under the known kid', (f) => f.forge({ ...good(f), jwk: { ...f.evil.jwk, kid: f.kid } })],
  ['a jwk inside and no kid', (f) => f.forge({ alg: 'ES256', typ: 'at+jwt', jwk: f.evil.jwk })],
  ['a jwk inside, of the own key', (f) => f.sign({ ...good(f), jwk: f.publicJwk }, f.claims)],
  ['a jku', (f) => f.forge({ ...good(f), kid: f.evil.kid, jku: `${f.trap}/jwks.json` })],
  ['a jku under the known kid', (f) => f.forge({ ...good(f), jku: `${f.trap}/jwks.json` })],
  ['a jku and the own key', (f) => f.sign({ ...good(f), jku: `${f.trap}/jwks.json` }, f.claims)],
  ['an x5u', (f) => f.forge({ ...good(f), kid: f.evil.kid, x5u: `${f.trap}/cert.pem` })],
  ['an x5u and the own key', (f) => f.sign({ ...good(f), x5u: `${f.trap}/cert.pem` }, f.claims)],
  ['an x5c', (f) => f.forge({ ...good(f), x5c: [f.der.toString('base64')] })],
  ['an x5t', (f) => f.forge({ ...good(f), 'x5t#S256': f.kid })],
  ['an issuer to ask for its keys', (f) => f.forge({ ...good(f), kid: f.evil.kid }, { ...f.claims, iss: f.trap })],
  ['an issuer to ask for its keys, in the header', (f) => f.forge({ ...good(f), kid: f.evil.kid, iss: f.trap })],
  ['a kid to ask for the key', (f) => f.forge({ ...good(f), kid: `${f.trap}/jwks.json` })],
  ...[
    '../../../../../../dev/null',
    '/dev/null',
    'file:///dev/null',
    "' or '1'='1",
    "x' union select public_key from signing_keys --",
    "x'; delete from signing_keys; --",
    '%',
    '_'.repeat(43),
    '$(id)',
    '__proto__',
    'constructor',
    'toString',
    'undefined',
    '0',
    '\u0000',
    'ключ',
    'x'.repeat(1000),
  ].map((kid): Case => [`kid ${JSON.stringify(kid.slice(0, 50))}`, (f) => f.forge({ ...good(f), kid })]),
  ['the kid in capitals', (f) => f.sign({ ...good(f), kid: f.kid.toUpperCase() }, f.claims)],
  ['the kid and a blank', (f) => f.sign({ ...good(f), kid: `${f.kid} ` }, f.claims)],
  ['kid empty', (f) => f.sign({ ...good(f), kid: '' }, f.claims)],
  ['kid null', (f) => f.sign({ ...good(f), kid: null }, f.claims)],
  ['kid that is a number', (f) => f.sign({ ...good(f), kid: 0 }, f.claims)],
  ['kid that is a list', (f) => f.sign({ ...good(f), kid: [f.kid] }, f.claims)],
  ['kid that is an object', (f) => f.sign({ ...good(f), kid: { kid: f.kid } }, f.claims)],
  [
    'kid twice, the known one last',
    (f) => f.forge(`{"alg":"ES256","typ":"at+jwt","kid":"${f.evil.kid}","kid":"${f.kid}"}`),
  ],
  [
    'kid twice, the known one last, and the own key',
    (f) => f.sign(`{"alg":"ES256","typ":"at+jwt","kid":"${f.evil.kid}","kid":"${f.kid}"}`, f.claims),
  ],
  [
    'alg twice, ES256 last',
    (f) => `${encode(`{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"${f.kid}"}`)}.${f.payload}.`,
  ],
  [
    'alg twice, and the own key',
    (f) => f.sign(`{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"${f.kid}"}`, f.claims),
  ],
];

const HEADERS: readonly Case[] = [
  ['crit with an unknown extension', (f) => f.sign({ ...good(f), crit: ['x'], x: 1 }, f.claims)],
  ['crit with b64', (f) => f.sign({ ...good(f), crit: ['b64'], b64: true }, f.claims)],
  ['crit empty', (f) => f.sign({ ...good(f), crit: [] }, f.claims)],
  ['b64 false', (f) => f.sign({ ...good(f), crit: ['b64'], b64: false }, f.claims)],
  ['b64 false without crit', (f) => f.sign({ ...good(f), b64: false }, f.claims)],
  ['cty', (f) => f.sign({ ...good(f), cty: 'JWT' }, f.claims)],
  ['zip', (f) => f.sign({ ...good(f), zip: 'DEF' }, f.claims)],
  ['typ JWT', (f) => f.sign({ ...good(f), typ: 'JWT' }, f.claims)],
  ['typ of a logout token', (f) => f.sign({ ...good(f), typ: 'logout+jwt' }, f.claims)],
  ['typ in capitals', (f) => f.sign({ ...good(f), typ: 'AT+JWT' }, f.claims)],
  ['typ with a media type before', (f) => f.sign({ ...good(f), typ: 'application/at+jwt' }, f.claims)],
  ['typ null', (f) => f.sign({ ...good(f), typ: null }, f.claims)],
  ['no typ', (f) => f.sign({ alg: 'ES256', kid: f.kid }, f.claims)],
  ['a header with blanks', (f) => f.sign(JSON.stringify(good(f), null, 1), f.claims)],
  ['a header with a byte order mark', (f) => f.sign(`\uFEFF${JSON.stringify(good(f))}`, f.claims)],
  ['a header with something after it', (f) => f.sign(`${JSON.stringify(good(f))} {}`, f.claims)],
  ['a header that is a list', (f) => f.sign([good(f)], f.claims)],
  ['a header that is null', (f) => f.sign('null', f.claims)],
  ['a header that is text', (f) => f.sign('"ES256"', f.claims)],
  ['a header that is empty', (f) => f.sign('', f.claims)],
  ['a header with a prototype', (f) => f.sign(`{"__proto__":${JSON.stringify(good(f))}}`, f.claims)],
];

const CLAIMS: readonly Case[] = [
  ...['sub', 'sid', 'iss', 'aud', 'iat', 'exp', 'jti', 'roles', 'auth_time'].flatMap((claim): Case[] => [
    [`no ${claim}`, (f) => f.claim({ [claim]: undefined })],
    [`${claim} null`, (f) => f.claim({ [claim]: null })],
    [`${claim} that is an object`, (f) => f.claim({ [claim]: {} })],
    [`${claim} true`, (f) => f.claim({ [claim]: true })],
  ]),
  ['sub that is a list', (f) => f.claim({ sub: [f.claims.sub] })],
  ['sid empty', (f) => f.claim({ sid: '' })],
  ['sid that is a list', (f) => f.claim({ sid: [f.claims['sid']] })],
  ['another issuer', (f) => f.claim({ iss: f.trap })],
  ['an issuer with a slash more', (f) => f.claim({ iss: `${ISSUER}/` })],
  ['an issuer in capitals', (f) => f.claim({ iss: ISSUER.toUpperCase() })],
  ['issuers in a list', (f) => f.claim({ iss: [ISSUER] })],
  ['another audience', (f) => f.claim({ aud: 'kith2' })],
  ['no audience in a list', (f) => f.claim({ aud: [] })],
  ['others in a list of audiences', (f) => f.claim({ aud: ['a', 'b'] })],
  ['exp that is text', (f) => f.claim({ exp: String(f.claims.exp) })],
  ['exp that is a fraction', (f) => f.claim({ exp: f.claims.exp! + 0.5 })],
  ['exp that is a list', (f) => f.claim({ exp: [f.claims.exp] })],
  ['exp beyond all numbers', (f) => f.sign(good(f), JSON.stringify(f.claims).replace(/"exp":\d+/, '"exp":1e400'))],
  ['exp that is not a number', (f) => f.sign(good(f), JSON.stringify(f.claims).replace(/"exp":\d+/, '"exp":NaN'))],
  ['exp in a thousand years', (f) => f.claim({ exp: seconds() + 1000 * 365 * 86_400 })],
  ['exp in milliseconds', (f) => f.claim({ exp: f.claims.exp! * 1000 })],
  ['iat that is text', (f) => f.claim({ iat: String(f.claims.iat) })],
  ['iat that is negative', (f) => f.claim({ iat: -1 })],
  ['nbf in the future', (f) => f.claim({ nbf: seconds() + 86_400 * 365 * 100 })],
  ['nbf that is text', (f) => f.claim({ nbf: '0' })],
  ['a role that there is not', (f) => f.claim({ roles: ['root'] })],
  ['two roles', (f) => f.claim({ roles: ['viewer', 'admin'] })],
  ['a role outside a list', (f) => f.claim({ roles: 'admin' })],
  ['the permissions of an API key on a session', (f) => f.claim({ scope: 'users.write' })],
  ['claims that are a list', (f) => f.sign(good(f), [f.claims])],
  ['claims that are null', (f) => f.sign(good(f), 'null')],
  ['claims that are text', (f) => f.sign(good(f), '"claims"')],
  ['claims that are no JSON', (f) => f.sign(good(f), JSON.stringify(f.claims).slice(0, -1))],
  ['claims that are empty', (f) => f.sign(good(f), '')],
  ['claims that are a token', (f) => f.sign(good(f), f.token)],
  ['claims that are a token, and say so', (f) => f.sign({ ...good(f), cty: 'JWT' }, JSON.stringify(f.token))],
];

const SPELLINGS: readonly Case[] = [
  ['nothing', () => ''],
  ['a word', () => 'token'],
  ['dots', () => '..'],
  ['a dot more', ({ token }) => `${token}.`],
  ['a dot before', ({ token }) => `.${token}`],
  ['two parts', (f) => `${f.header}.${f.payload}`],
  ['no signature', (f) => `${f.header}.${f.payload}.`],
  ['no claims', (f) => `${f.header}..${f.signature}`],
  ['no header', (f) => `.${f.payload}.${f.signature}`],
  ['four parts', ({ token }) => `${token}.${token.split('.')[2]}`],
  [
    'an encrypted token',
    (f) =>
      new CompactEncrypt(Buffer.from(JSON.stringify(f.claims)))
        .setProtectedHeader({ ...good(f), alg: 'ECDH-ES', enc: 'A256GCM' })
        .encrypt(createPublicKey({ key: f.publicJwk, format: 'jwk' })),
  ],
  ['JSON serialisation', (f) => JSON.stringify({ protected: f.header, payload: f.payload, signature: f.signature })],
  [
    'JSON serialisation in base64',
    (f) => encode({ payload: f.payload, signatures: [{ protected: f.header, signature: f.signature }] }),
  ],
  ['a blank inside', ({ token }) => `${token.slice(0, 40)} ${token.slice(40)}`],
  ['a blank after the header', (f) => `${f.header} .${f.payload}.${f.signature}`],
  ['a tab inside', ({ token }) => `${token.slice(0, 40)}\t${token.slice(40)}`],
  ['a line feed in base64', (f) => `${f.header}.${f.payload}.${f.signature.slice(0, 40)}%0A${f.signature.slice(40)}`],
  ['a comma and another token', ({ token }) => `${token},${token}`],
  ['a no-break space after it', ({ token }) => `${token}\u00a0`],
  ['quotes around it', ({ token }) => `"${token}"`],
  ['padding after the signature', ({ token }) => `${token}==`],
  ['padding after the header', (f) => `${f.header}=.${f.payload}.${f.signature}`],
  [
    'base64 that is not for URLs',
    async (f) => {
      // A signature that has a character in which the alphabets differ.
      for (;;) {
        const token = await f.claim({ jti: randomUUID() });
        const at = token.lastIndexOf('.') + 1;
        const standard = token.slice(at).replaceAll('-', '+').replaceAll('_', '/');
        if (standard !== token.slice(at)) return token.slice(0, at) + standard;
      }
    },
  ],
  ['spare bits of the signature set', ({ token }) => withSpareBits(token)],
  ['a letter that base64 has not', (f) => `${f.header}.${f.payload}.~${f.signature}`],
  ['a letter like one of ASCII', ({ token }) => `\u00e9${token.slice(1)}`],
  ['a token of 12,000 letters', (f) => `${f.header}.${f.payload}${'A'.repeat(12_000)}.${f.signature}`],
  ['12,000 letters that the own key signed', (f) => f.claim({ extra: 'x'.repeat(8000) })],
  ['3,000 dots', () => '.'.repeat(3000)],
  [
    'the claims of another token',
    async (f) => `${f.header}.${encode({ ...f.claims, roles: ['admin'] })}.${f.signature}`,
  ],
  [
    'another letter in the signature',
    (f) => `${f.header}.${f.payload}.${f.signature.startsWith('A') ? 'B' : 'A'}${f.signature.slice(1)}`,
  ],
  ['a signature of nothing but zeros', (f) => `${f.header}.${f.payload}.${Buffer.alloc(64).toString('base64url')}`],
  ['a signature of r and the order', (f) => joined(f, integersOf(f.signature)[0], bytesOf(P256_ORDER))],
  [
    'a signature with s beyond the order',
    (f) => {
      const [r, s] = integersOf(f.signature);
      return joined(f, r, bytesOf((BigInt(`0x${s.toString('hex')}`) + P256_ORDER) % 2n ** 256n));
    },
  ],
  ['a signature whose r is 0', (f) => joined(f, Buffer.alloc(32), integersOf(f.signature)[1])],
  ['r and s the other way round', (f) => joined(f, integersOf(f.signature)[1], integersOf(f.signature)[0])],
  [
    'a signature in DER',
    (f) => {
      const integers = integersOf(f.signature).map((integer) => Buffer.from([2, 33, 0, ...integer]));
      return joined(f, Buffer.from([0x30, 70]), ...integers);
    },
  ],
  ['a signature that is cut short', ({ token }) => token.slice(0, -4)],
  ['a signature with a byte more', (f) => joined(f, ...integersOf(f.signature), Buffer.alloc(1))],
  ['a signature twice', (f) => joined(f, ...integersOf(f.signature), ...integersOf(f.signature))],
];

function joined({ header, payload }: Forge, ...signature: Buffer[]): string {
  return `${header}.${payload}.${Buffer.concat(signature).toString('base64url')}`;
}

function bytesOf(integer: bigint): Buffer {
  return Buffer.from(integer.toString(16).padStart(64, '0'), 'hex');
}

/** The 64 bytes of a signature leave four bits of the last letter unused. */
function withSpareBits(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1)!) + 1];
}

let kith: Kith;
let f: Forge;
let visits = 0;
const cleanUp = new AsyncDisposableStack();

beforeAll(async () => {
  kith = cleanUp.use(await startKith({ env: { KITH_ISSUER: ISSUER } }));
  const other = cleanUp.use(
    await startKith({ env: { KITH_ISSUER: ISSUER, KITH_SECRET_KEY: Buffer.alloc(32, 'other').toString('base64') } }),
  );
  const trap = createServer((_, response) => void response.end('{}')).on('connection', () => void visits++);
  await once(trap.listen(0, 'localhost'), 'listening');
  cleanUp.defer(async () => {
    trap.close();
    await once(trap, 'close');
  });

  const { accessToken: token } = await kith.user();
  const [header, payload, signature] = token.split('.') as [string, string, string];
  const claims = decodeJwt(token);
  const { kid, privateKey: signingKey, publicJwk } = await signingKeyOf(kith);
  const privateKey = signingKey.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign']) as CryptoKey;
  const publicKey = createPublicKey({ key: publicJwk, format: 'jwk' });
  const pair = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(pair.publicKey);
  f = {
    token,
    header,
    payload,
    signature,
    claims,
    kid,
    publicJwk,
    pem: publicKey.export({ type: 'spki', format: 'pem' }),
    der: publicKey.export({ type: 'spki', format: 'der' }),
    evil: { key: pair.privateKey, jwk: { ...jwk, alg: 'ES256', use: 'sig' }, kid: await calculateJwkThumbprint(jwk) },
    trap: `http://localhost:${(trap.address() as AddressInfo).port}`,
    foreign: (await other.admin()).accessToken,
    sign: (h, p) => signWith(privateKey, h, p),
    forge: (h, p = claims) => signWith(pair.privateKey, h, p),
    claim: (changes) => signWith(privateKey, { alg: 'ES256', typ: 'at+jwt', kid }, { ...claims, ...changes }),
  };
});
afterAll(() => cleanUp.disposeAsync());

/** Code and reason of the answer to a call with this in its header. */
async function answerTo(authorization: string): Promise<string> {
  const headers = { 'content-type': 'application/json', authorization };
  const request = http1Request('POST', '/kith.auth.v1.AuthService/UserMe', headers, '{}');
  const { code, reason } = await outcomeOf(await sendHttp1(kith.address, request));
  return reason === undefined ? code : `${code} ${reason}`;
}

test('a good token is taken, and so is one that is made in the same way', async () => {
  expect(await answerTo(`Bearer ${f.token}`)).toBe('ok');
  expect(await answerTo(`Bearer ${await f.claim({})}`)).toBe('ok');
  expect(await answerTo(`Bearer ${await f.claim({ jti: randomUUID() })}`)).toBe('ok');
});

describe('algorithm or key confusion: a token is refused with', () => {
  test.each([...ALGORITHMS, ...KEYS, ...HEADERS])('%s', async (name, make) => {
    const reason = OF_UNKNOWN_KEYS.has(name) ? 'ACCESS_TOKEN_EXPIRED' : 'ACCESS_TOKEN_INVALID';
    expect(await answerTo(`Bearer ${await make(f)}`)).toBe(`Unauthenticated ${reason}`);
  });
});

describe('a token that the own key signed is refused with', () => {
  test.each(CLAIMS)('%s', async (_, make) => {
    expect(await answerTo(`Bearer ${await make(f)}`)).toBe('Unauthenticated ACCESS_TOKEN_INVALID');
  });

  test.each([
    ['passed', () => seconds() - 1],
    ['0', () => 0],
    ['-1', () => -1],
  ])('exp %s, as expired', async (_, exp) => {
    expect(await answerTo(`Bearer ${await f.claim({ exp: exp() })}`)).toBe('Unauthenticated ACCESS_TOKEN_EXPIRED');
  });

  test('iat in the future, as expired: it may be from before the clock was set back', async () => {
    const token = await f.claim({ iat: seconds() + 600, exp: seconds() + 900 });
    expect(await answerTo(`Bearer ${token}`)).toBe('Unauthenticated ACCESS_TOKEN_EXPIRED');
  });
});

describe('a token is refused that is spelt with', () => {
  test.each(SPELLINGS)('%s', async (_, make) => {
    expect(await answerTo(`Bearer ${await make(f)}`)).toBe('Unauthenticated ACCESS_TOKEN_INVALID');
  });
});

describe('@kith/verify refuses what the server refuses: a token with', () => {
  const asked: string[] = [];
  let verifier: Verifier;
  beforeAll(async () => {
    const startedMs = Date.now();
    verifier = createVerifier({
      issuer: ISSUER,
      address: kith.address,
      now: () => startedMs, // so that no time passes after which keys are fetched again
      fetch(input, init) {
        asked.push(input as string);
        return fetch(input, init);
      },
    });
    await verifier.verify(f.token);
  });

  test.each([...ALGORITHMS, ...KEYS, ...HEADERS, ...CLAIMS, ...SPELLINGS])('%s', async (_, make) => {
    await expect(verifier.verify(await make(f))).rejects.toMatchObject({ reason: 'token_invalid' });
  });

  test.each([-1, 0])('exp %i', async (exp) => {
    await expect(verifier.verify(await f.claim({ exp }))).rejects.toMatchObject({ reason: 'token_expired' });
  });

  test('iat in the future', async () => {
    const token = await f.claim({ iat: seconds() + 600, exp: seconds() + 900 });
    await expect(verifier.verify(token)).rejects.toMatchObject({ reason: 'token_expired' });
  });

  test('and asks for nothing but the keys it had', () => {
    expect(asked).toEqual([`${kith.address}/.well-known/jwks.json`]);
  });
});

test('nobody was asked for keys, certificates or issuers', async () => {
  expect(visits).toBe(0);
  await fetch(f.trap);
  expect(visits).toBe(1);
});

test('the other form of a signature gives the same token, which ends with the same session', async () => {
  const { accessToken } = await kith.user();
  const [header, payload, signature] = accessToken.split('.') as [string, string, string];
  const [r, s] = integersOf(signature);
  const twin = joined({ ...f, header, payload }, r, bytesOf(P256_ORDER - BigInt(`0x${s.toString('hex')}`)));
  expect(twin).not.toBe(accessToken);
  for (const token of [accessToken, twin]) expect(await answerTo(`Bearer ${token}`)).toBe('ok');
  await kith.client(AuthService, twin).logout({});
  for (const token of [accessToken, twin]) {
    expect(await answerTo(`Bearer ${token}`)).toBe('Unauthenticated SESSION_ENDED');
  }
});
