import { ConfigError } from '../config/config.ts';
import { MetricsListenError } from '../http/metrics-server.ts';
import { Failure } from '../kernel/failure.ts';
import { SecretKeyError } from '../kernel/secret-key.ts';
import { AccessDeclarationError } from '../rpc/access-declaration-error.ts';
import { DatabaseError, DatabaseUnavailable } from '../storage/dialect.ts';

/** What the process ends with when it cannot go on, after the exit codes of sysexits(3). */
export const EXIT = { FAULT: 70, UNAVAILABLE: 69, CONFIG: 78 } as const;

/** Why a port cannot be listened on that time does not change: a port for the superuser, an address of a kind that there is not. */
const LISTEN_MISTAKES = new Set(['EACCES', 'EINVAL', 'EAFNOSUPPORT', 'ENODEV', 'ENXIO']);

/** Ends the process with one clear line, and a stack only for what nobody foresaw. */
export function fail(error: unknown): never {
  const [message, code] = explain(error);
  say(message);
  process.exit(code);
}

/** Writes lines for the operator, on standard error. */
export function say(message: string): void {
  console.error(message.replaceAll(/^/gm, 'kith: '));
}

function explain(error: unknown): [message: string, code: number] {
  if (error instanceof ConfigError) return [error.message, EXIT.CONFIG];
  if (error instanceof DatabaseUnavailable) return [error.message, EXIT.UNAVAILABLE];
  if (error instanceof DatabaseError || error instanceof SecretKeyError || error instanceof AccessDeclarationError) {
    return [error.message, EXIT.CONFIG];
  }
  if (error instanceof Failure) return [`${error.message}: ${causeOf(error)}`, EXIT.UNAVAILABLE];
  if (error instanceof MetricsListenError) {
    const [message, code] = explain(error.cause);
    return [message.replace('KITH_HOST and KITH_PORT', 'KITH_METRICS_HOST and KITH_METRICS_PORT'), code];
  }
  if (
    error instanceof Error &&
    'syscall' in error &&
    ['listen', 'bind', 'getaddrinfo'].includes(String(error.syscall))
  ) {
    const isMistake = 'code' in error && LISTEN_MISTAKES.has(String(error.code));
    return [`cannot listen: ${error.message}; see KITH_HOST and KITH_PORT`, isMistake ? EXIT.CONFIG : EXIT.UNAVAILABLE];
  }
  if (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_')) {
    const [what] = error.message.split('. To specify a positional'); // of no help here: no argument begins with a dash
    return [`${what}; see npm start -- --help`, EXIT.CONFIG];
  }
  return [error instanceof Error ? (error.stack ?? error.message) : String(error), EXIT.FAULT];
}

function causeOf({ cause }: Error): string {
  return cause instanceof Error ? cause.message : String(cause);
}
