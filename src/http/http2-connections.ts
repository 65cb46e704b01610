import type { IncomingHttpHeaders, RequestListener } from 'node:http';
import http2 from 'node:http2';
import type { Http2Stream, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';

import type { Charge } from '../budget/budget.ts';
import type { Clock } from '../kernel/clock.ts';
import type { ConnectionStage } from './connection-stage.ts';
import { BODY_WINDOW, headerLength, type OpenRequests, REQUEST_BYTES, STREAM_BYTES } from './open-requests.ts';
import type { RequestScheduler } from './one-port.ts';
import type { PortCounters } from './port-counters.ts';
import { ResetBudgets } from './reset-budgets.ts';
import { sendShutdownNotice } from './shutdown-notice.ts';
import { hasStalled, watchWrites } from './stalled-write.ts';
import type { WriteWatch } from './stalled-write.ts';

export interface Http2Limits {
  scheduler: RequestScheduler;
  shortcut: { takeHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean };
  prefaceTimeoutMs: number;
  requestTimeoutMs: number;
  sessionIdleMs: number;
  stalledWriteMs: number;
  restTimeoutMs: number;
  closeGraceMs: number;
  maxHeaderBytes: number;
  streamResets: { burst: number; perSecond: number };
  streamResetsPerAddress: { burst: number; perSecond: number };
  isProxy: (address: string | undefined) => boolean;
  openRequests: OpenRequests;
  headersTimeoutMs: number;
  maxConcurrentStreams: number;
  maxControlFramesPerSecond: number;
  isStreaming: (path: string) => boolean;
  counters: PortCounters;
  /** A clock that only goes forward, milliseconds. */
  clock: Pick<Clock, 'monotonic'>;
}

const {
  NGHTTP2_CANCEL,
  NGHTTP2_ENHANCE_YOUR_CALM,
  NGHTTP2_NO_ERROR,
  NGHTTP2_PROTOCOL_ERROR,
  NGHTTP2_REFUSED_STREAM,
  NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL,
  NGHTTP2_STREAM_STATE_OPEN,
} = http2.constants;

/** How long a client may take to answer the ping behind the notice. */
const NOTICE_MS_MAX = 1_000;

/** What is still taken of a request that was answered before it ended; then RST_STREAM (NO_ERROR). */
const REST_BYTES_MAX = 65_536;

/**
 * Of how many bytes of headers the streams of a session are refused, between two looks at it, before it is ended:
 * some 300 of the usual size. To end a session with a hundred streams takes longer than to refuse them.
 */
const REFUSED_BYTES_MAX = 131_072;

/** What a session without streams may send of frames that belong to none, such as PING, before it counts as headers that do not end, bytes. */
const BYTES_OF_FRAMES = 1024;

/** What it may send at all, bytes: the rest of a body that was cut off, at the most. */
const BYTES_OF_NONE_MAX = 262_144;

/**
 * The bounds that Node and nghttp2 enforce. Not set here because their built-in values are right: 8 CONTINUATION frames
 * a header block, 1,000 unsent acknowledgements of PING and SETTINGS, 32 entries a SETTINGS frame, 128 header fields,
 * 4 KiB of header table.
 */
function http2ServerOptions(limits: Http2Limits): http2.ServerOptions {
  return {
    settings: {
      maxConcurrentStreams: limits.maxConcurrentStreams,
      maxHeaderListSize: limits.maxHeaderBytes,
      initialWindowSize: BODY_WINDOW,
    },
    // Both are counted over the life of a session.
    maxSessionRejectedStreams: 50,
    maxSessionInvalidFrames: 50,
    // nghttp2 ignores one without the other.
    streamResetBurst: limits.streamResets.burst,
    streamResetRate: limits.streamResets.perSecond,
    // MB. Above it new streams are refused; unsent responses count, so it has room for 100 of some size.
    maxSessionMemory: 32,
  };
}

/**
 * How many streams of a session nghttp2 may refuse in a second before the session is ended, and before it is ended while
 * the event loop is late: Node reports none whose headers are longer than is taken, and each costs as much as 64 KiB of
 * headers. How many they are is known from the ids alone, and a client leaves ids out: of calls that were given up
 * before they were sent.
 */
const UNREPORTED_STREAMS_MAX = 500;
const UNREPORTED_STREAMS_WHEN_LATE_MAX = 100;

/** The least that a client sends of a stream, bytes; nothing of one whose id it leaves out. */
const STREAM_BYTES_MIN = 24;

/** What the headers of a stream that Node reports are taken to have been on the wire, at the most, bytes: the table makes them longer. */
const REPORTED_BYTES_MAX = 1024;

/** The errors that a session ends with for what its client sent. */
const ERRORS_OF_PEERS: ReadonlySet<string | undefined> = new Set([
  'ERR_HTTP2_ERROR',
  'ERR_HTTP2_TOO_MANY_INVALID_FRAMES',
]);

interface OpenStream {
  path: string;
  startedAt: number;
  requestComplete: boolean;
  /** Of what the stream is charged, the part for a body that is still to come, bytes. */
  bodyCharge: number;
  /** Since when the rest of the request is thrown away, the answer being complete. */
  answeredAt: number | undefined;
  /** Whether more of that came than is thrown away. */
  restExceeded: boolean;
  resetAt: number | undefined;
  watch: WriteWatch | undefined;
}

interface Http2Connection {
  streams: Map<Http2Stream, OpenStream>;
  activeSinceCheck: boolean;
  /** Headers of streams for which there was no room. */
  refusedBytesSinceCheck: number;
  /** How many of its streams Node has reported, and how long their headers were. */
  reportedStreams: number;
  reportedBytes: number;
  /** What the last check saw: bytes read and reported, and streams that were begun and not reported. */
  seenBytes: number;
  seenReportedBytes: number;
  seenUnreported: number;
  /** How many bytes had been read when a stream was last open. */
  bytesWithStreams: number;
  socket: Socket;
  resets: ReturnType<ResetBudgets['ofConnection']>;
  charge: Charge;
}

type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: string[],
) => void;

