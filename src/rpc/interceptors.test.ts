import { getEventListeners } from 'node:events';
import {
  Code,
  ConnectError,
  createContextValues,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { ErrorDetailSchema, ErrorReason } from '../../gen/kith/error/v1/error_pb.ts';
import { Failure } from '../kernel/failure.ts';
import { createDeadlineInterceptor, createErrorInterceptor } from './interceptors.ts';

type Next = ReturnType<Interceptor>;
type Request = Parameters<Next>[0];
type Response = UnaryResponse | StreamResponse;

/** What an interceptor looks at of a call. */
const unary = (signal = new AbortController().signal) =>
  ({ stream: false, signal, contextValues: createContextValues(), message: {} }) as unknown as Request;
const streaming = (message: AsyncIterable<unknown> = from([])) =>
  ({
    stream: true,
    signal: new AbortController().signal,
    contextValues: createContextValues(),
    message,
  }) as unknown as Request;
const ANSWER = { stream: false, message: { answer: 42 } } as unknown as Response;
const answerStream = (message: AsyncIterable<unknown>) => ({ stream: true, message }) as unknown as Response;

async function* from(messages: readonly unknown[], error?: Error): AsyncIterable<unknown> {
  yield* messages;
  if (error) throw error;
}

async function collect(response: Response): Promise<{ messages: unknown[]; error: unknown }> {
  const messages: unknown[] = [];
  try {
    for await (const message of response.message as AsyncIterable<unknown>) messages.push(message);
  } catch (error) {
    return { messages, error };
  }
  return { messages, error: undefined };
}

const thrownBy = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );
const never = new Promise<never>(() => {});

describe('the deadline interceptor', () => {
  const run = (next: Next, request: Request) => createDeadlineInterceptor()(next)(request);

  test('passes answers and errors on, and keeps nothing of the call', async () => {
    const { signal } = new AbortController();
    expect(await run(async () => ANSWER, unary(signal))).toBe(ANSWER);
    await expect(run(() => Promise.reject(new Error('broken')), unary(signal))).rejects.toThrow('broken');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test.each([
    ['deadline', new ConnectError('too late', Code.DeadlineExceeded)],
    ['caller', new ConnectError('gone', Code.Canceled)],
    ['server', new ConnectError('stopping', Code.Unavailable)],
  ])('answers for the %s while the handler is still at it', async (_, reason) => {
    const controller = new AbortController();
    const answer = thrownBy(run(() => never, unary(controller.signal)));
    controller.abort(reason);
    expect(await answer).toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('does not begin what is too late already', async () => {
    let begun = false;
    const next = async () => {
      begun = true;
      return ANSWER;
    };
    const reason = new ConnectError('too late', Code.DeadlineExceeded);
    expect(await thrownBy(run(next, unary(AbortSignal.abort(reason))))).toBe(reason);
    expect(begun).toBe(false);
  });

  test('lets a handler that fails later fail unheard', async () => {
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<Response>();
    const answer = thrownBy(run(() => promise, unary(controller.signal)));
    controller.abort(new Error('too late'));
    await answer;
    reject(new Error('and broken'));
    await new Promise(setImmediate);
    expect(await answer).toMatchObject({ message: 'too late' });
  });

  test('leaves streams alone', async () => {
    const response = answerStream(from([1]));
    expect(await run(async () => response, streaming())).toBe(response);
  });
});

describe('the error interceptor', () => {
  const run = (next: Next, request: Request) => createErrorInterceptor()(next)(request);
  const reason = (error: unknown) =>
    (error as ConnectError).findDetails(ErrorDetailSchema).map((detail) => detail.reason);

  const failures: [string, Error, Code, ErrorReason][] = [
    ['a failure', new Failure('etag_mismatch', 'read it again'), Code.Aborted, ErrorReason.ETAG_MISMATCH],
    [
      "an error of Connect's",
      new ConnectError('no', Code.Unimplemented),
      Code.Unimplemented,
      ErrorReason.ENCODING_UNSUPPORTED,
    ],
    ['a fault', new TypeError('x is not a function'), Code.Internal, ErrorReason.INTERNAL],
    ['a fault in the guise of Connect', new ConnectError('secret', Code.Unknown), Code.Internal, ErrorReason.INTERNAL],
  ];

  test.each(failures)('answers %s of a unary call with its code and one reason', async (_, error, code, expected) => {
    const thrown = await thrownBy(run(() => Promise.reject(error), unary()));
    expect(thrown).toMatchObject({ code });
    expect(reason(thrown)).toEqual([expected]);
  });

  test.each(failures)('answers %s amid a stream alike', async (_, error, code, expected) => {
    const fresh = error instanceof ConnectError ? new ConnectError(error.rawMessage, error.code) : error;
    const outcome = await collect(await run(async () => answerStream(from([1, 2], fresh)), streaming()));
    expect(outcome).toMatchObject({ messages: [1, 2], error: { code } });
    expect(reason(outcome.error)).toEqual([expected]);
  });

  test('says nothing of a fault, and keeps it for the log', async () => {
    const fault = new Error('constraint failed: users.password_hash');
    const thrown = (await thrownBy(run(() => Promise.reject(fault), unary()))) as ConnectError;
    expect(thrown.rawMessage).toBe('internal error');
    expect(thrown.cause).toBe(fault);
  });

  test('calls a message of a stream that does not parse the fault of the caller', async () => {
    const parsing = new ConnectError('protocol error: cannot decode', Code.Internal);
    const next: Next = async (request) => {
      const { error } = await collect({ message: request.message } as Response);
      expect(error).toBe(parsing);
      throw error as Error;
    };
    const thrown = await thrownBy(run(next, streaming(from([1], parsing))));
    expect(thrown).toMatchObject({ code: Code.InvalidArgument });
    expect(reason(thrown)).toEqual([ErrorReason.MALFORMED_REQUEST]);
  });
});
