import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import {
  create,
  type DescMessage,
  type DescMethod,
  isMessage,
  type Message,
  type MessageShape,
} from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import {
  Code,
  ConnectError,
  type HandlerContext,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from '@connectrpc/connect';
import type { Compression, UniversalHandler } from '@connectrpc/connect/protocol';
import { codeToHttpStatus, errorToJsonBytes } from '@connectrpc/connect/protocol-connect';
import { runChecks } from './checks.ts';
import { CallContext } from './context.ts';
import { type Exchange, type ExchangeListener, Http1Exchange, Http2Exchange } from './exchange.ts';
import type { FastHandlers } from './fast-handlers.ts';
import type { Hold, Settings } from './options.ts';
import { frameOf } from './shared-message.ts';
import { serveUniversal } from './universal.ts';
import {
  addHeaders,
  compressedEnvelope,
  endingOf,
  ENVELOPE_BYTES,
  envelope,
  sealEnvelope,
  findGetFormat,
  findFormat,
  nodeHeaders,
  openEnvelope,
  type CallFormat,
} from './call-format.ts';

type AnyResponse = UnaryResponse | StreamResponse;
type Next = (request: UnaryRequest | StreamRequest) => Promise<AnyResponse>;
/** What implements a method. */
export type Implemented = (request: Message, context: HandlerContext) => unknown;

interface Route {
  readonly method: DescMethod;
  readonly isUnary: boolean;
  readonly allowsGet: boolean;
  readonly readMaxBytes: number;
  readonly implementation: Implemented;
  /** Serves what is not well formed, of which the body was read already. */
  readonly handler: UniversalHandler;
}

const UTF8 = new TextDecoder();

/**
 * Creates the fast path for the methods of `implemented`. `handlers` are Connect's for the same methods; they serve
 * what is not well formed.
 */
export function createFastPath(
  implemented: ReadonlyMap<DescMethod, Implemented>,
  handlers: readonly UniversalHandler[],
  prefix: string,
  settings: Settings,
): Pick<FastHandlers, 'http1' | 'http2'> {
  const routes = routesOf(implemented, handlers, prefix, settings);
  const running = new Set<CallContext>();
  const { shutdownSignal } = settings;
  // One listener for all calls: adding one for each takes longer than serving it.
  shutdownSignal?.addEventListener(
    'abort',
    () => {
      for (const context of running) context.interrupt(shutdownSignal.reason);
    },
    { once: true },
  );
  const take = (exchange: Exchange, isHttp2: boolean): boolean => {
    const { target } = exchange;
    const queryAt = target.indexOf('?');
    const route = routes.get(queryAt < 0 ? target : target.slice(0, queryAt));
    if (route === undefined) return false;
    const call =
      exchange.method === 'GET'
        ? readGet(route, exchange, queryAt, settings)
        : readPost(route, exchange, isHttp2, settings);
    if (call === undefined || settings.accepts?.(exchange) === false) return false;
    serve(new CallInProgress(route, exchange, call, settings, running));
    return true;
  };
  return {
    http1: (request, response) => take(new Http1Exchange(request, response), false),
    http2: (stream, headers) => take(new Http2Exchange(stream, headers), true),
  };
}

function routesOf(
  implemented: ReadonlyMap<DescMethod, Implemented>,
  handlers: readonly UniversalHandler[],
  prefix: string,
  settings: Settings,
): Map<string, Route> {
  const routes = new Map<string, Route>();
  for (const handler of handlers) {
    const { method } = handler;
    const implementation = implemented.get(method);
    const isUnary = method.methodKind === 'unary';
    if (implementation === undefined || (!isUnary && method.methodKind !== 'server_streaming')) continue;
    routes.set(prefix + handler.requestPath, {
      method,
      isUnary,
      allowsGet: isUnary && method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
      readMaxBytes: settings.readMaxBytesOf(method),
      implementation,
      handler,
    });
  }
  return routes;
}

/** How a call is written, as its headers say. */
interface Call {
  readonly format: CallFormat;
  readonly timeoutMs: number | undefined;
  /** How the client compressed what it sent. */
  readonly requestCompression: Compression | undefined;
  /** Of a GET. */
  readonly message: Buffer | undefined;
}

function readPost(route: Route, exchange: Exchange, isHttp2: boolean, settings: Settings): Call | undefined {
  if (exchange.method !== 'POST') return undefined;
  const { headers } = exchange;
  const format = findFormat(headers['content-type'], route.isUnary);
  if (format === undefined || (format.protocolName === 'grpc' && !isHttp2)) return undefined;
  if (settings.disabled.has(format.protocolName)) return undefined;
  if (settings.requireConnectProtocolHeader && format.protocolName === 'connect') {
    if (headers['connect-protocol-version'] !== '1') return undefined;
  }
  const timeoutMs = timeoutOf(format, headers, settings);
  const requestCompression = findCompression(settings, headers[format.encodingHeader]);
  if (timeoutMs === null || requestCompression === null) return undefined;
  return { format, timeoutMs, requestCompression, message: undefined };
}

function readGet(route: Route, exchange: Exchange, queryAt: number, settings: Settings): Call | undefined {
  if (!route.allowsGet || queryAt < 0 || exchange.headers['content-type'] !== undefined) return undefined;
  const query = new URLSearchParams(exchange.target.slice(queryAt));
  const format = findGetFormat(query.get('encoding'));
  const requestCompression = findCompression(settings, query.get('compression') ?? undefined);
  if (format === undefined || requestCompression === null) return undefined;
  const written = query.get('message') ?? '';
  const isBase64 = query.get('base64') === '1';
  if (isBase64 && !/^[\w-]*$/.test(written)) return undefined; // padded, or broken
  const message = Buffer.from(written, isBase64 ? 'base64url' : 'utf8');
  if (isBase64 && written.length % 4 === 1) return undefined;
  if (settings.disabled.has(format.protocolName)) return undefined;
  if (settings.requireConnectProtocolHeader && query.get('connect') !== 'v1') return undefined;
  const timeoutMs = timeoutOf(format, exchange.headers, settings);
  return timeoutMs === null ? undefined : { format, timeoutMs, requestCompression, message };
}

/** Null for a timeout that is not understood, or longer than is allowed. */
function timeoutOf(
  format: CallFormat,
  headers: IncomingHttpHeaders,
  { maxTimeoutMs }: Settings,
): number | undefined | null {
  const written = headers[format.timeoutHeader];
  if (written === undefined) return undefined;
  const timeoutMs = typeof written === 'string' ? format.parseTimeout(written) : undefined;
  return timeoutMs === undefined || timeoutMs > maxTimeoutMs ? null : timeoutMs;
}

/** Null for one that is not offered. */
function findCompression(
  { compressions }: Settings,
  encoding: string | string[] | undefined,
): Compression | undefined | null {
  if (encoding === undefined || encoding === 'identity') return undefined;
  return compressions.find(({ name }) => name === encoding) ?? null;
}

/** The first compression that the client accepts, in the client's order; where it says nothing, that of its request. */
function negotiate(
  { compressions }: Settings,
  accepted: string | string[] | undefined,
  requested: Compression | undefined,
): Compression | undefined {
  if (typeof accepted !== 'string' || accepted === '') return requested;
  if (accepted === 'identity') return undefined;
  for (const name of accepted.split(',')) {
    const found = compressions.find((compression) => compression.name === name.trim());
    if (found !== undefined) return found;
  }
  return undefined;
}

function serve(call: CallInProgress): void {
  const { context, exchange, settings } = call;
  exchange.listen(call);
  if (settings.shutdownSignal?.aborted === true) context.interrupt(settings.shutdownSignal.reason);
  try {
    const gate = settings.requestGate?.(context);
    if (gate === undefined) receive(call);
    else {
      gate.then(
        () => receive(call),
        (reason: unknown) => failNow(call, reason),
      );
    }
  } catch (error) {
    failNow(call, error);
  }
}

function receive(call: CallInProgress): void {
  const { exchange, message, settings, route, format } = call;
  if (settings.hold !== undefined) {
    if (exchange.isClosed) return;
    try {
      call.hold = settings.hold(call.context);
    } catch (error) {
      return refuse(call, error);
    }
  }
  if (message === undefined) exchange.read(route.readMaxBytes + (format.isEnveloped ? ENVELOPE_BYTES : 0));
  else if (call.arrives(message.length)) call.received(message, undefined);
}

/** A call from when it is accepted. One object for all that is known of it, since functions for each call take their time. */
class CallInProgress implements ExchangeListener {
  readonly route: Route;
  readonly exchange: Exchange;
  readonly context: CallContext;
  readonly format: CallFormat;
  /** Sent with every answer. */
  readonly header: Readonly<Record<string, string>> | undefined;
  readonly settings: Settings;
  readonly requestCompression: Compression | undefined;
  /** How the answer is compressed where it is large. */
  readonly compression: Compression | undefined;
  /** Of a GET. */
  readonly message: Buffer | undefined;
  /** Whether the answer is on its way: what the implementation still does is nobody's concern. */
  isAnswered = false;
  hold: Hold | undefined = undefined;
  #hasArrived = false;
  readonly #running: Set<CallContext>;

  constructor(
    route: Route,
    exchange: Exchange,
    { format, timeoutMs, requestCompression, message }: Call,
    settings: Settings,
    running: Set<CallContext>,
  ) {
    this.route = route;
    this.exchange = exchange;
    this.context = new CallContext(
      route.method,
      exchange,
      format.protocolName,
      timeoutMs,
      settings.contextValues?.(exchange),
      settings.onCallEnd,
    );
    this.context.owner = this;
    this.format = format;
    this.header = settings.responseHeaders?.(exchange, this.context.values);
    this.settings = settings;
    this.requestCompression = requestCompression;
    this.compression = negotiate(settings, exchange.headers[format.acceptEncodingHeader], requestCompression);
    this.message = message;
    this.#running = running;
    running.add(this.context);
  }

  arrives(bytes: number): boolean {
    if (this.hold === undefined) return true;
    try {
      this.hold.grow(bytes);
      return true;
    } catch (error) {
      refuse(this, error);
      return false;
    }
  }

  received(body: Buffer, rest: AsyncIterable<Uint8Array> | undefined): void {
    if (this.exchange.isClosed) return;
    this.#hasArrived = true;
    try {
      answer(this, body, rest);
    } catch (error) {
      giveUp(this, error);
    }
  }

  closed(reason: ConnectError | undefined): void {
    const { context } = this;
    this.hold?.release();
    this.#running.delete(context);
    // An error takes its time to make: only for a call that is not over yet.
    if (!context.isAborted) context.interrupt(reason ?? new ConnectError('This operation was aborted', Code.Canceled));
    if (!this.#hasArrived) context.abort(); // nobody else ends a call that did not come to be
  }
}

/** Not async, as what it calls may be: each turn of the queue costs. */
function answer(call: CallInProgress, body: Buffer, rest: AsyncIterable<Uint8Array> | undefined): void {
  const bytes = rest === undefined ? unpack(call, body) : undefined;
  if (!(bytes instanceof Promise)) {
    if (bytes === undefined || bytes.length <= SMALL_BYTES) return answerTo(call, bytes, body, rest);
    return answerInTurn(call, bytes, body);
  }
  bytes
    .then(
      (unpacked) => (call.arrives(unpacked.length) ? answerInTurn(call, unpacked, body) : undefined),
      (reason: unknown) => failNow(call, reason),
    )
    .catch((error: unknown) => giveUp(call, error));
}

/** Request messages up to this size are worked on when they arrive: that takes less than a small call does otherwise. */
export const SMALL_BYTES = 8192;

function answerInTurn(call: CallInProgress, bytes: Uint8Array, body: Buffer): void {
  const { schedule } = call.settings;
  if (schedule === undefined || bytes.length <= SMALL_BYTES) return answerTo(call, bytes, body, undefined);
  schedule(call.context, () => {
    if (call.exchange.isClosed) return;
    try {
      answerTo(call, bytes, body, undefined);
    } catch (error) {
      giveUp(call, error);
    }
  });
}

/** `bytes` are those of the request message, where there is just one. */
function answerTo(
  call: CallInProgress,
  bytes: Uint8Array | undefined,
  body: Buffer,
  rest: AsyncIterable<Uint8Array> | undefined,
): void {
  const { route, format, settings } = call;
  const refusal = bytes && settings.checkBytes?.(route.method, bytes, format.isBinary);
  if (refusal !== undefined) return failNow(call, refusal);
  const message = bytes === undefined ? undefined : parse(call, bytes);
  if (message !== undefined && route.isUnary) return void answerUnary(call, message);
  const answered = message === undefined ? handOver(call, body, rest) : answerStream(call, message);
  answered.catch((error: unknown) => giveUp(call, error));
}

/** The bytes of the request message, or undefined for a body that does not hold just one. Rejects for what does not unpack. */
function unpack(
  { route, format, requestCompression, context, settings }: CallInProgress,
  body: Buffer,
): Uint8Array | undefined | Promise<Uint8Array> {
  const opened = format.isEnveloped
    ? openEnvelope(body)
    : { isCompressed: requestCompression !== undefined, message: body };
  if (opened?.isCompressed !== true) return opened?.message;
  if (requestCompression === undefined) return undefined;
  const { decompressRequest } = settings;
  return decompressRequest === undefined
    ? requestCompression.decompress(opened.message, route.readMaxBytes)
    : decompressRequest(context, requestCompression.name, opened.message, route.readMaxBytes);
}

/** The request message, or undefined for bytes that are not one. */
function parse({ route, format, settings }: CallInProgress, bytes: Uint8Array): Message | undefined {
  const { input } = route.method;
  const { codec } = settings;
  try {
    if (format.isBinary) return codec.fromBinary(input, bytes, settings.binaryOptions);
    const { jsonOptions } = settings;
    const text = (jsonOptions?.textDecoder ?? UTF8).decode(bytes);
    return codec.fromJsonString(input, text, { ignoreUnknownFields: true, ...jsonOptions });
  } catch {
    return undefined; // Connect's handler says what is wrong with it
  }
}

/** Leaves a request to Connect's handler, with what was read of it. */
function handOver(call: CallInProgress, body: Buffer, rest: AsyncIterable<Uint8Array> | undefined): Promise<void> {
  const { route, exchange, context, header } = call;
  async function* whole(): AsyncGenerator<Uint8Array> {
    if (body.length > 0) yield body;
    if (rest !== undefined) yield* rest;
  }
  const request = {
    httpVersion: exchange.httpVersion,
    method: exchange.method,
    url: exchange.url,
    header: new Headers(context.requestHeader),
    body: whole(),
    signal: context.signal,
    contextValues: context.values,
  };
  return serveUniversal(exchange, route.handler, request, header);
}

/** Does not reject: a promise that waits for this one would cost another turn of the queue. */
async function answerUnary(call: CallInProgress, message: Message): Promise<void> {
  const { route, exchange, context, format, settings } = call;
  if (settings.abandonsInterrupted) {
    if (context.isAborted) return failNow(call, context.reason);
    context.onInterrupt = failInterrupted;
  }
  let body: Uint8Array | string;
  try {
    const output = await invokeUnary(call, message);
    if (call.isAnswered) return;
    const answered = normalize(route.method.output, output);
    body = format.isEnveloped ? unsealed(call, answered) : written(call, answered);
  } catch (error) {
    if (!call.isAnswered) refuse(call, error);
    return;
  }
  try {
    call.hold?.grow(Buffer.byteLength(body) - (format.isEnveloped ? ENVELOPE_BYTES : 0));
  } catch (error) {
    return refuse(call, error);
  }
  call.isAnswered = true;
  try {
    if (context.isAborted && exchange.isClosed) return context.abort();
    context.abort();
    if (!format.isEnveloped || typeof body === 'string')
      return await answerConnect(call, 200, format.contentType, body);
    // Awaited only where there is something to wait for.
    const frame = sealed(call, body as Buffer);
    const ready = frame instanceof Promise ? await frame : frame;
    const ending = endingOf(format, context.addedTrailer, undefined);
    const headers = responseHeaders(call);
    if (ending.frame === undefined) {
      exchange.begin(200, headers, true);
      return exchange.end(ready, ending.trailers);
    }
    const last = framed(call, ending.frame.flags, ending.frame.data);
    const whole = Buffer.concat([ready, last instanceof Promise ? await last : last]);
    headers['content-length'] = whole.length;
    exchange.answer(200, headers, whole);
  } catch (error) {
    giveUp(call, error);
  }
}

async function answerStream(call: CallInProgress, message: Message): Promise<void> {
  const { exchange, context, format, compression } = call;
  const formatKey = `${call.settings.id} ${format.isBinary ? 'proto' : 'json'} ${compression?.name ?? ''}`;
  let hasBegun = false;
  const begin = (): void => {
    if (hasBegun) return;
    hasBegun = true;
    exchange.begin(200, responseHeaders(call), call.format.protocolName === 'grpc');
  };
  let error: unknown;
  try {
    for await (const output of outputsOf(call, message)) {
      const frame = frameOf(output, formatKey, () => sealed(call, unsealed(call, output)));
      const ready = frame instanceof Promise ? await frame : frame;
      if (exchange.isClosed) break;
      begin();
      if (!exchange.write(ready)) await untilTaken(call, ready.length);
      if (exchange.isClosed) break;
    }
  } catch (thrown) {
    error = thrown ?? new Error('nothing was thrown');
  }
  context.abort(error ?? (exchange.isClosed ? context.signal.reason : undefined));
  if (exchange.isClosed) return;
  begin();
  await end(call, error);
}

/** Waits until the client has taken a message, which is held for it until then. */
async function untilTaken({ exchange, hold, settings }: CallInProgress, bytes: number): Promise<void> {
  try {
    hold?.grow(bytes);
  } catch (error) {
    throw settings.toError?.(error) ?? error;
  }
  await exchange.drained();
  hold?.shrink(bytes);
}

/** Answers a call with what was thrown. */
function refuse(call: CallInProgress, error: unknown): void {
  failNow(call, call.settings.toError?.(error) ?? error);
}

/** Of a unary call that is interrupted while its implementation runs: what comes of that is not waited for. */
function failInterrupted({ owner }: CallContext, reason: unknown): void {
  const call = owner as CallInProgress;
  if (!call.isAnswered) failNow(call, reason);
}

function failNow(call: CallInProgress, reason: unknown): void {
  fail(call, reason).catch((error: unknown) => giveUp(call, error));
}

/** For an answer that could not be written. */
function giveUp({ exchange, settings }: CallInProgress, error: unknown): void {
  settings.onFault(error);
  exchange.abandon();
}

/** Refuses a call that has not been answered yet. */
async function fail(call: CallInProgress, error: unknown): Promise<void> {
  const { exchange, context, format } = call;
  call.isAnswered = true;
  context.abort(error);
  if (exchange.isClosed) return;
  if (!format.isEnveloped) {
    const shown = shownError(error);
    shown.metadata.forEach((value, name) => context.responseHeader.append(name, value));
    return answerConnect(
      call,
      codeToHttpStatus(shown.code),
      'application/json',
      errorToJsonBytes(shown, call.settings.jsonOptions),
    );
  }
  exchange.begin(200, responseHeaders(call), format.protocolName === 'grpc');
  await end(call, error);
}

/** Ends an enveloped answer. */
async function end(call: CallInProgress, error: unknown): Promise<void> {
  const { exchange, context, format } = call;
  const ending = endingOf(format, context.addedTrailer, error === undefined ? undefined : shownError(error));
  if (ending.frame === undefined) return exchange.end(undefined, ending.trailers);
  exchange.end(await framed(call, ending.frame.flags, ending.frame.data), undefined);
}

function shownError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  return new ConnectError('internal error', Code.Internal, undefined, undefined, error);
}

/** Answers a unary call of the Connect protocol, whose trailers are headers. */
async function answerConnect(
  call: CallInProgress,
  status: number,
  type: string,
  message: Uint8Array | string,
): Promise<void> {
  const { exchange, context, compression, settings } = call;
  const headers: OutgoingHttpHeaders = { ...call.header, 'content-type': type };
  if (context.addedHeader !== undefined) addHeaders(headers, context.addedHeader);
  const { addedTrailer } = context;
  if (addedTrailer !== undefined) {
    for (const [name, value] of Object.entries(nodeHeaders(addedTrailer))) headers[`trailer-${name}`] = value;
  }
  let body = message;
  let bytes = Buffer.byteLength(body);
  if (compression !== undefined && bytes >= settings.compressMinBytes) {
    const smaller = await compressed(call, compression, typeof body === 'string' ? Buffer.from(body) : body);
    if (smaller !== undefined) {
      body = smaller;
      bytes = body.length;
      headers['content-encoding'] = compression.name;
    }
  }
  headers['content-length'] = bytes;
  exchange.answer(status, headers, body);
}

function responseHeaders({ header, format, compression, context }: CallInProgress): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { ...header, 'content-type': format.contentType };
  if (compression !== undefined) headers[format.encodingHeader] = compression.name;
  if (context.addedHeader !== undefined) addHeaders(headers, context.addedHeader);
  return headers;
}

