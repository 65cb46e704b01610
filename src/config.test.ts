import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addressOf, ConfigError, describeSettings, parseConfig, SETTINGS } from './config.ts';

const CERT = fileURLToPath(new URL('../test/fixtures/tls/localhost-cert.pem', import.meta.url));
const KEY = fileURLToPath(new URL('../test/fixtures/tls/localhost-key.pem', import.meta.url));
const SECRET = Buffer.alloc(32, 'secret').toString('base64');
const DAY_MS = 24 * 60 * 60 * 1000;

/** The lines that these settings are refused with. */
function problemsOf(env: Record<string, string>): string[] {
  try {
    parseConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  return [];
}

test('without any setting everything has its default', () => {
  expect(parseConfig({})).toEqual({
    host: '127.0.0.1',
    port: 8080,
    databaseUrl: 'sqlite:./data/kith.db',
    adminPassword: undefined,
    secretKey: undefined,
    tls: undefined,
    issuer: 'http://localhost:8080',
    audience: 'kith',
    accessTokenTtlMs: 300_000,
    sessionIdleMs: 30 * DAY_MS,
    sessionMaxMs: 90 * DAY_MS,
    sessionsPerUserMax: 50,
    freshSignInMs: 900_000,
    signingKeyMs: 30 * DAY_MS,
    signInFailuresPerAddress: 30,
    trustedProxies: [],
    purgeAfterMs: 30 * DAY_MS,
    activityRetentionMs: 90 * DAY_MS,
    databaseLimits: {
      connectionsMax: 10,
      connectTimeoutMs: 2000,
      statementTimeoutMs: 10_000,
      idleTransactionTimeoutMs: 10_000,
    },
    workers: 1,
    corsOrigins: [],
    reflection: true,
    fastLane: true,
    messageBytesMax: 1_048_576,
    connectionsMax: 10_000,
    requestTimeoutMs: 60_000,
    shutdownDelayMs: 0,
    shutdownTimeoutMs: 10_000,
    logLevel: 'info',
    logOneIn: 1,
  });
});

test('an empty variable is an absent one, and names that are not of Kith are none of its business', () => {
  const empty = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, '']));
  expect(parseConfig({ ...empty, PATH: '/bin', KITHARA: 'x', kith_port: 'x' })).toEqual(parseConfig({}));
});

test('what is set is taken', () => {
  const config = parseConfig({
    KITH_HOST: '::',
    KITH_PORT: '0',
    KITH_DATABASE_URL: 'sqlite:/var/lib/kith/a b.db',
    KITH_ADMIN_PASSWORD: 'eight ch',
    KITH_SECRET_KEY: SECRET,
    KITH_TLS_CERT: CERT,
    KITH_TLS_KEY: KEY,
    KITH_ISSUER: 'https://kith.example.org',
    KITH_TRUSTED_PROXIES: ' 10.0.0.0/8 , 192.0.2.1,2001:db8::/32',
    KITH_CORS_ORIGINS: ' https://a.example , http://localhost:5173,',
    KITH_REFLECTION: 'false',
    KITH_ACCESS_TOKEN_SECONDS: '10',
    KITH_SHUTDOWN_SECONDS: '0',
    KITH_LOG_LEVEL: 'silent',
    KITH_LOG_ONE_IN: '100',
  });
  expect(config).toMatchObject({
    host: '::',
    port: 0,
    databaseUrl: 'sqlite:/var/lib/kith/a b.db',
    adminPassword: 'eight ch',
    issuer: 'https://kith.example.org',
    trustedProxies: ['10.0.0.0/8', '192.0.2.1', '2001:db8::/32'],
    corsOrigins: ['https://a.example', 'http://localhost:5173'],
    reflection: false,
    accessTokenTtlMs: 10_000,
    shutdownTimeoutMs: 0,
    logLevel: 'silent',
    logOneIn: 100,
  });
  expect(config.secretKey).toEqual(Buffer.alloc(32, 'secret'));
  expect(config.tls?.cert.toString()).toContain('BEGIN CERTIFICATE');
});

test.each([
  ['KITH_HOST', ['a b', '\t']],
  ['KITH_PORT', ['-1', '65536', '80 ', '8o', '1e3', '0x50', '8080.0', '+80', '٣']],
  ['KITH_DATABASE_URL', ['./kith.db', 'sqlite:', 'sqlite::memory:', 'SQLITE:kith.db', 'mysql://a/b']],
  ['KITH_ISSUER', ['kith', 'ftp://a', 'https://', 'https://a b']],
  ['KITH_AUDIENCE', ['a b']],
  ['KITH_ACCESS_TOKEN_SECONDS', ['9', '3601', '']],
  ['KITH_SESSION_IDLE_DAYS', ['0', '3651']],
  ['KITH_SESSION_MAX_DAYS', ['0', '3651']],
  ['KITH_SESSIONS_PER_USER', ['0', '1001']],
  ['KITH_FRESH_SIGN_IN_SECONDS', ['29', '86401']],
  ['KITH_SIGNING_KEY_DAYS', ['0', '366']],
  ['KITH_SIGN_IN_FAILURES_PER_ADDRESS', ['4', '1000001']],
  [
    'KITH_TRUSTED_PROXIES',
    [
      'localhost',
      '10.0.0.0/33',
      '10.0.0/8',
      '::/129',
      '10.0.0.0/8/8',
      '10.0.0.0/',
      '*',
      '0.0.0.0/0',
      '::/0',
      '10.0.0.1:80',
    ],
  ],
  ['KITH_PURGE_AFTER_DAYS', ['0', '3651']],
  [
    'KITH_CORS_ORIGINS',
    ['*', 'null', 'https://a/', 'https://A', 'https://a:443', 'https://a,b', 'a.example', 'https://u@a'],
  ],
  ['KITH_REFLECTION', ['TRUE', 'yes', '1', '0']],
  ['KITH_MESSAGE_BYTES', ['65535', '67108865']],
  ['KITH_CONNECTIONS', ['9', '1000001']],
  ['KITH_REQUEST_SECONDS', ['0', '3601']],
  ['KITH_SHUTDOWN_DELAY_SECONDS', ['301']],
  ['KITH_SHUTDOWN_SECONDS', ['301']],
  ['KITH_LOG_LEVEL', ['INFO', 'verbose']],
  ['KITH_LOG_ONE_IN', ['0', '1000001', '-1', '1.5', '']],
] as const)('%s is refused, by name and value, for what is not allowed', (name, values) => {
  for (const value of values.filter(Boolean)) {
    expect(problemsOf({ [name]: value })).toEqual([
      `${name}: ${JSON.stringify(value)} is not allowed; it must be ${SETTINGS[name].allowed}`,
    ]);
  }
});

