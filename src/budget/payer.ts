import type { Caller } from '../kernel/access.ts';
import { canonicalAddress, countedAddress } from '../kernel/address.ts';

/**
 * Whom a budget charges: the signed-in user, the owner of the API key, or, for an anonymous call,
 * the address that it comes from. Budgets and queues use it as their key.
 */
export type Payer = string;

const STRANGER = 'address:';

/** The payer of a call. `address` is the canonical one of the client; IPv6 counts as its /64. */
export function payerOf(caller: Caller | undefined, address: string): Payer {
  return caller === undefined ? addressPayer(address) : callerPayer(caller);
}

/** Callers are cached as long as their tokens are valid; so are their payers. */
const payers = new WeakMap<Caller, Payer>();

/** The payer of the calls of somebody who has signed in. */
export function callerPayer(caller: Caller): Payer {
  let payer = payers.get(caller);
  if (payer === undefined) {
    payer = userPayer(caller.userId);
    payers.set(caller, payer);
  }
  return payer;
}

/**
 * The payer of the calls of a user's sessions and API keys: one for all, since a user may have
 * a hundred keys, which would otherwise be a hundred shares.
 */
export function userPayer(userId: string): Payer {
  return `user:${userId}`;
}

/** The payer of what comes from an address before it is known who calls. */
export function addressPayer(address: string): Payer {
  const canonical = canonicalAddress(address);
  return STRANGER + (canonical === undefined ? address : countedAddress(canonical));
}

/** The payer of a sign-in that comes from a known address of the user, or that has passed the password. */
export function signInPayer(userId: string): Payer {
  return `sign-in:${userId}`;
}

/** The payer of a session whose user is not known yet. */
export function sessionPayer(sessionId: string): Payer {
  return `session:${sessionId}`;
}

/** Whether the payer is an address: an anonymous caller. */
export function isStranger(payer: Payer): boolean {
  return payer.startsWith(STRANGER);
}
