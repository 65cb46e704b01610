import http from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

import { ConnectionShares } from './connection-shares.ts';
import type { Budget } from '../budget/budget.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import type { ConnectionStage } from './connection-stage.ts';
import { createOpenRequestsBudget, OpenRequests } from './open-requests.ts';
import { createHttp1Connections, http1ServerOptions } from './http1-connections.ts';
import { createHttp2Connections } from './http2-connections.ts';
import { createPortCounters, type PortCounters } from './port-counters.ts';

/** Serves some requests before the handler sees them. Says of each whether it did. */
export interface Shortcut {
  takeHttp1(request: http.IncomingMessage, response: http.ServerResponse): boolean;
  takeHttp2(stream: ServerHttp2Stream, headers: http.IncomingHttpHeaders): boolean;
}

/** Says when a request is served that has arrived. */
export interface RequestScheduler {
  /** Whether it may be served at once, which it then is. */
  mayStart(): boolean;
  /** Calls `serve` when it is the turn of whoever sent a request. */
  add(headers: http.IncomingHttpHeaders, peer: string | undefined, serve: () => void): void;
}

const AT_ONCE: RequestScheduler = { mayStart: () => true, add: (_headers, _peer, serve) => serve() };

export interface OnePortOptions {
  /** Default: each is served when it arrives, however many do. */
  scheduler?: RequestScheduler | undefined;
  /** Gets each request first. Default: none. */
  shortcut?: Shortcut | undefined;
  /** Certificate chain and private key, PEM. With them the port speaks TLS only. */
  tls?: { cert: Buffer; key: Buffer } | undefined;
  /**
   * Names the request paths whose request body may stay open for ever over HTTP/2, such as those of client-streaming
   * RPCs. Default: none.
   */
  isStreaming?: ((path: string) => boolean) | undefined;
  /**
   * From accepting a connection to knowing its protocol: the TLS handshake, the first bytes, and for HTTP/2 the complete
   * preface with its SETTINGS frame. Then the connection is dropped. Default 10 s.
   */
  prefaceTimeoutMs?: number | undefined;
  /** To the end of the headers, HTTP/1.1; then 408. Default 20 s. */
  headersTimeoutMs?: number | undefined;
  /**
   * To the end of the request with its body; then 408 over HTTP/1.1, RST_STREAM (CANCEL) over HTTP/2. The answer may
   * take as long as it likes. Default 60 s.
   */
  requestTimeoutMs?: number | undefined;
  /** Between two requests of an HTTP/1.1 connection; then it is closed, 1 s later than announced. Default 75 s. */
  keepAliveTimeoutMs?: number | undefined;
  /** An HTTP/2 session without open streams, whether it pings or not, gets GOAWAY and is closed. Default 5 min. */
  sessionIdleMs?: number | undefined;
  /**
   * A response of which the client has read nothing for this long, plus one second for each 64 KiB that wait, is
   * given up: RST_STREAM (ENHANCE_YOUR_CALM) over HTTP/2, a closed connection over HTTP/1.1. A response that has
   * nothing to send is never given up. Default 30 s.
   */
  stalledWriteMs?: number | undefined;
  /**
   * What is still taken of a request that was answered before it ended, so that the client gets the answer; then the
   * connection is closed over HTTP/1.1, RST_STREAM (NO_ERROR) over HTTP/2. Also after 8 MiB and 64 KiB. Default 5 s.
   */
  restTimeoutMs?: number | undefined;
  /** How long the last frames to a peer that does not read are kept before its connection is destroyed. Default 5 s. */
  closeGraceMs?: number | undefined;
  /** Connections at once; further ones are closed on arrival. Default 10,000. */
  connectionsMax?: number | undefined;
  /** Connections at once from one address; IPv6 counts as its /64. Default: as many as there are. */
  connectionsPerAddressMax?: number | undefined;
  /** Whether an address is that of a proxy, which may hold more. Default: none is. */
  isProxy?: ((address: string | undefined) => boolean) | undefined;
  /** Called for each connection that is closed on arrival. */
  onConnectionRefused?: ((address: string | undefined) => void) | undefined;
  /** All headers of a request; then 431 over HTTP/1.1, RST_STREAM (ENHANCE_YOUR_CALM) over HTTP/2. Default 16 KiB. */
  maxHeaderBytes?: number | undefined;
  /**
   * Streams of one HTTP/2 session that its client may reset, at once and in the long run; then GOAWAY (CVE-2023-44487).
   * Default 100 and 20.
   */
  streamResets?: { burst: number; perSecond: number } | undefined;
  /**
   * Streams that may be reset over all HTTP/2 sessions of one address, at once and in the long run, whoever resets
   * them; then each of its sessions that begins a stream gets GOAWAY. Default 300 and 60.
   */
  streamResetsPerAddress?: { burst: number; perSecond: number } | undefined;
  /** Open streams of one HTTP/2 session. Default 100. */
  maxConcurrentStreams?: number | undefined;
  /** Unanswered requests of one HTTP/1.1 connection; then it is destroyed. Default 100. */
  maxPipelinedRequests?: number | undefined;
  /** PING and SETTINGS frames of one HTTP/2 session; then GOAWAY (ENHANCE_YOUR_CALM). Default 1,000. */
  maxControlFramesPerSecond?: number | undefined;
  /** What requests hold that are open, bytes. Default: one of 64 MiB, of which an address has half. */
  openRequests?: Budget | undefined;
  /** Answers an HTTP/1.1 request for which there is no room in `openRequests`. Default: 429 without a body. */
  refuseBusy?: http.RequestListener | undefined;
  /** Counts what the port holds and refuses. Default: nobody reads it. */
  counters?: PortCounters | undefined;
  /** What all of these but Node's own HTTP/1.1 timers go by. Default: the clock of the machine. */
  clock?: Pick<Clock, 'monotonic'> | undefined;
}

