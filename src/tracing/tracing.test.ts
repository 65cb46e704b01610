import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { afterEach, describe, expect, test } from 'vitest';
import { Failure } from '../kernel/failure.ts';
import { findTracing, type Tracing } from './tracing.ts';

afterEach(() => {
  trace.disable();
  context.disable();
});

async function record() {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  trace.setGlobalTracerProvider(provider);
  return { tracing: (await findTracing())!, provider, exporter };
}

/** Runs work for a call, so to speak. */
function inCall<T>(tracing: Tracing, work: () => T): T {
  return context.with(trace.setSpan(context.active(), tracing.tracer.startSpan('call')), work);
}

const WORK = () => ({ name: 'work' });

test('without an SDK there is no tracing', async () => {
  expect(await findTracing()).toBeUndefined();
});

test('an SDK that was registered is found', async () => {
  await record();
  expect(await findTracing()).toBeDefined();
});

describe('work', () => {
  test('that belongs to no call has no span', async () => {
    const { tracing, exporter } = await record();
    expect(tracing.run(WORK, () => 1)).toBe(1);
    expect(await tracing.run(WORK, async () => 2)).toBe(2);
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  test('that goes on when its call has ended has no span', async () => {
    const { tracing, exporter } = await record();
    inCall(tracing, () => {
      trace.getActiveSpan()?.end();
      tracing.run(WORK, () => 1);
    });
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(['call']);
  });

  test('that returns at once is not made a promise', async () => {
    const { tracing, exporter } = await record();
    expect(inCall(tracing, () => tracing.run(WORK, () => 'row'))).toBe('row');
    expect(exporter.getFinishedSpans()).toMatchObject([{ name: 'work', status: { code: SpanStatusCode.UNSET } }]);
  });

  test('that takes time has a span until it is done, which is the parent of what it does', async () => {
    const { tracing, exporter } = await record();
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = inCall(tracing, () =>
      tracing.run(WORK, async () => {
        await promise;
        tracing.run(
          () => ({ name: 'part' }),
          () => {},
        );
      }),
    );
    expect(exporter.getFinishedSpans()).toEqual([]);
    resolve();
    await done;
    const [part, work] = exporter.getFinishedSpans();
    expect([part?.name, work?.name]).toEqual(['part', 'work']);
    expect(part?.parentSpanContext?.spanId).toBe(work?.spanContext().spanId);
  });

  test.each([
    ['a Failure', new Failure('server_busy', 'a secret'), 'server_busy'],
    ['an error', new TypeError('a secret'), 'TypeError'],
    ['anything', 'a secret', 'string'],
  ])('that throws %s has a span that says its kind, and no more', async (_, thrown, type) => {
    const { tracing, exporter } = await record();
    const fail = (): never => {
      throw thrown;
    };
    await expect((async () => inCall(tracing, () => tracing.run(WORK, fail)))()).rejects.toBe(thrown);
    await expect(inCall(tracing, () => tracing.run(WORK, async () => fail()))).rejects.toBe(thrown);
    for (const span of exporter.getFinishedSpans()) {
      expect(span).toMatchObject({
        attributes: { 'error.type': type },
        status: { code: SpanStatusCode.ERROR },
        events: [],
      });
      expect(span.status.message).toBeUndefined();
    }
    expect(exporter.getFinishedSpans()).toHaveLength(2);
  });
});

describe('flushing', () => {
  test.each([
    ['waits for the SDK', async () => {}],
    ['does not wait for ever', () => new Promise<void>(() => {})],
    ['does not fail when the SDK does', () => Promise.reject(new Error('no collector'))],
    [
      'does not fail when the SDK throws',
      () => {
        throw new Error('no collector');
      },
    ],
  ])('%s', async (_, forceFlush) => {
    const { tracing, provider } = await record();
    let calls = 0;
    provider.forceFlush = () => {
      calls += 1;
      return forceFlush();
    };
    await tracing.flush(20);
    expect(calls).toBe(1);
  });
});
