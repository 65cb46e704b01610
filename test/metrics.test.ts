import { once } from 'node:events';
import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { spawn } from 'node:child_process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createClient } from '@connectrpc/connect';
import { Client } from 'pg';
import { describe, expect, test, vi } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { Budget } from '../src/budget/budget.ts';
import { ConcurrencyLimiter } from '../src/budget/concurrency-limiter.ts';
import { openDatabase } from '../src/storage/database.ts';
import { Registry } from '../src/metrics/registry.ts';
import { createPortCounters } from '../src/http/port-counters.ts';
import { createPurgeCounts } from '../src/purge.ts';
import { sampled } from '../src/kernel/sampled.ts';
import { addServerMetrics } from '../src/admin/server-metrics.ts';
import { WakeQueue } from '../src/budget/wake-queue.ts';
import { needCommand, run } from './support/commands.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, type Kith, refusalOf, startKith, protocols } from './support/kith.ts';
import { probe, spawnKith, startProcess } from './support/process.ts';

/** An endless wait would hide what went wrong; nothing here is about speed. */
const PATIENCE = { timeout: 50_000, interval: 20 };

interface Documented {
  readonly name: string;
  readonly labels: readonly string[];
}

/** The table of docs/operations.md. */
async function documented(): Promise<Documented[]> {
  const [, section = ''] = /^## Metrics\n(.*?)^## /ms.exec(await readFile('docs/operations.md', 'utf8')) ?? [];
  return [...section.matchAll(/^\| `(\w+)` \| ([^|]*)\|/gm)].map(([, name = '', labels = '']) => ({
    name,
    labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label),
  }));
}

interface Series {
  /** Of the metric, without _bucket, _sum and _count of histograms. */
  readonly metric: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

function parse(exposition: string): { readonly types: Map<string, string>; readonly lines: Series[] } {
  const types = new Map<string, string>();
  const lines: Series[] = [];
  for (const line of exposition.trimEnd().split('\n')) {
    const [, typed, type] = /^# TYPE (\w+) (\w+)$/.exec(line) ?? [];
    if (typed !== undefined) types.set(typed, type!);
    if (line.startsWith('#')) continue;
    const [, name = '', pairs = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)!;
    const labels = Object.fromEntries([...pairs.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text]));
    const whole = name.replace(/_(bucket|sum|count)$/, '');
    lines.push({ metric: types.get(whole) === 'histogram' ? whole : name, name, labels, value: Number(value) });
  }
  return { types, lines };
}

/** The sum of what matches. */
function sumOf(exposition: string, name: string, labels: Record<string, string> = {}): number {
  return parse(exposition)
    .lines.filter((line) => line.name === name && Object.entries(labels).every(([key, is]) => line.labels[key] === is))
    .reduce((sum, { value }) => sum + value, 0);
}

async function scrape(port: number): Promise<string> {
  const { status, body } = await probe(`http://127.0.0.1:${port}/metrics`);
  expect(status).toBe(200);
  return body;
}

