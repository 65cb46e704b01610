import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import type { FastifyInstance } from 'fastify';
import { type ActivityApp, createWatchLimits } from './activity/activity.ts';
import { readLogStatus } from './activity/log/status.ts';
import { Tail } from './activity/log/tail.ts';
import { LogLevelSwitch } from './admin/log-level.ts';
import { isApiKey } from './identity/api-keys/api-key.ts';
import {
  type ApiKeyCallersApp,
  authenticateApiKey,
  createKnownApiKeys,
  recallApiKeyOwner,
  renewApiKeyCaller,
} from './identity/api-keys/authenticate.ts';
import { createAccessTokens } from './identity/tokens/access-token.ts';
import type { AuthApp } from './identity/auth/auth.ts';
import type { SigningKeysApp } from './identity/tokens/rotation.ts';
import { hasSigningKeys, SigningKeys } from './identity/tokens/signing-keys.ts';
import { createBlockCheck } from './kernel/address.ts';
import { type Payer, userPayer } from './budget/payer.ts';
import { SliceScheduler } from './budget/slice-scheduler.ts';
import { Background } from './kernel/background.ts';
import { addressOf, type Config, type Reloadable } from './config/config.ts';
import type { ContactsApp } from './contacts/contacts.ts';
import { openDatabase, ping } from './storage/database.ts';
import { readDatabaseFacts } from './storage/facts.ts';
import { allowOrigins } from './rpc/cors.ts';
import { serveContract } from './http/contract.ts';
import { createHttpServer } from './http/fastify.ts';
import { serveJwks } from './identity/tokens/jwks.ts';
import { serveMetrics } from './http/metrics-server.ts';
import { replaceCertificate } from './http/one-port.ts';
import { createOpenRequestsBudget } from './http/open-requests.ts';
import { serveOpenApi } from './http/openapi.ts';
import { createPortCounters } from './http/port-counters.ts';
import { serveProbes } from './http/probes.ts';
import { Readiness } from './http/readiness.ts';
import { addProcessMetrics } from './metrics/process-metrics.ts';
import { Registry } from './metrics/registry.ts';
import { createKeyring } from './kernel/keyring.ts';
import type { Measured } from './admin/measured.ts';
import { createPasswords, type PasswordCost } from './identity/passwords/passwords.ts';
import { createPurgeCounts, startPurging } from './purge.ts';
import { publicServices, registerServices, SERVICES, type ServedApp } from './services.ts';
import { readAccessRules } from './rpc/access.ts';
import { createCallBudgets } from './rpc/call-budgets.ts';
import { CallMetrics } from './rpc/call-metrics.ts';
import { Compressor } from './rpc/compressor.ts';
import { DeferredFastPath } from './rpc/fast-path.ts';
import { health } from './rpc/health.ts';
import { reflection } from './rpc/reflection.ts';
import { createRequestPayer } from './rpc/request-payer.ts';
import { createRefusedOriginLog } from './rpc/refused-origins.ts';
import { serveRpcs } from './rpc/serve.ts';
import { createStreamBudgets } from './rpc/stream-budget.ts';
import { createRequestValidator } from './rpc/validate.ts';
import type { SecondFactorApp } from './identity/second-factor/second-factor.ts';
import { startRevocations } from './identity/revocations/revocations.ts';
import { createSessionUsers } from './identity/sessions/refresh-payer.ts';
import { authenticate, renew } from './identity/sessions/sessions.ts';
import { sampled } from './kernel/sampled.ts';
import { createThrottle } from './identity/throttle/throttle.ts';
import { findTracing } from './tracing/tracing.ts';
import { createFirstAdmin } from './identity/users/users.ts';
import { addServerMetrics } from './admin/server-metrics.ts';
import { loadSecretKey } from './kernel/secret-key.ts';

