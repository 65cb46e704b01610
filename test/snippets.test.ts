import { globSync, readFileSync } from 'node:fs';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createInterface } from 'node:readline';
import type { Client } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { type CommandEnd, openShell, type Shell } from './support/command-line.ts';
import { needCommand, ownEnvironment, run } from './support/commands.ts';
import { ADMIN_PASSWORD, startKith } from './support/kith.ts';
import { patternOf, runSteps, sectionOf, stepsOf } from './support/tour.ts';

/** A block of code in a document. */
interface Snippet {
  readonly document: string;
  readonly line: number;
  /** The heading above it. */
  readonly heading: string;
  /** What follows the three backticks. */
  readonly language: string;
}

/** The documents that people follow: what they show is run. docs/reference/ is generated, docs/decisions/ has no code to run. */
const DOCUMENTS = [
  'README.md',
  ...globSync(
    '{docs/{api-keys,clients,import-users,second-factor,sessions,verify}.md,docs/guides/*.md,packages/*/README.md}',
  ),
].toSorted();

/** Which test runs, writes, compiles or compares the blocks under a heading: all of them, or those of one language. */
const TESTS: Readonly<Record<string, readonly (readonly [heading: string, languages: string, test: string])[]>> = {
  'README.md': [
    ['# Kith', 'sh', 'test/snippets.test.ts'],
    ['## A tour with curl', 'text', 'test/snippets.test.ts'],
    ['## A tour with curl', 'sh json', 'test/readme.test.ts'],
    ['## As a package', 'sh js text', 'test/packages.long.test.ts'],
    ['## The command line', 'text', 'test/snippets.test.ts'],
    ['## Clients', 'ts', 'test/readme.test.ts'],
    ['## Working on it', '', 'test/documents.test.ts'],
  ],
  'docs/api-keys.md': [
    ['## A tour with curl', 'sh json', 'test/api-keys.test.ts'],
    ['## When a key leaks', 'regex', 'src/identity/api-keys/api-key.test.ts'],
  ],
  'docs/clients.md': [
    ['# Clients in other languages', 'text', 'test/toolchains.long.test.ts'],
    ['## The contract as one file', 'sh', 'test/toolchains.long.test.ts'],
    ['### As `.proto` files', 'sh', 'test/toolchains.long.test.ts'],
    ['## TypeScript', 'sh', 'test/toolchains.long.test.ts'],
    ['## TypeScript', 'yaml', 'test/documents.test.ts'],
    ['## Python', 'sh', 'test/toolchains.long.test.ts'],
    ['## Go', 'sh', 'test/toolchains.long.test.ts'],
    ['## Go', 'yaml', 'test/documents.test.ts'],
    ['## Java and Kotlin', 'sh', 'test/toolchains.long.test.ts'],
  ],
  'docs/guides/README.md': [['# Guides', 'sh', 'test/guides.long.test.ts']],
  'docs/import-users.md': [
    ['## A tour with curl', 'sh json text', 'test/import-users.test.ts'],
    ['## How a hash is written', 'python', 'test/snippets.test.ts'],
  ],
  'docs/second-factor.md': [['## A tour with curl', 'sh json', 'test/second-factor.test.ts']],
  'docs/sessions.md': [['## A tour with curl', 'sh json', 'test/snippets.test.ts']],
  'docs/verify.md': [
    ['# Verifying access tokens in other services', 'sh', 'test/documents.test.ts'],
    ['# Verifying access tokens in other services', 'js', 'test/verify-package.long.test.ts'],
    ['## Fastify', 'ts', 'test/verify-package.long.test.ts'],
    ['## Connect-ES', 'ts', 'test/verify-package.long.test.ts'],
    ['## Envoy', 'yaml', 'test/guides.long.test.ts'],
    ['### jose', 'js', 'test/verify-elsewhere.long.test.ts'],
    ['### PyJWT', 'python', 'test/verify-elsewhere.long.test.ts'],
    ['### golang-jwt', 'go', 'test/verify-elsewhere.long.test.ts'],
  ],
  'packages/client/README.md': [
    ['# Call Kith', 'sh', 'test/documents.test.ts'],
    ['# Call Kith', 'ts', 'test/client-package.test.ts'],
    ['## Credentials', 'ts', 'test/client-package.test.ts'],
    ['## Errors', 'ts', 'test/client-package.test.ts'],
    ['## Watches', 'ts', 'test/client-package.test.ts'],
    ['## Recording activities', 'ts', 'test/client-package.test.ts'],
    ['## Contacts without a connection', 'ts', 'test/client-package.test.ts'],
    ['## Tests of your own', 'ts', 'test/client-package.test.ts'],
  ],
  'packages/connect-fast/README.md': [
    ['# Connect services, several times as fast', 'sh', 'test/documents.test.ts'],
    ['## What it makes', 'ts', 'test/connect-fast-package.long.test.ts'],
    ['## node:http2', 'ts', 'test/connect-fast-package.long.test.ts'],
    ['## Fastify', 'ts', 'test/connect-fast-package.long.test.ts'],
  ],
  'packages/protobuf-compiled/README.md': [
    ['# Protobuf-ES messages, compiled', 'sh', 'test/documents.test.ts'],
    ['# Protobuf-ES messages, compiled', 'js', 'test/packages.long.test.ts'],
  ],
  'packages/verify/README.md': [
    ["# Verify Kith's access tokens", 'sh', 'test/documents.test.ts'],
    ["# Verify Kith's access tokens", 'js', 'test/verify-package.long.test.ts'],
  ],
};

