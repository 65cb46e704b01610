import { once } from 'node:events';
import { createServer, request } from 'node:http';
import {
  constants,
  createServer as createHttp2Server,
  connect as connectHttp2,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';

/** Stands between clients and a server, counts calls, and loses answers. */
export interface CallProxy extends AsyncDisposable {
  /** As a URL without a path. */
  readonly address: string;
  /** The paths of the calls that came, in their order, which name the methods: `/kith.user.v1.UserService/CreateUser`. */
  readonly calls: string[];
  /** Whether to lose the answer to a call, once the server has given it: to reset the connection or the stream instead. */
  drops: (path: string, requestId: string) => boolean;
}

/**
 * Passes calls on to a server of this machine: over HTTP/2 with prior knowledge for gRPC, or over HTTP/1.1. Unary calls
 * alone: an answer is passed on when it is complete.
 */
export async function startCallProxy(upstream: string, version: '1.1' | '2'): Promise<CallProxy> {
  const proxy = {
    address: '',
    calls: [] as string[],
    drops: (_path: string, _requestId: string): boolean => false,
  };
  const stack = new AsyncDisposableStack();
  const port = version === '2' ? await serveHttp2(upstream, proxy, stack) : await serveHttp1(upstream, proxy, stack);
  return Object.assign(proxy, {
    address: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  });
}

type Rules = Pick<CallProxy, 'calls' | 'drops'>;

async function serveHttp1(upstream: string, rules: Rules, stack: AsyncDisposableStack): Promise<number> {
  const server = createServer((inward, answer) => {
    const path = inward.url!;
    rules.calls.push(path);
    const outward = request(`${upstream}${path}`, { method: inward.method, headers: inward.headers }, (response) => {
      const chunks: Buffer[] = [];
      response
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          if (rules.drops(path, String(inward.headers['x-request-id']))) inward.socket.resetAndDestroy();
          else answer.writeHead(response.statusCode!, response.headers).end(Buffer.concat(chunks));
        });
    });
    outward.on('error', () => inward.socket.destroy());
    inward.pipe(outward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function serveHttp2(upstream: string, rules: Rules, stack: AsyncDisposableStack): Promise<number> {
  const session = connectHttp2(upstream).on('error', () => {});
  stack.defer(() => session.destroy());
  const server = createHttp2Server();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (inward) => {
    sessions.add(inward);
    inward.on('error', () => {});
  });
  server.on('stream', (inward: ServerHttp2Stream, headers) => {
    inward.on('error', () => {});
    const path = headers[':path']!;
    rules.calls.push(path);
    const outward = session.request(headers).on('error', () => inward.destroy());
    const chunks: Buffer[] = [];
    let answer = {};
    let trailers = {};
    outward.on('response', (response) => (answer = response));
    outward.on('trailers', (received) => (trailers = received));
    outward.on('data', (chunk: Buffer) => chunks.push(chunk));
    outward.on('end', () => {
      if (rules.drops(path, String(headers['x-request-id']))) {
        inward.close(constants.NGHTTP2_INTERNAL_ERROR);
        return;
      }
      if (inward.destroyed) return;
      inward.respond(answer, { waitForTrailers: true });
      inward.on('wantTrailers', () => inward.sendTrailers(trailers));
      inward.end(Buffer.concat(chunks));
    });
    inward.pipe(outward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(() => {
    for (const each of sessions) each.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
