/**
 * Measures WatchUserActivity: how soon a change on one instance reaches a watcher
 * on another, what 10,000 idle watchers cost, and how many events a second reach
 * 1,000 watchers of one busy user.
 */
import { randomUUIDv7 } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { Client } from 'pg';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { grpc } from '../test/support/kith.ts';
import { startPostgres } from '../test/support/postgres-server.ts';
import { type ServingProcess, startProcess } from '../test/support/process.ts';
import { openSessions, openStream } from './grpc-stream.ts';
import { quantile, writeReport } from './report.ts';
import { signedIn } from '../test/support/sign-in.ts';

const PASSWORD = 'password of the benchmark';
const ENV = {
  KITH_ADMIN_PASSWORD: PASSWORD,
  KITH_SECRET_KEY: Buffer.alloc(32, 'bench').toString('base64'),
  KITH_LOG_LEVEL: 'error',
  KITH_WATCHES_PER_CALLER: '20000',
  KITH_WATCHES: '20000',
};

const CHANGES = 200;
const IDLE_WATCHERS = 10_000;
const BUSY_WATCHERS = 1000;
const BUSY_EVENTS = 500;

const lines = [
  '| what | figure |',
  '| --- | --- |',
  ...(await latency()),
  ...(await idleWatchers()),
  ...(await busyWatchers()),
];
await writeReport('watch', 'npm run bench:watch', [
  ...lines,
  '',
  'The server, its clients and, for the first two rows, PostgreSQL share the machine: compare figures of one run alone. All watchers connect at once, each with a signed call; the process keeps the memory it grew to.',
]);

/** Two instances on one database: a change on the first, seen on the second. */
async function latency(): Promise<string[]> {
  await using postgres = await startPostgres();
  const env = { ...ENV, KITH_DATABASE_URL: postgres.url('postgres') };
  await using first = await startProcess({ env });
  await using second = await startProcess({ env });
  const told = await delays(first, second);
  // With the listener's connection ended again and again, only polling is left.
  await using admin = new AsyncDisposableStack();
  const client = new Client({ connectionString: postgres.url('postgres') });
  await client.connect();
  admin.defer(() => client.end());
  const cut = setInterval(() => {
    void client
      .query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kith listener'")
      .catch(() => {});
  }, 20);
  const polled = await delays(first, second);
  clearInterval(cut);
  return [
    row('change on one instance to watcher on another, idle: median, 99 %', told),
    row('the same with notifications cut off: median, 99 %', polled),
  ];
}

function row(name: string, ms: readonly number[]): string {
  return `| ${name} | ${quantile(ms, 0.5).toFixed(1)} ms, ${quantile(ms, 0.99).toFixed(1)} ms |`;
}

async function delays(writer: ServingProcess, reader: ServingProcess): Promise<number[]> {
  const { accessToken, userId } = await signIn(writer);
  const recorder = createClient(ActivityService, grpc(writer.address, accessToken));
  const [session] = openSessions(reader.address, 1);
  const seen = new Map<string, () => void>();
  let started = (): void => {};
  const isStarted = new Promise<void>((resolve) => {
    started = resolve;
  });
  openStream(session!, accessToken, ActivityService.method.watchUserActivity, { userId }, ({ activity }) => {
    if (activity === undefined) started();
    else seen.get(activity.attributes['n'] ?? '')?.();
  });
  await isStarted;
  await sleep(1000);
  const ms: number[] = [];
  for (let n = 0; n < CHANGES; n++) {
    const arrived = new Promise<void>((resolve) => seen.set(String(n), resolve));
    const startMs = performance.now();
    await recorder.recordUserActivity({
      activities: [{ userId, action: 'bench.change', attributes: { n: String(n) } }],
    });
    await arrived;
    ms.push(performance.now() - startMs);
    await sleep(20 + Math.random() * 30);
  }
  session!.close();
  return ms;
}

