import type { FastifyInstance } from 'fastify';
import { describeReadiness, type Readiness } from './readiness.ts';

/**
 * Answers orchestrators: /healthz while the process runs, /readyz while calls should be sent here. With ?verbose,
 * /readyz tells people which check fails, in plain text; never why, since anybody may ask.
 */
export function serveProbes(fastify: FastifyInstance, readiness: Readiness): void {
  fastify.get('/healthz', async () => ({ status: 'ok' }));
  fastify.get<{ Querystring: Record<string, unknown> }>('/readyz', async ({ query }, reply) => {
    if ('verbose' in query) {
      const { isReady, text } = describeReadiness(await readiness.look());
      return reply
        .code(isReady ? 200 : 503)
        .type('text/plain; charset=utf-8')
        .send(text);
    }
    const isReady = await readiness.isReady();
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not ready' });
  });
}
