import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { bearer, grpc, refusalOf } from './support/kith.ts';
import { probe, type ServingProcess, spawnKith, startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';

const run = promisify(execFile);
const onServer = databases[1]!;

/** An endless wait would hide what went wrong; nothing here is about speed. */
const PATIENCE = { timeout: 60_000, interval: 50 };

function settings(database: TestDatabase): Record<string, string> {
  return {
    KITH_DATABASE_URL: database.url,
    KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
    KITH_WORKERS: '3',
    KITH_DATABASE_CONNECTIONS: '3',
  };
}

/** Waits until as many workers listened in all. */
async function expectWorkers(kith: ServingProcess, count: number): Promise<void> {
  await vi.waitFor(() => expect(kith.stdout.match(/"worker":\d+,.*Server listening/g)).toHaveLength(count), PATIENCE);
}

async function childrenOf(pid: number): Promise<number[]> {
  const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=,comm=']);
  const lines = stdout.split('\n').map((line) => line.trim().split(/\s+/));
  return lines
    .filter(([, parent, command]) => Number(parent) === pid && command !== 'ps')
    .map(([child]) => Number(child));
}

/** The worker that a call was answered by, which the log line of the call names. */
async function workerOf(kith: ServingProcess, call: (headers: Record<string, string>) => Promise<unknown>) {
  const id = randomUUID();
  await call({ 'x-request-id': id });
  return vi.waitFor(() => {
    const line = kith.stdout.split('\n').find((text) => text.includes(id));
    expect(line).toBeDefined();
    return (JSON.parse(line!) as { worker: number }).worker;
  }, PATIENCE);
}

async function signIn(kith: ServingProcess): Promise<string> {
  const [, password = ''] = await kith.stderrMatching(/shown only now\): (\S+)\n/);
  const client = createClient(AuthService, grpc(kith.address));
  return (await signedIn(client.login({ identifier: 'admin', password }))).accessToken;
}

/** One gRPC connection and the worker it stays with. */
interface Connection {
  readonly transport: Transport;
  readonly worker: number;
  close(): void;
}

async function connect(kith: ServingProcess, accessToken: string): Promise<Connection> {
  const sessionManager = new Http2SessionManager(kith.address);
  const transport = createGrpcTransport({
    baseUrl: kith.address,
    interceptors: bearer(accessToken),
    sessionManager,
  });
  const worker = await workerOf(kith, (headers) => createClient(AuthService, transport).userMe({}, { headers }));
  return { transport, worker, close: () => sessionManager.abort() };
}

/** Connections to as many different workers. */
async function connectToEach(kith: ServingProcess, accessToken: string, count: number): Promise<Connection[]> {
  const connections = new Map<number, Connection>();
  for (let i = 0; connections.size < count && i < 50; i++) {
    const connection = await connect(kith, accessToken);
    if (connections.has(connection.worker)) connection.close();
    else connections.set(connection.worker, connection);
  }
  expect(connections.size).toBe(count);
  return [...connections.values()];
}

type Watch = AsyncIterator<Awaited<ReturnType<typeof firstOf>>>;
const firstOf = (stream: AsyncIterable<{ activity?: { action: string } | undefined; cursor: string }>) =>
  stream[Symbol.asyncIterator]()
    .next()
    .then(({ value }) => value!);

function watchAll(client: Client<typeof ActivityService>): Watch {
  return client.watchUserActivity({ actionPrefixes: ['test'] })[Symbol.asyncIterator]();
}

