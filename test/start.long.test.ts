import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SETTINGS } from '../src/config/config.ts';
import { databases } from './support/databases.ts';
import { grpc, refusalOf } from './support/kith.ts';
import { type Exit, type ProcessOptions, probe, spawnKith, startProcess } from './support/process.ts';
import { foreignDatabases, fromTheFuture, lockDatabase, overwritePages } from './support/spoilt-databases.ts';
import { signedIn } from './support/sign-in.ts';

const CERT = fileURLToPath(new URL('./fixtures/tls/localhost-cert.pem', import.meta.url));
const KEY = fileURLToPath(new URL('./fixtures/tls/localhost-key.pem', import.meta.url));
const PASSWORD = 'the password of a test';

/** Somebody who is not the superuser, to whom permissions apply. */
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kith-start-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a start to its end. */
async function endOf(options: ProcessOptions): Promise<Exit> {
  await using kith = await spawnKith(options);
  return await kith.exited;
}

/** A start that failed said so in so many lines on standard error, without a stack, and nothing else. */
function expectRefusal({ code, stdout, stderr }: Exit, ...lines: (string | RegExp)[]): void {
  expect(code).toBeGreaterThan(0);
  expect(stdout).toBe('');
  expect(stderr.trimEnd().split('\n')).toEqual(
    lines.map((line) => expect.stringMatching(typeof line === 'string' ? RegExp.escape(`kith: ${line}`) : line)),
  );
}

async function signIn(address: string, password: string): Promise<string> {
  return (await signedIn(createClient(AuthService, grpc(address)).login({ identifier: 'admin', password })))
    .accessToken;
}

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

describe('what Node compiles', () => {
  const keptIn = async (directory: string) => {
    const env = { XDG_CACHE_HOME: directory };
    await endOf({ env, args: ['--version'], command: ['env', '-u', 'NODE_COMPILE_CACHE'] });
    const files = await readdir(join(directory, 'kith/compiled'), { recursive: true });
    return files.length;
  };

  test('is kept in a folder that is the user’s alone', async () => {
    const directory = await newDirectory();
    expect(await keptIn(directory)).toBeGreaterThan(0);
    expect(await modeOf(join(directory, 'kith/compiled'))).toBe(0o700);
  });

  test('is not kept, nor read, where others may write', async () => {
    const directory = await newDirectory();
    await mkdir(join(directory, 'kith/compiled'), { recursive: true });
    await chmod(join(directory, 'kith/compiled'), 0o777);
    expect(await keptIn(directory)).toBe(0);
  });
});

