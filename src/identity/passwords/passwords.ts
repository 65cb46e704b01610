import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { type Algorithm, hash } from '@node-rs/argon2';
import { ConcurrencyLimiter } from '../../budget/concurrency-limiter.ts';
import type { Payer } from '../../budget/payer.ts';
import type { Tracing } from '../../tracing/tracing.ts';
import { readHash } from './hash-formats.ts';

/** argon2id; the package declares a const enum, which type stripping cannot read. */
const ARGON2ID: Algorithm = 2;

/** What a hash costs whoever makes or guesses it: KiB of memory, and passes over it. */
export interface PasswordCost {
  readonly memoryCost: number;
  readonly timeCost: number;
}

/** OWASP's Password Storage Cheat Sheet, first choice for argon2id: 19 MiB, 2 passes, parallelism 1 (RFC 9106). */
export const PASSWORD_COST: PasswordCost = { memoryCost: 19 * 1024, timeCost: 2 };

/** How many of one caller's wait for a core at the most, at 10 to 30 ms a hash, and how many of all callers'. */
const WAITING_PER_CALLER = 128;
const WAITING_MAX = 512;

/** How long one may wait, milliseconds: imported hashes can take a second each. */
const WAIT_MAX_MS = 10_000;

/** How long a hash takes until the first has been made, milliseconds: for what callers are told to wait. */
const HASH_MS = 20;

/** Hashes run on libuv's threads, of which signing tokens and unpacking requests need one too. */
const THREADS = Number(process.env['UV_THREADPOOL_SIZE']) || 4;

/** Who asks for a hash. */
export interface HashRequest {
  readonly payer: Payer;
  /** Ends the wait for a core. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Hashes and verifies passwords, as many at once as there are cores and threads. Passwords
 * are compared in Unicode form NFC (RFC 8265, OpaqueString), those of
 * imported hashes as they are typed too: other systems hash what they get.
 *
 * Callers take turns, so that none waits behind all the hashes of another. Both throw
 * budget_exceeded when too many of the caller's wait, server_busy when too many of all,
 * and the reason of a signal that is aborted while they wait.
 */
export interface Passwords {
  /** PHC string with a fresh salt. */
  hash(password: string, by: HashRequest): Promise<string>;
  /**
   * Whether the password is the one hashed, here or in one of the formats that are imported. Without
   * a hash, for a user who does not exist, it takes as long as with one made here and says no.
   */
  verify(phc: string | undefined, password: string, by: HashRequest): Promise<boolean>;
  /** Whether the hash was made with another function or other parameters than a new one would be. */
  isOutdated(phc: string): boolean;
  /** What waits for a core, for metrics. */
  readonly limiter: ConcurrencyLimiter;
}

/**
 * @param workers how many processes share the cores
 * @param cost of new hashes; lower in tests of other things
 * @param tracing makes spans of what is hashed and verified for traced calls; default none
 */
export function createPasswords({
  workers = 1,
  cost = PASSWORD_COST,
  tracing,
}: {
  readonly workers?: number;
  readonly cost?: PasswordCost | undefined;
  readonly tracing?: Tracing | undefined;
} = {}): Passwords {
  const parameters = { ...cost, algorithm: ARGON2ID, parallelism: 1, outputLen: 32 };
  // What is written below: these parameters, 16 bytes of salt, 32 of hash.
  const ownHash = new RegExp(
    `^\\$argon2id\\$v=19\\$m=${cost.memoryCost},t=${cost.timeCost},p=1\\$[A-Za-z0-9+/]{22}\\$[A-Za-z0-9+/]{43}$`,
  );
  const isOwn = (phc: string): boolean => ownHash.test(phc);
  const limit = Math.max(1, Math.min(Math.floor(availableParallelism() / workers), THREADS - 1));
  const makeHash = (password: string) => hash(password.normalize('NFC'), parameters);
  // What unknown users are compared with: as good as a hash of a password that nobody knows, which a start would wait for.
  const standIn = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=1$${base64(16)}$${base64(32)}`;
  const limiter = new ConcurrencyLimiter({
    name: 'password_hashes',
    running: limit,
    runningPerCaller: limit,
    waiting: WAITING_MAX,
    waitingPerCaller: WAITING_PER_CALLER,
    waitMaxMs: WAIT_MAX_MS,
    taskMs: HASH_MS,
  });
  const passwords: Passwords = {
    hash: (password, { payer, signal }) => limiter.run(payer, () => makeHash(password), signal),
    async verify(phc, password, { payer, signal }) {
      const isRight = readHash(phc ?? standIn);
      if (isRight === undefined) throw new Error('a stored password hash cannot be read');
      const nfc = password.normalize('NFC');
      const right = await limiter.run(
        payer,
        async () => (await isRight(nfc)) || (nfc !== password && !isOwn(phc ?? standIn) && (await isRight(password))),
        signal,
      );
      return right && phc !== undefined;
    },
    isOutdated: (phc) => !isOwn(phc),
    limiter,
  };
  return tracing === undefined ? passwords : traced(passwords, tracing);
}

/** Random bytes, as a PHC string writes them: without padding. */
function base64(bytes: number): string {
  return randomBytes(bytes).toString('base64').replaceAll('=', '');
}

/** With spans that last from when a hash is asked for until it is there: waiting for a core counts. */
function traced(passwords: Passwords, tracing: Tracing): Passwords {
  return {
    ...passwords,
    hash: (password, by) =>
      tracing.run(
        () => ({ name: 'hash password' }),
        () => passwords.hash(password, by),
      ),
    verify: (phc, password, by) =>
      tracing.run(
        () => ({ name: 'verify password' }),
        () => passwords.verify(phc, password, by),
      ),
  };
}
