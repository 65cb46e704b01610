import type { ContextKey, ContextValues } from '@connectrpc/connect';
import type { Admission, FastPath } from '../../packages/connect-fast/src/fast-path.ts';
import type { Exchange } from '../../packages/connect-fast/src/exchange.ts';
import { ANSWER_HEADERS, requestIdOf } from './answers.ts';
import { setRequestId } from './call.ts';
import { readClient, setClient } from './client.ts';
import { createOriginHeaders } from './cors.ts';
import type { RefusedOriginLog } from './refused-origins.ts';

/** A fast path that is there once the routes are, which is after the server that asks it. */
export class DeferredFastPath implements FastPath {
  #fastPath: FastPath | undefined;

  open(fastPath: FastPath): void {
    this.#fastPath = fastPath;
  }

  takeHttp1: FastPath['takeHttp1'] = (request, response) => this.#fastPath?.takeHttp1(request, response) ?? false;
  takeHttp2: FastPath['takeHttp2'] = (stream, headers) => this.#fastPath?.takeHttp2(stream, headers) ?? false;
}

/**
 * Does for a request of the fast path what Fastify's hooks do for others, but for what
 * both have done before. A request of a page that may not call is left to them.
 */
export function createAdmission(
  isProxy: (address: string | undefined) => boolean,
  corsOrigins: readonly string[],
  logRefusedOrigin: RefusedOriginLog,
): (exchange: Exchange) => Admission | undefined {
  const originHeadersOf = createOriginHeaders(corsOrigins);
  return (exchange) => {
    const { headers } = exchange;
    const originHeaders = originHeadersOf(headers.origin);
    if (originHeaders === undefined) return undefined;
    if (headers.origin !== undefined && corsOrigins.length === 0) logRefusedOrigin(headers);
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
export function forwardedBy(
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
