import type { App } from '../../app.ts';
import { type LogStatus, selectLogStatus } from './store.ts';

export type { LogStatus } from './store.ts';

/** How far the log has come, and how far it may be read. Reads two or three rows. */
export function readLogStatus({ database }: Pick<App, 'database'>): Promise<LogStatus> {
  return selectLogStatus(database);
}