describe('three workers', () => {
  let database: TestDatabase;
  let kith: ServingProcess;
  let accessToken: string;
  beforeAll(async () => {
    database = await onServer.create();
    kith = await startProcess({ env: settings(database) });
    await expectWorkers(kith, 3);
    accessToken = await signIn(kith);
  }, 90_000);
  afterAll(async () => {
    await kith?.[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  test('announce one address and one administrator, whose password works', () => {
    expect(kith.stderr.match(/ serves /g)).toHaveLength(1);
    expect(kith.stderr.match(/shown only now/g)).toHaveLength(1);
    expect(accessToken).not.toBe('');
  });

  test('answer on one port over HTTP/1.1 and gRPC, each of them', async () => {
    const connections = await connectToEach(kith, accessToken, 3);
    for (const { close } of connections) close();
    const overHttp1 = createConnectTransport({
      baseUrl: kith.address,
      httpVersion: '1.1',
      interceptors: bearer(accessToken),
      nodeOptions: { agent: false },
    });
    const seen = new Set<number>();
    for (let i = 0; seen.size < 3 && i < 50; i++) {
      seen.add(await workerOf(kith, (headers) => createClient(AuthService, overHttp1).userMe({}, { headers })));
    }
    expect(seen).toEqual(new Set(connections.map(({ worker }) => worker)));
    expect(await probe(`${kith.address}/readyz`)).toMatchObject({ status: 200 });
  });

  test('show each of their watchers what was recorded through the others, in one order', async () => {
    const connections = await connectToEach(kith, accessToken, 3);
    const clients = connections.map(({ transport }) => createClient(ActivityService, transport));
    const { user } = await createClient(AuthService, connections[0]!.transport).userMe({});
    const watches = clients.map(watchAll);
    await Promise.all(watches.map((watch) => watch.next())); // from now on
    for (const [i, client] of [...clients, ...clients].entries()) {
      await client.recordUserActivity({ activities: [{ userId: user!.id, action: `test.by${i}` }] });
    }
    for (const watch of watches) {
      const seen: (string | undefined)[] = [];
      while (seen.length < 6) {
        const { value } = await watch.next();
        if (value?.activity) seen.push(value.activity.action);
      }
      expect(seen).toEqual([0, 1, 2, 3, 4, 5].map((i) => `test.by${i}`));
    }
    for (const { close } of connections) close();
  });

  test('go on without one that is killed, and get another', async () => {
    const connections = await connectToEach(kith, accessToken, 3);
    const [victim = 0] = await childrenOf(kith.pid);
    process.kill(victim, 'SIGKILL');
    await kith.stderrMatching(
      new RegExp(`worker \\d+ \\(process ${victim}\\) was ended by SIGKILL; another starts in`),
    );
    const answers = await Promise.allSettled(
      connections.map(({ transport }) => createClient(AuthService, transport).userMe({}, { timeoutMs: 60_000 })),
    );
    // Those of the living stay connected; a client whose worker is gone connects anew, now or at the next call.
    expect(answers.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(2);
    for (const { close } of connections) close();
    await expectWorkers(kith, 4);
    const others = await connectToEach(kith, accessToken, 3);
    expect(others.map(({ worker }) => worker)).toContain(4);
    for (const { close } of others) close();
  }, 90_000);

  test('turn away connections that are too many, and none is offered round for ever', async () => {
    await using few = await startProcess({ env: { ...settings(database), KITH_WORKERS: '2', KITH_CONNECTIONS: '10' } });
    await expectWorkers(few, 2);
    const statuses = await Promise.allSettled(Array.from({ length: 60 }, () => connect(few, accessToken)));
    const open = statuses.filter((status) => status.status === 'fulfilled');
    expect(open.length).toBeGreaterThanOrEqual(10);
    expect(open.length).toBeLessThanOrEqual(20);
    for (const { value } of open) value.close();
  }, 90_000);
});

test.each([
  ['SIGTERM to the first process', (pids: number[]) => pids.slice(-1)],
  ['SIGTERM to every process at once, as from a supervisor,', (pids: number[]) => pids],
])(
  '%s ends watches with a code, and all workers, with exit code 0',
  async (_, targets) => {
    await using database = await onServer.create();
    await using kith = await startProcess({ env: { ...settings(database), KITH_SHUTDOWN_DELAY_SECONDS: '1' } });
    await expectWorkers(kith, 3);
    const connections = await connectToEach(kith, await signIn(kith), 3);
    const watches = connections.map(({ transport }) => watchAll(createClient(ActivityService, transport)));
    await Promise.all(watches.map((watch) => watch.next()));
    const workers = await childrenOf(kith.pid);
    expect(workers).toHaveLength(3);
    for (const pid of targets([...workers, kith.pid])) process.kill(pid, 'SIGTERM');
    for (const watch of watches) {
      expect(await refusalOf(watch.next())).toMatchObject({ code: 'Unavailable' });
    }
    expect(await kith.exited).toMatchObject({ code: 0, signal: null });
    expect(kith.stderr).not.toMatch(/^kith:/m);
    for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  },
  90_000,
);

test('workers whose first process is killed leave the port', async () => {
  await using database = await onServer.create();
  await using kith = await startProcess({ env: { ...settings(database), KITH_WORKERS: '2' } });
  await expectWorkers(kith, 2);
  kith.kill('SIGKILL');
  await kith.exited;
  await vi.waitFor(() => expect(probe(`${kith.address}/healthz`)).rejects.toThrow('ECONNREFUSED'), PATIENCE);
}, 90_000);

test('it gives up when no worker serves and none can start', async () => {
  const database = await onServer.create();
  await using kith = await startProcess({ env: { ...settings(database), KITH_WORKERS: '2' } });
  await expectWorkers(kith, 2);
  const workers = await childrenOf(kith.pid);
  await database[Symbol.asyncDispose](); // serving goes on without, starting does not
  for (const pid of workers) process.kill(pid, 'SIGKILL');
  expect(await kith.exited).toMatchObject({ code: 78 });
  expect(kith.stderr).toMatch(/no worker serves and \d could not start: giving up\n$/);
}, 90_000);

test('a port that is in use ends the start with one line', async () => {
  await using database = await onServer.create();
  await using taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  await using kith = await spawnKith({ env: { ...settings(database), KITH_PORT: String(port) } });
  const { code, stderr } = await kith.exited;
  expect(stderr).toMatch(/^kith: cannot listen: .*EADDRINUSE.*; see KITH_HOST and KITH_PORT\n$/);
  expect(code).toBe(69);
}, 60_000);

test('several workers are refused on a database file', async () => {
  await using kith = await spawnKith({ env: { KITH_DATABASE_URL: 'sqlite:kith.db', KITH_WORKERS: '2' } });
  const { code, stderr, stdout } = await kith.exited;
  expect(stderr).toMatch(/^kith: KITH_WORKERS: one process serves a SQLite file; .*\n$/);
  expect(stdout).toBe('');
  expect(code).toBe(78);
});

test.each(['0', '65', 'two'])('KITH_WORKERS=%s is refused', async (count) => {
  await using kith = await spawnKith({ env: { KITH_WORKERS: count } });
  expect(await kith.exited).toMatchObject({
    code: 78,
    stderr: `kith: KITH_WORKERS: "${count}" is not allowed; it must be a whole number from 1 to 64\n`,
  });
});
