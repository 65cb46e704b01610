import type { DescService } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { type Credentials, openSession, tokensOf, withCredentials } from './credentials.ts';
import { ActivityService } from './gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from './gen/kith/auth/v1/auth_service_pb.ts';
import type { User } from './gen/kith/user/v1/user_pb.ts';
import { KithError, type Reason } from './kith-error.ts';
import { createNamespace, type Namespace } from './namespaces.ts';
import { createRecorder, type Recorder, type RecorderOptions } from './recorder.ts';
import { type RetryOptions, withRetries } from './retries.ts';
import { SERVICES } from './services.ts';
import type { MailedCodeCredentials, PasswordCredentials } from './sign-in.ts';
import { createWatch, followAlone, type Watch, type WatchEvent, type WatchOptions } from './watch.ts';

/** Where Kith is, and who calls. */
export interface KithOptions extends RetryOptions {
  /** The address, such as `https://kith.example.org`. */
  readonly url: string;
  /** Default `connect`, over `fetch` as `grpc-web` is. `@kith/client/node` has `grpc` too. */
  readonly protocol?: 'connect' | 'grpc-web' | undefined;
  /** Who calls. Without, `signIn` opens a session in memory. */
  readonly credentials?: Credentials | undefined;
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
export interface Kith extends Omit<Namespaces, 'activity'> {
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
  /** Signs in, and keeps the session where the credentials say. Fails for credentials that have no session. */
  signIn(credentials: PasswordCredentials | MailedCodeCredentials): Promise<User>;
  /** Ends the session on the server and forgets it here; here also when the server cannot be reached. */
  signOut(): Promise<void>;
  /**
   * The client that Connect makes of a service, whose calls are signed and repeated as all are. It throws a `ConnectError`;
   * `KithError.from` makes a KithError of it.
   */
  raw<Service extends DescService>(service: Service): Client<Service>;
  /** What all calls go over, signed and repeated as `raw` says: for libraries that take a transport of Connect. */
  readonly transport: Transport;
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
export function createKithOver(
  transport: Transport,
  { credentials, attemptsMax, attemptTimeoutMs, timeoutMs, streamsRequests = false }: TransportOptions,
): Kith {
  const session = openSession(credentials, transport);
  const signedTransport = withCredentials(transport, session ?? tokensOf(credentials));
  const calls = withRetries(signedTransport, { attemptsMax, attemptTimeoutMs, timeoutMs });
  const auth = createClient(AuthService, calls);
  const activity = createClient(ActivityService, calls);
  const namespaces = Object.fromEntries(
    Object.entries(SERVICES).map(([name, { service, noun }]) => [name, createNamespace(service, noun, calls)]),
  ) as unknown as Namespaces;
  const needSession = () => {
    if (session === undefined)
      throw new TypeError('these credentials have no session: there is nothing to sign in or out');
    return session;
  };
  const watch = (watched: WatchOptions = {}) =>
    createWatch(watched, (filter, from, signal) => followAlone(activity, filter, from, signal));
  return {
    ...namespaces,
    activity: {
      ...namespaces.activity,
      watch,
      recorder: (recorded) => createRecorder({ client: activity, streamsRequests }, recorded),
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
    async signIn(given) {
      try {
        return await needSession().signIn(given);
      } catch (thrown) {
        throw wrapped(thrown);
      }
    },
    async signOut() {
      const opened = needSession();
      try {
        if ((await opened.token()) !== undefined) await auth.logout({}, { headers: opened.headers });
      } catch (thrown) {
        const error = KithError.from(thrown);
        if (!SIGNED_OUT.has(error.reason)) throw error;
      } finally {
        await opened.clear();
      }
    },
    raw: (service) => createClient(service, calls),
    transport: calls,
  };
}

/** Refusals of Logout that say that there is no session to end. */
const SIGNED_OUT: ReadonlySet<Reason | undefined> = new Set<Reason>([
  'SESSION_ENDED',
  'REFRESH_TOKEN_INVALID',
  'REFRESH_TOKEN_REUSED',
]);

/** What a callback of the caller's threw stays what it is. */
function wrapped(thrown: unknown): unknown {
  return thrown instanceof ConnectError ? KithError.from(thrown) : thrown;
}

/** As an error that nothing catches: otherwise the end of a watch would pass unnoticed. */
function throwUnhandled(error: unknown): never {
  throw error;
}
