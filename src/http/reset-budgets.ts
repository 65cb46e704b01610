import { LRUCache } from 'lru-cache';
import { addressPayer } from '../budget/payer.ts';
import type { Clock } from '../kernel/clock.ts';

export interface ResetLimits {
  /** Streams of one address that may be reset at once, and in the long run. */
  readonly burst: number;
  readonly perSecond: number;
  /** Whether an address is that of a proxy, which stands for many and is not limited by itself. */
  readonly isProxy: (address: string | undefined) => boolean;
  /** A clock that only goes forward, milliseconds. */
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** The longest debt of an address, and how soon after a flood the next one makes it, seconds. */
const DEBT_S = 60;

/** Addresses that are remembered; one that is forgotten has all of its budget. */
const ADDRESSES_MAX = 10_000;

/**
 * How many HTTP/2 streams each address may have reset, over all of its connections: nghttp2 counts them for each
 * connection alone, and whoever opens another one begins anew (CVE-2023-44487). A token bucket for each address;
 * IPv6 counts as its /64.
 */
export class ResetBudgets {
  readonly #limits: ResetLimits;
  readonly #buckets = new LRUCache<string, ResetBudget>({ max: ADDRESSES_MAX });

  constructor(limits: ResetLimits) {
    this.#limits = limits;
  }

  /** What the resets of a connection are taken off: what its address has, and of a proxy's connections no end. */
  ofConnection(address: string | undefined): ResetBudget | undefined {
    if (this.#limits.isProxy(address)) return undefined;
    const key = addressPayer(address ?? '');
    let budget = this.#buckets.get(key);
    if (budget === undefined) {
      budget = new ResetBudget(this.#limits);
      this.#buckets.set(key, budget);
    }
    return budget;
  }
}

/** What one address has left. */
class ResetBudget {
  readonly #limits: ResetLimits;
  #left: number;
  #filledMs: number;
  #floodMs = -Infinity;

  constructor(limits: ResetLimits) {
    this.#limits = limits;
    this.#left = limits.burst;
    this.#filledMs = limits.clock.monotonic();
  }

  /** Takes one reset off. */
  spend(): void {
    this.#fill();
    if (this.#left > 0) this.#left = Math.max(0, this.#left - 1);
  }

  /** Notes a session that was ended for a flood. At the second one in a minute nothing is left for a minute, whatever comes. */
  chargeFlood(): void {
    this.#fill();
    const nowMs = this.#limits.clock.monotonic();
    if (nowMs - this.#floodMs < DEBT_S * 1000) this.#left = 1 - DEBT_S * this.#limits.perSecond;
    this.#floodMs = nowMs;
  }

  /**
   * Takes off what a second gives for a session that was ended because nothing was left: whoever comes back at once is
   * not let in again and again, for as much as it sends until it is ended.
   */
  chargeEndedSession(): void {
    this.#owe(this.#limits.perSecond);
  }

  /** Takes off three quarters of the burst for a session that was ended because it may be a flood: the second makes a debt. */
  chargeSuspect(): void {
    this.#owe(0.75 * this.#limits.burst);
  }

  /** Takes one off for a session that was not let in, so that a debt is made up only by coming less often. */
  chargeRefusedSession(): void {
    this.#owe(1);
  }

  /** Takes off more than there is, down to a debt of a minute. */
  #owe(resets: number): void {
    this.#fill();
    this.#left = Math.max(this.#left - resets, -DEBT_S * this.#limits.perSecond);
  }

  /** Whether more was taken off than there was, and that is not made up for. */
  get isInDebt(): boolean {
    if (this.#left < 0) this.#fill();
    return this.#left < 0;
  }

  get isSpent(): boolean {
    if (this.#left < 1) this.#fill();
    return this.#left < 1;
  }

  #fill(): void {
    const { burst, perSecond, clock } = this.#limits;
    const now = clock.monotonic();
    this.#left = Math.min(burst, this.#left + ((now - this.#filledMs) / 1000) * perSecond);
    this.#filledMs = now;
  }
}
