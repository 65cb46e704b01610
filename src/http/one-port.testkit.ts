import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import tls from 'node:tls';
import v8 from 'node:v8';
import vm from 'node:vm';

import { expect } from 'vitest';

import { flag, frame, frameType, preface, settings } from '../../test/support/http2-frames.ts';
import type { Frame } from '../../test/support/http2-frames.ts';
import { createOnePortServer } from './one-port.ts';
import type { OnePortOptions, RequestScheduler } from './one-port.ts';

const fixtures = new URL('../../test/fixtures/tls/', import.meta.url);
export const cert = readFileSync(new URL('localhost-cert.pem', fixtures));
const key = readFileSync(new URL('localhost-key.pem', fixtures));

export type Transport = 'plain text' | 'TLS';
export const transports: Transport[] = ['plain text', 'TLS'];

/** Milliseconds that this process had for its connections: in those that the machine spends on something else, nobody is slow. */
let servedMs = 0;
const TURN_MS = 5;
setInterval(() => (servedMs += TURN_MS), TURN_MS).unref();

/** Keeps what comes while it is busy. */
export class HeldScheduler implements RequestScheduler {
  isBusy = false;
  readonly waiting: (() => void)[] = [];
  mayStart = () => !this.isBusy;
  add = (_headers: unknown, _address: unknown, start: () => void) => void this.waiting.push(start);
}

/** A started port, and what its handler saw of the requests. */
export interface Port extends AsyncDisposable {
  server: http.Server | https.Server;
  transport: Transport;
  port: number;
  url: string;
  /** Requests handed to the handler, by path. */
  requests: Map<string, number>;
  /** Requests in the handler now, and the most there ever were. */
  running: { now: number; most: number };
  /** Let every request to /held answer. */
  release: () => void;
  /** Wait until the server has let go of a client's connection, which the client cannot see while it does not read. */
  dropped: (client: RawClient) => Promise<void>;
}

/**
 * Start a port whose handler answers `/` at once, `/echo` after the body, `/held` after `release()`, `/endless` with
 * chunks for as long as the client reads, `/drip` with a first chunk at once and the rest after `release()`, `/early`
 * after the first bytes of the body, `/unread` without looking at the body, and `/trailers` likewise, with no body and
 * the trailer `end: whole`. That of `/deaf` answers like that of
 * `/held`, and listens to the errors of a request until its response has closed.
 */
export async function startPort(transport: Transport, options: OnePortOptions = {}): Promise<Port> {
  const requests = new Map<string, number>();
  const running = { now: 0, most: 0 };
  const held = Promise.withResolvers<void>();
  const handler: http.RequestListener = (req, res) => {
    const path = req.url ?? '';
    requests.set(path, (requests.get(path) ?? 0) + 1);
    running.now += 1;
    running.most = Math.max(running.most, running.now);
    res.once('close', () => {
      running.now -= 1;
    });
    const ignore = () => {};
    req.on('error', ignore);
    if (path === '/deaf') res.once('close', () => req.off('error', ignore));
    void answer(path, req, res, held.promise);
  };
  const server = createOnePortServer(handler, {
    clock: { monotonic: () => servedMs },
    ...options,
    ...(transport === 'TLS' && { tls: { cert, key } }),
  });
  const drops = new Map<number | undefined, Promise<void>>();
  server.on('connection', (socket: Socket) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    drops.set(socket.remotePort, promise);
    socket.once('close', () => resolve());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    server,
    transport,
    port,
    url: `${transport === 'TLS' ? 'https' : 'http'}://127.0.0.1:${port}`,
    requests,
    running,
    release: held.resolve,
    async dropped({ localPort }) {
      await expect.poll(() => drops.has(localPort)).toBe(true);
      await drops.get(localPort);
    },
    async [Symbol.asyncDispose]() {
      held.resolve();
      const closed = server.listening ? once(server, 'close') : undefined;
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(path: string, req: http.IncomingMessage, res: http.ServerResponse, held: Promise<void>) {
  if (path === '/echo') {
    req.pipe(res);
    return;
  }
  if (path === '/drip') res.write('first,');
  if (path === '/held' || path === '/deaf' || path === '/drip') await held;
  if (path === '/early') await leaveAfterFirst(req);
  else if (path !== '/unread' && path !== '/trailers') req.resume();
  if (path === '/trailers') res.writeHead(200).addTrailers({ end: 'whole' });
  if (path === '/endless') writeForEver(res);
  else if (path === '/trailers') res.end();
  else res.end('served');
}

async function leaveAfterFirst(req: http.IncomingMessage): Promise<void> {
  for await (const _ of req) return;
}

function writeForEver(res: http.ServerResponse): void {
  const chunk = Buffer.alloc(16_384);
  const write = () => {
    while (!res.destroyed && res.write(chunk));
  };
  res.on('drain', write);
  write();
}

/** The number of TCP connections that the port holds. */
function countConnections({ server }: Port): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}

/** The server tells nobody when its last socket is gone, so ask until it is. */
export async function expectConnections(port: Port, count: number): Promise<void> {
  await expect.poll(() => countConnections(port), { interval: 10 }).toBe(count);
}

export function get(port: Port, path: string, agent: http.Agent | false = false): Promise<HttpAnswer> {
  const client = port.transport === 'TLS' ? https : http;
  const request = client.get(`${port.url}${path}`, { agent, ca: cert });
  return new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
  });
}

