import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { type Algorithm, hash, verify } from '@node-rs/argon2';
import { Failure } from './failure.ts';

/** argon2id; the package declares a const enum, which type stripping cannot read. */
const ARGON2ID: Algorithm = 2;

/** OWASP's Password Storage Cheat Sheet, first choice for argon2id: 19 MiB, 2 passes, 1 lane (RFC 9106). */
const PARAMETERS = { algorithm: ARGON2ID, memoryCost: 19 * 1024, timeCost: 2, parallelism: 1, outputLen: 32 };

const PHC_PREFIX = `$argon2id$v=19$m=${PARAMETERS.memoryCost},t=${PARAMETERS.timeCost},p=${PARAMETERS.parallelism}$`;

/** How many wait for a core at the most; at 10 to 30 ms a hash that is a second or two. */
const WAITING_MAX = 128;

/** Hashes run on libuv's threads, of which signing tokens and unpacking requests need one too. */
const THREADS = Number(process.env['UV_THREADPOOL_SIZE']) || 4;
const HASHES_AT_ONCE = Math.max(1, Math.min(availableParallelism(), THREADS - 1));

/**
 * Hashes and verifies passwords, as many at once as there are cores and threads. Passwords
 * are compared in Unicode form NFC (RFC 8265, OpaqueString). Throws server_busy
 * when too many wait.
 */
export interface Passwords {
  /** PHC string with a fresh salt. */
  hash(password: string): Promise<string>;
  /**
   * Whether the password is the one hashed. Without a hash, for a user who does
   * not exist, it takes as long and says no.
   */
  verify(phc: string | undefined, password: string): Promise<boolean>;
  /** Whether the hash was made with other parameters than a new one would be. */
  isOutdated(phc: string): boolean;
}

/** Takes one hash's time, for the stand-in that unknown users are compared with. */
export async function createPasswords(): Promise<Passwords> {
  const gate = new Gate(HASHES_AT_ONCE, WAITING_MAX);
  const hashOf = (password: string) => gate.run(() => hash(password.normalize('NFC'), PARAMETERS));
  const standIn = await hashOf(randomBytes(32).toString('base64'));
  return {
    hash: hashOf,
    async verify(phc, password) {
      const right = await gate.run(() => verify(phc ?? standIn, password.normalize('NFC')));
      return right && phc !== undefined;
    },
    isOutdated: (phc) => !phc.startsWith(PHC_PREFIX),
  };
}

/** Lets a number of tasks run and a number wait, and turns the others away. */
class Gate {
  #free: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];

  constructor(free: number, waitingMax: number) {
    this.#free = free;
    this.#waitingMax = waitingMax;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await this.#turn();
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) {
      throw new Failure('server_busy', 'too many passwords are being checked: try again in a second');
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