/** The first of so many ports in a row that nobody listens on. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = createServer().listen(0, '127.0.0.1');
    await once(first, 'listening');
    const { port } = first.address() as { port: number };
    const servers = [first];
    try {
      for (let i = 1; i < count; i++) {
        const next = createServer().listen(port + i, '127.0.0.1');
        await once(next, 'listening');
        servers.push(next);
      }
      return port;
    } catch {
      // one of them is taken
    } finally {
      for (const server of servers) server.close();
    }
  }
}

/** Does what metrics count, until `signal` is aborted. */
async function keepBusy(kith: Kith, accessToken: string, signal: AbortSignal): Promise<void> {
  const contacts = kith.client(ContactService, accessToken);
  const activity = kith.client(ActivityService, accessToken);
  const first = activity.watchUserActivity({}, { signal })[Symbol.asyncIterator]();
  await first.next();
  await refusalOf(activity.watchUserActivity({}, { signal })[Symbol.asyncIterator]().next());
  for (let i = 0; !signal.aborted; i++) {
    const logins = Array.from({ length: 6 }, () =>
      refusalOf(kith.client(AuthService).login({ identifier: 'nobody', password: `wrong password ${i}` })),
    );
    const created = Array.from({ length: 40 }, () => contacts.createContact({ givenName: 'Grace' }));
    await Promise.all([...logins, ...created, refusalOf(kith.client(AuthService).userMe({}))]);
    await probe(`${kith.address}/healthz`); // on a connection of its own
    collectGarbage();
  }
  await first.return?.();
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

/** These say what was set, and when. */
const CONSTANT = new Set([
  'kith_build_info',
  'kith_budget_limit',
  'kith_limiter_running_limit',
  'kith_limiter_waiting_limit',
  'process_start_time_seconds',
]);
/** These take more load, or time, than a test should: see those of full queues and of what lags. */
const SELDOM = new Set([
  'kith_connections_refused_total',
  'kith_limiter_refusals_total',
  'kith_log_held_seconds',
  'kith_purged_rows_total',
  'kith_watch_lag_seconds',
  'kith_watch_wakes_waiting',
  'kith_watches_behind',
]);

describe.each(databases)('on $name', ({ create }) => {
  test('every documented series exists and moves, and every series is documented', async () => {
    const port = await freePorts(1);
    await using database = await create();
    await using kith = await startKith({
      database,
      env: {
        KITH_METRICS_PORT: String(port),
        KITH_WATCHES_PER_CALLER: '1',
        KITH_SIGN_IN_FAILURES_PER_ADDRESS: '20',
        KITH_DATABASE_CONNECTIONS: '2',
      },
      server: { purgeIntervalMs: 1000 },
    });
    const { accessToken } = await kith.admin();
    const table = await documented();
    const before = parse(await scrape(port));
    expect([...before.types.keys()].toSorted()).toEqual(table.map(({ name }) => name).toSorted());

    const key = ({ name, labels }: Series) => JSON.stringify([name, labels]);
    const values = new Map(before.lines.map((line) => [key(line), line.value]));
    const moved = new Set<string>();
    const labels = new Map<string, Set<string>>();
    const stopping = new AbortController();
    const busy = keepBusy(kith, accessToken, stopping.signal);
    busy.catch(() => {}); // is awaited below
    try {
      const expected = table.map(({ name }) => name).filter((name) => !CONSTANT.has(name) && !SELDOM.has(name));
      await vi.waitFor(async () => {
        for (const line of parse(await scrape(port)).lines) {
          if ((values.get(key(line)) ?? 0) !== line.value) moved.add(line.metric);
          const known = labels.get(line.metric) ?? new Set();
          labels.set(line.metric, known);
          for (const label of Object.keys(line.labels)) if (label !== 'le') known.add(label);
        }
        expect(expected.filter((name) => !moved.has(name))).toEqual([]);
      }, PATIENCE);
    } finally {
      stopping.abort();
      await busy;
    }
    expect([...moved].filter((name) => CONSTANT.has(name))).toEqual([]);
    for (const { name, labels: told } of table) expect.soft([...(labels.get(name) ?? [])], name).toEqual(told);
  });
});

describe.each([
  { way: 'fast', fastPath: 'true' },
  { way: 'connect', fastPath: 'false' },
])('with KITH_FAST_PATH=$fastPath', ({ way, fastPath }) => {
  test('calls are counted once each, by method, protocol, way, code and reason', async () => {
    const port = await freePorts(1);
    await using kith = await startKith({
      env: { KITH_METRICS_PORT: String(port), KITH_FAST_PATH: fastPath, KITH_LOG_ONE_IN: '1000' },
    });
    const { accessToken } = await kith.admin();
    for (const protocol of protocols) {
      await createClient(AuthService, protocol.transport(kith.address, accessToken)).userMe({});
      await refusalOf(createClient(AuthService, protocol.transport(kith.address, 'nonsense')).userMe({}));
      await refusalOf(createClient(AuthService, protocol.transport(kith.address)).login({ identifier: '' }));
    }
    const all = await scrape(port);
    const METHOD = { way, method: 'kith.auth.v1.AuthService/UserMe' };
    for (const [protocol, name] of [
      ['grpc', 'gRPC over'],
      ['grpc-web', 'gRPC-Web'],
      ['connect', 'Connect'],
    ] as const) {
      const count = protocols.filter((protocol) => protocol.name.startsWith(name)).length;
      const calls = { ...METHOD, protocol };
      const refused = { code: 'unauthenticated', reason: 'ERROR_REASON_ACCESS_TOKEN_INVALID' };
      expect.soft(sumOf(all, 'kith_calls_total', { ...calls, code: 'ok', reason: '' }), name).toBe(count);
      expect.soft(sumOf(all, 'kith_calls_total', { ...calls, ...refused }), name).toBe(count);
      expect.soft(sumOf(all, 'kith_calls_total', calls), name).toBe(2 * count);
      expect.soft(sumOf(all, 'kith_call_duration_seconds_count', calls), name).toBe(2 * count);
      expect.soft(sumOf(all, 'kith_call_duration_seconds_bucket', { ...calls, le: '+Inf' }), name).toBe(2 * count);
    }
    const refusedLogins = { method: 'kith.auth.v1.AuthService/Login', way, code: 'invalid_argument' };
    expect(sumOf(all, 'kith_calls_total', refusedLogins)).toBe(protocols.length);
  });
});

test('streams are counted when they end, and are not in the histogram of durations', async () => {
  const port = await freePorts(1);
  await using kith = await startKith({ env: { KITH_METRICS_PORT: String(port) } });
  const { accessToken } = await kith.admin();
  const leaving = new AbortController();
  const { signal } = leaving;
  const watch = kith.client(ActivityService, accessToken).watchUserActivity({}, { signal })[Symbol.asyncIterator]();
  await watch.next();
  const open = await scrape(port);
  expect(sumOf(open, 'kith_budget_used', { budget: 'watches' })).toBe(1);
  const METHOD = { method: 'kith.activity.v1.ActivityService/WatchUserActivity' };
  expect(sumOf(open, 'kith_calls_total', METHOD)).toBe(0);
  leaving.abort();
  await refusalOf(watch.next());
  await vi.waitFor(async () => {
    expect(sumOf(await scrape(port), 'kith_calls_total', { ...METHOD, code: 'canceled' })).toBe(1);
  }, PATIENCE);
  const ended = await scrape(port);
  expect(sumOf(ended, 'kith_budget_used', { budget: 'watches' })).toBe(0);
  expect(sumOf(ended, 'kith_call_duration_seconds_count', METHOD)).toBe(0);
});

test('full queues and full budgets are shown', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kith-metrics-'));
  try {
    await using database = await openDatabase(`sqlite:${join(directory, 'kith.db')}`);
    const budget = new Budget({ name: 'a', perCaller: 5, total: 10 });
    const bounds = { running: 1, runningPerCaller: 1, waiting: 2, waitingPerCaller: 1, waitMaxMs: 1000, taskMs: 1 };
    const limiter = new ConcurrencyLimiter({ name: 'b', ...bounds });
    const wakes = new WakeQueue(1);
    const purges = { ...createPurgeCounts(), lastMs: 5000 };
    purges.rows['answers'] = 7;
    const logStatus = { head: 12, horizon: 9, heldSinceMs: 7500 };
    const registry = new Registry();
    addServerMetrics(registry, {
      dialect: database.dialect,
      port: { ...createPortCounters(), connectionsRefused: 5, http2StreamsOpen: 6 },
      budgets: [budget],
      limiters: [limiter],
      wakes,
      watchLags: { count: 3, longestMs: 250 },
      logStatus: async () => ({ value: logStatus, tookMs: 1, atMs: 1 }),
      purges,
      throttled: { address: 3, account: 4 },
      now: () => 10_000,
    });
    const payer = 'user:1';
    const charge = budget.charge(payer, 4);
    expect(() => budget.charge(payer, 4)).toThrow('limited');
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const tasks = [limiter.run(payer, () => ended), limiter.run(payer, () => ended)];
    await expect(limiter.run(payer, () => ended)).rejects.toThrow('limited');
    for (let i = 0; i < 3; i++) wakes.add({ payer, wake() {} });
    const shown = await registry.text();
    for (const [name, value] of [
      ['kith_budget_used{budget="a"}', 4],
      ['kith_budget_limit{budget="a"}', 10],
      ['kith_budget_refusals_total{budget="a"}', 1],
      ['kith_limiter_running{limiter="b"}', 1],
      ['kith_limiter_running_limit{limiter="b"}', 1],
      ['kith_limiter_waiting{limiter="b"}', 1],
      ['kith_limiter_waiting_limit{limiter="b"}', 2],
      ['kith_limiter_refusals_total{limiter="b"}', 1],
      ['kith_watch_wakes_waiting', 2],
      ['kith_connections_refused_total', 5],
      ['kith_http2_streams', 6],
      ['kith_watches_behind', 3],
      ['kith_watch_lag_seconds', 0.25],
      ['kith_log_head', 12],
      ['kith_log_horizon', 9],
      ['kith_log_held_seconds', 2.5],
      ['kith_purged_rows_total{what="answers"}', 7],
      ['kith_purge_last_run_timestamp_seconds', 5],
      ['kith_sign_ins_throttled_total{by="address"}', 3],
      ['kith_sign_ins_throttled_total{by="account"}', 4],
    ] as const) {
      expect.soft(shown).toContain(`\n${name} ${value}\n`);
    }
    end();
    charge.release();
    await Promise.all(tasks);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('connections that are refused, and HTTP/2 streams, are counted where they are', async () => {
  const port = await freePorts(1);
  await using kith = await startKith({ env: { KITH_METRICS_PORT: String(port), KITH_CONNECTIONS_PER_ADDRESS: '2' } });
  const shown = async (name: string) => sumOf(await scrape(port), name);
  const idle = connect(kith.port, '127.0.0.1');
  await once(idle, 'connect');
  const client = http2.connect(kith.address);
  await once(client, 'remoteSettings');
  const stream = client.request({ ':method': 'POST', ':path': '/grpc.health.v1.Health/Watch', te: 'trailers' });
  stream.on('error', () => {});
  await vi.waitFor(async () => expect(await shown('kith_http2_streams')).toBe(1), PATIENCE);
  expect(await shown('kith_connections')).toBe(2);
  const refused = connect(kith.port, '127.0.0.1');
  await once(refused, 'close');
  await vi.waitFor(async () => expect(await shown('kith_connections_refused_total')).toBe(1), PATIENCE);
  expect([await shown('kith_connections_total'), await shown('kith_connections')]).toEqual([3, 2]);
  stream.close();
  await vi.waitFor(async () => expect(await shown('kith_http2_streams')).toBe(0), PATIENCE);
  idle.destroy();
  client.close();
  await vi.waitFor(async () => expect(await shown('kith_connections')).toBe(0), PATIENCE);
});

test('activity that an open transaction holds back is shown, and for how long', async () => {
  const port = await freePorts(1);
  await using database = await databases[1]!.create();
  await using kith = await startKith({ database, env: { KITH_METRICS_PORT: String(port) } });
  const { user, accessToken } = await kith.admin();
  const shown = async () => {
    const all = await scrape(port);
    return ['kith_log_head', 'kith_log_horizon', 'kith_log_held_seconds'].map((name) => sumOf(all, name));
  };
  await vi.waitFor(async () => {
    const [head, horizon, heldSeconds] = await shown();
    expect([head! - horizon!, heldSeconds]).toEqual([0, 0]);
  }, PATIENCE);
  const other = new Client({ connectionString: database.url });
  await other.connect();
  try {
    await other.query('begin; select pg_current_xact_id()');
    const activities = [1, 2, 3].map((n) => ({ userId: user.id, action: `held.n${n}` }));
    await kith.client(ActivityService, accessToken).recordUserActivity({ activities });
    await vi.waitFor(async () => {
      const [head, horizon, heldSeconds] = await shown();
      expect(head! - horizon!).toBe(3);
      expect(heldSeconds).toBeGreaterThan(0);
    }, PATIENCE);
  } finally {
    await other.end();
  }
  await vi.waitFor(async () => {
    const [head, horizon, heldSeconds] = await shown();
    expect([head! - horizon!, heldSeconds]).toEqual([0, 0]);
  }, PATIENCE);
});

test('metrics are served without the log while the database does not answer', async () => {
  const registry = new Registry();
  const { promise: never } = Promise.withResolvers<never>();
  let asked = 0;
  const ask = () => {
    asked += 1;
    return asked === 1 ? Promise.reject(new Error('gone')) : never;
  };
  const logStatus = sampled(ask, { keepMs: 1, waitMaxMs: 20 });
  let log: unknown = 'unread';
  registry.beforeReading(async () => void (log = await logStatus()));
  registry.gauge('kith_log_head', 'x', () => []);
  expect(await registry.text()).toBe('# HELP kith_log_head x\n# TYPE kith_log_head gauge\n');
  expect(log).toBeUndefined();
  await vi.waitFor(async () => {
    await registry.text();
    expect(asked).toBe(2);
  });
  await Promise.all([registry.text(), registry.text(), registry.text()]);
  expect(asked).toBe(2); // one question at a time, however many ask
});

test('the port of metrics serves nothing else, and the public port no metrics', async () => {
  const port = await freePorts(1);
  await using kith = await startKith({ env: { KITH_METRICS_PORT: String(port) } });
  const at = `http://127.0.0.1:${port}`;
  const answer = await fetch(`${at}/metrics`);
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(await fetch(`${at}/metrics`, { method: 'HEAD' }).then((head) => head.text())).toBe('');
  for (const path of ['/', '/healthz', '/metrics/', '/kith.auth.v1.AuthService/UserMe', '/%6Detrics']) {
    expect.soft((await fetch(at + path)).status, path).toBe(404);
  }
  expect((await fetch(`${at}/metrics`, { method: 'POST', body: 'x' })).status).toBe(405);
  expect(await probe(`${kith.address}/metrics`)).toMatchObject({ status: 404 });
});

test('a port of metrics that is taken ends the start, and the message names its settings', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  await using kith = await spawnKith({ env: { KITH_METRICS_PORT: String(port) } });
  const { code, stderr } = await kith.exited;
  taken.close();
  expect(stderr).toMatch(/^kith: cannot listen: .*EADDRINUSE.*; see KITH_METRICS_HOST and KITH_METRICS_PORT\n$/);
  expect(code).toBe(69);
});

test('each worker has metrics on a port of its own, which the one in its place takes over', async () => {
  await using database = await databases[1]!.create();
  const port = await freePorts(2);
  await using kith = await startProcess({
    env: {
      KITH_DATABASE_URL: database.url,
      KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
      KITH_WORKERS: '2',
      KITH_DATABASE_CONNECTIONS: '2',
      KITH_METRICS_PORT: String(port),
    },
  });
  const startOf = async (at: number) => sumOf(await scrape(at), 'process_start_time_seconds');
  const starts = await vi.waitFor(async () => [await startOf(port), await startOf(port + 1)], PATIENCE);
  expect(new Set(starts).size).toBe(2);
  const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=,args=']);
  const workers = stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, command]) => Number(parent) === kith.pid && command !== 'ps')
    .map(([pid]) => Number(pid));
  for (const pid of workers) process.kill(pid, 'SIGKILL');
  await vi.waitFor(async () => {
    const later = [await startOf(port), await startOf(port + 1)];
    for (const [i, start] of later.entries()) expect(start).toBeGreaterThan(starts[i]!);
  }, PATIENCE);
}, 120_000);

