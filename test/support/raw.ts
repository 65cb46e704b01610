import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { Code, ConnectError } from '@connectrpc/connect';
import { errorFromJsonBytes } from '@connectrpc/connect/protocol-connect';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import { trailerFlag, trailerParse } from '@connectrpc/connect/protocol-grpc-web';
import { type Refusal, refusalOf } from './kith.ts';

/** What a server sent back. Names of headers and trailers are in lower case. */
export interface RawAnswer {
  /** 0 when the server ended the connection or the stream without an answer. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const NO_ANSWER: RawAnswer = { status: 0, headers: {}, trailers: {}, body: Buffer.alloc(0) };

/** How long to wait for an answer before calling it a hang. */
const HANG_MS = 10_000;

/** Sends any bytes over a connection of its own and reads one HTTP/1.1 response. Throws when none comes and the connection stays. */
export async function sendHttp1(address: string, bytes: string | Uint8Array): Promise<RawAnswer> {
  const { hostname, port, protocol } = new URL(address);
  const options = { host: hostname, port: Number(port) };
  const socket = protocol === 'https:' ? tls.connect({ ...options, rejectUnauthorized: false }) : net.connect(options);
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  const timer = setTimeout(() => reject(new Error('no answer came, and the connection stays open')), HANG_MS);
  const chunks: Buffer[] = [];
  socket.on('error', () => {}); // a reset is an end, and `close` follows
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    const answer = readResponse(Buffer.concat(chunks), false);
    if (answer !== undefined) resolve(answer);
  });
  socket.on('close', () => resolve(readResponse(Buffer.concat(chunks), true) ?? NO_ANSWER));
  socket.write(bytes);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** The response in `bytes`, or undefined when it is not there as a whole. */
function readResponse(bytes: Buffer, closed: boolean): RawAnswer | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  const rest = bytes.subarray(end + 4);
  if (status < 200) return readResponse(rest, closed);
  const headers = fieldsOf(lines);
  if (headers['transfer-encoding'] === 'chunked') {
    const body: Buffer[] = [];
    for (let at = 0; ; ) {
      const lineEnd = rest.indexOf('\r\n', at);
      if (lineEnd === -1) return undefined;
      const size = Number.parseInt(rest.toString('latin1', at, lineEnd), 16);
      if (size === 0 ? !rest.includes('\r\n\r\n', lineEnd) : rest.length < lineEnd + 2 + size + 2) return undefined;
      if (size === 0) {
        const trailers = rest
          .toString('latin1', lineEnd + 2)
          .split('\r\n')
          .filter(Boolean);
        return { status, headers, trailers: fieldsOf(trailers), body: Buffer.concat(body) };
      }
      body.push(rest.subarray(lineEnd + 2, lineEnd + 2 + size));
      at = lineEnd + 2 + size + 2;
    }
  }
  const length = headers['content-length'];
  if (length === undefined ? !closed : rest.length < Number(length)) return undefined;
  return { status, headers, trailers: {}, body: length === undefined ? rest : rest.subarray(0, Number(length)) };
}

function fieldsOf(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
}

/** The text of an HTTP/1.1 request with a body. */
export function http1Request(
  method: string,
  target: string,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array = '',
): Buffer {
  const all = {
    host: 'localhost',
    ...(body.length > 0 && { 'content-length': String(Buffer.byteLength(body)) }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([
    Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'),
    Buffer.from(body),
  ]);
}

/** An HTTP/2 connection for requests with any headers and bytes. */
export async function connectHttp2(address: string): Promise<http2.ClientHttp2Session & AsyncDisposable> {
  const session = http2.connect(address, { rejectUnauthorized: false });
  session.on('error', () => {});
  await once(session, 'connect');
  return Object.assign(session, {
    async [Symbol.asyncDispose]() {
      session.destroy();
    },
  });
}

/** Sends one request over HTTP/2 and reads the response, whatever it is. Throws when none comes and the stream stays. */
export async function sendHttp2(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body: string | Uint8Array = '',
): Promise<RawAnswer> {
  const stream = session.request({ ':method': 'POST', ...headers }, { endStream: false });
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  const timer = setTimeout(() => reject(new Error('no answer came, and the stream stays open')), HANG_MS);
  let head: http2.IncomingHttpHeaders = {};
  let trailers: http2.IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on('response', (received) => (head = received));
  stream.on('trailers', (received) => (trailers = received));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  const answered = () =>
    resolve({
      status: Number(head[':status'] ?? 0),
      headers: plain(head),
      trailers: plain(trailers),
      body: Buffer.concat(chunks),
    });
  // An answer may come while the request is still on its way: the stream is not closed then.
  stream.on('end', () => setImmediate(answered));
  stream.on('close', answered);
  stream.end(body);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    stream.close();
  }
}

function plain(headers: http2.IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !name.startsWith(':'))
      .map(([name, value]) => [name, String(value)]),
  );
}

/**
 * How a call went, read from what came back over any of the protocols: code `ok`
 * when it was answered, and the HTTP status when it was refused without an error
 * of a protocol.
 */
export async function outcomeOf({ status, headers, trailers, body }: RawAnswer): Promise<Refusal> {
  const bare: Refusal = { code: `HTTP ${status}`, reason: undefined, metadata: {}, message: body.toString() };
  let error: ConnectError | undefined;
  if (headers['content-type']?.startsWith('application/grpc')) {
    error = findTrailerError(new Headers({ ...headers, ...trailers, ...trailersInBody(headers, body) }));
  } else if (status !== 200) {
    try {
      error = errorFromJsonBytes(body, undefined, new ConnectError('', Code.Unknown));
    } catch {
      return bare;
    }
  }
  if (error === undefined) return { ...bare, code: 'ok', message: '' };
  return refusalOf(Promise.reject(error));
}

/** gRPC-Web sends trailers as the last envelope of the body. */
function trailersInBody(headers: RawAnswer['headers'], body: Buffer): Record<string, string> {
  if (!headers['content-type']?.startsWith('application/grpc-web')) return {};
  for (let at = 0; at + 5 <= body.length; at += 5 + body.readUInt32BE(at + 1)) {
    if (body.readUInt8(at) & trailerFlag) {
      return Object.fromEntries(trailerParse(body.subarray(at + 5, at + 5 + body.readUInt32BE(at + 1))));
    }
  }
  return {};
}
