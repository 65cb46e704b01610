import type { IncomingHttpHeaders } from 'node:http';
import type {
  BinaryReadOptions,
  BinaryWriteOptions,
  DescMessage,
  DescMethod,
  JsonReadOptions,
  JsonWriteOptions,
  JsonWriteStringOptions,
  Message,
} from '@bufbuild/protobuf';
import type {
  ConnectError,
  ConnectRouter,
  ConnectRouterOptions,
  ContextValues,
  HandlerContext,
  Interceptor,
} from '@connectrpc/connect';
import type { Compression } from '@connectrpc/connect/protocol';
import type { Check } from './checks.ts';

/** The head of an HTTP request, over either version of HTTP. */
export interface RequestHead {
  readonly method: string;
  /** The path with its query, as it was sent. */
  readonly target: string;
  readonly httpVersion: '1.1' | '2.0';
  readonly headers: IncomingHttpHeaders;
  /** The address of the peer; empty if the connection is gone. */
  readonly remoteAddress: string;
}

/** Writes and reads messages. Each function has the results and the refusals of that of Protobuf-ES. */
export interface Codec {
  readonly fromBinary: (desc: DescMessage, bytes: Uint8Array, options?: Partial<BinaryReadOptions>) => Message;
  /** `toBinary`, but behind so many bytes that are for the caller to write. */
  readonly toBinaryBehind: (
    desc: DescMessage,
    message: Message,
    headBytes: number,
    options?: Partial<BinaryWriteOptions>,
  ) => Uint8Array<ArrayBuffer>;
  readonly fromJsonString: (desc: DescMessage, text: string, options?: Partial<JsonReadOptions>) => Message;
  readonly toJsonString: (desc: DescMessage, message: Message, options?: Partial<JsonWriteStringOptions>) => string;
}

type Replaced = 'acceptCompression' | 'interceptors' | 'jsonOptions' | 'requestGate' | 'shutdownSignal';

/** Options of Connect's router, and what is for the fast path. All but `routes` have defaults, those of Connect. */
export interface FastHandlersOptions extends Omit<ConnectRouterOptions, Replaced> {
  /** Registers services. It may also wrap `router.handlers`, which serve what the fast path leaves to Connect. */
  readonly routes: (router: ConnectRouter) => void;
  /** Default: gzip and Brotli. The first is preferred if the client has no preference. */
  readonly acceptCompression?: readonly Compression[];
  readonly interceptors?: readonly Interceptor[];
  /** `textDecoder` decodes requests in JSON, e.g. one that refuses what is not UTF-8. */
  readonly jsonOptions?: (ConnectRouterOptions['jsonOptions'] & { readonly textDecoder?: TextDecoder }) | undefined;
  readonly requestGate?: ((context: HandlerContext) => void | Promise<void>) | undefined;
  readonly shutdownSignal?: AbortSignal | undefined;
  /** Before the path of each method, e.g. `/api`. */
  readonly requestPathPrefix?: string;

  /** The context values of a call. */
  readonly contextValues?: (request: RequestHead) => ContextValues;
  /** Headers of every response to a call. */
  readonly responseHeaders?: (request: RequestHead, values: ContextValues) => Readonly<Record<string, string>>;
  /** Whether the fast path may serve a request; false leaves it to the fallback. Default: always. */
  readonly accepts?: (request: RequestHead) => boolean;
  /**
   * Called once at the end of each call, with the error if it failed, just before its status is written: the
   * error may still be changed. Must not throw.
   */
  readonly onCallEnd?: ((context: HandlerContext, error: unknown, durationMs: number) => void) | undefined;
  /** Called if an answer could not be written, for another reason than that the client left. Default: console.error. */
  readonly onFault?: (error: unknown) => void;
  /** What the fallback has in place of these options, if anything. */
  readonly fallback?: {
    readonly interceptors?: readonly Interceptor[];
    readonly requestGate?: (context: HandlerContext) => void | Promise<void>;
  };

