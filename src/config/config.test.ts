import { generateKeyPairSync } from 'node:crypto';
import { mkdtempDisposableSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addressOf, ConfigError, describeSettings, parseConfig, serviceLinksOf, SETTINGS } from './config.ts';

const CERT = fileURLToPath(new URL('../../test/fixtures/tls/localhost-cert.pem', import.meta.url));
const KEY = fileURLToPath(new URL('../../test/fixtures/tls/localhost-key.pem', import.meta.url));
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
    settings: expect.any(Array),
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
    mail: { smtpUrl: undefined, webhook: undefined, from: 'no-reply@localhost', language: 'en', service: 'Kith' },
    mailTemplates: {},
    signUp: { policy: 'closed', domains: [] },
    loginCodes: false,
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
    consolePath: '/console/',
    account: {
      path: '/account/',
      url: 'http://localhost:8080/account/',
      logoUrl: undefined,
      color: undefined,
      homeUrl: '/console/',
    },
    fastPath: true,
    messageBytesMax: 1_048_576,
    connectionsMax: 10_000,
    connectionsPerAddressMax: 5000,
    contacts: { perUserMax: 25_000, bytesPerUserMax: 134_217_728, labelsPerUserMax: 500 },
    watchesPerCallerMax: 100,
    watchesMax: 2000,
    requestTimeoutMs: 60_000,
    metricsHost: '127.0.0.1',
    metricsPort: undefined,
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
    KITH_METRICS_HOST: '[::1]',
    KITH_METRICS_PORT: '9464',
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
    metricsHost: '::1',
    metricsPort: 9464,
  });
  expect(config.secretKey).toEqual(Buffer.alloc(32, 'secret'));
  expect(config.tls?.cert.toString()).toContain('BEGIN CERTIFICATE');
});

test('metrics are off without a port, and each worker has one', () => {
  expect(parseConfig({ KITH_METRICS_PORT: '0' }).metricsPort).toBeUndefined();
  const env = { KITH_DATABASE_URL: 'postgres://h/d', KITH_SECRET_KEY: SECRET, KITH_WORKERS: '3' };
  expect(parseConfig({ ...env, KITH_METRICS_PORT: '65533' }).metricsPort).toBe(65_533);
  expect(problemsOf({ ...env, KITH_METRICS_PORT: '65534' })).toEqual([
    'KITH_METRICS_PORT: is too high for as many workers as KITH_WORKERS says, which take one port each',
  ]);
});

test('blanks and line breaks around a value do not count, as they come along with mounted secrets', () => {
  const written = {
    KITH_HOST: 'localhost',
    KITH_PORT: '9000',
    KITH_DATABASE_URL: 'sqlite:/x/k.db',
    KITH_ADMIN_PASSWORD: 'correct horse',
    KITH_SECRET_KEY: SECRET,
    KITH_TLS_CERT: CERT,
    KITH_TLS_KEY: KEY,
    KITH_ISSUER: 'https://kith.example.org',
    KITH_AUDIENCE: 'kith',
    KITH_CORS_ORIGINS: 'https://a.example',
    KITH_LOG_LEVEL: 'warn',
  };
  for (const [before, after] of [
    ['', '\n'],
    [' \t', '\r\n'],
    ['\uFEFF', '\u00A0'],
  ]) {
    const padded = Object.fromEntries(Object.entries(written).map(([name, value]) => [name, before + value + after]));
    expect(parseConfig(padded)).toEqual(parseConfig(written));
  }
});

test('a control character in a value, or a text of another encoding, is refused', () => {
  for (const name of Object.keys(SETTINGS)) {
    for (const bad of ['\n', '\r', '\t', '\0', '\u001b', '\u0085', '\u2028', '\uFFFD']) {
      const problems = problemsOf({ [name]: `sqlite:/x/k${bad}.db` });
      expect(problems[0]).toMatch(
        new RegExp(`^${name}: .* is not allowed; it must be .*, without control characters$`, 's'),
      );
    }
  }
});