const never = () => false;

const refuseBusy: http.RequestListener = (_req, res) => {
  res.writeHead(429, { 'retry-after': '1' }).end();
};

/** TLS 1.2 and 1.3 with forward secrecy and authenticated encryption alone, the strongest first (RFC 9325, 3.1.1 and 4.2). */
const TLS_SETTINGS = {
  minVersion: 'TLSv1.2',
  ciphers: [
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'TLS_AES_128_GCM_SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
  ].join(':'),
} as const;

function withDefaults(options: OnePortOptions) {
  const limits = {
    scheduler: options.scheduler ?? AT_ONCE,
    shortcut: options.shortcut ?? { takeHttp1: never, takeHttp2: never },
    isStreaming: options.isStreaming ?? never,
    prefaceTimeoutMs: options.prefaceTimeoutMs ?? 10_000,
    headersTimeoutMs: options.headersTimeoutMs ?? 20_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 60_000,
    keepAliveTimeoutMs: options.keepAliveTimeoutMs ?? 75_000,
    sessionIdleMs: options.sessionIdleMs ?? 300_000,
    stalledWriteMs: options.stalledWriteMs ?? 30_000,
    restTimeoutMs: options.restTimeoutMs ?? 5_000,
    closeGraceMs: options.closeGraceMs ?? 5_000,
    connectionsMax: options.connectionsMax ?? 10_000,
    connectionsPerAddressMax: options.connectionsPerAddressMax ?? Infinity,
    isProxy: options.isProxy ?? never,
    onConnectionRefused: options.onConnectionRefused,
    maxHeaderBytes: options.maxHeaderBytes ?? 16_384,
    streamResets: options.streamResets ?? { burst: 100, perSecond: 20 },
    streamResetsPerAddress: options.streamResetsPerAddress ?? { burst: 300, perSecond: 60 },
    maxConcurrentStreams: options.maxConcurrentStreams ?? 100,
    maxPipelinedRequests: options.maxPipelinedRequests ?? 100,
    maxControlFramesPerSecond: options.maxControlFramesPerSecond ?? 1_000,
    counters: options.counters ?? createPortCounters(),
    clock: options.clock ?? systemClock,
    openRequests: new OpenRequests(options.openRequests ?? createOpenRequestsBudget(), options.isProxy ?? never),
    refuseBusy: options.refuseBusy ?? refuseBusy,
  };
  const shortestMs = Math.min(
    limits.prefaceTimeoutMs,
    limits.headersTimeoutMs,
    limits.requestTimeoutMs,
    limits.keepAliveTimeoutMs,
    limits.sessionIdleMs,
    limits.stalledWriteMs,
    limits.restTimeoutMs,
    limits.closeGraceMs,
  );
  return { ...limits, checkIntervalMs: Math.min(1_000, Math.max(10, Math.floor(shortestMs / 5))) };
}

