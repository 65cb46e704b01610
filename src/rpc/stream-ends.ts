import type { DescService } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { Failure } from '../kernel/failure.ts';

type OpenStream = (request: unknown, context: HandlerContext) => AsyncIterable<unknown>;

/**
 * The implementation of a service whose streams end as soon as the server starts to stop, with a code that tells the
 * client to come back, and with the error of a call that was aborted. Unary calls are left to finish.
 */
export function withStreamEnds<S extends DescService>(
  service: S,
  implementation: Partial<ServiceImpl<S>>,
  draining: AbortSignal,
): Partial<ServiceImpl<S>> {
  const ending: Record<string, unknown> = { ...implementation };
  for (const { localName, methodKind } of service.methods) {
    const implemented = ending[localName];
    if (methodKind === 'unary' || methodKind === 'client_streaming' || typeof implemented !== 'function') continue;
    const open = implemented.bind(implementation) as OpenStream;
    ending[localName] = (request: unknown, context: HandlerContext) =>
      untilEnd(open(request, context), draining, context.signal);
  }
  return ending as Partial<ServiceImpl<S>>;
}

async function* untilEnd<T>(messages: AsyncIterable<T>, draining: AbortSignal, signal: AbortSignal): AsyncGenerator<T> {
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
        signal.throwIfAborted(); // an implementation returns then, which does not mean that there is no more
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
