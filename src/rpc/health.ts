import type { ConnectRouter } from '@connectrpc/connect';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { Failure } from '../failure.ts';

export interface Readiness {
  /** Whether the database answers and the server is not stopping. */
  isReady(): Promise<boolean>;
}

/** How often a watched status is looked at, milliseconds. */
const WATCH_INTERVAL_MS = 1000;

/**
 * The gRPC health checking protocol, for the server ('') and each of `services`.
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
export function health(router: ConnectRouter, services: readonly string[], readiness: Readiness): void {
  const known = new Set(['', ...services]);
  const status = async () => ((await readiness.isReady()) ? Status.SERVING : Status.NOT_SERVING);
  router.service(Health, {
    async check({ service }) {
      if (!known.has(service)) throw new Failure('service_unknown', 'no service of this name is served here');
      return { status: await status() };
    },
    async list() {
      const now = await status();
      return { statuses: Object.fromEntries([...known].map((service) => [service, { status: now }])) };
    },
    async *watch({ service }, { signal }) {
      // An unknown service may be known one day: the protocol keeps the stream open.
      let sent: Status | undefined;
      while (!signal.aborted) {
        const now = known.has(service) ? await status() : Status.SERVICE_UNKNOWN;
        if (now !== sent) yield { status: now };
        sent = now;
        await pause(WATCH_INTERVAL_MS, signal);
      }
    },
  });
}

/** Resolves after `ms`, or as soon as `signal` is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const onAbort = () => resolve();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', onAbort);
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  });
}
