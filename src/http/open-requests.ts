import { Budget, type BudgetLimits, type Charge } from '../budget/budget.ts';
import { addressPayer } from '../budget/payer.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What a request takes besides its headers, from its begin until it is closed: its objects and its place in a queue. */
export const REQUEST_BYTES = 4 * KIB;

/** What an HTTP/2 stream takes besides, in nghttp2 and in Node. */
export const STREAM_BYTES = 4 * KIB;

/** How much of a body arrives before anybody reads it: the window that HTTP/2 streams begin with, bytes. */
export const BODY_WINDOW = 16 * KIB;

/** How long the names and values of headers are together, as Node gives them, characters. */
export function headerLength(rawHeaders: readonly string[]): number {
  let length = 0;
  for (const text of rawHeaders) length += text.length;
  return length;
}

/**
 * What requests hold that are open: served, waiting to be, or answered and not yet taken. An address may hold half
 * of it: some 4,000 requests, or 1,300 with bodies that are still to come.
 */
export const OPEN_REQUESTS_PER_ADDRESS = 32 * MIB;
const LIMITS: BudgetLimits = {
  name: 'open_requests',
  perCaller: OPEN_REQUESTS_PER_ADDRESS,
  total: 64 * MIB,
  strangers: 64 * MIB,
  little: 256 * KIB,
};

export function createOpenRequestsBudget(): Budget {
  return new Budget(LIMITS);
}

/**
 * Charges what open requests hold, each for its headers, its body and itself, whatever becomes of it: also the one that
 * is refused holds them until its answer is taken. Who asks is not known yet, so the address pays; where that is a
 * proxy's, each connection pays for itself.
 */
export class OpenRequests {
  readonly #budget: Budget;
  readonly #isProxy: (address: string | undefined) => boolean;
  #proxied = 0;

  constructor(budget: Budget, isProxy: (address: string | undefined) => boolean) {
    this.#budget = budget;
    this.#isProxy = isProxy;
  }

  /** What the requests of one connection are charged to. */
  openConnection(address: string | undefined): Charge {
    if (!this.#isProxy(address)) return this.#budget.charge(addressPayer(address ?? ''), 0);
    this.#proxied += 1;
    return this.#budget.charge(`proxied:${this.#proxied}`, 0);
  }
}
