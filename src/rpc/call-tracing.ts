import type { DescService } from '@bufbuild/protobuf';
import { Code, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { codeToString } from '@connectrpc/connect/protocol-connect';
import type { Context, Span, SpanContext } from '@opentelemetry/api';
import { findHeader } from '../../packages/connect-fast/src/index.ts';
import { readTraceContext } from '../tracing/trace-context.ts';
import type { Tracing } from '../tracing/tracing.ts';
import { wrapMethods } from './implementation.ts';

type CallValues = Pick<HandlerContext, 'values'>;

interface TracedCall {
  readonly span: Span;
  /** Active while anything runs for the call. */
  readonly active: Context;
}

const tracedKey = createContextKey<TracedCall | undefined>(undefined, { description: 'span of the call' });

/**
 * Codes that say that the server failed, and not that it refused a call
 * (https://opentelemetry.io/docs/specs/semconv/rpc/grpc/, note on rpc.status_code; Connect's are the same).
 */
const FAULTS = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

/**
 * A span for each call, after OpenTelemetry's conventions for RPC, version 1.45. It is the child of the span that the
 * caller names in `traceparent`, and active while anything runs for the call, so that spans of the database and of
 * other libraries become its children.
 *
 * Nothing of messages and headers is recorded.
 */
export class CallTracing {
  readonly #tracing: Tracing;

  constructor(tracing: Tracing) {
    this.#tracing = tracing;
  }

  /** Begins the span of a call. One that the fast path hands over to Connect has it already. */
  begin(call: HandlerContext, requestId: string): void {
    const { values, method, protocolName } = call;
    if (values.get(tracedKey) !== undefined) return;
    const { context: contexts, createTraceState, SpanKind, trace } = this.#tracing.api;
    const around = contexts.active();
    // Instrumentation of HTTP has read the header, and made a span that stands between.
    const caller =
      trace.getSpan(around) === undefined
        ? readTraceContext(findHeader(call, 'traceparent'), findHeader(call, 'tracestate'), createTraceState)
        : undefined;
    const parent = caller === undefined ? around : trace.setSpanContext(around, caller);
    const name = `${method.parent.typeName}/${method.name}`;
    const attributes = {
      'rpc.system.name': protocolName === 'connect' ? 'connectrpc' : 'grpc',
      'rpc.method': name,
      'kith.protocol': protocolName,
      'kith.request_id': requestId,
    };
    const span = this.#tracing.tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
    values.set(tracedKey, { span, active: trace.setSpan(parent, span) });
  }

  /** Ends it. `reason` is that of the contract, as the log writes it. */
  end({ values, protocolName }: HandlerContext, code: Code | undefined, reason: string | undefined): void {
    const span = values.get(tracedKey)?.span;
    if (span === undefined) return;
    const status = statusOf(protocolName, code);
    if (status !== undefined) span.setAttribute('rpc.status_code', status);
    if (reason !== undefined) span.setAttribute('kith.error.reason', reason);
    if (status !== undefined && code !== undefined && FAULTS.has(code)) {
      span.setAttribute('error.type', status);
      span.setStatus({ code: this.#tracing.api.SpanStatusCode.ERROR });
    }
    span.end();
  }

  /** The span of a call, which the log names. */
  spanOf({ values }: CallValues): SpanContext | undefined {
    const span = values.get(tracedKey)?.span.spanContext();
    return span !== undefined && this.#tracing.api.trace.isSpanContextValid(span) ? span : undefined;
  }

  /** Runs what is done for a call, with its span active. */
  within<T>({ values }: CallValues, work: () => T): T {
    const call = values.get(tracedKey);
    return call === undefined ? work() : this.#tracing.api.context.with(call.active, work);
  }

  /** The implementation of a service, whose methods run with the spans of their calls active: streams each time that they are asked for a message. */
  trace<T extends object>({ methods }: DescService, implementation: T): T {
    return wrapMethods(methods, implementation, ({ methodKind }, run) => {
      const isStream = methodKind === 'server_streaming' || methodKind === 'bidi_streaming';
      return (request, context) => {
        const answer = this.within(context, () => run(request, context));
        return isStream ? this.#eachWithin(context, answer as AsyncIterable<unknown>) : answer;
      };
    });
  }

  /** A generator runs in the context of whoever asks it for the next message, and not in the one it was made in. */
  #eachWithin(call: CallValues, messages: AsyncIterable<unknown>): AsyncIterable<unknown> {
    return {
      [Symbol.asyncIterator]: () => {
        const iterator = messages[Symbol.asyncIterator]();
        const { return: end } = iterator;
        return {
          next: () => this.within(call, () => iterator.next()),
          ...(end && { return: (value?: unknown) => this.within(call, () => end.call(iterator, value)) }),
        };
      },
    };
  }
}

/** The span that a caller says it makes the call in. */
export function callerSpanOf(call: HandlerContext): SpanContext | undefined {
  return readTraceContext(findHeader(call, 'traceparent'));
}

/** What the protocol calls a code; Connect has a name only for those of errors. */
function statusOf(protocol: string, code: Code | undefined): string | undefined {
  if (protocol === 'connect') return code && codeToString(code);
  if (code === undefined) return 'OK';
  return code === Code.Canceled ? 'CANCELLED' : codeToString(code).toUpperCase();
}