/** Every one of these is followed as a whole, and may hold no block that cannot be: test/support/guide.ts. */
const FOLLOWED = readFileSync('test/guides.long.test.ts', 'utf8');

/** What nothing here can run, and why. */
const NOT_RUN: readonly (readonly [document: string, heading: string, why: string])[] = [
  ['docs/verify.md', '### Spring Security', 'a bean of an application of Spring, which the repository has none of'],
];

function snippetsOf(document: string, markdown: string): Snippet[] {
  const snippets: Snippet[] = [];
  let heading = '';
  let isFenced = false;
  for (const [i, text] of markdown.split('\n').entries()) {
    if (text.startsWith('```')) {
      if (!isFenced) snippets.push({ document, line: i + 1, heading, language: text.slice(3).trim() });
      isFenced = !isFenced;
    } else if (!isFenced && /^#+ /.test(text)) heading = text;
  }
  return snippets;
}

/** The file of the test that runs a snippet, or why none does; undefined when that is not known. */
function testOf({ document, heading, language }: Snippet): string | undefined {
  if (document.startsWith('docs/guides/') && FOLLOWED.includes(`'${document.replace('docs/guides/', '')}'`))
    return 'test/guides.long.test.ts';
  if (document.startsWith('docs/guides/') && FOLLOWED.includes(`'${document}'`)) return 'test/guides.long.test.ts';
  const [, , why] = NOT_RUN.find((entry) => entry[0] === document && entry[1] === heading) ?? [];
  const [, , file] =
    TESTS[document]?.find((entry) => entry[0] === heading && entry[1].split(' ').includes(language)) ?? [];
  return why ?? file;
}

describe('every snippet of a document that people follow is run by a test', () => {
  test.each(DOCUMENTS)('%s', (document) => {
    const snippets = snippetsOf(document, readFileSync(document, 'utf8'));
    expect(snippets.filter((snippet) => testOf(snippet) === undefined)).toEqual([]);
    // A test is named for what is there, and reads the document that it is named for.
    for (const [heading, languages, file] of TESTS[document] ?? []) {
      for (const language of languages.split(' '))
        expect(snippets).toContainEqual(expect.objectContaining({ heading, language }));
      expect(readFileSync(file, 'utf8'), `${file} does not read ${document}`).toMatch(
        new RegExp(`\\b${RegExp.escape(document)}|\\*\\.md`),
      );
    }
  });

  test('a snippet that no test knows is found, by its heading and by its language', () => {
    const document = 'README.md';
    const found = snippetsOf(
      document,
      '# Kith\n```sh\nls\n```\n## New\n```sh\nls\n```\n## Clients\n```rust\n# A\n```\n',
    );
    expect(found.map((snippet) => [snippet.line, testOf(snippet)])).toEqual([
      [2, 'test/snippets.test.ts'],
      [6, undefined],
      [10, undefined],
    ]);
  });
});

test('README.md: the commands that start Kith do', async (context) => {
  needCommand(context, 'npm');
  const readme = readFileSync('README.md', 'utf8');
  const [first] = stepsOf(readme);
  expect(first!.commands).toBe('npm ci && npm start\n'); // whoever runs this test has done the first half
  const [, second] = /^```text\n(.*?)^```$/ms.exec(sectionOf(readme, '## A tour with curl'))!;
  for (const command of ['npm start', second!]) {
    await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-npm-start-'));
    const env = { ...ownEnvironment(), KITH_PORT: '0', KITH_DATABASE_URL: `sqlite:${join(directory.path, 'kith.db')}` };
    const child = spawn('bash', ['-c', `exec ${command.replace(/^(KITH_\w+='[^']*') /, 'env $1 ')}`], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    const closed = once(child, 'close');
    const said: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line);
      if (/password/i.test(said.join('\n')) || (command !== 'npm start' && /serves/.test(line))) break;
    }
    process.kill(-child.pid!, 'SIGKILL');
    await closed;
    expect(said.join('\n')).toMatch(/^Kith .* serves gRPC, gRPC-Web and Connect at http:\/\/localhost:\d+$/m);
  }
});

