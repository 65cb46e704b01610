/**
 * Why a call is refused. A closed set: rpc/errors.ts gives each its status code
 * and its reason in the contract, and the compiler checks that none is missing.
 */
export type FailureReason =
  | 'access_token_expired'
  | 'access_token_invalid'
  | 'access_token_missing'
  | 'action_reserved'
  | 'activity_id_taken'
  | 'api_key_invalid'
  | 'api_key_limit_reached'
  | 'api_key_not_found'
  | 'api_key_required'
  | 'budget_exceeded'
  | 'challenge_invalid'
  | 'challenge_step_wrong'
  | 'consumer_too_slow'
  | 'contact_empty'
  | 'contact_limit_reached'
  | 'contact_not_found'
  | 'credentials_invalid'
  | 'cursor_expired'
  | 'cursor_invalid'
  | 'deadline_exceeded'
  | 'email_taken'
  | 'encoding_unsupported'
  | 'etag_mismatch'
  | 'field_needs_permission'
  | 'field_unknown'
  | 'fresh_sign_in_required'
  | 'last_admin'
  | 'malformed_request'
  | 'method_unknown'
  | 'page_token_invalid'
  | 'password_hash_unsupported'
  | 'password_is_identifier'
  | 'password_too_common'
  | 'password_unchanged'
  | 'password_wrong'
  | 'permission_missing'
  | 'refresh_token_invalid'
  | 'refresh_token_reused'
  | 'request_id_reused'
  | 'request_too_large'
  | 'resource_deleted'
  | 'resource_not_deleted'
  | 'second_factor_enabled'
  | 'second_factor_not_enabled'
  | 'second_factor_wrong'
  | 'server_busy'
  | 'server_unavailable'
  | 'service_unknown'
  | 'session_ended'
  | 'session_not_found'
  | 'session_required'
  | 'too_many_attempts'
  | 'totp_code_wrong'
  | 'totp_not_enrolled'
  | 'user_not_found'
  | 'username_taken';

/**
 * A refusal, as opposed to a fault. The message reaches the caller: it tells a
 * developer what to do next, names no table and echoes no secret.
 */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly reason: FailureReason;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(reason: FailureReason, message: string, metadata: Record<string, string> = {}, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.metadata = metadata;
  }
}
