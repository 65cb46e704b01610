import { LRUCache } from 'lru-cache';
import { addressPayer } from '../budget/payer.ts';

export interface ResetLimits {
  /** Streams of one address that may be reset at once, and in the long run. */
  readonly burst: number;
  readonly perSecond: number;
  /** Whether an address is that of a proxy, which stands for many and is not limited by itself. */
  readonly isProxy: (address: string | undefined) => boolean;
  /** A clock that only goes forward, milliseconds. */
  readonly monotonic: () => number;
}

/** Addresses that are remembered; one that is forgotten has all of its budget. */
const ADDRESSES_MAX = 10_000;

interface Bucket {
  left: number;
  filledMs: number;
}

/**
 * How many HTTP/2 streams each address may have reset, over all of its connections: nghttp2 counts them for each
 * connection alone, and whoever opens another one begins anew (CVE-2023-44487). A token bucket for each address;
 * IPv6 counts as its /64.
 */
export class ResetBudgets {
  readonly #limits: ResetLimits;
  readonly #buckets = new LRUCache<string, Bucket>({ max: ADDRESSES_MAX });

  constructor(limits: ResetLimits) {
    this.#limits = limits;
  }

  /** Takes one reset, or several, off what an address has left. */
  spend(address: string | undefined, resets = 1): void {
    if (this.#limits.isProxy(address)) return;
    const bucket = this.#bucketOf(address ?? '');
    bucket.left = Math.max(0, bucket.left - resets);
  }

  /** Whether an address has nothing left. */
  isSpent(address: string | undefined): boolean {
    const bucket = this.#buckets.peek(addressPayer(address ?? ''));
    if (bucket === undefined || bucket.left >= 1) return false;
    return this.#bucketOf(address ?? '').left < 1;
  }

  #bucketOf(address: string): Bucket {
    const { burst, perSecond, monotonic } = this.#limits;
    const key = addressPayer(address);
    const now = monotonic();
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = { left: burst, filledMs: now };
      this.#buckets.set(key, bucket);
    }
    bucket.left = Math.min(burst, bucket.left + ((now - bucket.filledMs) / 1000) * perSecond);
    bucket.filledMs = now;
    return bucket;
  }
}
