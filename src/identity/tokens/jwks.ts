import type { FastifyInstance, FastifyReply } from 'fastify';
import { isNamed } from '../../http/entity-tag.ts';

/** The public keys as they are served. */
export interface PublishedKeys {
  /** JWK set (RFC 7517), JSON. */
  readonly body: string;
  /** Strong entity tag of `body`, with its quotes. */
  readonly etag: string;
  /** How long others may keep them, seconds. */
  readonly maxAgeS: number;
}

/** Publishes the public keys for whoever verifies access tokens; the path is the one gateways try first. GET and HEAD. */
export function serveJwks(fastify: FastifyInstance, jwks: () => PublishedKeys): void {
  const config = { anyOrigin: true };
  fastify.get('/.well-known/jwks.json', { config }, async (request, reply): Promise<FastifyReply> => {
    const { body, etag, maxAgeS } = jwks();
    reply.headers({
      'cache-control': `public, max-age=${maxAgeS}`,
      etag,
      'access-control-allow-origin': '*',
    });
    if (isNamed(etag, request.headers['if-none-match'])) return reply.code(304).send();
    // Bytes, since Fastify adds a charset to text, which this type has not (RFC 7517, 8.5.2).
    return reply.header('content-type', 'application/jwk-set+json').send(Buffer.from(body));
  });
}
