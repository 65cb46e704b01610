import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { startRelay } from '../check/relay.ts';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SigningKeyService } from '../gen/kith/auth/v1/signing_key_service_pb.ts';
import { Health, HealthCheckResponse_ServingStatus } from '../gen/health/v1/health_pb.ts';
import { run } from './support/commands.ts';
import { grpc, type Kith, refusalOf, startKith } from './support/kith.ts';
import { type Consumer, installPacked, needPackage } from './support/packed.ts';
import { signedIn } from './support/sign-in.ts';
import { sectionOf } from './support/tour.ts';

const DOCUMENT = await readFile('docs/verify.md', 'utf8');
const [, EXAMPLE_ISSUER] = /issuer: '([^']+)'/.exec(DOCUMENT)!;

let packed: Consumer | undefined;
beforeAll(async () => {
  packed = await installPacked('verify', ['jose']);
});
afterAll(() => packed?.[Symbol.asyncDispose]());

describe('the package', () => {
  test('holds the entry and nothing of the server', (context) => {
    const { manifest, files } = needPackage(context, packed);
    const { name, private: isPrivate, exports, dependencies, ...rest } = manifest;
    expect({ name, dependencies }).toEqual({
      name: '@kith/verify',
      dependencies: { jose: expect.stringMatching(/^\^\d/) },
    });
    expect(isPrivate).toBe(true); // the scope is not the project's in the registry
    expect(Object.keys(exports as object)).toEqual(['.', './access-token', './roles', './package.json']);
    for (const field of ['scripts', 'bin', 'optionalDependencies', 'peerDependencies', 'bundleDependencies']) {
      expect(rest).not.toHaveProperty(field);
    }
    const others = files.filter((file) => !/^lib\/[a-z-]+\.(js|js\.map|d\.ts)$/.test(file));
    expect(others.toSorted()).toEqual(['LICENSE', 'README.md', 'package.json']);
  });

  test('brings along jose and nothing else', async (context) => {
    const { directory } = needPackage(context, packed);
    const installed = await readdir(join(directory, 'node_modules'));
    expect(installed.filter((name) => !name.startsWith('.')).toSorted()).toEqual(['@kith', 'jose']);
  });

  test('imports nothing but jose and its own files', async (context) => {
    const directory = join(needPackage(context, packed).installed, 'lib');
    const imported = new Set<string>();
    for (const file of (await readdir(directory)).filter((name) => !name.endsWith('.map'))) {
      const source = await readFile(join(directory, file), 'utf8');
      for (const [, module] of source.matchAll(/(?:from|import\(?)\s*'([^']+)'/g)) imported.add(module!);
    }
    expect([...imported].filter((module) => !/^\.\/[a-z-]+\.(js|ts)$/.test(module))).toEqual(['jose']);
  });

  test('has a readme without links into the repository', async (context) => {
    const readme = await readFile(join(needPackage(context, packed).installed, 'README.md'), 'utf8');
    expect(readme).toContain('createVerifier');
    expect(readme).not.toMatch(/\]\(\.\.?\//);
  });
});

const USE = `
import { bearerToken, createVerifier, type Role, VerificationError, type VerificationReason, type VerifiedToken, type Verifier } from '@kith/verify';
const verifier: Verifier = createVerifier({ issuer: 'https://x.example', revocations: { apiKey: 'x', whenStale: 'accept' } });
const other: Verifier = createVerifier({ issuer: 'https://x.example', audience: undefined, fetch, revocations: { getToken: async () => 'x' } });
// @ts-expect-error an issuer is needed
createVerifier({});
// @ts-expect-error a credential is needed
createVerifier({ issuer: 'https://x.example', revocations: { whenStale: 'refuse' } });
// @ts-expect-error there is no third way
createVerifier({ issuer: 'https://x.example', revocations: { apiKey: 'x', whenStale: 'maybe' } });
export async function roleOf(header: string | undefined): Promise<Role | VerificationReason> {
  try {
    const token: VerifiedToken = await verifier.verify(bearerToken(header) ?? '');
    // @ts-expect-error there is no such role
    if (token.role === 'owner') throw new Error('owner');
    // @ts-expect-error an API key's owner has not signed in
    token.authTime.getTime();
    return token.role;
  } catch (error) {
    if (error instanceof VerificationError) return error.reason;
    throw error;
  } finally {
    await other.close();
    await other[Symbol.asyncDispose]();
  }
}
`;

describe('the declarations compile under strict, libraries included', () => {
  test.for<[string, string[]]>([
    ['as an ES module of Node, with DOM types', ['--module', 'nodenext', '--lib', 'es2022,dom']],
    ['with a bundler', ['--module', 'esnext', '--moduleResolution', 'bundler', '--lib', 'es2022,dom']],
    [
      'with the types of Node alone',
      ['--module', 'nodenext', '--lib', 'es2022', '--types', 'node', '--typeRoots', resolve('node_modules/@types')],
    ],
  ])('%s', async ([, options], context) => {
    needPackage(context, packed);
    const file = join(packed!.directory, 'use.ts');
    await writeFile(file, USE);
    const types = options.includes('--types') ? [] : ['--types', ''];
    const strict = ['--ignoreConfig', '--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022'];
    const args = [resolve('node_modules/typescript/bin/tsc'), ...strict, ...types, ...options, file];
    expect(await run(process.execPath, args)).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

/** A plain JavaScript program that verifies each line it is given. */
const PROGRAM = `
import { createInterface } from 'node:readline';
import { createVerifier } from '@kith/verify';
const { ISSUER, ADDRESS, API_KEY } = process.env;
const verifier = createVerifier({ issuer: ISSUER, address: ADDRESS, revocations: { apiKey: API_KEY } });
await verifier.ready(60000);
console.log('ready on ' + process.version);
for await (const token of createInterface({ input: process.stdin })) {
  console.log(await verifier.verify(token).then(({ role }) => role, (error) => error.reason ?? String(error)));
}
await verifier.close();
`;

interface Program extends AsyncDisposable {
  readonly node: string;
  /** What the program says of a token. */
  ask(token: string): Promise<string>;
  /** Ends its input, and waits for it to end by itself. Its exit code. */
  end(): Promise<number | null>;
}

async function startProgram(node: string, env: Record<string, string>): Promise<Program> {
  const child = spawn(node, ['program.js'], {
    cwd: packed!.directory,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => String((await lines.next()).value);
  const exited = once(child, 'exit') as Promise<[number | null]>;
  expect(await next()).toMatch(/^ready on v\d/);
  return {
    node,
    ask(token) {
      child.stdin.write(`${token}\n`);
      return next();
    },
    async end() {
      child.stdin.end();
      return (await exited)[0];
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** The Node that runs this, and another of the machine, 20 or newer, if there is one. */
async function findNodes(context: TestContext): Promise<string[]> {
  const own = resolve('node_modules/.bin');
  const others = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => resolve(directory) !== own);
  for (const directory of others) {
    const node = join(directory, 'node');
    const { code, stdout } = await run(node, ['--version']).catch(() => ({ code: 1, stdout: '' }));
    const [, major] = /^v(\d+)\./.exec(stdout) ?? [];
    if (code === 0 && Number(major) >= 20 && stdout.trim() !== process.version) return [process.execPath, node];
  }
  console.warn(`ONLY ON ${process.version}, since there is no other Node, 20 or newer: ${context.task.name}`);
  return [process.execPath];
}

/** The secret of an API key that may follow revocations. */
async function createSecret(kith: Kith): Promise<string> {
  const { accessToken } = await kith.user(Role.EDITOR);
  const request = { name: 'of a service', permissions: [Permission.REVOCATIONS_READ] };
  return (await kith.client(ApiKeyService, accessToken).createApiKey(request)).secret;
}

test('a program in plain JavaScript verifies, on each Node of this machine', async (context) => {
  needPackage(context, packed);
  await writeFile(join(packed!.directory, 'program.js'), PROGRAM);
  await using relay = await startRelay();
  await using kith = await startKith({ env: { KITH_ISSUER: EXAMPLE_ISSUER! } });
  relay.upstream = kith.address;
  const env = { ISSUER: EXAMPLE_ISSUER!, ADDRESS: relay.address, API_KEY: await createSecret(kith) };
  await using stack = new AsyncDisposableStack();
  const programs: Program[] = [];
  for (const node of await findNodes(context)) programs.push(stack.use(await startProgram(node, env)));
  /** Asks all until they say so. */
  const expectAnswer = async (token: string, answer: string) => {
    for (const { node, ask } of programs)
      await expect.poll(() => ask(token), { timeout: 60_000, message: node }).toBe(answer);
  };

  const { user, password, accessToken } = await kith.admin();
  const leaver = await kith.user();
  await expectAnswer(accessToken, 'admin');
  await expectAnswer(leaver.accessToken, 'viewer');
  for (const { ask } of programs) {
    expect(await ask('nonsense')).toBe('token_invalid');
    expect(await ask(accessToken.replace(/.$/, ''))).toBe('token_invalid');
  }
  await kith.client(AuthService, leaver.accessToken).logout({});
  await expectAnswer(leaver.accessToken, 'token_revoked');

  await kith.client(SigningKeyService, accessToken).rotateSigningKey({ compromised: true });
  const { accessToken: renewed } = await signedIn(
    kith.client(AuthService).login({ identifier: user.username, password }),
  );
  await expectAnswer(renewed, 'admin');
  for (const { ask } of programs) expect(await ask(accessToken)).toBe('token_invalid');

  relay.upstream = undefined;
  relay.cut(() => true);
  await expectAnswer(renewed, 'revocations_stale');
  relay.upstream = kith.address;
  await expectAnswer(renewed, 'admin');
  for (const { end } of programs) expect(await end()).toBe(0);
});

describe.each(['docs/verify.md', 'packages/verify/README.md'])('the first example of %s', (document) => {
  test('verifies a token', async (context) => {
    const { directory } = needPackage(context, packed);
    await using relay = await startRelay(); // its address is known before the server's
    await using kith = await startKith({ env: { KITH_ISSUER: relay.address } });
    relay.upstream = kith.address;
    const [, code] = /^```js\n(.*?)^```$/ms.exec(await readFile(document, 'utf8'))!;
    const { accessToken } = await kith.user(Role.EDITOR);
    const program = `const accessToken = process.env.TOKEN;\n${code!.replace(EXAMPLE_ISSUER!, relay.address)}
      console.log(role, permissions.size > 0, userId.length);\nawait verifier.close();`;
    const file = join(directory, 'first.js');
    await writeFile(file, program);
    const env = { KITH_API_KEY: await createSecret(kith), TOKEN: accessToken };
    expect(await run(process.execPath, [file], env)).toEqual({ code: 0, stdout: 'editor true 36\n', stderr: '' });
  });
});

describe('docs/verify.md', () => {
  let kith: Kith;
  const cleanUp = new AsyncDisposableStack();
  let issuer = '';
  let env: Record<string, string> = {};

  beforeAll(async () => {
    const relay = cleanUp.use(await startRelay());
    issuer = relay.address;
    kith = cleanUp.use(await startKith({ env: { KITH_ISSUER: issuer } }));
    relay.upstream = kith.address;
    env = { KITH_API_KEY: await createSecret(kith) };
    if (packed === undefined) return;
    const { directory } = packed;
    const modules = join(directory, 'node_modules');
    await mkdir(join(modules, '@types'), { recursive: true });
    for (const name of ['fastify', '@connectrpc', '@bufbuild', '@types/node']) {
      await symlink(resolve('node_modules', name), join(modules, name));
    }
    await cp('gen/health', join(directory, 'gen/health'), { recursive: true });
  });
  afterAll(() => cleanUp.disposeAsync());

  /** The code of a section, to be run where it says another port and another issuer. */
  async function exampleOf(heading: string, file: string): Promise<string> {
    const [, code] = /^```ts\n(.*?)^```$/ms.exec(sectionOf(DOCUMENT, heading))!;
    const path = join(packed!.directory, file);
    await writeFile(path, code!.replaceAll(EXAMPLE_ISSUER!, issuer).replace(/(listen\(|port: )3000/, '$10'));
    return path;
  }

  /** Starts an example and waits for what it prints. */
  async function startExample(path: string): Promise<{ line: string } & AsyncDisposable> {
    const child: ChildProcess = spawn(process.execPath, [path], {
      cwd: packed!.directory,
      env: { PATH: process.env['PATH'], ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout! }), 'line'),
      exited.then(([code]) => Promise.reject(new Error(`the example ended with ${String(code)}`))),
    ])) as [string];
    return {
      line,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL');
        await exited;
      },
    };
  }

  test.for<[string, string]>([
    ['## Fastify', 'fastify.ts'],
    ['## Connect-ES', 'connect.ts'],
  ])('the example under %s has no error of types', async ([heading, file], context) => {
    needPackage(context, packed);
    const tsc = resolve('node_modules/typescript/bin/tsc');
    const options = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--target',
      'es2024',
      '--module',
      'nodenext',
    ];
    const more = ['--allowImportingTsExtensions', '--types', 'node', '--lib', 'esnext,dom'];
    const outcome = await run(process.execPath, [tsc, ...options, ...more, await exampleOf(heading, file)]);
    expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('the service under Fastify answers whom it should', async (context) => {
    needPackage(context, packed);
    await using service = await startExample(await exampleOf('## Fastify', 'fastify.ts'));
    const call = async (method: string, path: string, token?: string) => {
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(`${service.line}${path}`, { method, headers });
      return `${response.status} ${await response.text()} ${response.headers.get('www-authenticate') ?? ''}`.trim();
    };
    const [viewer, admin] = [await kith.user(), await kith.admin()];
    expect(await call('GET', '/greeting')).toBe('401 {"reason":"token_missing"} Bearer');
    expect(await call('GET', '/greeting', 'x')).toBe('401 {"reason":"token_invalid"} Bearer error="invalid_token"');
    expect(await call('GET', '/greeting', viewer.accessToken)).toBe(`200 Hello viewer ${viewer.user.id}`);
    expect(await call('DELETE', '/everything', viewer.accessToken)).toBe('403 {"reason":"not_admin"}');
    expect(await call('DELETE', '/everything', admin.accessToken)).toBe('200 gone');
    await kith.client(AuthService, viewer.accessToken).logout({});
    await expect
      .poll(() => call('GET', '/greeting', viewer.accessToken), { timeout: 30_000 })
      .toBe('401 {"reason":"token_revoked"} Bearer error="invalid_token"');
  });

  test('the service under Connect-ES answers whom it should, over gRPC', async (context) => {
    needPackage(context, packed);
    await using service = await startExample(await exampleOf('## Connect-ES', 'connect.ts'));
    const [, port] = /port: (\d+)/.exec(service.line)!;
    const call = (token?: string) => createClient(Health, grpc(`http://localhost:${port}`, token)).check({});
    const [viewer, admin] = [await kith.user(), await kith.admin()];
    expect(await refusalOf(call())).toMatchObject({ code: 'Unauthenticated' });
    expect(await refusalOf(call('x'))).toMatchObject({ code: 'Unauthenticated' });
    expect(await refusalOf(call(viewer.accessToken))).toMatchObject({ code: 'PermissionDenied' });
    expect(await call(admin.accessToken)).toMatchObject({ status: HealthCheckResponse_ServingStatus.SERVING });
    await kith.client(AuthService, viewer.accessToken).logout({});
    await expect
      .poll(async () => (await refusalOf(call(viewer.accessToken))).code, { timeout: 30_000 })
      .toBe('Unauthenticated');
  });
});
