import { addressPayer } from '../budget/payer.ts';

/** How many of the connections are left to addresses that hold few: one tenth. */
const RESERVED_PART = 10;

/** What an address may hold of those that are reserved. */
const FEW = 4;

export interface ConnectionLimits {
  /** Open at once. */
  readonly max: number;
  /** Open at once from one address; IPv6 counts as its /64. */
  readonly perAddress: number;
  /** Whether an address is that of a proxy, which stands for many and is not limited by itself. */
  readonly isProxy: (address: string | undefined) => boolean;
}

/**
 * Who holds how many of the connections. One address has a share at the most, and the last
 * tenth goes to addresses that hold few: whoever takes all that can be had leaves room for
 * others, and for the probes that say whether the process lives.
 */
export class ConnectionShares {
  readonly #limits: ConnectionLimits;
  readonly #held = new Map<string, number>();
  #open = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** How many are open. */
  get open(): number {
    return this.#open;
  }

  /** Takes a connection, and says how to give it back; undefined where it is to be refused. */
  take(address: string | undefined): (() => void) | undefined {
    const { max, perAddress, isProxy } = this.#limits;
    const key = addressPayer(address ?? '');
    const held = this.#held.get(key) ?? 0;
    const isReserved = this.#open >= max - Math.floor(max / RESERVED_PART);
    if (this.#open >= max || (isReserved && held >= FEW)) return undefined;
    if (held >= perAddress && !isProxy(address)) return undefined;
    this.#held.set(key, held + 1);
    this.#open += 1;
    return () => {
      this.#open -= 1;
      const left = (this.#held.get(key) ?? 1) - 1;
      if (left > 0) this.#held.set(key, left);
      else this.#held.delete(key);
    };
  }
}
