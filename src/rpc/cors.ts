import cors from '@fastify/cors';
import { cors as connectCors } from '@connectrpc/connect';
import type { FastifyInstance } from 'fastify';
import type { RefusedOriginLog } from './refused-origins.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether a page of any origin may read the route. */
    readonly anyOrigin?: boolean;
  }
}

/** How long a browser may remember a preflight, seconds: the longest that Chromium does. */
const PREFLIGHT_MAX_AGE_S = 7200;

/** What a page may read of an answer beside what any page may. */
const EXPOSED_HEADERS = [...connectCors.exposedHeaders, 'retry-after', 'x-request-id'];

/**
 * Lets pages of exactly these origins call from a browser, over gRPC-Web and
 * Connect, and lets them read what those protocols, `retry-after` and
 * `x-request-id` tell.
 * Credentials travel in `authorization`, so cookies are not asked for. `logRefused` is
 * told of the requests of other pages, but for routes that any page may read.
 */
export async function allowOrigins(
  fastify: FastifyInstance,
  origins: readonly string[],
  logRefused: RefusedOriginLog,
): Promise<void> {
  const allowed = new Set(origins);
  // Before the plugin's own hook, which answers preflights.
  fastify.addHook('onRequest', async ({ headers, routeOptions }) => {
    const { origin } = headers;
    if (origin !== undefined && !allowed.has(origin) && routeOptions.config.anyOrigin !== true) logRefused(headers);
  });
  if (origins.length === 0) return;
  await fastify.register(cors, {
    origin: [...origins],
    methods: [...connectCors.allowedMethods],
    allowedHeaders: [...connectCors.allowedHeaders, 'authorization', 'traceparent', 'tracestate', 'x-request-id'],
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_MAX_AGE_S,
    strictPreflight: false,
  });
}

/** The headers of an answer to a page. */
type OriginHeaders = Readonly<Record<string, string>>;

/**
 * What `allowOrigins` adds to the answer of a call, for those whom Fastify's hooks do
 * not see: nothing where no origins are configured. Undefined for a page of another
 * origin, and for a header that is none.
 */
export function createOriginHeaders(
  origins: readonly string[],
): (origin: string | string[] | undefined) => OriginHeaders | undefined {
  const allowed = new Map(
    origins.map((origin) => [
      origin,
      {
        vary: 'Origin',
        'access-control-allow-origin': origin,
        'access-control-expose-headers': EXPOSED_HEADERS.join(', '),
      },
    ]),
  );
  return (origin) => {
    if (origin === undefined || allowed.size === 0) return NOTHING;
    return typeof origin === 'string' ? allowed.get(origin) : undefined;
  };
}

const NOTHING: OriginHeaders = {};