interface Connection {
  socket: Socket;
  acceptedMs: number;
  stage: ConnectionStage;
}

/**
 * Create a server that serves HTTP/1.1 and HTTP/2 on one TCP port: by ALPN with a certificate, by the client's first
 * bytes without one. Every bound of the options holds for both.
 *
 * `close` sends GOAWAY to HTTP/2 sessions, closes idle and undecided connections at once and the others as soon as
 * their open requests are answered. `closeAllConnections` destroys every connection. Neither a client's error nor its
 * reset reaches the process.
 */
export function createOnePortServer(
  handler: http.RequestListener,
  options: OnePortOptions = {},
): http.Server | https.Server {
  const limits = withDefaults(options);
  const { counters } = limits;
  const http1 = createHttp1Connections(handler, limits);
  const http2 = createHttp2Connections(handler, limits);
  const connections = new Map<Socket, Connection>();
  const shares = new ConnectionShares({
    max: limits.connectionsMax,
    perAddress: limits.connectionsPerAddressMax,
    isProxy: limits.isProxy,
  });
  let closing = false;

  // The HTTP/1.1 server is the one that listens: its header and request timers start with 'listening'.
  const server = options.tls
    ? https.createServer(
        { ...http1ServerOptions(limits), ...TLS_SETTINGS, ...options.tls, ALPNProtocols: ['h2', 'http/1.1'] },
        http1.listener,
      )
    : http.createServer(http1ServerOptions(limits), http1.listener);

  const accept = (socket: Socket): Connection | undefined => {
    // Not by server.maxConnections: in a worker of node:cluster, the primary would offer the connection again without end.
    const { remoteAddress } = socket;
    const giveBack = shares.take(remoteAddress);
    counters.connectionsAccepted += 1;
    if (giveBack === undefined) {
      counters.connectionsRefused += 1;
      socket.on('error', ignoreError).destroy();
      limits.onConnectionRefused?.(remoteAddress);
      return undefined;
    }
    const acceptedMs = limits.clock.monotonic();
    const stage = undecided(socket, acceptedMs, limits.prefaceTimeoutMs);
    const connection = { socket, acceptedMs, stage };
    connections.set(socket, connection);
    counters.connectionsOpen += 1;
    socket.on('error', ignoreError);
    socket.on('close', () => {
      connections.delete(socket);
      counters.connectionsOpen -= 1;
      giveBack();
    });
    return connection;
  };
  // Replace the listeners that make HTTP/1.1 of every connection.
  const acceptHttp1 = takeListeners(server, options.tls ? 'secureConnection' : 'connection');
  // What a connection has sent until now may be a hundred requests, so connections begin in turn as well.
  const decide = (connection: Connection, socket: Socket, isHttp2: boolean) => {
    if (limits.scheduler.mayStart()) begin(connection, socket, isHttp2);
    else limits.scheduler.add({}, socket.remoteAddress, () => begin(connection, socket, isHttp2));
  };
  const begin = (connection: Connection, socket: Socket, isHttp2: boolean) => {
    if (socket.destroyed) return;
    if (isHttp2) {
      // http.Server accepts sockets that stay half open; an HTTP/2 session has no use for them.
      socket.allowHalfOpen = false;
      connection.stage = http2.start(socket, connection.acceptedMs);
    } else {
      connection.stage = http1.start(socket);
      acceptHttp1(socket);
    }
    if (closing) connection.stage.retire();
  };

  if (options.tls) decideByAlpn(server, accept, decide);
  else decideByFirstBytes(server, accept, decide);

  const checks = setInterval(() => {
    const now = limits.clock.monotonic();
    for (const { stage } of connections.values()) stage.check(now);
  }, limits.checkIntervalMs).unref();
  const stopWatching = watchLoad(limits.clock, () => {
    for (const { stage } of connections.values()) stage.checkLoad?.();
  });
  server.once('close', () => {
    clearInterval(checks);
    stopWatching();
  });

  const close = server.close.bind(server);
  server.close = (callback) => {
    closing = true;
    for (const { stage } of connections.values()) stage.retire();
    return close(callback);
  };
  server.closeAllConnections = () => {
    for (const socket of connections.keys()) socket.destroy();
  };
  return server;
}

