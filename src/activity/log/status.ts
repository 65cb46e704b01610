import type { App } from '../../app.ts';
import { selectLogStatus } from './store.ts';

/** How far the log has come, and how far it may be read. Positions are given by `seq`, which counts all activities. */
export interface LogStatus {
  /** The newest activity; 0 before the first one. */
  readonly head: number;
  /**
   * The newest activity that watches may be sent. Before the head while a transaction is open, here or elsewhere
   * on the same server, that is older than those which wrote the rest.
   */
  readonly horizon: number;
  /** When the first activity after the horizon was recorded, milliseconds since 1970; undefined without one. */
  readonly heldSinceMs: number | undefined;
}

/** How far the log has come, and how far it may be read. Reads two or three rows. */
export function readLogStatus({ database }: Pick<App, 'database'>): Promise<LogStatus> {
  return selectLogStatus(database);
}
