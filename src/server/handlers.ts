import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import type { DescService } from '@bufbuild/protobuf';
import type { Validator } from '@bufbuild/protovalidate';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { readLogStatus } from '../activity/log/status.ts';
import { LogLevelSwitch } from '../admin/log-level.ts';
import type { Measured } from '../admin/measured.ts';
import { addServerMetrics } from '../admin/server-metrics.ts';
import { type Payer, userPayer } from '../budget/payer.ts';
import { SliceScheduler } from '../budget/slice-scheduler.ts';
import type { Config, ShownSetting } from '../config/config.ts';
import { serveAccount, serveChangePasswordUrl } from '../http/account.ts';
import { serveConsole } from '../http/console.ts';
import { serveContract } from '../http/contract.ts';
import { serveErrorPage } from '../http/error-page.ts';
import { createHttpServer } from '../http/fastify.ts';
import { serveMetrics } from '../http/metrics-server.ts';
import { serveOpenApi } from '../http/openapi.ts';
import { createOpenRequestsBudget } from '../http/open-requests.ts';
import { createPortCounters } from '../http/port-counters.ts';
import { serveProbes } from '../http/probes.ts';
import { Readiness } from '../http/readiness.ts';
import { isApiKey } from '../identity/api-keys/api-key.ts';
import { authenticateApiKey, recallApiKeyOwner } from '../identity/api-keys/authenticate.ts';
import { authenticate } from '../identity/sessions/sessions.ts';
import { serveJwks } from '../identity/tokens/jwks.ts';
import { createBlockCheck } from '../kernel/address.ts';
import { sampled } from '../kernel/sampled.ts';
import { addProcessMetrics } from '../metrics/process-metrics.ts';
import { Registry } from '../metrics/registry.ts';
import { createPurgeCounts, type PurgeCounts } from '../purge.ts';
import { type AccessRules, readAccessRules } from '../rpc/access.ts';
import { createCallBudgets } from '../rpc/call-budgets.ts';
import { CallMetrics } from '../rpc/call-metrics.ts';
import { Compressor } from '../rpc/compressor.ts';
import { allowOrigins } from '../rpc/cors.ts';
import { DeferredFastPath } from '../rpc/fast-path.ts';
import { health } from '../rpc/health.ts';
import { reflection } from '../rpc/reflection.ts';
import { createRefusedOriginLog } from '../rpc/refused-origins.ts';
import { createRequestPayer } from '../rpc/request-payer.ts';
import { serveRpcs } from '../rpc/serve.ts';
import { createStreamBudgets } from '../rpc/stream-budget.ts';
import { compileRules, createRequestValidator } from '../rpc/validate.ts';
import { publicServices, registerServices, SERVICES, type ServedApp } from '../services.ts';
import { readDatabaseFacts } from '../storage/facts.ts';
import { ping } from '../storage/database.ts';
import type { Tracing } from '../tracing/tracing.ts';
import type { OpenedApp } from './app.ts';
import { serveContactFiles } from './contact-files.ts';
import { createFileCalls } from './plain-files.ts';

/** How long what is read for metrics and for operators is good for, and how long they wait for it, milliseconds. */
const STATUS = { keepMs: 500, waitMaxMs: 1000 };

/** The services that a server has, and who may call them. */
export interface ServedContract {
  readonly services: readonly DescService[];
  readonly rules: AccessRules;
}

/** Throws AccessDeclarationError for a method that does not say who may call it. */
export function readContract(config: Pick<Config, 'reflection'>): ServedContract {
  const openToAnyone = publicServices(config);
  return { services: [...SERVICES, ...openToAnyone], rules: readAccessRules(SERVICES, openToAnyone) };
}

export interface HandlersOptions {
  readonly contract: ServedContract;
  readonly tracing?: Tracing | undefined;
  /** The number of this process among those that share the port. */
  readonly worker?: number | undefined;
  /** How long a response may wait for its reader before it is given up, milliseconds. */
  readonly stalledWriteMs?: number | undefined;
}

/** All that a server answers, not listening yet. Disposing closes its connections. */
export interface Handlers extends AsyncDisposable {
  readonly fastify: FastifyInstance;
  readonly readiness: Readiness;
  readonly logLevel: LogLevelSwitch;
  readonly purges: PurgeCounts;
  /** Tells these settings from now on. */
  useSettings(settings: readonly ShownSetting[]): void;
  /** Ends streams with UNAVAILABLE: the server is about to stop. */
  drain(): void;
  /** Ends all other calls likewise: there is no time left. */
  halt(): void;
  /** Does what the first calls would wait for, in slices of the event loop. */
  warmUp(): Promise<void>;
}

/**
 * Makes what answers requests: the RPCs, probes, public keys and, if they are set, metrics. Throws
 * MetricsListenError: metrics have a port of their own, which is open from here on.
 */
