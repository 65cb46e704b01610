import { Failure } from '../../kernel/failure.ts';
import type { Keyring } from '../../kernel/keyring.ts';
import { bytesOfUuid, signedTokens, UUID_BYTES, uuidAt } from '../../kernel/signed-token.ts';

const COUNTER_BYTES = 4;

const tokens = signedTokens({ purpose: 'refresh-token', prefix: 'kith_rt_', bytes: UUID_BYTES + COUNTER_BYTES });

/** The n-th refresh token of a session. */
export interface RefreshStep {
  readonly sessionId: string;
  /** Counts from 0; the session remembers the newest. */
  readonly counter: number;
}

/**
 * A refresh token: session id, counter and an HMAC-SHA256 over both. The same
 * step always gives the same token, so the database holds no secret, and a
 * client that lost an answer can be given it again.
 */
export function writeRefreshToken(keyring: Keyring, { sessionId, counter }: RefreshStep): string {
  const step = Buffer.alloc(UUID_BYTES + COUNTER_BYTES);
  bytesOfUuid(sessionId).copy(step);
  step.writeUInt32BE(counter, UUID_BYTES);
  return tokens.write(keyring, step);
}

/** Throws refresh_token_invalid for anything that writeRefreshToken did not write. */
export function readRefreshToken(keyring: Keyring, token: string): RefreshStep {
  const step = tokens.read(keyring, token);
  if (step === undefined) {
    throw new Failure('refresh_token_invalid', 'the refresh token is not one of this server: sign in');
  }
  return { sessionId: uuidAt(step), counter: step.readUInt32BE(UUID_BYTES) };
}
