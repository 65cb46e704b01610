import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { Page } from 'playwright-core';
import { build, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { needChromium, startChromium } from './support/browser.ts';
import { needCommand, run, skipLoudly } from './support/commands.ts';
import { freePort } from './support/free-port.ts';
import { type Followed, followSteps, type Guide, guideOf, readGuide, writeFiles } from './support/guide.ts';
import { done, installFromNpm } from './support/installed.ts';
import { ADMIN_PASSWORD, bearer, type Kith, startKith } from './support/kith.ts';
import { type Packed, pack } from './support/packed.ts';
import { type Ports, proxyKinds, startProxy } from './support/proxies.ts';
import { patternOf, sectionOf } from './support/tour.ts';

/** The guides, followed as they are printed, in folders outside the repository. */
let directory: string;
let packed: readonly Packed[];
const cleanUp = new AsyncDisposableStack();
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kith-guides-'));
  cleanUp.defer(() => rm(directory, { recursive: true, force: true }));
  packed = await pack(directory, ['client', 'verify']);
});
afterAll(() => cleanUp.disposeAsync());

const MINUTES = 60_000;

interface Followable extends AsyncDisposable {
  readonly kith: Kith;
  readonly guide: Guide;
  readonly project: string;
  readonly followed: Followed;
}