/**
 * A message behind the bytes of its envelope, as it is sent. Not a promise where there is nothing to wait for: a stream's
 * messages would each take a turn of the loop.
 */
function sealed(call: CallInProgress, frame: Buffer): Buffer | Promise<Buffer> {
  const { compression, settings } = call;
  const bytes = frame.length - ENVELOPE_BYTES;
  if (compression === undefined || bytes < settings.compressMinBytes) return sealEnvelope(0, frame);
  return compressed(call, compression, frame.subarray(ENVELOPE_BYTES)).then((smaller) =>
    smaller === undefined ? sealEnvelope(0, frame) : compressedEnvelope(0, smaller),
  );
}

function framed(call: CallInProgress, flags: number, message: Uint8Array): Buffer | Promise<Buffer> {
  const { compression, settings } = call;
  if (compression === undefined || message.length < settings.compressMinBytes) return envelope(flags, message);
  return compressed(call, compression, message).then((smaller) =>
    smaller === undefined ? envelope(flags, message) : compressedEnvelope(flags, smaller),
  );
}

function compressed(
  { context, exchange, settings }: CallInProgress,
  compression: Compression,
  bytes: Uint8Array,
): Promise<Uint8Array | undefined> {
  const { compressAnswer } = settings;
  return compressAnswer === undefined
    ? compression.compress(bytes)
    : compressAnswer(compression.name, bytes, context, () => !exchange.isClosed);
}

