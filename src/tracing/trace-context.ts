import type { createTraceState, SpanContext } from '@opentelemetry/api';

/**
 * The header traceparent, https://www.w3.org/TR/trace-context-1/#traceparent-header-field-values: version, trace id,
 * the span that calls, flags, and what a later version may add. Version ff, ids of zeros alone and capital letters
 * are invalid.
 */
const TRACEPARENT = /^((?!ff)[\da-f]{2})-((?!0{32})[\da-f]{32})-((?!0{16})[\da-f]{16})-([\da-f]{2})(-.*)?$/;

/**
 * The span that a caller makes its call in, as the headers traceparent and tracestate say
 * (W3C Trace Context, level 1). Undefined for a caller that says nothing or something
 * invalid: the call is then traced as if there were no header, and not refused.
 *
 * A tracestate of more than 32 members or 512 characters is left out, as
 * https://www.w3.org/TR/trace-context-1/#tracestate-limits allows.
 */
export function readTraceContext(
  traceparent: string | undefined,
  tracestate?: string,
  toState?: typeof createTraceState,
): SpanContext | undefined {
  if (traceparent === undefined) return undefined;
  const [, version, traceId, spanId, flags = '', added] = TRACEPARENT.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined) return undefined;
  if (version === '00' && added !== undefined) return undefined;
  const traceFlags = Number.parseInt(flags, 16) & SAMPLED; // the others have no meaning in level 1
  const read = { traceId, spanId, traceFlags, isRemote: true };
  return toState === undefined || tracestate === undefined || isTooLong(tracestate)
    ? read
    : { ...read, traceState: toState(tracestate) };
}

/** TraceFlags.SAMPLED. The API of OpenTelemetry is loaded where an SDK is registered: see findTracing. */
const SAMPLED = 1;

const TRACESTATE_MAX = 512;
const MEMBERS_MAX = 32;

function isTooLong(tracestate: string): boolean {
  return tracestate.length > TRACESTATE_MAX || tracestate.split(',').length > MEMBERS_MAX;
}
