import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** Headers of every answer, beside the request's id: answers hold tokens and people's data (RFC 6749, 5.1). */
export const ANSWER_HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;

/** A caller's own request id is taken when it is one word of these characters: it ends up in logs and headers. */
const REQUEST_ID = /^[\w.:/+=-]{1,128}$/;

/** The caller's own request id, or a new one. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
}
