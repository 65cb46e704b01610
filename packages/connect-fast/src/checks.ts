import type { Message } from '@bufbuild/protobuf';
import type { HandlerContext, Interceptor } from '@connectrpc/connect';

/**
 * Looks at a request message before the implementation is given it, and may bring it into another form. Throws, or
 * rejects with, what the call is refused with. No promise where nothing has to be waited for: each takes its time.
 */
export type Check = (call: Pick<HandlerContext, 'method' | 'values'>, message: Message) => void | Promise<void>;

/** Runs checks in their order, each when the one before has passed. A promise only where one of them gives one. */
export function runChecks(
  checks: readonly Check[],
  call: Pick<HandlerContext, 'method' | 'values'>,
  message: Message,
): void | Promise<void> {
  for (let i = 0; i < checks.length; i++) {
    const pending = checks[i]!(call, message);
    if (pending !== undefined) return pending.then(() => runChecks(checks.slice(i + 1), call, message));
  }
}

/** Runs checks for calls that Connect serves. */
export function createCheckInterceptor(checks: readonly Check[]): Interceptor {
  return (next) => async (request) => {
    const call = { method: request.method, values: request.contextValues };
    if (request.stream) return next({ ...request, message: checked(request.message, checks, call) });
    await runChecks(checks, call, request.message);
    return next(request);
  };
}

async function* checked<T extends Message>(
  messages: AsyncIterable<T>,
  checks: readonly Check[],
  call: Pick<HandlerContext, 'method' | 'values'>,
): AsyncGenerator<T> {
  for await (const message of messages) {
    await runChecks(checks, call, message);
    yield message;
  }
}
