import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, createContextValues, type HandlerContext } from '@connectrpc/connect';
import type { Exchange } from './exchange.ts';

/** What else a context is made of. */
export interface ContextInit {
  readonly method: DescMethod;
  readonly exchange: Exchange;
  readonly protocolName: 'connect' | 'grpc' | 'grpc-web';
  readonly timeoutMs: number | undefined;
  readonly values: ContextValues | undefined;
  readonly shutdown: AbortSignal | undefined;
}

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
  readonly #exchange: Exchange;
  readonly #shutdown: AbortSignal | undefined;
  readonly #deadlineMs: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #values: ContextValues | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #controller: AbortController | undefined;
  #onShutdown: (() => void) | undefined;
  #isAborted = false;
  #reason: unknown;

  constructor({ method, exchange, protocolName, timeoutMs, values, shutdown }: ContextInit) {
    this.method = method;
    this.service = method.parent;
    this.protocolName = protocolName;
    this.requestMethod = exchange.method;
    this.#exchange = exchange;
    this.#values = values;
    this.#shutdown = shutdown;
    if (timeoutMs !== undefined) {
      this.#deadlineMs = Date.now() + timeoutMs;
      this.#timer = setTimeout(
        () => this.interrupt(new ConnectError('the operation timed out', Code.DeadlineExceeded)),
        timeoutMs,
      );
    }
  }

  get url(): string {
    return this.#exchange.url;
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

  timeoutMs(): number | undefined {
    return this.#deadlineMs === undefined ? undefined : this.#deadlineMs - Date.now();
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isAborted) this.#controller.abort(this.#reason);
      else this.#followShutdown();
    }
    return this.#controller.signal;
  }

  #followShutdown(): void {
    const shutdown = this.#shutdown;
    if (shutdown === undefined) return;
    const onShutdown = () => this.interrupt(shutdown.reason);
    if (shutdown.aborted) return onShutdown();
    this.#onShutdown = onShutdown;
    shutdown.addEventListener('abort', onShutdown, { once: true });
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
    clearTimeout(this.#timer);
    if (this.#onShutdown !== undefined) this.#shutdown?.removeEventListener('abort', this.#onShutdown);
    this.#controller?.abort(reason);
  }

  /** Ends the call, with an error unless it went well. Called just before the status is written, as Connect does. */
  abort(reason?: unknown): void {
    this.interrupt(reason);
  }
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
