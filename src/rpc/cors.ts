import cors from '@fastify/cors';
import { cors as connectCors } from '@connectrpc/connect';
import type { FastifyInstance } from 'fastify';

/** How long a browser may remember a preflight, seconds: the longest that Chromium does. */
const PREFLIGHT_MAX_AGE_S = 7200;

/**
 * Lets pages of exactly these origins call from a browser, over gRPC-Web and
 * Connect, and lets them read what those protocols, `retry-after` and
 * `x-request-id` tell.
 * Credentials travel in `authorization`, so cookies are not asked for.
 */
export async function allowOrigins(fastify: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  await fastify.register(cors, {
    origin: [...origins],
    methods: [...connectCors.allowedMethods],
    allowedHeaders: [...connectCors.allowedHeaders, 'authorization', 'x-request-id'],
    exposedHeaders: [...connectCors.exposedHeaders, 'retry-after', 'x-request-id'],
    maxAge: PREFLIGHT_MAX_AGE_S,
    strictPreflight: false,
  });
}
