import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DescMethod } from '@bufbuild/protobuf';
import { Random } from '../random.ts';
import { isFault, outcomeOf } from './answers.ts';
import { isPublic, pathOf, takesEditor } from './contract.ts';

/** Whom an attacker may be. */
export interface Account {
  readonly id: string;
  readonly username: string;
  readonly password: string;
  readonly accessToken: string;
  readonly refreshToken: string;
}

/** What an attacker is given. */
export interface AttackOptions {
  readonly port: number;
  readonly seconds: number;
  readonly seed: string;
  readonly viewer: Account;
  readonly editor: Account;
  /** The secret of a key of the editor's, with all their permissions. */
  readonly apiKey: string;
  /** From where it calls; further addresses count up from it. Undefined where a machine has one loopback address. */
  readonly address: string | undefined;
}

/** What came of an attack. */
export interface Tally {
  readonly requests: number;
  /** Answers by what they were, and ends of connections. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Methods that should have been called, and were not. */
  readonly missed: readonly string[];
}

/** A call as it is sent. */
export interface Call {
  readonly method: DescMethod | string;
  readonly protocol: 'grpc' | 'grpc-json' | 'connect' | 'connect-json' | 'get';
  /** The message, compressed already where `encoding` says so. */
  readonly body?: Uint8Array | string | undefined;
  readonly encoding?: 'gzip' | 'br' | undefined;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** Where the caller leaves: so long after the request was sent, milliseconds. */
  readonly leaveAfterMs?: number;
}

export interface Pump {
  readonly over?: 'http2' | 'http1';
  readonly connections?: number;
  /** Calls under way on each connection; one over HTTP/1.1. */
  readonly inFlight?: number;
  /** In all; default as many as can be. */
  readonly perSecond?: number;
  /** How many addresses the connections come from. */
  readonly addresses?: number;
  /** How long a call is waited for, milliseconds. */
  readonly callMs?: number;
  /** So many calls are made, however long they take. */
  readonly atLeast?: number;
}

/** How much of an answer's body is kept to read what it says. */
const BODY_KEPT = 65_536;
const CALL_MS = 8000;

/** How long after the end of an answer its stream is closed, milliseconds: trailers come first. */
const LINGER_MS = 100;

/** Longer than any call of an attack goes on after its time. */
const GRACE_MS = 1500;

/** The same where a number of calls has to be made, or none was answered yet: a machine may have much else to do. */
const LATE_MS = 20_000;

export class Attack {
  readonly options: AttackOptions;
  readonly random: Random;
  readonly methods: readonly DescMethod[];
  readonly #outcomes = new Map<string, number>();
  readonly #called = new Set<string>();
  readonly #wanted = new Set<string>();
  readonly #sockets = new Set<net.Socket>();
  readonly #over = new AbortController();
  #requests = 0;
  #bytesSent = 0;
  #bytesReceived = 0;
  #endMs = Number.POSITIVE_INFINITY;

  constructor(options: AttackOptions, methods: readonly DescMethod[]) {
    this.options = options;
    this.methods = methods;
    this.random = new Random(options.seed);
  }

  get viewer(): Account {
    return this.options.viewer;
  }

  get editor(): Account {
    return this.options.editor;
  }

  get isOver(): boolean {
    return performance.now() >= this.#endMs;
  }

