import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Kith, startKith } from './support/kith.ts';
import { connectHttp2, http1Request, outcomeOf, type RawAnswer, sendHttp1, sendHttp2 } from './support/raw.ts';

const ME = '/kith.auth.v1.AuthService/UserMe';
const SESSIONS = '/kith.auth.v1.SessionService/ListSessions';
const KEYS = '/.well-known/jwks.json';

let kith: Kith;
let authorization: string;
beforeAll(async () => {
  kith = await startKith({ env: { KITH_CORS_ORIGINS: 'https://app.example.org' } });
  authorization = `Bearer ${(await kith.admin()).accessToken}`;
});
afterAll(() => kith[Symbol.asyncDispose]());

type Headers = Readonly<Record<string, string>>;

const http1 = (method: string, target: string, headers: Headers = {}, body = '') =>
  sendHttp1(kith.address, http1Request(method, target, headers, body));

async function http2(headers: Headers, body: string | Uint8Array): Promise<RawAnswer> {
  await using session = await connectHttp2(kith.address);
  return await sendHttp2(session, headers, body);
}

const JSON_TYPE = { 'content-type': 'application/json' };
const signed = () => ({ ...JSON_TYPE, authorization });
const grpc = (type: string, path: string, headers: Headers = {}) =>
  http2({ ':path': path, te: 'trailers', 'content-type': type, ...headers }, Buffer.alloc(5));
const get = (target: string, query: string, headers: Headers) => http1('GET', `${target}?${query}`, headers);

const ANSWERS: readonly (readonly [name: string, status: number, type: string, send: () => Promise<RawAnswer>])[] = [
  ['a call over Connect', 200, 'application/json', () => http1('POST', ME, signed(), '{}')],
  ['a call over Connect and HTTP/2', 200, 'application/json', () => http2({ ':path': ME, ...signed() }, '{}')],
  ['a read by GET', 200, 'application/json', () => get(ME, 'encoding=json&message=%7B%7D', { authorization })],
  ['a call over gRPC', 200, 'application/grpc+proto', () => grpc('application/grpc', ME, { authorization })],
  [
    'a call over gRPC-Web',
    200,
    'application/grpc-web+proto',
    () => grpc('application/grpc-web', ME, { authorization }),
  ],
  [
    'a call of a page',
    200,
    'application/json',
    () => http1('POST', ME, { ...signed(), origin: 'https://app.example.org' }, '{}'),
  ],
  [
    'a preflight',
    204,
    '',
    () => http1('OPTIONS', ME, { origin: 'https://app.example.org', 'access-control-request-method': 'POST' }),
  ],
  ['a refused call over Connect', 401, 'application/json', () => http1('POST', ME, JSON_TYPE, '{}')],
  ['a refused call over gRPC', 200, 'application/grpc+proto', () => grpc('application/grpc', ME)],
  ['a refused call over gRPC-Web', 200, 'application/grpc-web+proto', () => grpc('application/grpc-web', ME)],
  ['broken JSON', 400, 'application/json', () => http1('POST', ME, signed(), '{')],
  ['another content type', 415, 'application/json', () => http1('POST', ME, { 'content-type': 'text/html' }, '<p>')],
  ['another HTTP method', 405, 'application/json', () => http1('DELETE', ME)],
  ['TRACE', 405, 'application/json', () => http1('TRACE', ME)],
  ['an unknown method over gRPC', 200, 'application/grpc', () => grpc('application/grpc', '/nope.v1.Nope/Nope')],
  ['an unknown path', 404, 'application/json', () => http1('GET', '/nope')],
  ['a path that cannot be decoded', 400, 'application/json', () => http1('GET', '/%ff')],
  ['no host', 400, 'application/json', () => http1('GET', '/', { host: '' })],
  ['what is not HTTP', 400, 'application/json', () => sendHttp1(kith.address, 'hello\r\n\r\n')],
  ['headers that are too large', 431, 'application/json', () => http1('GET', '/', { x: 'x'.repeat(20_000) })],
  ['the health probe', 200, 'application/json', () => http1('GET', '/healthz')],
  ['the readiness probe', 200, 'application/json', () => http1('GET', '/readyz')],
];

/** What a body holds. */
function contentOf(body: Buffer): string {
  if (body.length === 0) return 'nothing';
  try {
    return `JSON: ${typeof JSON.parse(body.toString())}`;
  } catch {
    return body.readUInt8(0) <= 0x80 && body.length >= 5 ? 'envelopes' : 'something else';
  }
}

/** What the bodies of a content type hold. */
const CONTENTS: Readonly<Record<string, RegExp>> = {
  '': /^nothing$/,
  'application/json': /^JSON: object$/,
  'application/grpc': /^nothing$/,
  'application/grpc+proto': /^(envelopes|nothing)$/,
  'application/grpc-web+proto': /^envelopes$/,
};

