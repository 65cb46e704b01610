import { type DescMessage } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { codeToString } from '@connectrpc/connect/protocol-connect';
import { secret } from '../../gen/kith/access/v1/access_pb.ts';
import { ErrorReason, ErrorReasonSchema } from '../../gen/kith/error/v1/error_pb.ts';
import { Failure } from '../kernel/failure.ts';
import { hasEnded, isFast } from '../../packages/connect-fast/src/index.ts';
import type { CallLog } from './call-log.ts';
import type { CallMetrics } from './call-metrics.ts';
import { callerSpanOf, type CallTracing } from './call-tracing.ts';
import { findCaller } from './caller.ts';
import { explained, reasonOf, setMessage, withReason } from './errors.ts';
import { optionOf } from '../scan/option.ts';

const requestIdKey = createContextKey('', { description: 'request id' });
const receivedKey = createContextKey(false, { description: 'request message received' });

/** Notes the id of the call's HTTP request, for its line in the log. */
export function setRequestId(values: ContextValues, requestId: string): void {
  values.set(requestIdKey, requestId);
}

/** The id that was noted. */
export function findRequestId(values: ContextValues): string {
  return values.get(requestIdKey);
}

/** Notes that a unary call's message was read and parsed: what fails from here on is not the message's fault. */
export function setReceived(values: ContextValues): void {
  values.set(receivedKey, true);
}

/**
 * Returns what is called at the end of each call: whatever the protocol, and wherever it fails.
 *
 * An interceptor sees neither a message that cannot be parsed nor what the
 * request gate refuses. Just before the status is written is where an error
 * gets its reason and the call its line in the log.
 */
export function createCallEnd(
  log: CallLog,
  metrics?: CallMetrics,
  tracing?: CallTracing,
): (context: HandlerContext, reason: unknown, durationMs: number) => void {
  const observers = { log, metrics, tracing };
  return (context, reason, durationMs) => endCall(observers, context, finalError(context, reason), durationMs);
}

function finalError(context: HandlerContext, reason: unknown): ConnectError | undefined {
  if (reason instanceof ConnectError) {
    if (!context.values.get(receivedKey)) hideSecrets(reason, context.method.input);
    // gRPC calls it UNIMPLEMENTED when there are no or several messages where there must be one.
    const isFault =
      reasonOf(reason) === undefined &&
      (reason.code === Code.Internal ||
        (reason.code === Code.Unimplemented && reason.rawMessage.startsWith('protocol error:')));
    if (isFault && !context.values.get(receivedKey)) blameRequest(reason);
    else explained(reason);
  }
  // Whatever came of it, nobody waits for the answer. To ask for the signal is to make it, which the
  // fast path does only for those who want it.
  if (hasEnded(context)) return interruption(context.signal.reason);
  if (reason === undefined) return undefined;
  return explained(ConnectError.from(reason, isDisconnect(reason) ? Code.Canceled : Code.Internal));
}

/**
 * Why a call ended before its answer: time was up, the server stops, the reader
 * stood still, or the caller left. To Connect the last has many codes: those of
 * HTTP/2 resets, INTERNAL_ERROR when a connection breaks, and of broken sockets.
 */
function interruption(reason: unknown): ConnectError {
  if (reason instanceof ConnectError) {
    if (reason.code === Code.DeadlineExceeded || reason.code === Code.Unavailable) return explained(reason);
    if (reason.code === Code.ResourceExhausted) return withReason(reason, ErrorReason.CONSUMER_TOO_SLOW); // ENHANCE_YOUR_CALM
  }
  return explained(new ConnectError('the caller left', Code.Canceled, undefined, undefined, reason));
}

/** A parser quotes what it stumbled over; what follows the comma is left out where that may be a password. */
function hideSecrets(error: ConnectError, input: DescMessage): void {
  if (!input.fields.some((field) => optionOf(field, secret))) return;
  setMessage(error, error.rawMessage.replace(/, (?:got |\.\.\.|").*$/s, ''));
}

/** What Node says of an answer that cannot be written since the connection or the stream is gone. */
const DISCONNECTS = new Set([
  'ECONNRESET',
  'EPIPE',
  'ERR_HTTP2_INVALID_STREAM',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_WRITE_AFTER_END',
]);

function isDisconnect(error: unknown): boolean {
  return error instanceof Error && 'code' in error && DISCONNECTS.has(String(error.code));
}

/** A message that does not parse or unpack is the caller's fault; Connect calls it internal. The error is already on its way out, so it is changed in place. */
export function blameRequest(error: ConnectError): ConnectError {
  (error as { code: Code }).code = Code.InvalidArgument;
  return withReason(error, ErrorReason.MALFORMED_REQUEST);
}

/** What observes the end of each call. */
interface Observers {
  readonly log: CallLog;
  readonly metrics: CallMetrics | undefined;
  readonly tracing: CallTracing | undefined;
}

function endCall(
  observers: Observers,
  context: HandlerContext,
  error: ConnectError | undefined,
  durationMs: number,
): void {
  const { metrics, tracing } = observers;
  if (metrics !== undefined) {
    const { method, protocolName } = context;
    metrics.record(method, protocolName, isFast(context), durationMs, error?.code, error && reasonOf(error));
  }
  tracing?.end(context, error?.code, error && reasonName(reasonOf(error)));
  logCall(observers, context, error, durationMs);
}

/** One line a call. Messages stay out of it: they may quote what was sent, a password perhaps. */
function logCall(
  { log, tracing }: Observers,
  context: HandlerContext,
  error: ConnectError | undefined,
  durationMs: number,
): void {
  if (error === undefined && !log.takesNext()) return;
  const span = tracing?.spanOf(context) ?? callerSpanOf(context);
  const line = {
    requestId: context.values.get(requestIdKey),
    rpc: `${context.service.typeName}/${context.method.name}`,
    protocol: context.protocolName,
    code: error === undefined ? 'ok' : codeToString(error.code),
    reason: error && reasonName(reasonOf(error)),
    caller: findCaller(context.values)?.userId,
    durationMs: Math.round(durationMs * 1000) / 1000,
    trace_id: span?.traceId,
    span_id: span?.spanId,
  };
  if (error?.code === Code.Internal) log.error(line, error.cause ?? error);
  else if (isOutage(error)) log.warn(line, error?.cause);
  else log.info(line);
}

/** Whether something that the server depends on failed, which the answer does not say. */
function isOutage(error: ConnectError | undefined): boolean {
  return error?.code === Code.Unavailable && error.cause instanceof Failure && error.cause.cause !== undefined;
}

function reasonName(reason: ErrorReason = ErrorReason.UNSPECIFIED): string | undefined {
  return ErrorReasonSchema.value[reason]?.name;
}
