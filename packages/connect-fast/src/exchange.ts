import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';

/** One HTTP request and the answer to it, over either version of HTTP. */
export interface Exchange {
  readonly method: string;
  /** The path with its query, as it was sent. */
  readonly target: string;
  /** Absolute. */
  readonly url: string;
  readonly httpVersion: '1.1' | '2.0';
  readonly headers: IncomingHttpHeaders;
  /** The address of the peer. */
  readonly remoteAddress: string;
  /** Whether nothing that is written arrives any more. */
  readonly isClosed: boolean;
  /** Says who is told what becomes of it. */
  listen(listener: ExchangeListener): void;
  /** Reads the body, and has the listener told when it is there. */
  read(bytesMax: number): void;
  /** Answers all at once. A text is sent as UTF-8. */
  answer(status: number, headers: OutgoingHttpHeaders, body: Uint8Array | string): void;
  /** Sends the headers of an answer that goes on, and ends with trailers or without. */
  begin(status: number, headers: OutgoingHttpHeaders, hasTrailers: boolean): void;
  /** Whether there is room for more; otherwise wait for `drained`. */
  write(chunk: Uint8Array): boolean;
  /** Resolves when there is room for more, or never will be. */
  drained(): Promise<void>;
  /** Ends an answer that was begun. */
  end(chunk: Uint8Array | undefined, trailers: OutgoingHttpHeaders | undefined): void;
  /** Cuts off an answer that cannot be ended, so that the client does not wait for it. */
  abandon(): void;
}

/** Where a request's stream says which exchange it belongs to: its listeners are functions that all streams share. */
const EXCHANGE = Symbol('exchange');

interface Exchanged {
  [EXCHANGE]?: NodeExchange<IncomingMessage | ServerHttp2Stream> | undefined;
}

/** What both versions of HTTP have in common. */
abstract class NodeExchange<Readable extends IncomingMessage | ServerHttp2Stream> {
  protected readonly readable: Readable & Exchanged;
  protected listener: ExchangeListener | undefined;
  #bytesMax = 0;
  #first: Buffer | undefined;
  #chunks: Buffer[] | undefined;
  #bytes = 0;
  #isRefused = false;

  constructor(readable: Readable) {
    this.readable = readable;
    this.readable[EXCHANGE] = this;
  }

  read(bytesMax: number): void {
    const { readable } = this;
    // A stream that was empty may have ended while a gate was deciding.
    if (readable.readableEnded) return this.finish(undefined);
    this.#bytesMax = bytesMax;
    readable.on('data', onData).on('end', onEnd);
  }