test('README.md: the commands of the command line do what they say', async () => {
  await using kith = await startKith();
  const admin = kith.client(UserService, (await kith.admin()).accessToken);
  await admin.createUser({ username: 'ada', email: 'ada@example.org', name: 'Ada Lovelace', password: 'not of weeks' });
  await using shell = await openShell({ KITH_URL: kith.address, KITH_DATABASE_URL: 'sqlite:none.db' });
  const file = join(shell.directory, 'users.csv');
  await writeFile(file, 'username,email,name\ngrace,grace@example.org,Grace Hopper\n');
  const section = sectionOf(readFileSync('README.md', 'utf8'), '## The command line');
  const [, block] = /^```text\n(.*?)^```$/ms.exec(section)!;
  const outcomes: { line: string; code: number | null; output: string }[] = [];
  let userId = '';
  for (const line of block!.trimEnd().split('\n')) {
    const [, command] = /^npm run --silent kith -- (.*)$/.exec(line)!;
    const args = [...command!.matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) =>
      (quoted ?? word).replace('...', userId).replace(/^users\.csv$/, file),
    );
    const { code, stdout, stderr } = await (args[0] === 'watch'
      ? watchUntilUserIsCreated(shell, args, admin)
      : shell.kithHere(args, { input: args[0] === 'login' ? `${ADMIN_PASSWORD}\n` : '' }));
    if (args.includes('--json')) userId = (JSON.parse(stdout) as { user: { id: string } }).user.id;
    outcomes.push({ line, code, output: stdout + stderr });
  }
  const outcome = (line: string, output: RegExp, code = 0) => ({
    line: expect.stringMatching(line),
    code,
    output: expect.stringMatching(output),
  });
  expect(outcomes).toEqual([
    outcome('login', /admin/),
    outcome('users list', /Ada Lovelace/),
    outcome('users get', /"username": "ada"/),
    outcome('call GetUsage', /"contacts": /),
    outcome('users import', /^1 created/),
    outcome('watch', /kith\.user\.created/, 130), // Ctrl-C
    outcome('doctor', /^ok +sign-in +as admin$/m),
  ]);
});

/** Runs `kith watch`, which shows what happens from now on, until it has shown that a user was created. */
async function watchUntilUserIsCreated(
  shell: Shell,
  args: readonly string[],
  admin: Client<typeof UserService>,
): Promise<CommandEnd> {
  const watching = shell.start(args);
  let isSeen = false;
  const seen = watching.until('stdout', /kith\.user\.created/).finally(() => (isSeen = true));
  for (let i = 0; !isSeen; i += 1) {
    const username = `seen-${i}`;
    await admin.createUser({ username, email: `${username}@example.org`, name: 'Seen', password: 'not of weeks' });
    await Promise.race([seen, sleep(500)]);
  }
  await seen;
  watching.child.kill('SIGINT');
  return watching.ended;
}

test('docs/sessions.md: the tour with curl runs as printed', async (context) => {
  const bash = needCommand(context, 'bash');
  needCommand(context, 'curl');
  await using kith = await startKith();
  const page = readFileSync('docs/sessions.md', 'utf8')
    .replaceAll('http://localhost:8080', kith.address)
    .replaceAll('correct horse battery', ADMIN_PASSWORD);
  const steps = stepsOf(sectionOf(page, '## A tour with curl'));
  const { code, outputs, stderr } = await runSteps(bash, steps);
  expect({ code, steps: outputs.length, stderr }).toEqual({ code: 0, steps: steps.length, stderr: '' });
  for (const [i, { line, expected = '' }] of steps.entries()) {
    expect.soft(outputs[i], `docs/sessions.md:${line}`).toMatch(patternOf(expected));
  }
});

test('docs/import-users.md: the function for hashes of Django writes what Kith takes', async (context) => {
  const python = needCommand(context, 'python3');
  const section = sectionOf(readFileSync('docs/import-users.md', 'utf8'), '## How a hash is written');
  const [, code] = /^```python\n(.*?)^```$/ms.exec(section)!;
  // What Django writes for "poetical science" with the salt "aGd2Sm3yxRPwUgqs".
  const program = `import base64, hashlib\n${code}\nsalt, rounds = 'aGd2Sm3yxRPwUgqs', 1000\nraw = hashlib.pbkdf2_hmac('sha256', b'poetical science', salt.encode(), rounds)\nprint(kith(f'pbkdf2_sha256\${rounds}\${salt}\${base64.b64encode(raw).decode()}'))`;
  const { code: exit, stdout, stderr } = await run(python, ['-c', program]);
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
  await using kith = await startKith();
  const call = async (method: string, body: object, token = '') =>
    (
      await fetch(`${kith.address}/kith.${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(token === '' ? {} : { authorization: `Bearer ${token}` }) },
        body: JSON.stringify(body),
      })
    ).status;
  const { accessToken } = await kith.admin();
  const user = { username: 'django', email: 'django@example.org', name: 'Django', passwordHash: stdout.trim() };
  expect(await call('user.v1.UserService/CreateUser', user, accessToken)).toBe(200);
  expect(await call('auth.v1.AuthService/Login', { identifier: 'django', password: 'poetical science' })).toBe(200);
  expect(await call('auth.v1.AuthService/Login', { identifier: 'django', password: 'another' })).toBe(401);
});