/** The HTTP/2 side of the port: `start` gets each socket that is to speak HTTP/2, before any of its bytes are read. */
export function createHttp2Connections(handler: RequestListener, limits: Http2Limits) {
  const { counters } = limits;
  const resets = new ResetBudgets({ ...limits.streamResetsPerAddress, ...limits });
  // Never listens: it owns the options, the sessions and the request and response objects.
  const server = http2.createServer(http2ServerOptions(limits));

  // Node's HTTP/2 requests and responses follow the interface of HTTP/1.1, which their types do not tell.
  server.on('request', handler as unknown as (req: http2.Http2ServerRequest, res: http2.Http2ServerResponse) => void);
  // What makes requests of streams since the line above: called for those that are not served otherwise.
  const requestMakers = server.listeners('stream') as StreamListener[];
  server.removeAllListeners('stream');
  const makeRequest: StreamListener = (...of) => {
    for (const listener of requestMakers) listener.call(server, ...of);
    // A stream without a body ends by itself, also while it waits for its turn: the request would never hear of it.
    const [stream] = of;
    if (stream.readableEnded) stream.emit('end');
  };

  const serve: StreamListener = (stream, headers, flags, rawHeaders) => {
    if (stream.closed || stream.destroyed) return; // reset along with its headers, or while it waited
    if (!limits.shortcut.takeHttp2(stream, headers)) makeRequest(stream, headers, flags, rawHeaders);
  };

  const onStream = (session: ServerHttp2Session, connection: Http2Connection, ...of: Parameters<StreamListener>) => {
    const [stream, headers, flags, rawHeaders] = of;
    // Unheard, the error of a stream that is reset would end the process, and not each stream comes to be served.
    stream.on('error', ignoreError);
    connection.activeSinceCheck = true;
    const headerBytes = headerListSize(rawHeaders);
    connection.reportedStreams += 1;
    connection.reportedBytes += Math.min(headerBytes, REPORTED_BYTES_MAX);
    // The session was ended by a stream before, in the bytes that nghttp2 still takes: nobody would read an answer.
    if (session.destroyed) return;
    if (connection.resets?.isSpent === true) {
      connection.resets.chargeEndedSession();
      return endSession(session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    // Reset in the bytes that opened it. It is closed by now, and tells nobody.
    if (stream.destroyed) return connection.resets?.spend();
    if (headerBytes > limits.maxHeaderBytes) return stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
    const bodyCharge = stream.endAfterHeaders ? 0 : BODY_WINDOW;
    const ownCharge = headerBytes + REQUEST_BYTES + STREAM_BYTES;
    if (!connection.charge.tryGrow(ownCharge + bodyCharge)) {
      // Also a stream that is refused takes room until the loop goes on.
      connection.refusedBytesSinceCheck += headerBytes;
      if (connection.refusedBytesSinceCheck > REFUSED_BYTES_MAX) endSession(session, NGHTTP2_ENHANCE_YOUR_CALM);
      else stream.close(NGHTTP2_REFUSED_STREAM);
      return;
    }
    const open: OpenStream = {
      path: String(headers[':path'] ?? ''),
      startedAt: limits.clock.monotonic(),
      requestComplete: stream.endAfterHeaders,
      bodyCharge,
      answeredAt: undefined,
      restExceeded: false,
      resetAt: undefined,
      watch: undefined,
    };
    connection.streams.set(stream, open);
    counters.http2StreamsOpen += 1;
    // Both come once; `once` would take longer to say so.
    if (!open.requestComplete) stream.on('prefinish', () => takeRest(stream, open, limits.clock.monotonic()));
    stream.on('close', () => {
      connection.streams.delete(stream);
      counters.http2StreamsOpen -= 1;
      connection.bytesWithStreams = connection.socket.bytesRead;
      connection.charge.shrink(ownCharge + open.bodyCharge);
      // Streams that end with their session were not reset.
      if (stream.rstCode !== NGHTTP2_NO_ERROR && !session.destroyed) connection.resets?.spend();
    });
    if (limits.scheduler.mayStart()) return serve(stream, headers, flags, rawHeaders);
    limits.scheduler.add(headers, connection.socket.remoteAddress, () => {
      serve(stream, headers, flags, rawHeaders);
    });
  };

  const openSession = (socket: Socket): ServerHttp2Session => {
    let opened: ServerHttp2Session | undefined;
    server.once('session', (session) => {
      opened = session;
    });
    server.emit('connection', socket);
    if (opened === undefined) throw new Error('http2.Server opened no session for a connection');
    return opened;
  };

  const start = (socket: Socket, acceptedMs: number): ConnectionStage => {
    const session = openSession(socket);
    stopReadingAtEnd(socket, session);
    const connection: Http2Connection = {
      streams: new Map(),
      activeSinceCheck: true,
      refusedBytesSinceCheck: 0,
      reportedStreams: 0,
      reportedBytes: 0,
      seenBytes: 0,
      seenReportedBytes: 0,
      seenUnreported: 0,
      bytesWithStreams: 0,
      socket,
      resets: resets.ofConnection(socket.remoteAddress),
      charge: limits.openRequests.openConnection(socket.remoteAddress),
    };
    socket.on('close', () => connection.charge.release());
    // What nghttp2 ends by itself, for what it was sent: too many streams that it refused, or what is no HTTP/2.
    session.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (ERRORS_OF_PEERS.has(code)) connection.resets?.chargeEndedSession();
    });
    session.on('stream', (...of: Parameters<StreamListener>) => onStream(session, connection, ...of));
    // What it sent before its turn is not taken any more.
    if (connection.resets?.isInDebt === true) {
      connection.resets.chargeRefusedSession();
      endSession(session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    const { streams } = connection;
    let prefaceComplete = false;
    let idleSince = limits.clock.monotonic();
    let endingSince: number | undefined;
    let retiredAt: number | undefined;

    session.once('remoteSettings', () => {
      prefaceComplete = true;
    });
    // Each PING and SETTINGS frame is answered and runs JavaScript; nghttp2 bounds only the answers nobody reads.
    const spendControlFrame = frameBudget(limits, () => endSession(session, NGHTTP2_ENHANCE_YOUR_CALM));
    session.on('ping', spendControlFrame);
    session.on('remoteSettings', spendControlFrame);

    const unreported = () => beginningsOf(session) - connection.reportedStreams;
    const checkLoad = (isLate: boolean) => {
      const bytes = socket.bytesRead - connection.seenBytes - (connection.reportedBytes - connection.seenReportedBytes);
      if (session.destroyed || bytes < UNREPORTED_STREAMS_WHEN_LATE_MAX * STREAM_BYTES_MIN) return;
      const streams = unreported() - connection.seenUnreported;
      if (bytes < streams * STREAM_BYTES_MIN) return;
      if (streams > UNREPORTED_STREAMS_MAX) return endFlood();
      if (!isLate || streams <= UNREPORTED_STREAMS_WHEN_LATE_MAX) return;
      connection.resets?.chargeSuspect();
      endSession(session, NGHTTP2_ENHANCE_YOUR_CALM);
    };
    const endFlood = () => {
      connection.resets?.chargeFlood();
      endSession(session, NGHTTP2_ENHANCE_YOUR_CALM);
    };

    return {
      checkLoad: () => checkLoad(true),
      check(now) {
        checkLoad(false);
        if (socket.bytesRead !== connection.seenBytes && !session.destroyed) {
          connection.seenBytes = socket.bytesRead;
          connection.seenReportedBytes = connection.reportedBytes;
          connection.seenUnreported = unreported();
        }
        // A session that has ended flushes its last frames first, for ever if the peer does not read.
        if (session.destroyed || (session.closed && streams.size === 0)) {
          endingSince ??= now;
          if (now - endingSince > limits.closeGraceMs) socket.destroy();
          return;
        }
        if (!prefaceComplete && now - acceptedMs > limits.prefaceTimeoutMs) {
          endSession(session, NGHTTP2_PROTOCOL_ERROR);
          return;
        }
        const { bytesRead } = socket;
        if (streams.size > 0 || connection.activeSinceCheck) idleSince = now;
        connection.activeSinceCheck = false;
        connection.refusedBytesSinceCheck = 0;
        if (now - idleSince > limits.sessionIdleMs) session.close();
        // Node tells of a stream when its headers have ended, and of none that nghttp2 refuses.
        const bytesOfNone = streams.size > 0 ? 0 : bytesRead - connection.bytesWithStreams;
        if (bytesOfNone > BYTES_OF_NONE_MAX) endFlood();
        else if (bytesOfNone > BYTES_OF_FRAMES && now - idleSince > limits.headersTimeoutMs) {
          endSession(session, NGHTTP2_NO_ERROR);
        }
        if (retiredAt !== undefined && now - retiredAt > NOTICE_MS_MAX) session.close();

        for (const [stream, open] of streams) {
          checkStream(stream, open, limits, now);
          if (open.bodyCharge > 0 && stream.readableEnded) {
            connection.charge.shrink(open.bodyCharge);
            open.bodyCharge = 0;
          }
          // A reset waits behind the write in progress, for ever if the peer does not read.
          if (open.resetAt !== undefined && now - open.resetAt > limits.closeGraceMs) socket.destroy();
        }
      },
      retire() {
        if (session.closed || session.destroyed) return;
        retiredAt = limits.clock.monotonic();
        // First a notice, and a round trip later the GOAWAY that counts: a request that was on its way is served. Where
        // the notice cannot be sent, the GOAWAY says which streams were processed, and clients send the others again.
        if (prefaceComplete && sendShutdownNotice(socket)) session.ping(() => session.close());
        else session.close();
      },
    };
  };

  return { start };
}

/**
 * In the next tick Node's session takes what had arrived before it began, chunk after chunk, also when it has ended by
 * then: it throws, and nobody can catch that. Until that tick is over there is nothing to read for a session that ended.
 */
function stopReadingAtEnd(socket: Socket, session: ServerHttp2Session): void {
  const read = socket.read.bind(socket);
  socket.read = (size) => (session.destroyed ? null : read(size));
  process.nextTick(() => Reflect.deleteProperty(socket, 'read'));
}

/**
 * The size of a header list as SETTINGS_MAX_HEADER_LIST_SIZE counts it, bytes (RFC 9113, 6.5.2). Node enforces the
 * setting only once the client has acknowledged it, which a client need not do; until then nghttp2 takes 64 KiB.
 */
function headerListSize(rawHeaders: readonly string[]): number {
  return rawHeaders.length * 16 + headerLength(rawHeaders); // 32 for each name and value
}

/**
 * Lets the rest of a request come in that was answered unread. Node resets such a stream together with the answer, and
 * clients that are still sending then lose the answer, which RFC 9113, section 8.1, forbids them: curl 7.88 for one.
 */
function takeRest(stream: Http2Stream, open: OpenStream, now: number): void {
  if (stream.readableEnded) return;
  open.answeredAt = now;
  // A stream whose handler reads along: time alone ends it.
  if (stream.readableFlowing === true || stream.listenerCount('readable') > 0) return;
  let bytes = 0;
  const count = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= REST_BYTES_MAX) return;
    stream.off('data', count);
    stream.pause();
    open.restExceeded = true;
    // When the answer is still to be sent, it will have been with this turn of the loop, or later: `checkStream` looks.
    setImmediate(() => endAnswered(stream));
  };
  stream.on('data', count);
  stream.resume(); // a handler may have paused it and left it so
}

