import { createHash } from 'node:crypto';
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
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { findCommand, type Outcome, run, skipLoudly } from './support/commands.ts';
import { type Kith, startKith } from './support/kith.ts';

/**
 * The clients of examples/, generated, compiled and run. What they are compiled with
 * and what comes of it is kept between runs: beside the caches of Go, pip and Maven,
 * since it is made again only when the contract, a client or a version is another.
 */
const CACHE =
  process.env['KITH_TOOLCHAINS'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kith-toolchains');
/** Of this tree, so that two of them on one machine do not meet. */
const BUILT = join(CACHE, `tree-${createHash('sha256').update(resolve('.')).digest('hex').slice(0, 12)}`);
const IMAGE = join(BUILT, 'kith.binpb');
const MINUTES = 60_000;

const GO_PLUGINS = [
  'google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12',
  'google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.0',
];
const JAVA_PROGRAMS = {
  protoc: 'com.google.protobuf:protoc:4.33.4:exe',
  'protoc-gen-grpc-java': 'io.grpc:protoc-gen-grpc-java:1.79.0:exe',
};

let kith: Kith;
beforeAll(async () => {
  mkdirSync(BUILT, { recursive: true });
  await done(run('buf', ['build', 'proto', '-o', IMAGE]));
  kith = await startKith();
});
afterAll(() => kith?.[Symbol.asyncDispose]());

/** From where code is generated, as buf and protoc are told. */
const INPUTS = [
  { from: 'the sources', contract: 'proto', protoc: ['-Iproto', '-I.proto-deps'] },
  { from: 'an image', contract: IMAGE, protoc: [`--descriptor_set_in=${IMAGE}`] },
];

describe.each(INPUTS)('from $from', ({ from, contract, protoc }) => {
  const isImage = from === 'an image';

  test('a client in TypeScript', { timeout: 10 * MINUTES }, async () => {
    const dir = await build('typescript', from, [], async (dir) => {
      symlinkSync(resolve('node_modules'), join(dir, 'node_modules'));
      writeFileSync(join(dir, 'package.json'), '{"type": "module"}');
      cpSync('tsconfig.json', join(dir, 'tsconfig.base.json'));
      writeFileSync(join(dir, 'tsconfig.json'), '{"extends": "./tsconfig.base.json", "include": ["*.ts", "gen"]}');
      await generate(dir, contract, 'buf.gen.yaml');
      await done(run('tsc', ['--noEmit', '-p', dir]));
    });
    await expectToWork(process.execPath, [join(dir, 'client.ts')]);
  });

  test('a client of @grpc/proto-loader, which needs no generated code', async () => {
    await expectToWork(process.execPath, ['examples/grpc-js/client.mjs'], {
      KITH_CONTRACT: isImage ? contract : 'proto,.proto-deps',
    });
  });

  test('a client in Python, with grpcio-tools of protoc 3.21', { timeout: 10 * MINUTES }, async (context) => {
    const python = await pythonWithTools(context);
    const dir = await build('python', from, [], async (dir) => {
      const files = [...globSync('**/*.proto', { cwd: 'proto' }), 'buf/validate/validate.proto'];
      const outputs = [`--python_out=${dir}`, `--grpc_python_out=${dir}`];
      await done(run(python, ['-m', 'grpc_tools.protoc', ...protoc, ...outputs, ...files]));
    });
    await expectToWork(python, [join(dir, 'client.py')]);
  });

  // Each template with one of the two, since what it does is the same for both.
  const template = isImage ? 'buf.gen.yaml' : 'buf.gen.managed.yaml';

  test(`a client in Go, with ${template}`, { timeout: 10 * MINUTES }, async (context) => {
    const go = need(context, 'go');
    const plugins = await goPlugins(context, go);
    const dir = await build('go', from, GO_PLUGINS, async (dir) => {
      await generate(dir, contract, template, plugins);
      if (isImage) {
        writeFileSync(join(dir, 'gen/kith/go.mod'), 'module kith\n\ngo 1.24\n');
        replaceIn(join(dir, 'main.go'), 'example.com/app/gen/kith/', 'kith/');
        await done(run(go, ['-C', dir, 'mod', 'edit', '-require=kith@v0.0.0', '-replace=kith=./gen/kith']));
      }
      await done(run(go, ['-C', dir, 'build', '-o', 'client', '.']));
    });
    await expectToWork(join(dir, 'client'), []);
  });

  test(`a client in Java, with ${template}`, { timeout: 10 * MINUTES }, async (context) => {
    const [java, javac] = [need(context, 'java'), need(context, 'javac')];
    const { libraries, programs } = await javaTools(context);
    const dir = await build('java', from, Object.values(JAVA_PROGRAMS), async (dir) => {
      await generate(dir, contract, template, programs);
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

/** A folder with a client of examples/ that is built: the one of an earlier run, where nothing else goes into it now. */
async function build(
  language: string,
  from: string,
  versions: readonly string[],
  make: (dir: string) => Promise<void>,
): Promise<string> {
  const dir = join(BUILT, `${language}-${from === 'an image' ? 'image' : 'sources'}`);
  const inputs = [
    `examples/${language}/**`,
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

/** `buf generate` with a template of the client in `dir`, and plugins of a folder. */
async function generate(dir: string, contract: string, template: string, plugins?: string): Promise<void> {
  const PATH = [plugins, resolve('node_modules/.bin'), process.env['PATH']].filter(Boolean).join(delimiter);
  await done(run('buf', ['generate', contract, '--template', join(dir, template), '--output', dir], { PATH }));
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

/** A folder of things that are downloaded once. Without a network the test is skipped. */
async function install(
  context: TestContext,
  name: string,
  versions: string | Buffer,
  fetch: (dir: string) => Promise<void>,
): Promise<string> {
  const dir = join(CACHE, `${name}-${createHash('sha256').update(versions).digest('hex').slice(0, 12)}`);
  const marker = join(dir, 'installed');
  if (existsSync(marker)) return dir;
  rmSync(dir, { recursive: true, force: true });
  try {
    await fetch(dir);
  } catch (error) {
    skipLoudly(context, `${name} cannot be installed: ${String(error).slice(0, 500)}`);
  }
  writeFileSync(marker, '');
  return dir;
}

function need(context: TestContext, name: string): string {
  return findCommand(name) ?? skipLoudly(context, `${name} is not on this machine`);
}

/** Throws what a command says when it fails. */
async function done(outcome: Promise<Outcome>): Promise<Outcome> {
  const ended = await outcome;
  if (ended.code !== 0) throw new Error(`${ended.stdout}${ended.stderr}`);
  return ended;
}

function replaceIn(path: string, from: string, to: string): void {
  const text = readFileSync(path, 'utf8');
  expect(text).toContain(from);
  writeFileSync(path, text.replaceAll(from, to));
}
