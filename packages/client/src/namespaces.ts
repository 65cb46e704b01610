import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { type CallOptions as ConnectCallOptions, Code, ConnectError, type Transport } from '@connectrpc/connect';
import { backoffMs, pause } from './backoff.ts';
import { KithError } from './kith-error.ts';
import { createListing, type Listing } from './listing.ts';
import { type MethodName, methodName } from './method-names.ts';

/** What a single call may say. */
export interface CallOptions {
  /** Ends the call, and the attempts that would follow. */
  readonly signal?: AbortSignal | undefined;
  /** How long the call takes at the most with all attempts, milliseconds. Of a stream: its whole length; default: endless. */
  readonly timeoutMs?: number | undefined;
  /** Headers to send along. */
  readonly headers?: ConnectCallOptions['headers'];
}

/** The methods of a service that take one request, named as {@link MethodName} says. For the others there is `raw()`. */
export type Namespace<Service extends DescService, Noun extends string> = {
  readonly [Rpc in keyof Service['method'] & string as Service['method'][Rpc] extends { methodKind: OneRequest }
    ? MethodName<Rpc, Noun>
    : never]: Method<Service['method'][Rpc], MethodName<Rpc, Noun>, Noun>;
};

type OneRequest = 'unary' | 'server_streaming';

type Method<Desc, Name extends string, Noun extends string> = Desc extends {
  input: infer I extends DescMessage;
  output: infer O extends DescMessage;
  methodKind: infer Kind;
}
  ? Kind extends 'server_streaming'
    ? Call<I, AsyncIterable<MessageShape<O>>>
    : MessageShape<O> extends { nextPageToken: string }
      ? Call<I, Listing<ItemOf<MessageShape<O>>, MessageShape<O>>>
      : Name extends 'update'
        ? Update<I, O, Noun>
        : Call<I, Promise<Answer<MessageShape<O>, Noun>>>
  : never;

type Call<I extends DescMessage, Result> = (request?: MessageInitShape<I>, options?: CallOptions) => Result;

/** A response, in which the resource that the service is about is always there. */
export type Answer<Response, Noun extends string> = Response & {
  [K in keyof Response & Uncapitalize<Noun>]-?: NonNullable<Response[K]>;
};

type ItemOf<Response> = {
  [K in Exclude<keyof Response, `$${string}`>]: Response[K] extends readonly (infer Item extends Message)[]
    ? Item
    : never;
}[Exclude<keyof Response, `$${string}`>];

/** Changes a resource: `update(id, change)` reads it, and writes what the function makes of it. */
export interface Update<I extends DescMessage, O extends DescMessage, Noun extends string> {
  /**
   * Reads the resource, and writes the changes with its etag. When somebody else has changed it in between, reads it again
   * and asks for the changes again, five times at the most; then fails with ETAG_MISMATCH. Without changes (undefined)
   * nothing is written.
   */
  (
    id: string,
    change: (
      current: NonNullable<Answer<MessageShape<O>, Noun>[keyof MessageShape<O> & Uncapitalize<Noun>]>,
    ) => Changes<I, Noun> | undefined | Promise<Changes<I, Noun> | undefined>,
    options?: CallOptions,
  ): Promise<Answer<MessageShape<O>, Noun>>;
  /** Writes what the request says, whatever there is, or with its `etag` alone that. */
  (request: MessageInitShape<I>, options?: CallOptions): Promise<Answer<MessageShape<O>, Noun>>;
}

type Changes<I extends DescMessage, Noun extends string> = Omit<
  Exclude<MessageInitShape<I>, Message>,
  `${Uncapitalize<Noun>}Id` | 'etag' | '$typeName' | '$unknown'
>;

const UPDATES_MAX = 5;
const UPDATE_BACKOFF = { firstMs: 50, maxMs: 1_000 };

type AnyCall = (request?: object, options?: CallOptions) => unknown;
type AnyResponse = Record<string, unknown>;

/** The namespace of a service, whose calls go over the transport. */
export function createNamespace<Service extends DescService, Noun extends string>(
  service: Service,
  noun: Noun,
  transport: Transport,
): Namespace<Service, Noun> {
  const resource = noun.charAt(0).toLowerCase() + noun.slice(1);
  const get = service.methods.find(({ localName }) => methodName(localName, noun) === 'get');
  const methods = service.methods.filter(takesOneRequest).map((method) => {
    const name = methodName(method.localName, noun);
    const isUpdate = name === 'update' && isUnary(method) && get !== undefined && isUnary(get);
    const call = isUpdate ? createUpdate(get, method, resource, transport) : createMethod(method, resource, transport);
    return [name, call];
  });
  return Object.fromEntries(methods) as Namespace<Service, Noun>;
}

