import { createContextValues } from '@connectrpc/connect';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { Admission, Lane } from '../lane/lane.ts';
import type { Exchange } from '../lane/exchange.ts';
import { ANSWER_HEADERS, requestIdOf } from './answers.ts';
import { setLog } from './call.ts';
import { readClient, setClient } from './client.ts';

/** As Connect's Fastify plugin offers them. */
export const COMPRESSIONS = [compressionGzip, compressionBrotli];
export const COMPRESS_MIN_BYTES = 1024;

/** A lane that is there once the routes are, which is after the server that asks it. */
export class LateLane implements Lane {
  #lane: Lane | undefined;

  open(lane: Lane): void {
    this.#lane = lane;
  }

  takeHttp1: Lane['takeHttp1'] = (request, response) => this.#lane?.takeHttp1(request, response) ?? false;
  takeHttp2: Lane['takeHttp2'] = (stream, headers) => this.#lane?.takeHttp2(stream, headers) ?? false;
}

const PLAIN_HOST = /^[\w.-]+(?::\d{1,5})?$|^\[[\da-f:.]+\](?::\d{1,5})?$/i;
/** Hosts that were found to be plain: as many as a service is known by. */
const plainHosts = new Set<string>();
const PLAIN_HOSTS_MAX = 100;

/** Whether a URL can be made of a host, and nothing but the host is in it. Any other is left to Fastify, which looks closer. */
function isPlainHost(host: string): boolean {
  if (plainHosts.has(host)) return true;
  if (!PLAIN_HOST.test(host) || !URL.canParse(`http://${host}`)) return false;
  if (plainHosts.size < PLAIN_HOSTS_MAX) plainHosts.add(host);
  return true;
}

/**
 * Does for a request of the fast lane what Fastify's hooks do for others. A page of
 * another origin is left to them, since they know whom to allow.
 */
export function createAdmission(
  fastify: FastifyInstance,
  isProxy: (address: string | undefined) => boolean,
): (exchange: Exchange) => Admission | undefined {
  return (exchange) => {
    const { headers } = exchange;
    const host = headers[':authority'] ?? headers.host;
    if (headers.origin !== undefined || typeof host !== 'string' || !isPlainHost(host)) return undefined;
    const requestId = requestIdOf(headers);
    const values = createContextValues();
    setLog(values, new RequestLog(fastify.log, requestId));
    const ips = forwardedBy(exchange.remoteAddress, headers['x-forwarded-for'], isProxy);
    setClient(values, readClient({ ips, headers }));
    return { values, header: { 'x-request-id': requestId, ...ANSWER_HEADERS } };
  };
}

/** The peer, and behind each proxy that is believed whom it says it stands for, as Fastify's `request.ips` has them. */
function forwardedBy(
  peer: string,
  header: string | string[] | undefined,
  isProxy: (address: string | undefined) => boolean,
): string[] {
  const addresses = [peer];
  if (header === undefined || !isProxy(peer)) return addresses;
  for (const hop of String(header).split(',').toReversed()) {
    addresses.push(hop.trim());
    if (!isProxy(hop.trim())) break;
  }
  return addresses;
}

/** A log whose lines carry the request's id. Cheaper than a child of the log, which serializes it for each request. */
class RequestLog {
  readonly #log: FastifyBaseLogger;
  readonly #requestId: string;

  constructor(log: FastifyBaseLogger, requestId: string) {
    this.#log = log;
    this.#requestId = requestId;
  }

  info(fields: object, message: string): void {
    this.#log.info({ requestId: this.#requestId, ...fields }, message);
  }

  warn(fields: object, message: string): void {
    this.#log.warn({ requestId: this.#requestId, ...fields }, message);
  }

  error(fields: object, message: string): void {
    this.#log.error({ requestId: this.#requestId, ...fields }, message);
  }
}
