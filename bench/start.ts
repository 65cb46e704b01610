/**
 * Measures what a start of the built server takes until somebody has signed in and been answered, with an existing
 * database and with a new one, and the memory of the server at rest and for each idle connection. Run `npm run build`
 * before. Several builds are measured in turns: `npm run bench:start -- dist/kith ../before/dist/kith`; --quick for a
 * short look.
 */
import { spawn } from 'node:child_process';
import { mkdtempDisposable, readdir, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { signedIn } from '../test/support/sign-in.ts';
import { residentBytes } from './load.ts';
import { quantile, writeReport } from './report.ts';

const PASSWORD = 'password of the benchmark';

const { values: asked, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});
const AMOUNTS = asked.quick
  ? { rounds: 3, connections: 1000, restMs: 5000 }
  : { rounds: 15, connections: 5000, restMs: 15_000 };
const builds = (positionals.length > 0 ? positionals : ['dist/kith']).map((folder) => resolve(folder, 'src/main.js'));

/** What one start took, milliseconds since the process was started; CPU of the whole process until then. */
interface Start {
  readonly listensMs: number;
  readonly answersMs: number;
  readonly cpuMs: number;
}

interface Started extends Start, AsyncDisposable {
  readonly pid: number;
  readonly port: number;
}

await using scratch = await mkdtempDisposable(join(tmpdir(), 'kith-bench-start-'));
const runs = builds.map(() => ({ existing: [] as Start[], fresh: [] as Start[] }));
for (const [i, main] of builds.entries()) {
  // What Node compiles is kept once the server is warm.
  await using first = await start(main, databaseOf(i), cacheOf(i));
  await sleep(6000);
  await first[Symbol.asyncDispose]();
}
for (let round = 0; round < AMOUNTS.rounds; round++) {
  const order = [...builds.keys()];
  for (const i of round % 2 === 0 ? order : order.toReversed()) {
    await using existing = await start(builds[i]!, databaseOf(i), cacheOf(i));
    runs[i]!.existing.push(existing);
    await existing[Symbol.asyncDispose]();
    await using fresh = await start(builds[i]!, join(scratch.path, `new-${i}-${round}`), cacheOf(i));
    runs[i]!.fresh.push(fresh);
  }
}
const lines = ['| build | what | figure |', '| --- | --- | ---: |'];
for (const [i, main] of builds.entries()) {
  const { existing, fresh } = runs[i]!;
  const row = (what: string, figure: string) =>
    lines.push(`| ${positionals[i] ?? 'dist/kith'} | ${what} | ${figure} |`);
  for (const [database, starts] of [
    ['an existing database', existing],
    ['a new one', fresh],
  ] as const) {
    row(`until it listens, with ${database}`, spread(starts.map(({ listensMs }) => listensMs)));
    row(
      `until somebody has signed in and been answered, with ${database}`,
      spread(starts.map(({ answersMs }) => answersMs)),
    );
    row(`processor time until then`, spread(starts.map(({ cpuMs }) => cpuMs)));
  }
  const { restMiB, connectionKiB } = await measureMemory(main, i);
  row('memory at rest', `${restMiB.toFixed(0)} MiB`);
  row(`an idle connection of HTTP/1.1, of ${AMOUNTS.connections}`, `${connectionKiB.toFixed(1)} KiB`);
}
if (asked.quick) console.log(lines.join('\n'));
else
  await writeReport('start', 'npm run bench:start', [
    ...lines,
    '',
    'Medians, and the least and the most. The code that Node has compiled is there; the server, its client and the machine’s other work share the cores. Memory of connections has the growth of the young generation in it.',
  ]);

function databaseOf(i: number): string {
  return join(scratch.path, `existing-${i}`);
}

function cacheOf(i: number): string {
  return join(scratch.path, `cache-${i}`);
}

function spread(values: readonly number[]): string {
  return `${quantile(values, 0.5).toFixed(0)} ms (${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)})`;
}

/** Starts a build until its administrator has signed in and asked who they are. */
async function start(main: string, directory: string, cache: string): Promise<Started> {
  const startMs = performance.now();
  const child = spawn(process.execPath, ['--disable-sigusr1', main], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      XDG_CACHE_HOME: cache,
      KITH_PORT: '0',
      KITH_DATABASE_URL: `sqlite:${join(directory, 'kith.db')}`,
      KITH_ADMIN_PASSWORD: PASSWORD,
      KITH_LOG_LEVEL: 'error',
      KITH_CONNECTIONS_PER_ADDRESS: '10000',
    },
  });
  const exited = new Promise<void>((done) => void child.once('exit', () => done()));
  const address = await new Promise<string>((found, fail) => {
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const match = /Connect at (\S+)/.exec(said);
      if (match?.[1] !== undefined) found(match[1]);
    });
    child.once('exit', () => fail(new Error(`the server ended: ${said}`)));
  });
  const listensMs = performance.now() - startMs;
  const transport = createConnectTransport({ baseUrl: address, httpVersion: '1.1' });
  const client = createClient(AuthService, transport);
  const { accessToken } = await signedIn(client.login({ identifier: 'admin', password: PASSWORD }));
  await client.userMe({}, { headers: { authorization: `Bearer ${accessToken}` } });
  const pid = child.pid ?? 0;
  return {
    listensMs,
    answersMs: performance.now() - startMs,
    cpuMs: await cpuMs(pid),
    pid,
    port: Number(new URL(address).port),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** User and system, of all threads that run. /proc/PID/stat counts hundredths of a second. */
async function cpuMs(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const stats = await Promise.all(threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')));
  return stats.reduce((sum, stat) => sum + Number(stat.split(' ', 1)[0]) / 1e6, 0);
}

async function measureMemory(main: string, i: number): Promise<{ restMiB: number; connectionKiB: number }> {
  await using server = await start(main, databaseOf(i), cacheOf(i));
  await sleep(AMOUNTS.restMs);
  const rest = await residentBytes(server.pid);
  const open = async (count: number) => {
    const sockets = await Promise.all(Array.from({ length: count }, () => ask(server.port)));
    await sleep(1500);
    return sockets;
  };
  const sockets = await open(50); // what the first ones load and compile
  const before = await residentBytes(server.pid);
  sockets.push(...(await open(AMOUNTS.connections)));
  const after = await residentBytes(server.pid);
  for (const socket of sockets) socket.destroy();
  return { restMiB: rest / 2 ** 20, connectionKiB: (after - before) / AMOUNTS.connections / 1024 };
}

/** A connection that has made a call and stays open. */
function ask(port: number): Promise<Socket> {
  return new Promise((answered, fail) => {
    const socket = connect(port, 'localhost');
    socket.once('error', fail);
    socket.once('data', () => answered(socket));
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  });
}
