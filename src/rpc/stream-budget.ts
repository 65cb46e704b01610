import type { DescService } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { Budget, type BudgetLimits } from '../budget/budget.ts';
import { isStranger } from '../budget/payer.ts';
import { payerOfCall } from './call-budgets.ts';
import { type MethodImplementation, wrapMethods } from './implementation.ts';

/** What open streams are charged to. */
export interface StreamBudgets {
  /** Streams of users and of their API keys. */
  readonly watches: Budget;
  /** Streams that take no sign-in: health checks and reflection. */
  readonly publicStreams: Budget;
}

/** Streams that take no sign-in: one address stands for everybody behind one proxy or on one machine. */
const PUBLIC_STREAMS = { perCaller: 100, total: 1000, little: 4 };

/** `perCaller` and `total` are of the streams of users and of their API keys in this process. */
export function createStreamBudgets({ perCaller, total }: Pick<BudgetLimits, 'perCaller' | 'total'>): StreamBudgets {
  return {
    watches: new Budget({ name: 'watches', perCaller, total }),
    publicStreams: new Budget({ name: 'public_streams', ...PUBLIC_STREAMS, strangers: PUBLIC_STREAMS.total }),
  };
}

/**
 * The implementation of a service, whose streams are charged to their callers as long as they
 * are open. One too many throws budget_exceeded or server_busy before anything is read for it.
 */
export function withStreamBudget<S extends DescService>(
  { methods }: S,
  implementation: Partial<ServiceImpl<S>>,
  budgets: StreamBudgets,
): Partial<ServiceImpl<S>> {
  return wrapMethods(methods, implementation, ({ methodKind }, open) =>
    methodKind === 'unary' ? undefined : limitStreams(open, budgets),
  );
}

function limitStreams(open: MethodImplementation, { watches, publicStreams }: StreamBudgets): MethodImplementation {
  return (request, context) => {
    const { signal } = context;
    signal.throwIfAborted(); // it tells of its end once
    const payer = payerOfCall(context);
    const charge = (isStranger(payer) ? publicStreams : watches).charge(payer, 1);
    // Not at the end of a generator: with a reader that leaves while standing still, it is never resumed.
    signal.addEventListener('abort', () => charge.release(), { once: true });
    return open(request, context);
  };
}
