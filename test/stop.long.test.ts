import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Client as PgClient } from 'pg';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../gen/health/v1/health_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ownEnvironment } from './support/commands.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { ADMIN_PASSWORD, bearer, grpc, refusalOf } from './support/kith.ts';
import { insertManyUsers } from './support/many-users.ts';
import { probe, type ServingProcess, startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';

const SIGN_IN = { identifier: 'admin', password: ADMIN_PASSWORD };

/** Longer than a test may take: what waits for it fails. */
const FOREVER = '300';

/** What a port says that has been closed, also to who was waiting to be let in. */
const CLOSED = /ECONNREFUSED|ECONNRESET/;

async function start(env: Record<string, string> = {}): Promise<ServingProcess> {
  const kith = await startProcess({
    env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD, KITH_SHUTDOWN_SECONDS: FOREVER, ...env },
  });
  onTestFinished(() => kith[Symbol.asyncDispose]());
  return kith;
}

/** Ended as asked, without complaint, and the database closed: nothing is left to recover. */
async function expectCleanExit(kith: ServingProcess): Promise<void> {
  const { code, signal, stdout } = await kith.exited;
  expect({ code, signal }).toEqual({ code: 0, signal: null });
  expect(stdout).not.toMatch(/"level":"(warn|error|fatal)"/);
  expect((await readdir(join(kith.directory, 'data'))).toSorted()).toEqual(['kith.db', 'kith.db.key']);
}