/** A message as the format writes it; JSON is a text, which Node writes along with the headers. */
function written({ route, format, settings }: CallInProgress, message: Message): Uint8Array | string {
  const { output } = route.method;
  const { codec, writeMaxBytes } = settings;
  const bytesOrText = format.isBinary
    ? codec.toBinaryBehind(output, message, 0, settings.binaryOptions)
    : codec.toJsonString(output, message, settings.jsonOptions);
  // No character takes more than three bytes, so that most texts need not be measured.
  if (bytesOrText.length * 3 > writeMaxBytes) checkWritten(Buffer.byteLength(bytesOrText), writeMaxBytes);
  return bytesOrText;
}

function checkWritten(bytes: number, writeMaxBytes: number): void {
  if (bytes <= writeMaxBytes) return;
  const what = `message size ${bytes} is larger than configured writeMaxBytes ${writeMaxBytes}`;
  throw new ConnectError(what, Code.ResourceExhausted);
}

/** A message behind as many bytes as its envelope takes, so that it is not copied into one. */
function unsealed(call: CallInProgress, message: Message): Buffer {
  const { route, format, settings } = call;
  const { codec, writeMaxBytes } = settings;
  let frame: Buffer;
  if (format.isBinary) {
    const bytes = codec.toBinaryBehind(route.method.output, message, ENVELOPE_BYTES, settings.binaryOptions);
    frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    checkWritten(frame.length - ENVELOPE_BYTES, writeMaxBytes);
  } else {
    const text = written(call, message) as string;
    frame = Buffer.allocUnsafe(ENVELOPE_BYTES + Buffer.byteLength(text));
    frame.write(text, ENVELOPE_BYTES);
  }
  return frame;
}