interface HttpAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
}

export function keepAliveAgent(port: Port): http.Agent {
  return port.transport === 'TLS'
    ? new https.Agent({ keepAlive: true, maxSockets: 1 })
    : new http.Agent({ keepAlive: true, maxSockets: 1 });
}

export function connectHttp2(port: Port): http2.ClientHttp2Session {
  const session = http2.connect(port.url, { ca: cert });
  session.on('error', () => {});
  return session;
}

export interface StreamAnswer {
  status: number | undefined;
  body: string;
  /** Code of the RST_STREAM that ended it, or 0. */
  code: number;
}

export async function request(
  session: http2.ClientHttp2Session,
  path: string,
  body: Buffer | string = '',
): Promise<StreamAnswer> {
  const stream = session.request({ ':path': path, ':method': 'POST' });
  stream.end(body);
  return readStream(stream);
}

export function readStream(stream: http2.ClientHttp2Stream): Promise<StreamAnswer> {
  let status: number | undefined;
  let text = '';
  stream.on('response', (headers) => {
    status = headers[':status'];
  });
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  stream.on('error', () => {});
  return new Promise((resolve) => {
    stream.on('close', () => resolve({ status, body: text, code: stream.rstCode ?? 0 }));
  });
}

/**
 * Run an attack while a client of each protocol sends one request after the other, and expect that each is served:
 * at least one during the attack and one after it.
 */
async function beside(port: Port, attack: () => Promise<void>): Promise<void> {
  let attacking = true;
  const session = connectHttp2(port);
  const agent = keepAliveAgent(port);
  const overHttp2 = async () => {
    const answer = await request(session, '/echo', 'ping');
    expect(answer).toEqual({ status: 200, body: 'ping', code: 0 });
  };
  const overHttp1 = async () => {
    const { status, body } = await get(port, '/', agent);
    expect({ status, body }).toEqual({ status: 200, body: 'served' });
  };
  const serve = async (ask: () => Promise<void>) => {
    do await ask();
    while (attacking);
    await ask();
  };
  try {
    await Promise.all([
      serve(overHttp2),
      serve(overHttp1),
      attack().finally(() => {
        attacking = false;
      }),
    ]);
  } finally {
    session.destroy();
    agent.destroy();
  }
}

/**
 * Run an attack beside well-behaved clients, and expect that it leaves nothing behind: no connection and less than
 * 30 MB.
 */
export async function expectHarmless(port: Port, attack: () => Promise<void>): Promise<void> {
  const connections = await countConnections(port);
  const bytes = liveBytes();
  await beside(port, attack);
  await expectConnections(port, connections);
  expect(liveBytes() - bytes).toBeLessThan(30_000_000);
}

