import type { App } from '../app.ts';
import type { LogStatus } from '../measured.ts';
import { selectLogStatus } from './store.ts';

/** How far the log has come, and how far it may be read. Reads two or three rows. */
export function readLogStatus({ database }: Pick<App, 'database'>): Promise<LogStatus> {
  return selectLogStatus(database);
}
