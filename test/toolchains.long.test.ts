import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { startRelay } from '../check/relay.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { findCommand, run, skipLoudly } from './support/commands.ts';
import { CACHE, done, install } from './support/installed.ts';
import { ADMIN_PASSWORD, type Kith, startKith } from './support/kith.ts';
import { signedIn } from './support/sign-in.ts';
import { sectionOf, stepsOf } from './support/tour.ts';

/**
 * The clients of examples/, generated, compiled and run. What they are compiled with
 * and what comes of it is kept between runs, since it is made again only when the
 * contract, a client or a version is another. The folder is of this tree, so that two
 * of them on one machine do not meet.
 */
const BUILT = join(CACHE, `tree-${createHash('sha256').update(resolve('.')).digest('hex').slice(0, 12)}`);
const IMAGE = join(BUILT, 'kith.binpb');
const EXPORTED = join(BUILT, 'exported');
const MINUTES = 60_000;

const GO_PLUGINS = [
  'google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12',
  'google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.0',
];
const JAVA_PROGRAMS = {
  protoc: 'com.google.protobuf:protoc:4.33.4:exe',
  'protoc-gen-grpc-java': 'io.grpc:protoc-gen-grpc-java:1.79.0:exe',
};
const KOTLIN_PLUGIN = 'io.grpc:protoc-gen-grpc-kotlin:1.5.0:jar:jdk8';

let kith: Kith;
beforeAll(async () => {
  mkdirSync(BUILT, { recursive: true });
  kith = await startKith();
  writeFileSync(IMAGE, await (await fetch(`${kith.address}/contract.binpb`)).bytes());
  await done(run(process.execPath, ['src/main.ts', 'contract', 'export', EXPORTED]));
});
afterAll(() => kith?.[Symbol.asyncDispose]());

/** From where code is generated: protoc and proto-loader read what is exported or downloaded. */
const INPUTS = [
  { from: 'sources', files: EXPORTED },
  { from: 'a running server', files: IMAGE },
];

describe.each(INPUTS)('from $from', ({ from, files: contractFiles }) => {
  const isImage = from === 'a running server';
  const contract = () => (isImage ? `${kith.address}/contract.binpb` : 'proto');

  test('a client in TypeScript', { timeout: 10 * MINUTES }, async () => {
    const dir = await build('typescript', from, [], async (dir) => {
      linkPackages(dir, ['@bufbuild/protobuf', '@connectrpc/connect', '@connectrpc/connect-node', '@types/node']);
      cpSync('tsconfig.json', join(dir, 'tsconfig.base.json'));
      writeFileSync(join(dir, 'tsconfig.json'), '{"extends": "./tsconfig.base.json", "include": ["*.ts", "gen"]}');
      await (isImage ? follow(dir, '## TypeScript') : generate(dir, contract(), 'buf.gen.yaml'));
      await done(run('tsc', ['--noEmit', '-p', dir]));
    });
    await expectToWork(process.execPath, [join(dir, 'client.ts')]);
  });

  test('a client of @grpc/proto-loader, which needs no generated code', async () => {
    await expectToWork(process.execPath, ['examples/grpc-js/client.mjs'], {
      KITH_CONTRACT: contractFiles,
    });
  });

  test('a client in Python, with grpcio-tools of protoc 3.21', { timeout: 10 * MINUTES }, async (context) => {
    const python = await pythonWithTools(context);
    const dir = await build('python', from, [], async (dir) => {
      if (isImage) return follow(dir, '## Python', dirname(python));
      const files = globSync('**/*.proto', { cwd: EXPORTED });
      const outputs = [`--python_out=${dir}`, `--grpc_python_out=${dir}`];
      await done(run(python, ['-m', 'grpc_tools.protoc', `-I${EXPORTED}`, ...outputs, ...files]));
    });
    await expectToWatch(python, [join(dir, 'client.py')], (code) => code.toUpperCase());
  });

  // Each template with one of the two, since what it does is the same for both.
  const template = isImage ? 'buf.gen.yaml' : 'buf.gen.managed.yaml';

  test(`a client in Java, with ${template}`, { timeout: 10 * MINUTES }, async (context) => {
    const [java, javac] = [need(context, 'java'), need(context, 'javac')];
    const { libraries, programs } = await javaTools(context);
    const dir = await build('java', from, Object.values(JAVA_PROGRAMS), async (dir) => {
      await (isImage ? follow(dir, '## Java and Kotlin', programs) : generate(dir, contract(), template, programs));
      if (!isImage) replaceIn(join(dir, 'Client.java'), 'import kith.', 'import com.example.kith.');
      const quick = ['-J-XX:+UseSerialGC', '-J-XX:TieredStopAtLevel=1', '-proc:none', '-nowarn'];
      const paths = ['-sourcepath', join(dir, 'gen'), '-cp', libraries, '-d', join(dir, 'classes')];
      await done(run(javac, [...quick, ...paths, join(dir, 'Client.java')]));
    });
    await expectToWork(java, [
      '-XX:TieredStopAtLevel=1',
      '-cp',
      `${join(dir, 'classes')}${delimiter}${libraries}`,
      'Client',
    ]);
  });
});