test.each([
  [
    'KITH_ADMIN_PASSWORD',
    ['seven c', 'x'.repeat(129), 'with\ttab and more', 'Admin@Localhost', 'Administrator', 'x'.repeat(20)],
  ],
  [
    'KITH_SECRET_KEY',
    ['c2hvcnQ=', Buffer.alloc(31).toString('base64'), Buffer.alloc(33).toString('base64'), 'ff'.repeat(32)],
  ],
] as const)('%s is refused without being shown', (name, values) => {
  for (const value of values) {
    const problems = problemsOf({ [name]: value });
    expect(problems).toEqual([`${name}: the value is not allowed; it must be ${SETTINGS[name].allowed}`]);
    expect(problems.join()).not.toContain(value);
  }
});

test('all problems are told at once', () => {
  const env = { KITH_PORT: 'x', KITH_TLS_CERT: CERT, KITH_LOG_LEVEL: 'x', KITH_PROT: '1', KITH_DATABASE: 'x' };
  expect(problemsOf(env).map((line) => line.split(':')[0])).toEqual([
    'KITH_PROT',
    'KITH_DATABASE',
    'KITH_PORT',
    'KITH_TLS_KEY',
    'KITH_LOG_LEVEL',
  ]);
});

describe('a certificate and its key', () => {
  let directory: string;
  let otherKey: string;
  let encryptedKey: string;
  let binaryKey: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'kith-config-'));
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const write = (name: string, bytes: string | Buffer): string => {
      writeFileSync(join(directory, name), bytes);
      return join(directory, name);
    };
    const cipher = { cipher: 'aes-256-cbc', passphrase: 'secret' };
    otherKey = write('other.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }));
    encryptedKey = write('encrypted.pem', privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher }));
    binaryKey = write('key.der', privateKey.export({ type: 'pkcs8', format: 'der' }));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test.each<[string, () => Record<string, string>, string[]]>([
    ['only one', () => ({ KITH_TLS_CERT: CERT }), ['KITH_TLS_KEY: must be set as well as KITH_TLS_CERT']],
    ['only the other', () => ({ KITH_TLS_KEY: KEY }), ['KITH_TLS_CERT: must be set as well as KITH_TLS_KEY']],
    [
      'a missing file',
      () => ({ KITH_TLS_CERT: '/no/such', KITH_TLS_KEY: KEY }),
      ['KITH_TLS_CERT: "/no/such" is not allowed'],
    ],
    ['a directory', () => ({ KITH_TLS_CERT: CERT, KITH_TLS_KEY: directory }), ['KITH_TLS_KEY: ']],
    ['the two swapped', () => ({ KITH_TLS_CERT: KEY, KITH_TLS_KEY: CERT }), ['KITH_TLS_CERT: ', 'KITH_TLS_KEY: ']],
    ['a key with a passphrase', () => ({ KITH_TLS_CERT: CERT, KITH_TLS_KEY: encryptedKey }), ['KITH_TLS_KEY: ']],
    ['a key that is not PEM', () => ({ KITH_TLS_CERT: CERT, KITH_TLS_KEY: binaryKey }), ['KITH_TLS_KEY: ']],
    ['the key of another', () => ({ KITH_TLS_CERT: CERT, KITH_TLS_KEY: otherKey }), [`KITH_TLS_KEY: `]],
  ])('%s is refused', (_, env, lines) => {
    expect(problemsOf(env())).toEqual(lines.map((line) => expect.stringContaining(line)));
  });
});

test.each([
  ['127.0.0.1', 'http://localhost:80'],
  ['0.0.0.0', 'http://localhost:80'],
  ['::', 'http://localhost:80'],
  ['::1', 'http://[::1]:80'],
  ['192.0.2.1', 'http://192.0.2.1:80'],
  ['kith.example.org', 'http://kith.example.org:80'],
])('what listens on %s is reached at %s', (host, address) => {
  expect(addressOf({ host, port: 80, tls: undefined })).toBe(address);
});

test('the help names every setting with its default, and no line is left without a meaning', () => {
  const help = describeSettings();
  for (const [name, { help: meaning, allowed }] of Object.entries(SETTINGS)) {
    for (const text of [name, meaning, allowed]) expect(help).toContain(text);
  }
  expect(help).toContain('KITH_PORT (8080)');
  expect(help).not.toContain('undefined');
});