describe('variables that orchestrators make', () => {
  const ofKubernetes = (service: string): Record<string, string> => ({
    [`${service}_SERVICE_HOST`]: '10.96.14.7',
    [`${service}_SERVICE_PORT`]: '8080',
    [`${service}_SERVICE_PORT_GRPC_WEB`]: '8080',
    [`${service}_PORT`]: 'tcp://10.96.14.7:8080',
    [`${service}_PORT_8080_TCP`]: 'tcp://10.96.14.7:8080',
    [`${service}_PORT_8080_TCP_PROTO`]: 'tcp',
    [`${service}_PORT_8080_TCP_PORT`]: '8080',
    [`${service}_PORT_8080_TCP_ADDR`]: '10.96.14.7',
    [`${service}_PORT_53_UDP`]: 'udp://[fd00::7]:53',
    [`${service}_PORT_53_UDP_ADDR`]: 'fd00::7',
  });
  const ofDocker = (alias: string): Record<string, string> => ({
    [`${alias}_NAME`]: '/web/kith-db',
    [`${alias}_PORT`]: 'tcp://172.17.0.5:5432',
    [`${alias}_PORT_5432_TCP`]: 'tcp://172.17.0.5:5432',
    [`${alias}_PORT_5432_TCP_START`]: 'tcp://172.17.0.5:5432',
    [`${alias}_PORT_5432_TCP_PORT_END`]: '5434',
    [`${alias}_ENV_POSTGRES_PASSWORD`]: 'x',
    [`${alias}_ENV_PG_VERSION`]: '',
  });

  test.each([
    ['a Service kith', ofKubernetes('KITH')],
    ['a Service kith-postgres', ofKubernetes('KITH_POSTGRES')],
    ['a Service kith-port', ofKubernetes('KITH_PORT')],
    ['a Service kith-metrics', ofKubernetes('KITH_METRICS')],
    ['Services kith and kith-2', { ...ofKubernetes('KITH'), ...ofKubernetes('KITH_2') }],
    ['a link to a container kith', ofDocker('KITH')],
    ['a link to a container kith-db', ofDocker('KITH_DB')],
  ])('%s are passed over', (_, env) => {
    expect(parseConfig(env)).toEqual(parseConfig({}));
    expect(serviceLinksOf(env)).toEqual(Object.keys(env));
    expect(parseConfig({ ...env, KITH_LOG_LEVEL: 'warn' }).logLevel).toBe('warn');
  });

  test('leave the port to be set', () => {
    expect(parseConfig({ ...ofKubernetes('KITH'), KITH_PORT: '9000' }).port).toBe(9000);
  });

  test.each([
    ['KITH_SERVICE_HOST', 'kith.example.org'],
    ['KITH_SERVICE_PORT', 'http'],
    ['KITH_LISTEN_PORT', '8080'],
    ['KITH_PORT_NUMBER', '8080'],
    ['KITH_NAME', 'kith'],
    ['KITH_PORT_8080', '1'],
    ['KITH_PORT_8080_TCP_PORT', 'x'],
    ['KITH_ENV', 'production'],
    ['KITH_', 'tcp://10.96.14.7:8080'],
  ])('do not hide the misspelt setting %s=%s', (name, value) => {
    expect(problemsOf({ [name]: value })).toEqual([
      `${name}: there is no such setting; npm start -- --help lists them`,
    ]);
    expect(serviceLinksOf({ [name]: value })).toEqual([]);
  });
});

describe('a secret in a file', () => {
  const SECRETS = [
    ['KITH_ADMIN_PASSWORD', 'correct horse battery', 'adminPassword'],
    ['KITH_SECRET_KEY', SECRET, 'secretKey'],
    ['KITH_DATABASE_URL', 'postgres://kith:hidden@db/kith', 'databaseUrl'],
    ['KITH_SMTP_URL', 'smtps://kith:hidden@mail', 'mail'],
  ] as const;
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'kith-secrets-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  function fileOf(content: string | Buffer): string {
    const path = join(directory, 'secret');
    writeFileSync(path, content);
    return path;
  }

  test.each(SECRETS)('%s is read, without the blanks and line breaks around it', (name, value, key) => {
    const path = fileOf(`\uFEFF ${value}\r\n\n`);
    expect(parseConfig({ [`${name}_FILE`]: `${path}\n` })[key]).toEqual(parseConfig({ [name]: value })[key]);
  });

  test.each(SECRETS)('%s is refused in both forms', (name, value) => {
    const problems = problemsOf({ [name]: value, [`${name}_FILE`]: fileOf(value) });
    expect(problems).toEqual([`${name}: is set, and so is ${name}_FILE: set one of them`]);
  });

  test.each(SECRETS)('an empty %s counts as absent beside it', (name, value, key) => {
    const env = { [name]: '', [`${name}_FILE`]: fileOf(value) };
    expect(parseConfig(env)[key]).toEqual(parseConfig({ [name]: value })[key]);
  });

  test.each<[what: string, path: () => string, why: RegExp]>([
    ['that is not there', () => join(directory, 'missing'), /cannot be read: ENOENT$/],
    ['that is a directory', () => directory, /is not a file$/],
    ['that is a device', () => '/dev/zero', /is not a file$/],
    ['that is empty', () => fileOf(' \n'), /is empty$/],
    ['that is too large', () => fileOf('x'.repeat(16_385)), /is larger than 16384 bytes$/],
    ['that is not UTF-8', () => fileOf(Buffer.from('passw\u00f6rd of a test', 'latin1')), /is not UTF-8$/],
  ])('%s is refused', (_, path, why) => {
    for (const [name] of SECRETS) {
      const [problem, ...rest] = problemsOf({ [`${name}_FILE`]: path() });
      expect(rest).toEqual([]);
      expect(problem).toMatch(why);
      expect(problem!.startsWith(`${name}_FILE: "${path()}" `)).toBe(true);
    }
  });

  test.each(SECRETS)('%s with a value that is not allowed is refused without being shown', (name) => {
    const path = fileOf('hidden\nvalue');
    const [problem] = problemsOf({ [`${name}_FILE`]: path });
    expect(problem).toContain(`${name}: the content of "${path}" in ${name}_FILE is not allowed; it must be `);
    expect(problem).not.toContain('hidden');
  });

  test('is offered for these and for nothing else', () => {
    expect(problemsOf({ KITH_PORT_FILE: fileOf('8080') })).toEqual([
      'KITH_PORT_FILE: there is no such setting; npm start -- --help lists them',
    ]);
    for (const [name] of SECRETS) expect(describeSettings()).toContain(`${name}_FILE`);
  });
});