/**
 * Resets a stream whose answer has been sent whole. Of one whose answer waits to be sent, nghttp2 would send the reset
 * alone, and trailers would be lost: with them the status of a gRPC call.
 */
function endAnswered(stream: Http2Stream): void {
  if (!stream.destroyed && stream.state.state === NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL) dropRest(stream);
}

/** A stream that is closed without an error stays until what came has been read, by a handler that has left it perhaps. */
function dropRest(stream: Http2Stream): void {
  stream.close(NGHTTP2_NO_ERROR);
  stream.removeAllListeners('data').removeAllListeners('readable').resume();
}

function checkStream(stream: Http2Stream, open: OpenStream, limits: Http2Limits, now: number): void {
  const reset = (code: number) => {
    open.resetAt ??= now;
    stream.close(code);
  };
  if (!open.requestComplete && now - open.startedAt > limits.requestTimeoutMs) {
    if (isRequestOpen(stream) && !limits.isStreaming(open.path)) reset(NGHTTP2_CANCEL);
    else open.requestComplete = true;
  }
  const isOverdue = open.answeredAt !== undefined && now - open.answeredAt > limits.restTimeoutMs;
  if (isOverdue || open.restExceeded) endAnswered(stream);
  const { writableLength, writableEnded } = stream;
  // An ended response counts as pending too: its last HEADERS frame may still wait for the connection.
  const pending = writableLength > 0 || writableEnded;
  if (pending && open.watch === undefined) {
    const watch = watchWrites(now);
    open.watch = watch;
    // Two looks may find equal lengths of two different writes; a drain in between tells them apart.
    stream.on('drain', () => {
      watch.mark = -1;
    });
  }
  if (open.watch === undefined) return;
  const write = { pending, pendingBytes: writableLength, mark: writableLength };
  if (hasStalled(open.watch, write, limits.stalledWriteMs, now)) reset(NGHTTP2_ENHANCE_YOUR_CALM);
}

/** How many streams the client has begun, or left out the ids of. */
function beginningsOf(session: ServerHttp2Session): number {
  return Math.ceil((session.state.lastProcStreamID ?? 0) / 2);
}

/** Send GOAWAY with `code` and destroy the session. Node takes the code only beside an error. */
function endSession(session: ServerHttp2Session, code: number): void {
  session.destroy(new Error(`HTTP/2 session ended with code ${code}`), code);
}

function isRequestOpen(stream: Http2Stream): boolean {
  const { state } = stream.state;
  return state === NGHTTP2_STREAM_STATE_OPEN || state === NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL;
}

function ignoreError(): void {}

/** A function to call for each frame; it calls `exceeded` when a second holds more than the limit of them. */
function frameBudget(limits: Http2Limits, exceeded: () => void): () => void {
  let secondStartedAt = limits.clock.monotonic();
  let spent = 0;
  return () => {
    const now = limits.clock.monotonic();
    if (now - secondStartedAt > 1000) {
      secondStartedAt = now;
      spent = 0;
    }
    spent += 1;
    if (spent > limits.maxControlFramesPerSecond) exceeded();
  };
}
