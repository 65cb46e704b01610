import type { FastifyInstance } from 'fastify';

/** Answers orchestrators: /healthz while the process runs, /readyz while calls should be sent here. */
export function serveProbes(fastify: FastifyInstance, isReady: () => Promise<boolean>): void {
  fastify.get('/healthz', async () => ({ status: 'ok' }));
  fastify.get('/readyz', async (_, reply) => {
    const ready = await isReady();
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready' });
  });
}
