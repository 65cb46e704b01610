import { type DescMethod, type DescService, type Message, toBinary } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { type ContextValues, createContextKey, type HandlerContext, type Interceptor } from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from '@connectrpc/connect/protocol';
import { Budget, type Charge } from '../budget/budget.ts';
import { payFor } from '../budget/current-payer.ts';
import { ConcurrencyLimiter } from '../budget/concurrency-limiter.ts';
import { addressPayer, callerPayer, type Payer } from '../budget/payer.ts';
import { Failure } from '../kernel/failure.ts';
import type { AccessRules } from './access.ts';
import { findCaller } from './caller.ts';
import { peerOf } from './peer.ts';
import { toConnectError } from './errors.ts';
import { type MethodImplementation, wrapMethods } from './implementation.ts';

const MIB = 1024 * 1024;

/** What a call takes besides the bytes of its messages: its stream, headers and context. */
const CALL_BYTES = 4096;

/**
 * What the calls that are under way make the server hold: CALL_BYTES for each, the bytes of its request, packed and
 * unpacked, and those of its answer until the client has taken them. A user may hold four answers of the largest
 * kind or some 4,000 small calls; an address some 500 small calls, since whoever has not signed in asks for little that
 * takes long, and since a few addresses must not take the third of the whole that all of them have. Some small calls
 * of others have room even then.
 */
const CALL_BYTES_LIMITS = {
  name: 'call_bytes',
  perCaller: 16 * MIB,
  total: 96 * MIB,
  strangers: 32 * MIB,
  perStranger: 2 * MIB,
  little: 8 * CALL_BYTES,
};

/**
 * How many calls of each kind run at once. Lists take the most memory and time; writes wait for the one writer, or for
 * connections to the database, where a caller must not stand in front of all others. The rest waits in a queue for each
 * caller, which costs CALL_BYTES a call.
 */
const LISTS = { name: 'lists', running: 8, runningPerCaller: 2, waiting: 2048, waitingPerCaller: 128, taskMs: 5 };
const WRITES = { name: 'writes', running: 64, runningPerCaller: 8, waiting: 4096, waitingPerCaller: 256, taskMs: 2 };
const READS = { name: 'reads', running: 512, runningPerCaller: 32, waiting: 16_384, waitingPerCaller: 2048, taskMs: 1 };

/**
 * What a list sets aside before it is read, until its answer is charged: that of the largest kind. Whoever leaves
 * answers unread is refused before the next page is made.
 */
const LIST_BYTES = 4 * MIB;

/** How long a call may expect to wait in a queue, milliseconds. */
const WAIT_MAX_MS = 10_000;

/** The budgets that calls are charged to. */
export interface CallBudgets {
  readonly bytes: Budget;
  readonly lists: ConcurrencyLimiter;
  readonly writes: ConcurrencyLimiter;
  readonly reads: ConcurrencyLimiter;
}

export function createCallBudgets(): CallBudgets {
  return {
    bytes: new Budget(CALL_BYTES_LIMITS),
    lists: new ConcurrencyLimiter({ ...LISTS, waitMaxMs: WAIT_MAX_MS }),
    writes: new ConcurrencyLimiter({ ...WRITES, waitMaxMs: WAIT_MAX_MS }),
    reads: new ConcurrencyLimiter({ ...READS, waitMaxMs: WAIT_MAX_MS }),
  };
}

/** Whom a call is charged to. */
export function payerOfCall(context: Pick<HandlerContext, 'values'>): Payer {
  const caller = findCaller(context.values);
  return caller === undefined ? addressPayer(peerOf(context).address) : callerPayer(caller);
}

/** Charges a call for what it makes the server hold. Throws budget_exceeded, server_busy. */
export function holdCall({ bytes }: CallBudgets, context: Pick<HandlerContext, 'values'>): Charge {
  return bytes.charge(payerOfCall(context), CALL_BYTES);
}

/**
 * The unary methods of an implementation, each within the limit of its kind and paid for by whoever calls. Streams
 * stay as they are. The methods that anybody may call have no limit: signing in waits in the queue for hashes alone,
 * which is shorter.
 */
export function limitCalls<T extends object>(
  { methods }: DescService,
  implementation: T,
  budgets: CallBudgets,
  rules: AccessRules,
): T {
  return wrapMethods(methods, implementation, (method, call) => {
    if (method.methodKind !== 'unary') return undefined;
    if (rules.of(method).access.kind === 'public') return paidFor(call);
    const kind = kindOf(method);
    return within(budgets[kind], kind === 'lists' ? withRoomForAnswer(budgets.bytes, call) : call);
  });
}

function kindOf(method: DescMethod): 'lists' | 'writes' | 'reads' {
  const isRead = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  const asksForMany = method.input.fields.some(({ name, fieldKind }) => name === 'page_size' || fieldKind === 'list');
  if (asksForMany && isRead) return 'lists';
  return isRead ? 'reads' : 'writes';
}

