import { readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { describe, expect, test } from 'vitest';

const { name: OWN, ...manifest } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string;
  version: string;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};

/** What documents may tell to install or run by name: what this repository depends on itself, and knows whose it is. */
const KNOWN = new Set([...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)]);
/** What is packed here. */
const PACKED = new Set(['@kith/client', '@kith/connect-fast', '@kith/verify']);
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
  ])('the file that %s tells to install is the one that is packed', (document, folder) => {
    const text = readFileSync(document, 'utf8');
    const { name, version } = JSON.parse(readFileSync(`packages/${folder}/package.json`, 'utf8')) as typeof manifest & {
      name: string;
    };
    expect(PACKED).toContain(name);
    expect(text).toContain(`npm pack ./dist/${folder}`);
    expect(text).toContain(`npm install ./${name.slice(1).replace('/', '-')}-${version}.tgz`);
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
    ['npm install jose@6.2.17', ['jose']],
    ['pip install "PyJWT[crypto]==2.10.1"', ['PyJWT']],
  ])('in "%s" the names are %j', (text, names) => {
    expect(fetchedBy(text)).toEqual(names);
  });
});
