import type { SignInMethod } from '../../kernel/access.ts';
import { latestBelievable } from '../../kernel/clock.ts';
import { Failure } from '../../kernel/failure.ts';
import { equalBytes, type Keyring } from '../../kernel/keyring.ts';

/** Tells a challenge token apart, for people and for scanners that look for leaked secrets. */
const PREFIX = 'kith_lc_';

/** How long a sign-in may take from the password to its end, milliseconds. */
export const CHALLENGE_MS = 10 * 60 * 1000;

const ID_BYTES = 16;
const NUMBER_BYTES = 8;
const PROVED_BYTES = 1;
const MAC_BYTES = 32;
const BYTES = ID_BYTES + 2 * NUMBER_BYTES + PROVED_BYTES;

/** The bit of each method. */
const BITS: Readonly<Record<SignInMethod, number>> = { pwd: 1, otp: 2, recovery: 4 };

/** A sign-in that is not complete. */
export interface Challenge {
  readonly userId: string;
  /** The user's session epoch when the password was right: a new password or state since ends the sign-in. */
  readonly sessionEpoch: number;
  /** The methods used so far. */
  readonly methods: readonly SignInMethod[];
  /** Milliseconds since 1970. */
  readonly expireMs: number;
}

/** A challenge with an HMAC-SHA256 over it, so that the server stores nothing about an incomplete sign-in. */
export function writeChallenge(keyring: Keyring, { userId, sessionEpoch, methods, expireMs }: Challenge): string {
  const bytes = Buffer.alloc(BYTES);
  bytes.write(userId.replaceAll('-', ''), 'hex');
  bytes.writeBigUInt64BE(BigInt(sessionEpoch), ID_BYTES);
  bytes.writeBigUInt64BE(BigInt(expireMs), ID_BYTES + NUMBER_BYTES);
  bytes.writeUInt8(
    methods.reduce((bits, method) => bits | BITS[method], 0),
    BYTES - PROVED_BYTES,
  );
  return PREFIX + Buffer.concat([bytes, keyring.mac('login-challenge', bytes)]).toString('base64url');
}

/** Throws challenge_invalid for a text that writeChallenge did not write, for an expired challenge, and for one issued before the clock was set back. */
export function readChallenge(keyring: Keyring, token: string, nowMs: number): Challenge {
  const all = Buffer.from(token.slice(PREFIX.length), 'base64url');
  const bytes = all.subarray(0, BYTES);
  if (
    // Decoding skips what is not base64url; only one spelling is what was given out.
    token !== PREFIX + all.toString('base64url') ||
    all.length !== BYTES + MAC_BYTES ||
    !equalBytes(all.subarray(BYTES), keyring.mac('login-challenge', bytes))
  ) {
    throw challengeInvalid();
  }
  const expireMs = Number(bytes.readBigUInt64BE(ID_BYTES + NUMBER_BYTES));
  if (expireMs <= nowMs || expireMs > latestBelievable(CHALLENGE_MS, nowMs)) throw challengeInvalid();
  const proved = bytes.readUInt8(BYTES - PROVED_BYTES);
  return {
    userId: bytes.toString('hex', 0, ID_BYTES).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    sessionEpoch: Number(bytes.readBigUInt64BE(ID_BYTES)),
    methods: (Object.keys(BITS) as SignInMethod[]).filter((method) => (proved & BITS[method]) !== 0),
    expireMs,
  };
}

export function challengeInvalid(): Failure {
  return new Failure('challenge_invalid', 'the sign-in is over, or has taken too long: sign in again');
}
