import { once } from 'node:events';
import { createServer } from 'node:http';

/** Scrapers keep a connection each. */
const CONNECTIONS_MAX = 32;

/** Of the settings that the address comes from, where it cannot be listened on. */
export class MetricsListenError extends Error {
  override readonly name = 'MetricsListenError';
}

/**
 * Serves `text()` at /metrics in the text format of Prometheus, to whoever can connect. A port of this
 * process alone: workers of node:cluster do not share it. Throws MetricsListenError when it cannot listen.
 */
export async function serveMetrics(host: string, port: number, text: () => Promise<string>): Promise<AsyncDisposable> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    const [path] = (request.url ?? '').split('?', 1);
    if (path !== '/metrics') return answer(404, {}, 'metrics are at /metrics\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, { allow: 'GET, HEAD' }, 'use GET\n');
    text().then(
      (metrics) => answer(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }, metrics),
      () => answer(500, {}, 'internal error\n'),
    );

    function answer(status: number, headers: Record<string, string>, body: string): void {
      response.writeHead(status, {
        'content-type': 'text/plain; charset=utf-8',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        ...headers,
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    }
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.listen({ host, port, exclusive: true });
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new MetricsListenError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  server.unref();
  return {
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