test.for([
  { template: 'buf.gen.managed.yaml', block: 1 },
  { template: 'buf.gen.yaml', block: 2 },
])(
  'a client in Go from a running server, with $template',
  { timeout: 10 * MINUTES },
  async ({ template, block }, context) => {
    const go = need(context, 'go');
    const plugins = await goPlugins(context, go);
    const dir = await build('go', template, GO_PLUGINS, async (dir) => {
      await followBlock(dir, commandsOf('## Go')[block]!, plugins);
      if (template === 'buf.gen.yaml') replaceIn(join(dir, 'main.go'), 'example.com/app/gen/kith/', 'kith/');
      await done(run(go, ['-C', dir, 'build', '-o', 'client', '.']));
    });
    await expectToWatch(join(dir, 'client'), [], camelCase);
  },
);

test.for([
  { language: 'csharp', service: /UserServiceGrpc\.cs$/ },
  { language: 'kotlin', service: /UserServiceProtoGrpcKt\.kt$/ },
  { language: 'rust', service: /kith\.user\.v1\.tonic\.rs$/ },
  { language: 'swift', service: /user_service\.grpc\.swift$/ },
])('code for $language from a running server', { timeout: 10 * MINUTES }, async ({ language, service }, context) => {
  const template = readFileSync(`examples/${language}/buf.gen.yaml`, 'utf8');
  const plugins = language === 'kotlin' ? await kotlinTools(context) : undefined;
  for (const [, plugin] of template.matchAll(/^ {2}- local: (\S+)$/gm)) {
    if (plugins === undefined || !existsSync(join(plugins, plugin!))) need(context, plugin!);
  }
  const versions = [KOTLIN_PLUGIN, ...Object.values(JAVA_PROGRAMS)];
  const dir = await build(language, 'a running server', versions, (dir) => follow(dir, '## Java and Kotlin', plugins));
  const written = globSync('**/*', { cwd: dir });
  expect(written.filter((file) => service.test(file))).toHaveLength(1);
  expect(written.filter((file) => /validate/i.test(file))).not.toEqual([]);
});

test('the commands of docs/clients.md about the contract as a file run as printed', async (context) => {
  need(context, 'protoc');
  need(context, 'curl');
  const dir = join(BUILT, 'document');
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
  for (const name of ['package.json', 'node_modules', 'src']) symlinkSync(resolve(name), join(dir, name));
  await follow(dir, '## The contract as one file');
  expect(readFileSync(join(dir, 'kith.binpb')).equals(readFileSync('gen/contract.binpb'))).toBe(true);
  expect(existsSync(join(dir, 'kith/error/v1/error.pb.h'))).toBe(true);
});

test('docs/clients.md installs the plugins for Go that are tested', () => {
  expect(commandsOf('## Go')[0]).toBe(GO_PLUGINS.map((plugin) => `go install ${plugin}\n`).join(''));
});

