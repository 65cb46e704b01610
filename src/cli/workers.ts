import cluster, { type Worker } from 'node:cluster';
import { systemClock } from '../kernel/clock.ts';
import type { Config, Reloadable } from '../config/config.ts';
import type { Reloads } from '../config/reload.ts';
import { EXIT } from './exit.ts';

/** What a worker says once it serves. It travels over the pipe between the two processes and is seen by nobody else. */
export interface Serving {
  /** As a URL without a path. */
  readonly address: string;
  /** The administrator that this start created, if it did. */
  readonly createdAdmin: { readonly username: string; readonly password: string } | undefined;
}

/** What a primary has its workers take over. PEM; it travels as `Serving` does. */
interface Reload extends Pick<Reloadable, 'logLevel' | 'mailTemplates' | 'settings'> {
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

/** The pause before a worker that ended is replaced, milliseconds; it doubles with each that ends soon after another. */
const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 10_000;

/** After this long without a worker ending, the next one is replaced as fast as the first, milliseconds. */
const CALM_MS = 60_000;

/** How often starting is tried in vain when no worker serves any more. */
const FAILED_STARTS_MAX = 5;

/** How much longer than the settings say workers may take to stop, milliseconds. */
const STOP_GRACE_MS = 5000;

/**
 * Runs `config.workers` processes of this program that share its port, replaces
 * those that end, and stops them on SIGTERM or SIGINT. Resolves to the exit code.
 *
 * The first worker starts alone: it brings the tables up to date and creates the
 * administrator, and what keeps it from serving is said once and ends the
 * start. The primary accepts connections and hands them round, so those that
 * wait when a worker dies go to another one.
 *
 * One process to a database file: several could share it, but each write would
 * contend for the one lock of the file, with the event loop standing still
 * meanwhile, and watchers would hear of the other processes by polling alone.
 * The settings therefore refuse it; see docs/decisions/workers.md.
 *
 * @param reloads has the settings that workers are started with, and those that they take over while they run
 * @param onServing is told of the first worker that serves, and of any that created the administrator
 */
export function runWorkers(config: Config, reloads: Reloads, onServing: (serving: Serving) => void): Promise<number> {
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  const workers = new Set<Worker>();
  const serving = new Set<Worker>();
  /** Which of the `config.workers` each one is, from 0. The one in place of another has its number. */
  const places = new Map<Worker, number>();
  const restarts = new Set<NodeJS.Timeout>();
  let hasServed = false;
  let stopping = false;
  let exitCode: number = 0;
  let failedStarts = 0;
  let pauseMs = PAUSE_MIN_MS;
  // A worker does not know what of its environment was in a file .env.
  let reload = toReload(config);
  let lastEndMs = -Infinity;

  const start = (): void => {
    const place = freePlace();
    const worker = cluster.fork({ ...reloads.env, ...metricsPortOf(config, place) });
    workers.add(worker);
    places.set(worker, place);
    worker.once('message', (message: Serving) => {
      serving.add(worker);
      send(worker, reload); // which may have changed while it started
      failedStarts = 0;
      if (!hasServed || message.createdAdmin !== undefined) onServing(message);
      if (!hasServed && !stopping) for (let i = 1; i < config.workers; i++) start();
      hasServed = true;
    });
    worker.once('exit', (code: number | null, signal: string | null) => {
      workers.delete(worker);
      places.delete(worker);
      const served = serving.delete(worker);
      if (stopping) {
        // A worker that does not serve yet has nothing to finish, and ends by the signal.
        if (code !== 0 && (served || signal !== 'SIGTERM')) exitCode ||= code ?? EXIT.FAULT;
        if (workers.size === 0) end(exitCode);
        return;
      }
      const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
      if (!hasServed) {
        if (signal !== null) console.error(`kith: worker ${worker.id} ${how}`); // else it has said why itself
        return end(code || EXIT.FAULT);
      }
      if (!served) failedStarts++;
      if (serving.size === 0 && failedStarts >= FAILED_STARTS_MAX) {
        console.error(
          `kith: worker ${worker.id} ${how}; no worker serves and ${failedStarts} could not start: giving up`,
        );
        killAll();
        return end(code || EXIT.FAULT);
      }
      replace(`worker ${worker.id} (process ${worker.process.pid}) ${how}`);
    });
  };

  const freePlace = (): number => {
    const taken = new Set(places.values());
    let place = 0;
    while (taken.has(place)) place++;
    return place;
  };

  const replace = (what: string): void => {
    const now = systemClock.monotonic();
    pauseMs = now - lastEndMs > CALM_MS ? PAUSE_MIN_MS : Math.min(2 * pauseMs, PAUSE_MAX_MS);
    lastEndMs = now;
    console.error(`kith: ${what}; another starts in ${pauseMs / 1000} s`);
    const timer = setTimeout(() => {
      restarts.delete(timer);
      start();
    }, pauseMs);
    restarts.add(timer);
  };

  const killAll = (): void => {
    for (const worker of workers) worker.process.kill('SIGKILL');
  };

  const stop = (): void => {
    if (stopping) {
      killAll(); // asked twice
      return end(EXIT.UNAVAILABLE);
    }
    stopping = true;
    for (const timer of restarts) clearTimeout(timer);
    for (const worker of workers) worker.process.kill('SIGTERM');
    if (workers.size === 0) return end(0);
    setTimeout(
      () => {
        console.error(`kith: ${workers.size} workers did not stop in time and are killed`);
        exitCode = EXIT.UNAVAILABLE;
        killAll();
      },
      config.shutdownDelayMs + config.shutdownTimeoutMs + STOP_GRACE_MS,
    ).unref();
  };

  reloads.onReload((settings) => {
    reload = toReload(settings);
    for (const worker of serving) send(worker, reload);
  });
  cluster.schedulingPolicy = cluster.SCHED_RR;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
  start();
  return ended;
}

/** Each process has metrics of its own, and a port for them. */
function metricsPortOf({ metricsPort }: Config, place: number): { KITH_METRICS_PORT?: string } {
  return metricsPort === undefined ? {} : { KITH_METRICS_PORT: String(metricsPort + place) };
}

function toReload({ tls, logLevel, mailTemplates, settings }: Reloadable): Reload {
  return { logLevel, mailTemplates, settings, tls: tls && { cert: tls.cert.toString(), key: tls.key.toString() } };
}

/** A worker that ends at this moment does not hear it, and the one in its place is started with it. */
function send(worker: Worker, reload: Reload): void {
  worker.send(reload, undefined, () => {});
}

/** Tells the primary that this worker serves. */
export function reportServing(serving: Serving): void {
  process.send?.(serving);
}

/** Calls `take` with what the primary has this worker take over, once it serves. */
export function onReload(take: (settings: Reloadable) => void): void {
  process.on('message', ({ tls, ...others }: Reload) => {
    take({ ...others, tls: tls && { cert: Buffer.from(tls.cert), key: Buffer.from(tls.key) } });
  });
}
