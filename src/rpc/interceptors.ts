import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamRequest,
  type StreamResponse,
  type UnaryResponse,
} from '@connectrpc/connect';
import { Failure } from '../kernel/failure.ts';
import { blameRequest, setReceived } from './call.ts';
import { toConnectError } from './errors.ts';

/** Turns what handlers and later interceptors throw into what callers are answered, for unary calls and streams. */
export function createErrorInterceptor(): Interceptor {
  return (next) => async (request) => {
    try {
      if (!request.stream) {
        setReceived(request.contextValues);
        return await next(request);
      }
      const response = await next({ ...request, message: blamingRequest(request.message) });
      if (!response.stream) return response;
      return { ...response, message: convertingErrors(response.message, request.signal) };
    } catch (error) {
      throw toConnectError(error);
    }
  };
}

async function* blamingRequest<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (error) {
    throw error instanceof ConnectError && error.code === Code.Internal ? blameRequest(error) : error;
  }
}

async function* convertingErrors<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  try {
    yield* messages;
    signal.throwIfAborted(); // a handler returns then, which does not mean that there is no more
  } catch (error) {
    throw toConnectError(error);
  }
}

/**
 * Answers a unary call when its deadline passes, its caller leaves or the server
 * has to stop, rather than when its handler gets round to it: Connect only
 * aborts the signal.
 */
export function createDeadlineInterceptor(): Interceptor {
  return (next) => (request) => (request.stream ? next(request) : withinSignal(request.signal, () => next(request)));
}

async function withinSignal(
  signal: AbortSignal,
  call: () => Promise<UnaryResponse | StreamResponse>,
): Promise<UnaryResponse | StreamResponse> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([call(), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Ends streams as soon as the server starts to stop, with a code that tells the
 * client to come back; unary calls are left to finish.
 */
export function createDrainInterceptor(draining: AbortSignal): Interceptor {
  return (next) => {
    const drained = async (request: StreamRequest) => {
      const response = await next(request);
      return response.stream ? { ...response, message: untilDraining(response.message, draining) } : response;
    };
    return (request) => (request.stream ? drained(request) : next(request));
  };
}

async function* untilDraining<T>(messages: AsyncIterable<T>, draining: AbortSignal): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  let interrupt = (): void => {};
  const onDrain = () => interrupt();
  draining.addEventListener('abort', onDrain, { once: true });
  try {
    for (;;) {
      // A promise for each message: one for all would remember every race it took part in, as long as the stream lasts.
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<T>>();
      interrupt = () => reject(new Failure('server_unavailable', 'the server is stopping: connect again'));
      if (draining.aborted) interrupt();
      else iterator.next().then(resolve, reject);
      const { done, value } = await promise;
      if (done) return;
      yield value;
    }
  } finally {
    draining.removeEventListener('abort', onDrain);
    // Not awaited: a generator that waits for its next event returns only when that comes.
    void iterator.return?.().catch(() => {});
  }
}