function invokeUnary(call: CallInProgress, message: Message): unknown {
  const { route, context, settings } = call;
  const { method } = route;
  if (settings.interceptors.length === 0) return implemented(call, message, context);
  const request = requestOf(call, false, message);
  let made: AnyResponse | undefined;
  const next = chain(settings.interceptors, async (intercepted) => {
    const output = await implemented(call, intercepted.message as Message, contextFor(context, request, intercepted));
    return (made = responseOf(call, false, normalize(method.output, output)));
  });
  return next(request as never).then((response) => {
    if (response !== made) keepHeaders(context, response);
    return response.message;
  });
}

/** Runs the checks, then the implementation. A promise only if one of them returns one. */
function implemented({ route, settings }: CallInProgress, message: Message, context: HandlerContext): unknown {
  const pending = runChecks(settings.checks, context, message);
  if (pending === undefined) return route.implementation(message, context);
  return pending.then(() => route.implementation(message, context));
}

/** What a stream answers. Throws what its checks, interceptors and implementation throw, as `toError` has it. */
async function* outputsOf(call: CallInProgress, message: Message): AsyncGenerator<Message> {
  const { route, context, settings } = call;
  try {
    const hasInterceptors = settings.interceptors.length > 0;
    const outputs = await (hasInterceptors ? invokeStream(call, message) : implemented(call, message, context));
    for await (const output of outputs as AsyncIterable<unknown>) yield normalize(route.method.output, output);
  } catch (error) {
    throw settings.toError?.(error) ?? error;
  }
}

