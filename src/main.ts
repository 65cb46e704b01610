import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import packageJson from '../package.json' with { type: 'json' };
import { describeCommands, runCommand } from './commands/commands.ts';
import { type Config, ConfigError, describeSettings, parseConfig } from './config.ts';
import { DatabaseError, DatabaseUnavailable } from './db/dialect.ts';
import { Failure } from './failure.ts';
import { AccessDeclarationError } from './rpc/access.ts';
import { SecretKeyError } from './secret-key.ts';
import { ADMIN_USERNAME, type Server, startServer } from './server.ts';
import { reportServing, runWorkers, type Serving } from './workers.ts';

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

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean' }, version: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (values.help) return console.log(HELP);
  if (values.version) return console.log(packageJson.version);

  loadEnvFile();
  const config = parseConfig(process.env);
  const [command, ...args] = positionals;
  if (command !== undefined) return runCommand(config, command, args);

  const announced = (serving: Serving) => announce(config, serving);
  if (config.workers > 1 && cluster.isPrimary) process.exit(await runWorkers(config, announced));

  const password = config.adminPassword ?? randomBytes(15).toString('base64url');
  const server = await startServer(config, password, { worker: cluster.worker?.id });
  stopOnSignals(server);
  const tell = cluster.isWorker ? reportServing : announced;
  tell({ address: server.address, adminPassword: server.createdAdmin && password });
}

function loadEnvFile(): void {
  try {
    if (existsSync('.env')) process.loadEnvFile('.env');
  } catch (error) {
    throw new ConfigError('.env: is not a file that can be read', { cause: error });
  }
}

/** On standard error, since the log is on standard output: the password is shown to a person, once, and not collected. */
function announce(config: Config, { address, adminPassword }: Serving): void {
  console.error(`Kith ${packageJson.version} serves gRPC, gRPC-Web and Connect at ${address}`);
  if (adminPassword === undefined) return;
  const password = config.adminPassword === undefined ? adminPassword : `'"$KITH_ADMIN_PASSWORD"'`; // for the shell to fill in
  console.error(
    config.adminPassword === undefined
      ? `\nThe administrator is "${ADMIN_USERNAME}", the password (shown only now): ${adminPassword}`
      : `\nThe administrator is "${ADMIN_USERNAME}", the password is the one in KITH_ADMIN_PASSWORD`,
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
  console.error(message.replaceAll(/^/gm, 'kith: '));
  process.exit(code);
}

function explain(error: unknown): [message: string, code: number] {
  if (error instanceof ConfigError) return [error.message, EXIT.CONFIG];
  if (error instanceof DatabaseUnavailable) return [error.message, EXIT.UNAVAILABLE];
  if (error instanceof DatabaseError || error instanceof SecretKeyError || error instanceof AccessDeclarationError) {
    return [error.message, EXIT.CONFIG];
  }
  if (error instanceof Failure) return [`${error.message}: ${causeOf(error)}`, EXIT.UNAVAILABLE];
  if (
    error instanceof Error &&
    'syscall' in error &&
    ['listen', 'bind', 'getaddrinfo'].includes(String(error.syscall))
  ) {
    return [`cannot listen: ${error.message}; see KITH_HOST and KITH_PORT`, EXIT.UNAVAILABLE];
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
