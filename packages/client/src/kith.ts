import type { Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { type Calls, type CallsOptions, createCalls } from './calls.ts';
import { ActivityService } from './gen/kith/activity/v1/activity_service_pb.ts';
import type { Namespace } from './namespaces.ts';
import { createRecorder, type Recorder, type RecorderOptions } from './recorder.ts';
import { SERVICES } from './services.ts';
import {
  createWatch,
  type Follow,
  followAlone,
  mayShare,
  type Watch,
  type WatchEvent,
  type WatchOptions,
} from './watch.ts';

/** Where Kith is, and who calls. */
export interface KithOptions extends CallsOptions {
  /** The address, such as `https://kith.example.org`. */
  readonly url: string;
  /** Default `connect`, over `fetch` as `grpc-web` is. `@kith/client/node` has `grpc` too. */
  readonly protocol?: 'connect' | 'grpc-web' | undefined;
  /** In place of the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

type Namespaces = {
  readonly [Name in keyof typeof SERVICES]: Namespace<
    (typeof SERVICES)[Name]['service'],
    (typeof SERVICES)[Name]['noun']
  >;
};

/** A client of Kith: a namespace for each service, and what a single rpc does not give. */
export interface Kith extends Omit<Namespaces, 'activity'>, Omit<Calls, 'of'> {
  readonly activity: Omit<Namespaces['activity'], 'watch'> & {
    /** Watches activity: what happens from now on, or what came after `from` and then that. Goes on after any break. */
    watch(options?: WatchOptions): Watch;
    /**
     * Records activities in the background: in batches, each activity once however often the connection breaks. Over one
     * stream where the transport can stream requests, as gRPC can, otherwise by calls.
     */
    recorder(options?: RecorderOptions): Recorder;
  };
  /**
   * Tells `onEvent` what happens to one user's activity, and waits for what it returns. Gives the function that ends it.
   * `onError` is told, once, why the watch is over: a refusal, or what `onEvent` threw.
   */
  watchActivity(
    userId: string,
    onEvent: (event: WatchEvent) => void | Promise<void>,
    options?: Omit<WatchOptions, 'userId' | 'signal'> & { readonly onError?: (error: unknown) => void },
  ): () => void;
}

/** Creates a client. It connects with the first call. */
export function createKith(options: KithOptions): Kith {
  const { url, protocol = 'connect', fetch } = options;
  const web = { baseUrl: url, useBinaryFormat: true, ...(fetch === undefined ? {} : { fetch }) };
  const transport = protocol === 'grpc-web' ? createGrpcWebTransport(web) : createConnectTransport(web);
  return createKithOver(transport, options);
}

/** Who calls over a transport, and what it can do. */
export interface TransportOptions extends Omit<KithOptions, 'url' | 'protocol' | 'fetch'> {
  /** Whether it streams requests, as gRPC over HTTP/2 does. Default false. */
  readonly streamsRequests?: boolean | undefined;
}

/** Creates a client whose calls go over a transport of Connect. */
export function createKithOver(transport: Transport, { streamsRequests = false, ...options }: TransportOptions): Kith {
  const { of, ...calls } = createCalls(transport, options);
  const namespaces = Object.fromEntries(
    Object.entries(SERVICES).map(([name, { service, noun }]) => [name, of(service, noun)]),
  ) as unknown as Namespaces;
  const alone: Follow = (filter, from, signal) => followAlone(calls.raw(ActivityService), filter, from, signal);
  const shared: Follow = async function* (filter, from, signal) {
    // Loaded by pages that watch, and by no others. Where it cannot be had, as after a deployment, the watch goes without.
    const part = await import('./shared-watch.ts').catch(() => undefined);
    yield* part === undefined ? alone(filter, from, signal) : part.followShared(calls, filter, from, signal);
  };
  const watch = (watched: WatchOptions = {}) => createWatch(watched, mayShare(watched) ? shared : alone);
  return {
    ...namespaces,
    ...calls,
    activity: {
      ...namespaces.activity,
      watch,
      recorder: (recorded) => createRecorder({ client: calls.raw(ActivityService), streamsRequests }, recorded),
    },
    watchActivity(userId, onEvent, { onError = throwUnhandled, ...watched } = {}) {
      const ended = new AbortController();
      const tell = async () => {
        for await (const event of watch({ ...watched, userId, signal: ended.signal })) {
          if (ended.signal.aborted) return;
          await onEvent(event);
        }
      };
      tell().catch(onError);
      return () => ended.abort();
    },
  };
}

/** As an error that nothing catches: otherwise the end of a watch would pass unnoticed. */
function throwUnhandled(error: unknown): never {
  throw error;
}