describe.each(ANSWERS)('the answer to %s', (_name, status, type, send) => {
  let answer: RawAnswer;
  beforeAll(async () => {
    answer = await send();
  });

  test('is the one that is meant', () => {
    expect(answer.status).toBe(status);
  });

  test('says what it is, and is that', () => {
    const [given, parameters] = (answer.headers['content-type'] ?? '').split(/; */);
    expect(given).toBe(type);
    // JSON is UTF-8 by itself (RFC 8259, 8.1), and no other type of Kith's is text.
    expect([undefined, 'charset=utf-8']).toContain(parameters);
    expect(contentOf(answer.body)).toMatch(CONTENTS[type]!);
  });

  test('is kept by nobody, and taken for nothing else', () => {
    expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  });

  test('sends nobody elsewhere, sets no cookie, and does not say what serves', () => {
    const named = Object.keys({ ...answer.headers, ...answer.trailers });
    const unwanted = ['location', 'refresh', 'set-cookie', 'server', 'via', 'x-powered-by', 'x-aspnet-version'];
    expect(named.filter((name) => unwanted.includes(name))).toEqual([]);
  });
});

test.each([
  [KEYS, 'application/jwk-set+json', /^public, max-age=\d+$/],
  ['/contract.binpb', 'application/protobuf', /^public, no-cache$/],
  ['/openapi.json', 'application/json', /^public, no-cache$/],
  ['/errors', 'text/html; charset=utf-8', /^public, no-cache$/],
])(
  'the key set and the contract alone may be kept, by anybody, and are taken for nothing else: %s',
  async (path, type, kept) => {
    const { status, headers } = await http1('GET', path, { connection: 'close' });
    expect({ status, ...headers }).toMatchObject({
      status: 200,
      'cache-control': expect.stringMatching(kept),
      'x-content-type-options': 'nosniff',
      'content-type': type,
    });
    const again = await http1('GET', path, { connection: 'close', 'if-none-match': headers['etag'] ?? '' });
    expect({ status: again.status, ...again.headers }).toMatchObject({
      status: 304,
      'x-content-type-options': 'nosniff',
    });
  },
);

test.each([
  '/',
  '/.git/config',
  '/.env',
  '/package.json',
  '/src/main.ts',
  '/data/kith.db',
  '/data/kith.db.key',
  '/../package.json',
  '/..%2fpackage.json',
  '/.well-known/',
  '/.well-known/../package.json',
  '/metrics',
  '/debug/pprof',
  '/server-status',
])('no file, list of files or page of diagnosis is served at %s', async (path) => {
  const { status, body } = await http1('GET', path);
  expect(status).toBe(404);
  expect(JSON.parse(body.toString())).toMatchObject({ code: 'unimplemented' });
});

describe('what is said twice', () => {
  test.each([
    [
      'in a query',
      (mine: string, other: string) => {
        const message = (id: string) => `message=${encodeURIComponent(JSON.stringify({ userId: id }))}`;
        return ['encoding=json', message(mine), message(other)].join('&');
      },
    ],
    ['in a query and a body', (mine: string) => `encoding=json&message=${encodeURIComponent(`{"userId":"${mine}"}`)}`],
  ])('%s is read as one, by who checks access and by who answers', async (_, queryOf) => {
    const [me, other] = [await kith.user(), await kith.user()];
    const headers = { ...JSON_TYPE, authorization: `Bearer ${me.accessToken}` };
    const codes = new Set<string>();
    for (const [first, second] of [
      [me.user.id, other.user.id],
      [other.user.id, me.user.id],
    ] as const) {
      const query = queryOf(first, second);
      for (const answer of [
        await http1('GET', `${SESSIONS}?${query}`, headers),
        await http1('POST', `${SESSIONS}?${query}`, headers, JSON.stringify({ userId: second })),
      ]) {
        const { code } = await outcomeOf(answer);
        codes.add(code);
        if (code !== 'ok') continue;
        const { sessions } = JSON.parse(answer.body.toString()) as { sessions: { current?: boolean }[] };
        expect(sessions).toEqual([expect.objectContaining({ current: true })]);
      }
    }
    expect([...codes].toSorted()).toEqual(['PermissionDenied', 'ok']);
  });

  test('as a header, the first token is the one that counts', async () => {
    const mine = `Bearer ${(await kith.user()).accessToken}`;
    const send = (...tokens: string[]) =>
      sendHttp1(
        kith.address,
        `POST ${ME} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n` +
          `${tokens.map((token) => `authorization: ${token}\r\n`).join('')}\r\n{}`,
      );
    expect((await outcomeOf(await send('Bearer x.y.z', mine))).code).toBe('Unauthenticated');
    expect((await outcomeOf(await send('', mine))).code).toBe('Unauthenticated');
    expect((await send(mine, authorization)).body).toEqual((await send(mine)).body);
  });
});
