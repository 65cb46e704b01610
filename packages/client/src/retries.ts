import {
  clone,
  create,
  type DescMessage,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { isFieldError } from '@bufbuild/protobuf/reflect';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { type Backoff, backoffMs, pause } from './backoff.ts';
import { ErrorDetailSchema } from './gen/kith/error/v1/error_pb.ts';
import { retryAfterOf } from './kith-error.ts';
import { randomUuid } from './uuid.ts';

/** How calls are repeated, and when they are given up. */
export interface RetryOptions {
  /** How often a call is made at the most, the first time included. Default 4; 1 repeats nothing. */
  readonly attemptsMax?: number | undefined;
  /** How long one attempt of a call that may be repeated takes at the most, milliseconds. Default 10,000; 0: no limit. */
  readonly attemptTimeoutMs?: number | undefined;
  /** How long a call takes at the most with all attempts and waits, milliseconds. Default 30,000; 0: no limit. */
  readonly timeoutMs?: number | undefined;
}

const RETRY_DEFAULTS = { attemptsMax: 4, attemptTimeoutMs: 10_000, timeoutMs: 30_000 };

const BACKOFF: Backoff = { firstMs: 200, maxMs: 5_000 };

/**
 * Makes a call until it is answered, refused for good, or its time is over. `attempt` is given the milliseconds that it
 * may take, or 0 where nothing limits it, as Connect has it.
 */
export async function repeat<T>(
  options: Required<{ [K in keyof RetryOptions]: number }>,
  signal: AbortSignal | undefined,
  attempt: (timeoutMs: number) => Promise<T>,
): Promise<T> {
  const startMs = performance.now();
  const leftMs = () => limitOf(options.timeoutMs) - (performance.now() - startMs);
  for (let attempts = 1; ; attempts += 1) {
    try {
      const attemptMs = Math.min(limitOf(options.attemptTimeoutMs), leftMs());
      return await attempt(attemptMs === Infinity ? 0 : Math.max(1, Math.ceil(attemptMs)));
    } catch (thrown) {
      let error = ConnectError.from(thrown);
      // A server whose timer is ahead of ours resets the stream: that is its deadline, and nobody canceled.
      if (error.code === Code.Canceled && signal?.aborted !== true && leftMs() <= 0)
        error = new ConnectError('the time of the call is over', Code.DeadlineExceeded, undefined, undefined, error);
      if (attempts >= options.attemptsMax || signal?.aborted === true || !isTransient(error)) throw error;
      const waitMs = (retryAfterOf(error) ?? 0) * 1000 + backoffMs(BACKOFF, attempts);
      if (waitMs >= leftMs()) throw error;
      await pause(waitMs, signal);
    }
  }
}

function limitOf(timeoutMs: number): number {
  return timeoutMs > 0 ? timeoutMs : Infinity;
}

/** Codes that Connect gives what is no answer: connections that fail or break, and answers that end too early. */
const BROKEN: ReadonlySet<Code> = new Set([
  Code.Aborted,
  Code.Canceled,
  Code.DataLoss,
  Code.DeadlineExceeded,
  Code.Internal,
  Code.InvalidArgument,
  Code.Unavailable,
  Code.Unknown,
]);

/**
 * Whether the same call may succeed a moment later: Kith or a proxy is unavailable, Kith says when to come back, the
 * connection failed, or the time of the attempt was over. Says nothing of whether the call took effect.
 */
export function isTransient(error: ConnectError): boolean {
  if (error.code === Code.Unavailable || error.code === Code.DeadlineExceeded) return true;
  if (error.code === Code.ResourceExhausted) return retryAfterOf(error) !== undefined;
  // A refusal has a detail or came as a status; what has neither is no answer at all.
  if (error.isWireError || error.findDetails(ErrorDetailSchema).length > 0) return false;
  return BROKEN.has(error.code) && !isFieldError(error.cause);
}

/**
 * Repeats calls that may be: those that are idempotent by the contract, and those with a request id, which every call
 * that takes one is given. The time limits hold for every unary call.
 */
export function withRetries(transport: Transport, defaults: RetryOptions): Transport {
  const options = { ...RETRY_DEFAULTS, ...definedOf(defaults) };
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const message = withRequestId(method.input, input);
      const isRepeatable =
        method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN || requestIdOf(message) !== undefined;
      const totalMs = timeoutMs ?? options.timeoutMs;
      const ofCall = isRepeatable
        ? { ...options, timeoutMs: totalMs }
        : { attemptsMax: 1, attemptTimeoutMs: totalMs, timeoutMs: totalMs };
      return repeat(ofCall, signal, (attemptMs) =>
        transport.unary(method, signal, attemptMs, header, message, contextValues),
      );
    },
    stream: (...call) => transport.stream(...call),
  };
}

/** The request as a message, with a request id where its type has one and the caller gave none. */
function withRequestId<D extends DescMessage>(schema: D, input: MessageInitShape<D>): MessageShape<D> {
  const message = create(schema, input);
  if (requestIdOf(message) !== '') return message;
  const copy = clone(schema, message); // what the caller holds stays as it is
  Object.assign(copy, { requestId: randomUuid() });
  return copy;
}

function requestIdOf(message: Message): string | undefined {
  return (message as { requestId?: string }).requestId;
}

function definedOf(options: RetryOptions): { [K in keyof RetryOptions]: number } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
