import { IncomingMessage, type RequestListener, type ServerOptions, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import type { Charge } from '../budget/budget.ts';
import type { Clock } from '../kernel/clock.ts';
import type { ConnectionStage } from './connection-stage.ts';
import { headerLength, type OpenRequests, REQUEST_BYTES } from './open-requests.ts';
import type { RequestScheduler } from './one-port.ts';
import { RestReader } from './rest-reader.ts';
import { hasStalled, watchWrites } from './stalled-write.ts';

export interface Http1Limits {
  scheduler: RequestScheduler;
  shortcut: { takeHttp1(req: IncomingMessage, res: ServerResponse): boolean };
  headersTimeoutMs: number;
  requestTimeoutMs: number;
  keepAliveTimeoutMs: number;
  stalledWriteMs: number;
  restTimeoutMs: number;
  maxHeaderBytes: number;
  /** Requests of one connection that may wait for their answers at once. */
  maxPipelinedRequests: number;
  openRequests: OpenRequests;
  /** Answers a request for which there is no room; the connection closes behind it. */
  refuseBusy: (req: IncomingMessage, res: ServerResponse) => void;
  checkIntervalMs: number;
  /** A clock that only goes forward, milliseconds. */
  clock: Pick<Clock, 'monotonic'>;
}

/**
 * A request whose body may be left half read. Leaving the loop over a stream destroys it, after which Node takes no
 * more of the body and waits for ever with the next request behind it.
 */
class Request extends IncomingMessage {
  override [Symbol.asyncIterator](): NodeJS.AsyncIterator<unknown> {
    return this.iterator({ destroyOnReturn: false });
  }
}

/** The bounds that Node's own HTTP/1.1 server enforces, with 408 for the timeouts and 431 for the size. */
export function http1ServerOptions(limits: Http1Limits): ServerOptions {
  return {
    IncomingMessage: Request,
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: limits.checkIntervalMs,
    maxHeaderSize: limits.maxHeaderBytes,
    requireHostHeader: false, // Node's own refusal has no body: the handler looks at the host, as it must over HTTP/2
    // A peer that vanished without a FIN would otherwise keep an idle stream open for ever.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  };
}

interface Http1Connection {
  open: Set<ServerResponse>;
  idleSince: number;
  retiredAt: number | undefined;
  /** Whether one of the open answers says that the connection closes behind it. */
  closes: boolean;
  charge: Charge;
}

/**
 * The HTTP/1.1 side of the port: `listener` goes to the `http.Server`, `start` gets each socket that the server has
 * just accepted as HTTP/1.1.
 */
export function createHttp1Connections(handler: RequestListener, limits: Http1Limits) {
  const connections = new WeakMap<Socket, Http1Connection>();
  const rests = new RestReader(limits);

  const serve: RequestListener = (req, res) => {
    if (!limits.shortcut.takeHttp1(req, res)) handler(req, res);
  };

  const listener: RequestListener = (req, res) => {
    const { socket } = req;
    // A request that is cut off tells those who listen. Whoever stops listening at that moment, as Connect does when
    // the response has closed, would leave the error to nobody, and Node would end the process.
    req.on('error', ignoreError);
    res.on('error', ignoreError);
    const connection = connections.get(socket);
    // The parser emits every request of a chunk, also after the socket was destroyed halfway.
    if (connection === undefined || socket.destroyed) return;
    // Its answer would never be sent (RFC 9112, 9.6).
    if (connection.closes) return;
    // Node bounds the bytes of pipelined answers but not the number of requests that run at once.
    if (connection.open.size >= limits.maxPipelinedRequests) {
      socket.destroy();
      return;
    }
    const bytes = REQUEST_BYTES + headerLength(req.rawHeaders);
    if (!connection.charge.tryGrow(bytes)) {
      // An answer would wait behind those that are open, and take room itself.
      if (connection.open.size > 0) socket.destroy();
      else {
        announceClose(connection, res);
        limits.refuseBusy(req, res);
      }
      return;
    }
    connection.open.add(res);
    // Both come once; `once` would take longer to say so.
    res.on('close', () => {
      connection.open.delete(res);
      connection.charge.shrink(bytes);
      connection.idleSince = limits.clock.monotonic();
      if (connection.retiredAt !== undefined && connection.open.size === 0) socket.destroySoon();
    });
    if (connection.retiredAt !== undefined) announceClose(connection, res);
    res.on('finish', () => rests.take(req, socket));
    if (limits.scheduler.mayStart()) serve(req, res);
    else limits.scheduler.add(req.headers, socket.remoteAddress, () => socket.destroyed || serve(req, res));
  };

  const start = (socket: Socket): ConnectionStage => {
    const startedAt = limits.clock.monotonic();
    const connection: Http1Connection = {
      open: new Set(),
      idleSince: startedAt,
      retiredAt: undefined,
      closes: false,
      charge: limits.openRequests.openConnection(socket.remoteAddress),
    };
    socket.on('close', () => connection.charge.release());
    connections.set(socket, connection);
    const watch = watchWrites(startedAt);

    return {
      check(now) {
        const { open, idleSince, retiredAt } = connection;
        const { writableLength } = socket;
        const write = {
          pending: writableLength > 0,
          pendingBytes: writableLength,
          mark: socket.bytesWritten - writableLength,
        };
        if (hasStalled(watch, write, limits.stalledWriteMs, now)) socket.destroy();
        // Empty lines between requests are legal and restart Node's keep-alive timer.
        const idleMaxMs = limits.keepAliveTimeoutMs + limits.headersTimeoutMs;
        if (open.size === 0 && now - idleSince > idleMaxMs) socket.destroy();
        // Node's request timeout stops with server.close().
        if (retiredAt !== undefined && now - retiredAt > limits.requestTimeoutMs) {
          for (const res of open) if (!res.req.complete) socket.destroy();
        }
      },
      retire() {
        connection.retiredAt = limits.clock.monotonic();
        const last = [...connection.open].at(-1);
        if (last === undefined) socket.destroy();
        else if (!last.headersSent) announceClose(connection, last);
      },
    };
  };

  return { listener, start };
}

/** Ends a connection behind this answer, of which the headers are not sent yet. */
function announceClose(connection: Http1Connection, res: ServerResponse): void {
  connection.closes = true;
  res.setHeader('connection', 'close');
}

function ignoreError(): void {}