async function openSocket(address: string): Promise<Socket> {
  const { port } = new URL(address);
  const socket = connect(Number(port), '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function openSession(address: string): Promise<ClientHttp2Session> {
  const session = http2.connect(address).on('error', () => {});
  onTestFinished(() => session.destroy());
  await once(session, 'remoteSettings');
  return session;
}

/** A call that the server knows of, since its request has begun, and that never goes on. */
async function hang(address: string): Promise<Socket> {
  const socket = await openSocket(address);
  socket.write('POST /kith.auth.v1.AuthService/Login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n');
  socket.write('content-length: 100\r\nexpect: 100-continue\r\n\r\n');
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  expect(String(chunk)).toMatch(/^HTTP\/1.1 100 Continue/);
  return socket;
}

/** A server whose statements may take as long as a test wants them to. */
function startOnPostgres(database: TestDatabase, env: Record<string, string>): Promise<ServingProcess> {
  return startProcess({
    env: {
      ...database.env,
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_DATABASE_CONNECTIONS: '30',
      KITH_DATABASE_STATEMENT_MS: '600000',
      ...env,
    },
  });
}

/** Makes calls that are under way, in the middle of a transaction, until they are let go. */
async function holdCalls(
  { address }: ServingProcess,
  databaseUrl: string,
  transport: (address: string, accessToken: string) => Transport,
  count: number,
) {
  const { accessToken, user } = await signedIn(createClient(AuthService, grpc(address)).login(SIGN_IN));
  const sql = new PgClient({ connectionString: databaseUrl });
  await sql.connect();
  await sql.query('begin; lock table activity in share mode');
  const client = createClient(ActivityService, transport(address, accessToken));
  const calls = Array.from({ length: count }, () =>
    client.recordUserActivity({ activities: [{ userId: user.id, action: 'held' }] }),
  );
  for (const call of calls) call.catch(() => {}); // it is looked at later
  const waiting = "select 1 from pg_locks where relation = 'activity'::regclass and not granted";
  await expect.poll(async () => (await sql.query(waiting)).rowCount).toBe(count);
  return {
    calls,
    release: () => sql.query('commit'),
    recorded: async () => (await sql.query("select 1 from activity where action = 'held'")).rowCount,
    [Symbol.asyncDispose]: () => sql.end(),
  };
}

/** Signals, and waits until nobody is let in any more. */
async function signalUntilClosed(kith: ServingProcess, signal: NodeJS.Signals): Promise<void> {
  const session = await openSession(kith.address);
  const goaway = once(session, 'goaway');
  kith.kill(signal);
  const [errorCode] = (await goaway) as [number];
  expect(errorCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
}

describe('a stop', () => {
  test('first tells load balancers, and serves meanwhile', async () => {
    const kith = await start({ KITH_SHUTDOWN_DELAY_SECONDS: FOREVER });
    const transport = grpc(kith.address);
    const watch = createClient(Health, transport).watch({})[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ status: Status.SERVING });

    kith.kill('SIGTERM');
    expect((await watch.next()).value).toMatchObject({ status: Status.NOT_SERVING });
    expect(await probe(`${kith.address}/readyz`)).toMatchObject({ status: 503 });
    expect(await probe(`${kith.address}/healthz`)).toMatchObject({ status: 200 });
    expect(await createClient(Health, transport).check({})).toMatchObject({ status: Status.NOT_SERVING });
    expect(await signedIn(createClient(AuthService, transport).login(SIGN_IN))).toMatchObject({
      user: { username: 'admin' },
    });
  });

  test('takes place once load balancers have had their time', async () => {
    const kith = await start({ KITH_SHUTDOWN_DELAY_SECONDS: '1' });
    const watch = createClient(Health, grpc(kith.address)).watch({})[Symbol.asyncIterator]();
    await watch.next();
    kith.kill('SIGTERM');
    expect((await watch.next()).value).toMatchObject({ status: Status.NOT_SERVING });
    expect(await refusalOf(watch.next())).toMatchObject({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' });
    await expectCleanExit(kith);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('by %s sends GOAWAY and lets nobody in while calls run', async (signal) => {
    const kith = await start({ KITH_SHUTDOWN_SECONDS: '1' });
    await hang(kith.address);
    await signalUntilClosed(kith, signal);
    await expect(probe(`${kith.address}/healthz`)).rejects.toThrow(CLOSED);
    await expectCleanExit(kith);
  });

  test.each<{ name: string; transport: (address: string, accessToken: string) => Transport }>([
    {
      name: 'gRPC, of one connection',
      transport: (address, token) => grpc(address, token, new Http2SessionManager(address)),
    },
    {
      name: 'Connect over HTTP/1.1',
      transport: (baseUrl, token) =>
        createConnectTransport({ baseUrl, httpVersion: '1.1', interceptors: bearer(token) }),
    },
    {
      name: 'gRPC-Web over HTTP/1.1',
      transport: (baseUrl, token) =>
        createGrpcWebTransport({ baseUrl, httpVersion: '1.1', interceptors: bearer(token) }),
    },
  ])('lets running calls finish: $name', async ({ transport }) => {
    await using database = await databases[1]!.create();
    await using kith = await startOnPostgres(database, { KITH_SHUTDOWN_SECONDS: FOREVER });
    // As many as one caller has running.
    await using held = await holdCalls(kith, database.url, transport, 8);
    await signalUntilClosed(kith, 'SIGTERM');
    await expect(probe(`${kith.address}/healthz`)).rejects.toThrow(CLOSED);
    await held.release();
    for (const { activities } of await Promise.all(held.calls)) expect(activities).toHaveLength(1);
    const { code, signal, stdout } = await kith.exited;
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(stdout).not.toMatch(/"level":"(warn|error|fatal)"/);
  });

  test.each<{ name: string; transport: (address: string) => Transport }>([
    { name: 'gRPC', transport: (address) => grpc(address) },
    { name: 'Connect', transport: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '1.1' }) },
    { name: 'gRPC-Web', transport: (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }) },
  ])('ends streams with a code that says to come back: $name', async ({ transport }) => {
    const kith = await start();
    const watch = createClient(Health, transport(kith.address)).watch({})[Symbol.asyncIterator]();
    await watch.next();
    kith.kill('SIGTERM');
    expect(await refusalOf(watch.next())).toMatchObject({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' });
    await expectCleanExit(kith);
  });

  test('ends a stream that waits for its client', async () => {
    const kith = await start();
    const asked = Promise.withResolvers<void>();
    onTestFinished(() => asked.resolve());
    async function* questions() {
      yield { messageRequest: { case: 'listServices' as const, value: '' } };
      await asked.promise;
    }
    const answers = createClient(ServerReflection, grpc(kith.address)).serverReflectionInfo(questions());
    const iterator = answers[Symbol.asyncIterator]();
    await iterator.next();
    kith.kill('SIGTERM');
    expect(await refusalOf(iterator.next())).toMatchObject({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' });
    await expectCleanExit(kith);
  });

  test('is not held up by idle connections', async () => {
    const kith = await start();
    const silent = await openSocket(kith.address);
    const halfPreface = await openSocket(kith.address);
    halfPreface.write('PRI * HT');
    const session = await openSession(kith.address);
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    const response = httpRequest(`${kith.address}/healthz`, { agent }).end();
    const [answer] = (await once(response, 'response')) as [NodeJS.ReadableStream];
    answer.resume();
    await once(answer, 'end');
    for (const socket of [silent, halfPreface]) socket.resume(); // or the end would go unseen
    const ended = [silent, halfPreface, session].map((connection) => once(connection, 'close'));
    kith.kill('SIGTERM');
    await Promise.all(ended);
    await expectCleanExit(kith);
  });

  test('is held up by a client that never finishes its request for KITH_SHUTDOWN_SECONDS at the most', async () => {
    const kith = await start({ KITH_SHUTDOWN_SECONDS: '1' });
    const halfBody = await hang(kith.address);
    const session = await openSession(kith.address);
    const stream = session
      .request({ ':method': 'POST', ':path': '/kith.auth.v1.AuthService/Login', 'content-type': 'application/grpc' })
      .on('error', () => {});
    stream.write(Buffer.from([0, 0, 0, 0, 100, 1, 2, 3]));
    session.ping(() => {});
    const ended = [halfBody, session].map((connection) => once(connection, 'close'));
    kith.kill('SIGTERM');
    await Promise.all(ended);
    await expectCleanExit(kith);
  });

  test('tells calls for which there is no time left to come back, and waits no longer for what they began', async () => {
    await using database = await databases[1]!.create();
    await using kith = await startOnPostgres(database, { KITH_SHUTDOWN_SECONDS: '0' });
    await using held = await holdCalls(kith, database.url, grpc, 5);
    const refusals = Promise.all(held.calls.map((call) => refusalOf(call)));
    kith.kill('SIGTERM');
    const told = await refusals;
    expect(told).toEqual(
      told.map(() => expect.objectContaining({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' })),
    );
    expect(await kith.exited).toMatchObject({ code: 0, signal: null });
    await held.release();
    expect(await held.recorded()).toBe(0);
  });

  test.each(databases)('is held up by a client that never reads no longer either, on $name', async ({ create }) => {
    await using database = await create();
    await using kith = await startProcess({
      env: {
        ...database.env,
        KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
        KITH_SHUTDOWN_SECONDS: '1',
      },
    });
    await insertManyUsers(database.url, 1000);
    const { accessToken } = await signedIn(createClient(AuthService, grpc(kith.address)).login(SIGN_IN));
    const socket = await openSocket(kith.address);
    const message = encodeURIComponent(JSON.stringify({ pageSize: 1000 }));
    const get =
      `GET /kith.user.v1.UserService/ListUsers?encoding=json&message=${message} HTTP/1.1\r\n` +
      `host: a\r\nauthorization: Bearer ${accessToken}\r\n\r\n`;
    socket.write(get.repeat(80));
    await once(socket, 'readable'); // the first answer has come, and nobody takes it
    kith.kill('SIGTERM');
    expect(await kith.exited).toMatchObject({ code: 0 });
    expect(await database.faults()).toEqual([]);
  });

  test.each([
    ['SIGTERM', 'SIGTERM'],
    ['SIGINT', 'SIGINT'],
    ['SIGTERM', 'SIGINT'],
  ] as const)('asked for twice, by %s and %s, does not wait', async (first, second) => {
    const kith = await start();
    await hang(kith.address);
    await signalUntilClosed(kith, first);
    kith.kill(second);
    const { code, stderr } = await kith.exited;
    expect(code).toBe(69);
    expect(stderr).not.toMatch(/^kith: /m);
    await using again = await startProcess({ directory: kith.directory });
    expect(await signedIn(createClient(AuthService, grpc(again.address)).login(SIGN_IN))).toMatchObject({
      user: { username: 'admin' },
    });
  });
});

test('SIGTERM to npm start reaches the server', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kith-npm-'));
  const env = { ...ownEnvironment(), KITH_PORT: '0', KITH_DATABASE_URL: `sqlite:${join(directory, 'kith.db')}` };
  const npm = spawn('npm', ['start', '--silent'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const closed = once(npm, 'close'); // when nobody has standard error open any more: the server has ended
  let stderr = '';
  npm.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  await vi.waitFor(() => expect(stderr).toMatch(/ serves .* at /), { timeout: 50_000 });
  npm.kill('SIGTERM');
  await closed;
  await rm(directory, { recursive: true });
});
