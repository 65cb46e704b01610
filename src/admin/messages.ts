import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type GetStatusResponseSchema,
  LogLevel,
  type SettingSchema,
  SettingSection,
  SettingSource,
  type LogLevelStatusSchema,
  type ServerProcessSchema,
} from '../../gen/kith/admin/v1/admin_service_pb.ts';
import type { LogLevel as DomainLogLevel, ShownSetting } from '../config/config.ts';
import { latestMigration } from '../storage/migrate.ts';
import { heldForMs } from './measured.ts';
import { toSigningKeyMessage } from '../identity/tokens/messages.ts';
import type { ServerProcess, Status } from './admin.ts';
import type { LogLevelState } from './log-level.ts';

const LEVEL_MESSAGES = {
  trace: LogLevel.TRACE,
  debug: LogLevel.DEBUG,
  info: LogLevel.INFO,
  warn: LogLevel.WARN,
  error: LogLevel.ERROR,
  fatal: LogLevel.FATAL,
  silent: LogLevel.SILENT,
} satisfies Record<DomainLogLevel, LogLevel>;

/** Undefined for LOG_LEVEL_UNSPECIFIED. */
export function fromLogLevel(level: LogLevel): DomainLogLevel | undefined {
  return (Object.keys(LEVEL_MESSAGES) as DomainLogLevel[]).find((name) => LEVEL_MESSAGES[name] === level);
}

export function toLogLevelMessage(state: LogLevelState): MessageInitShape<typeof LogLevelStatusSchema> {
  const { level, setting, revertMs } = state;
  return {
    level: LEVEL_MESSAGES[level],
    setting: LEVEL_MESSAGES[setting],
    ...(revertMs !== undefined && { revertTime: timestampFromMs(revertMs) }),
  };
}

export function toProcessMessage(of: ServerProcess): MessageInitShape<typeof ServerProcessSchema> {
  const { startMs, nowMs, ...rest } = of;
  return { ...rest, startTime: timestampFromMs(Math.round(startMs)), currentTime: timestampFromMs(nowMs) };
}

const SOURCES = {
  default: SettingSource.DEFAULT,
  environment: SettingSource.ENVIRONMENT,
  dotEnv: SettingSource.DOT_ENV,
  file: SettingSource.FILE,
} satisfies Record<ShownSetting['source'], SettingSource>;

const SECTIONS = {
  server: SettingSection.SERVER,
  database: SettingSection.DATABASE,
  secrets: SettingSection.SECRETS,
  signIn: SettingSection.SIGN_IN,
  mail: SettingSection.MAIL,
  signUp: SettingSection.SIGN_UP,
  data: SettingSection.DATA,
  pages: SettingSection.PAGES,
  limits: SettingSection.LIMITS,
  stopping: SettingSection.STOPPING,
  logs: SettingSection.LOGS,
} satisfies Record<ShownSetting['section'], SettingSection>;

export function toSettingMessage({ source, section, ...rest }: ShownSetting): MessageInitShape<typeof SettingSchema> {
  return { ...rest, source: SOURCES[source], section: SECTIONS[section] };
}

export function toStatusMessage(status: Status): MessageInitShape<typeof GetStatusResponseSchema> {
  const { measured, database, log } = status;
  const { dialect, port, watchLags, wakes } = measured;
  const { used, idle, waiting } = dialect.connections();
  return {
    process: toProcessMessage(status.process),
    database: {
      kind: dialect.name,
      available: database !== undefined,
      serverVersion: database?.serverVersion ?? '',
      schema: database?.schema ?? '',
      migrations: (database?.migrations ?? []).map(({ name, applyMs }) => ({
        name,
        applyTime: timestampFromMs(applyMs),
      })),
      latestMigration: latestMigration(),
      connectionsUsed: used,
      connectionsIdle: idle,
      tasksWaiting: waiting,
    },
    signingKeys: status.keys.map(toSigningKeyMessage),
    ...(log !== undefined && {
      activityLog: {
        head: BigInt(log.head),
        horizon: BigInt(log.horizon),
        heldBack: durationFromMs(heldForMs(log, status.process.nowMs)),
      },
    }),
    traffic: {
      connections: port.connectionsOpen,
      connectionsRefused: BigInt(port.connectionsRefused),
      http2Streams: port.http2StreamsOpen,
      watchesBehind: watchLags.count,
      longestWatchLag: durationFromMs(Math.round(watchLags.longestMs)),
      watchesWaking: wakes.size,
    },
    budgets: measured.budgets.map(({ limits, used, refusals }) => ({
      name: limits.name,
      used: BigInt(used),
      limit: BigInt(limits.total),
      callerLimit: BigInt(limits.perCaller),
      refusals: BigInt(refusals),
    })),
    queues: measured.limiters.map(({ limits, running, waiting, refusals }) => ({
      name: limits.name,
      running,
      runningLimit: limits.running,
      waiting,
      waitingLimit: limits.waiting,
      refusals: BigInt(refusals),
    })),
    logLevel: toLogLevelMessage(status.logLevel),
  };
}