export async function createHandlers(
  app: OpenedApp,
  config: Config,
  log: Logger,
  options: HandlersOptions,
): Promise<Handlers> {
  await using opened = new AsyncDisposableStack();
  const { contract, tracing, worker } = options;
  const { database, signingKeys, now } = app;
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
    log,
    counters: port,
    openRequests,
    shortcut: fastPath,
    scheduler: {
      mayStart: () => scheduler.mayStart(),
      add: (headers, peer, serve) => scheduler.add(payerOfRequest(headers, peer), serve),
    },
    isProxy,
    streamingPaths: streamingPathsOf(contract.services),
    stalledWriteMs: options.stalledWriteMs,
    clock: app.connectionClock,
  });
  opened.defer(() => fastify.close());

  const draining = new AbortController();
  const halting = new AbortController();
  const readiness = createReadiness(app);
  const streamBudgets = createStreamBudgets({ perCaller: config.watchesPerCallerMax, total: config.watchesMax });
  const purges = createPurgeCounts();
  const measured: Measured = {
    dialect: database.dialect,
    port,
    budgets: [
      openRequests,
      budgets.bytes,
      app.watchBytes,
      app.recordBytes,
      streamBudgets.watches,
      streamBudgets.publicStreams,
    ],
    limiters: [
      budgets.reads,
      budgets.lists,
      budgets.writes,
      app.watchReads,
      app.recordWrites,
      app.passwords.limiter,
      app.photoMaker.limiter,
      ...compressor.limiters,
    ],
    wakes: app.wakes,
    watchLags: app.watchLags,
    logStatus: sampled(() => readLogStatus(app), STATUS),
    purges,
    throttled: app.throttle.throttled,
    now,
  };
  const logLevel = opened.use(new LogLevelSwitch(log, config.logLevel, app));
  let { settings } = config;
  const served: ServedApp = {
    ...app,
    measured,
    logLevel,
    settings: () => settings,
    databaseFacts: sampled(() => readDatabaseFacts(database), STATUS),
    onUnrecorded: (err) => log.error({ err }, 'could not record the activity of a new log level'),
    worker,
  };
  const metrics = config.metricsPort === undefined ? undefined : new Registry();
  const callMetrics = metrics && new CallMetrics(metrics);
  if (metrics !== undefined) {
    addServerMetrics(metrics, measured);
    opened.use(addProcessMetrics(metrics));
    opened.use(await serveMetrics(config.metricsHost, config.metricsPort ?? 0, () => metrics.text()));
  }

  const logRefusedOrigin = createRefusedOriginLog(log, app.connectionClock);
  await allowOrigins(fastify, config.corsOrigins, logRefusedOrigin);
  serveProbes(fastify, readiness);
  serveJwks(fastify, () => signingKeys.jwks());
  if (config.reflection) {
    await serveContract(fastify);
    await serveOpenApi(fastify);
    await serveErrorPage(fastify);
  }
  const { mail, signUp, loginCodes, consolePath } = config;
  const { path: accountPath, url: accountUrl, ...look } = config.account;
  const ways = { signUp: signUp.policy, loginCodes };
  const isAccountServed =
    accountPath !== undefined &&
    (await serveAccount(fastify, { ...look, ...ways, path: accountPath, service: mail.service }));
  if (accountPath !== undefined && !isAccountServed) {
    log.warn('the account pages are not served, since they have not been built: npm run build:console');
  }
  if (consolePath !== undefined) {
    // By its path, since the console may be opened under another host than links in mails have.
    const shown = isAccountServed || accountPath === undefined ? (accountPath ?? accountUrl) : undefined;
    const pages = { ...ways, path: consolePath, accountUrl: shown };
    if (!(await serveConsole(fastify, pages))) {
      log.warn('the console is not served, since it has not been built: npm run build:console');
    }
  }
  if (accountUrl !== undefined) serveChangePasswordUrl(fastify, accountUrl);
  const handlers = await serveRpcs(fastify, {
    routes(router: ConnectRouter) {
      registerServices(router, served);
      const names = contract.services.map(({ typeName }) => typeName);
      health(router, names, readiness, app.wakes);
      const files = contract.services.map(({ file }) => file);
      if (config.reflection) reflection(router, files);
    },
    fastPath,
    rules: contract.rules,
    isProxy,
    corsOrigins: config.corsOrigins,
    logRefusedOrigin,
    authenticate: (bearer) => (isApiKey(bearer) ? authenticateApiKey(app, bearer) : authenticate(app, bearer)),
    recallPayer: recall,
    freshness: { maxAgeMs: config.freshSignInMs, now },
    validator: sharedValidator(),
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
  serveContactFiles(fastify, createFileCalls(handlers));
  const running = opened.move();
  return {
    fastify,
    readiness,
    logLevel,
    purges,
    useSettings: (taken) => {
      settings = taken;
    },
    drain: () => draining.abort(),
    warmUp: () => compileRules(sharedValidator(), SERVICES, draining.signal),
    halt: () => halting.abort(new ConnectError('the server is stopping: call again', Code.Unavailable)),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

let validator: Validator | undefined;

/** The rules are the contract's, so the servers of a process share what is compiled of them. */
function sharedValidator(): Validator {
  return (validator ??= createRequestValidator(SERVICES));
}

function createReadiness({ database, revocations, signingKeys }: OpenedApp): Readiness {
  return new Readiness([
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
}

/** Whose an access token or API key is that was used lately. */
function recallPayer(app: OpenedApp, bearer: string): Payer | undefined {
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