function createMethod(
  method: DescMethodUnary | DescMethodServerStreaming,
  resource: string,
  transport: Transport,
): AnyCall {
  if (method.methodKind === 'server_streaming')
    return (request, options) => openStream(method, request, options, transport);
  return 'nextPageToken' in method.output.field
    ? (request, options) => listPages(method, request, options, resource, transport)
    : (request, options) => callUnary(method, request, options, resource, transport);
}

const isUnary = (method: DescMethod): method is DescMethodUnary & DescMethod => method.methodKind === 'unary';
const takesOneRequest = (method: DescMethod): method is (DescMethodUnary | DescMethodServerStreaming) & DescMethod =>
  method.methodKind === 'unary' || method.methodKind === 'server_streaming';

async function callUnary(
  method: DescMethodUnary,
  request: object = {},
  { signal, timeoutMs, headers }: CallOptions = {},
  resource: string,
  transport: Transport,
): Promise<AnyResponse> {
  try {
    const { message } = await transport.unary(
      method,
      signal,
      timeoutMs,
      headers,
      request as MessageInitShape<DescMessage>,
    );
    const response = message as unknown as AnyResponse;
    if (resource in method.output.field && response[resource] === undefined)
      throw new ConnectError(`the answer of ${method.name} has no ${resource}`, Code.Internal);
    return response;
  } catch (thrown) {
    throw KithError.from(thrown);
  }
}

function listPages(
  method: DescMethodUnary,
  request: object = {},
  options: CallOptions | undefined,
  resource: string,
  transport: Transport,
): Listing<unknown, AnyResponse & { nextPageToken: string }> {
  const items = method.output.fields.find(({ fieldKind, message }) => fieldKind === 'list' && message !== undefined);
  if (items === undefined) throw new Error(`${method.name} lists no messages`);
  const { pageToken = '' } = request as { pageToken?: string };
  return createListing(
    pageToken,
    (token) =>
      callUnary(method, { ...request, pageToken: token }, options, resource, transport) as Promise<
        AnyResponse & { nextPageToken: string }
      >,
    (page) => page[items.localName] as unknown[],
  );
}

async function* openStream(
  method: DescMethodServerStreaming,
  request: object = {},
  { signal, timeoutMs, headers }: CallOptions = {},
  transport: Transport,
): AsyncGenerator<Message> {
  const ended = new AbortController();
  const signals = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal]);
  const input = (async function* () {
    yield request as MessageInitShape<DescMessage>;
  })();
  try {
    const response = await transport.stream(method, signals, timeoutMs, headers, input);
    yield* response.message;
  } catch (thrown) {
    throw KithError.from(thrown);
  } finally {
    ended.abort();
  }
}

function createUpdate(get: DescMethodUnary, update: DescMethodUnary, resource: string, transport: Transport) {
  const idField = `${resource}Id`;
  const write = (request: object | undefined, options: CallOptions | undefined) =>
    callUnary(update, request, options, resource, transport);
  return (
    first: string | object,
    second?: ((current: unknown) => unknown) | CallOptions,
    third?: CallOptions,
  ): Promise<AnyResponse> => {
    if (typeof first === 'string' && typeof second === 'function') return change(first, second, third);
    return write(first as object, second as CallOptions | undefined);
  };

  async function change(id: string, makeChanges: (current: unknown) => unknown, options?: CallOptions) {
    for (let attempts = 1; ; attempts += 1) {
      const read = await callUnary(get, { [idField]: id }, options, resource, transport);
      const current = read[resource] as { etag: string };
      const changes = await makeChanges(current);
      if (changes === undefined) return create(update.output, { [resource]: current }) as unknown as AnyResponse;
      try {
        return await write({ ...changes, [idField]: id, etag: current.etag }, options);
      } catch (thrown) {
        const { reason } = KithError.from(thrown);
        if (reason !== 'ETAG_MISMATCH' || attempts === UPDATES_MAX) throw thrown;
        await pause(backoffMs(UPDATE_BACKOFF, attempts), options?.signal);
      }
    }
  }
}