test.each([
  ['[::1]', '::1', 'http://[::1]:8080'],
  ['[::]', '::', 'http://localhost:8080'],
  ['0:0:0:0:0:0:0:0', '::', 'http://localhost:8080'],
  ['FE80::0:1%lo', 'fe80::1%lo', 'http://[fe80::1]:8080'],
  ['[fe80::1%eth0]', 'fe80::1%eth0', 'http://[fe80::1]:8080'],
  ['Kith.Example.org', 'Kith.Example.org', 'http://Kith.Example.org:8080'],
  ['kith_1.local.', 'kith_1.local.', 'http://kith_1.local.:8080'],
])('the host %s is listened on as %s', (text, host, issuer) => {
  const config = parseConfig({ KITH_HOST: text });
  expect(config).toMatchObject({ host, issuer });
  expect(() => new URL(config.issuer)).not.toThrow();
});

test.each([
  ['KITH_HOST', ['a b', '\t', 'http://localhost', 'kith.local:8080', '127.0.0.1:80', '[::1]:80', '[::1', '::1]']],
  ['KITH_HOST', ['[localhost]', '[127.0.0.1]', '*', '300.1.1.1', '127.1', '8080', 'a/b', 'a@b', '-a', 'a..b', '::1%']],
  ['KITH_PORT', ['-1', '65536', '8 0', '8o', '1e3', '0x50', '8080.0', '+80', '٣']],
  ['KITH_DATABASE_URL', ['./kith.db', 'sqlite:', 'sqlite::memory:', 'SQLITE:kith.db', 'mysql://a/b']], // see url.test.ts
  ['KITH_ISSUER', ['kith', 'ftp://a', 'https://', 'https://a b', `https://a/${'b'.repeat(991)}`]],
  ['KITH_AUDIENCE', ['a b', 'a'.repeat(201)]],
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
  ['KITH_MAIL_FROM', ['accounts', '@a', 'a b@c', 'a@b, c@d', '"a" <a@b>', 'A <a@b> <c@d>', 'a@b <c@d>']],
  ['KITH_MAIL_LANGUAGE', ['EN', 'fr', 'en-GB']],
  ['KITH_SERVICE_NAME', ['x'.repeat(101)]],
  ['KITH_SIGN_UP', ['Open', 'true', 'invitations']],
  ['KITH_SIGN_UP_DOMAINS', ['@example.org', 'example.org,', '*.example.org', 'a b', 'ex_ample.org', 'bücher.example']],
  ['KITH_LOGIN_CODES', ['TRUE', 'yes', '1', '0']],
  ['KITH_PURGE_AFTER_DAYS', ['0', '3651']],
  [
    'KITH_CORS_ORIGINS',
    ['*', 'null', 'https://a/', 'https://A', 'https://a:443', 'https://a,b', 'a.example', 'https://u@a'],
  ],
  ['KITH_REFLECTION', ['TRUE', 'yes', '1', '0']],
  [
    'KITH_CONSOLE',
    [
      'false',
      '/',
      '//',
      'console',
      '/Console/',
      '/a.b/',
      '/a/../b/',
      '/readyz',
      '/healthz/',
      '/%63/',
      `/${'a/'.repeat(9)}`,
    ],
  ],
  ['KITH_ACCOUNT', ['false', '/', 'account', '/Account/', '/a.b/', '/readyz']],
  [
    'KITH_ACCOUNT_URL',
    ['account', '/account/', 'ftp://a/', 'https://', 'https://u@a/', 'https://a/?b', 'https://a/#b', 'javascript:a//'],
  ],
  ['KITH_ACCOUNT_HOME_URL', ['app', '//a', '/\\a', 'javascript:alert(1)', 'data:,', 'https://', 'https://a/"', '/a b']],
  [
    'KITH_ACCOUNT_LOGO_URL',
    ['logo.svg', '//a/b', 'data:image/png,', 'https://a', 'https://a/b;c', 'https://a/b?c', "/'"],
  ],
  ['KITH_ACCOUNT_COLOR', ['red', '#fff', '4338ca', '#4338cg', '#4338ca;}', 'rgb(0,0,0)']],
  ['KITH_MESSAGE_BYTES', ['65535', '67108865']],
  ['KITH_CONNECTIONS', ['9', '1000001']],
  ['KITH_WATCHES_PER_CALLER', ['0', '100001']],
  ['KITH_WATCHES', ['0', '1000001']],
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
  ['KITH_ADMIN_PASSWORD', ['seven c', 'x'.repeat(129), 'Admin@Localhost', 'Administrator', 'x'.repeat(20)]],
  [
    'KITH_SECRET_KEY',
    ['c2hvcnQ=', Buffer.alloc(31).toString('base64'), Buffer.alloc(33).toString('base64'), 'ff'.repeat(32)],
  ],
  [
    'KITH_SMTP_URL',
    [
      'mail.example:587',
      'http://mail.example',
      'smtp://mail.example/path',
      'smtp://mail.example?pool=true',
      'smtp://kith@mail.example',
      'smtp://:secret@mail.example',
      'smtp://kith:%zz@mail.example',
      'smtp://kith:%ff@mail.example',
    ],
  ],
] as const)('%s is refused without being shown', (name, values) => {
  for (const value of values) {
    const problems = problemsOf({ [name]: value });
    expect(problems).toEqual([`${name}: the value is not allowed; it must be ${SETTINGS[name].allowed}`]);
    expect(problems.join()).not.toContain(value);
  }
});