/** Runs a client of examples/, and reads what it says. */
async function expectToWork(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<void> {
  const admin = await kith.admin(); // only now: its access token lives for five minutes
  const { code, stdout, stderr } = await run(command, args, {
    KITH_ADDRESS: new URL(kith.address).host,
    KITH_TOKEN: admin.accessToken,
    ...env,
  });
  const said = [
    `signed in as ${admin.user.username} ROLE_ADMIN`,
    'created Ada Lovelace',
    'watching true',
    'refused Unauthenticated ERROR_REASON_ACCESS_TOKEN_MISSING',
  ];
  expect({ code, said: stdout.trim().split('\n'), stderr: code === 0 ? '' : stderr }).toEqual({
    code: 0,
    said,
    stderr: '',
  });
}

/** What the clients print that sign in and watch until they are ended. `spell` writes the name of a code as their language does. */
async function expectToWatch(command: string, args: readonly string[], spell: (code: string) => string): Promise<void> {
  await using kith = await startKith(); // of its own, since the clock is moved
  await using relay = await startRelay();
  relay.upstream = kith.address;
  const { user, password, accessToken } = await kith.user();
  const contacts = kith.client(ContactService, accessToken);
  for (const givenName of ['Ada', 'Edsger', 'Grace']) await contacts.createContact({ givenName });
  const record = async (action: string) => {
    const { accessToken } = await signedIn(
      kith.client(AuthService).login({ identifier: 'admin', password: ADMIN_PASSWORD }),
    );
    await kith.client(ActivityService, accessToken).recordUserActivity({ activities: [{ userId: user.id, action }] });
  };

  await using stack = new AsyncDisposableStack();
  const env = { KITH_ADDRESS: new URL(relay.address).host, KITH_USERNAME: user.username, KITH_PASSWORD: password };
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  stack.defer(async () => {
    child.kill('SIGKILL');
    await closed;
  });
  const stderr = text(child.stderr);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const expectNext = async (...expected: (string | RegExp)[]) => {
    for (const line of expected) {
      const { done, value } = await lines.next();
      if (done === true) throw new Error(`it ended before it said ${String(line)}:\n${await stderr}`);
      expect(value).toMatch(line instanceof RegExp ? line : new RegExp(`^${RegExp.escape(line)}$`));
    }
  };
  await expectNext(
    `signed in as ${user.username} ROLE_VIEWER`,
    'contacts Ada, Edsger, Grace',
    `refused ${spell('Unauthenticated')} ERROR_REASON_ACCESS_TOKEN_MISSING`,
    new RegExp(`^refused ${spell('Invalid_Argument')} ERROR_REASON_FIELDS_INVALID emails\\[0\\]\\.address \\S+$`),
    `ended ${spell('Deadline_Exceeded')}`,
    'watching',
  );
  await record('shop.first');
  await expectNext('saw shop.first');
  // Nobody answers for a while, and when somebody does again, the access token has expired.
  relay.upstream = undefined;
  relay.cut(() => true);
  kith.clock.offsetMs += kith.config.accessTokenTtlMs + 1000;
  await record('shop.second');
  relay.upstream = kith.address;
  await record('shop.third');
  await expectNext('saw shop.second', 'saw shop.third');
  relay.cut(() => true);
  await record('shop.last');
  await expectNext('saw shop.last');
}

function camelCase(code: string): string {
  return code.replace('_', '');
}

/** A folder with a client of examples/ that is built: the one of an earlier run, where nothing else goes into it now. */
async function build(
  language: string,
  variant: string,
  versions: readonly string[],
  make: (dir: string) => Promise<void>,
): Promise<string> {
  const dir = join(BUILT, `${language}-${variant.replaceAll(' ', '-')}`);
  const inputs = [
    `examples/${language}/**`,
    'docs/clients.md',
    'proto/**',
    '.proto-deps/**',
    'test/toolchains.long.test.ts',
    'package-lock.json',
  ];
  const hash = createHash('sha256').update(JSON.stringify([process.version, versions]));
  for (const file of globSync(inputs).toSorted()) {
    if (/\.\w+$/.test(file)) hash.update(file).update(readFileSync(file));
  }
  const key = hash.digest('hex');
  const keyFile = join(dir, 'built-from');
  if (existsSync(keyFile) && readFileSync(keyFile, 'utf8') === key) return dir;
  rmSync(dir, { recursive: true, force: true });
  cpSync(join('examples', language), dir, { recursive: true });
  await make(dir);
  writeFileSync(keyFile, key);
  return dir;
}

/** Runs the commands that docs/clients.md shows under a heading, in the folder of a client, with programs of a folder. */
async function follow(dir: string, heading: string, programs?: string): Promise<void> {
  for (const commands of commandsOf(heading)) await followBlock(dir, commands, programs);
}

async function followBlock(dir: string, commands: string, programs?: string): Promise<void> {
  const PATH = [programs, resolve('node_modules/.bin'), process.env['PATH']].filter(Boolean).join(delimiter);
  const script = `cd "$1"\n${commands.replaceAll('http://localhost:8080', kith.address)}`;
  await done(run('bash', ['-euc', script, 'bash', dir], { PATH }));
}

/** The blocks of commands under a heading of docs/clients.md. */
function commandsOf(heading: string): string[] {
  return stepsOf(sectionOf(readFileSync('docs/clients.md', 'utf8'), heading)).map(({ commands }) => commands);
}

/** `buf generate` with a template of the client in `dir`, and plugins of a folder. */
async function generate(dir: string, contract: string, template: string, plugins?: string): Promise<void> {
  const PATH = [plugins, resolve('node_modules/.bin'), process.env['PATH']].filter(Boolean).join(delimiter);
  await done(run('buf', ['generate', contract, '--template', join(dir, template), '--output', dir], { PATH }));
}

/** Gives a folder these packages, and no others of this repository. */
function linkPackages(dir: string, names: readonly string[]): void {
  for (const name of names) {
    const link = join(dir, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(resolve('node_modules', name), link);
  }
}

/** A Python with the packages of examples/python/requirements.txt. */
async function pythonWithTools(context: TestContext): Promise<string> {
  const python = need(context, 'python3');
  const requirements = 'examples/python/requirements.txt';
  const dir = await install(context, 'python-tools', readFileSync(requirements), async (dir) => {
    await done(run(python, ['-m', 'venv', dir]));
    await done(
      run(join(dir, 'bin/python'), ['-m', 'pip', 'install', '-q', '--only-binary', ':all:', '-r', requirements]),
    );
  });
  const path = join(dir, 'bin/python');
  const { stdout } = await done(run(path, ['-m', 'grpc_tools.protoc', '--version']));
  expect(stdout).toMatch(/^libprotoc 3\.21\./);
  return path;
}

/** A folder with Go's plugins of protoc. */
function goPlugins(context: TestContext, go: string): Promise<string> {
  return install(context, 'go-tools', GO_PLUGINS.join(), async (dir) => {
    for (const plugin of GO_PLUGINS) await done(run(go, ['install', plugin], { GOBIN: dir }));
  });
}

/** The class path of examples/java/pom.xml, and a folder with protoc and its plugin. */
async function javaTools(context: TestContext): Promise<{ libraries: string; programs: string }> {
  const mvn = need(context, 'mvn');
  const pom = 'examples/java/pom.xml';
  const os = { linux: 'linux', darwin: 'osx' }[process.platform as string];
  const cpu = { x64: 'x86_64', arm64: 'aarch_64' }[process.arch as string];
  const dir = await install(
    context,
    'java-tools',
    readFileSync(pom, 'utf8') + JSON.stringify(JAVA_PROGRAMS),
    async (dir) => {
      const copy = (...args: string[]) => done(run(mvn, ['-q', '-B', '-f', pom, ...args]));
      await copy('dependency:copy-dependencies', `-DoutputDirectory=${join(dir, 'lib')}`);
      for (const [name, artifact] of Object.entries(JAVA_PROGRAMS)) {
        const out = join(dir, name);
        await copy('dependency:copy', `-Dartifact=${artifact}:${os}-${cpu}`, `-DoutputDirectory=${out}`);
        mkdirSync(join(dir, 'bin'), { recursive: true });
        renameSync(globSync(join(out, '*.exe'))[0]!, join(dir, 'bin', name));
        chmodSync(join(dir, 'bin', name), 0o755);
      }
    },
  );
  return { libraries: join(dir, 'lib/*'), programs: join(dir, 'bin') };
}

/** A folder with protoc and the plugins for Java and Kotlin. */
async function kotlinTools(context: TestContext): Promise<string> {
  const [java, mvn] = [need(context, 'java'), need(context, 'mvn')];
  const { programs } = await javaTools(context);
  return install(context, 'kotlin-tools', JSON.stringify([KOTLIN_PLUGIN, JAVA_PROGRAMS]), async (dir) => {
    cpSync(programs, dir, { recursive: true });
    await done(run(mvn, ['-q', '-B', 'dependency:copy', `-Dartifact=${KOTLIN_PLUGIN}`, `-DoutputDirectory=${dir}`]));
    const script = `#!/bin/sh\nexec ${java} -XX:+UseSerialGC -jar ${globSync(join(dir, '*.jar'))[0]!}\n`;
    writeFileSync(join(dir, 'protoc-gen-grpc-kotlin'), script, { mode: 0o755 });
  });
}

function need(context: TestContext, name: string): string {
  return findCommand(name) ?? skipLoudly(context, `${name} is not on this machine`);
}

function replaceIn(path: string, from: string, to: string): void {
  const text = readFileSync(path, 'utf8');
  expect(text).toContain(from);
  writeFileSync(path, text.replaceAll(from, to));
}