/** Bytes of live JavaScript objects, array buffers included, after a full garbage collection. */
function liveBytes(): number {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** How a connection ended, seen from the client. */
export interface Ending {
  /** Error code of the server's GOAWAY frame. */
  goaway: number | undefined;
  /** Whether the last that came was a TCP reset. */
  reset: boolean;
}

/** A client that sends any bytes it likes, and reads frames if asked to. */
export interface RawClient {
  socket: Socket;
  /** Of the TCP connection. */
  localPort: number;
  frames: Frame[];
  /** What was received, up to 100 kB of it, as text; for HTTP/1.1. */
  text: () => string;
  send: (bytes: Buffer | string) => void;
  /** End the TCP connection with a reset. */
  reset: () => void;
  /** Wait for a frame, which may have come already. */
  frame: (matches: (frame: Frame) => boolean) => Promise<Frame>;
  ended: Promise<Ending>;
}

export async function connectRaw(port: Port, alpn: 'h2' | 'http/1.1' | undefined): Promise<RawClient> {
  const tcp = net.connect(port.port, '127.0.0.1');
  if (port.transport === 'plain text') return startRaw(tcp, tcp, alpn === 'h2');
  await once(tcp, 'connect');
  const socket = tls.connect({ socket: tcp, ca: cert, servername: 'localhost', ALPNProtocols: alpn ? [alpn] : [] });
  return startRaw(tcp, socket, alpn === 'h2');
}

/** A client of the bare TCP connection, below TLS. */
export function connectTcp(port: Port): Promise<RawClient> {
  const tcp = net.connect(port.port, '127.0.0.1');
  return startRaw(tcp, tcp, false);
}

async function startRaw(tcp: Socket, socket: Socket, readsFrames: boolean): Promise<RawClient> {
  const client = rawClient(tcp, socket, readsFrames);
  await once(socket, socket === tcp ? 'connect' : 'secureConnect');
  return { ...client, localPort: tcp.localPort ?? 0 };
}

function rawClient(tcp: Socket, socket: Socket, readsFrames: boolean): Omit<RawClient, 'localPort'> {
  const frames: Frame[] = [];
  const waiting = new Set<() => void>();
  let text = '';
  let unread: Buffer = Buffer.alloc(0);
  let reset = false;
  let closed = false;
  const wake = () => {
    for (const retry of waiting) retry();
  };
  socket.on('error', (error: NodeJS.ErrnoException) => {
    reset = error.code === 'ECONNRESET' || error.code === 'EPIPE';
  });
  socket.on('data', (chunk: Buffer) => {
    if (!readsFrames) {
      if (text.length < 100_000) text += chunk.toString('latin1');
      return;
    }
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    let offset = 0;
    while (unread.length - offset >= 9) {
      const end = offset + 9 + unread.readUIntBE(offset, 3);
      if (end > unread.length) break;
      frames.push({
        type: unread.readUInt8(offset + 3),
        flags: unread.readUInt8(offset + 4),
        stream: unread.readUInt32BE(offset + 5),
        payload: Buffer.from(unread.subarray(offset + 9, end)),
      });
      offset = end;
    }
    unread = unread.subarray(offset);
    wake();
  });
  const ended = new Promise<Ending>((resolve) => {
    socket.on('close', () => {
      closed = true;
      wake();
      // The last GOAWAY counts: nghttp2 may announce a graceful end before the error.
      const goaway = frames.findLast(({ type }) => type === frameType.goaway)?.payload.readUInt32BE(4);
      resolve({ goaway, reset });
    });
  });
  return {
    socket,
    frames,
    text: () => text,
    send: (bytes) => void socket.write(bytes),
    reset: () => void tcp.resetAndDestroy(),
    frame: (matches) =>
      new Promise((resolve, reject) => {
        const retry = () => {
          const found = frames.find(matches);
          if (found === undefined && !closed) return;
          waiting.delete(retry);
          if (found === undefined) reject(new Error('the connection ended before that frame'));
          else resolve(found);
        };
        waiting.add(retry);
        retry();
      }),
    ended,
  };
}

/**
 * Send 20,000 times what `make` returns for each number, and stop when the server ends the connection. In batches: what
 * a closing server has not read turns its last frames into a TCP reset.
 */
export async function flood(client: RawClient, make: (index: number) => Buffer): Promise<Ending> {
  for (let sent = 0; sent < 20_000 && !client.socket.closed; sent += 100) {
    const batch = Array.from({ length: 100 }, (_, index) => make(sent + index));
    client.send(Buffer.concat(batch));
    await setImmediate();
    await setImmediate();
  }
  return client.ended;
}

/** Send `bytes` every 50 ms until the connection ends. */
export function trickle(client: RawClient, bytes: () => Buffer | string): void {
  const timer = setInterval(() => client.send(bytes()), 50);
  client.socket.on('close', () => clearInterval(timer));
}

/** A raw HTTP/2 client whose preface and SETTINGS, with the given entries, are exchanged and acknowledged. */
export async function connectRawHttp2(port: Port, ...entries: [number, number][]): Promise<RawClient> {
  const client = await connectRaw(port, 'h2');
  client.send(Buffer.concat([preface, settings(...entries)]));
  await client.frame(({ type, flags }) => type === frameType.settings && flags === 0);
  client.send(frame(frameType.settings, flag.ack, 0));
  await client.frame(({ type, flags }) => type === frameType.settings && flags === flag.ack);
  return client;
}