describe('a webhook for mails', () => {
  const url = 'https://mailer.example.org/kith?key=hidden';
  const secretOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 'hook').toString('base64')}`;

  test('has a URL and one secret, or two', () => {
    expect(
      parseConfig({ KITH_MAIL_WEBHOOK_URL: url, KITH_MAIL_WEBHOOK_SECRET: `${secretOf(24)} ${secretOf(64)}` }).mail
        .webhook,
    ).toEqual({ url, secrets: [Buffer.alloc(24, 'hook'), Buffer.alloc(64, 'hook')] });
  });

  test.each<[Record<string, string>, string[]]>([
    [{ KITH_MAIL_WEBHOOK_URL: url }, ['KITH_MAIL_WEBHOOK_SECRET: must be set as well as KITH_MAIL_WEBHOOK_URL']],
    [
      { KITH_MAIL_WEBHOOK_SECRET: secretOf(32) },
      ['KITH_MAIL_WEBHOOK_URL: must be set as well as KITH_MAIL_WEBHOOK_SECRET'],
    ],
    [
      {
        KITH_MAIL_WEBHOOK_URL: url,
        KITH_MAIL_WEBHOOK_SECRET: secretOf(32),
        KITH_SMTP_URL: 'smtp://mail.example',
      },
      ['KITH_MAIL_WEBHOOK_URL: is set, and so is KITH_SMTP_URL: set one of them'],
    ],
    ...[
      'mailer.example.org',
      'ftp://mailer.example.org/',
      'https://kith:hidden@mailer.example.org/',
      '/kith',
      `${url}#x`,
    ].map((wrong): [Record<string, string>, string[]] => [
      { KITH_MAIL_WEBHOOK_URL: wrong, KITH_MAIL_WEBHOOK_SECRET: secretOf(32) },
      [`KITH_MAIL_WEBHOOK_URL: the value is not allowed; it must be ${SETTINGS.KITH_MAIL_WEBHOOK_URL.allowed}`],
    ]),
    ...[
      secretOf(23),
      secretOf(65),
      secretOf(32).slice('whsec_'.length),
      `${secretOf(32)}!`,
      Array.from({ length: 3 }, () => secretOf(32)).join(' '),
    ].map((wrong): [Record<string, string>, string[]] => [
      { KITH_MAIL_WEBHOOK_URL: url, KITH_MAIL_WEBHOOK_SECRET: wrong },
      [`KITH_MAIL_WEBHOOK_SECRET: the value is not allowed; it must be ${SETTINGS.KITH_MAIL_WEBHOOK_SECRET.allowed}`],
    ]),
  ])('is refused when it is not complete or not one, without being shown: %j', (env, problems) => {
    expect(problemsOf(env)).toEqual(problems);
  });
});

