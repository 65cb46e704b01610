import { Failure } from '../../kernel/failure.ts';
import { equalBytes, type Keyring } from '../../kernel/keyring.ts';

/** Tells a refresh token apart, for people and for scanners that look for leaked secrets. */
const PREFIX = 'kith_rt_';
const ID_BYTES = 16;
const COUNTER_BYTES = 4;
const MAC_BYTES = 32;

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
  const step = Buffer.alloc(ID_BYTES + COUNTER_BYTES);
  step.write(sessionId.replaceAll('-', ''), 'hex');
  step.writeUInt32BE(counter, ID_BYTES);
  return PREFIX + Buffer.concat([step, keyring.mac('refresh-token', step)]).toString('base64url');
}

/** Throws refresh_token_invalid for anything that writeRefreshToken did not write. */
export function readRefreshToken(keyring: Keyring, token: string): RefreshStep {
  const bytes = Buffer.from(token.slice(PREFIX.length), 'base64url');
  const step = bytes.subarray(0, ID_BYTES + COUNTER_BYTES);
  const mac = bytes.subarray(ID_BYTES + COUNTER_BYTES);
  if (
    // Decoding skips what is not base64url; only one spelling is what was given out.
    token !== PREFIX + bytes.toString('base64url') ||
    bytes.length !== ID_BYTES + COUNTER_BYTES + MAC_BYTES ||
    !equalBytes(mac, keyring.mac('refresh-token', step))
  ) {
    throw new Failure('refresh_token_invalid', 'the refresh token is not one of this server: sign in');
  }
  const hex = step.toString('hex', 0, ID_BYTES);
  return {
    sessionId: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    counter: step.readUInt32BE(ID_BYTES),
  };
}
