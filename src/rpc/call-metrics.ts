import type { DescMethod } from '@bufbuild/protobuf';
import type { Code } from '@connectrpc/connect';
import { codeToString } from '@connectrpc/connect/protocol-connect';
import { ErrorReason, ErrorReasonSchema } from '../../gen/kith/error/v1/error_pb.ts';
import { Histogram } from '../metrics/histogram.ts';
import type { Labels, Registry, Sample } from '../metrics/registry.ts';

const PROTOCOLS = ['connect', 'grpc', 'grpc-web'] as const;

/** From a call that memory answers to one that has waited for its turn as long as it may. */
const BOUNDS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Above every number of a reason. */
const REASONS_MAX = 1024;

/** The calls of one method that came the same way. */
interface Calls {
  readonly labels: Labels;
  ok: number;
  /** By code * REASONS_MAX + reason. */
  readonly failed: Map<number, number>;
  /** Undefined for streams, which take as long as the client likes. */
  readonly durations: Histogram | undefined;
}

/**
 * Counts calls where they end. A successful call takes two look-ups and allocates nothing. There are as many series
 * as methods, protocols and refusals that were met, whatever clients send.
 */
export class CallMetrics {
  /** Of each method, by way and protocol. */
  readonly #calls = new Map<DescMethod, (Calls | undefined)[]>();

  constructor(registry: Registry) {
    registry.counter('kith_calls_total', 'Calls that ended.', () => this.#counts());
    registry.histogram('kith_call_duration_seconds', 'How long unary calls took, refused ones too.', () =>
      [...this.#all()].flatMap(({ labels, durations }) => (durations === undefined ? [] : [[labels, durations]])),
    );
  }

  /**
   * @param isFast whether the fast path served the call
   * @param code of a call that failed
   * @param reason why it failed, if the contract has a reason for it
   */
  record(
    method: DescMethod,
    protocol: string,
    isFast: boolean,
    durationMs: number,
    code: Code | undefined,
    reason: ErrorReason | undefined,
  ): void {
    const index = (isFast ? PROTOCOLS.length : 0) + (protocol === 'grpc' ? 1 : protocol === 'grpc-web' ? 2 : 0);
    const calls = this.#calls.get(method)?.[index] ?? this.#add(method, index);
    calls.durations?.observe(durationMs / 1000);
    if (code === undefined) {
      calls.ok += 1;
      return;
    }
    const key = code * REASONS_MAX + (reason ?? 0);
    calls.failed.set(key, (calls.failed.get(key) ?? 0) + 1);
  }

  #add(method: DescMethod, index: number): Calls {
    const calls: Calls = {
      labels: {
        method: `${method.parent.typeName}/${method.name}`,
        protocol: PROTOCOLS[index % PROTOCOLS.length] ?? '',
        way: index < PROTOCOLS.length ? 'connect' : 'fast',
      },
      ok: 0,
      failed: new Map(),
      durations: method.methodKind === 'unary' ? new Histogram(BOUNDS_SECONDS) : undefined,
    };
    let ways = this.#calls.get(method);
    if (ways === undefined) this.#calls.set(method, (ways = []));
    ways[index] = calls;
    return calls;
  }

  *#all(): Iterable<Calls> {
    for (const ways of this.#calls.values()) for (const calls of ways) if (calls !== undefined) yield calls;
  }

  *#counts(): Iterable<Sample> {
    for (const { labels, ok, failed } of this.#all()) {
      yield [{ ...labels, code: 'ok', reason: '' }, ok];
      for (const [key, count] of failed) {
        const reason = (key % REASONS_MAX) as ErrorReason;
        // As the log writes it.
        const reasonName = reason === ErrorReason.UNSPECIFIED ? '' : (ErrorReasonSchema.value[reason]?.name ?? '');
        yield [{ ...labels, code: codeToString(Math.floor(key / REASONS_MAX)), reason: reasonName }, count];
      }
    }
  }
}
