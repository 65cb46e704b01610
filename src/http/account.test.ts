import { readFileSync } from 'node:fs';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseConfig } from '../config/config.ts';
import { type AccountPages, serveAccount, serveChangePasswordUrl } from './account.ts';
import { brandStyle } from './brand-style.ts';
import { createHttpServer } from './fastify.ts';

const SOURCE = readFileSync('packages/account/index.html', 'utf8');

const PLAIN: AccountPages = {
  path: '/account/',
  service: 'Kith',
  logoUrl: undefined,
  color: undefined,
  homeUrl: undefined,
  signUp: 'closed',
  loginCodes: false,
};

const cleanUp = new AsyncDisposableStack();
let folder: string;
beforeAll(async () => {
  folder = cleanUp.use(await mkdtempDisposable(join(tmpdir(), 'account-'))).path;
  await mkdir(join(folder, 'assets'));
  await writeFile(join(folder, 'index.html'), SOURCE);
});
afterAll(() => cleanUp.disposeAsync());

async function start(pages: AccountPages, from = folder): Promise<string> {
  const fastify = createHttpServer({
    ...parseConfig({}),
    log: pino({ level: 'silent' }),
    isProxy: () => false,
    streamingPaths: new Set(),
  });
  await serveAccount(fastify, pages, pathToFileURL(`${from}/`));
  serveChangePasswordUrl(fastify, 'https://example.org/account/');
  await fastify.listen({ host: '127.0.0.1', port: 0 });
  cleanUp.defer(() => fastify.close());
  return `http://127.0.0.1:${(fastify.server.address() as { port: number }).port}`;
}

const ask = (url: string, init?: RequestInit) => fetch(url, { redirect: 'manual', ...init });

test('the page says what the settings say, whatever is in their texts', async () => {
  const service = `A "b" <i> & $& Co`;
  const address = await start({
    ...PLAIN,
    path: '/me/',
    service,
    signUp: 'open',
    homeUrl: 'https://example.org/app?a=1&b=2',
    logoUrl: 'https://example.org/logo.svg',
    color: '#0a7f5a',
  });
  const answer = await ask(`${address}/me/reset-password`);
  const html = await answer.text();
  expect(html).toContain('<base href="/me/" />');
  expect(html).toContain('data-service="A &quot;b&quot; &lt;i&gt; &amp; $&amp; Co" data-sign-up="open"');
  expect(html).toContain('data-logo="https://example.org/logo.svg" data-home="https://example.org/app?a=1&amp;b=2"');
  expect(html).toContain(
    '<title>A &quot;b&quot; &lt;i&gt; &amp; $&amp; Co</title><link rel="stylesheet" href="brand.css" />',
  );
  // The one picture of another host is let in, and nothing else.
  expect(answer.headers.get('content-security-policy')).toContain("img-src 'self' data: https://example.org/logo.svg;");
  const style = await ask(`${address}/me/brand.css`);
  expect(style.headers.get('content-type')).toBe('text/css; charset=utf-8');
  expect(await style.text()).toContain('--accent: #0a7f5a');
});

test('without settings it loads nothing from elsewhere, shows in no frame, and no text becomes a script', async () => {
  const address = await start(PLAIN);
  const { status, headers } = await ask(`${address}/account/`);
  expect(status).toBe(200);
  expect(Object.fromEntries(headers)).toMatchObject({
    'content-security-policy': expect.stringMatching(
      /^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; .*form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'$/,
    ),
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY',
  });
  expect((await ask(`${address}/account/brand.css`)).status).toBe(404);
});

test('nothing is served where it has not been built', async () => {
  const address = await start({ ...PLAIN, color: '#000000' }, join(folder, 'assets'));
  for (const path of ['/account/', '/account/brand.css']) expect((await ask(`${address}${path}`)).status).toBe(404);
});

test('the well-known URL leads to where a password is changed, which the Host header does not change', async () => {
  const address = await start(PLAIN);
  const answer = await ask(`${address}/.well-known/change-password`, {
    headers: { 'x-forwarded-host': 'evil.example' },
  });
  expect([answer.status, answer.headers.get('location')]).toEqual([302, 'https://example.org/account/change-password']);
});

test.each(['#000000', '#ffffff', '#ffff00', '#7f7f7f', '#ff0000', '#0000ff', '#00ff00', '#4338ca', '#121218'])(
  'text of and on the color %s can be read in both schemes',
  (color) => {
    const [accent, onAccent, light, dark] = brandStyle(color)
      .match(/#[\da-f]{6}/g)!
      .map(luminance) as [number, number, number, number];
    expect(contrast(accent, onAccent)).toBeGreaterThanOrEqual(4.5);
    for (const surface of ['#ffffff', '#f6f6f9'])
      expect(contrast(light, luminance(surface))).toBeGreaterThanOrEqual(4.5);
    for (const surface of ['#121218', '#1b1b24'])
      expect(contrast(dark, luminance(surface))).toBeGreaterThanOrEqual(4.5);
  },
);

function contrast(one: number, other: number): number {
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}

/** The relative luminance (WCAG 2.2), computed apart from what is tested. */
function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = hex
    .slice(1)
    .match(/../g)!
    .map((part) => Number.parseInt(part, 16) / 255)
    .map((share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