describe('deploy/', () => {
  test('the alert rules and the dashboard ask for documented metrics alone, and the dashboard for each', async () => {
    const names = new Set((await documented()).map(({ name }) => name));
    const rules = await readFile('deploy/prometheus/kith.rules.yml', 'utf8');
    const dashboard = (await queries()).join('\n');
    const asked = (of: string) =>
      [...of.matchAll(/\b(?:kith|nodejs|process)_\w+/g)].map(([name]) => metricOf(name, names));
    const known = [...names];
    expect(known).toEqual(expect.arrayContaining(asked(rules)));
    expect(known).toEqual(expect.arrayContaining(asked(dashboard)));
    const shown = new Set(asked(dashboard));
    expect(known.filter((name) => !shown.has(name) && !NOT_ON_DASHBOARD.has(name))).toEqual([]);
  });

  test('promtool accepts the alert rules and the queries of the dashboard, and the alerts fire', async (context) => {
    const promtool = needCommand(context, 'promtool');
    const directory = await mkdtemp(join(tmpdir(), 'kith-promtool-'));
    try {
      const records = (await queries()).map((expr, i) => ({ record: `kith:panel_${i}`, expr: filled(expr) }));
      const panels = join(directory, 'panels.yml');
      await writeFile(panels, JSON.stringify({ groups: [{ name: 'panels', rules: records }] }));
      const rules = await Array.fromAsync(glob('deploy/prometheus/*.rules.yml'));
      expect(rules).not.toEqual([]);
      const checked = await run(promtool, ['check', 'rules', ...rules, panels]);
      expect(checked).toEqual({ code: 0, stdout: expect.stringContaining('SUCCESS'), stderr: '' });
      const tested = await run(promtool, ['test', 'rules', 'test/fixtures/alerts.test.yml']);
      expect(tested).toEqual({ code: 0, stdout: expect.stringContaining('SUCCESS'), stderr: '' });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('every panel shows something of a server under load, and Prometheus evaluates every alert', async (context) => {
    const prometheus = needCommand(context, 'prometheus');
    const [port, at] = [await freePorts(1), await freePorts(1)];
    const directory = await mkdtemp(join(tmpdir(), 'kith-prometheus-'));
    await using kith = await startKith({
      env: {
        KITH_METRICS_PORT: String(port),
        KITH_WATCHES_PER_CALLER: '1',
        KITH_SIGN_IN_FAILURES_PER_ADDRESS: '20',
      },
    });
    const { accessToken } = await kith.admin();
    const config = {
      global: { scrape_interval: '250ms', scrape_timeout: '250ms', evaluation_interval: '500ms' },
      rule_files: [resolve('deploy/prometheus/kith.rules.yml')],
      scrape_configs: [{ job_name: 'kith', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
    };
    await writeFile(join(directory, 'prometheus.yml'), JSON.stringify(config));
    const child = spawn(
      prometheus,
      [
        `--config.file=${join(directory, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${at}`,
        '--log.level=error',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const stopping = new AbortController();
    const busy = keepBusy(kith, accessToken, stopping.signal);
    busy.catch(() => {}); // is awaited below
    try {
      const ask = async (path: string): Promise<unknown> => {
        const { status, data, error } = JSON.parse((await probe(`http://127.0.0.1:${at}/api/v1/${path}`)).body);
        if (status !== 'success') throw new Error(`${path}: ${error}`);
        return data;
      };
      const expressions = (await queries()).map((expr) => expr.replaceAll('$__rate_interval', '3s'));
      const empty = new Set(expressions);
      await vi.waitFor(async () => {
        for (const expr of empty) {
          const { result } = (await ask(`query?query=${encodeURIComponent(filled(expr))}`)) as {
            result: readonly { value: readonly [time: number, value: string] }[];
          };
          if (result.some(({ value: [, value] }) => Number.isFinite(Number(value)))) empty.delete(expr);
        }
        expect([...empty]).toEqual([]);
      }, PATIENCE);
      await vi.waitFor(async () => {
        const { groups } = (await ask('rules')) as {
          groups: readonly { rules: readonly { name: string; health: string; lastError?: string }[] }[];
        };
        const rules = groups.flatMap((group) => group.rules);
        const written = (await readFile('deploy/prometheus/kith.rules.yml', 'utf8')).matchAll(/- alert: (\w+)/g);
        expect(rules.map(({ name }) => name)).toEqual([...written].map(([, name]) => name));
        expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
      }, PATIENCE);
    } finally {
      stopping.abort();
      await busy;
      child.kill();
      await once(child, 'exit');
      await rm(directory, { recursive: true });
    }
  });

  test('promtool finds nothing wrong with the metrics of a server', async (context) => {
    const promtool = needCommand(context, 'promtool');
    const port = await freePorts(1);
    await using kith = await startKith({ env: { KITH_METRICS_PORT: String(port) } });
    await kith.user();
    await refusalOf(kith.client(AuthService).login({ identifier: 'admin', password: `not ${ADMIN_PASSWORD}` }));
    const checking = spawn(promtool, ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
    checking.stdin.end(await scrape(port));
    const [stdout, stderr] = await Promise.all([text(checking.stdout), text(checking.stderr)]);
    expect(stdout + stderr).toBe('');
  });
});

/** What the number of connections is made of, and the memory of one label. */
const NOT_ON_DASHBOARD = new Set(['kith_connections_total', 'kith_limiter_waiting_limit']);

function metricOf(name: string, metrics: ReadonlySet<string>): string {
  return metrics.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
}

/** Of all panels of the dashboard. */
async function queries(): Promise<string[]> {
  const { panels } = JSON.parse(await readFile('deploy/grafana/kith.json', 'utf8')) as {
    panels: readonly { targets: readonly { expr: string }[] }[];
  };
  return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
}

/** With what Grafana puts in the place of its variables. */
function filled(expr: string): string {
  return expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*');
}
