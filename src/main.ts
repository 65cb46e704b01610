import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import packageJson from '../package.json' with { type: 'json' };
import { describeCommands, runCommand } from './cli/commands.ts';
import { type Config, ConfigError, describeSettings, type Env, parseConfig, serviceLinksOf } from './config/config.ts';
import { DatabaseError, DatabaseUnavailable } from './storage/dialect.ts';
import { EnvFileError, readEnvFile } from './config/env-file.ts';
import { withEnvFile } from './config/environment.ts';
import { Failure } from './kernel/failure.ts';
import { MetricsListenError } from './http/metrics-server.ts';
import { Reloads } from './config/reload.ts';
import { AccessDeclarationError } from './rpc/access.ts';
import { SecretKeyError } from './kernel/secret-key.ts';
import { ADMIN_USERNAME, type Server, startServer } from './server.ts';
import { onReload, reportServing, runWorkers, type Serving } from './cli/workers.ts';

const HELP = `Kith ${packageJson.version}: ${packageJson.description}

Usage: npm start [-- OPTION]
       npm run kith -- COMMAND

  --help     Print this.
  --version  Print the version.

Commands, instead of serving:

${describeCommands()}

Settings are environment variables, also read from a file .env:

${describeSettings()}
`;

/** What a start ends with, after the exit codes of sysexits(3). */
const EXIT = { FAULT: 70, UNAVAILABLE: 69, CONFIG: 78 };

/** Why a port cannot be listened on that time does not change: a port for the superuser, an address of a kind that there is not. */
const LISTEN_MISTAKES = new Set(['EACCES', 'EINVAL', 'EAFNOSUPPORT', 'ENODEV', 'ENXIO']);

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean' }, version: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (values.help) return console.log(HELP);
  if (values.version) return console.log(packageJson.version);

  passOverSignals();
  const given: Env = { ...process.env };
  const env = readSettings(given);
  const config = parseConfig(env);
  for (const [name, value] of Object.entries(env)) {
    // Other variables of .env are for libraries, such as PGPASSWORD.
    if (!name.startsWith('KITH_') && value !== undefined) process.env[name] ??= value;
  }
  if (positionals.length > 0) return runCommand(config, positionals);

  const links = cluster.isPrimary ? serviceLinksOf(given) : [];
  if (links.length > 0) {
    say(`passes over what Kubernetes or Docker set for a service called kith: ${links.join(', ')}`);
  }
  const announced = (serving: Serving) => announce(config, serving);
  const reloads = new Reloads({ env, config, read: () => readSettings(given), say });
  // A terminal signals every process; the primary reads the settings for all of them.
  process.on('SIGHUP', () => void (cluster.isPrimary && reloads.reload()));
  if (cluster.isPrimary) reloads.watchFiles();
  if (config.workers > 1 && cluster.isPrimary) process.exit(await runWorkers(config, reloads, announced));

  if (cluster.isWorker) onReload((settings) => reloads.take(settings));
  const password = config.adminPassword ?? randomBytes(15).toString('base64url');
  const server = await startServer(config, password, { worker: cluster.worker?.id });
  reloads.onReload((settings) => server.reload(settings));
  stopOnSignals(server);
  const tell = cluster.isWorker ? reportServing : announced;
  tell({ address: server.address, adminPassword: server.createdAdmin && password });
}

/** The variables that the process was given, and those in .env. A worker is given both by its primary. */
function readSettings(given: Env): Env {
  if (cluster.isWorker) return given;
  try {
    return withEnvFile(given, readEnvFile('.env'));
  } catch (error) {
    if (error instanceof EnvFileError) throw new ConfigError(error.message, { cause: error });
    throw error;
  }
}

/**
 * SIGUSR1 would open a debugger to whoever can connect to this machine's loopback
 * address (https://nodejs.org/api/process.html#signal-events), and SIGUSR2 end the process.
 */
function passOverSignals(): void {
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) {
    process.on(signal, () => say(`${signal} has no meaning and is passed over`));
  }
}

/** On standard error, since the log is on standard output: the password is shown to a person, once, and not collected. */
function announce(config: Config, { address, adminPassword }: Serving): void {
  console.error(`Kith ${packageJson.version} serves gRPC, gRPC-Web and Connect at ${address}`);
  if (adminPassword === undefined) {
    if (config.adminPassword !== undefined) {
      console.error('KITH_ADMIN_PASSWORD is not used: there are users already');
    }
    return;
  }
  const { adminPasswordFile: file } = config;
  // For the shell to fill in.
  const password =
    config.adminPassword === undefined
      ? adminPassword
      : file === undefined
        ? `'"$KITH_ADMIN_PASSWORD"'`
        : `'"$(cat "$KITH_ADMIN_PASSWORD_FILE")"'`;
  const where = file === undefined ? 'KITH_ADMIN_PASSWORD' : 'the file of KITH_ADMIN_PASSWORD_FILE';
  console.error(
    config.adminPassword === undefined
      ? `\nThe administrator is "${ADMIN_USERNAME}", the password (shown only now): ${adminPassword}`
      : `\nThe administrator is "${ADMIN_USERNAME}", the password is the one in ${where}`,
  );
  console.error(`\nTry it:\n
  curl ${address}/kith.auth.v1.AuthService/Login \\
    -H 'content-type: application/json' \\
    -d '{"identifier": "${ADMIN_USERNAME}", "password": "${password}"}'\n`);
}

function stopOnSignals(server: Server): void {
  let stopping = false;
  const stop = async (): Promise<void> => {
    // Asked twice. A worker may be: by its primary, and by a terminal or supervisor that signals every process.
    if (stopping && cluster.isWorker) return;
    if (stopping) process.exit(EXIT.UNAVAILABLE);
    stopping = true;
    await server.stop();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop().catch(fail));
}

/** Ends the process with one clear line, and a stack only for what nobody foresaw. */
function fail(error: unknown): never {
  const [message, code] = explain(error);
  say(message);
  process.exit(code);
}

function say(message: string): void {
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

await main().catch(fail);
