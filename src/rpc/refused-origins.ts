import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyBaseLogger } from 'fastify';
import type { Clock } from '../kernel/clock.ts';

/** How many origins are remembered, and so logged, an hour: anybody can send any number of them. */
const ORIGINS_MAX = 100;
const FORGET_MS = 3_600_000;

/** An origin as browsers write it (RFC 6454, 6.2), of a length that is worth a line. */
const ORIGIN = /^(?:null|[a-z][a-z\d+.-]*:\/\/[^\s/?#@\\]{1,200})$/;

/** Called with the headers of a request by a page that may not call. */
export type RefusedOriginLog = (headers: IncomingHttpHeaders) => void;

/**
 * Logs each origin of a page that may not call once, since its developer sees no more
 * than "Failed to fetch". At most 100 an hour are logged. A page of the server's own
 * host is not refused by browsers.
 */
export function createRefusedOriginLog(log: FastifyBaseLogger, clock: Pick<Clock, 'monotonic'>): RefusedOriginLog {
  const logged = new Set<string>();
  let since = clock.monotonic();
  return (headers) => {
    const { origin } = headers;
    if (origin === undefined || logged.has(origin) || !ORIGIN.test(origin)) return;
    if (origin.endsWith(`://${String(headers[':authority'] ?? headers.host)}`)) return;
    if (clock.monotonic() - since > FORGET_MS) {
      logged.clear();
      since = clock.monotonic();
    }
    if (logged.size >= ORIGINS_MAX) return;
    logged.add(origin);
    log.warn({ origin }, 'a page of this origin called and may not: to let it, add the origin to KITH_CORS_ORIGINS');
  };
}
