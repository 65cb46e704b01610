import { Code, ConnectError, type Interceptor, type StreamResponse, type UnaryResponse } from '@connectrpc/connect';
import { blameRequest } from './call.ts';
import { toConnectError } from './errors.ts';

/** Turns what handlers and later interceptors throw into what callers are answered, for unary calls and streams. */
export function createErrorInterceptor(): Interceptor {
  return (next) => async (request) => {
    try {
      if (!request.stream) return await next(request);
      const response = await next({ ...request, message: blamingRequest(request.message) });
      if (!response.stream) return response;
      return { ...response, message: convertingErrors(response.message) };
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

async function* convertingErrors<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* messages;
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
