import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import { addressPayer } from '../budget/payer.ts';
import { Failure } from '../kernel/failure.ts';
import { httpRefusal } from '../rpc/http-refusals.ts';

/**
 * Waits until a large answer may be written, which it then is until its reader has taken it. Answers with a refusal, and
 * false, where there is no room, and false where the caller is gone.
 */
export async function takeTurnToWrite(
  writing: ConcurrencyLimiter,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<boolean> {
  const closed = closeOf(reply.raw);
  try {
    const endTurn = await writing.takeTurn(addressPayer(request.ip), closed);
    if (closed.aborted) endTurn();
    else closed.addEventListener('abort', endTurn, { once: true });
    return true;
  } catch (error) {
    if (closed.aborted)
      reply.hijack(); // nobody is there who would read an answer
    else if (error instanceof Failure) void refuse(reply, error);
    else throw error;
    return false;
  }
}

/** Aborted when a response has been sent or cannot be any more. */
function closeOf(response: ServerResponse | Http2ServerResponse): AbortSignal {
  const closed = new AbortController();
  // It may have waited for its turn of the event loop, and its caller have gone meanwhile.
  if ('stream' in response ? response.stream.destroyed : response.destroyed) closed.abort();
  else response.once('close', () => closed.abort());
  return closed.signal;
}

/** Accept-Encoding, in the form into which src/http/content-negotiation.ts puts it. */
export function takesCoding(coding: 'gzip' | 'br', acceptEncoding: string | string[] | undefined): boolean {
  return String(acceptEncoding ?? '')
    .split(',')
    .some((accepted) => accepted.trim() === coding);
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