/** Watchers of users who do nothing. */
async function idleWatchers(): Promise<string[]> {
  await using kith = await startProcess({ env: ENV });
  const { accessToken } = await signIn(kith);
  const probe = probeStalls(kith.address);
  await sleep(1000);
  const before = await residentBytes(kith.pid);
  probe.reset();
  const sessions = openSessions(kith.address, IDLE_WATCHERS);
  const started = Array.from({ length: IDLE_WATCHERS }, (_, i) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const session = sessions[Math.floor(i / 100)]!;
    openStream(session, accessToken, ActivityService.method.watchUserActivity, { userId: randomUUIDv7() }, () =>
      resolve(),
    );
    return promise;
  });
  await Promise.all(started);
  const connecting = probe.reset();
  await sleep(5000);
  const watching = await residentBytes(kith.pid);
  const idle = probe.reset();
  for (const session of sessions) session.destroy();
  await sleep(5000);
  const leaving = probe.reset();
  const after = await residentBytes(kith.pid);
  await probe.stop();
  return [
    `| memory for each of ${IDLE_WATCHERS} idle watchers | ${((watching - before) / IDLE_WATCHERS / 1024).toFixed(1)} KiB |`,
    `| longest wait of another caller while they connect, are there, leave | ${[connecting, idle, leaving].map((ms) => `${ms.toFixed(0)} ms`).join(', ')} |`,
    `| memory of the process before, with them, 5 s after | ${[before, watching, after].map((bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`).join(', ')} |`,
  ];
}

/** Watchers of one user to whom much happens. */
async function busyWatchers(): Promise<string[]> {
  await using kith = await startProcess({ env: ENV });
  const { accessToken, userId } = await signIn(kith);
  const sessions = openSessions(kith.address, BUSY_WATCHERS);
  let received = 0;
  const total = BUSY_WATCHERS * BUSY_EVENTS;
  const all = Promise.withResolvers<void>();
  const started = Array.from({ length: BUSY_WATCHERS }, (_, i) => {
    const first = Promise.withResolvers<void>();
    const session = sessions[Math.floor(i / 100)]!;
    openStream(session, accessToken, ActivityService.method.watchUserActivity, { userId }, ({ activity }) => {
      if (activity === undefined) first.resolve();
      else if (++received === total) all.resolve();
    });
    return first.promise;
  });
  await Promise.all(started);
  const recorder = createClient(ActivityService, grpc(kith.address, accessToken));
  const startMs = performance.now();
  for (let n = 0; n < BUSY_EVENTS; n += 10) {
    const activities = Array.from({ length: 10 }, () => ({ userId, action: 'bench.busy' }));
    await recorder.recordUserActivity({ activities });
  }
  await all.promise;
  const seconds = (performance.now() - startMs) / 1000;
  for (const session of sessions) session.destroy();
  return [
    `| events delivered to ${BUSY_WATCHERS} watchers of one user | ${Math.round(total / seconds).toLocaleString('en')} a second |`,
  ];
}

async function signIn({ address }: ServingProcess): Promise<{ accessToken: string; userId: string }> {
  const auth = createClient(AuthService, grpc(address));
  const { accessToken, user } = await signedIn(auth.login({ identifier: 'admin', password: PASSWORD }));
  return { accessToken, userId: user?.id ?? '' };
}

/** Asks again and again on a connection of its own; the longest answer tells how long the event loop stood still. */
function probeStalls(address: string): { reset(): number; stop(): Promise<void> } {
  let longestMs = 0;
  let stopping = false;
  const running = (async () => {
    while (!stopping) {
      const startMs = performance.now();
      const request = get(`${address}/healthz`);
      const [response] = await once(request, 'response');
      response.resume();
      await once(response, 'end');
      longestMs = Math.max(longestMs, performance.now() - startMs);
      await sleep(5);
    }
  })();
  return {
    reset() {
      const longest = longestMs;
      longestMs = 0;
      return longest;
    },
    async stop() {
      stopping = true;
      await running;
    },
  };
}

/** What Linux counts as held in memory. */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
