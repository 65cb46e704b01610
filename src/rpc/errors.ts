import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Code, ConnectError } from '@connectrpc/connect';
import { ErrorDetailSchema, ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';
import { Failure, type FailureReason } from '../kernel/failure.ts';

/** The status code and the reason in the contract of each way to be refused. */
const REFUSALS = {
  access_token_expired: [Code.Unauthenticated, ErrorReason.ACCESS_TOKEN_EXPIRED],
  access_token_invalid: [Code.Unauthenticated, ErrorReason.ACCESS_TOKEN_INVALID],
  access_token_missing: [Code.Unauthenticated, ErrorReason.ACCESS_TOKEN_MISSING],
  action_reserved: [Code.InvalidArgument, ErrorReason.ACTION_RESERVED],
  activity_id_taken: [Code.AlreadyExists, ErrorReason.ACTIVITY_ID_TAKEN],
  api_key_invalid: [Code.Unauthenticated, ErrorReason.API_KEY_INVALID],
  api_key_limit_reached: [Code.ResourceExhausted, ErrorReason.API_KEY_LIMIT_REACHED],
  api_key_not_found: [Code.NotFound, ErrorReason.API_KEY_NOT_FOUND],
  api_key_required: [Code.PermissionDenied, ErrorReason.API_KEY_REQUIRED],
  budget_exceeded: [Code.ResourceExhausted, ErrorReason.BUDGET_EXCEEDED],
  challenge_invalid: [Code.Unauthenticated, ErrorReason.CHALLENGE_INVALID],
  challenge_step_wrong: [Code.InvalidArgument, ErrorReason.CHALLENGE_STEP_WRONG],
  consumer_too_slow: [Code.ResourceExhausted, ErrorReason.CONSUMER_TOO_SLOW],
  contact_empty: [Code.InvalidArgument, ErrorReason.CONTACT_EMPTY],
  contact_limit_reached: [Code.ResourceExhausted, ErrorReason.CONTACT_LIMIT_REACHED],
  contact_not_found: [Code.NotFound, ErrorReason.CONTACT_NOT_FOUND],
  credentials_invalid: [Code.Unauthenticated, ErrorReason.CREDENTIALS_INVALID],
  cursor_expired: [Code.OutOfRange, ErrorReason.CURSOR_EXPIRED],
  cursor_invalid: [Code.InvalidArgument, ErrorReason.CURSOR_INVALID],
  deadline_exceeded: [Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED],
  email_taken: [Code.AlreadyExists, ErrorReason.EMAIL_TAKEN],
  encoding_unsupported: [Code.Unimplemented, ErrorReason.ENCODING_UNSUPPORTED],
  etag_mismatch: [Code.Aborted, ErrorReason.ETAG_MISMATCH],
  field_needs_permission: [Code.PermissionDenied, ErrorReason.FIELD_NEEDS_PERMISSION],
  field_unknown: [Code.InvalidArgument, ErrorReason.FIELD_UNKNOWN],
  fresh_sign_in_required: [Code.Unauthenticated, ErrorReason.FRESH_SIGN_IN_REQUIRED],
  last_admin: [Code.FailedPrecondition, ErrorReason.LAST_ADMIN],
  malformed_request: [Code.InvalidArgument, ErrorReason.MALFORMED_REQUEST],
  method_unknown: [Code.Unimplemented, ErrorReason.METHOD_UNKNOWN],
  page_token_invalid: [Code.InvalidArgument, ErrorReason.PAGE_TOKEN_INVALID],
  password_hash_unsupported: [Code.InvalidArgument, ErrorReason.PASSWORD_HASH_UNSUPPORTED],
  password_is_identifier: [Code.InvalidArgument, ErrorReason.PASSWORD_IS_IDENTIFIER],
  password_too_common: [Code.InvalidArgument, ErrorReason.PASSWORD_TOO_COMMON],
  password_unchanged: [Code.InvalidArgument, ErrorReason.PASSWORD_UNCHANGED],
  password_wrong: [Code.PermissionDenied, ErrorReason.PASSWORD_WRONG],
  permission_missing: [Code.PermissionDenied, ErrorReason.PERMISSION_MISSING],
  refresh_token_invalid: [Code.Unauthenticated, ErrorReason.REFRESH_TOKEN_INVALID],
  refresh_token_reused: [Code.Unauthenticated, ErrorReason.REFRESH_TOKEN_REUSED],
  request_id_reused: [Code.InvalidArgument, ErrorReason.REQUEST_ID_REUSED],
  request_too_large: [Code.ResourceExhausted, ErrorReason.REQUEST_TOO_LARGE],
  resource_deleted: [Code.FailedPrecondition, ErrorReason.RESOURCE_DELETED],
  resource_not_deleted: [Code.FailedPrecondition, ErrorReason.RESOURCE_NOT_DELETED],
  second_factor_enabled: [Code.FailedPrecondition, ErrorReason.SECOND_FACTOR_ENABLED],
  second_factor_not_enabled: [Code.FailedPrecondition, ErrorReason.SECOND_FACTOR_NOT_ENABLED],
  second_factor_wrong: [Code.Unauthenticated, ErrorReason.SECOND_FACTOR_WRONG],
  server_busy: [Code.ResourceExhausted, ErrorReason.SERVER_BUSY],
  server_unavailable: [Code.Unavailable, ErrorReason.SERVER_UNAVAILABLE],
  service_unknown: [Code.NotFound, ErrorReason.SERVICE_UNKNOWN],
  session_ended: [Code.Unauthenticated, ErrorReason.SESSION_ENDED],
  session_not_found: [Code.NotFound, ErrorReason.SESSION_NOT_FOUND],
  session_required: [Code.PermissionDenied, ErrorReason.SESSION_REQUIRED],
  too_many_attempts: [Code.ResourceExhausted, ErrorReason.TOO_MANY_ATTEMPTS],
  totp_code_wrong: [Code.PermissionDenied, ErrorReason.TOTP_CODE_WRONG],
  totp_not_enrolled: [Code.FailedPrecondition, ErrorReason.TOTP_NOT_ENROLLED],
  user_not_found: [Code.NotFound, ErrorReason.USER_NOT_FOUND],
  username_taken: [Code.AlreadyExists, ErrorReason.USERNAME_TAKEN],
} satisfies Record<FailureReason, readonly [Code, ErrorReason]>;

/** The messages that the details of an error can hold. */
export const ERROR_DETAILS: readonly DescMessage[] = [ErrorDetailSchema, ViolationsSchema];

/** The reasons of errors that Connect itself makes, by their code. */
const REASON_OF_CODE: Partial<Record<Code, ErrorReason>> = {
  [Code.InvalidArgument]: ErrorReason.MALFORMED_REQUEST,
  [Code.ResourceExhausted]: ErrorReason.REQUEST_TOO_LARGE,
  [Code.Unimplemented]: ErrorReason.ENCODING_UNSUPPORTED,
  [Code.DeadlineExceeded]: ErrorReason.DEADLINE_EXCEEDED,
  [Code.Canceled]: ErrorReason.CANCELED,
  [Code.Unavailable]: ErrorReason.SERVER_UNAVAILABLE,
};

/** What a caller is answered for anything thrown. A fault keeps its error as `cause`, which does not travel. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof Failure) {
    const [code, reason] = REFUSALS[error.reason];
    return withReason(new ConnectError(error.message, code, undefined, undefined, error), reason, error.metadata);
  }
  if (error instanceof ConnectError && error.code !== Code.Internal && error.code !== Code.Unknown) {
    return explained(error);
  }
  return withReason(
    new ConnectError('internal error', Code.Internal, undefined, undefined, error),
    ErrorReason.INTERNAL,
  );
}

/** Gives an error of Connect's own the reason that goes with its code, unless it has one. */
export function explained(error: ConnectError): ConnectError {
  if (reasonOf(error) !== undefined) return error;
  const broken = error.findDetails(ViolationsSchema).length > 0;
  return withReason(error, broken ? ErrorReason.FIELDS_INVALID : (REASON_OF_CODE[error.code] ?? ErrorReason.INTERNAL));
}

/**
 * Errors travel in headers, of which clients read 8 KiB in all and drop the
 * connection beyond (grpc-java, gRPC C-core). Twelve violations take some 4 KiB.
 */
const VIOLATIONS_MAX = 12;
const MESSAGE_LENGTH_MAX = 300;

/** Adds the detail that every refusal carries, and keeps the error to a size that arrives. */
export function withReason(
  error: ConnectError,
  reason: ErrorReason,
  metadata: Readonly<Record<string, string>> = {},
): ConnectError {
  if (error.rawMessage.length > MESSAGE_LENGTH_MAX) setMessage(error, error.rawMessage.slice(0, MESSAGE_LENGTH_MAX));
  for (const detail of error.details) {
    if ('desc' in detail && detail.desc === ViolationsSchema) {
      const violations = detail.value as MessageInitShape<typeof ViolationsSchema>;
      detail.value = { ...violations, violations: violations.violations?.slice(0, VIOLATIONS_MAX) ?? [] };
    }
  }
  // For proxies and HTTP clients, which do not read details (RFC 9110, 10.2.3); over gRPC it is a trailer.
  const retryAfter = metadata['retry_after_seconds'];
  if (retryAfter !== undefined) error.metadata.set('retry-after', retryAfter);
  const value: MessageInitShape<typeof ErrorDetailSchema> = { reason, metadata: { ...metadata } };
  error.details.unshift({ desc: ErrorDetailSchema, value });
  return error;
}

/** Changes what the caller is told by an error that is on its way out. */
export function setMessage(error: ConnectError, message: string): void {
  (error as { rawMessage: string }).rawMessage = message.toWellFormed();
}

/** The reason an error carries. */
export function reasonOf(error: ConnectError): ErrorReason | undefined {
  return error.findDetails(ErrorDetailSchema)[0]?.reason;
}
