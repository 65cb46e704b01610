import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdtempDisposableSync, readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { needCommand } from './support/commands.ts';

const { name: OWN, ...manifest } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string;
  version: string;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};

/** What documents may tell to install or run by name: what this repository depends on itself, and knows whose it is. */
const KNOWN = new Set([
  ...Object.keys(manifest.dependencies),
  ...Object.keys(manifest.devDependencies),
  'grpc-web', // Google's, which the guide for browsers installs, and its test too
]);
/** What is packed here. */
const PACKED = new Set(['@kith/client', '@kith/connect-fast', '@kith/protobuf-compiled', '@kith/verify']);
/** Packages of other registries that docs/verify.md verifies with. */
const ELSEWHERE = new Set([
  'PyJWT',
  'github.com/golang-jwt/jwt/v5',
  'github.com/MicahParks/keyfunc/v3',
  'google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12',
  'google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.0',
]);

const DOCUMENTS = await Array.fromAsync(
  glob(['*.md', '{docs,bench,check,conformance,deploy,examples,packages,proto}/**/*.md', 'Dockerfile']),
);

/** What follows a command that fetches packages by name. */
const FETCHES =
  /\b(?:npm (?:install|i|add|exec|create|init)|npx|pnpm (?:install|i|add|dlx)|yarn (?:add|dlx)|bunx|bun (?:install|add)|deno (?:install|add)|(?:python3? -m )?pip3? install|go (?:get|install))((?: +[^\s`|&;)]+)+)/g;

/** The packages that a text tells to fetch, without flags, files and addresses. */
function fetchedBy(text: string): string[] {
  const joined = text.replaceAll(/ \\\n\s*/g, ' '); // commands of several lines
  return [...joined.matchAll(FETCHES)].flatMap(([command, rest = '']) => {
    if (/^\s*--no\s/.test(rest)) return []; // npx that runs what is installed, or nothing
    const words = rest
      .trim()
      .split(/ +/)
      .map((word) => word.replaceAll(/^['"]|['".,:]+$/g, ''))
      .filter((word) => word !== '' && !word.startsWith('-') && !/^(\.{0,2}\/|git\+|https?:|file:)/.test(word));
    // What comes behind the package is for the program that is run.
    const packages = /npx|exec|dlx|bunx/.test(command) ? words.slice(0, 1) : words;
    return packages.map((word) => word.replace(/^(?:npm|jsr):/, '').replace(/(?<=.)@[\^~\d][^/]*$|==.*$|\[.*$/, ''));
  });
}

/** Files that documents name and that are not in the repository: what building or running makes, and what others have. */
const MADE_ELSEWHERE = new Set([
  'data/',
  'dist/',
  '.proto-deps/',
  'tmp/watch-seed-N-DATABASE-READER.json',
  '/opt/kith-otel/otel.mjs',
  'buf/validate/validate.proto', // of protovalidate
  'first.mjs', // of the reader, as the README has it
]);

const FILES = await Array.fromAsync(
  glob('**/*', { exclude: (name) => /(^|\/)(node_modules|\.git|tmp|dist)$/.test(name) }),
);

/** The ends of the paths of all files and folders: documents name a file in any way that is plain where they do. */
const ENDS = new Set(
  FILES.flatMap((path) => {
    const parts = path.split('/');
    return parts.map((_, i) => parts.slice(i).join('/'));
  }),
);

const FILE =
  /^(?:[\w.@-]+\/)*(?:[\w@-][\w.@-]*\.(?:ts|js|mjs|json|md|proto|ya?ml|html|css|sql|py|go|sh|txt)|[\w.@-]+\/)$/;
const FOLDERS = new Set(FILES.filter((path) => path.includes('/')).map((path) => path.split('/')[0]!));

/** The files and folders that a text names: in code, in links, and wherever a path begins with a folder of this repository. */
function filesNamedBy(text: string): string[] {
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].flatMap(([, code = '']) => code.split(/[\s,;:()'"]+/));
  const links = [...text.matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)/g)].map(([, target = '']) => target);
  const paths = (text.match(/(?<![\w/.:@$*{}-])[\w-]+\/[\w./-]*[\w/](?![\w*{<$])/g) ?? []).filter(
    (path) => FOLDERS.has(path.split('/')[0]!) && FILE.test(path),
  );
  return [...new Set([...spans.filter((word) => FILE.test(word)), ...links, ...paths])];
}

/** Those of them that are not there, seen from the document's folder or from the root. */
function missingFrom(path: string, text: string): string[] {
  return filesNamedBy(text).filter((name) => {
    if (MADE_ELSEWHERE.has(name)) return false;
    return !ENDS.has(name.replace(/\/$/, '')) && !existsSync(join(dirname(path), name));
  });
}

describe('no document names a file that is not there', () => {
  test.each(DOCUMENTS)('%s', (path) => {
    expect(missingFrom(path, readFileSync(path, 'utf8'))).toEqual([]);
  });

  test.each([
    ['read `src/none.ts`', ['src/none.ts']],
    ['run `node scripts/none.ts --help`', ['scripts/none.ts']],
    ['in [here](docs/none.md#part) and `test/none/`', ['test/none/', 'docs/none.md']],
    ['```\nsrc/none/   nothing\nsrc/main.ts   the process\n```', ['src/none/']],
    ['`src/main.ts`, `main.ts`, [docs](docs) and https://example.org/docs/none.md', []],
  ])('%j names %j', (text, missing) => {
    expect(missingFrom('README.md', text)).toEqual(missing);
  });
});

describe('no document tells to fetch a package that the project does not know', () => {
  test('there are documents', () => {
    expect(DOCUMENTS.length).toBeGreaterThan(20);
    expect(DOCUMENTS).toContain('docs/verify.md');
  });

  test.each(DOCUMENTS)('%s', (path) => {
    const strangers = fetchedBy(readFileSync(path, 'utf8')).filter((name) => !KNOWN.has(name) && !ELSEWHERE.has(name));
    expect(strangers).toEqual([]);
  });

  test.each(DOCUMENTS)('%s imports nothing but what is known and what is packed here', (path) => {
    const imported = [...readFileSync(path, 'utf8').matchAll(/^import .*?from '([^'.][^']*)'/gm)].map(
      ([, from]) => from!,
    );
    const packages = imported
      .filter((from) => !from.startsWith('node:') && !builtinModules.includes(from))
      .map((from) => /^(?:@[^/]+\/)?[^/]+/.exec(from)![0]);
    expect(packages.filter((name) => !PACKED.has(name) && !KNOWN.has(name))).toEqual([]);
  });

  test.each([
    ['docs/verify.md', 'verify'],
    ['packages/verify/README.md', 'verify'],
    ['packages/client/README.md', 'client'],
    ['packages/connect-fast/README.md', 'connect-fast'],
    ['packages/protobuf-compiled/README.md', 'protobuf-compiled'],
  ])('the file that %s tells to install is the one that is packed', (document, folder) => {
    const text = readFileSync(document, 'utf8');
    const { name, version } = JSON.parse(readFileSync(`packages/${folder}/package.json`, 'utf8')) as typeof manifest & {
      name: string;
    };
    expect(PACKED).toContain(name);
    expect(text).toContain(`npm pack ./dist/${folder}`);
    expect(text).toContain(`npm install ./${name.slice(1).replace('/', '-')}-${version}.tgz`);
  });

  test('call() of the shell is the same wherever a document has it', () => {
    const definitions = globSync(['README.md', 'docs/**/*.md']).flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/^ *(?:call|kith)\(\) \{ *curl .*$/gm)].map(([line]) => ({ file, line })),
    );
    const { line: first } = definitions.find(({ file }) => file === 'README.md')!;
    expect(definitions.filter(({ line }) => line !== first)).toEqual([]);
    expect(definitions.length).toBeGreaterThan(6);
  });

  test('the example in TypeScript takes the versions of this repository', () => {
    const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, string>>;
    const [example, own] = [read('examples/typescript/package.json'), read('package.json')];
    const all = { ...own['devDependencies'], ...own['dependencies'] };
    for (const [name, version] of Object.entries({ ...example['dependencies'], ...example['devDependencies'] }))
      expect({ [name]: version }).toEqual({ [name]: all[name] });
  });

  test('the templates of docs/clients.md are those of examples/', () => {
    const text = readFileSync('docs/clients.md', 'utf8');
    const templates = [...text.matchAll(/^```yaml\n(version.*?)^```$/gms)].map(([, yaml]) => yaml!);
    const plain = (yaml: string) => yaml.replaceAll(/^#.*\n/gm, '');
    const files = ['typescript/buf.gen.yaml', 'go/buf.gen.managed.yaml'];
    expect(templates.map(plain)).toEqual(files.map((file) => plain(readFileSync(`examples/${file}`, 'utf8'))));
  });

  test('what docs/clients.md leaves out of a web page is left out, and the rest can be generated', (context) => {
    const text = readFileSync('docs/clients.md', 'utf8');
    const [, inputs = ''] = /^```yaml\n(inputs:.*?)^```$/ms.exec(text) ?? [];
    expect(inputs).toContain('kith.binpb');
    const buf = needCommand(context, 'buf');
    using dir = mkdtempDisposableSync(join(tmpdir(), 'documents-'));
    const template =
      readFileSync('examples/typescript/buf.gen.yaml', 'utf8') +
      inputs.replace('kith.binpb', resolve('gen/contract.binpb'));
    const PATH = [resolve('node_modules/.bin'), process.env['PATH']].join(delimiter);
    execFileSync(buf, ['generate', '--template', template, '--output', dir.path], { env: { ...process.env, PATH } });
    const generated = globSync('gen/**/*.ts', { cwd: dir.path });
    expect(generated).toContain('gen/kith/user/v1/user_service_pb.ts');
    expect(generated.filter((path) => path.includes('validate'))).toEqual([]);
  });

  test.each([
    [`npm install ${OWN}`, [OWN]],
    [`npm i --save ${OWN}@latest`, [`${OWN}@latest`]],
    [`run \`npx ${OWN} start\``, [OWN]],
    [`yarn add @${OWN}/client fastify`, [`@${OWN}/client`, 'fastify']],
    [`deno add npm:${OWN}`, [OWN]],
    [`npm install ./${OWN}-0.1.0.tgz`, []],
    ['npm install git+https://git.example/x.git', []],
    ['npm ci && npm run build', []],
    ['npx --no kith && npx kith', ['kith']],
    ['npm install jose@6.2.17', ['jose']],
    ['pip install "PyJWT[crypto]==2.10.1"', ['PyJWT']],
  ])('in "%s" the names are %j', (text, names) => {
    expect(fetchedBy(text)).toEqual(names);
  });
});
