import { isIP } from 'node:net';
import type { Caller } from '../access.ts';
import { countedAddress } from '../address.ts';

/**
 * Whom a budget charges: the signed-in user, the API key, or, for a call that nobody
 * has signed in for, the address it comes from. The key of every share.
 */
export type Payer = string;

const STRANGER = 'address:';

/** The payer of a call. `address` is the canonical one of the client; IPv6 counts as its /64. */
export function payerOf(caller: Caller | undefined, address: string): Payer {
  if (caller === undefined) return addressPayer(address);
  return caller.kind === 'api_key' ? `key:${caller.sessionId}` : `user:${caller.userId}`;
}

/** The payer of what comes from an address before it is known who calls. */
export function addressPayer(address: string): Payer {
  return STRANGER + (isIP(address) === 0 ? address : countedAddress(address));
}

/** Whether nobody has signed in for what the payer asks for. */
export function isStranger(payer: Payer): boolean {
  return payer.startsWith(STRANGER);
}
