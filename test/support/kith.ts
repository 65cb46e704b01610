import { randomUUID } from 'node:crypto';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, Code, ConnectError, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import { Role } from '../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { ErrorDetailSchema, type ErrorReason, ErrorReasonSchema } from '../../gen/kith/error/v1/error_pb.ts';
import type { User } from '../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { type Config, parseConfig } from '../../src/config/config.ts';
import type { PasswordCost } from '../../src/identity/passwords/passwords.ts';
import { type ServerOptions, startServer } from '../../src/server.ts';
import { databases, type TestDatabase } from './databases.ts';
import { fastPathSetting } from './fast-path-setting.ts';
import { signedIn } from './sign-in.ts';

export const ADMIN_PASSWORD = 'admin password of the tests';

/** Of tests that are not about passwords, which sign in thousands of times. The others say PASSWORD_COST. */
const CHEAP_PASSWORDS: PasswordCost = { memoryCost: 64, timeCost: 1 };

/** How long a sign-in of the administrator is given to tests, by the machine's clock: its access token lives for five minutes. */
const ADMIN_FRESH_MS = 120_000;

/** A server on a free port with a database of its own. */
export interface Kith extends AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly config: Config;
  readonly passwordCost: PasswordCost;
  readonly database: TestDatabase;
  /** The server's clock, milliseconds since 1970; add to it to let time pass. */
  readonly clock: { offsetMs: number };
  /** How many subscriptions to the log the server holds: two for each watch. */
  subscriptions(): number;
  /** A client of a service. With a token, it signs every call. */
  client<T extends DescService>(service: T, accessToken?: string): Client<T>;
  /** The administrator that the first start made, with an access token that is good for some minutes more. */
  admin(): Promise<SignedIn>;
  /** A new user with this role, signed in. */
  user(role?: Role): Promise<SignedIn>;
  stop(): Promise<void>;
}

export interface SignedIn {
  readonly user: User;
  readonly password: string;
  readonly accessToken: string;
  readonly refreshToken: string;
}

export interface StartOptions {
  readonly env?: Record<string, string>;
  /** Taken over from a server that was stopped, for example. Not disposed. */
  readonly database?: TestDatabase;
  readonly server?: Omit<ServerOptions, 'clock'>;
  /** The server's wall clock, for tests that need it to stand still; default that of the machine, moved by `clock`. */
  readonly now?: () => number;
  /** The server's clock that only goes forward. Default `now`: when a test moves the clock, time goes by. */
  readonly monotonic?: () => number;
}

/** Starts the real server in this process. */
export async function startKith({
  env,
  database: given,
  server: options,
  now,
  monotonic,
}: StartOptions = {}): Promise<Kith> {
  const database = given ?? (await databases[0]!.create());
  const config = parseConfig({
    KITH_PORT: '0',
    KITH_DATABASE_URL: database.url,
    KITH_LOG_LEVEL: 'silent',
    KITH_SHUTDOWN_SECONDS: '5',
    // All tests of a file call from one address.
    KITH_SIGN_IN_FAILURES_PER_ADDRESS: '1000000',
    KITH_SIGN_UP: 'open',
    KITH_LOGIN_CODES: 'true',
    KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
    ...fastPathSetting,
    ...env,
  });
  const clock = { offsetMs: 0 };
  const wallClock = now ?? (() => Date.now() + clock.offsetMs);
  const passwordCost = options?.passwordCost ?? CHEAP_PASSWORDS;
  const server = await startServer(config, ADMIN_PASSWORD, {
    ...options,
    passwordCost,
    clock: { now: wallClock, monotonic: monotonic ?? wallClock },
  });
  const sessions = new Http2SessionManager(server.address, undefined, { rejectUnauthorized: false });
  const transport = (accessToken?: string) => grpc(server.address, accessToken, sessions);
  const signIn = async (identifier: string, password: string): Promise<SignedIn> => {
    const response = await signedIn(createClient(AuthService, transport()).login({ identifier, password }));
    return { ...response, user: response.user, password };
  };
  let admin: { readonly signedIn: Promise<SignedIn>; readonly sinceMs: number } | undefined;
  const kith: Kith = {
    address: server.address,
    port: Number(new URL(server.address).port),
    config,
    passwordCost,
    database,
    clock,
    subscriptions: server.subscriptions,
    client: (service, accessToken) => createClient(service, transport(accessToken)),
    admin() {
      // Signs in again in time, for tests that install or compile for minutes.
      if (admin === undefined || Date.now() - admin.sinceMs > ADMIN_FRESH_MS) {
        admin = { signedIn: signIn('admin', ADMIN_PASSWORD), sinceMs: Date.now() };
      }
      return admin.signedIn;
    },
    async user(role = Role.VIEWER) {
      const { accessToken } = await kith.admin();
      const username = `u${randomUUID()}`;
      const password = `password of ${username}`;
      await kith
        .client(UserService, accessToken)
        .createUser({ username, email: `${username}@example.org`, name: `User ${username}`, role, password });
      return signIn(username, password);
    },
    async stop() {
      sessions.abort();
      await server.stop();
    },
    async [Symbol.asyncDispose]() {
      await kith.stop();
      if (given === undefined) await database[Symbol.asyncDispose]();
    },
  };
  return kith;
}

