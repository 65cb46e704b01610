import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import type { FastifyInstance } from 'fastify';
import { Health } from '../gen/health/v1/health_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { createAccessTokens } from './auth/access-token.ts';
import { type AuthApp, authenticate } from './auth/auth.ts';
import { authService } from './auth/service.ts';
import { hasSigningKeys, loadSigningKeys } from './auth/signing-keys.ts';
import { addressOf, type Config } from './config.ts';
import { contactService } from './contacts/service.ts';
import { fileBeside, openDatabase, ping } from './db/database.ts';
import { allowOrigins } from './rpc/cors.ts';
import { createHttpServer } from './http/fastify.ts';
import { serveJwks } from './http/jwks.ts';
import { serveProbes } from './http/probes.ts';
import { createKeyring } from './keyring.ts';
import { createPasswords } from './passwords.ts';
import { startPurging } from './purge.ts';
import { readAccessRules } from './rpc/access.ts';
import { health } from './rpc/health.ts';
import { reflection } from './rpc/reflection.ts';
import { serveRpcs } from './rpc/serve.ts';
import { createRequestValidator } from './rpc/validate.ts';
import { userService } from './users/service.ts';
import { createFirstAdmin } from './users/users.ts';
import { loadSecretKey } from './secret-key.ts';

/** A server that listens. */
export interface Server {
  /** As a URL without a path. */
  readonly address: string;
  /** The administrator that this start created, if it did. */
  readonly createdAdmin: { readonly username: string } | undefined;
  /**
   * Stops: not ready any more, then no new connections, GOAWAY, streams end with
   * UNAVAILABLE, running calls finish or, when their time is up, end likewise.
   */
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly now?: () => number;
}

/** The name of the first administrator. */
export const ADMIN_USERNAME = 'admin';

const SERVICES: readonly DescService[] = [AuthService, UserService, ContactService];
const REFLECTION_SERVICES: readonly DescService[] = [ServerReflection, ServerReflectionAlpha];

const PURGE_INTERVAL_MS = 10 * 60 * 1000;

/** How long calls that were told to end may take to say so, milliseconds. */
const HALT_GRACE_MS = 500;

/**
 * Opens the database, serves, and creates the first administrator with
 * `adminPassword` when there are no users.
 *
 * Throws DatabaseError, SecretKeyError, AccessDeclarationError, and Node's error
 * when the port cannot be listened on. What was opened until then is closed.
 */
export async function startServer(config: Config, adminPassword: string, options: ServerOptions = {}): Promise<Server> {
  await using opened = new AsyncDisposableStack();
  const now = options.now ?? Date.now;

  const publicServices = [Health, ...(config.reflection ? REFLECTION_SERVICES : [])];
  const rules = readAccessRules(SERVICES, publicServices);

  const database = opened.use(await openDatabase(config.databaseUrl));
  const keyring = createKeyring(
    config.secretKey ?? loadSecretKey(fileBeside(config.databaseUrl, '.key'), !(await hasSigningKeys(database.db))),
  );
  const signingKeys = await loadSigningKeys(database, keyring, now());
  const app: AuthApp = {
    database,
    keyring,
    passwords: await createPasswords(),
    now,
    purgeAfterMs: config.purgeAfterMs,
    accessTokens: createAccessTokens(signingKeys, {
      issuer: config.issuer,
      audience: config.audience,
      ttlMs: config.accessTokenTtlMs,
      now,
    }),
    sessions: { idleMs: config.sessionIdleMs, maxMs: config.sessionMaxMs },
  };
  const draining = new AbortController();
  const halting = new AbortController();
  let stopping = false;
  const isReady = async () => !stopping && (await ping(database.db));

  const fastify = createHttpServer({ ...config, streamingPaths: streamingPathsOf([...SERVICES, ...publicServices]) });
  opened.defer(() => fastify.close());
  await allowOrigins(fastify, config.corsOrigins);
  serveProbes(fastify, isReady);
  serveJwks(fastify, () => signingKeys.jwks);
  await serveRpcs(fastify, {
    routes(router: ConnectRouter) {
      router.service(AuthService, authService(app));
      router.service(UserService, userService(app));
      router.service(ContactService, contactService(app));
      const served = [...SERVICES, ...publicServices];
      health(
        router,
        served.map(({ typeName }) => typeName),
        { isReady },
      );
      if (config.reflection)
        reflection(
          router,
          served.map(({ file }) => file),
        );
    },
    rules,
    authenticate: (accessToken) => authenticate(app, accessToken),
    validator: createRequestValidator(SERVICES),
    readMaxBytes: config.messageBytesMax,
    draining: draining.signal,
    halting: halting.signal,
  });
  await fastify.listen({ host: config.host, port: config.port });
  // Last of all that can fail: a generated password that no start lives to tell would lock everybody out.
  const createdAdmin = await createFirstAdmin(app, {
    username: ADMIN_USERNAME,
    email: `${ADMIN_USERNAME}@localhost`,
    name: 'Administrator',
    password: adminPassword,
  });
  opened.use(
    startPurging(app, PURGE_INTERVAL_MS, (err) => fastify.log.error({ err }, 'could not remove what is past its time')),
  );

  const running = opened.move();
  return {
    address: addressOf({ ...config, port: portOf(fastify) }),
    createdAdmin: createdAdmin && { username: createdAdmin.username },
    async stop() {
      stopping = true;
      await sleep(config.shutdownDelayMs);
      draining.abort();
      const closed = fastify.close();
      await Promise.race([closed, sleep(config.shutdownTimeoutMs)]);
      halting.abort(new ConnectError('the server is stopping: call again', Code.Unavailable));
      await Promise.race([closed, sleep(HALT_GRACE_MS)]);
      fastify.server.closeAllConnections();
      await running.disposeAsync();
    },
  };
}

/** The request paths of client streams, whose bodies arrive as long as the stream lives. */
function streamingPathsOf(services: readonly DescService[]): ReadonlySet<string> {
  const methods = services.flatMap((service) => service.methods);
  return new Set(
    methods
      .filter(({ methodKind }) => methodKind === 'client_streaming' || methodKind === 'bidi_streaming')
      .map((method) => `/${method.parent.typeName}/${method.name}`),
  );
}

function portOf(fastify: FastifyInstance): number {
  return (fastify.server.address() as AddressInfo).port;
}