describe('the first start', () => {
  test('makes the database and the administrator, and says how to sign in once, to people alone', async () => {
    const directory = await newDirectory();
    await using first = await startProcess({ directory });
    const lines = first.stderr.split('\n').filter(Boolean);
    expect(lines[0]).toBe(`Kith ${packageJson.version} serves gRPC, gRPC-Web and Connect at ${first.address}`);
    const [, password = ''] = (await first.stderrMatching(/"admin", the password \(shown only now\): (\S+)/)) ?? [];
    await first.stderrMatching(/\n\n$/);
    expect(password.length).toBeGreaterThanOrEqual(20);
    expect(first.stdout).not.toContain(password);
    expect(await signIn(first.address, password)).not.toBe('');

    const curl = first.stderr.slice(first.stderr.indexOf('  curl '));
    const { stdout } = await promisify(execFile)('sh', ['-ec', curl]);
    expect(JSON.parse(stdout)).toMatchObject({ signedIn: { user: { username: 'admin', role: 'ROLE_ADMIN' } } });

    expect((await readdir(join(directory, 'data'))).toSorted()).toEqual([
      'kith.db',
      'kith.db-shm',
      'kith.db-wal',
      'kith.db.key',
      'kith.db.lock',
    ]);
    expect(await modeOf(join(directory, 'data'))).toBe(0o700);
    const files = await readdir(join(directory, 'data'));
    expect(await Promise.all(files.map((file) => modeOf(join(directory, 'data', file))))).toEqual(
      files.map(() => 0o600),
    );
    first.kill('SIGTERM');
    await first.exited;

    await using second = await startProcess({ directory });
    expect(second.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(await signIn(second.address, password)).not.toBe('');
  });

  test('takes the password it is given, which its curl line does not show, and a later start does not', async () => {
    const directory = await newDirectory();
    await using first = await startProcess({ directory, env: { KITH_ADMIN_PASSWORD: `it's "${PASSWORD}"` } });
    await first.stderrMatching(/the password is the one in KITH_ADMIN_PASSWORD[^]*\n\n$/);
    expect(first.stderr + first.stdout).not.toContain(PASSWORD);
    expect(await signIn(first.address, `it's "${PASSWORD}"`)).not.toBe('');
    first.kill('SIGTERM');
    await first.exited;

    await using second = await startProcess({ directory, env: { KITH_ADMIN_PASSWORD: 'another password' } });
    const refusal = await refusalOf(signIn(second.address, 'another password'));
    expect(refusal).toMatchObject({ code: 'Unauthenticated', reason: 'CREDENTIALS_INVALID' });
  });

  test('its curl line takes a given password from the environment', async () => {
    await using kith = await startProcess({ env: { KITH_ADMIN_PASSWORD: PASSWORD } });
    await kith.stderrMatching(/\n\n$/);
    const curl = kith.stderr.slice(kith.stderr.indexOf('  curl '));
    const { stdout } = await promisify(execFile)('sh', ['-ec', curl], {
      env: { ...process.env, KITH_ADMIN_PASSWORD: PASSWORD },
    });
    expect(JSON.parse(stdout)).toMatchObject({ signedIn: { user: { username: 'admin' } } });
  });

  test('of several processes at once makes one administrator, on PostgreSQL', async () => {
    await using database = await databases[1]!.createEmpty();
    await using stack = new AsyncDisposableStack();
    const env = { ...database.env };
    const processes = await Promise.all([1, 2, 3].map(async () => stack.use(await startProcess({ env }))));
    const password = /shown only now\): (\S+)/;
    const told = await Promise.all(
      processes.map(async ({ stderr, stderrMatching }) => {
        if (stderr.includes('administrator')) await stderrMatching(password);
        return stderr;
      }),
    );
    const passwords = told.map((stderr) => password.exec(stderr)?.[1]).filter((found) => found !== undefined);
    expect(passwords).toHaveLength(1);
    for (const { address } of processes) expect(await signIn(address, passwords[0]!)).not.toBe('');
    expect(await database.faults()).toEqual([]);
  });

  test('serves TLS with a certificate', async () => {
    await using kith = await startProcess({ env: { KITH_TLS_CERT: CERT, KITH_TLS_KEY: KEY } });
    expect(kith.address).toMatch(/^https:\/\/localhost:\d+$/);
    expect(await probe(`${kith.address}/healthz`)).toMatchObject({ status: 200 });
  });
});

describe('settings', () => {
  test('are read from .env where the environment has none', async () => {
    const directory = await newDirectory();
    await writeFile(
      join(directory, '.env'),
      `KITH_ADMIN_PASSWORD="${PASSWORD}"\nKITH_PORT=not read\nKITH_LOG_LEVEL=silent\n`,
    );
    await using kith = await startProcess({ directory });
    expect(kith.stdout).toBe('');
    expect(await signIn(kith.address, PASSWORD)).not.toBe('');
  });

  test('are read from a .env with a byte order mark and line ends of Windows', async () => {
    const directory = await newDirectory();
    await writeFile(join(directory, '.env'), '\uFEFFKITH_DATABASE_URL=sqlite:./mine.db\r\nKITH_LOG_LEVEL=silent\r\n');
    await using kith = await startProcess({ directory });
    expect(kith.stdout).toBe('');
    expect(await readdir(directory)).toContain('mine.db');
  });

  test('are read from files where they are secret, which are not shown', async () => {
    const directory = await newDirectory();
    await writeFile(join(directory, 'password'), `${PASSWORD}\n`);
    await writeFile(join(directory, 'url'), 'sqlite:./mine.db\n');
    const env = { KITH_ADMIN_PASSWORD_FILE: 'password', KITH_DATABASE_URL_FILE: join(directory, 'url') };
    await using kith = await startProcess({ directory, env });
    await kith.stderrMatching(/the password is the one in the file of KITH_ADMIN_PASSWORD_FILE[^]*\n\n$/);
    expect(kith.stderr + kith.stdout).not.toContain(PASSWORD);
    expect(await readdir(directory)).toContain('mine.db');
    const curl = kith.stderr.slice(kith.stderr.indexOf('  curl '));
    const { stdout } = await promisify(execFile)('sh', ['-ec', curl], {
      cwd: directory,
      env: { ...process.env, KITH_ADMIN_PASSWORD_FILE: 'password' },
    });
    expect(JSON.parse(stdout)).toMatchObject({ signedIn: { user: { username: 'admin' } } });
  });

  test('are found among what Kubernetes makes for a Service called kith, of which one line tells', async () => {
    const directory = await newDirectory();
    await writeFile(join(directory, '.env'), 'KITH_PORT=0\n');
    const env = {
      KITH_SERVICE_HOST: '10.96.14.7',
      KITH_SERVICE_PORT: '8080',
      KITH_SERVICE_PORT_GRPC: '8080',
      KITH_PORT: 'tcp://10.96.14.7:8080',
      KITH_PORT_8080_TCP: 'tcp://10.96.14.7:8080',
      KITH_PORT_8080_TCP_ADDR: '10.96.14.7',
      KITH_POSTGRES_PORT: 'tcp://10.96.14.8:5432',
    };
    await using kith = await startProcess({ directory, env });
    const lines = kith.stderr.split('\n').filter((line) => line.includes('KITH_'));
    expect(lines).toEqual([
      expect.stringMatching(/^kith: passes over what Kubernetes or Docker set for a service called kith: KITH_/),
    ]);
    for (const name of Object.keys(env)) expect(lines[0]).toContain(` ${name}`);
    expect(new URL(kith.address).port).not.toBe('8080');
    const misspelt = await endOf({ directory, env: { ...env, KITH_PROT: '8080' } });
    expect(misspelt).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('KITH_PROT: there is no such setting'),
    });
  });

  test.each(['--help', '--version'])('%s answers and does not start', async (option) => {
    const directory = await newDirectory();
    const env = { KITH_PORT: 'not a port' };
    const { code, stdout, stderr } = await endOf({ directory, args: [option], env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const expected = option === '--help' ? Object.keys(SETTINGS) : [packageJson.version];
    for (const text of expected) expect(stdout).toContain(text);
    expect(await readdir(directory)).toEqual([]);
  });

  test.each([
    [['--port=1'], /^kith: Unknown option '--port'; see npm start -- --help$/],
    [['--help=yes'], /^kith: Option '--help' does not take an argument; see npm start -- --help$/],
  ])('the argument %s is refused', async (args, line) => {
    expectRefusal(await endOf({ args }), line);
  });
});

