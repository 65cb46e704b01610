import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import packageJson from '../package.json' with { type: 'json' };
import { type Config, ConfigError, describeSettings, parseConfig } from './config.ts';
import { DatabaseError } from './db/dialect.ts';
import { Failure } from './failure.ts';
import { AccessDeclarationError } from './rpc/access.ts';
import { SecretKeyError } from './secret-key.ts';
import { ADMIN_USERNAME, type Server, startServer } from './server.ts';

const HELP = `Kith ${packageJson.version}: ${packageJson.description}

Usage: npm start [-- OPTION]

  --help     Print this.
  --version  Print the version.

Settings are environment variables, also read from a file .env:

${describeSettings()}
`;

/** What a start ends with, after the exit codes of sysexits(3). */
const EXIT = { FAULT: 70, UNAVAILABLE: 69, CONFIG: 78 };

async function main(): Promise<void> {
  const { help, version } = parseArgs({ options: { help: { type: 'boolean' }, version: { type: 'boolean' } } }).values;
  if (help) return console.log(HELP);
  if (version) return console.log(packageJson.version);

  loadEnvFile();
  const config = parseConfig(process.env);
  const generated = randomBytes(15).toString('base64url');
  const server = await startServer(config, config.adminPassword ?? generated);
  stopOnSignals(server);
  announce(config, server, generated);
}

function loadEnvFile(): void {
  try {
    if (existsSync('.env')) process.loadEnvFile('.env');
  } catch (error) {
    throw new ConfigError('.env: is not a file that can be read', { cause: error });
  }
}

/** On standard error, since the log is on standard output: the password is shown to a person, once, and not collected. */
function announce(config: Config, { address, createdAdmin }: Server, generated: string): void {
  console.error(`Kith ${packageJson.version} serves gRPC, gRPC-Web and Connect at ${address}`);
  if (createdAdmin === undefined) return;
  const password = config.adminPassword === undefined ? generated : `'"$KITH_ADMIN_PASSWORD"'`; // for the shell to fill in
  console.error(
    config.adminPassword === undefined
      ? `\nThe administrator is "${ADMIN_USERNAME}", the password (shown only now): ${generated}`
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
    if (stopping) process.exit(EXIT.UNAVAILABLE); // asked twice
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
  if (error instanceof DatabaseError || error instanceof SecretKeyError || error instanceof AccessDeclarationError) {
    return [error.message, EXIT.CONFIG];
  }
  if (error instanceof Failure) return [`${error.message}: ${causeOf(error)}`, EXIT.UNAVAILABLE];
  if (error instanceof Error && 'syscall' in error && ['listen', 'getaddrinfo'].includes(String(error.syscall))) {
    return [`cannot listen: ${error.message}; see KITH_HOST and KITH_PORT`, EXIT.UNAVAILABLE];
  }
  if (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_')) {
    return [`${error.message}; see npm start -- --help`, EXIT.CONFIG];
  }
  return [error instanceof Error ? (error.stack ?? error.message) : String(error), EXIT.FAULT];
}

function causeOf({ cause }: Error): string {
  return cause instanceof Error ? cause.message : String(cause);
}

await main().catch(fail);
