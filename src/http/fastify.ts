import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import {
  type ConnectionError,
  fastify as createFastify,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Logger } from 'pino';
import { type Budget, overBudget } from '../budget/budget.ts';
import type { Config } from '../config/config.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { Failure } from '../kernel/failure.ts';
import { ANSWER_HEADERS, requestIdOf } from '../rpc/answers.ts';
import { httpRefusal, unknownMethod, wrongContentType } from '../rpc/http-refusals.ts';
import { createOnePortServer, type RequestScheduler, type Shortcut } from './one-port.ts';
import { OPEN_REQUESTS_PER_ADDRESS } from './open-requests.ts';
import type { PortCounters } from './port-counters.ts';
import { type HeadRefusal, normalizeHttp1Head, normalizeHttp2Head } from './request-head.ts';

export interface HttpOptions
  extends Pick<Config, 'tls' | 'connectionsMax' | 'connectionsPerAddressMax' | 'requestTimeoutMs'> {
  readonly log: Logger;
  /** Whether an address is a proxy's whose X-Forwarded-For is believed. */
  readonly isProxy: (address: string | undefined) => boolean;
  /** Request paths whose body may stay open as long as it likes: those of client streams. */
  readonly streamingPaths: ReadonlySet<string>;
  /** How long a response may wait for its reader before it is given up, milliseconds; the port's default when undefined. */
  readonly stalledWriteMs?: number | undefined;
  /** What connections are timed by. Default: the clock of the machine. */
  readonly clock?: Clock | undefined;
  readonly counters?: PortCounters | undefined;
  /** What open requests hold. */
  readonly openRequests?: Budget | undefined;
  /** Serves what it can before Fastify sees it. */
  readonly shortcut?: Shortcut | undefined;
  readonly scheduler?: RequestScheduler | undefined;
}

/** Fastify behind the one port, with request ids and refusals that every protocol understands. */
export function createHttpServer(options: HttpOptions): FastifyInstance {
  const heads = checkHeads(options.shortcut);
  const fastify = createFastify<Server>({
    serverFactory: (handler) =>
      createOnePortServer(handler, {
        tls: options.tls,
        shortcut: heads.shortcut,
        scheduler: options.scheduler,
        connectionsMax: options.connectionsMax,
        connectionsPerAddressMax: options.connectionsPerAddressMax,
        isProxy: options.isProxy,
        onConnectionRefused: (address) => warnOfRefusal(address),
        requestTimeoutMs: options.requestTimeoutMs,
        isStreaming: (path) => options.streamingPaths.has(path),
        stalledWriteMs: options.stalledWriteMs,
        counters: options.counters,
        openRequests: options.openRequests,
        refuseBusy,
        clock: options.clock,
      }) as Server,
    loggerInstance: withoutChild(options.log),
    // X-Forwarded-For is read from right to left, up to the first address that is no proxy's.
    trustProxy: options.isProxy,
    // Calls have a log line of their own, and a URL may hold a message.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: (request) => requestIdOf(request.headers),
    // No route, and so no hook, is found for a path that cannot be decoded.
    frameworkErrors: (_error, _request, reply) => {
      void refuse(
        withAnswerHeaders(reply),
        400,
        new Failure('malformed_request', 'the path, or the URL in its place, cannot be decoded'),
      );
    },
    clientErrorHandler: refuseClient,
    return503OnClosing: false, // what is already on a connection is answered
    forceCloseConnections: false,
  });

  const warnOfRefusal = atMostEvery(REFUSAL_LOG_MS, (address: string | undefined) =>
    fastify.log.warn({ address }, 'refused a connection: KITH_CONNECTIONS or KITH_CONNECTIONS_PER_ADDRESS are open'),
  );

  // Fastify would read the body of a request that nothing takes, and refuse what it cannot parse instead.
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', (_request, _payload, done) => done(null));

  fastify.addHook('onRequest', async (request, reply) => {
    withAnswerHeaders(reply);
    const refusal = heads.refusalOf(request.raw);
    if (refusal !== undefined) {
      if (refusal.closes === true) reply.header('connection', 'close');
      await refuse(reply, refusal.status, refusal.failure);
    } else if (!isSpelledAsItsRoute(request)) {
      await refuse(reply, 404, unknownMethod(pathOf(request.url)));
    }
  });
  fastify.setNotFoundHandler((request, reply) => refuse(reply, 404, unknownMethod(pathOf(request.url))));
  fastify.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status < 500) return refuse(withAnswerHeaders(reply), status, httpFailure(status, request.url));
    request.log.error({ err: error }, 'request failed');
    return reply.code(500).send({ code: 'internal', message: 'internal error' });
  });
  return fastify;
}

/** Fastify would log to a child of the logger that it is given, which has a level of its own: it gets the logger itself instead. */
function withoutChild(log: Logger): Logger {
  return Object.create(log, { child: { value: () => log } }) as Logger;
}

