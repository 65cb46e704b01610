import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { addressPayer } from '../budget/payer.ts';
import { Failure } from '../kernel/failure.ts';
import { httpRefusal } from '../rpc/http-refusals.ts';
import { limitPublicAnswers } from '../rpc/public-answers.ts';
import { isNamed } from './entity-tag.ts';

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
    const isGzip = takesGzip(request.headers['accept-encoding']);
    // Strong tags differ where the bytes do (RFC 9110, 8.8.3.3).
    const etag = isGzip ? `"${tag}-gzip"` : `"${tag}"`;
    reply.headers({
      'cache-control': 'public, no-cache',
      etag,
      vary: 'accept-encoding',
      'access-control-allow-origin': '*',
    });
    if (isNamed(etag, request.headers['if-none-match'])) return reply.code(304).send();
    const closed = closeOf(reply.raw);
    try {
      const endTurn = await writing.takeTurn(addressPayer(request.ip), closed);
      if (closed.aborted) endTurn();
      else closed.addEventListener('abort', endTurn, { once: true });
    } catch (error) {
      if (closed.aborted) return reply.hijack(); // nobody is there who would read an answer
      if (error instanceof Failure) return refuse(reply, error);
      throw error;
    }
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

/** Aborted when a response has been sent or cannot be any more. */
function closeOf(response: ServerResponse | Http2ServerResponse): AbortSignal {
  const closed = new AbortController();
  // It may have waited for its turn of the event loop, and its caller have gone meanwhile.
  if ('stream' in response ? response.stream.destroyed : response.destroyed) closed.abort();
  else response.once('close', () => closed.abort());
  return closed.signal;
}

/** Accept-Encoding, in the form into which src/http/content-negotiation.ts puts it. */
function takesGzip(acceptEncoding: string | string[] | undefined): boolean {
  return String(acceptEncoding ?? '')
    .split(',')
    .some((coding) => coding.trim() === 'gzip');
}

function refuse(reply: FastifyReply, failure: Failure): FastifyReply {
  const { status, headers, body } = httpRefusal(undefined, 429, failure);
  const retryAfter = failure.metadata['retry_after_seconds'] ?? '1';
  for (const name of ['etag', 'vary']) reply.removeHeader(name);
  return reply
    .code(status)
    .headers({ ...headers, 'cache-control': 'no-store', 'retry-after': retryAfter })
    .send(body);
}