/** Adds `authorization` to every call. */
export function bearer(accessToken: string | undefined): Interceptor[] {
  if (accessToken === undefined) return [];
  return [
    (next) => (request) => {
      request.header.set('authorization', `Bearer ${accessToken}`);
      return next(request);
    },
  ];
}

/** gRPC over HTTP/2. */
export function grpc(baseUrl: string, accessToken?: string, sessionManager?: Http2SessionManager): Transport {
  return createGrpcTransport({
    baseUrl,
    interceptors: bearer(accessToken),
    ...(sessionManager && { sessionManager }),
    nodeOptions: { rejectUnauthorized: false },
  });
}

/** One way to call: protocol, encoding and HTTP version. */
export interface Protocol {
  readonly name: string;
  transport(baseUrl: string, accessToken?: string): Transport;
}

/** Every way to call with Connect-ES clients. */
export const protocols: readonly Protocol[] = [
  { name: 'gRPC over HTTP/2', transport: (baseUrl, token) => grpc(baseUrl, token) },
  ...(['1.1', '2'] as const).flatMap((httpVersion): Protocol[] => [
    {
      name: `gRPC-Web over HTTP/${httpVersion}`,
      transport: (baseUrl, token) =>
        createGrpcWebTransport({ baseUrl, httpVersion, interceptors: bearer(token), nodeOptions: insecure }),
    },
    ...[true, false].map(
      (useBinaryFormat): Protocol => ({
        name: `Connect ${useBinaryFormat ? 'binary' : 'JSON'} over HTTP/${httpVersion}`,
        transport: (baseUrl, token) =>
          createConnectTransport({
            baseUrl,
            httpVersion,
            useBinaryFormat,
            interceptors: bearer(token),
            nodeOptions: insecure,
          }),
      }),
    ),
    {
      name: `Connect GET over HTTP/${httpVersion}`,
      transport: (baseUrl, token) =>
        createConnectTransport({
          baseUrl,
          httpVersion,
          useHttpGet: true,
          interceptors: bearer(token),
          nodeOptions: insecure,
        }),
    },
  ]),
];

const insecure = { rejectUnauthorized: false };

/** How a call was refused: code and reason, as the contract names them. */
export interface Refusal {
  readonly code: string;
  readonly reason: string | undefined;
  readonly metadata: Record<string, string>;
  readonly message: string;
}

/** Waits for a call to be refused. Throws when it is not. */
export async function refusalOf(call: Promise<unknown>): Promise<Refusal> {
  try {
    await call;
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const detail = error.findDetails(ErrorDetailSchema)[0];
    return {
      code: Code[error.code],
      reason: detail && reasonName(detail.reason),
      metadata: detail?.metadata ?? {},
      message: error.rawMessage,
    };
  }
  throw new Error('the call was not refused');
}

function reasonName(reason: ErrorReason): string | undefined {
  return ErrorReasonSchema.value[reason]?.name.replace('ERROR_REASON_', '');
}
