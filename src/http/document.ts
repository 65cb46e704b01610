import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { limitPublicAnswers } from '../rpc/public-answers.ts';
import { isNamed } from './entity-tag.ts';
import { takesCoding, takeTurnToWrite } from './turns.ts';

/** What is the same for whoever asks for it. */
export interface Document {
  readonly path: string;
  /** With its parameters. */
  readonly contentType: string;
  readonly body: Buffer;
}

/**
 * Serves a document to anybody, and to pages of any origin: GET and HEAD, compressed once for those who take gzip.
 * Whoever keeps it asks with If-None-Match whether it is still the same, so that another instance of another version
 * is noticed at once. `name` is what its budget is called.
 */
export function serveDocument(fastify: FastifyInstance, name: string, { path, contentType, body }: Document): void {
  // TLS encrypts a body as a whole, so that each takes its size.
  const writing = limitPublicAnswers(name);
  const tag = createHash('sha256').update(body).digest('base64url');
  let compressed: Promise<Buffer> | undefined;
  const compress = (): Promise<Buffer> =>
    (compressed ??= promisify(gzip)(body, { level: constants.Z_BEST_COMPRESSION }));

  const config = { anyOrigin: true };
  fastify.get(path, { config }, async (request, reply): Promise<FastifyReply> => {
    const isGzip = takesCoding('gzip', request.headers['accept-encoding']);
    // Strong tags differ where the bytes do (RFC 9110, 8.8.3.3).
    const etag = isGzip ? `"${tag}-gzip"` : `"${tag}"`;
    reply.headers({
      'cache-control': 'public, no-cache',
      etag,
      vary: 'accept-encoding',
      'access-control-allow-origin': '*',
    });
    if (isNamed(etag, request.headers['if-none-match'])) return reply.code(304).send();
    if (!(await takeTurnToWrite(writing, request, reply))) return reply;
    reply.headers({
      'content-type': contentType,
      ...(contentType.startsWith('text/html') && { 'content-security-policy': PAGE_POLICY }),
      ...(isGzip && { 'content-encoding': 'gzip' }),
    });
    return reply.send(isGzip ? await compress() : body);
  });
}

/** Of a page: nothing is loaded, sent or run, and the page is framed by nobody. */
const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
