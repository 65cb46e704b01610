import { type DestinationStream, type Logger, pino } from 'pino';
import type { LogLevel } from '../config/config.ts';
import { systemClock } from '../kernel/clock.ts';
import { openLogDestination } from './log-destination.ts';

export interface LoggerOptions {
  readonly level: LogLevel;
  /** In each line, where several processes write to one log. */
  readonly worker?: number | undefined;
  /** Default: standard output. */
  readonly destination?: DestinationStream;
}

/** The log of the process: one JSON object a line. */
export function createLogger({ level, worker, destination = openLogDestination() }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: worker === undefined ? null : { worker },
      timestamp: createTimestamp(),
      formatters: { level: (label) => ({ level: label }) },
      // What Fastify logs of a request. No URL: it may hold a message.
      serializers: {
        err: describeError,
        req: ({ method, ip }: { method: string; ip: string }) => ({ method, remoteAddress: ip }),
        res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
      },
    },
    destination,
  );
}

/** The member `time` of lines in the log, written once for all of a millisecond. By the machine's clock, as other logs are. */
function createTimestamp(): () => string {
  let writtenMs = -1;
  let written = '';
  return () => {
    const nowMs = systemClock.now();
    if (nowMs !== writtenMs) {
      writtenMs = nowMs;
      written = `,"time":"${new Date(nowMs).toISOString()}"`;
    }
    return written;
  };
}

/** An error as a log line keeps it: where it came from and what led to it, and none of its other properties. */
function describeError(error: unknown): { type: string; message: string; stack: string } {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error), stack: '' };
  const stacks: string[] = [];
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    stacks.push(cause.stack ?? cause.message);
  return { type: error.name, message: error.message, stack: stacks.join('\ncaused by: ') };
}
