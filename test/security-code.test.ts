import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** What the server and the packages are made of, without comments. */
const SOURCES = globSync('{src,packages}/**/*.ts', { exclude: ['**/node_modules'] })
  .filter((file) => !/\.(test|testkit)\.ts$/.test(file))
  .toSorted()
  .map((file) => ({
    file,
    code: readFileSync(file, 'utf8')
      .replaceAll(/\/\*.*?\*\//gs, '')
      .replaceAll(/(^|\s)\/\/ .*$/gm, ''),
  }));

interface Rule {
  readonly what: string;
  readonly pattern: RegExp;
  /** Where it is right. */
  readonly but?: readonly string[];
  /** A line that the rule must catch. */
  readonly caught: string;
}

const RULES: readonly Rule[] = [
  {
    what: 'runs text as code',
    pattern: /\beval\(|\bnew Function\(|node:vm/,
    // Text that they write themselves, from descriptors and statements of the program's own.
    but: ['packages/protobuf-compiled/src/compile.ts', 'src/storage/sqlite-statements.ts'],
    caught: "new Function('a', text)",
  },
  {
    what: 'runs a command of the system',
    pattern: /child_process/,
    // They start Kith, with arguments of their own: for the tests of others, and in the Node that comes with it.
    but: ['packages/client/src/testing.ts', 'src/launcher.ts'],
    caught: "import { exec } from 'node:child_process';",
  },
  {
    what: 'builds SQL out of text',
    pattern: /\bsql\.raw\(|\$\{[^}]*\}`\)\.execute|\.unsafe\(/,
    caught: 'sql.raw(text)',
  },
  {
    what: 'writes a literal into SQL that is no constant number',
    pattern:
      /\bsql\.lit\((?!\d+\)|CLOCKS_DIFFER_MS|\(size - 1\) \* intervalMs|waits?\.|wait\.|forgetMs|intervalMs|BATCH_ROWS|RUNNING_MAX|CONTACT_SEARCH_VERSION|now\.base)/,
    caught: 'sql.lit(name)',
  },
  {
    what: 'draws numbers that can be foretold, but to spread out pauses',
    pattern: /Math\.random/,
    but: [
      'packages/client/src/backoff.ts',
      'packages/client/src/file-store.ts',
      'packages/verify/src/revocations.ts',
      'src/identity/auth/auth.ts',
      'src/storage/database.ts',
    ],
    caught: 'const code = Math.random();',
  },
  {
    what: 'hashes with anything but SHA-256, but codes of authenticator apps',
    pattern: /create(Hash|Hmac)\((?!'sha256')/,
    but: ['src/identity/second-factor/totp.ts'],
    caught: "createHash('md5')",
  },
  {
    what: 'encrypts with anything but AES-256-GCM, and cursors and page tokens in SIV',
    pattern: /create(Cipher|Decipher)iv\((?!'aes-256-gcm'|'aes-256-ctr', tokenKeys\[)|publicEncrypt|privateDecrypt/,
    caught: "createCipheriv('aes-256-cbc', key, iv)",
  },
  {
    what: 'connects without looking at the certificate',
    pattern: /rejectUnauthorized|NODE_TLS_REJECT|checkServerIdentity/,
    but: ['src/cli/doctor/server-checks.ts'], // looks at the certificate, and sends nothing
    caught: 'connect({ rejectUnauthorized: false })',
  },
  {
    what: 'makes a request to anybody, but @kith/verify to its issuer, the command line to its server and mails to a webhook',
    pattern: /\bfetch\(|\b(http|https|http2)\.(request|get|connect)\(|\bnet\.connect\(|new WebSocket/,
    but: [
      'packages/account/src/rpc.ts', // in the browser, to the server that it came from
      'packages/verify/src/connect-stream.ts',
      'packages/verify/src/keys.ts',
      'packages/verify/src/verify.ts',
      'src/cli/client/connect.ts',
      'src/mail/webhook-sender.ts',
    ],
    caught: 'await fetch(url)',
  },
  {
    what: 'compares without regard to type',
    pattern: /[^=!<>]==(?!=)|!=(?!=)(?!')/,
    // Operators of the shells, of CEL, Go and jq, in texts.
    but: [
      'packages/console/src/app/call-code.ts',
      'src/cli/completion/bash.ts',
      'src/cli/completion/zsh.ts',
      'src/cli/resources/settings.ts',
      'src/rpc/quick-cel.ts',
    ],
    caught: 'if (a == b)',
  },
];

test.each(RULES)('the code nowhere $what', ({ pattern, but = [] }) => {
  const found = SOURCES.filter(({ code }) => pattern.test(code)).map(({ file }) => file);
  expect(found).toEqual(but);
});

test.each(RULES)('code is found out that $what', ({ pattern, caught }) => {
  expect(pattern.test(caught)).toBe(true);
});

test('the image holds what serves: no tests, no history, no settings; and does not run as root', () => {
  const dockerfile = readFileSync('Dockerfile', 'utf8');
  const copied = Array.from(dockerfile.matchAll(/^COPY (?:--from=\S+ )?(.+) \S+$/gm), ([, from]) => from);
  expect(copied).toEqual([
    // What builds the console stays behind.
    'package.json package-lock.json .npmrc',
    'packages',
    'scripts/build-console.ts',
    'package.json package-lock.json .npmrc',
    'packages/account/package.json',
    'packages/client/package.json',
    'packages/connect-fast/package.json',
    'packages/console/package.json',
    'packages/protobuf-compiled/package.json',
    'packages/verify/package.json',
    '/app/node_modules',
    'package.json',
    'gen',
    'packages',
    '/app/packages/account/dist',
    '/app/packages/console/dist',
    'proto',
    'src',
  ]);
  expect(dockerfile).toMatch(/^USER node$/m);
  const ignored = readFileSync('.dockerignore', 'utf8').split('\n').filter(Boolean);
  expect(ignored[0]).toBe('*'); // all but what follows
  expect(ignored).toEqual(expect.arrayContaining(['**/*.test.ts', '**/*.testkit.ts']));
  expect(ignored).not.toContain('!.git');
  expect(ignored).not.toContain('!.env');
});
