import type { ContextKey, ContextValues } from '@connectrpc/connect';
import type { Admission, Lane } from '../lane/lane.ts';
import type { Exchange } from '../lane/exchange.ts';
import { ANSWER_HEADERS, requestIdOf } from './answers.ts';
import { setRequestId } from './call.ts';
import { readClient, setClient } from './client.ts';
import { createOriginHeaders } from './cors.ts';

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
 * Does for a request of the fast lane what Fastify's hooks do for others. One whose
 * host or origin is unusual is left to them.
 */
export function createAdmission(
  isProxy: (address: string | undefined) => boolean,
  corsOrigins: readonly string[],
): (exchange: Exchange) => Admission | undefined {
  const originHeadersOf = createOriginHeaders(corsOrigins);
  return (exchange) => {
    const { headers } = exchange;
    const host = headers[':authority'] ?? headers.host;
    const originHeaders = originHeadersOf(headers.origin);
    if (originHeaders === undefined || typeof host !== 'string' || !isPlainHost(host)) return undefined;
    const requestId = requestIdOf(headers);
    const values = new Values();
    setRequestId(values, requestId);
    const { remoteAddress } = exchange; // it is not known any more once the connection is closed
    setClient(values, () => {
      return readClient({ ips: forwardedBy(remoteAddress, headers['x-forwarded-for'], isProxy), headers });
    });
    return { values, header: { 'x-request-id': requestId, ...ANSWER_HEADERS, ...originHeaders } };
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

/** What Connect's createContextValues makes, without three new functions for each call. */
class Values implements ContextValues {
  [id: symbol]: unknown;

  get<T>({ id, defaultValue }: ContextKey<T>): T {
    return id in this ? (this[id] as T) : defaultValue;
  }

  set<T>({ id }: ContextKey<T>, value: T): this {
    this[id] = value;
    return this;
  }

  delete({ id }: ContextKey<unknown>): this {
    Reflect.deleteProperty(this, id);
    return this;
  }
}
