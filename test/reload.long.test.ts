import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import { createClient } from '@connectrpc/connect';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Health } from '../gen/health/v1/health_pb.ts';
import { parseConfig } from '../src/config/config.ts';
import { Reloads } from '../src/config/reload.ts';
import { startServer } from '../src/server.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, grpc } from './support/kith.ts';
import { type KithProcess, probe, type ServingProcess, startProcess } from './support/process.ts';
import { freePort } from './support/free-port.ts';

const FIXTURES = resolve('test/fixtures/tls');
const PATIENCE = { timeout: 50_000, interval: 20 };

async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kith-reload-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Puts one of the two certificates and its key where the server reads them. */
async function install(directory: string, name: 'localhost' | 'renewed'): Promise<void> {
  for (const kind of ['cert', 'key']) {
    await copyFile(join(FIXTURES, `${name}-${kind}.pem`), join(directory, `new-${kind}.pem`));
    await rename(join(directory, `new-${kind}.pem`), join(directory, `${kind}.pem`));
  }
}

const tlsIn = (directory: string) => ({
  KITH_TLS_CERT: join(directory, 'cert.pem'),
  KITH_TLS_KEY: join(directory, 'key.pem'),
});

/** The name in the certificate that a new connection is shown. */
async function shownBy(address: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const socket = connectTls({ port: Number(new URL(address).port), host: 'localhost', rejectUnauthorized: false });
  socket
    .setTimeout(2000, () => socket.destroy())
    .on('error', reject)
    .on('close', () => reject(new Error('closed without a certificate')))
    .on('secureConnect', () => resolve(socket.getPeerCertificate().subject.CN));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** What /healthz answers on a connection that is there already. */
async function healthOver(session: ClientHttp2Session): Promise<unknown> {
  const stream = session.request({ ':path': '/healthz' });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  stream.close();
  return headers[':status'];
}

function openSession(address: string): ClientHttp2Session {
  const session = connectHttp2(address, { rejectUnauthorized: false });
  session.on('error', () => {}); // the server may be killed at the end
  onTestFinished(() => session.destroy());
  return session;
}

/** A successful call, which is logged if successful calls are. */
const call = (address: string): Promise<unknown> => createClient(Health, grpc(address)).check({});

const callsIn = (kith: KithProcess) => kith.stdout.split('\n').filter((line) => line.includes('"msg":"call"')).length;

describe('SIGHUP', () => {
  test('has the log level of .env read again, names what only a start takes, and ends nothing', async () => {
    const directory = await newDirectory();
    const env = join(directory, '.env');
    await writeFile(env, 'KITH_LOG_LEVEL=warn\nKITH_AUDIENCE=a\n');
    await using kith = await startProcess({ directory });
    await call(kith.address);
    await writeFile(env, 'KITH_LOG_LEVEL=info\nKITH_AUDIENCE=b\n');
    kith.kill('SIGHUP');
    await kith.stderrMatching(/^kith: read its settings again .*; what changes with the next start: KITH_AUDIENCE$/m);
    await call(kith.address);
    await vi.waitFor(() => expect(callsIn(kith)).toBe(1), PATIENCE);

    await writeFile(env, 'KITH_LOG_LEVEL=loud\n');
    kith.kill('SIGHUP');
    await kith.stderrMatching(/^kith: goes on as it was.*\nkith: KITH_LOG_LEVEL: "loud" is not allowed/m);
    await writeFile(env, 'KITH_LOG_LEVEL: warn\n');
    kith.kill('SIGHUP');
    await kith.stderrMatching(/^kith: \.env, line 1: must be NAME=VALUE$/m);
    await rm(env);
    kith.kill('SIGHUP');
    await kith.stderrMatching(/next start: KITH_AUDIENCE$[^]*next start: KITH_AUDIENCE$/m);
    await call(kith.address);
    await vi.waitFor(() => expect(callsIn(kith)).toBe(2), PATIENCE);
    kith.kill('SIGTERM');
    expect(await kith.exited).toMatchObject({ code: 0 });
  });

  test('has the certificate read again, for new connections, and keeps those that are open', async () => {
    const directory = await newDirectory();
    await install(directory, 'localhost');
    await using kith = await startProcess({ env: tlsIn(directory) });
    const session = openSession(kith.address);
    expect(await healthOver(session)).toBe(200);
    expect(await shownBy(kith.address)).toBe('localhost');

    await copyFile(join(FIXTURES, 'renewed-cert.pem'), join(directory, 'cert.pem'));
    kith.kill('SIGHUP');
    await kith.stderrMatching(/KITH_TLS_KEY: .* must be the private key of the certificate in KITH_TLS_CERT/);
    expect(await shownBy(kith.address)).toBe('localhost');

    await install(directory, 'renewed');
    kith.kill('SIGHUP');
    await kith.stderrMatching(/read its settings again/);
    expect(await shownBy(kith.address)).toBe('renewed');
    expect(await healthOver(session)).toBe(200);
    expect(kith.stderr).not.toContain('PRIVATE KEY');
  });

  test('reaches every worker, and those that are started later', async () => {
    const directory = await newDirectory();
    await install(directory, 'localhost');
    await using database = await databases[1]!.create();
    await writeFile(join(directory, '.env'), 'KITH_WORKERS=2\n');
    // The port is kept when no worker is left for a moment.
    const env = {
      ...database.env,
      ...tlsIn(directory),
      KITH_DATABASE_CONNECTIONS: '2',
      KITH_PORT: String(await freePort()),
    };
    await using kith = await startProcess({ directory, env });
    await vi.waitFor(() => expect(kith.stdout.match(/Server listening/g)).toHaveLength(2), PATIENCE);
    await call(kith.address);
    await vi.waitFor(() => expect(callsIn(kith)).toBe(1), PATIENCE);

    await install(directory, 'renewed');
    await writeFile(join(directory, '.env'), 'KITH_WORKERS=2\nKITH_LOG_LEVEL=warn\n');
    const before = await childrenOf(kith);
    for (const pid of before) process.kill(pid, 'SIGHUP'); // as a terminal does, and to no effect
    kith.kill('SIGHUP');
    await kith.stderrMatching(/read its settings again and uses their log level, certificate and mail templates$/m);
    // Connections go to the workers in turn.
    const shown = async () => [await shownBy(kith.address), await shownBy(kith.address)];
    await vi.waitFor(async () => expect(await shown()).toEqual(['renewed', 'renewed']), PATIENCE);
    await call(kith.address);
    expect(await childrenOf(kith)).toEqual(before);

    for (const pid of before) process.kill(pid, 'SIGKILL');
    await vi.waitFor(async () => expect(await shown()).toEqual(['renewed', 'renewed']), PATIENCE);
    await call(kith.address);
    kith.kill('SIGTERM');
    await kith.exited;
    expect(callsIn(kith)).toBe(1);
  }, 120_000);
});

test('a certificate whose files are replaced is used without a signal, once both are there', async () => {
  await using database = await databases[0]!.create();
  const directory = await newDirectory();
  // As Kubernetes mounts a Secret: the files are links into a directory that is a link.
  for (const name of ['localhost', 'renewed'] as const) await mkdirWith(join(directory, name), name);
  await symlink('localhost', join(directory, '..data'));
  for (const file of ['cert.pem', 'key.pem']) await symlink(join('..data', file), join(directory, file));
  const env = { ...database.env, ...tlsIn(directory), KITH_PORT: '0', KITH_LOG_LEVEL: 'silent' };
  const config = parseConfig(env);
  const server = await startServer(config, ADMIN_PASSWORD);
  onTestFinished(() => server.stop());
  const said: string[] = [];
  const reloads = new Reloads({ env, given: env, config, read: () => env, say: (line) => said.push(line) });
  reloads.onReload((settings) => server.reload(settings));
  using _ = reloads.watchFiles(10);
  const session = openSession(server.address);
  expect(await healthOver(session)).toBe(200);

  const replaceLink = async (target: string) => {
    await symlink(target, join(directory, '..new'));
    await rename(join(directory, '..new'), join(directory, '..data'));
  };
  await replaceLink('missing');
  await vi.waitFor(() => expect(said.join('\n')).toContain('goes on as it was'), PATIENCE);
  expect(await shownBy(server.address)).toBe('localhost');
  await replaceLink('renewed');
  await vi.waitFor(async () => expect(await shownBy(server.address)).toBe('renewed'), PATIENCE);
  expect(await healthOver(session)).toBe(200);
  expect(said).toHaveLength(2);
});

async function mkdirWith(directory: string, name: 'localhost' | 'renewed'): Promise<void> {
  await promisify(execFile)('mkdir', [directory]);
  await install(directory, name);
}

describe('SIGUSR1', () => {
  /** Whether Node's debugger can be connected to. */
  async function hasDebugger(): Promise<boolean> {
    const socket = createConnection(9229, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  async function expectPassedOver(kith: ServingProcess, pids: readonly number[]): Promise<void> {
    for (const pid of pids) {
      for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.kill(pid, signal);
    }
    const passedOver = (signal: string) => kith.stderr.split(`kith: ${signal} has no meaning`).length - 1;
    await vi.waitFor(
      () => expect([passedOver('SIGUSR1'), passedOver('SIGUSR2')]).toEqual([pids.length, pids.length]),
      PATIENCE,
    );
    expect(kith.stderr).not.toMatch(/debugger/i);
    expect(await hasDebugger()).toBe(false);
    expect(await probe(`${kith.address}/readyz`)).toMatchObject({ status: 200 });
  }

  test('opens no debugger, and SIGUSR2 ends nothing', async () => {
    await using kith = await startProcess();
    await expectPassedOver(kith, [kith.pid]);
  });

  test('does neither in a process with workers, nor in these', async () => {
    await using database = await databases[1]!.create();
    const env = { ...database.env, KITH_WORKERS: '2', KITH_DATABASE_CONNECTIONS: '2' };
    await using kith = await startProcess({ env });
    await vi.waitFor(() => expect(kith.stdout.match(/Server listening/g)).toHaveLength(2), PATIENCE);
    await expectPassedOver(kith, [kith.pid, ...(await childrenOf(kith))]);
  });

  test('opens none while the process is being loaded, when it is started as documented', async () => {
    const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as { scripts: Record<string, string> };
    for (const name of ['start', 'kith']) expect(scripts[name]).toContain('node --disable-sigusr1 src/main.ts');
    expect(await readFile('Dockerfile', 'utf8')).toContain('CMD ["node", "--disable-sigusr1", "src/main.ts"]');
  });
});

async function childrenOf({ pid }: KithProcess): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,comm=']);
  const lines = stdout.split('\n').map((line) => line.trim().split(/\s+/));
  return lines
    .filter(([, parent, command]) => Number(parent) === pid && command !== 'ps')
    .map(([child]) => Number(child));
}
