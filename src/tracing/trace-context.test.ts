import { createTraceState } from '@opentelemetry/api';
import { describe, expect, test } from 'vitest';
import { readTraceContext } from './trace-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

describe('a traceparent', () => {
  test.each([
    ['of version 00', `00-${TRACE}-${SPAN}-01`, 1],
    ['that is not sampled', `00-${TRACE}-${SPAN}-00`, 0],
    ['with flags that level 1 does not know', `00-${TRACE}-${SPAN}-ff`, 1],
    ['with such flags, not sampled', `00-${TRACE}-${SPAN}-02`, 0],
    ['of a later version', `01-${TRACE}-${SPAN}-01`, 1],
    ['of a later version, with more at its end', `cc-${TRACE}-${SPAN}-01-what-the-future-has`, 1],
  ])('%s is read', (_, header, traceFlags) => {
    expect(readTraceContext(header)).toEqual({ traceId: TRACE, spanId: SPAN, traceFlags, isRemote: true });
  });

  test.each([
    ['is missing', undefined],
    ['is empty', ''],
    ['has version ff', `ff-${TRACE}-${SPAN}-01`],
    ['has a version in capital letters', `0A-${TRACE}-${SPAN}-01`],
    ['has a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['has a span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['has a trace id in capital letters', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ['has a span id in capital letters', `00-${TRACE}-${SPAN.toUpperCase()}-01`],
    ['has flags in capital letters', `00-${TRACE}-${SPAN}-0A`],
    ['has a short trace id', `00-${TRACE.slice(1)}-${SPAN}-01`],
    ['has a long trace id', `00-${TRACE}0-${SPAN}-01`],
    ['has a short span id', `00-${TRACE}-${SPAN.slice(1)}-01`],
    ['has letters that are no digits', `00-${TRACE.replace('f', 'g')}-${SPAN}-01`],
    ['has no flags', `00-${TRACE}-${SPAN}`],
    ['has one digit of flags', `00-${TRACE}-${SPAN}-1`],
    ['has more at its end than version 00 has', `00-${TRACE}-${SPAN}-01-more`],
    ['has a dash at its end in version 00', `00-${TRACE}-${SPAN}-01-`],
    ['has other separators', `00_${TRACE}_${SPAN}_01`],
    ['has more behind a later version without a dash', `01-${TRACE}-${SPAN}-01more`],
    ['was sent twice', `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`],
    ['is very long', `00-${TRACE.repeat(400)}-${SPAN}-01`],
  ])('is ignored when it %s', (_, header) => {
    expect(readTraceContext(header)).toBeUndefined();
  });
});

function membersOf(count: number): string {
  return Array.from({ length: count }, (_, i) => `k${i}=v`).join(',');
}

describe('a tracestate', () => {
  const stateOf = (tracestate: string) =>
    readTraceContext(`00-${TRACE}-${SPAN}-01`, tracestate, createTraceState)?.traceState;

  test('is kept in its order', () => {
    expect(stateOf('congo=t61rcWkgMzE,rojo=00f067aa0ba902b7')?.serialize()).toBe(
      'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7',
    );
  });

  test.each([
    ['of more than 512 characters is left out', `a=${'x'.repeat(255)},b=${'x'.repeat(255)}`, undefined],
    ['of 32 members is kept', membersOf(32), membersOf(32)],
    ['of more than 32 members is left out', membersOf(33), undefined],
    ['without a value is left out', 'congo', ''],
    ['keeps the members that are valid', 'UPPER=1,congo=2,=3', 'congo=2'],
  ])('%s', (_, tracestate, kept) => {
    expect(stateOf(tracestate)?.serialize()).toBe(kept);
  });

  test('means nothing without a traceparent', () => {
    expect(readTraceContext(undefined, 'congo=1', createTraceState)).toBeUndefined();
  });
});
