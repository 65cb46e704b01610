import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ErrorReason } from '../gen/kith/error/v1/error_pb.ts';
import { hasChromium, needChromium, type PageServer, servePages, startChromium } from './support/browser.ts';
import { type Kith, startKith } from './support/kith.ts';
import type { Protocol } from './support/page.ts';

const TLS = {
  KITH_TLS_CERT: 'test/fixtures/tls/localhost-cert.pem',
  KITH_TLS_KEY: 'test/fixtures/tls/localhost-key.pem',
};

const SCRIPT = 'test/support/page.ts';

let browser: Browser;
let pages: PageServer;
let elsewhere: PageServer;
let plain: Kith;
let secure: Kith;

beforeAll(async () => {
  if (!hasChromium) return;
  [pages, elsewhere] = await Promise.all([servePages(SCRIPT), servePages(SCRIPT)]);
  const env = { KITH_CORS_ORIGINS: `https://app.example.org, http://localhost:${pages.port}` };
  [browser, plain, secure] = await Promise.all([
    startChromium(),
    startKith({ env }),
    startKith({ env: { ...env, ...TLS } }),
  ]);
});

afterAll(async () => {
  const opened: (AsyncDisposable | undefined)[] = [browser, plain, secure, pages, elsewhere];
  for (const resource of opened) await resource?.[Symbol.asyncDispose]();
});

const protocols: readonly Protocol[] = ['gRPC-Web', 'Connect JSON', 'Connect binary', 'Connect GET'];

describe.each([
  { port: 'the plaintext port', spoken: 'http/1.1', kithOf: () => plain },
  { port: 'the TLS port', spoken: 'h2', kithOf: () => secure },
])('a page of an allowed origin, on $port', ({ spoken, kithOf }) => {
  test.for(protocols)('signs in and keeps contacts over %s', async (protocol, context) => {
    needChromium(context);
    const kith = kithOf();
    const { user, password } = await kith.user();
    const { opened, calls } = await openPage(`http://localhost:${pages.port}`);
    const visit = { baseUrl: kith.address, protocol, identifier: user.username, password };
    const result = await opened.evaluate((given) => globalThis.page.visit(given), visit);
    expect(result).toMatchObject({
      username: user.username,
      requestId: 'from-a-page',
      contactId: expect.any(String),
      list: { contacts: [{ id: result.contactId, givenName: 'Zoë', notes: '🦉' }], totalSize: 1 },
      refused: { code: 'PermissionDenied', reason: ErrorReason.PERMISSION_MISSING, requestId: 'from-a-page' },
    });
    const [login, me] = [calls('Login'), calls('UserMe')];
    expect(login).toEqual([{ method: 'POST', protocol: spoken, contentType: contentTypeOf(protocol) }]);
    expect(me).toMatchObject([{ method: protocol === 'Connect GET' ? 'GET' : 'POST', protocol: spoken }]);
    await opened.context().close();
  });
});

describe('a page of another origin', () => {
  test.for([
    { name: 'another port', origin: () => `http://localhost:${elsewhere.port}` },
    { name: 'another name of the same machine', origin: () => `http://127.0.0.1:${pages.port}` },
    { name: 'a subdomain', origin: () => `http://app.localhost:${pages.port}` },
  ])('is refused by the browser: $name', async ({ origin }, context) => {
    needChromium(context);
    const { opened, complaints } = await openPage(origin());
    for (const protocol of protocols) {
      const given = { baseUrl: plain.address, protocol };
      const refused = await opened.evaluate((to) => globalThis.page.knock(to), given);
      expect(refused).toMatchObject({ code: 'Unknown', message: 'Failed to fetch', requestId: null });
      expect(refused?.reason).toBeUndefined();
    }
    expect(complaints.filter((complaint) => complaint.includes('blocked by CORS policy'))).toHaveLength(
      protocols.length,
    );
    await opened.context().close();
  });

  test('would be answered if it were allowed', async (context) => {
    needChromium(context);
    const { opened, complaints } = await openPage(`http://localhost:${pages.port}`);
    for (const protocol of protocols) {
      const given = { baseUrl: plain.address, protocol };
      const refused = await opened.evaluate((to) => globalThis.page.knock(to), given);
      expect(refused).toMatchObject({ code: 'Unauthenticated', reason: ErrorReason.ACCESS_TOKEN_MISSING });
    }
    expect(complaints.join('\n')).not.toMatch(/CORS/);
    await opened.context().close();
  });

  test('may read the key set, which is public', async (context) => {
    needChromium(context);
    const { opened } = await openPage(`http://localhost:${elsewhere.port}`);
    const url = `${plain.address}/.well-known/jwks.json`;
    expect(await opened.evaluate(async (from) => (await fetch(from)).json(), url)).toHaveProperty('keys');
    await opened.context().close();
  });
});

/** A call as the browser made it. */
interface Call {
  readonly method: string;
  /** `h2` or `http/1.1`. */
  readonly protocol: string;
  readonly contentType: string | undefined;
}

/** Opens the page at an origin, in a profile of its own. */
async function openPage(origin: string): Promise<{ opened: Page; complaints: string[]; calls(rpc: string): Call[] }> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const opened = await context.newPage();
  const complaints: string[] = [];
  opened.on('console', (message) => complaints.push(message.text()));
  const requests = new Map<string, { url: string; method: string; headers: Record<string, string> }>();
  const made: (Call & { url: string })[] = [];
  const devtools = await context.newCDPSession(opened);
  devtools.on('Network.requestWillBeSent', ({ requestId, request }) => requests.set(requestId, request));
  devtools.on('Network.responseReceived', ({ requestId, response: { protocol = '' } }) => {
    const request = requests.get(requestId);
    if (request === undefined) return;
    const { url, method, headers } = request;
    made.push({ url, method, protocol, contentType: headers['content-type'] ?? headers['Content-Type'] });
  });
  await devtools.send('Network.enable');
  await opened.goto(origin);
  await opened.waitForFunction(() => 'page' in globalThis);
  const calls = (rpc: string) =>
    made
      .filter(({ url, method }) => new URL(url).pathname.endsWith(`/${rpc}`) && method !== 'OPTIONS')
      .map(({ method, protocol, contentType }) => ({ method, protocol, contentType }));
  return { opened, complaints, calls };
}

function contentTypeOf(protocol: Protocol): string {
  if (protocol === 'gRPC-Web') return 'application/grpc-web+proto';
  return protocol === 'Connect binary' ? 'application/proto' : 'application/json';
}