  /** Functions to write and read messages with, such as those of @kith/protobuf-compiled. Default: those of Protobuf-ES. */
  readonly codec?: Partial<Codec>;
  /** The largest request message of a method, bytes, decompressed; asked once for each. Default: `readMaxBytes`. */
  readonly readMaxBytesOf?: (method: DescMethod) => number;
  /** Looks at the bytes of a request message before it is parsed; what it returns refuses the call. */
  readonly checkBytes?: (method: DescMethod, bytes: Uint8Array, isBinary: boolean) => ConnectError | undefined;
  /**
   * Run in their order with each request message, after the interceptors, on the fast path and in the fallback. They
   * cost a small call less than an interceptor does, whose arguments take as long to make as the rest of it.
   */
  readonly checks?: readonly Check[];
  /**
   * Whether a unary call is answered as soon as its deadline passes or the server shuts down, rather than when
   * its implementation returns. Default: false, as in Connect.
   */
  readonly abandonsInterrupted?: boolean;
  /**
   * Compresses a response message unless the client has left (`isWanted`). Undefined sends it as it is. Default:
   * the compression that was negotiated.
   */
  readonly compressAnswer?: (
    name: string,
    bytes: Uint8Array,
    context: HandlerContext,
    isWanted: () => boolean,
  ) => Promise<Uint8Array | undefined>;
  /** Decompresses a request message. Default: the compression that it names. */
  readonly decompressRequest?: (
    context: HandlerContext,
    name: string,
    bytes: Uint8Array,
    maxBytes: number,
  ) => Promise<Uint8Array>;
  /**
   * Charges a call that the gate has accepted for what it makes the server hold: its body, and its answer until
   * the client has taken it. Throws what refuses the call.
   */
  readonly hold?: (context: HandlerContext) => Hold;
  /** Says when the work on a large request begins, by calling `begin`, at once or later. Default: at once. */
  readonly schedule?: (context: HandlerContext, begin: () => void) => void;
  /**
   * Turns what `hold`, checks, interceptors and implementations throw on the fast path into what the call is answered;
   * in the fallback an interceptor does. Default: that very error.
   */
  readonly toError?: (error: unknown) => unknown;
}

/** What a call makes the server hold. */
export interface Hold {
  /** Holds so many bytes more. Throws what refuses the call. */
  grow(bytes: number): void;
  /** Gives a part of them back. */
  shrink(bytes: number): void;
  /** Gives everything back: the call is over, and its answer taken or given up. */
  release(): void;
}

/** The options as the fast path uses them. One shape for all: calls read it often. */
export interface Settings {
  /** Different for each set of handlers in the process. */
  readonly id: number;
  readonly accepts: FastHandlersOptions['accepts'];
  readonly contextValues: FastHandlersOptions['contextValues'];
  readonly responseHeaders: FastHandlersOptions['responseHeaders'];
  readonly onCallEnd: FastHandlersOptions['onCallEnd'];
  readonly onFault: (error: unknown) => void;
  readonly interceptors: readonly Interceptor[];
  readonly requestGate: FastHandlersOptions['requestGate'];
  readonly readMaxBytesOf: (method: DescMethod) => number;
  readonly writeMaxBytes: number;
  readonly maxTimeoutMs: number;
  readonly requireConnectProtocolHeader: boolean;
  /** Names of protocols that are not offered. */
  readonly disabled: ReadonlySet<string>;
  readonly compressMinBytes: number;
  readonly compressions: readonly Compression[];
  readonly jsonOptions:
    | (Partial<JsonReadOptions & JsonWriteOptions> & { readonly textDecoder?: TextDecoder })
    | undefined;
  readonly binaryOptions: Partial<BinaryReadOptions & BinaryWriteOptions> | undefined;
  readonly codec: Codec;
  readonly checkBytes: FastHandlersOptions['checkBytes'];
  readonly checks: readonly Check[];
  readonly abandonsInterrupted: boolean;
  readonly shutdownSignal: AbortSignal | undefined;
  readonly compressAnswer: FastHandlersOptions['compressAnswer'];
  readonly decompressRequest: FastHandlersOptions['decompressRequest'];
  readonly hold: FastHandlersOptions['hold'];
  readonly schedule: FastHandlersOptions['schedule'];
  readonly toError: FastHandlersOptions['toError'];
}
