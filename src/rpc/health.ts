import type { ConnectRouter } from '@connectrpc/connect';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../../gen/health/v1/health_pb.ts';
import { Notification } from '../budget/notification.ts';
import { Failure } from '../kernel/failure.ts';
import type { WakeQueue } from '../budget/wake-queue.ts';
import { payerOfCall } from './call-budgets.ts';

export interface Readiness {
  /** Whether the database answers and the server is not stopping. Does not reject. */
  isReady(): Promise<boolean>;
}

/** How often a watched status is looked at, milliseconds. */
const WATCH_INTERVAL_MS = 1000;

/**
 * The gRPC health checking protocol, for the server ('') and each of `services`.
 * https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
export function health(
  router: ConnectRouter,
  services: readonly string[],
  readiness: Readiness,
  wakes: WakeQueue,
): void {
  const known = new Set(['', ...services]);
  const watched = new WatchedStatus(readiness);
  router.service(Health, {
    async check({ service }) {
      if (!known.has(service)) throw new Failure('service_unknown', 'no service of this name is served here');
      return { status: await watched.look() };
    },
    async list() {
      const now = await watched.look();
      return { statuses: Object.fromEntries([...known].map((service) => [service, { status: now }])) };
    },
    async *watch({ service }, context) {
      const notification = new Notification(context.signal, wakes, payerOfCall(context));
      // An unknown service may be known one day: the protocol keeps the stream open.
      const isKnown = known.has(service);
      if (isKnown) {
        notification.onAbort(watched.subscribe(() => notification.notify()));
        await watched.look();
      }
      let sent: Status | undefined;
      while (!context.signal.aborted) {
        notification.reset();
        const now = isKnown ? watched.last : Status.SERVICE_UNKNOWN;
        if (now !== sent) yield { status: now };
        sent = now;
        await notification.wait();
      }
    },
  });
}

/** The status of the server, looked at once for all who watch it, and only while somebody does. */
class WatchedStatus {
  readonly #readiness: Readiness;
  readonly #watchers = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #last: Status = Status.UNKNOWN;

  constructor(readiness: Readiness) {
    this.#readiness = readiness;
  }

  /** What was seen last. */
  get last(): Status {
    return this.#last;
  }

  /** Looks now, and wakes those who watch when it has changed. */
  async look(): Promise<Status> {
    const now = (await this.#readiness.isReady()) ? Status.SERVING : Status.NOT_SERVING;
    if (now !== this.#last) {
      this.#last = now;
      for (const wake of this.#watchers) wake();
    }
    return now;
  }

  /** Calls `wake` after each change. Returns how to end that. */
  subscribe(wake: () => void): () => void {
    this.#watchers.add(wake);
    this.#timer ??= setInterval(() => void this.look(), WATCH_INTERVAL_MS);
    return () => {
      this.#watchers.delete(wake);
      if (this.#watchers.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }
}