/**
 * Has a server with TLS show another certificate to whoever connects from now on.
 * Connections that are open keep the one they were made with.
 */
export function replaceCertificate(
  server: http.Server | https.Server,
  { cert, key }: { cert: Buffer; key: Buffer },
): void {
  if ('setSecureContext' in server) server.setSecureContext({ ...TLS_SETTINGS, cert, key });
}

/** How often the event loop is looked at, how late it is when it is called late, and how often that is told at the most. */
const LOOP_LOOK_MS = 20;
const LOOP_LATE_MS = 20;
const LATE_INTERVAL_MS = 40;

/** Calls `onLate` while the event loop is late, and says how to stop. */
function watchLoad(clock: Pick<Clock, 'monotonic'>, onLate: () => void): () => void {
  let lookedMs = clock.monotonic();
  let lateMs = -Infinity;
  const timer = setInterval(() => {
    const nowMs = clock.monotonic();
    const isLate = nowMs - lookedMs > LOOP_LOOK_MS + LOOP_LATE_MS;
    lookedMs = nowMs;
    if (!isLate || nowMs - lateMs < LATE_INTERVAL_MS) return;
    lateMs = nowMs;
    onLate();
  }, LOOP_LOOK_MS).unref();
  return () => clearInterval(timer);
}

/** Undefined when there are too many; the socket is destroyed then. */
type Accept = (socket: Socket) => Connection | undefined;
type Decide = (connection: Connection, socket: Socket, isHttp2: boolean) => void;

function decideByAlpn(server: http.Server | https.Server, accept: Accept, decide: Decide): void {
  const handshakes = new Map<string, Connection>();
  server.prependListener('connection', (socket: Socket) => {
    const key = addressPair(socket);
    const connection = accept(socket);
    if (connection === undefined) return;
    handshakes.set(key, connection);
    socket.on('close', () => {
      if (handshakes.get(key) === connection) handshakes.delete(key);
    });
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    const key = addressPair(socket);
    const connection = handshakes.get(key);
    handshakes.delete(key);
    socket.on('error', ignoreError);
    if (connection === undefined) socket.destroy();
    else decide(connection, socket, socket.alpnProtocol === 'h2');
  });
}

/** Node does not tell which TCP connection a TLS connection runs over; the addresses of both ends do. */
function addressPair(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;
}

/** The first bytes of the HTTP/2 preface (RFC 9113, section 3.4); no HTTP/1.1 method begins with them. */
const prefaceStart = Buffer.from('PRI', 'latin1');

function decideByFirstBytes(server: http.Server | https.Server, accept: Accept, decide: Decide): void {
  server.on('connection', (socket: Socket) => {
    const connection = accept(socket);
    if (connection === undefined) return;
    let head: Buffer = Buffer.alloc(0);
    const drop = () => socket.destroy();
    const look = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const seen = Math.min(head.length, prefaceStart.length);
      const matches = prefaceStart.compare(head, 0, seen, 0, seen) === 0;
      // "P" and "PR" may still become POST, PUT, PATCH or PROPFIND.
      if (matches && seen < prefaceStart.length) return;
      socket.off('readable', look).off('end', drop);
      socket.unshift(head);
      decide(connection, socket, matches);
    };
    socket.on('readable', look).on('end', drop);
  });
}

function undecided(socket: Socket, acceptedMs: number, prefaceTimeoutMs: number): ConnectionStage {
  return {
    check(now) {
      if (now - acceptedMs > prefaceTimeoutMs) socket.destroy();
    },
    retire() {
      socket.destroy();
    },
  };
}

function takeListeners(server: http.Server | https.Server, event: 'connection' | 'secureConnection') {
  const listeners = server.listeners(event) as ((socket: Socket) => void)[];
  server.removeAllListeners(event);
  return (socket: Socket) => {
    for (const listener of listeners) listener.call(server, socket);
  };
}

/** A reset or a failed handshake ends the connection, and 'close' follows; without a listener it would end the process. */
function ignoreError(): void {}
