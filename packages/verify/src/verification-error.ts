/**
 * Why a token was not accepted.
 *
 * - `token_expired`: the caller refreshes it.
 * - `token_invalid`: not an access token of this issuer for this audience.
 * - `token_revoked`: its session or API key has ended, or its user may not sign in any more.
 * - `keys_unavailable`: the issuer's keys could not be fetched, so nothing can be said about the token.
 * - `revocations_stale`: nothing was heard of revocations for too long, so the token may have been revoked.
 *
 * The first three are the caller's (HTTP 401, gRPC UNAUTHENTICATED), the others the
 * service's own (HTTP 503, gRPC UNAVAILABLE).
 */
export type VerificationReason =
  | 'token_expired'
  | 'token_invalid'
  | 'token_revoked'
  | 'keys_unavailable'
  | 'revocations_stale';

/** A token that was not accepted. The message is for developers and holds nothing of the token. */
export class VerificationError extends Error {
  override readonly name = 'VerificationError';
  readonly reason: VerificationReason;
  /** Whether the service could not tell, rather than the token being bad: the same may be accepted a moment later. */
  readonly isTemporary: boolean;

  constructor(reason: VerificationReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.isTemporary = reason === 'keys_unavailable' || reason === 'revocations_stale';
  }
}
