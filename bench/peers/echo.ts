import { createServer as createHttp1Server, type IncomingHttpHeaders, type Server } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Server as TcpServer } from 'node:net';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import { fastify as createFastify } from 'fastify';
import {
  ActivityService,
  type WatchUserActivityRequest,
  type WatchUserActivityResponse,
  WatchUserActivityResponseSchema,
} from '../../gen/kith/activity/v1/activity_service_pb.ts';
import {
  type GetUserRequest,
  GetUserRequestSchema,
  type GetUserResponse,
  GetUserResponseSchema,
  UserService,
} from '../../gen/kith/user/v1/user_service_pb.ts';
import { createFastHandlers } from '../../packages/connect-fast/src/index.ts';
import * as compiled from '../../packages/protobuf-compiled/src/index.ts';
import { createOnePortServer } from '../../src/http/one-port.ts';
import { createCallEnd } from '../../src/rpc/call.ts';
import { createCallLog } from '../../src/rpc/call-log.ts';
import { ANSWER_HEADERS, requestIdOf } from '../../src/rpc/answers.ts';
import { COMPRESS_MIN_BYTES, Compressor } from '../../src/rpc/compressor.ts';
import { createRequestHooks, DeferredFastPath } from '../../src/rpc/fast-path.ts';
import { serveGrpcJs } from './grpc-js.ts';
import { serveNiceGrpc } from './nice-grpc.ts';

/**
 * Servers that do nothing but answer, so that the transport alone is measured.
 * GetUser answers with the id it was asked for; WatchUserActivity sends as many
 * messages as `after_cursor` says, or one and then nothing for "idle".
 */

/** What GetUser answers with beside the id. */
const NAME = 'Somebody of the benchmark';

function echo({ userId: id }: GetUserRequest): GetUserResponse {
  return create(GetUserResponseSchema, { user: { id, name: NAME } });
}

function message(n: number): WatchUserActivityResponse {
  return create(WatchUserActivityResponseSchema, { cursor: `cursor of message ${n}` });
}

async function* stream(
  { afterCursor }: WatchUserActivityRequest,
  { signal }: Pick<HandlerContext, 'signal'>,
): AsyncGenerator<WatchUserActivityResponse> {
  if (afterCursor !== 'idle') {
    for (let n = 0; n < Number(afterCursor); n++) yield message(n);
    return;
  }
  yield message(0);
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/** Kith's port, with the fast path in front of Connect or without. */
export async function echoWithConnect(withFastPath: boolean, withLog: boolean): Promise<string> {
  const fastPath = new DeferredFastPath();
  const compressor = new Compressor();
  const fastify = createFastify({
    serverFactory: (handler) => createOnePortServer(handler, { shortcut: fastPath }) as Server,
    logger: withLog && { level: 'info', base: null },
    disableRequestLogging: true,
  });
  const handlers = createFastHandlers({
    routes(router) {
      router.service(UserService, { getUser: echo });
      router.service(ActivityService, { watchUserActivity: stream });
    },
    ...(withLog &&
      createRequestHooks(
        () => false,
        [],
        () => {},
      )),
    onCallEnd: withLog ? createCallEnd(createCallLog(fastify.log, 1)) : undefined,
    readMaxBytes: 2 ** 20,
    codec: compiled,
    compressMinBytes: COMPRESS_MIN_BYTES,
    acceptCompression: compressor.compressions,
    compressAnswer: (name, bytes, _context, isWanted) => compressor.compress(name, bytes, 'anybody', isWanted),
  });
  if (withFastPath) fastPath.open(handlers);
  await fastify.register(fastifyConnectPlugin, {
    routes: (router) => void router.handlers.push(...handlers.handlers),
  });
  return fastify.listen({ host: '127.0.0.1', port: 0 });
}

export function echoWithGrpcJs(): Promise<string> {
  return serveGrpcJs([
    { method: UserService.method.getUser, handle: (request) => echo(request as GetUserRequest) },
    {
      method: ActivityService.method.watchUserActivity,
      handle: (request, _, signal) => stream(request as WatchUserActivityRequest, { signal }),
    },
  ]);
}

export function echoWithNiceGrpc(): Promise<string> {
  return serveNiceGrpc(UserService.method.getUser, (request) => echo(request as GetUserRequest));
}

/** JSON over HTTP/1.1 without a contract, but with schemas for what comes and goes. */
export async function echoWithFastify(withLog: boolean): Promise<string> {
  const fastify = createFastify({
    logger: withLog && { level: 'info', base: null },
    disableRequestLogging: true,
    ...(withLog && { genReqId: ({ headers }: { headers: IncomingHttpHeaders }) => requestIdOf(headers) }),
  });
  if (withLog) {
    // As Kith does: the line and the answer carry the same id.
    fastify.addHook('onRequest', async ({ id }, reply) => {
      reply.headers({ 'x-request-id': id, ...ANSWER_HEADERS });
    });
    fastify.addHook('onResponse', async ({ id, routeOptions }, { elapsedTime, statusCode }) => {
      fastify.log.info({ requestId: id, route: routeOptions.url, code: statusCode, durationMs: elapsedTime }, 'call');
    });
  }
  const text = { type: 'string' };
  const user = { type: 'object', properties: { id: text, name: text } };
  fastify.post(
    '/users/get',
    {
      schema: {
        body: { type: 'object', required: ['userId'], properties: { userId: text } },
        response: { 200: { type: 'object', properties: { user } } },
      },
    },
    async ({ body }) => ({ user: { id: (body as { userId: string }).userId, name: NAME } }),
  );
  return fastify.listen({ host: '127.0.0.1', port: 0 });
}

/** The least that Node can do for a unary call of gRPC. */
export async function echoWithHttp2(): Promise<string> {
  const server = createHttp2Server();
  server.on('stream', (http2Stream: ServerHttp2Stream) => {
    http2Stream.once('data', (body: Buffer) => {
      const answer = toBinary(GetUserResponseSchema, echo(fromBinary(GetUserRequestSchema, body.subarray(5))));
      const frame = Buffer.alloc(5 + answer.length);
      frame.writeUInt32BE(answer.length, 1);
      frame.set(answer, 5);
      http2Stream.once('wantTrailers', () => http2Stream.sendTrailers({ 'grpc-status': '0' }));
      http2Stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      http2Stream.end(frame);
    });
    http2Stream.on('error', () => {});
  });
  return listening(server);
}

/** The least that Node can do for JSON over HTTP/1.1. */
export async function echoWithHttp1(): Promise<string> {
  const server = createHttp1Server((request, response) => {
    request.once('data', (body: Buffer) => {
      const { userId: id } = JSON.parse(body.toString()) as { userId: string };
      const answer = JSON.stringify({ user: { id, name: NAME } });
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(answer) });
      response.end(answer);
    });
  });
  return listening(server);
}

async function listening(server: TcpServer): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
