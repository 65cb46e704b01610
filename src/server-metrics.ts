import type { Server } from 'node:net';
import packageJson from '../package.json' with { type: 'json' };
import type { Budget } from './budget/budget.ts';
import type { FairLimiter } from './budget/fair-limiter.ts';
import type { Dialect } from './db/dialect.ts';
import type { Registry, Sample } from './metrics/registry.ts';

/** What a server has to show besides its calls. */
export interface Measured {
  readonly dialect: Dialect;
  readonly listener: Server;
  readonly budgets: readonly Budget[];
  readonly limiters: readonly FairLimiter[];
  /** How many watches wait to be woken. */
  readonly wakes: { readonly size: number };
  /** Guesses at passwords and codes that had to wait, by what they were counted for. */
  readonly throttled: Readonly<Record<string, number>>;
}

/** Adds what a server holds, queues and refuses. Every metric stands in docs/operations.md. */
export function addServerMetrics(registry: Registry, measured: Measured): void {
  const { dialect, listener, budgets, limiters, wakes, throttled } = measured;
  registry.gauge('kith_build_info', 'Always 1; the labels say what runs.', () => [
    [{ version: packageJson.version, node: process.version, database: dialect.name }, 1],
  ]);

  let accepted = 0;
  let open = 0;
  listener.on('connection', (socket) => {
    accepted += 1;
    open += 1;
    socket.once('close', () => (open -= 1));
  });
  registry.counter('kith_connections_total', 'Connections that came, refused ones too.', () => [[{}, accepted]]);
  registry.gauge('kith_connections', 'Connections that are open.', () => [[{}, open]]);

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

  const ofLimiters = (read: (limiter: FairLimiter) => number) => (): Sample[] =>
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
}