  /** Aborted when the time is up. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** From now on the time counts. */
  begin(): void {
    this.#endMs = performance.now() + this.options.seconds * 1000;
    setTimeout(() => this.#over.abort(), this.options.seconds * 1000);
  }

  tally(): Tally {
    for (const socket of this.#sockets) this.#count(socket);
    return {
      requests: this.#requests,
      outcomes: Object.fromEntries(this.#outcomes),
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      missed: [...this.#wanted.difference(this.#called)],
    };
  }

  count(outcome: string, times = 1): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + times);
  }

  /** Methods that the attack must have called, each once at least. */
  want(methods: readonly DescMethod[]): void {
    for (const method of methods) this.#wanted.add(pathOf(method));
  }

  /** Requests that were sent by no `pump` or `call`. */
  sent(requests = 1): void {
    this.#requests += requests;
  }

  /** Waits, no longer than the attack goes on. */
  async wait(ms: number): Promise<void> {
    await sleep(Math.max(ms, 0), undefined, { signal: this.over }).catch(() => {});
  }

  async untilOver(): Promise<void> {
    await this.wait(3_600_000);
  }

  /** The attacker's address of this number, of which there are 60,000. */
  address(i: number): string | undefined {
    const { address } = this.options;
    if (address === undefined || i === 0) return address;
    return `127.1.${Math.floor(i / 250) % 250}.${1 + (i % 250)}`;
  }

  /** A connection. How it ends is counted, once, as `outcome` says or as what happened. */
  socket(addressNumber = 0, outcome?: string): net.Socket {
    const localAddress = this.address(addressNumber);
    const socket = net.connect({ port: this.options.port, host: '127.0.0.1', ...(localAddress && { localAddress }) });
    this.#sockets.add(socket);
    let error = '';
    socket.on('error', ({ code }: NodeJS.ErrnoException) => (error = code ?? 'error'));
    socket.on('close', () => {
      this.#count(socket);
      if (!this.isOver) this.count(outcome ?? (error === '' ? 'connection closed' : `connection ${error}`));
    });
    return socket.setNoDelay(true);
  }

  #count(socket: net.Socket): void {
    if (!this.#sockets.delete(socket)) return;
    this.#bytesSent += socket.bytesWritten;
    this.#bytesReceived += socket.bytesRead;
  }

  session(addressNumber = 0, settings: http2.Settings = {}): http2.ClientHttp2Session {
    const session = http2.connect(`http://localhost:${this.options.port}`, {
      createConnection: () => this.socket(addressNumber),
      settings: { enablePush: false, ...settings },
      maxSessionMemory: 1000,
    });
    session.setMaxListeners(0);
    session.on('error', () => {});
    session.on('goaway', (code: number) => this.count(`GOAWAY ${code}`));
    return session;
  }

  /** The token that a call of a method takes: the viewer's where they may call it, else the editor's. */
  tokenFor(method: DescMethod): string | undefined {
    if (isPublic(method)) return undefined;
    return (takesEditor(method) ? this.editor : this.viewer).accessToken;
  }

  /** One call on an HTTP/2 connection; how it ended, which is counted too. */
  async callHttp2(session: http2.ClientHttp2Session, call: Call, callMs = CALL_MS): Promise<string> {
    this.#note(call);
    const { verb, path, headers, bytes } = writeCall(call);
    const { promise, resolve } = Promise.withResolvers<string>();
    const stream = session.request({ ':method': verb, ':path': path, ...headers });
    let status = 0;
    let responseHeaders: http.IncomingHttpHeaders = {};
    let trailers: http.IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    let kept = 0;
    stream.on('response', (received) => {
      status = received[':status'] ?? 0;
      responseHeaders = received;
    });
    stream.on('trailers', (received) => (trailers = received));
    stream.on('data', (chunk: Buffer) => {
      if (kept >= BODY_KEPT) return;
      chunks.push(chunk);
      kept += chunk.length;
    });
    stream.on('error', () => {});
    let left = '';
    const leave = (why: string) => {
      left = why;
      stream.close(http2.constants.NGHTTP2_CANCEL);
    };
    const timer = setTimeout(() => leave('no answer in time'), callMs);
    const leaving = call.leaveAfterMs === undefined ? undefined : setTimeout(() => leave('left'), call.leaveAfterMs);
    // An answer may come while the request is still on its way: the stream is not closed then.
    stream.on('end', () => setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), LINGER_MS));
    stream.on('close', () => {
      clearTimeout(timer);
      clearTimeout(leaving);
      if (left !== '') resolve(left);
      else if (status === 0) resolve(stream.rstCode ? `RST_STREAM ${stream.rstCode}` : 'no answer');
      else {
        const outcome = outcomeOf({ status, headers: responseHeaders, trailers, body: Buffer.concat(chunks) });
        // What the attack itself cuts off at its end is no answer of the server's, nor is one that the server breaks off
        // with all others of a connection on which too many were left: some of its streams close before it does.
        const isCutOff =
          session.destroyed || this.isOver || stream.rstCode === http2.constants.NGHTTP2_ENHANCE_YOUR_CALM;
        resolve(isCutOff && isFault(outcome) ? 'answer cut off' : outcome);
      }
    });
    stream.end(bytes);
    const outcome = await promise;
    this.count(outcome);
    return outcome;
  }

