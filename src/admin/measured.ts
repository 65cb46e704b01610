import type { LogStatus } from '../activity/log/status.ts';
import type { Budget } from '../budget/budget.ts';
import type { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import type { Dialect } from '../storage/dialect.ts';
import type { PortCounters } from '../http/port-counters.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Sample } from '../kernel/sampled.ts';

/** What a server reports in metrics and in AdminService, besides its calls. */
export interface Measured extends Pick<Clock, 'now'> {
  readonly dialect: Dialect;
  readonly port: PortCounters;
  readonly budgets: readonly Budget[];
  readonly limiters: readonly ConcurrencyLimiter[];
  /** How many watches wait to be woken. */
  readonly wakes: { readonly size: number };
  /** How many watches lag, and for how long the one that has lagged longest, milliseconds. */
  readonly watchLags: { readonly count: number; readonly longestMs: number };
  /** The head and horizon of the log; undefined if the database does not answer in time. */
  readonly logStatus: () => Promise<Sample<LogStatus> | undefined>;
  readonly purges: { readonly rows: Readonly<Record<string, number>>; readonly lastMs: number | undefined };
  /** Guesses at passwords and codes that had to wait, by what they were counted for. */
  readonly throttled: Readonly<Record<string, number>>;
}

/** How long activity has been held back, milliseconds; 0 when none is. */
export function heldForMs({ heldSinceMs }: LogStatus, nowMs: number): number {
  return heldSinceMs === undefined ? 0 : Math.max(0, nowMs - heldSinceMs);
}
