import { getOption } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  type FieldPath,
  type Violation as ViolationMessage,
  ViolationsSchema,
} from './gen/buf/validate/validate_pb.ts';
import {
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  type Refusal,
  status_code,
} from './gen/kith/error/v1/error_pb.ts';

/** Why a call was refused, as the contract names it, without `ERROR_REASON_`. */
export type Reason = Exclude<keyof typeof ErrorReason, 'UNSPECIFIED'>;

/** The status code of a refusal, as Connect names it. */
export type StatusCode = keyof typeof Code;

/** A field that breaks a rule of the contract. */
export interface Violation {
  /** Where the field is in the request: `username`, `emails[1].address`, `attributes["color"]`. Empty for the request. */
  readonly field: string;
  /** The rule: `string.email`, `string.min_len`, `contact.one_primary`. */
  readonly rule: string;
  /** In English, for developers. `violationText` has one for people. */
  readonly message: string;
}

/** A call that failed: refused by Kith, or not answered. */
export class KithError extends Error {
  override readonly name = 'KithError';
  readonly code: StatusCode;
  /**
   * Why Kith refused the call. Undefined when the answer is not one of Kith's (the network, a proxy, a deadline of the
   * client), and for a reason that is newer than this client: the code counts then.
   */
  readonly reason: Reason | undefined;
  /** What the reason is about, by the keys that the contract names with it. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields that break rules, of FIELDS_INVALID. */
  readonly violations: readonly Violation[];
  /** What the log of the server has the call under. */
  readonly requestId: string | undefined;
  /** When to call again at the earliest, seconds from now. */
  readonly retryAfter: number | undefined;
  override readonly cause: ConnectError;

  constructor(cause: ConnectError) {
    const unreached = whyUnreached(cause);
    super(unreached === undefined ? cause.message : `[unavailable] no answer: ${unreached}`);
    this.cause = cause;
    this.code = unreached === undefined ? (Code[cause.code] as StatusCode) : 'Unavailable';
    this.reason = reasonOf(cause);
    const [detail] = cause.findDetails(ErrorDetailSchema);
    this.metadata = { ...detail?.metadata };
    this.violations = cause.findDetails(ViolationsSchema).flatMap(({ violations }) => violations.map(toViolation));
    this.requestId = cause.metadata.get('x-request-id') ?? undefined;
    this.retryAfter = retryAfterOf(cause);
  }

  /** What was thrown, as a KithError. */
  static from(thrown: unknown): KithError {
    return thrown instanceof KithError ? thrown : new KithError(ConnectError.from(thrown));
  }

  /** A refusal in an answer, such as that of a row of an import, as the error of a call. */
  static ofRefusal({ detail, message }: Refusal): KithError {
    if (detail === undefined) return new KithError(new ConnectError(message, Code.Unknown));
    const reason = ErrorReasonSchema.value[detail.reason];
    // The numbers of gRPC's status codes are those of Connect's.
    const code = reason === undefined ? Code.Unknown : (getOption(reason, status_code) as number as Code);
    return new KithError(new ConnectError(message, code, undefined, [{ desc: ErrorDetailSchema, value: detail }]));
  }
}

/** What browsers and Node throw where there is no connection, of which Connect makes an unknown error. */
const UNREACHED = /fetch failed|failed to fetch|networkerror|load failed/i;

/** Why no server was reached; undefined if one was, or something else failed. */
function whyUnreached({ code, cause }: ConnectError): string | undefined {
  if (code !== Code.Unknown || !(cause instanceof TypeError) || !UNREACHED.test(cause.message)) return undefined;
  const { message, code: name } = (cause.cause ?? {}) as { readonly message?: string; readonly code?: string };
  return message || name || cause.message;
}

const REASONS = new Map<number, Reason>(
  Object.entries(ErrorReason)
    .filter(([name]) => name !== 'UNSPECIFIED')
    .map(([name, number]) => [number as number, name as Reason]),
);

/** Every reason that this client knows. */
export const reasons: readonly Reason[] = [...REASONS.values()];

/** The reason of a refusal; undefined when there is none that this client knows. */
export function reasonOf(error: ConnectError): Reason | undefined {
  const [detail] = error.findDetails(ErrorDetailSchema);
  return detail === undefined ? undefined : REASONS.get(detail.reason);
}

/** When a refusal says to call again, seconds. */
export function retryAfterOf(error: ConnectError): number | undefined {
  const [detail] = error.findDetails(ErrorDetailSchema);
  const text = detail?.metadata['retry_after_seconds'] ?? error.metadata.get('retry-after');
  // A date (RFC 9110, 10.2.3) is not among what Kith sends.
  return text !== undefined && text !== null && /^\d{1,9}$/.test(text.trim()) ? Number(text) : undefined;
}

function toViolation({ field, ruleId, message }: ViolationMessage): Violation {
  return { field: pathOf(field), rule: ruleId, message };
}

function pathOf(path: FieldPath | undefined): string {
  const steps = (path?.elements ?? []).map(({ fieldName, subscript }) => {
    // Fields have the names of messages in TypeScript.
    const name = fieldName.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    return subscript.case === undefined ? name : `${name}[${keyOf(subscript.value)}]`;
  });
  return steps.join('.');
}

function keyOf(key: string | bigint | boolean): string {
  return typeof key === 'string' ? JSON.stringify(key) : String(key);
}
