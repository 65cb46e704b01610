import type { LogStatus } from '../activity/log/status.ts';
import { hostname } from 'node:os';
import packageJson from '../../package.json' with { type: 'json' };
import type { Caller } from '../kernel/access.ts';
import { recordActivity } from '../activity/log/log.ts';
import type { App } from '../app.ts';
import type { LogLevel, ShownSetting } from '../config/config.ts';
import type { DatabaseFacts } from '../storage/facts.ts';
import type { Measured } from './measured.ts';
import type { Sample } from '../kernel/sampled.ts';
import type { ScheduledKey } from '../identity/tokens/rotation.ts';
import type { LogLevelState, LogLevelSwitch } from './log-level.ts';

export interface AdminApp extends App {
  readonly measured: Measured;
  readonly logLevel: LogLevelSwitch;
  /** What this process goes by. */
  readonly settings: () => readonly ShownSetting[];
  readonly signingKeys: { schedule(): readonly ScheduledKey[] };
  /** Undefined if the database does not answer in time. */
  readonly databaseFacts: () => Promise<Sample<DatabaseFacts> | undefined>;
  /** Called with the error if the activity of a new level could not be recorded. */
  readonly onUnrecorded: (error: unknown) => void;
  /** The number of this process among those that share a port, from 1; undefined for the only one. */
  readonly worker: number | undefined;
}

/** A process that serves. Times in milliseconds since 1970. */
export interface ServerProcess {
  readonly version: string;
  readonly nodeVersion: string;
  readonly hostname: string;
  readonly pid: number;
  readonly worker: number;
  readonly startMs: number;
  readonly nowMs: number;
}

export interface Status {
  readonly process: ServerProcess;
  readonly measured: Measured;
  readonly database: DatabaseFacts | undefined;
  readonly log: LogStatus | undefined;
  readonly keys: readonly ScheduledKey[];
  readonly logLevel: LogLevelState;
}

/** Describes this process. Takes at most a second if the database does not answer. */
export async function readStatus(app: AdminApp): Promise<Status> {
  const [database, log] = await Promise.all([app.databaseFacts(), app.measured.logStatus()]);
  return {
    process: describeProcess(app),
    measured: app.measured,
    database: database?.value,
    log: log?.value,
    keys: app.signingKeys.schedule(),
    logLevel: app.logLevel.state,
  };
}

export function describeProcess({ now, worker = 0 }: Pick<AdminApp, 'now' | 'worker'>): ServerProcess {
  return {
    version: packageJson.version,
    nodeVersion: process.versions.node,
    hostname: hostname(),
    pid: process.pid,
    worker,
    startMs: performance.timeOrigin,
    nowMs: now(),
  };
}

/**
 * Sets the level of this process's log; undefined for that of the settings. If the activity cannot be
 * recorded, the level is set all the same: an operator needs the log to find out why a database cannot be
 * written. The log says in any case who set the level.
 */
export async function setLogLevel(
  app: AdminApp,
  caller: Caller,
  level: LogLevel | undefined,
  durationMs: number | undefined,
): Promise<LogLevelState> {
  app.logLevel.set({ level, durationMs, userId: caller.userId });
  const { state } = app.logLevel;
  const { hostname: host, pid } = describeProcess(app);
  const attributes = { level: state.level, hostname: host, pid: String(pid) };
  const activity = { userId: caller.userId, by: caller, action: 'kith.log_level.set' as const, attributes };
  await app.database.transaction((tx) => recordActivity(tx, app, activity)).catch(app.onUnrecorded);
  return state;
}