describe('a start that cannot be ends with one clear line', () => {
  const secret = 'not to be shown';
  const tls = { KITH_TLS_CERT: CERT, KITH_TLS_KEY: KEY };

  test.each<[name: string, env: Record<string, string>, lines: (string | RegExp)[]]>([
    ['an unknown name', { KITH_PROT: '8080' }, ['KITH_PROT: there is no such setting; npm start -- --help lists them']],
    [
      'a port that is no number',
      { KITH_PORT: 'http' },
      ['KITH_PORT: "http" is not allowed; it must be a whole number from 0 to 65535'],
    ],
    ['a port out of range', { KITH_PORT: '65536' }, [/KITH_PORT: "65536" is not allowed/]],
    ['a host with a scheme', { KITH_HOST: 'http://localhost' }, [/KITH_HOST: "http:\/\/localhost" is not allowed/]],
    ['a host with a port', { KITH_HOST: 'kith.local:8080' }, [/KITH_HOST: "kith.local:8080" is not allowed/]],
    ['a host that is not here', { KITH_HOST: '192.0.2.1' }, [/^kith: cannot listen: .*192\.0\.2\.1; see KITH_HOST/]],
    [
      'a certificate without a key',
      { KITH_TLS_CERT: CERT },
      ['KITH_TLS_KEY: must be set as well as KITH_TLS_CERT, to serve TLS'],
    ],
    ['a key without a certificate', { KITH_TLS_KEY: KEY }, ['KITH_TLS_CERT: must be set as well as KITH_TLS_KEY']],
    [
      'a certificate that is not there',
      { ...tls, KITH_TLS_CERT: '/no/such' },
      [/KITH_TLS_CERT: "\/no\/such" is not al/],
    ],
    [
      'a certificate that is none',
      { ...tls, KITH_TLS_CERT: KEY },
      [/KITH_TLS_CERT: ".*" .* a certificate chain in PEM/],
    ],
    [
      'a key that is none',
      { ...tls, KITH_TLS_KEY: CERT },
      [/KITH_TLS_KEY: ".*" .* a private key without a passphrase/],
    ],
    [
      'a database of a kind that there is not',
      { KITH_DATABASE_URL: 'mysql://localhost' },
      [/KITH_DATABASE_URL: "mysql:\/\/localhost" is not allowed; it must be /],
    ],
    [
      'secrets that are too short',
      { KITH_ADMIN_PASSWORD: secret.slice(0, 7), KITH_SECRET_KEY: secret },
      ['KITH_ADMIN_PASSWORD: the value is not allowed; it must be 8', 'KITH_SECRET_KEY: the value is not allowed'],
    ],
    [
      'an origin with a path',
      { KITH_CORS_ORIGINS: 'https://a.example/' },
      [/KITH_CORS_ORIGINS: "https:\/\/a.example\/" is/],
    ],
    [
      'several problems at once',
      { KITH_PORT: '-1', KITH_TLS_CERT: CERT, KITH_LOG_LEVEL: 'loud', KITH_HOTS: 'x' },
      [/KITH_HOTS/, /KITH_PORT/, /KITH_TLS_KEY/, /KITH_LOG_LEVEL: "loud" is not allowed; it must be trace, debug/],
    ],
  ])('for %s', async (name, env, lines) => {
    const directory = await newDirectory();
    const end = await endOf({ directory, env });
    expectRefusal(end, ...lines);
    expect(end.stderr).not.toContain(secret.slice(0, 7));
    expect(await readdir(directory)).toEqual(name === 'a host that is not here' ? ['data'] : []);
  });

  test('for a port in use, and the next start still tells the password', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void other.close());
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const directory = await newDirectory();
    const end = await endOf({ directory, env: { KITH_PORT: String(port), KITH_LOG_LEVEL: 'silent' } });
    expectRefusal(end, new RegExp(`^kith: cannot listen: .*EADDRINUSE.*:${port}; see KITH_HOST and KITH_PORT$`));
    await using kith = await startProcess({ directory });
    expect(kith.stderr).toContain('shown only now');
  });

  test('for a key of another certificate', async () => {
    const directory = await newDirectory();
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(join(directory, 'other.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    expectRefusal(
      await endOf({ directory, env: { KITH_TLS_CERT: CERT, KITH_TLS_KEY: 'other.pem' } }),
      'KITH_TLS_KEY: "other.pem" is not allowed; it must be the private key of the certificate in KITH_TLS_CERT',
    );
  });

  test.each<[string, string | Buffer, string]>([
    ['in UTF-16', Buffer.from('\uFEFFKITH_PORT=1', 'utf16le'), '.env, line 1: the file is UTF-16: save it as UTF-8'],
    ['with a colon', '# Kith\nKITH_PORT: 1', '.env, line 2: must be NAME=VALUE'],
  ])('for a .env %s', async (_, content, line) => {
    const directory = await newDirectory();
    await writeFile(join(directory, '.env'), content);
    const end = await endOf({ directory });
    expectRefusal(end, line);
    expect(end.code).toBe(78);
    expect(await readdir(directory)).toEqual(['.env']);
  });

  test('for a .env that cannot be read', async () => {
    const directory = await newDirectory();
    await mkdir(join(directory, '.env'));
    expectRefusal(await endOf({ directory }), '.env: is not a file that can be read');
  });
});

