import cluster from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { flushCompileCache } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Env, serviceLinksOf } from '../config/config.ts';
import { Reloads } from '../config/reload.ts';
import type { Server } from '../server.ts';
import { announce } from './announce.ts';
import { EXIT, fail, say } from './exit.ts';
import { applySettings, readSettings } from './settings.ts';
import { onReload, reportServing, runWorkers, type Serving } from './workers.ts';
import { letYoungGenerationGrow } from './garbage-collection.ts';

/** So that whoever waits for the start is answered first. */
const WARM_UP_AFTER_MS = 1000;

/** Serves until a signal ends it. Settings are those of the environment; it takes no arguments. */
export async function serve(words: readonly string[]): Promise<void> {
  parseArgs({ args: [...words], options: { help: { type: 'boolean' }, version: { type: 'boolean' } } });
  passOverSignals();
  const given: Env = { ...process.env };
  const env = readSettings(given);
  const config = applySettings(env, given);

  const links = cluster.isPrimary ? serviceLinksOf(given) : [];
  if (links.length > 0) {
    say(`passes over what Kubernetes or Docker set for a service called kith: ${links.join(', ')}`);
  }
  const announced = (serving: Serving) => announce(config, serving);
  const reloads = new Reloads({ env, given, config, read: () => readSettings(given), say });
  // A terminal signals every process; the primary reads the settings for all of them.
  process.on('SIGHUP', () => void (cluster.isPrimary && reloads.reload()));
  if (cluster.isPrimary) reloads.watchFiles();
  if (config.workers > 1 && cluster.isPrimary) {
    letYoungGenerationGrow();
    process.exit(await runWorkers(config, reloads, announced));
  }

  if (cluster.isWorker) onReload((settings) => reloads.take(settings));
  const password = config.adminPassword ?? randomBytes(15).toString('base64url');
  const { startServer } = await import('../server.ts'); // a primary that only has workers does without
  const server = await startServer(config, password, { worker: cluster.worker?.id });
  reloads.onReload((settings) => server.reload(settings));
  stopOnSignals(server);
  const tell = cluster.isWorker ? reportServing : announced;
  tell({ address: server.address, createdAdmin: server.createdAdmin && { ...server.createdAdmin, password } });
  await sleep(WARM_UP_AFTER_MS, undefined, { ref: false });
  await server.warmUp();
  flushCompileCache(); // a process that is killed would keep nothing
  letYoungGenerationGrow();
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