  /** What came of the body. */
  add(chunk: Buffer): void {
    if (this.#isRefused) return;
    if (this.listener?.arrives(chunk.length) === false) return this.#refuse();
    this.#bytes += chunk.length;
    if (this.#first === undefined) this.#first = chunk;
    else (this.#chunks ??= [this.#first]).push(chunk);
    if (this.#bytes <= this.#bytesMax) return;
    const { readable } = this;
    readable.pause();
    readable.off('data', onData).off('end', onEnd);
    this.finish({ [Symbol.asyncIterator]: () => readable.iterator({ destroyOnReturn: false }) });
  }

  /** Lets the rest of the body pass by, and nothing of it be kept. */
  #refuse(): void {
    this.#isRefused = true;
    this.#first = undefined;
    this.#chunks = undefined;
  }

  /** The body has ended, or goes on with what is too long to be kept. */
  finish(rest: AsyncIterable<Uint8Array> | undefined): void {
    if (this.#isRefused) return;
    const whole = this.#chunks === undefined ? this.#first : Buffer.concat(this.#chunks, this.#bytes);
    this.listener?.received(whole ?? NOTHING, rest);
  }
}

function onData(this: Exchanged, chunk: Buffer): void {
  this[EXCHANGE]?.add(chunk);
}

function onEnd(this: Exchanged): void {
  this[EXCHANGE]?.finish(undefined);
}

/** Hears what becomes of an exchange. */
export interface ExchangeListener {
  /** A part of the body has come, of so many bytes. Whether it is to be kept: `received` is not called otherwise. */
  arrives(bytes: number): boolean;
  /**
   * The body is there: whole or, when it is longer than was to be read, what came so far
   * and how to go on. Not called when the client leaves before the end.
   */
  received(body: Buffer, rest: AsyncIterable<Uint8Array> | undefined): void;
  /** The exchange is over, with an error if the client cut it off. */
  closed(reason: ConnectError | undefined): void;
}

/** Of the peers of sessions: Node looks each up through a proxy. */
const addresses = new WeakMap<Http2Session, string>();

/** An exchange on a stream of HTTP/2, without the layer that makes it look like HTTP/1.1. */
export class Http2Exchange extends NodeExchange<ServerHttp2Stream> implements Exchange {
  readonly httpVersion = '2.0';
  readonly headers: IncomingHttpHeaders;
  #trailers: OutgoingHttpHeaders | undefined;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    super(stream);
    this.headers = headers;
    stream.on('error', ignoreError); // 'close' follows
  }

  get method(): string {
    return this.headers[':method'] as string;
  }

  get target(): string {
    return (this.headers[':path'] as string | undefined) ?? ''; // CONNECT has none (RFC 9113, section 8.5)
  }

  get url(): string {
    const { headers } = this;
    // Of any other scheme that a client names, this need not be a URL.
    const scheme = headers[':scheme'] === 'https' ? 'https' : 'http';
    return `${scheme}://${String(headers[':authority'] ?? headers.host)}${this.target}`;
  }

  get remoteAddress(): string {
    const { session } = this.readable;
    if (session === undefined) return '';
    let address = addresses.get(session);
    if (address === undefined) {
      address = session.socket.remoteAddress ?? '';
      addresses.set(session, address);
    }
    return address;
  }

  get isClosed(): boolean {
    return this.readable.destroyed || this.readable.closed;
  }

  listen(listener: ExchangeListener): void {
    this.listener = listener;
    this.readable.on('close', onStreamClose); // comes once: `once` would take longer
  }

  /** The stream has closed. */
  close(): void {
    this.listener?.closed(errorOfReset(this.readable.rstCode));
  }

  /** Sends the trailers of an answer that has ended. */
  sendTrailers(): void {
    this.readable.sendTrailers(this.#trailers ?? {});
  }

  answer(status: number, headers: OutgoingHttpHeaders, body: Uint8Array | string): void {
    if (this.isClosed) return;
    this.readable.respond(rawHeaders(status, headers), { endStream: body.length === 0 });
    if (body.length > 0) this.readable.end(body);
  }

  begin(status: number, headers: OutgoingHttpHeaders, hasTrailers: boolean): void {
    if (this.isClosed) return;
    const stream = this.readable;
    if (!hasTrailers) return stream.respond(rawHeaders(status, headers));
    stream.on('wantTrailers', onTrailersWanted);
    stream.respond(rawHeaders(status, headers), { waitForTrailers: true });
  }

  write(chunk: Uint8Array): boolean {
    return this.isClosed || this.readable.write(chunk);
  }

  drained(): Promise<void> {
    return drainOf(this.readable);
  }

  end(chunk: Uint8Array | undefined, trailers: OutgoingHttpHeaders | undefined): void {
    if (this.isClosed) return;
    this.#trailers = trailers;
    this.readable.end(chunk);
  }

  abandon(): void {
    if (!this.isClosed) this.readable.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

/** Names and values in turn, which Node neither copies nor keeps as a table. */
function rawHeaders(status: number, headers: OutgoingHttpHeaders): string[] {
  const raw = [':status', String(status)];
  for (const name in headers) {
    const value = headers[name];
    if (Array.isArray(value)) for (const each of value) raw.push(name, each);
    else if (value !== undefined) raw.push(name, String(value));
  }
  return raw;
}

function onStreamClose(this: ServerHttp2Stream & Exchanged): void {
  const exchange = this[EXCHANGE] as Http2Exchange;
  this[EXCHANGE] = undefined;
  exchange.close();
  letGo(this); // those who listen beside it hear of it all the same
}

/**
 * Node keeps a stream that has closed until the garbage collector has moved it to where what lives long is. What it
 * refers to goes the same way, and of that the table of its listeners is the largest part.
 */
function letGo(stream: ServerHttp2Stream): void {
  // Node's own listener to removals goes first: with it each is removed alone, which takes ten times as long.
  stream.removeAllListeners('removeListener').removeAllListeners();
  stream.on('error', ignoreError);
}

function onTrailersWanted(this: Exchanged): void {
  (this[EXCHANGE] as Http2Exchange | undefined)?.sendTrailers();
}

/** An exchange over HTTP/1.1. */
export class Http1Exchange extends NodeExchange<IncomingMessage> implements Exchange {
  readonly httpVersion = '1.1';
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    super(request);
    this.#response = response;
  }

  get method(): string {
    return this.readable.method ?? '';
  }

  get target(): string {
    return this.readable.url ?? '';
  }

  get url(): string {
    const isEncrypted = 'encrypted' in this.readable.socket;
    return `${isEncrypted ? 'https' : 'http'}://${this.headers.host ?? ''}${this.target}`;
  }

  get headers(): IncomingHttpHeaders {
    return this.readable.headers;
  }

  get remoteAddress(): string {
    return this.readable.socket.remoteAddress ?? '';
  }

  get isClosed(): boolean {
    return this.#response.destroyed || this.#response.closed;
  }

  listen(listener: ExchangeListener): void {
    this.listener = listener;
    this.readable.on('error', ignoreError); // 'close' follows
    this.#response.on('close', () => listener.closed(undefined)); // comes once: `once` would take longer
  }

  answer(status: number, headers: OutgoingHttpHeaders, body: Uint8Array | string): void {
    if (this.isClosed) return;
    this.#response.writeHead(status, headers);
    // A text is sent with the headers, by one write to the socket, and twice as fast as by two.
    if (typeof body === 'string' || body.length > ONE_WRITE_BYTES_MAX) this.#response.end(body);
    else this.#response.end(latin1(body), 'latin1');
  }

  begin(status: number, headers: OutgoingHttpHeaders): void {
    if (!this.isClosed) this.#response.writeHead(status, headers);
  }

  write(chunk: Uint8Array): boolean {
    return this.isClosed || this.#response.write(chunk);
  }

  drained(): Promise<void> {
    return drainOf(this.#response);
  }

  end(chunk: Uint8Array | undefined, trailers: OutgoingHttpHeaders | undefined): void {
    if (this.isClosed) return;
    if (trailers !== undefined) this.#response.addTrailers(trailers);
    this.#response.end(chunk);
  }

  abandon(): void {
    this.#response.destroy();
  }
}

const NOTHING = Buffer.alloc(0);
const ONE_WRITE_BYTES_MAX = 16_384;

/** Bytes as a text of as many characters. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function drainOf(writable: ServerResponse | ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      writable.off('drain', settle).off('close', settle);
      resolve();
    };
    writable.on('drain', settle).on('close', settle);
  });
}

/** What a client means by resetting a stream (RFC 9113, section 7), in the terms of gRPC. */
function errorOfReset(code: number | undefined): ConnectError | undefined {
  const [name, status] = (code === undefined ? undefined : RESETS[code]) ?? [];
  if (code === undefined || status === undefined) return undefined;
  return new ConnectError(`http/2 stream closed with error code ${name} (0x${code.toString(16)})`, status);
}

/** https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors */
const RESETS: Readonly<Record<number, readonly [name: string, code: Code]>> = {
  1: ['PROTOCOL_ERROR', Code.Internal],
  2: ['INTERNAL_ERROR', Code.Internal],
  3: ['FLOW_CONTROL_ERROR', Code.Internal],
  4: ['SETTINGS_TIMEOUT', Code.Internal],
  6: ['FRAME_SIZE_ERROR', Code.Internal],
  7: ['REFUSED_STREAM', Code.Unavailable],
  8: ['CANCEL', Code.Canceled],
  9: ['COMPRESSION_ERROR', Code.Internal],
  10: ['CONNECT_ERROR', Code.Internal],
  11: ['ENHANCE_YOUR_CALM', Code.ResourceExhausted],
  12: ['INADEQUATE_SECURITY', Code.PermissionDenied],
  13: ['HTTP_1_1_REQUIRED', Code.PermissionDenied],
};

function ignoreError(): void {}
