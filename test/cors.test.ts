import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Kith, startKith } from './support/kith.ts';
import { type ServingProcess, startProcess } from './support/process.ts';

const ORIGIN = 'https://app.example.org';
const DEV_ORIGIN = 'http://localhost:5173';
const RPC = '/kith.auth.v1.AuthService/UserMe';
const JWKS = '/.well-known/jwks.json';

/** Near misses first: what a comparison by prefix, suffix, substring or pattern would let in. */
const DENIED = [
  `${ORIGIN}.evil.com`,
  `${ORIGIN}:443`,
  `${ORIGIN}:8443`,
  `${ORIGIN}/`,
  'http://app.example.org',
  'https://evil-app.example.org',
  'https://www.app.example.org',
  'https://appXexample.org',
  'https://APP.example.org',
  'https://example.org',
  'https://app.example.or',
  `https://evil.com#${ORIGIN}`,
  `${ORIGIN}, ${DEV_ORIGIN}`,
  `${ORIGIN} ${DEV_ORIGIN}`,
  'http://localhost:51730',
  'http://localhost:5173.evil.com',
  'http://localhost:517',
  'http://localhost',
  'https://localhost:5173',
  'http://127.0.0.1:5173',
  'null',
  '*',
];

/** Where a page may send calls to, found or not. */
const REQUESTS = [
  { name: 'a Connect call without a token', path: RPC, contentType: 'application/json', status: 401 },
  { name: 'a gRPC-Web call without a token', path: RPC, contentType: 'application/grpc-web+proto', status: 200 },
  { name: 'a Connect call of an unknown method', path: `${RPC}s`, contentType: 'application/json', status: 404 },
  {
    name: 'a gRPC-Web call of an unknown method',
    path: `${RPC}s`,
    contentType: 'application/grpc-web+proto',
    status: 200,
  },
  { name: 'a call of an unknown content type', path: RPC, contentType: 'application/x', status: 415 },
];

