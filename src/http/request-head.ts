import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Failure } from '../kernel/failure.ts';
import { unsupportedCharset } from '../rpc/http-refusals.ts';
import { normalizeContentHeaders } from './content-negotiation.ts';

/** Why a request is not served, and with which HTTP status it is refused. */
export interface HeadRefusal {
  readonly status: number;
  readonly failure: Failure;
  /** Whether an HTTP/1.1 connection cannot be relied on after this request. */
  readonly closes?: boolean;
}

/**
 * Puts the head of an HTTP/1.1 request, in place, into the one form that is served:
 * a target in origin form, one host that a URL can be made of, and content headers
 * as `normalizeContentHeaders` spells them. Returns a refusal when it has no such form
 * (RFC 9112, 3.2 and 6.1).
 */
export function normalizeHttp1Head(request: IncomingMessage): HeadRefusal | undefined {
  const { headers, rawHeaders, method } = request;
  const charset = normalizeContentHeaders(headers);
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  if (hosts > 1) return malformed('the request has more than one host header');

  const codings = headers['transfer-encoding'];
  if (codings !== undefined) {
    const written = codings.toLowerCase();
    // RFC 9112, 6.1 and 6.3: where the body ends is uncertain.
    if (request.httpVersionMinor === 0 || !/(?:^|[ \t,])chunked[ \t]*$/.test(written)) {
      return { ...malformed('the transfer-encoding does not end with chunked, or is of HTTP/1.0'), closes: true };
    }
    if (written.trim() !== 'chunked') return { status: 501, failure: unknownTransferCoding() };
  }

  let target = request.url ?? '';
  if (!target.startsWith('/') && !(target === '*' && method === 'OPTIONS')) {
    // What a client sends to a proxy, a server must take too, and prefer its host to that of the header (RFC 9112, 3.2.2).
    const [, authority, path = ''] = /^https?:\/\/([^/?#]*)([^]*)$/i.exec(target) ?? [];
    if (authority === undefined) return malformed(NOT_A_PATH);
    headers.host = authority;
    target = path.startsWith('/') ? path : `/${path}`;
    request.url = target;
  }
  if (target.includes('#')) return malformed(HAS_FRAGMENT);

  const host = hostForUrl(headers.host);
  if (host === undefined) return malformed(NO_HOST);
  headers.host = host;
  return charset === undefined ? undefined : wrongCharset(method, charset);
}

/** As `normalizeHttp1Head`, of an HTTP/2 request (RFC 9113, 8.3.1). nghttp2 has refused what is malformed by the rules of HTTP/2 alone. */
export function normalizeHttp2Head(headers: IncomingHttpHeaders): HeadRefusal | undefined {
  const method = headers[':method'];
  if (method === 'CONNECT') return undefined; // has no path, and is never served
  const charset = normalizeContentHeaders(headers);

  const target = String(headers[':path'] ?? '');
  if (!target.startsWith('/') && !(target === '*' && method === 'OPTIONS')) return malformed(NOT_A_PATH);
  if (target.includes('#')) return malformed(HAS_FRAGMENT);

  const authority = headers[':authority'];
  if (authority === undefined) {
    const host = hostForUrl(headers.host);
    if (host === undefined) return malformed(NO_HOST);
    headers.host = host;
  } else {
    const written = String(authority);
    if (headers.host !== undefined && headers.host.toLowerCase() !== written.toLowerCase()) {
      return malformed('the host header names another host than the :authority of the request');
    }
    const host = hostForUrl(written);
    if (host === undefined) return malformed(NO_HOST);
    headers[':authority'] = host;
  }
  return charset === undefined ? undefined : wrongCharset(String(method), charset);
}

const NO_HOST = 'the request has no host, or none that is one';
const NOT_A_PATH = 'the request target must be a path, or an http or https URL over HTTP/1.1';
const HAS_FRAGMENT = 'the request target must not have a fragment';

/** What stands for a host of which no URL can be made. Nothing that is served depends on the host. */
const LOCAL_HOST = 'localhost';

/** `uri-host [":" port]` (RFC 3986, 3.2.2 and 3.2.3): without user information. */
const HOST = /^(?:\[[\da-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+)(?::\d*)?$/i;

/** Hosts that were looked at, and what stands for them in a URL: as many as a service is known by. */
const knownHosts = new Map<string, string>();
const KNOWN_HOSTS_MAX = 100;

/**
 * A host as it can stand in a URL, or undefined for a text that is not one. A name
 * with percent-encoded characters, such as the path of a Unix socket that gRPC clients
 * send, is one by RFC 3986 but need not be for `URL`.
 */
function hostForUrl(host: string | undefined): string | undefined {
  if (host === undefined) return undefined;
  const known = knownHosts.get(host);
  if (known !== undefined) return known;
  if (!HOST.test(host)) return undefined;
  const isUsable = URL.canParse(`http://${host}`);
  if (!isUsable && !host.includes('%')) return undefined;
  const usable = isUsable ? host : LOCAL_HOST;
  if (knownHosts.size < KNOWN_HOSTS_MAX) knownHosts.set(host, usable);
  return usable;
}

function malformed(message: string): HeadRefusal {
  return { status: 400, failure: new Failure('malformed_request', message) };
}

/** RFC 9112, 6.1: 501 for a transfer coding that is not understood. */
function unknownTransferCoding(): Failure {
  return new Failure('encoding_unsupported', 'the only transfer-encoding that is understood is chunked');
}

/** A content type says nothing where there is no body. */
function wrongCharset(method: string | undefined, charset: string): HeadRefusal | undefined {
  return method === 'POST' ? { status: 415, failure: unsupportedCharset(charset) } : undefined;
}
