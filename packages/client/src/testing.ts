/// <reference lib="esnext.disposable" preserve="true" />
/** Start a real Kith for the tests of another project, with users in given roles. Needs Kith's repository: see the readme. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Role } from './gen/kith/access/v1/role_pb.ts';
import type { User } from './gen/kith/user/v1/user_pb.ts';
import { createKith, type NodeKith } from './node.ts';
import { randomUuid } from './uuid.ts';

export { Role };

/** How the server is started. */
export interface StartOptions {
  /**
   * The folder of Kith's repository, after `npm ci`. Default: the variable KITH_REPOSITORY, or the repository that this package
   * is in, as a workspace or a link.
   */
  readonly repository?: string | undefined;
  /** Settings of Kith, `KITH_...`. Of the environment of the tests nothing else is passed on. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** How long it may take to start, milliseconds. Default 60,000. */
  readonly startMs?: number | undefined;
}

/** A user that was made for a test. */
export interface TestUser {
  readonly user: User;
  /** The username. */
  readonly identifier: string;
  readonly password: string;
  /** A client that is signed in as the user with the first call. */
  readonly kith: NodeKith;
}

/** A server on a free port of this machine, with an empty SQLite database of its own. Disposing stops it and removes all. */
export interface TestKith extends AsyncDisposable {
  /** The address, for clients of one's own. */
  readonly url: string;
  /** A client that is signed in as the administrator with the first call. */
  readonly admin: NodeKith;
  /** Makes a user in a role; default VIEWER. */
  user(role?: Role): Promise<TestUser>;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a server and waits until it is ready. Throws with what it printed when it does not start. */
export async function startKith({ repository, env, startMs = 60_000 }: StartOptions = {}): Promise<TestKith> {
  const root = await findRepository(repository ?? process.env['KITH_REPOSITORY']);
  const directory = await mkdtemp(join(tmpdir(), 'kith-for-tests-'));
  const password = randomUuid();
  // Kith brings along the Node that it needs.
  const own = join(root, 'node_modules/.bin/node');
  const child = spawn(existsSync(own) ? own : process.execPath, [join(root, 'src/main.ts')], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      KITH_HOST: '127.0.0.1',
      KITH_PORT: '0',
      KITH_DATABASE_URL: `sqlite:${join(directory, 'kith.db')}`,
      KITH_ADMIN_PASSWORD: password,
      KITH_LOG_LEVEL: 'warn',
      // All tests call from one address.
      KITH_SIGN_IN_FAILURES_PER_ADDRESS: '1000000',
      KITH_SHUTDOWN_SECONDS: '1',
      ...env,
    },
  });
  running.add(child);
  const exited = once(child, 'exit').finally(() => running.delete(child));
  exited.catch(() => {});
  const clients: NodeKith[] = [];
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopped ??= (async () => {
      for (const client of clients) client.close();
      child.kill('SIGTERM');
      const tooLong = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await exited.catch(() => {});
      clearTimeout(tooLong);
      await rm(directory, { recursive: true, force: true });
    })());
  try {
    const url = await addressOf(child, startMs);
    const clientOf = (identifier: string, secret: string): NodeKith => {
      const client = createKith({ url, credentials: { identifier, password: secret } });
      clients.push(client);
      return client;
    };
    const admin = clientOf('admin', password);
    return {
      url,
      admin,
      async user(role = Role.VIEWER) {
        const identifier = `u${randomUuid()}`;
        const secret = randomUuid();
        const account = { username: identifier, email: `${identifier}@example.org`, name: `User ${identifier}` };
        const { user } = await admin.users.create({ ...account, role, password: secret });
        return { user, identifier, password: secret, kith: clientOf(identifier, secret) };
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The address that the server prints when it is ready. */
function addressOf(child: ChildProcess, startMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let printed = '';
    const fail = (why: string) => reject(new Error(`Kith ${why}${printed === '' ? '' : `:\n${printed}`}`));
    const timer = setTimeout(() => fail(`did not start within ${startMs} ms`), startMs);
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      if (printed.length < 100_000) printed += text;
      const [, address] = / serves .* at (\S+)\n/.exec(printed) ?? [];
      if (address === undefined) return;
      clearTimeout(timer);
      resolve(address);
    });
    child.once('error', reject).once('close', () => {
      clearTimeout(timer);
      fail('ended before it served');
    });
  });
}

/** The folder of Kith's repository. */
async function findRepository(given: string | undefined): Promise<string> {
  if (given !== undefined) {
    if (await isRepository(given)) return given;
    throw new Error(`${given} is not Kith's repository`);
  }
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    if (await isRepository(at)) return at;
    if (at === dirname(at)) break;
  }
  throw new Error("Kith's repository is not above this package: name its folder by `repository` or KITH_REPOSITORY");
}

async function isRepository(folder: string): Promise<boolean> {
  try {
    const { name } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { name?: unknown };
    return name === 'kith' && existsSync(join(folder, 'src/main.ts'));
  } catch {
    return false;
  }
}