/** How often a line in the log says that connections are refused, milliseconds: whoever opens too many must not fill it. */
const REFUSAL_LOG_MS = 60_000;

/** Calls a function at most once in so many milliseconds, and drops the other calls. */
function atMostEvery<T>(ms: number, call: (of: T) => void): (of: T) => void {
  let lastMs = -Infinity;
  return (of) => {
    if (systemClock.monotonic() - lastMs < ms) return;
    lastMs = systemClock.monotonic();
    call(of);
  };
}

type RawRequest = FastifyRequest['raw'];

/** Puts the head of each request into the form that is served before anything looks at it, and remembers what is refused. */
function checkHeads(shortcut: Shortcut | undefined): {
  readonly shortcut: Shortcut;
  readonly refusalOf: (request: RawRequest) => HeadRefusal | undefined;
} {
  const refusals = new WeakMap<object, HeadRefusal>();
  const passes = (owner: object, refusal: HeadRefusal | undefined): boolean => {
    if (refusal !== undefined) refusals.set(owner, refusal);
    return refusal === undefined;
  };
  return {
    shortcut: {
      takeHttp1: (request, response) =>
        passes(request, normalizeHttp1Head(request)) && shortcut?.takeHttp1(request, response) === true,
      takeHttp2: (stream, headers) =>
        passes(stream, normalizeHttp2Head(headers)) && shortcut?.takeHttp2(stream, headers) === true,
    },
    refusalOf: (request) => refusals.get('stream' in request ? (request.stream as object) : request),
  };
}

/** The router decodes paths. A proxy in front compares them as they are written, so that only one spelling may be served. */
function isSpelledAsItsRoute({ url, routeOptions }: FastifyRequest): boolean {
  const { url: route, config } = routeOptions;
  if (route === undefined || route.endsWith('*')) return true;
  return config?.paths === undefined ? pathOf(url) === route : config.paths.has(pathOf(url));
}

/** A request target without its query. */
function pathOf(target: string): string {
  return target.split('?', 1)[0] ?? '';
}

function httpFailure(status: number, url: string): Failure {
  switch (status) {
    case 404: // an HTTP method that Fastify does not know
      return unknownMethod(pathOf(url));
    case 415: // a content type that is none
      return wrongContentType();
    default:
      return new Failure('malformed_request', 'the HTTP request is not understood');
  }
}

/** Sets the headers of every answer to a request. */
function withAnswerHeaders(reply: FastifyReply): FastifyReply {
  return reply.headers({ 'x-request-id': reply.request.id, ...ANSWER_HEADERS });
}

function refuse(reply: FastifyReply, status: number, failure: Failure): FastifyReply {
  const refusal = httpRefusal(reply.request.headers['content-type'], status, failure);
  reply.code(refusal.status).headers(refusal.headers);
  return refusal.body.length > 0 ? reply.send(refusal.body) : endWithHeaders(reply);
}

/** gRPC looks for a status in the headers only where they end the stream, which Fastify's own `send` leaves to a frame of data. */
function endWithHeaders(reply: FastifyReply): FastifyReply {
  reply.hijack();
  reply.raw.statusCode = reply.statusCode;
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value);
  reply.raw.end();
  return reply;
}

/** What an HTTP/1.1 request is answered for which there is no room: before Fastify, which would make objects for it. */
function refuseBusy(req: IncomingMessage, res: ServerResponse): void {
  const failure = overBudget(
    'budget_exceeded',
    'open_requests',
    OPEN_REQUESTS_PER_ADDRESS,
    'your address has too many',
    1,
  );
  const refusal = httpRefusal(req.headers['content-type'], 429, failure);
  res.writeHead(refusal.status, { ...ANSWER_HEADERS, ...refusal.headers, 'retry-after': '1' }).end(refusal.body);
}

/** Answers what Node's HTTP/1.1 parser does not take for a request: there is no request or reply then. */
function refuseClient(error: ConnectionError, socket: Socket): void {
  // What comes behind a request that was refused is refused as well, while the refusal is on its way.
  if (error.code === 'ECONNRESET' || socket.destroyed || socket.writableEnded) return;
  if (socket.writable) {
    const [status, failure] = clientFailure(error.code);
    const { headers, body } = httpRefusal(undefined, status, failure);
    const lines = Object.entries({ ...ANSWER_HEADERS, ...headers, 'content-length': body.length, connection: 'close' });
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
    );
    socket.write(body);
    socket.destroySoon(); // destroyed at once, a connection with TLS would lose what is not encrypted yet
  } else socket.destroy(error);
}

function clientFailure(code: string): [status: number, failure: Failure] {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, new Failure('deadline_exceeded', 'the request took too long to arrive')];
    case 'HPE_HEADER_OVERFLOW':
      return [431, new Failure('request_too_large', 'the headers are larger than the server reads')];
    default:
      return [400, new Failure('malformed_request', 'this is not HTTP')];
  }
}
