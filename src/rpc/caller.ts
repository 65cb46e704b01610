import { type ContextValues, createContextKey } from '@connectrpc/connect';
import type { Caller } from '../kernel/access.ts';

const callerKey = createContextKey<Caller | undefined>(undefined, { description: 'caller' });

/** Notes who makes the call; the request gate does, before the body is read. */
export function setCaller(values: ContextValues, caller: Caller): void {
  values.set(callerKey, caller);
}

/** Who makes the call, or undefined on a public method. */
export function findCaller(values: ContextValues): Caller | undefined {
  return values.get(callerKey);
}

/** Who makes the call, on a method that is not public. */
export function callerOf({ values }: { readonly values: ContextValues }): Caller {
  const caller = findCaller(values);
  if (caller === undefined) throw new Error('a public method has no caller');
  return caller;
}