async function invokeStream(call: CallInProgress, message: Message): Promise<AsyncIterable<Message>> {
  const { route, context, settings } = call;
  const { method } = route;
  const request = requestOf(call, true, single(message));
  const response = await chain(settings.interceptors, async (intercepted) => {
    const input = await onlyOf(intercepted.message as AsyncIterable<Message>);
    const output = await implemented(call, input, contextFor(context, request, intercepted));
    return responseOf(call, true, normalized(method.output, output as AsyncIterable<unknown>));
  })(request as never);
  keepHeaders(context, response);
  return response.message as AsyncIterable<Message>;
}

/** As Connect does, anew for each call: an interceptor may keep state for one. */
function chain(interceptors: readonly Interceptor[], last: Next): Next {
  return interceptors.reduceRight((next, interceptor) => interceptor(next as never), last);
}

/** What interceptors are given. Spreading it makes all that costs. */
interface FastPathRequest {
  readonly context: CallContext;
}

function requestOf({ context, route }: CallInProgress, stream: boolean, message: unknown): FastPathRequest {
  const { method } = route;
  const request = { context, stream, message, method, service: method.parent, requestMethod: context.requestMethod };
  Object.defineProperty(request, 'url', URL_OF);
  Object.defineProperty(request, 'signal', SIGNAL_OF);
  Object.defineProperty(request, 'header', HEADER_OF);
  Object.defineProperty(request, 'contextValues', VALUES_OF);
  return request;
}

