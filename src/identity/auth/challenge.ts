import type { SignInMethod } from '../../kernel/access.ts';
import { latestBelievable } from '../../kernel/clock.ts';
import { Failure } from '../../kernel/failure.ts';
import type { Keyring } from '../../kernel/keyring.ts';
import { bytesOfUuid, signedTokens, UUID_BYTES, uuidAt } from '../../kernel/signed-token.ts';

/** How long a sign-in may take from the password to its end, milliseconds. */
export const CHALLENGE_MS = 10 * 60 * 1000;

const NUMBER_BYTES = 8;
const PROVED_BYTES = 1;
const BYTES = UUID_BYTES + 2 * NUMBER_BYTES + PROVED_BYTES;

const tokens = signedTokens({ purpose: 'login-challenge', prefix: 'kith_lc_', bytes: BYTES });

/** The bit of each method. */
const BITS: Readonly<Record<SignInMethod, number>> = { pwd: 1, otp: 2, recovery: 4, mail: 8 };

/** A sign-in that is not complete. */
export interface Challenge {
  readonly userId: string;
  /** The user's session epoch when the password or mailed code was right: a new password or state since ends the sign-in. */
  readonly sessionEpoch: number;
  /** The methods used so far. */
  readonly methods: readonly SignInMethod[];
  /** Milliseconds since 1970. */
  readonly expireMs: number;
}

/** A challenge with an HMAC-SHA256 over it, so that the server stores nothing about an incomplete sign-in. */
export function writeChallenge(keyring: Keyring, { userId, sessionEpoch, methods, expireMs }: Challenge): string {
  const bytes = Buffer.alloc(BYTES);
  bytesOfUuid(userId).copy(bytes);
  bytes.writeBigUInt64BE(BigInt(sessionEpoch), UUID_BYTES);
  bytes.writeBigUInt64BE(BigInt(expireMs), UUID_BYTES + NUMBER_BYTES);
  bytes.writeUInt8(
    methods.reduce((bits, method) => bits | BITS[method], 0),
    BYTES - PROVED_BYTES,
  );
  return tokens.write(keyring, bytes);
}

/** Throws challenge_invalid for a text that writeChallenge did not write, for an expired challenge, and for one issued before the clock was set back. */
export function readChallenge(keyring: Keyring, token: string, nowMs: number): Challenge {
  const bytes = tokens.read(keyring, token);
  if (bytes === undefined) throw challengeInvalid();
  const expireMs = Number(bytes.readBigUInt64BE(UUID_BYTES + NUMBER_BYTES));
  if (expireMs <= nowMs || expireMs > latestBelievable(CHALLENGE_MS, nowMs)) throw challengeInvalid();
  const proved = bytes.readUInt8(BYTES - PROVED_BYTES);
  return {
    userId: uuidAt(bytes),
    sessionEpoch: Number(bytes.readBigUInt64BE(UUID_BYTES)),
    methods: (Object.keys(BITS) as SignInMethod[]).filter((method) => (proved & BITS[method]) !== 0),
    expireMs,
  };
}

export function challengeInvalid(): Failure {
  return new Failure('challenge_invalid', 'the sign-in is over, or has taken too long: sign in again');
}