/** Follows a guide beside a Kith of its own, with the ports that it names replaced. */
async function follow(context: TestContext, name: string, ports: readonly number[] = []): Promise<Followable> {
  for (const command of ['bash', 'curl', 'npm']) needCommand(context, command);
  if ((await run('npm', ['ping'])).code !== 0) skipLoudly(context, 'there is no npm registry');
  await using stack = new AsyncDisposableStack();
  const kithPort = await freePort();
  const replacements: Record<string, string> = {
    'localhost:8080': `localhost:${kithPort}`,
    'correct horse battery': ADMIN_PASSWORD,
  };
  for (const port of ports) replacements[String(port)] = String(await freePort());
  const guide = await guideOf(name, replacements);
  const env = { ...settingsOf(guide.starts), KITH_PORT: String(kithPort) };
  const kith = stack.use(await startKith({ env }));
  const project = join(directory, name.replace('.md', ''));
  await mkdir(project);
  for (const { file } of packed) await cp(file, join(project, basename(file)));
  await writeFiles(guide, project, (text) => text);
  const followed = stack.use(await followSteps(guide.steps, project));
  expect(followed.failure).toBeUndefined();
  for (const [i, { line, expected = '...' }] of guide.steps.entries()) {
    expect.soft(followed.outputs[i], `${name}:${line}`).toMatch(patternOf(expected));
  }
  const kept = stack.move();
  return { kith, guide, project, followed, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The settings with which a guide starts Kith. */
function settingsOf(starts: readonly string[]): Record<string, string> {
  const settings = starts.flatMap((start) => [...start.matchAll(/(KITH_\w+)=(\S+)/g)]);
  return Object.fromEntries(settings.map(([, setting, value]) => [setting!, value!]));
}

/** The files of a guide have no error of types. */
async function expectToCompile({ guide, project }: Followable, options: readonly string[]): Promise<void> {
  const files = guide.files.map(({ name }) => name).filter((name) => name.endsWith('.ts'));
  expect(files).not.toEqual([]);
  const strict = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--target', 'es2024'];
  const more = [
    '--allowImportingTsExtensions',
    '--typeRoots',
    resolve('node_modules/@types'),
    '--lib',
    'esnext,dom,dom.iterable',
  ];
  const tsc = resolve('node_modules/typescript/bin/tsc');
  const outcome = await run(process.execPath, [tsc, ...strict, ...more, ...options, ...files], {}, project);
  expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
}

const NODE = ['--module', 'nodenext', '--types', 'node'];

test('call-from-a-service.md', { timeout: 5 * MINUTES }, async (context) => {
  await using followed = await follow(context, 'call-from-a-service.md', [3000]);
  await expectToCompile(followed, NODE);
});

test('bring-users.md', { timeout: 5 * MINUTES }, async (context) => {
  await using followed = await follow(context, 'bring-users.md');
  await expectToCompile(followed, NODE);
});

test('move-from-rest.md', { timeout: 5 * MINUTES }, async (context) => {
  await using followed = await follow(context, 'move-from-rest.md');
  expect(followed.followed.outputs.length).toBeGreaterThan(6);
});

test('browser.md: the pages sign in from another origin, in Chromium', { timeout: 5 * MINUTES }, async (context) => {
  needChromium(context);
  await using followed = await follow(context, 'browser.md', [5173]);
  await expectToCompile(followed, ['--module', 'esnext', '--moduleResolution', 'bundler', '--types', 'node']);
  const [, origin] = /KITH_CORS_ORIGINS=(\S+)/.exec(followed.guide.starts[0]!)!;
  await expect
    .poll(() =>
      fetch(origin!).then(
        ({ status }) => status,
        () => 0,
      ),
    )
    .toBe(200);
  for (const path of ['', 'grpc-web.html']) {
    const { user, password, accessToken } = await followed.kith.user();
    await followed.kith.client(ContactService, accessToken).createContact({ givenName: 'Grace', familyName: 'Hopper' });
    await using opened = await openPage(context, `${origin}/${path}`);
    await signIn(opened.page, user.username, password);
    await expectToShow(opened, 'li', /Grace Hopper/);
    expect(opened.complaints).toEqual([]);
  }
  await using opened = await openPage(context, origin!);
  await signIn(opened.page, 'nobody', 'not a password');
  await expectToShow(opened, 'output', /\w/);
});

test('envoy.md shows what the configuration has', async () => {
  const { files } = readGuide(await readFile('docs/guides/envoy.md', 'utf8'));
  expect(files).not.toEqual([]);
  for (const { name, text } of files) expect(await readFile(name, 'utf8')).toContain(text);
});

test('the filters of docs/verify.md refuse callers without a token, in Envoy', async (context) => {
  const envoy = needCommand(context, 'envoy');
  const kind = proxyKinds.find(({ command }) => command === 'envoy')!;
  const { starts } = readGuide(await readFile('docs/guides/envoy.md', 'utf8'));
  await using kith = await startKith({ env: settingsOf(starts) });
  const document = sectionOf(await readFile('docs/verify.md', 'utf8'), '## Envoy');
  const [, filters = ''] = /^```yaml\n(http_filters:.*?)^```$/ms.exec(document) ?? [];
  expect(filters).toContain(`issuer: ${kith.config.issuer}`);
  const configured = await readFile(kind.file, 'utf8');
  const [there = '', indent = ''] = /^( +)http_filters:\n(?:\1 +.*\n)+/m.exec(configured) ?? [];
  // Of one service, so that sign-in and health can be reached.
  const here = filters
    .replace('match: { prefix: / }', 'match: { prefix: /kith.user.v1. }')
    .replaceAll(/^(?=.)/gm, indent);
  const withFilters = {
    ...kind,
    replacements: (ports: Ports) => [...kind.replacements(ports), [there, here] as const],
  };
  await using proxy = await startProxy(withFilters, envoy, kith.port);

  const { user, accessToken } = await kith.user();
  const nodeOptions = { rejectUnauthorized: false };
  const call = (token: string | undefined) => {
    const transport = createGrpcTransport({ baseUrl: proxy.address, nodeOptions, interceptors: bearer(token) });
    return createClient(UserService, transport).getUserDetails({ userId: user.id });
  };
  expect((await call(accessToken)).user?.username).toBe(user.username);
  // In the words of Envoy: Kith did not see these calls.
  for (const token of [undefined, accessToken.replace(/.{8}$/, 'AAAAAAAA'), 'nonsense'])
    await expect(call(token)).rejects.toMatchObject({
      code: Code.Unauthenticated,
      message: expect.stringMatching(/Jwt/i),
    });
});

test('guides/README.md packs what the guides install', async () => {
  const [step] = readGuide(await readFile('docs/guides/README.md', 'utf8')).steps;
  expect(step!.commands).toBe('npm ci && npm run build && npm pack ./dist/client ./dist/verify\n');
  for (const { file } of packed) expect(await readFile('docs/guides/README.md', 'utf8')).toContain(basename(file));
});

describe('examples/react', () => {
  test('compiles, and keeps contacts from another origin, in Chromium', { timeout: 5 * MINUTES }, async (context) => {
    needChromium(context);
    const { dependencies, devDependencies } = JSON.parse(await readFile('examples/react/package.json', 'utf8')) as {
      dependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    const wanted = Object.entries({ ...dependencies, ...devDependencies }).map(
      ([name, version]) => `${name}@${version}`,
    );
    const installed = await installFromNpm(context, 'react', wanted);
    const project = join(directory, 'react');
    await cp('examples/react', project, { recursive: true });
    await cp(join(installed, 'node_modules'), join(project, 'node_modules'), { recursive: true });
    const client = join(project, 'node_modules/@kith/client');
    await mkdir(client, { recursive: true });
    const { file } = packed.find(({ name }) => name === 'client')!;
    await done(run('tar', ['-xzf', file, '-C', client, '--strip-components', '1']));
    await done(run(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', project]));

    const port = await freePort();
    const origin = `http://localhost:${port}`;
    await using kith = await startKith({ env: { KITH_CORS_ORIGINS: origin } });
    await build({ root: project, configFile: false, logLevel: 'error', plugins: [addressOf(kith)] });
    const server = await preview({
      root: project,
      configFile: false,
      logLevel: 'error',
      preview: { port, strictPort: true },
    });
    await using stack = new AsyncDisposableStack();
    stack.defer(() => server.close());

    const { user, password, accessToken } = await kith.user();
    const contacts = kith.client(ContactService, accessToken);
    for (const givenName of ['Ada', 'Edsger', 'Grace']) await contacts.createContact({ givenName });
    const opened = stack.use(await openPage(context, origin));
    const { page } = opened;
    await signIn(page, user.username, password);
    await page.getByRole('button', { name: 'More' }).click();
    await expectToShow(opened, 'li', /Grace/);
    await page.locator('input[name=address]').fill('barbara@example.org');
    await page.getByRole('button', { name: 'Add' }).click();
    await expectToShow(opened, 'li', /barbara/);
    await page.locator('input[name=address]').fill('nonsense');
    await page.getByRole('button', { name: 'Add' }).click();
    await expectToShow(opened, 'output', /\w/);
    expect(opened.complaints).toEqual([]);
  });
});

/** Gives the page the address of a Kith in place of the one it names. */
function addressOf(kith: Kith) {
  return { name: 'address', transform: (code: string) => code.replaceAll('http://localhost:8080', kith.address) };
}

interface Opened extends AsyncDisposable {
  readonly page: Page;
  /** What the page threw. */
  readonly complaints: string[];
}

/** Opens a page in a browser of its own, and waits until its scripts are there. */
async function openPage(context: TestContext, url: string): Promise<Opened> {
  needChromium(context);
  const browser = await startChromium();
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(url, { waitUntil: 'networkidle' });
  return { page, complaints, [Symbol.asyncDispose]: () => browser.close() };
}

/** Waits until an element has the text. */
async function expectToShow({ page, complaints }: Opened, selector: string, text: RegExp): Promise<void> {
  const shown = async () => [...(await page.locator(selector).allTextContents()), ...complaints].join('\n');
  await expect.poll(shown).toMatch(text);
}

async function signIn(page: Page, identifier: string, password: string): Promise<void> {
  await page.locator('input[name=identifier]').fill(identifier);
  await page.locator('input[name=password]').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

describe('a guide', () => {
  test('is read as files, commands and what they print', () => {
    const guide = readGuide(
      '```text\nKITH_PORT=1 npm start\n```\n```ts a.ts\n1;\n```\n```sh\necho 1\n```\n\n```text\n1\n```\n',
    );
    expect(guide).toEqual({
      starts: ['KITH_PORT=1 npm start\n'],
      files: [{ name: 'a.ts', text: '1;\n', line: 5 }],
      steps: [{ line: 8, commands: 'echo 1\n', expected: '1\n' }],
    });
  });

  test.each(['```ts\n1;\n```\n', '```\nx\n```\n', '```text\nnothing\n```\n', '```js a\n1\n```\n```json\n{}\n```\n'])(
    'may have no block that nothing runs: %j',
    (markdown) => {
      expect(() => readGuide(markdown)).toThrow('nothing runs this block');
    },
  );
});
