import type { IncomingHttpHeaders } from 'node:http';
import { addressPayer, type Payer } from '../budget/payer.ts';
import { readPeer } from './peer.ts';
import { forwardedBy } from './fast-path.ts';

/** Whom a request is charged to before anything is done for it, by its headers and the address of its peer. */
export type RequestPayer = (headers: IncomingHttpHeaders, peer: string | undefined) => Payer;

/**
 * `recall` says whose a token is that was verified before. Any other token may be made up, each request with
 * another: such requests count as those of their address.
 */
export function createRequestPayer(
  isProxy: (address: string | undefined) => boolean,
  recall: (bearer: string) => Payer | undefined,
): RequestPayer {
  return (headers, peer = '') => {
    const known = recallBearer(headers.authorization, recall);
    if (known !== undefined) return known;
    const ips = forwardedBy(peer, headers['x-forwarded-for'], isProxy);
    return addressPayer(readPeer({ ips, headers: {} }).address);
  };
}

/** Whose the bearer token of a header is, where `recall` knows that. */
export function recallBearer(
  authorization: string | undefined,
  recall: (bearer: string) => Payer | undefined,
): Payer | undefined {
  return authorization?.startsWith('Bearer ') === true ? recall(authorization.slice(7)) : undefined;
}