/** A server that listens. */
export interface Server {
  /** As a URL without a path. */
  readonly address: string;
  /** The administrator that this start created, if it did. */
  readonly createdAdmin: { readonly username: string } | undefined;
  /** How many subscriptions to activity and revocations there are: two for each watch of activity. */
  subscriptions(): number;
  /** Goes on with another certificate and log level. Closes no connection. Without TLS so far, it stays without. */
  reload(settings: Reloadable): void;
  /**
   * Stops: not ready any more, then no new connections, GOAWAY, streams end with
   * UNAVAILABLE, running calls finish or, when their time is up, end likewise.
   */
  stop(): Promise<void>;
}

/** What tests set. */
export interface ServerOptions {
  readonly now?: () => number;
  /** A clock that only goes forward, milliseconds: how long readers stand still. */
  readonly monotonic?: () => number;
  /** A clock that only goes forward, milliseconds: shows when `now` was set, rather than time went by. */
  readonly passed?: () => number;
  /** The number of this process among those that share the port, for the log. Tests do not set it. */
  readonly worker?: number | undefined;
  /** How long a watch of activity says nothing before it says that, milliseconds. */
  readonly progressMs?: number;
  /** How long a watcher may stand still, milliseconds. */
  readonly stallMs?: number;
  /** How long a response may wait for its reader before it is given up, milliseconds. */
  readonly stalledWriteMs?: number;
  /** How long revocations that were read are relied on, milliseconds. */
  readonly revocationStaleMs?: number;
  /** How often what is past its time is removed, milliseconds. */
  readonly purgeIntervalMs?: number;
  /** What hashes of passwords cost: less in tests of other things. */
  readonly passwordCost?: PasswordCost;
}

/** The name of the first administrator. */
export const ADMIN_USERNAME = 'admin';

/** How long a watch of activity says nothing before it says that, milliseconds: less than proxies wait. */
const PROGRESS_MS = 15_000;

/** How long a watcher may stand still, milliseconds. */
const STALL_MS = 30_000;

const PURGE_INTERVAL_MS = 10 * 60 * 1000;

/** How long what is read for metrics and for operators is good for, and how long they wait for it, milliseconds. */
const STATUS = { keepMs: 500, waitMaxMs: 1000 };

/** How long calls that were told to end may take to say so, milliseconds. */
const HALT_GRACE_MS = 500;

/** How long a stop waits for what is still under way in the database, milliseconds; the connections end with the process. */
const CLOSE_MAX_MS = 3000;

