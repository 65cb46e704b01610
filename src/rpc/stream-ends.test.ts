import { getEventListeners } from 'node:events';
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { RevocationService } from '../../gen/kith/auth/v1/revocation_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { withStreamEnds } from './stream-ends.ts';

async function* from(messages: readonly unknown[], error?: Error): AsyncIterable<unknown> {
  yield* messages;
  if (error) throw error;
}

/** A stream that sends what it is told to, and tells when it is let go. */
function channel() {
  const released = Promise.withResolvers<void>();
  const waiting: ((message: IteratorResult<unknown>) => void)[] = [];
  return {
    released: released.promise,
    send: (value: unknown) => waiting.shift()!({ done: false, value }),
    messages: {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<IteratorResult<unknown>>((resolve) => waiting.push(resolve)),
        return: async () => {
          released.resolve();
          return { done: true as const, value: undefined };
        },
      }),
    },
  };
}

async function collect(messages: AsyncIterable<unknown>): Promise<{ messages: unknown[]; error: unknown }> {
  const collected: unknown[] = [];
  try {
    for await (const message of messages) collected.push(message);
  } catch (error) {
    return { messages: collected, error };
  }
  return { messages: collected, error: undefined };
}

describe('a stream', () => {
  const opened = (
    draining: AbortController,
    messages: AsyncIterable<unknown>,
    signal = new AbortController().signal,
  ): AsyncIterable<unknown> => {
    const implementation = { watchRevocations: () => messages } as unknown as ServiceImpl<typeof RevocationService>;
    const { watchRevocations } = withStreamEnds(RevocationService, implementation, draining.signal);
    return watchRevocations!({} as never, { signal } as HandlerContext);
  };

  test('passes every message on, and then the end', async () => {
    const draining = new AbortController();
    const messages = Array.from({ length: 100 }, (_, i) => i);
    expect(await collect(opened(draining, from(messages)))).toEqual({ messages, error: undefined });
    expect(getEventListeners(draining.signal, 'abort')).toEqual([]);
  });

  test('passes an error on', async () => {
    const draining = new AbortController();
    const error = new Error('broken');
    expect(await collect(opened(draining, from([1], error)))).toEqual({ messages: [1], error });
    expect(getEventListeners(draining.signal, 'abort')).toEqual([]);
  });

  test('that returns when its call is aborted ends with the reason', async () => {
    const reason = new ConnectError('too late', Code.DeadlineExceeded);
    const outcome = await collect(opened(new AbortController(), from([1]), AbortSignal.abort(reason)));
    expect(outcome).toEqual({ messages: [1], error: reason });
  });

  test('that waits ends when the server drains, and lets its source go', async () => {
    const draining = new AbortController();
    const { messages, send, released } = channel();
    const outcome = collect(opened(draining, messages));
    await new Promise(setImmediate);
    send('first');
    await new Promise(setImmediate);
    draining.abort();
    expect(await outcome).toMatchObject({ messages: ['first'], error: { reason: 'server_unavailable' } });
    await released;
    expect(getEventListeners(draining.signal, 'abort')).toEqual([]);
  });

  test('that never pauses ends when the server drains', async () => {
    const draining = new AbortController();
    async function* endless() {
      for (let i = 0; ; i++) {
        if (i === 1000) draining.abort();
        yield i;
      }
    }
    const { messages, error } = await collect(opened(draining, endless()));
    expect(error).toMatchObject({ reason: 'server_unavailable' });
    expect(messages.length).toBeLessThanOrEqual(1001);
  });

  test('does not begin when the server drains already', async () => {
    const draining = new AbortController();
    draining.abort();
    const { messages, released } = channel();
    expect(await collect(opened(draining, messages))).toMatchObject({
      messages: [],
      error: { reason: 'server_unavailable' },
    });
    await released;
  });

  test('lets its source go when the caller leaves', async () => {
    const draining = new AbortController();
    const { messages, send, released } = channel();
    const iterator = opened(draining, messages)[Symbol.asyncIterator]();
    const first = iterator.next();
    send('first');
    expect(await first).toEqual({ done: false, value: 'first' });
    await iterator.return?.();
    await released;
    expect(getEventListeners(draining.signal, 'abort')).toEqual([]);
  });
});

test('a unary call is left to finish when the server drains', async () => {
  const answer = { user: undefined };
  const ending = withStreamEnds(UserService, { getUser: () => answer }, AbortSignal.abort());
  expect(await ending.getUser!({} as never, {} as HandlerContext)).toBe(answer);
});
