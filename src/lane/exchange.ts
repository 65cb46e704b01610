import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';
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
  /**
   * Reads the body. `done` gets it whole or, when it is longer than `bytesMax`, what
   * came so far and how to go on. It is not called when the client leaves before the end.
   */
  read(bytesMax: number, done: (body: Buffer, rest: AsyncIterable<Uint8Array> | undefined) => void): void;
  /** Calls back when the exchange is over, with an error if the client cut it off. */
  onClose(closed: (reason: ConnectError | undefined) => void): void;
  /** Answers all at once. */
  answer(status: number, headers: OutgoingHttpHeaders, body: Uint8Array): void;
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

/** An exchange on a stream of HTTP/2, without the layer that makes it look like HTTP/1.1. */
export class Http2Exchange implements Exchange {
  readonly httpVersion = '2.0';
  readonly headers: IncomingHttpHeaders;
  readonly #stream: ServerHttp2Stream;
  #trailers: OutgoingHttpHeaders | undefined;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#stream = stream;
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
    return this.#stream.session?.socket.remoteAddress ?? '';
  }

  get isClosed(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  read(bytesMax: number, done: (body: Buffer, rest: AsyncIterable<Uint8Array> | undefined) => void): void {
    readBody(this.#stream, bytesMax, done);
  }

  onClose(closed: (reason: ConnectError | undefined) => void): void {
    const stream = this.#stream;
    // Comes once: `once` would take longer.
    stream.on('close', () => {
      closed(errorOfReset(stream.rstCode));
      process.nextTick(letGo, stream); // others hear of it first
    });
  }

  answer(status: number, headers: OutgoingHttpHeaders, body: Uint8Array): void {
    if (this.isClosed) return;
    headers[':status'] = status;
    this.#stream.respond(headers, { endStream: body.length === 0 });
    if (body.length > 0) this.#stream.end(body);
  }

  begin(status: number, headers: OutgoingHttpHeaders, hasTrailers: boolean): void {
    if (this.isClosed) return;
    headers[':status'] = status;
    const stream = this.#stream;
    if (!hasTrailers) return stream.respond(headers);
    stream.on('wantTrailers', () => stream.sendTrailers(this.#trailers ?? {}));
    stream.respond(headers, { waitForTrailers: true });
  }

  write(chunk: Uint8Array): boolean {
    return this.isClosed || this.#stream.write(chunk);
  }

  drained(): Promise<void> {
    return drainOf(this.#stream);
  }

  end(chunk: Uint8Array | undefined, trailers: OutgoingHttpHeaders | undefined): void {
    if (this.isClosed) return;
    this.#trailers = trailers;
    this.#stream.end(chunk);
  }

  abandon(): void {
    if (!this.isClosed) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

/** An exchange over HTTP/1.1. */
export class Http1Exchange implements Exchange {
  readonly httpVersion = '1.1';
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  get method(): string {
    return this.#request.method ?? '';
  }

  get target(): string {
    return this.#request.url ?? '';
  }

  get url(): string {
    const isEncrypted = 'encrypted' in this.#request.socket;
    return `${isEncrypted ? 'https' : 'http'}://${this.headers.host ?? ''}${this.target}`;
  }

  get headers(): IncomingHttpHeaders {
    return this.#request.headers;
  }

  get remoteAddress(): string {
    return this.#request.socket.remoteAddress ?? '';
  }

  get isClosed(): boolean {
    return this.#response.destroyed || this.#response.closed;
  }

  read(bytesMax: number, done: (body: Buffer, rest: AsyncIterable<Uint8Array> | undefined) => void): void {
    readBody(this.#request, bytesMax, done);
  }

  onClose(closed: (reason: ConnectError | undefined) => void): void {
    const response = this.#response;
    this.#request.on('error', ignoreError); // 'close' follows
    response.once('close', () => closed(undefined));
  }

  answer(status: number, headers: OutgoingHttpHeaders, body: Uint8Array): void {
    if (this.isClosed) return;
    this.#response.writeHead(status, headers);
    // As one text with the headers it is one write to the socket, and twice as fast as two.
    if (body.length <= ONE_WRITE_BYTES_MAX) this.#response.end(latin1(body), 'latin1');
    else this.#response.end(body);
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

function readBody(
  readable: IncomingMessage | ServerHttp2Stream,
  bytesMax: number,
  done: (body: Buffer, rest: AsyncIterable<Uint8Array> | undefined) => void,
): void {
  // A stream that was empty may have ended while a gate was deciding.
  if (readable.readableEnded) return done(NOTHING, undefined);
  let first: Buffer | undefined;
  let chunks: Buffer[] | undefined;
  let bytes = 0;
  const whole = (): Buffer => (chunks !== undefined ? Buffer.concat(chunks, bytes) : (first ?? NOTHING));
  const onData = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (first === undefined) first = chunk;
    else (chunks ??= [first]).push(chunk);
    if (bytes <= bytesMax) return;
    readable.pause();
    readable.off('data', onData).off('end', onEnd);
    done(whole(), { [Symbol.asyncIterator]: () => readable.iterator({ destroyOnReturn: false }) });
  };
  const onEnd = (): void => done(whole(), undefined);
  readable.on('data', onData).on('end', onEnd);
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

/**
 * Node keeps a stream that has closed for some time, and with it would be kept all that
 * its listeners refer to, which is what most of a call consists of: the garbage
 * collector would move it to where what lives long is.
 */
function letGo(stream: ServerHttp2Stream): void {
  stream.removeAllListeners();
  stream.on('error', ignoreError);
}
