import type { DescService } from '@bufbuild/protobuf';
import { type ConnectRouter, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import type { Validator } from '@bufbuild/protovalidate';
import type { FastifyInstance } from 'fastify';
import type { Caller } from '../kernel/access.ts';
import { currentPayer } from '../budget/current-payer.ts';
import type { Payer } from '../budget/payer.ts';
import type { SliceScheduler } from '../budget/slice-scheduler.ts';
import { type Check, createFastHandlers, SMALL_BYTES } from '../../packages/connect-fast/src/index.ts';
import * as compiled from '../../packages/protobuf-compiled/src/index.ts';
import type { Tracing } from '../tracing/tracing.ts';
import { type AccessRules, createAccessCheck, createAccessGate, type Freshness } from './access.ts';
import { createCallEnd, findRequestId, setReceived } from './call.ts';
import {
  type CallBudgets,
  createAnswerHoldInterceptor,
  giveBackRequestBytes,
  holdCall,
  holdRequests,
  limitCalls,
  payerOfCall,
} from './call-budgets.ts';
import { createCallLog } from './call-log.ts';
import type { CallMetrics } from './call-metrics.ts';
import { CallTracing } from './call-tracing.ts';
import { routeHandlers } from './connect-routes.ts';
import { toConnectError } from './errors.ts';
import { checkQuery, checkRequests } from './checked-requests.ts';
import { COMPRESS_MIN_BYTES, type Compressor } from './compressor.ts';
import { createRequestHooks, type DeferredFastPath } from './fast-path.ts';
import { answerAfterRequest } from './answer-after-request.ts';
import { explainRefusals } from './http-refusals.ts';
import { createDeadlineInterceptor, createErrorInterceptor } from './interceptors.ts';
import { createMessageLimits } from './message-limits.ts';
import { createNormalize } from './normalize.ts';
import { answerWhatMayBeRead } from './read-access.ts';
import { createRequestCheck } from './request-check.ts';
import { recallBearer } from './request-payer.ts';
import { type StreamBudgets, withStreamBudget } from './stream-budget.ts';
import type { RefusedOriginLog } from './refused-origins.ts';
import { withStreamEnds } from './stream-ends.ts';
import { createValidationCheck } from './validate.ts';

export interface RpcOptions {
  readonly routes: (router: ConnectRouter) => void;
  /** Is opened for the same routes; undefined for none. */
  readonly fastPath: DeferredFastPath | undefined;
  readonly rules: AccessRules;
  /** Who an access token speaks for. Throws a Failure when nobody. */
  readonly authenticate: (accessToken: string) => Caller | Promise<Caller>;
  /** Whose a token is that was verified lately; undefined for any other. */
  readonly recallPayer: (bearer: string) => Payer | undefined;
  readonly freshness: Freshness;
  /** Whether an address is a proxy's whose X-Forwarded-For is believed. */
  readonly isProxy: (address: string | undefined) => boolean;
  /** The origins whose pages may call, as given to `allowOrigins`. */
  readonly corsOrigins: readonly string[];
  /** Called with each call by a page of another origin. */
  readonly logRefusedOrigin: RefusedOriginLog;
  readonly validator: Validator;
  /** What calls are charged for what they make the server hold and do. */
  readonly budgets: CallBudgets;
  readonly compressor: Compressor;
  /** Says when the work on large requests begins. */
  readonly scheduler: SliceScheduler;
  /** One in this many successful calls is logged; failures always are. */
  readonly logOneIn: number;
  /** Counts calls; undefined if metrics are not served. */
  readonly metrics: CallMetrics | undefined;
  /** Makes a span of each call; undefined when nobody records them. */
  readonly tracing: Tracing | undefined;
  /** The largest request message that is read of any method, bytes, unpacked. */
  readonly readMaxBytes: number;
  /** What open streams are charged to. */
  readonly streamBudgets: StreamBudgets;
  /** Aborted when the server starts to stop: streams end. */
  readonly draining: AbortSignal;
  /** Aborted when the server has no time left: unary calls end as well. */
  readonly halting: AbortSignal;
}

/** Serves RPCs over gRPC, gRPC-Web and Connect on a Fastify instance. Returns what it serves them with. */
export async function serveRpcs(fastify: FastifyInstance, options: RpcOptions): Promise<readonly UniversalHandler[]> {
  const gate = createAccessGate(options.rules, options.authenticate, options.freshness);
  const tracing = options.tracing && new CallTracing(options.tracing);
  const authorize = tracing ? (context: HandlerContext) => tracing.within(context, () => gate(context)) : gate;
  const limitOf = createMessageLimits(options.rules, options.readMaxBytes);
  const requestGate = (context: HandlerContext): void | Promise<void> => {
    tracing?.begin(context, findRequestId(context.values));
    try {
      return authorize(context)?.catch(throwConverted);
    } catch (error) {
      throwConverted(error);
    }
  };
  const { budgets, compressor } = options;
  const recall = (authorization: string | undefined) => recallBearer(authorization, options.recallPayer);
  const services = collectServices(options, tracing);
  const checkBytes = createRequestCheck(
    services.flatMap(({ service }) => service.methods),
    options.validator,
  );
  const { compressions } = compressor;
  const turn = (bytes: number) => (bytes > SMALL_BYTES ? options.scheduler.turn(currentPayer()) : undefined);
  const handlers = createFastHandlers({
    routes(router) {
      for (const { service, implementation } of services) router.service(service, implementation);
      router.handlers.forEach((handler, i) => {
        const readMaxBytes = limitOf(handler.method);
        const checked = checkRequests(handler, {
          readMaxBytes,
          compressions,
          turn,
          check: checkBytes,
          onTaken: giveBackRequestBytes,
        });
        const answering = explainRefusals(answerAfterRequest(checked, readMaxBytes));
        router.handlers[i] = holdRequests(answering, budgets, recall);
      });
    },
    ...createRequestHooks(options.isProxy, options.corsOrigins, options.logRefusedOrigin),
    requestGate,
    fallback: {
      async requestGate(context) {
        await requestGate(context);
        await checkQuery(context);
      },
      // What `toError`, `abandonsInterrupted` and `hold` do on the fast path.
      interceptors: [createErrorInterceptor(), createDeadlineInterceptor(), createAnswerHoldInterceptor(budgets)],
    },
    codec: compiled,
    checks: createChecks(options),
    abandonsInterrupted: true,
    readMaxBytes: options.readMaxBytes,
    readMaxBytesOf: limitOf,
    checkBytes,
    acceptCompression: compressions,
    compressMinBytes: COMPRESS_MIN_BYTES,
    compressAnswer: (name, bytes, context, isWanted) =>
      compressor.compress(name, bytes, payerOfCall(context), isWanted),
    decompressRequest: (context, name, bytes, maxBytes) =>
      compressor.decompress(name, bytes, maxBytes, payerOfCall(context)),
    schedule: (context, begin) => options.scheduler.add(payerOfCall(context), begin),
    hold: (context) => holdCall(budgets, context),
    toError: toConnectError,
    jsonOptions: STRICT_JSON,
    shutdownSignal: options.halting,
    onCallEnd: createCallEnd(createCallLog(fastify.log, options.logOneIn), options.metrics, tracing),
    onFault: (error) => fastify.log.error({ err: error }, 'could not write an answer'),
  });
  options.fastPath?.open(handlers);
  await routeHandlers(fastify, handlers.handlers);
  return handlers.handlers;
}

/** What happens to each request message before its implementation is given it, on the fast path and in the fallback. */
function createChecks({ rules, freshness, validator }: RpcOptions): readonly Check[] {
  const normalize = createNormalize();
  return [
    ({ method, values }) => {
      if (method.methodKind === 'unary') setReceived(values);
    },
    ({ method }, message) => normalize(method.input, message),
    createAccessCheck(rules, freshness),
    createValidationCheck(validator),
  ];
}

function throwConverted(error: unknown): never {
  throw toConnectError(error);
}

interface ServedService {
  readonly service: DescService;
  readonly implementation: Partial<ServiceImpl<DescService>>;
}

/**
 * The services of the routes, within the limits on calls and streams, as they may be answered and, where they are
 * traced, with the spans of their calls active.
 */
function collectServices(
  { routes, budgets, streamBudgets, rules, draining }: RpcOptions,
  tracing: CallTracing | undefined,
): ServedService[] {
  const services: ServedService[] = [];
  const collecting: ConnectRouter = {
    handlers: [],
    service(service, implementation) {
      const kept = answerWhatMayBeRead(service.methods, implementation, rules) as typeof implementation;
      const limited = withStreamBudget(service, limitCalls(service, kept, budgets, rules), streamBudgets);
      const traced = tracing === undefined ? limited : tracing.trace(service, limited);
      services.push({ service, implementation: withStreamEnds(service, traced, draining) });
      return collecting;
    },
    rpc() {
      throw new Error('register whole services: their streams have a budget');
    },
  };
  routes(collecting);
  return services;
}

/**
 * JSON of the contract and nothing else: an unknown field is a misspelt one, and
 * bytes that are not UTF-8 would be stored as U+FFFD. Connect hands its JSON
 * options down to where the text decoder is one of them.
 */
const STRICT_JSON = {
  ignoreUnknownFields: false,
  textDecoder: new TextDecoder('utf-8', { fatal: true }),
};
