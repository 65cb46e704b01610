import type { ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';

/** Reasons of errors that Connect makes, and of faults: nothing throws a Failure for them. */
type ReasonOfServing = 'CANCELED' | 'FIELDS_INVALID' | 'INTERNAL';

/**
 * Why a call is refused: the reasons of the contract, where each declares its status code
 * (proto/kith/error/v1/error.proto), in lower case and without `ERROR_REASON_`.
 */
export type FailureReason = Lowercase<Exclude<keyof typeof ErrorReason, 'UNSPECIFIED' | ReasonOfServing>>;

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

/** Why a part of a call is refused, such as a row of an import, whose other parts are not. A Failure is one. */
export interface PartRefusal {
  readonly reason: FailureReason | 'fields_invalid';
  readonly metadata: Readonly<Record<string, string>>;
  readonly message: string;
}

/** Why a part of a call is refused, of what was thrown for it. Throws that again where it is not for the part: a fault, or the server. */
export function toPartRefusal(thrown: unknown): PartRefusal {
  if (!(thrown instanceof Failure) || thrown.reason === 'server_unavailable') throw thrown;
  const { reason, metadata, message } = thrown;
  return { reason, metadata, message };
}