/** Has a call set aside what its answer will hold, while it runs. */
function withRoomForAnswer(bytes: Budget, implemented: MethodImplementation): MethodImplementation {
  return async (request, context) => {
    const room = bytes.charge(payerOfCall(context), LIST_BYTES);
    try {
      return await implemented(request, context);
    } finally {
      room.release();
    }
  };
}

function paidFor(implemented: MethodImplementation): MethodImplementation {
  return (request, context) => payFor(payerOfCall(context), () => implemented(request, context));
}

/** Not an async function: for a call that may run at once, each turn of the queue costs. */
function within(limiter: ConcurrencyLimiter, implemented: MethodImplementation): MethodImplementation {
  return (request, context) => {
    const payer = payerOfCall(context);
    const call = () => payFor(payer, () => implemented(request, context));
    if (!limiter.tryAcquire(payer)) return limiter.run(payer, call, context.signal);
    let answer: unknown;
    try {
      answer = call();
    } catch (error) {
      limiter.release(payer);
      throw error;
    }
    if (!(answer instanceof Promise)) {
      limiter.release(payer);
      return answer;
    }
    return answer.then(
      (value: unknown) => {
        limiter.release(payer);
        return value;
      },
      (error: unknown) => {
        limiter.release(payer);
        throw error;
      },
    );
  };
}

/** What a call that Connect serves holds for its request. */
interface Held {
  /** Charges the call for its request when first called. Returns the charge, or why it is refused. */
  readonly request: () => Charge | Failure;
  /** Aborted when the exchange is over: the signal of the call is, as soon as there is an answer. */
  readonly closed: AbortSignal;
}

const heldKey = createContextKey<Held | undefined>(undefined, { description: 'what the call holds' });

/**
 * Charges the calls of one of Connect's handlers for their requests, once the handler has let the call in, since it is
 * not known before who calls. What is refused is thrown where the request is read, or else by the interceptor below.
 *
 * Until then the work is that of the user for whom `recall` knows the token, and else of the address.
 */
export function holdRequests(
  handler: UniversalHandler,
  budgets: CallBudgets,
  recall: (authorization: string | undefined) => Payer | undefined,
): UniversalHandler {
  const holding = (request: UniversalServerRequest): Promise<UniversalServerResponse> => {
    const { contextValues: values, signal, body, header } = request;
    if (values === undefined || values.get(heldKey) !== undefined) return handler(request);
    let charge: Charge | Failure | undefined;
    const held = {
      request: () => (charge ??= chargeUntil(signal, () => holdCall(budgets, { values }))),
      closed: signal,
    };
    values.set(heldKey, held);
    if (typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body)) return handler(request);
    const payer = recall(header.get('authorization') ?? undefined) ?? payerOfCall({ values });
    return payFor(payer, () => handler({ ...request, body: counted(body, held) }));
  };
  return Object.assign(holding, handler);
}

/** Gives back what a part of a request was charged that is not held any more, of a call that Connect serves. */
export function giveBackRequestBytes(values: ContextValues | undefined, bytes: number): void {
  const charge = values?.get(heldKey)?.request();
  if (charge !== undefined && !(charge instanceof Failure)) charge.shrink(bytes);
}

/** Charges until a signal is aborted, as that of any exchange is when it is over. A refusal is given back. */
function chargeUntil(signal: AbortSignal, charge: () => Charge): Charge | Failure {
  try {
    const held = charge();
    if (signal.aborted) held.release();
    else signal.addEventListener('abort', () => held.release(), { once: true });
    return held;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

async function* counted(chunks: AsyncIterable<Uint8Array>, { request }: Held): AsyncIterable<Uint8Array> {
  try {
    const charge = request(); // before the first byte has come: what waits for it is held already
    if (charge instanceof Failure) throw charge;
    for await (const chunk of chunks) {
      charge.grow(chunk.length);
      yield chunk;
    }
  } catch (error) {
    throw error instanceof Failure ? toConnectError(error) : error;
  }
}

/** Charges the calls that Connect serves for their answers, until the client has taken them or has left. */
export function createAnswerHoldInterceptor({ bytes }: CallBudgets): Interceptor {
  return (next) => async (request) => {
    const { contextValues: values, method } = request;
    const held = values.get(heldKey);
    const charge = held?.request();
    if (charge instanceof Failure) throw charge;
    const response = await next(request);
    if (response.stream || held === undefined) return response;
    const { length } = toBinary(method.output, response.message as Message);
    const answered = chargeUntil(held.closed, () => bytes.charge(payerOfCall({ values }), length));
    if (answered instanceof Failure) throw answered;
    return response;
  };
}