describe('a database that cannot be used ends the start with one clear line', () => {
  /** A working directory with a database that was served and closed. */
  let served: string;

  beforeAll(async () => {
    served = await mkdtemp(join(tmpdir(), 'kith-served-'));
    await using kith = await startProcess({ directory: served, env: { KITH_ADMIN_PASSWORD: PASSWORD } });
    kith.kill('SIGTERM');
    await kith.exited;
  });
  afterAll(() => rm(served, { recursive: true, force: true }));

  async function copyOfServed(): Promise<{ directory: string; file: string; key: string }> {
    const directory = await newDirectory();
    await cp(served, directory, { recursive: true });
    const file = join(directory, 'data', 'kith.db');
    return { directory, file, key: `${file}.key` };
  }

  test('random bytes', async () => {
    const { directory, file } = await copyOfServed();
    await writeFile(file, Buffer.alloc(8192, 'no database'));
    expectRefusal(await endOf({ directory }), 'sqlite:./data/kith.db: the file is not a SQLite database');
    expect(await readFile(file)).toEqual(Buffer.alloc(8192, 'no database'));
  });

  test('a damaged file', async () => {
    const { directory, file } = await copyOfServed();
    await overwritePages(file);
    expectRefusal(await endOf({ directory }), /the database file is damaged: restore a backup/);
  });

  test('a file cut short', async () => {
    const { directory, file } = await copyOfServed();
    const handle = await open(file, 'r+');
    await handle.truncate((await handle.stat()).size >> 1);
    await handle.close();
    expectRefusal(await endOf({ directory }), /the database file is damaged: restore a backup/);
  });

  test.each(foreignDatabases)('$name, which is left as it is', async ({ write }) => {
    const directory = await newDirectory();
    const file = join(directory, 'other.db');
    write(file);
    const before = await readFile(file);
    const end = await endOf({ directory, env: { KITH_DATABASE_URL: 'sqlite:other.db' } });
    expectRefusal(end, 'sqlite:other.db: the file is a database of another program');
    expect(await readFile(file)).toEqual(before);
    expect(await readdir(directory)).toEqual(['other.db']);
  });

  test('one of a newer version', async () => {
    const { directory, file } = await copyOfServed();
    fromTheFuture(file);
    expectRefusal(
      await endOf({ directory }),
      /written by a newer version of Kith \(it has 9999-future\): use that version/,
    );
  });

  test('one that another process has locked, until it lets go', async () => {
    const { directory, file } = await copyOfServed();
    const lock = await lockDatabase(file);
    expectRefusal(await endOf({ directory }), 'sqlite:./data/kith.db: another process holds the file locked');
    lock[Symbol.dispose]();
    await using kith = await startProcess({ directory });
    expect(await signIn(kith.address, PASSWORD)).not.toBe('');
  });

  test('a directory', async () => {
    const directory = await newDirectory();
    await mkdir(join(directory, 'data', 'kith.db'), { recursive: true });
    expectRefusal(await endOf({ directory }), /^kith: sqlite:\.\/data\/kith\.db: EISDIR/);
  });

  test('a pipe, which would be waited for', async () => {
    const directory = await newDirectory();
    await promisify(execFile)('mkfifo', [join(directory, 'pipe')]);
    const end = await endOf({ directory, env: { KITH_DATABASE_URL: 'sqlite:pipe' } });
    expectRefusal(end, 'sqlite:pipe: this is not a file');
  });

  test('a path through a file', async () => {
    const directory = await newDirectory();
    await writeFile(join(directory, 'data'), '');
    expectRefusal(await endOf({ directory }), /^kith: sqlite:\.\/data\/kith\.db: E\w+: /);
  });

  test.skipIf(!isRoot)('an unwritable place', async () => {
    const directory = await newDirectory();
    await chmod(directory, 0o755);
    expectRefusal(
      await endOf({ directory, uid: NOBODY }),
      /^kith: sqlite:\.\/data\/kith\.db: EACCES: permission denied, mkdir/,
    );
  });

  test.skipIf(!isRoot)('a file that may only be read', async () => {
    const { directory, file } = await copyOfServed();
    for (const path of [directory, join(directory, 'data')]) await chmod(path, 0o777);
    await chmod(file, 0o444);
    expectRefusal(
      await endOf({ directory, uid: NOBODY }),
      /^kith: sqlite:\.\/data\/kith\.db: EACCES: permission denied/,
    );
  });

  test.skipIf(!isRoot)('a directory that may only be read', async () => {
    const { directory, file, key } = await copyOfServed();
    for (const path of [directory, join(directory, 'data')]) await chmod(path, 0o755);
    for (const path of [file, key]) await chmod(path, 0o666);
    expectRefusal(await endOf({ directory, uid: NOBODY }), /: the file and its directory must be writable$/);
  });

  test('a missing key file, until it is back', async () => {
    const { directory, key } = await copyOfServed();
    const secret = await readFile(key);
    await rm(key);
    expectRefusal(
      await endOf({ directory }),
      './data/kith.db.key is missing, which the database was made with: restore it',
    );
    await writeFile(key, secret);
    await using kith = await startProcess({ directory });
    expect(await signIn(kith.address, PASSWORD)).not.toBe('');
  });

  test.each([
    [
      'another key file',
      (secret: string) => Buffer.from(secret, 'base64').toReversed().toBase64(),
      /is not the one that/,
    ],
    ['a key file that holds no key', () => 'no key', /kith\.db\.key must hold 32 bytes in base64: restore it$/],
    ['an empty key file', () => '', /kith\.db\.key must hold 32 bytes in base64: restore it$/],
  ])('%s', async (_, spoil, line) => {
    const { directory, key } = await copyOfServed();
    const secret = await readFile(key, 'utf8');
    await writeFile(key, spoil(secret));
    const end = await endOf({ directory });
    expectRefusal(end, line);
    expect(end.stderr).not.toContain(secret.trim());
  });

  test('the wrong KITH_SECRET_KEY, and the right one does without the file', async () => {
    const { directory, key } = await copyOfServed();
    const secret = (await readFile(key, 'utf8')).trim();
    await rm(key);
    const wrong = Buffer.alloc(32, 'wrong').toString('base64');
    const end = await endOf({ directory, env: { KITH_SECRET_KEY: wrong } });
    expectRefusal(end, /the secret key is not the one that the database was made with: restore/);
    expect(end.stderr).not.toContain(wrong);
    await using kith = await startProcess({ directory, env: { KITH_SECRET_KEY: secret } });
    expect(await signIn(kith.address, PASSWORD)).not.toBe('');
    expect(await readdir(join(directory, 'data'))).not.toContain('kith.db.key');
  });
});
