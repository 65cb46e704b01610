import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, createContextValues, type HandlerContext } from '@connectrpc/connect';
import type { Exchange } from './exchange.ts';

type OnEnd = (context: HandlerContext, error: unknown, durationMs: number) => void;

/**
 * The context of one call, as Connect's handlers give it to gates, interceptors
 * and implementations. What costs (Headers, an AbortController, an absolute URL)
 * is made when somebody first asks for it.
 */
export class CallContext implements HandlerContext {
  readonly method: DescMethod;
  readonly service: DescService;
  readonly protocolName: string;
  readonly requestMethod: string;
  /** When the call began, milliseconds of performance.now(). */
  readonly startMs = performance.now();
  /**
   * Called if the call is interrupted. Give all calls the same function, which finds what it needs in `owner`: with one
   * of its own for each, the garbage collector keeps what belongs to a call much longer, and takes five times as long.
   */
  onInterrupt: ((context: CallContext, reason: unknown) => void) | undefined = undefined;
  /** What serves the call. */
  owner: unknown = undefined;
  readonly #exchange: Exchange;
  #onEnd: OnEnd | undefined;
  /** As `startMs`: a clock that is set moves no deadline. */
  readonly #deadlineMs: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #values: ContextValues | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #controller: AbortController | undefined;
  #isAborted = false;
  #reason: unknown;

  constructor(
    method: DescMethod,
    exchange: Exchange,
    protocolName: 'connect' | 'grpc' | 'grpc-web',
    timeoutMs: number | undefined,
    values: ContextValues | undefined,
    onEnd: OnEnd | undefined,
  ) {
    this.method = method;
    this.service = method.parent;
    this.protocolName = protocolName;
    this.requestMethod = exchange.method;
    this.#exchange = exchange;
    this.#values = values;
    this.#onEnd = onEnd;
    if (timeoutMs !== undefined) {
      this.#deadlineMs = performance.now() + timeoutMs;
      const expire = (): void => this.interrupt(new ConnectError('the operation timed out', Code.DeadlineExceeded));
      if (timeoutMs > 0) this.#timer = setTimeout(expire, timeoutMs);
      else expire();
    }
  }

  get url(): string {
    return this.#exchange.url;
  }

  /** One header of the request, without making Headers of them all. */
  headerOf(name: string): string | undefined {
    const value = this.#exchange.headers[name];
    return Array.isArray(value) ? (this.requestHeader.get(name) ?? undefined) : value;
  }

  get values(): ContextValues {
    return (this.#values ??= createContextValues());
  }

  get requestHeader(): Headers {
    return (this.#requestHeader ??= webHeaders(this.#exchange.headers));
  }

  get responseHeader(): Headers {
    return (this.#responseHeader ??= new Headers());
  }

  get responseTrailer(): Headers {
    return (this.#responseTrailer ??= new Headers());
  }

  /** What an implementation added to the headers, if anything. */
  get addedHeader(): Headers | undefined {
    return this.#responseHeader;
  }

  /** What an implementation added to the trailers, if anything. */
  get addedTrailer(): Headers | undefined {
    return this.#responseTrailer;
  }

  /** Works without its context, as Connect's does: implementations take contexts apart. */
  get timeoutMs(): () => number | undefined {
    return () => (this.#deadlineMs === undefined ? undefined : this.#deadlineMs - performance.now());
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isAborted) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Why the call is over, where it is. */
  get reason(): unknown {
    return this.#reason;
  }

  /** Whether the call is over or nobody waits for it any more. Cheaper than to ask `signal`. */
  get isAborted(): boolean {
    return this.#isAborted;
  }

  /** Tells the implementation to stop: the deadline has passed, or the client is gone. */
  interrupt(reason: unknown): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    this.#reason = reason;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#controller?.abort(reason);
    const { onInterrupt } = this;
    this.onInterrupt = undefined;
    onInterrupt?.(this, reason);
  }

  /** Ends the call, with an error unless it went well. Called just before the status is written, as Connect does. */
  abort(reason?: unknown): void {
    const onEnd = this.#onEnd;
    this.#onEnd = undefined;
    onEnd?.(this, reason, performance.now() - this.startMs);
    this.interrupt(reason);
  }
}

/** Whether a call is served on the fast path. */
export function isFast(context: HandlerContext): boolean {
  return context instanceof CallContext;
}

/** One header of the request of a call. On the fast path it makes no Headers, which takes longer than the rest of a small call. */
export function findHeader(context: HandlerContext, name: string): string | undefined {
  return context instanceof CallContext ? context.headerOf(name) : (context.requestHeader.get(name) ?? undefined);
}

/** Whether a call is over or interrupted, as its signal says; on the fast path without making one. */
export function hasEnded(context: HandlerContext): boolean {
  return context instanceof CallContext ? context.isAborted : context.signal.aborted;
}

function webHeaders(headers: Exchange['headers']): Headers {
  const web = new Headers();
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || name.startsWith(':')) continue;
    if (Array.isArray(value)) for (const each of value) web.append(name, each);
    else web.append(name, value);
  }
  return web;
}
