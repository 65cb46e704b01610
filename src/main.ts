import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import packageJson from '../package.json' with { type: 'json' };
import { announce } from './cli/announce.ts';
import { EXIT, fail, say } from './cli/exit.ts';
import { ConfigError, describeSettings, type Env, parseConfig, serviceLinksOf } from './config/config.ts';
import { EnvFileError, readEnvFile } from './config/env-file.ts';
import { withEnvFile } from './config/environment.ts';
import { Reloads } from './config/reload.ts';
import type { Server } from './server.ts';
import { onReload, reportServing, runWorkers, type Serving } from './cli/workers.ts';

/**
 * Serves, or does what the arguments say. The server and the commands are loaded where they are needed: that takes most of
 * the time of a start, and the memory of a primary that only has workers.
 */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean' }, version: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (values.help) return console.log(await describeProgram());
  if (values.version) return console.log(packageJson.version);

  passOverSignals();
  const given: Env = { ...process.env };
  const env = readSettings(given);
  const config = parseConfig(env);
  for (const [name, value] of Object.entries(env)) {
    // Other variables of .env are for libraries, such as PGPASSWORD.
    if (!name.startsWith('KITH_') && value !== undefined) process.env[name] ??= value;
  }
  if (positionals.length > 0) {
    const { runCommand } = await import('./cli/commands.ts');
    return runCommand(config, positionals);
  }

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
  const { startServer } = await import('./server.ts');
  const server = await startServer(config, password, { worker: cluster.worker?.id });
  reloads.onReload((settings) => server.reload(settings));
  stopOnSignals(server);
  const tell = cluster.isWorker ? reportServing : announced;
  tell({ address: server.address, createdAdmin: server.createdAdmin && { ...server.createdAdmin, password } });
}

/** What `--help` prints. */
async function describeProgram(): Promise<string> {
  const { describeCommands } = await import('./cli/commands.ts');
  return `Kith ${packageJson.version}: ${packageJson.description}

Usage: npm start [-- OPTION]
       npm run kith -- COMMAND

  --help     Print this.
  --version  Print the version.

Commands, instead of serving:

${describeCommands()}

Settings are environment variables, also read from a file .env:

${describeSettings()}
`;
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

await main().catch(fail);
