import { setTimeout as sleep } from 'node:timers/promises';
import type { Attributes, ProxyTracerProvider, Span, SpanKind, Tracer, TracerProvider } from '@opentelemetry/api';
import packageJson from '../../package.json' with { type: 'json' };
import { Failure } from '../kernel/failure.ts';

/** A span to be made. */
export interface SpanDescription {
  readonly name: string;
  /** Default: INTERNAL. */
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Attributes for what the work threw, of which the message is never recorded: it may quote what a caller sent. */
  readonly attributesOf?: (error: unknown) => Attributes;
}

/** OpenTelemetry's API, which is loaded where an SDK is registered alone: it has some fifty modules. */
type Api = typeof import('@opentelemetry/api');

/** Where every copy of the API keeps what an SDK has registered. */
const REGISTERED = Symbol.for('opentelemetry.js.api.1');

/**
 * What records traces: an OpenTelemetry SDK that the process registered before the server started. Undefined without
 * one. It is looked for once, so that code which asks `undefined` pays nothing for traces that nobody records.
 */
export async function findTracing(): Promise<Tracing | undefined> {
  const known = Reflect.get(globalThis, REGISTERED) as { readonly trace?: unknown } | undefined;
  if (known?.trace === undefined) return undefined;
  const api = await import('@opentelemetry/api');
  const registered = api.trace.getTracerProvider();
  // What the API gives without an SDK makes spans that do nothing, at a price.
  const provider = isProxy(registered) ? registered.getDelegate() : registered;
  const tracer = isProxy(registered)
    ? registered.getDelegateTracer(SCOPE, VERSION)
    : provider.getTracer(SCOPE, VERSION);
  return tracer && new Tracing(api, tracer, provider);
}

/** The instrumentation scope of all spans. */
const SCOPE = 'kith';
const VERSION = packageJson.version;

/** The API's own class, perhaps of another copy of the API. */
function isProxy(provider: TracerProvider): provider is ProxyTracerProvider {
  return 'getDelegateTracer' in provider;
}

/** Makes spans, with the tracer of an SDK. */
export class Tracing {
  readonly api: Api;
  readonly tracer: Tracer;
  readonly #provider: TracerProvider;

  constructor(api: Api, tracer: Tracer, provider: TracerProvider) {
    this.api = api;
    this.tracer = tracer;
    this.#provider = provider;
  }

  /**
   * Runs work in a span of its own, a child of the one that is active. Without one that is being recorded, as in work
   * that belongs to no call or goes on after its call has ended, it just runs the work.
   *
   * The span ends when the work returns or its promise settles; with an error it has the status ERROR and `error.type`.
   */
  run<T>(describe: () => SpanDescription, work: (span: Span | undefined) => T): T {
    const { context, SpanKind, SpanStatusCode, trace } = this.api;
    if (trace.getActiveSpan()?.isRecording() !== true) return work(undefined);
    const { name, kind = SpanKind.INTERNAL, attributes = {}, attributesOf } = describe();
    const span = this.tracer.startSpan(name, { kind, attributes });
    const end = (): void => span.end();
    const fail = (error: unknown): never => {
      span.setAttributes({ 'error.type': errorTypeOf(error), ...attributesOf?.(error) });
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
      throw error;
    };
    let result: T;
    try {
      result = context.with(trace.setSpan(context.active(), span), () => work(span));
    } catch (error) {
      return fail(error);
    }
    if (!(result instanceof Promise)) {
      end();
      return result;
    }
    return result.then((value: unknown) => {
      end();
      return value;
    }, fail) as T;
  }

  /** Has the SDK export what it still holds, and waits for that so many milliseconds at the most. Never rejects. */
  async flush(waitMaxMs: number): Promise<void> {
    const provider = this.#provider as Partial<Flushable>;
    try {
      await Promise.race([provider.forceFlush?.(), sleep(waitMaxMs, undefined, { ref: false })]);
    } catch {
      // The SDK tells its own log of it.
    }
  }
}

/** https://opentelemetry.io/docs/specs/otel/trace/sdk/#forceflush, which the API does not have. */
interface Flushable {
  forceFlush(): Promise<void>;
}

/** A name for a kind of error, of which there are few. */
function errorTypeOf(error: unknown): string {
  if (error instanceof Failure) return error.reason;
  return error instanceof Error ? error.name : typeof error;
}