test.each([{ KITH_ACCOUNT: '/console' }, { KITH_ACCOUNT: '/console/account' }, { KITH_CONSOLE: '/account/console' }])(
  'the account pages and the console cannot be at one path, or one below the other: %j',
  (env) => {
    expect(problemsOf(env)).toEqual([
      expect.stringMatching(/^KITH_ACCOUNT: must be a path beside that of KITH_CONSOLE/),
    ]);
  },
);

test.each([
  [{}, 'http://localhost:8080/account/'],
  [{ KITH_ISSUER: 'https://id.example.org/kith' }, 'https://id.example.org/account/'],
  [{ KITH_ACCOUNT: '/me' }, 'http://localhost:8080/me/'],
  [{ KITH_ACCOUNT_URL: 'https://example.org/account' }, 'https://example.org/account/'],
  [{ KITH_ACCOUNT: 'off', KITH_ACCOUNT_URL: 'https://example.org/account' }, 'https://example.org/account/'],
  [{ KITH_ACCOUNT: 'off' }, undefined],
])('links in mails lead where the settings say: %j', (env, url) => {
  expect(parseConfig(env).account.url).toBe(url);
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
  ['fe80::1%lo', 'http://[fe80::1%25lo]:80'],
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

test('settings are told with where they come from, and nothing of secrets', () => {
  using directory = mkdtempDisposableSync(join(tmpdir(), 'settings-'));
  const inFile = (name: string, text: string) => {
    writeFileSync(join(directory.path, name), text);
    return join(directory.path, name);
  };
  const secretKey = Buffer.alloc(32, 'hidden').toString('base64');
  const databaseUrl = 'postgres://ada:hidden1@db.example.org:5433/kith?password=hidden2&options=hidden3\n';
  const given = {
    KITH_DATABASE_URL_FILE: inFile('url', databaseUrl),
    KITH_SECRET_KEY_FILE: inFile('key', secretKey),
    KITH_ADMIN_PASSWORD: 'hidden admin password',
    KITH_SMTP_URL: 'smtps://ada:hidden4@mail.example.org:465',
    KITH_ISSUER: 'https://hidden@name:hidden5@id.example.org/a@b',
    KITH_LOG_LEVEL: ' warn ',
    KITH_WORKERS: '',
    KITH_SIGN_UP: 'open',
    KITH_PORT: 'tcp://10.96.14.7:8080',
  };
  const env = { ...given, KITH_PORT: '9000', KITH_SIGN_UP: 'open', KITH_ACTIVITY_DAYS: '90' };
  const { settings } = parseConfig(env, given);
  const shown = Object.fromEntries(settings.map((setting) => [setting.name, setting]));
  expect(settings.map(({ name }) => name)).toEqual(Object.keys(SETTINGS));
  expect(JSON.stringify(settings)).not.toMatch(/hidden/);
  expect(JSON.stringify(settings)).not.toContain(secretKey);
  expect(shown).toMatchObject({
    KITH_DATABASE_URL: {
      source: 'file',
      filePath: given.KITH_DATABASE_URL_FILE,
      value: 'postgres://db.example.org:5433/kith',
      defaultValue: 'sqlite:./data/kith.db',
    },
    KITH_SECRET_KEY: { source: 'file', isSecret: true, value: '', filePath: given.KITH_SECRET_KEY_FILE },
    KITH_ADMIN_PASSWORD: { source: 'environment', isSecret: true, value: '', filePath: '' },
    KITH_SMTP_URL: { source: 'environment', isSecret: true, value: '' },
    KITH_MAIL_WEBHOOK_URL: { source: 'default', isSecret: true, value: '' },
    KITH_ISSUER: { value: 'https://...@id.example.org/a@b' },
    KITH_LOG_LEVEL: { source: 'environment', value: 'warn', defaultValue: 'info', section: 'logs' },
    KITH_WORKERS: { source: 'default', value: '1', section: 'server' },
    KITH_SIGN_UP: { source: 'environment', value: 'open', section: 'signUp' },
    KITH_PORT: { source: 'dotEnv', value: '9000' },
    // As it would be without the line, and yet somebody has written it.
    KITH_ACTIVITY_DAYS: { source: 'dotEnv', value: '90', defaultValue: '90' },
  });
});
