import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import type { ContextKey, ContextValues } from '@connectrpc/connect';
import type { FastHandlers, FastHandlersOptions } from '../../packages/connect-fast/src/index.ts';
import { ANSWER_HEADERS, requestIdOf } from './answers.ts';
import { findRequestId, setRequestId } from './call.ts';
import { readPeer, setPeer } from './peer.ts';
import { createOriginHeaders } from './cors.ts';
import type { RefusedOriginLog } from './refused-origins.ts';

/** The fast path of a server that listens before its routes are known: until `open` it serves nothing. */
export class DeferredFastPath {
  #handlers: Pick<FastHandlers, 'http1' | 'http2'> | undefined;

  open(handlers: Pick<FastHandlers, 'http1' | 'http2'>): void {
    this.#handlers = handlers;
  }

  takeHttp1 = (request: IncomingMessage, response: ServerResponse): boolean =>
    this.#handlers?.http1(request, response) ?? false;
  takeHttp2 = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean =>
    this.#handlers?.http2(stream, headers) ?? false;
}

/**
 * Does for a request on the fast path what Fastify's hooks do for others, but for what
 * both have done before. A request of a page that may not call is left to them.
 */
export function createRequestHooks(
  isProxy: (address: string | undefined) => boolean,
  corsOrigins: readonly string[],
  logRefusedOrigin: RefusedOriginLog,
): Required<Pick<FastHandlersOptions, 'accepts' | 'contextValues' | 'responseHeaders'>> {
  const originHeadersOf = createOriginHeaders(corsOrigins);
  return {
    accepts({ headers }) {
      if (originHeadersOf(headers.origin) === undefined) return false;
      if (headers.origin !== undefined && corsOrigins.length === 0) logRefusedOrigin(headers);
      return true;
    },
    contextValues({ headers, remoteAddress }) {
      const values = new Values();
      setRequestId(values, requestIdOf(headers));
      // The address is not known any more once the connection is closed.
      setPeer(values, () => {
        return readPeer({ ips: forwardedBy(remoteAddress, headers['x-forwarded-for'], isProxy), headers });
      });
      return values;
    },
    responseHeaders({ headers }, values) {
      return { 'x-request-id': findRequestId(values), ...ANSWER_HEADERS, ...originHeadersOf(headers.origin) };
    },
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
