import type { DescService } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { Failure } from '../kernel/failure.ts';
import { wrapMethods } from './implementation.ts';

/**
 * The implementation of a service whose streams end as soon as the server starts to stop, with a code that tells the
 * client to come back, and with the error of a call that was aborted. Of a bidirectional stream the requests end so,
 * and the implementation answers those that it has taken. Unary calls are left to finish.
 */
export function withStreamEnds<S extends DescService>(
  { methods }: S,
  implementation: Partial<ServiceImpl<S>>,
  draining: AbortSignal,
): Partial<ServiceImpl<S>> {
  return wrapMethods(methods, implementation, ({ methodKind }, open) => {
    if (methodKind === 'unary' || methodKind === 'client_streaming') return undefined;
    if (methodKind === 'server_streaming') {
      return (request, context) => untilEnd(open(request, context) as AsyncIterable<unknown>, draining, context.signal);
    }
    return (requests, context) => {
      const taken = untilEnd(requests as AsyncIterable<unknown>, draining, undefined);
      return untilAborted(open(taken, context) as AsyncIterable<unknown>, context.signal);
    };
  });
}

/** Ends with the reason of an abort: an implementation returns then, which does not mean that there is no more. */
async function* untilAborted<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  yield* messages;
  signal.throwIfAborted();
}

async function* untilEnd<T>(
  messages: AsyncIterable<T>,
  draining: AbortSignal,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
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
      if (done) {
        signal?.throwIfAborted(); // an implementation returns then, which does not mean that there is no more
        return;
      }
      yield value;
    }
  } finally {
    draining.removeEventListener('abort', onDrain);
    // Not awaited: a generator that waits for its next event returns only when that comes.
    void iterator.return?.().catch(() => {});
  }
}
