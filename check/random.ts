import { createHash } from 'node:crypto';

/**
 * Numbers that a seed determines: sfc32 of PractRand
 * (https://pracrand.sourceforge.net), whose state is a hash of the seed.
 */
export class Random {
  readonly #seed: string;
  readonly #state: Uint32Array;

  constructor(seed: string) {
    this.#seed = seed;
    const hash = createHash('sha256').update(seed).digest();
    this.#state = Uint32Array.from([0, 4, 8, 12], (offset) => hash.readUInt32LE(offset));
  }

  /** Other numbers, of the same seed: one for each actor, so that none disturbs another. */
  fork(name: string): Random {
    return new Random(`${this.#seed}/${name}`);
  }

  /** 32 random bits. */
  #bits(): number {
    const s = this.#state;
    const [a, b, c, counter] = [s[0]!, s[1]!, s[2]!, s[3]!];
    const sum = (a + b + counter) >>> 0;
    s[3] = counter + 1;
    s[0] = b ^ (b >>> 9);
    s[1] = c + (c << 3);
    s[2] = ((c << 21) | (c >>> 11)) + sum;
    return sum;
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor((this.#bits() / 2 ** 32) * (max - min + 1));
  }

  /** True in so many of one. */
  chance(probability: number): boolean {
    return this.#bits() / 2 ** 32 < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)]!;
  }

  /** One of the keys, as often as their weights say. */
  weighted<K extends string>(weights: Readonly<Partial<Record<K, number>>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.int(
      1,
      entries.reduce((sum, [, weight]) => sum + weight, 0),
    );
    for (const [key, weight] of entries) if ((left -= weight) <= 0) return key;
    throw new Error('unreachable: the weights add up');
  }

  /** A UUID, version 4. */
  uuid(): string {
    const hex = Array.from({ length: 4 }, () => this.#bits().toString(16).padStart(8, '0')).join('');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  }
}