describe.each([
  { configured: 'two origins', origins: `${ORIGIN},${DEV_ORIGIN}`, allowed: [ORIGIN, DEV_ORIGIN] },
  { configured: 'one origin', origins: ORIGIN, allowed: [ORIGIN] },
])('with $configured', ({ origins, allowed }) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_CORS_ORIGINS: origins } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each(allowed)('a preflight of %s is granted what gRPC-Web and Connect need', async (origin) => {
    const headers = await preflight(kith, origin);
    expect(headers.get('access-control-allow-origin')).toBe(origin);
    expect(listIn(headers, 'vary')).toContain('origin');
    expect(listIn(headers, 'access-control-allow-methods')).toEqual(expect.arrayContaining(['get', 'post']));
    expect(listIn(headers, 'access-control-allow-headers')).toEqual(
      expect.arrayContaining([
        'authorization',
        'connect-protocol-version',
        'connect-timeout-ms',
        'content-type',
        'grpc-timeout',
        'traceparent',
        'tracestate',
        'x-grpc-web',
        'x-request-id',
        'x-user-agent',
      ]),
    );
    expect(Number(headers.get('access-control-max-age'))).toBeGreaterThan(0);
    expect(headers.get('access-control-allow-credentials')).toBeNull();
  });

  test.each(REQUESTS)('$name may be read, with what it tells', async ({ path, contentType, status }) => {
    for (const origin of allowed) {
      const response = await post(kith, path, { origin, 'content-type': contentType });
      expect(response.status).toBe(status);
      expect(response.headers.get('access-control-allow-origin')).toBe(origin);
      expect(listIn(response.headers, 'vary')).toContain('origin');
      expect(listIn(response.headers, 'access-control-expose-headers')).toEqual(
        expect.arrayContaining(['grpc-status', 'grpc-message', 'grpc-status-details-bin', 'x-request-id']),
      );
    }
  });

  test.each(DENIED)('%s is not let in', async (origin) => {
    // Without the first of these a browser does not look at the others.
    const answers = [await preflight(kith, origin)];
    for (const { path, contentType } of REQUESTS) {
      answers.push((await post(kith, path, { origin, 'content-type': contentType })).headers);
    }
    for (const headers of answers) {
      expect(headers.get('access-control-allow-origin')).toBeNull();
      expect(headers.get('access-control-allow-credentials')).toBeNull();
      expect(listIn(headers, 'vary')).toContain('origin');
    }
  });

  test('a caller without an origin is served as ever', async () => {
    const { accessToken } = await kith.user();
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${accessToken}` };
    const response = await post(kith, RPC, headers);
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
  });

  test.each(['https://evil.com', ORIGIN])('the key set may be read by %s', async (origin) => {
    const { headers } = await fetch(kith.address + JWKS, { headers: { origin } });
    expect(headers.get('access-control-allow-origin')).toBe('*');
  });
});

describe('without origins', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith();
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each([...DENIED, ORIGIN, 'http://localhost:8080'])('%s is granted nothing', async (origin) => {
    expect(grants(await preflight(kith, origin))).toEqual([]);
    for (const { path, contentType } of REQUESTS) {
      expect(grants((await post(kith, path, { origin, 'content-type': contentType })).headers)).toEqual([]);
    }
  });

  test('nor is its own', async () => {
    expect(grants(await preflight(kith, kith.address))).toEqual([]);
  });

  test('the key set may be read by any page', async () => {
    const { headers } = await fetch(kith.address + JWKS, { headers: { origin: ORIGIN } });
    expect(headers.get('access-control-allow-origin')).toBe('*');
  });
});

describe('what a page can send without a preflight', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_CORS_ORIGINS: ORIGIN } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each([
    'text/plain',
    'text/plain; application/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
  ])('is no call: %s', async (contentType) => {
    const login = '/kith.auth.v1.AuthService/Login';
    const body = JSON.stringify({ identifier: 'admin', password: 'x' });
    const response = await post(kith, login, { origin: 'https://evil.com', 'content-type': contentType }, body);
    expect(response.status).toBe(415);
    expect(await response.json()).toMatchObject({
      details: [{ debug: { reason: 'ERROR_REASON_ENCODING_UNSUPPORTED' } }],
    });
  });
});

describe.each([
  { configured: 'two origins', env: { KITH_CORS_ORIGINS: `${ORIGIN},${DEV_ORIGIN}` } },
  { configured: 'no origins', env: {} },
])('a page that may not call, with $configured,', ({ env }) => {
  const GET = '/grpc.health.v1.Health/List?encoding=json&message=%7B%7D';

  test('leaves one line in the log that names its origin and the setting', async () => {
    await using kith = await startProcess({ env });
    const refused = ['https://evil.example', 'http://localhost:3000', 'null'];
    for (const origin of [...refused, ...refused]) {
      await preflight(kith, origin);
      await post(kith, RPC, { origin, 'content-type': 'application/json' });
      await fetch(kith.address + GET, { headers: { origin } });
    }
    // The server's own pages, origins that are none, and what any page may read.
    for (const origin of [kith.address, 'not an origin', `https://${'a'.repeat(300)}.example`]) {
      await post(kith, RPC, { origin, 'content-type': 'application/json' });
    }
    await fetch(kith.address + JWKS, { headers: { origin: 'https://keys.example' } });
    if ('KITH_CORS_ORIGINS' in env) await preflight(kith, ORIGIN);
    expect(await refusedOrigins(kith)).toEqual(refused);
  });

  test('fills the log with no more than 100 lines', async () => {
    await using kith = await startProcess({ env });
    for (let i = 0; i < 130; i++) await fetch(kith.address + GET, { headers: { origin: `https://o${i}.example` } });
    expect(await refusedOrigins(kith)).toHaveLength(100);
  });

  async function refusedOrigins(kith: ServingProcess): Promise<string[]> {
    kith.kill('SIGTERM');
    const { stdout } = await kith.exited;
    const lines = stdout.split('\n').filter((line) => line.includes('KITH_CORS_ORIGINS'));
    return lines.map((line) => (JSON.parse(line) as { origin: string }).origin);
  }
});

/** The headers of the answer to what a browser asks before a call. */
async function preflight(kith: Pick<Kith, 'address'>, origin: string): Promise<Headers> {
  const { headers } = await fetch(kith.address + RPC, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,x-grpc-web',
    },
  });
  return headers;
}

function post(
  kith: Pick<Kith, 'address'>,
  path: string,
  headers: Record<string, string>,
  body = '{}',
): Promise<Response> {
  return fetch(kith.address + path, { method: 'POST', headers, body });
}

function grants(headers: Headers): string[] {
  return [...headers.keys()].filter((name) => name.startsWith('access-control-'));
}

function listIn(headers: Headers, name: string): string[] {
  return (headers.get(name) ?? '').toLowerCase().split(/, */);
}
