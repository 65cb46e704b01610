import type { FastifyInstance } from 'fastify';

/** How long others may keep the public keys, seconds. */
const MAX_AGE_S = 300;

/** Publishes the public keys for whoever verifies access tokens (RFC 7517; the path is the one gateways try first). */
export function serveJwks(fastify: FastifyInstance, jwks: () => object): void {
  fastify.get('/.well-known/jwks.json', async (_, reply) =>
    reply
      .header('content-type', 'application/jwk-set+json')
      .header('cache-control', `public, max-age=${MAX_AGE_S}`)
      .header('access-control-allow-origin', '*')
      .send(JSON.stringify(jwks())),
  );
}