function responseOf({ context, route }: CallInProgress, stream: boolean, message: unknown): AnyResponse {
  const { method } = route;
  const response = { context, stream, message, method, service: method.parent };
  Object.defineProperty(response, 'header', RESPONSE_HEADER_OF);
  Object.defineProperty(response, 'trailer', RESPONSE_TRAILER_OF);
  return response as unknown as AnyResponse;
}

/** Getters that all share: in a literal they would be made for each object, which takes four times as long. */
const URL_OF = own(({ url }) => url);
const SIGNAL_OF = own(({ signal }) => signal);
const HEADER_OF = own(({ requestHeader }) => requestHeader);
const VALUES_OF = own(({ values }) => values);
const RESPONSE_HEADER_OF = own(({ responseHeader }) => responseHeader);
const RESPONSE_TRAILER_OF = own(({ responseTrailer }) => responseTrailer);

/** A property that spreading copies. */
function own(get: (context: CallContext) => unknown): PropertyDescriptor {
  return {
    get(this: FastPathRequest) {
      return get(this.context);
    },
    enumerable: true,
  };
}

/** The context as an implementation sees it, after interceptors that may have given the request other headers, values or signals. */
function contextFor(context: CallContext, request: unknown, intercepted: UnaryRequest | StreamRequest): HandlerContext {
  if ((intercepted as unknown) === request) return context;
  const { header, signal, contextValues } = intercepted;
  if (header === context.requestHeader && signal === context.signal && contextValues === context.values) return context;
  return {
    method: context.method,
    service: context.service,
    protocolName: context.protocolName,
    requestMethod: context.requestMethod,
    url: context.url,
    timeoutMs: context.timeoutMs,
    responseHeader: context.responseHeader,
    responseTrailer: context.responseTrailer,
    requestHeader: header,
    signal,
    values: contextValues,
  };
}

