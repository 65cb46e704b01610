import type { LogStatus } from '../activity/log/status.ts';
import packageJson from '../../package.json' with { type: 'json' };
import type { Budget } from '../budget/budget.ts';
import type { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import { heldForMs, type Measured } from './measured.ts';
import type { Registry, Sample } from '../metrics/registry.ts';

/** Adds what a server holds, queues and refuses. Every metric stands in docs/operations.md. */
export function addServerMetrics(registry: Registry, measured: Measured): void {
  const { dialect, port, budgets, limiters, wakes, watchLags, logStatus, purges, throttled, now } = measured;
  registry.gauge('kith_build_info', 'Always 1; the labels say what runs.', () => [
    [{ version: packageJson.version, node: process.version, database: dialect.name }, 1],
  ]);

  registry.counter('kith_connections_total', 'Connections that came, refused ones too.', () => [
    [{}, port.connectionsAccepted],
  ]);
  registry.counter('kith_connections_refused_total', 'Connections that were refused since too many were open.', () => [
    [{}, port.connectionsRefused],
  ]);
  registry.gauge('kith_connections', 'Connections that are open.', () => [[{}, port.connectionsOpen]]);
  registry.gauge('kith_http2_streams', 'HTTP/2 streams that are open.', () => [[{}, port.http2StreamsOpen]]);

  const ofBudgets = (read: (budget: Budget) => number) => (): Sample[] =>
    budgets.map((budget) => [{ budget: budget.limits.name }, read(budget)]);
  registry.gauge(
    'kith_budget_used',
    'What callers hold of each budget, in its unit.',
    ofBudgets(({ used }) => used),
  );
  registry.gauge(
    'kith_budget_limit',
    'What all callers may hold.',
    ofBudgets(({ limits }) => limits.total),
  );
  registry.counter(
    'kith_budget_refusals_total',
    'What was refused.',
    ofBudgets(({ refusals }) => refusals),
  );

  const ofLimiters = (read: (limiter: ConcurrencyLimiter) => number) => (): Sample[] =>
    limiters.map((limiter) => [{ limiter: limiter.limits.name }, read(limiter)]);
  registry.gauge(
    'kith_limiter_running',
    'Tasks that run.',
    ofLimiters(({ running }) => running),
  );
  registry.gauge(
    'kith_limiter_running_limit',
    'Tasks that may run.',
    ofLimiters(({ limits }) => limits.running),
  );
  registry.gauge(
    'kith_limiter_waiting',
    'Tasks that wait.',
    ofLimiters(({ waiting }) => waiting),
  );
  registry.gauge(
    'kith_limiter_waiting_limit',
    'Tasks that may wait.',
    ofLimiters(({ limits }) => limits.waiting),
  );
  registry.counter(
    'kith_limiter_refusals_total',
    'Tasks that were refused.',
    ofLimiters(({ refusals }) => refusals),
  );

  registry.gauge('kith_watch_wakes_waiting', 'Watches that wait to be woken.', () => [[{}, wakes.size]]);
  registry.gauge('kith_watches_behind', 'Watches that have not been sent all that there is for them.', () => [
    [{}, watchLags.count],
  ]);
  registry.gauge('kith_watch_lag_seconds', 'For how long the watch furthest behind has been behind.', () => [
    [{}, watchLags.longestMs / 1000],
  ]);

  let log: LogStatus | undefined;
  registry.beforeReading(async () => {
    log = (await logStatus())?.value;
  });
  const ofLog = (read: (status: LogStatus) => number) => (): Sample[] => (log === undefined ? [] : [[{}, read(log)]]);
  registry.gauge(
    'kith_log_head',
    'The number of the newest activity.',
    ofLog(({ head }) => head),
  );
  registry.gauge(
    'kith_log_horizon',
    'The number of the newest activity that watches may be sent.',
    ofLog(({ horizon }) => horizon),
  );
  registry.gauge(
    'kith_log_held_seconds',
    'For how long activity has been held back by a transaction that is open.',
    ofLog((status) => heldForMs(status, now()) / 1000),
  );

  registry.counter('kith_purged_rows_total', 'Rows that were removed since they were past their time.', () =>
    Object.entries(purges.rows).map(([what, rows]) => [{ what }, rows]),
  );
  registry.gauge('kith_purge_last_run_timestamp_seconds', 'When a purge went through last, seconds since 1970.', () =>
    purges.lastMs === undefined ? [] : [[{}, purges.lastMs / 1000]],
  );

  registry.counter('kith_sign_ins_throttled_total', 'Guesses at passwords and codes that had to wait.', () =>
    Object.entries(throttled).map(([by, count]) => [{ by }, count]),
  );
  registry.gauge('kith_database_connections', 'Connections to the database; of a file, the one that writes.', () => {
    const { used, idle } = dialect.connections();
    return [
      [{ state: 'used' }, used],
      [{ state: 'idle' }, idle],
    ];
  });
  registry.gauge('kith_database_waiting', 'Tasks that wait for one of them.', () => [
    [{}, dialect.connections().waiting],
  ]);
  registry.histogram('kith_commit_duration_seconds', 'How long transactions took to commit.', () => [
    [{}, dialect.commits],
  ]);
}
