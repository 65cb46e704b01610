import { createHash } from 'node:crypto';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseConfig } from '../config/config.ts';
import { serveConsole } from './console.ts';
import { createHttpServer } from './fastify.ts';

const SCRIPT = 'console.log("hello");\n'.repeat(100);
const PAGE = '<!doctype html><html lang="en"><base href="/console/" /><title>Kith</title>';

const cleanUp = new AsyncDisposableStack();
/** What the settings make of it. */
const SERVED = PAGE.replace('lang="en"', 'lang="en" data-account="/account/" data-sign-up="open"');

let atDefault: string;
let moved: string;
let without: string;
beforeAll(async () => {
  const folder = cleanUp.use(await mkdtempDisposable(join(tmpdir(), 'console-')));
  await mkdir(join(folder.path, 'build/assets'), { recursive: true });
  const write = (name: string, content: string | Buffer) => writeFile(join(folder.path, name), content);
  await write('secret.js', 'secret');
  await write('build/index.html', PAGE);
  await write('build/manifest.json', '{}');
  await write('build/assets/main-1a2b.js', SCRIPT);
  await write('build/assets/main-1a2b.js.gz', gzipSync(SCRIPT));
  await write('build/assets/main-1a2b.js.br', brotliCompressSync(SCRIPT));
  await write('build/assets/main-3c4d.css', 'body { margin: 0 }');
  const start = async (path: string, from: string, isServed: boolean) => {
    const fastify = createHttpServer({
      ...parseConfig({}),
      log: pino({ level: 'silent' }),
      isProxy: () => false,
      streamingPaths: new Set(),
    });
    const pages = { path, accountUrl: '/account/', signUp: 'open', loginCodes: false } as const;
    expect(await serveConsole(fastify, pages, pathToFileURL(`${join(folder.path, from)}/`))).toBe(isServed);
    await fastify.listen({ host: '127.0.0.1', port: 0 });
    cleanUp.defer(() => fastify.close());
    return `http://127.0.0.1:${(fastify.server.address() as { port: number }).port}`;
  };
  atDefault = await start('/console/', 'build', true);
  moved = await start('/team/people/', 'build', true);
  without = await start('/console/', 'none', false);
});
afterAll(() => cleanUp.disposeAsync());

const ask = (address: string, init: RequestInit = {}) => fetch(address, { redirect: 'manual', ...init });
const HTML = { accept: 'text/html,application/xhtml+xml' };

test('the page is asked for again each time, loads nothing from elsewhere, and runs no text as a script', async () => {
  const answer = await ask(`${atDefault}/console/`);
  expect(answer.status).toBe(200);
  expect(await answer.text()).toBe(SERVED);
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'content-security-policy': expect.stringMatching(
      /^default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'$/,
    ),
  });
  expect(answer.headers.get('access-control-allow-origin')).toBeNull();
  const again = await ask(`${atDefault}/console/`, { headers: { 'if-none-match': answer.headers.get('etag')! } });
  expect([again.status, await again.text()]).toEqual([304, '']);
});

test('HTML of mails is drawn in a frame of an origin of its own, which runs one script and loads nothing', async () => {
  const answer = await ask(`${atDefault}/console/mail-frame.html`);
  const [, script = ''] = /<script>(.*)<\/script>/s.exec(await answer.text())!;
  const hash = createHash('sha256').update(script).digest('base64');
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'x-frame-options': 'SAMEORIGIN',
    'x-content-type-options': 'nosniff',
    'content-security-policy': `sandbox allow-scripts; default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'`,
  });
});

test.for([
  '/console/users',
  '/console/users/01a21d35-0ae7-7cd2-b30d-b9138900703a',
  '/console/users?q=ada',
  '/console/a/b/',
])('the page is served for the path of a view, %s', async (path) => {
  const answer = await ask(`${atDefault}${path}`);
  expect([answer.status, await answer.text()]).toEqual([200, SERVED]);
});

test.for([
  ['br', 'br'],
  ['gzip', 'gzip'],
  ['gzip, br', 'br'],
  ['identity', ''],
])('an asset is kept for good, and sent as is taken: accept-encoding %s', async ([accepted, coding]) => {
  const answer = await ask(`${atDefault}/console/assets/main-1a2b.js`, { headers: { 'accept-encoding': accepted! } });
  expect(answer.headers.get('content-encoding') ?? '').toBe(coding);
  expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
  expect(answer.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
  expect(answer.headers.get('vary')).toBe('accept-encoding');
  expect(await answer.text()).toBe(SCRIPT);
});

test('HEAD says what GET would send', async () => {
  const headers = { 'accept-encoding': 'gzip' };
  const url = `${atDefault}/console/assets/main-1a2b.js`;
  const [head, get] = [await ask(url, { method: 'HEAD', headers }), await ask(url, { headers })];
  expect([head.status, await head.text()]).toEqual([200, '']);
  expect(head.headers.get('etag')).toBe(get.headers.get('etag'));
  await get.text();
});

describe('nothing is served', () => {
  test.for([
    '/console/../secret.js',
    '/console/..%2fsecret.js',
    '/console/%2e%2e/secret.js',
    '/console/assets/..%5c..%5csecret.js',
    '/console/secret.js',
    '/console/manifest.json',
    '/console/assets/main-1a2b.js.gz',
    '/console/assets/none.js',
    '/console/assets/main%2d1a2b.js',
    '/%63onsole/',
    '/console/.env',
    `/console/${'a'.repeat(101)}`,
    '/Console/',
  ])('at %s', async (path) => {
    const answer = await ask(`${atDefault}${path}`, { headers: HTML });
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ code: 'unimplemented' });
  });

  test.for(['POST', 'PUT', 'DELETE', 'OPTIONS'])('to %s', async (method) => {
    const answer = await ask(`${atDefault}/console/`, { method });
    expect(answer.status).toBe(404);
    expect(answer.headers.get('content-security-policy')).toBeNull();
  });

  test('where the console has not been built', async () => {
    for (const path of ['/console/', '/']) expect((await ask(`${without}${path}`, { headers: HTML })).status).toBe(404);
  });
});

test('the root leads browsers to the console, and nobody else', async () => {
  for (const [address, path] of [
    [atDefault, '/console/'],
    [moved, '/team/people/'],
  ] as const) {
    const led = await ask(`${address}/`, { headers: HTML });
    expect([led.status, led.headers.get('location')]).toEqual([302, path]);
    const other = await ask(`${address}/`, { headers: { accept: 'application/json' } });
    expect([other.status, other.headers.get('location')]).toEqual([404, null]);
    const slash = await ask(`${address}${path.slice(0, -1)}`);
    expect([slash.status, slash.headers.get('location')]).toEqual([308, path]);
  }
});

test('a console that was moved finds its files where it is', async () => {
  const page = await (await ask(`${moved}/team/people/users`)).text();
  expect(page).toContain('<base href="/team/people/" />');
  expect((await ask(`${moved}/team/people/assets/main-3c4d.css`)).status).toBe(200);
  expect((await ask(`${moved}/console/`)).status).toBe(404);
});