/** Takes over the headers of a response that an interceptor made anew. */
function keepHeaders(context: CallContext, response: AnyResponse): void {
  const header = Object.getOwnPropertyDescriptor(response, 'header');
  const trailer = Object.getOwnPropertyDescriptor(response, 'trailer');
  if (header?.value !== undefined) replaceHeaders(context.responseHeader, header.value as Headers);
  if (trailer?.value !== undefined) replaceHeaders(context.responseTrailer, trailer.value as Headers);
}

function replaceHeaders(to: Headers, from: Headers): void {
  if (from === to) return;
  const names = [...to.keys()];
  for (const name of names) to.delete(name);
  from.forEach((value, name) => to.append(name, value));
}

function normalize(desc: DescMessage, output: unknown): Message {
  return isMessage(output, desc) ? output : create(desc, output as MessageShape<DescMessage>);
}

async function* normalized(desc: DescMessage, outputs: AsyncIterable<unknown>): AsyncGenerator<Message> {
  for await (const output of outputs) yield normalize(desc, output);
}

async function* single<T>(item: T): AsyncGenerator<T> {
  yield item;
}

/** The one message of a request, after interceptors that may have left it out or added others. */
async function onlyOf<T>(items: AsyncIterable<T>): Promise<T> {
  let only: { readonly item: T } | undefined;
  for await (const item of items) {
    if (only !== undefined) throw extraInput('received extra');
    only = { item };
  }
  if (only === undefined) throw extraInput('missing');
  return only.item;
}

function extraInput(what: string): ConnectError {
  return new ConnectError(`protocol error: ${what} input message for server-streaming method`, Code.Unimplemented);
}
