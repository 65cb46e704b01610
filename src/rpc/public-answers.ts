import { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';

/**
 * Large answers to anybody that are being written. Each takes its size until its reader has taken it, however slowly.
 * One that has to wait longer is refused, and asked for again.
 */
const WRITING = {
  running: 32,
  runningPerCaller: 4,
  waiting: 1000,
  waitingPerCaller: 100,
  waitMaxMs: 60_000,
  taskMs: 5,
};

/** Limits the answers of one kind that are written at once, by their address and in all. `name`: of the budget. */
export function limitPublicAnswers(name: string): ConcurrencyLimiter {
  return new ConcurrencyLimiter({ name, ...WRITING });
}
