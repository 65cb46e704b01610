import { type ContextValues, createContextKey } from '@connectrpc/connect';
import type { FastifyRequest } from 'fastify';
import type { Peer } from '../kernel/access.ts';
import { canonicalAddress } from '../kernel/address.ts';
import { oneLine } from '../kernel/text.ts';

const NOBODY: Peer = { address: '', userAgent: '' };
const peerKey = createContextKey<() => Peer>(() => NOBODY, { description: 'peer' });

/** How much of the header user-agent is kept, code points. */
const USER_AGENT_MAX = 256;

/** Notes how to find out where a call comes from, which calls of signed-in users do not ask for. */
export function setPeer(values: ContextValues, read: () => Peer): void {
  let peer: Peer | undefined;
  values.set(peerKey, () => (peer ??= read()));
}

/** Where a call comes from. */
export function peerOf({ values }: { readonly values: ContextValues }): Peer {
  return values.get(peerKey)();
}

/**
 * Where a request comes from: the peer of the connection, or, where that is one of
 * the proxies that are believed, what the last of them in a row says. What is no
 * address in their header leaves it at the proxy that wrote it.
 */
export function readPeer(request: Partial<Pick<FastifyRequest, 'ip' | 'ips'>> & Pick<FastifyRequest, 'headers'>): Peer {
  const addresses = (request.ips ?? [request.ip ?? '']).map((address) => canonicalAddress(address ?? ''));
  return new RequestPeer(
    addresses.findLast((address) => address !== undefined) ?? '',
    request.headers['user-agent'] ?? '',
  );
}

/** The user agent is read when it is asked for: by sign-ins, while the address is what each anonymous call is charged to. */
class RequestPeer implements Peer {
  readonly address: string;
  readonly #header: string;

  constructor(address: string, header: string) {
    this.address = address;
    this.#header = header;
  }

  get userAgent(): string {
    return readUserAgent(this.#header);
  }
}

function readUserAgent(header: string): string {
  // Node reads headers as latin1; who sends other characters sends UTF-8.
  const text = Buffer.from(header.slice(0, 4 * USER_AGENT_MAX), 'latin1').toString('utf8');
  return Array.from(oneLine(text)).slice(0, USER_AGENT_MAX).join('').trim();
}