  /** One call over HTTP/1.1. */
  async callHttp1(agent: http.Agent, call: Call, callMs = CALL_MS): Promise<string> {
    this.#note(call);
    const { verb, path, headers, bytes } = writeCall(call);
    const { promise, resolve } = Promise.withResolvers<string>();
    const request = http.request({
      agent,
      method: verb,
      path,
      headers: { host: 'localhost', 'content-length': bytes.length, ...headers },
    });
    let left = '';
    const leave = (why: string) => {
      left = why;
      request.destroy();
    };
    const timer = setTimeout(() => leave('no answer in time'), callMs);
    const leaving = call.leaveAfterMs === undefined ? undefined : setTimeout(() => leave('left'), call.leaveAfterMs);
    const end = (outcome: string) => {
      clearTimeout(timer);
      clearTimeout(leaving);
      resolve(left === '' ? outcome : left);
    };
    request.on('error', ({ code }: NodeJS.ErrnoException) => end(`no answer: ${code}`));
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let kept = 0;
      response.on('data', (chunk: Buffer) => {
        if (kept >= BODY_KEPT) return;
        chunks.push(chunk);
        kept += chunk.length;
      });
      response.on('error', () => end('answer cut off'));
      response.on('end', () =>
        end(
          outcomeOf({
            status: response.statusCode ?? 0,
            headers: response.headers,
            trailers: response.trailers,
            body: Buffer.concat(chunks),
          }),
        ),
      );
    });
    request.end(bytes);
    const outcome = await promise;
    this.count(outcome);
    return outcome;
  }

  /** An agent for one connection at a time. */
  agent(addressNumber = 0): http.Agent {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    agent.createConnection = () => this.socket(addressNumber);
    return agent;
  }

  /** Calls what `next` says, over and over, until the time is up. `next` says undefined when there is no more. */
  async pump(options: Pump, next: (n: number) => Call | undefined): Promise<void> {
    const {
      over = 'http2',
      connections = 1,
      inFlight = over === 'http2' ? 10 : 1,
      perSecond,
      addresses = 1,
      callMs,
      atLeast = 0,
    } = options;
    const beganMs = performance.now();
    let n = 0;
    let isDone = false;
    const take = async (): Promise<Call | undefined> => {
      const mine = n++;
      if (perSecond !== undefined) await this.wait(beganMs + (mine * 1000) / perSecond - performance.now());
      if (isDone || (this.isOver && mine >= atLeast)) return undefined;
      const call = next(mine);
      isDone ||= call === undefined;
      return call;
    };
    const worker = async (connection: number): Promise<void> => {
      const address = connection % addresses;
      if (over === 'http1') {
        const agent = this.agent(address);
        for (let call = await take(); call; call = await take()) await this.callHttp1(agent, call, callMs);
        agent.destroy();
        return;
      }
      let session = this.session(address);
      const one = async (): Promise<void> => {
        for (let call = await take(); call; call = await take()) {
          if (session.closed || session.destroyed) {
            await sleep(20);
            if (session.closed || session.destroyed) session = this.session(address);
          }
          try {
            await this.callHttp2(session, call, callMs);
          } catch {
            this.count('no stream to be had'); // the connection went away in between
            await sleep(20);
          }
        }
      };
      await Promise.all(Array.from({ length: inFlight }, one));
      session.destroy();
    };
    const workers = Promise.all(Array.from({ length: connections }, (_, i) => worker(i)));
    await Promise.race([workers, this.untilOver().then(() => sleep(GRACE_MS))]);
    const isEnough = () => n >= atLeast && this.#outcomes.size > 0;
    await Promise.race([workers, isEnough() ? undefined : sleep(LATE_MS)]);
  }

  #note({ method }: Call): void {
    this.#requests += 1;
    if (typeof method !== 'string') this.#called.add(pathOf(method));
  }
}

interface WrittenCall {
  readonly verb: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly bytes: Buffer;
}

/** A call as HTTP sends it. */
function writeCall({ method, protocol, body = '', encoding, token, headers }: Call): WrittenCall {
  const path = typeof method === 'string' ? method : pathOf(method);
  const isUnary = typeof method === 'string' || method.methodKind === 'unary';
  const bytes = Buffer.from(body);
  const format = protocol.endsWith('json') ? 'json' : 'proto';
  const common = { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers };
  if (protocol === 'get') {
    const compression = encoding === undefined ? '' : `&compression=${encoding}`;
    const query = `connect=v1&base64=1&encoding=proto${compression}&message=${bytes.toString('base64url')}`;
    return { verb: 'GET', path: `${path}?${query}`, headers: common, bytes: Buffer.alloc(0) };
  }
  if (protocol.startsWith('grpc')) {
    const grpc = {
      'content-type': `application/grpc+${format}`,
      te: 'trailers',
      ...(encoding && { 'grpc-encoding': encoding }),
    };
    return {
      verb: 'POST',
      path,
      headers: { ...grpc, ...common },
      bytes: envelope(bytes, encoding === undefined ? 0 : 1),
    };
  }
  if (isUnary) {
    const connect = { 'content-type': `application/${format}`, ...(encoding && { 'content-encoding': encoding }) };
    return { verb: 'POST', path, headers: { ...connect, ...common }, bytes };
  }
  const stream = {
    'content-type': `application/connect+${format}`,
    ...(encoding && { 'connect-content-encoding': encoding }),
  };
  return {
    verb: 'POST',
    path,
    headers: { ...stream, ...common },
    bytes: envelope(bytes, encoding === undefined ? 0 : 1),
  };
}

/** Flags and length before a message. */
export function envelope(bytes: Uint8Array, flags = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}
