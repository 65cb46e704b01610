import { type DescEnum, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  type RefusalSchema,
  status_code as statusCodeOption,
} from '../../gen/kith/error/v1/error_pb.ts';
import { Failure, type FailureReason, type PartRefusal } from '../kernel/failure.ts';
import { inPlainWords } from './plain-words.ts';
import { optionOf } from '../scan/option.ts';

/** The reasons of the contract, each with its status code, by the name that a Failure has. */
const REASONS = readReasons(ErrorReasonSchema) as Record<FailureReason, Reason>;

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

interface Reason {
  readonly code: Code;
  readonly reason: ErrorReason;
}

/**
 * The values of an enum of reasons but the unspecified one, by their names in lower case without the prefix, with
 * the status codes that the contract declares. Throws when one declares none, so that no server starts without it.
 */
export function readReasons({ values }: DescEnum): Record<string, Reason> {
  const reasons = values.filter(({ number }) => number !== ErrorReason.UNSPECIFIED);
  return Object.fromEntries(
    reasons.map((value) => {
      // The numbers of gRPC's status codes are those of Connect's.
      const code = optionOf(value, statusCodeOption) as number as Code;
      if (Code[code] === undefined) throw new Error(`${value.name} declares no (kith.error.v1.status_code)`);
      return [value.localName.toLowerCase(), { code, reason: value.number as ErrorReason }];
    }),
  );
}

/** A refusal as a field of an answer. */
export function toRefusal({ reason, metadata, message }: PartRefusal): MessageInitShape<typeof RefusalSchema> {
  const number = reason === 'fields_invalid' ? ErrorReason.FIELDS_INVALID : REASONS[reason].reason;
  return { detail: { reason: number, metadata: { ...metadata } }, message };
}

/** What a caller is answered for anything thrown. A fault keeps its error as `cause`, which does not travel. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof Failure) {
    const { code, reason } = REASONS[error.reason];
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
  setMessage(error, inPlainWords(error.rawMessage));
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

/** Changes the message of an error that is about to be sent. */
export function setMessage(error: ConnectError, message: string): void {
  (error as { rawMessage: string }).rawMessage = message.toWellFormed();
}

/** The reason an error carries. */
export function reasonOf(error: ConnectError): ErrorReason | undefined {
  return error.findDetails(ErrorDetailSchema)[0]?.reason;
}
