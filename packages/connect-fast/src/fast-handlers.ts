import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { type DescMethod, fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import {
  type ConnectRouter,
  type ConnectRouterOptions,
  type ContextValues,
  createConnectRouter,
  createContextValues,
  type HandlerContext,
} from '@connectrpc/connect';
import { compressionBrotli, compressionGzip, connectNodeAdapter } from '@connectrpc/connect-node';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { createCheckInterceptor } from './checks.ts';
import { createFastPath, type Implemented } from './fast-path.ts';
import { encodeMessageOf } from './grpc-message.ts';
import type { Codec, FastHandlersOptions, RequestHead, Settings } from './options.ts';
import { TIMER_MAX_MS } from './timeouts.ts';

/** Serves the RPCs of one set of routes. */
export interface FastHandlers {
  /** Serves a request of HTTP/1.1 on the fast path. False leaves it to the fallback, with nothing of it read. */
  readonly http1: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Serves a stream of HTTP/2 on the fast path. False leaves it to the fallback, with nothing of it read. */
  readonly http2: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;
  /** Serves every request with Connect's own handlers, as connectNodeAdapter does: 404 for an unknown path. */
  readonly fallback: ReturnType<typeof connectNodeAdapter>;
  /** Connect's handlers, one for each method, for an adapter in place of `fallback`: `router.handlers.push(...handlers)`. */
  readonly handlers: readonly UniversalHandler[];
}

/** Connect's own limits. */
const MAX_BYTES = 0xffffffff;
const COMPRESS_MIN_BYTES = 1024;

const PROTOBUF_ES: Codec = {
  fromBinary,
  toBinaryBehind(desc, message, headBytes, options) {
    const bytes = toBinary(desc, message, options);
    const behind = Buffer.allocUnsafe(headBytes + bytes.length);
    behind.set(bytes, headBytes);
    return behind;
  },
  fromJsonString,
  toJsonString,
};

let created = 0;

/**
 * Makes handlers that serve unary and server-streaming methods over gRPC (HTTP/2), gRPC-Web and Connect (POST
 * and GET), in binary and JSON, compressed or not, several times as fast as Connect's own.
 *
 * The fast path serves what is well formed. A request whose headers it does not know is left to the fallback;
 * one that turns out to be malformed or too large is handed to Connect's own handler of the method, so that
 * Connect decides how it is answered. Services and methods that are registered with options of their own,
 * client streams and bidirectional streams are Connect's as well.
 *
 * Throws for options out of range, as createConnectRouter does.
 */
export function createFastHandlers(options: FastHandlersOptions): FastHandlers {
  const settings = toSettings(options);
  const router = createConnectRouter(toRouterOptions(options, settings));
  const implemented = recordRoutes(router, options.routes);
  const handlers = router.handlers.map(encodingMessages);
  const fastPath = createFastPath(implemented, handlers, options.requestPathPrefix ?? '', settings);
  return { ...fastPath, fallback: createFallback(handlers, options), handlers };
}

function toSettings(options: FastHandlersOptions): Settings {
  const readMaxBytes = options.readMaxBytes ?? MAX_BYTES;
  return {
    id: created++,
    accepts: options.accepts,
    contextValues: options.contextValues,
    responseHeaders: options.responseHeaders,
    onCallEnd: options.onCallEnd,
    onFault: options.onFault ?? ((error) => console.error('an RPC could not be answered', error)),
    interceptors: options.interceptors ?? [],
    requestGate: options.requestGate,
    readMaxBytesOf: options.readMaxBytesOf ?? (() => readMaxBytes),
    writeMaxBytes: options.writeMaxBytes ?? MAX_BYTES,
    maxTimeoutMs: Math.min(options.maxTimeoutMs ?? TIMER_MAX_MS, TIMER_MAX_MS),
    requireConnectProtocolHeader: options.requireConnectProtocolHeader ?? false,
    disabled: new Set([
      ...(options.connect === false ? ['connect'] : []),
      ...(options.grpc === false ? ['grpc'] : []),
      ...(options.grpcWeb === false ? ['grpc-web'] : []),
    ]),
    compressMinBytes: options.compressMinBytes ?? COMPRESS_MIN_BYTES,
    compressions: options.acceptCompression ?? [compressionGzip, compressionBrotli],
    jsonOptions: options.jsonOptions,
    binaryOptions: options.binaryOptions,
    codec: { ...PROTOBUF_ES, ...options.codec },
    checkBytes: options.checkBytes,
    checks: options.checks ?? [],
    abandonsInterrupted: options.abandonsInterrupted ?? false,
    shutdownSignal: options.shutdownSignal,
    compressAnswer: options.compressAnswer,
    decompressRequest: options.decompressRequest,
    hold: options.hold,
    schedule: options.schedule,
    toError: options.toError,
  };
}

function toRouterOptions(options: FastHandlersOptions, settings: Settings): ConnectRouterOptions {
  const { fallback, jsonOptions, readMaxBytes, maxTimeoutMs, grpc, grpcWeb, connect, binaryOptions } = options;
  const requestGate = observingEnd(fallback?.requestGate ?? options.requestGate, options.onCallEnd);
  const checking = settings.checks.length > 0 ? [createCheckInterceptor(settings.checks)] : [];
  return {
    acceptCompression: [...settings.compressions],
    interceptors: [...(fallback?.interceptors ?? settings.interceptors), ...checking],
    compressMinBytes: settings.compressMinBytes,
    writeMaxBytes: settings.writeMaxBytes,
    requireConnectProtocolHeader: settings.requireConnectProtocolHeader,
    ...(readMaxBytes !== undefined && { readMaxBytes }),
    ...(maxTimeoutMs !== undefined && { maxTimeoutMs }),
    ...(grpc !== undefined && { grpc }),
    ...(grpcWeb !== undefined && { grpcWeb }),
    ...(connect !== undefined && { connect }),
    ...(jsonOptions && { jsonOptions }),
    ...(binaryOptions && { binaryOptions }),
    ...(settings.shutdownSignal && { shutdownSignal: settings.shutdownSignal }),
    ...(requestGate && { requestGate }),
  };
}

/** Connect aborts the context of every call, with the error if there is one, just before it writes the status. */
function observingEnd(
  gate: FastHandlersOptions['requestGate'],
  onCallEnd: FastHandlersOptions['onCallEnd'],
): FastHandlersOptions['requestGate'] {
  if (onCallEnd === undefined) return gate;
  return (context) => {
    const controller = context as HandlerContext & { abort(reason?: unknown): void };
    const { abort } = controller;
    const startMs = performance.now();
    let hasEnded = false;
    controller.abort = (reason) => {
      if (!hasEnded) {
        hasEnded = true;
        onCallEnd(context, reason, performance.now() - startMs);
      }
      abort.call(controller, reason);
    };
    return gate?.(context);
  };
}

/** Registers the routes, and returns the methods with their implementations. */
function recordRoutes(router: ConnectRouter, routes: (router: ConnectRouter) => void): Map<DescMethod, Implemented> {
  const implemented = new Map<DescMethod, Implemented>();
  const recording: ConnectRouter = {
    handlers: router.handlers,
    service(service, implementation, options) {
      router.service(service, implementation, options);
      if (options !== undefined) return recording; // of its own, and so Connect's
      for (const method of service.methods) {
        const implement = (implementation as Readonly<Record<string, unknown>>)[method.localName];
        if (typeof implement === 'function') implemented.set(method, implement.bind(implementation) as Implemented);
      }
      return recording;
    },
    rpc(method, implement, options) {
      router.rpc(method, implement, options);
      if (options === undefined) implemented.set(method, implement as Implemented);
      return recording;
    },
  };
  routes(recording);
  return implemented;
}

/** A handler that encodes `grpc-message` as the fast path does. */
function encodingMessages(handler: UniversalHandler): UniversalHandler {
  const encoding: typeof handler = Object.assign(
    async (request: Parameters<UniversalHandler>[0]) => encodeMessageOf(await handler(request)),
    handler,
  );
  return encoding;
}

function createFallback(
  handlers: readonly UniversalHandler[],
  { contextValues, responseHeaders, requestPathPrefix }: FastHandlersOptions,
): FastHandlers['fallback'] {
  const given = new WeakMap<object, ContextValues>();
  const adapter = connectNodeAdapter({
    routes: (router) => void router.handlers.push(...handlers),
    ...(requestPathPrefix !== undefined && { requestPathPrefix }),
    contextValues: (request) => given.get(request) ?? createContextValues(),
  });
  if (contextValues === undefined && responseHeaders === undefined) return adapter;
  return (request, response) => {
    const head: RequestHead = {
      method: request.method ?? '',
      target: request.url ?? '',
      httpVersion: request.httpVersionMajor === 2 ? '2.0' : '1.1',
      headers: request.headers,
      remoteAddress: request.socket.remoteAddress ?? '',
    };
    const values = contextValues?.(head) ?? createContextValues();
    given.set(request, values);
    for (const [name, value] of Object.entries(responseHeaders?.(head, values) ?? {})) response.setHeader(name, value);
    adapter(request, response);
  };
}