/** How long a stop waits until the last spans have been exported, milliseconds. */
const FLUSH_MAX_MS = 1000;

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
  const monotonic = options.monotonic ?? (() => performance.now());
  const clocks = { now, monotonic: options.passed ?? (() => performance.now()) };

  const openToAnyone = publicServices(config);
  const served = [...SERVICES, ...openToAnyone];
  const rules = readAccessRules(SERVICES, openToAnyone);

  const tracing = findTracing();
  const database = opened.use(await openDatabase(config.databaseUrl, config.databaseLimits, tracing));
  const keyring = createKeyring(
    config.secretKey ?? loadSecretKey(database.dialect.fileBeside('.key'), !(await hasSigningKeys(database.db))),
  );

  const budgets = createCallBudgets();
  const compressor = opened.use(new Compressor());
  const isProxy = createBlockCheck(config.trustedProxies);
  const scheduler = new SliceScheduler();
  const recall = (bearer: string) => recallPayer(app, bearer);
  const payerOfRequest = createRequestPayer(isProxy, recall);
  const fastPath = config.fastPath ? new DeferredFastPath() : undefined;
  const port = createPortCounters();
  const openRequests = createOpenRequestsBudget();
  const fastify = createHttpServer({
    ...config,
    counters: port,
    openRequests,
    shortcut: fastPath,
    scheduler: {
      mayStart: () => scheduler.mayStart(),
      add: (headers, peer, serve) => scheduler.add(payerOfRequest(headers, peer), serve),
    },
    isProxy,
    streamingPaths: streamingPathsOf(served),
    stalledWriteMs: options.stalledWriteMs,
    monotonic,
    worker: options.worker,
  });
  const logFault = (what: string) => (err: unknown) => fastify.log.error({ err }, what);
  const background = opened.use(new Background(logFault('background work failed')));
  const tail = opened.use(new Tail(database, logFault('could not read the activity log')));
  const revocations = opened.use(
    await startRevocations(database, {
      ...clocks,
      onError: logFault('could not read revocations'),
      staleMs: options.revocationStaleMs,
    }),
  );
  const signingKeys = opened.use(
    await SigningKeys.open({
      database,
      keyring,
      ...clocks,
      periodMs: config.signingKeyMs,
      onRotated: (kid, activateMs) =>
        fastify.log.info({ kid, activateTime: new Date(activateMs) }, 'created the next signing key'),
      onError: logFault('could not read signing keys'),
    }),
  );
  opened.defer(() => fastify.close());
  if (tracing !== undefined) fastify.log.info('tracing calls: an OpenTelemetry SDK is registered');

  const app: AuthApp & SecondFactorApp & ActivityApp & SigningKeysApp & ApiKeyCallersApp & ContactsApp = {
    database,
    keyring,
    passwords: await createPasswords({ workers: config.workers, cost: options.passwordCost, tracing }),
    now,
    background,
    purgeAfterMs: config.purgeAfterMs,
    accessTokenTtlMs: config.accessTokenTtlMs,
    activityRetentionMs: config.activityRetentionMs,
    contacts: config.contacts,
    tail,
    ...createWatchLimits(config.watchesMax),
    progressMs: options.progressMs ?? PROGRESS_MS,
    stallMs: options.stallMs ?? STALL_MS,
    monotonic,
    renew: (caller) => (caller.kind === 'api_key' ? renewApiKeyCaller(app, caller) : renew(app, caller)),
    signingKeys,
    accessTokens: createAccessTokens(signingKeys, {
      issuer: config.issuer,
      audience: config.audience,
      ttlMs: config.accessTokenTtlMs,
      now,
    }),
    sessions: {
      idleMs: config.sessionIdleMs,
      maxMs: config.sessionMaxMs,
      perUserMax: config.sessionsPerUserMax,
    },
    sessionUsers: createSessionUsers(),
    revocations,
    throttle: createThrottle(config.signInFailuresPerAddress),
    totpIssuer: new URL(config.issuer).hostname,
    knownApiKeys: createKnownApiKeys(),
    clocks,
  };
  const draining = new AbortController();
  const halting = new AbortController();
  const readiness = new Readiness([
    {
      name: 'database',
      async run() {
        if (!(await ping(database.db))) throw new Error('the database does not answer');
      },
    },
    // Without, every signed-in call would be refused.
    { name: 'revocations', run: () => revocations.requireFresh() },
    { name: 'signing-keys', run: async () => void signingKeys.signer() },
  ]);

  const streamBudgets = createStreamBudgets({ perCaller: config.watchesPerCallerMax, total: config.watchesMax });
  const purges = createPurgeCounts();
  const measured: Measured = {
    dialect: database.dialect,
    port,
    budgets: [openRequests, budgets.bytes, app.watchBytes, streamBudgets.watches, streamBudgets.publicStreams],
    limiters: [
      budgets.reads,
      budgets.lists,
      budgets.writes,
      app.watchReads,
      app.passwords.limiter,
      ...compressor.limiters,
    ],
    wakes: app.wakes,
    watchLags: app.watchLags,
    logStatus: sampled(() => readLogStatus(app), STATUS),
    purges,
    throttled: app.throttle.throttled,
    now,
  };
  const logLevel = opened.use(new LogLevelSwitch(fastify.log, config.logLevel, now));
  const adminApp: ServedApp = {
    ...app,
    measured,
    logLevel,
    databaseFacts: sampled(() => readDatabaseFacts(database), STATUS),
    onUnrecorded: logFault('could not record the activity of a new log level'),
    worker: options.worker,
  };
  const metrics = config.metricsPort === undefined ? undefined : new Registry();
  const callMetrics = metrics && new CallMetrics(metrics);
  if (metrics !== undefined) {
    addServerMetrics(metrics, measured);
    opened.use(addProcessMetrics(metrics));
    opened.use(await serveMetrics(config.metricsHost, config.metricsPort ?? 0, () => metrics.text()));
  }

  const logRefusedOrigin = createRefusedOriginLog(fastify.log, monotonic);
  await allowOrigins(fastify, config.corsOrigins, logRefusedOrigin);
  serveProbes(fastify, readiness);
  serveJwks(fastify, () => signingKeys.jwks());
  if (config.reflection) await serveContract(fastify);
  if (config.reflection) await serveOpenApi(fastify);
  await serveRpcs(fastify, {
    routes(router: ConnectRouter) {
      registerServices(router, adminApp);
      health(
        router,
        served.map(({ typeName }) => typeName),
        readiness,
        app.wakes,
      );
      if (config.reflection)
        reflection(
          router,
          served.map(({ file }) => file),
        );
    },
    fastPath,
    rules,
    isProxy,
    corsOrigins: config.corsOrigins,
    logRefusedOrigin,
    authenticate: (bearer) => (isApiKey(bearer) ? authenticateApiKey(app, bearer) : authenticate(app, bearer)),
    recallPayer: recall,
    freshness: { maxAgeMs: config.freshSignInMs, now },
    validator: createRequestValidator(SERVICES),
    budgets,
    compressor,
    scheduler,
    metrics: callMetrics,
    tracing,
    logOneIn: config.logOneIn,
    readMaxBytes: config.messageBytesMax,
    streamBudgets,
    draining: draining.signal,
    halting: halting.signal,
  });
  const listening = (address: string) =>
    `Server listening at ${config.tls === undefined ? address : address.replace(/^http:/, 'https:')}`;
  await fastify.listen({ host: config.host, port: config.port, listenTextResolver: listening });
  // Last of all that can fail: a generated password that no start lives to tell would lock everybody out.
  const createdAdmin = await createFirstAdmin(app, {
    username: ADMIN_USERNAME,
    email: `${ADMIN_USERNAME}@localhost`,
    name: 'Administrator',
    password: adminPassword,
  });
  opened.use(
    startPurging(
      app,
      clocks,
      options.purgeIntervalMs ?? PURGE_INTERVAL_MS,
      logFault('could not purge expired rows'),
      purges,
    ),
  );

  const running = opened.move();
  return {
    address: addressOf({ ...config, port: portOf(fastify) }),
    createdAdmin: createdAdmin && { username: createdAdmin.username },
    subscriptions: () => tail.size + revocations.size,
    reload({ tls, logLevel: setting }) {
      logLevel.takeSetting(setting);
      if (tls !== undefined) replaceCertificate(fastify.server, tls);
    },
    async stop() {
      readiness.stop();
      await sleep(config.shutdownDelayMs);
      draining.abort();
      const closed = fastify.close();
      await Promise.race([closed, sleep(config.shutdownTimeoutMs)]);
      halting.abort(new ConnectError('the server is stopping: call again', Code.Unavailable));
      await Promise.race([closed, sleep(HALT_GRACE_MS)]);
      fastify.server.closeAllConnections();
      await Promise.race([running.disposeAsync(), sleep(CLOSE_MAX_MS, undefined, { ref: false })]);
      await tracing?.flush(FLUSH_MAX_MS);
    },
  };
}

/** Whose an access token or API key is that was used lately. */
function recallPayer(app: AuthApp & ApiKeyCallersApp, bearer: string): Payer | undefined {
  const userId = isApiKey(bearer) ? recallApiKeyOwner(app, bearer) : app.accessTokens.recall(bearer)?.userId;
  return userId === undefined ? undefined : userPayer(userId);
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
