import type { DescMethod } from '@bufbuild/protobuf';
import { base64Decode } from '@bufbuild/protobuf/wire';
import {
  type ConnectError,
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from '@connectrpc/connect';
import {
  type Compression,
  pipe,
  readAllBytes,
  transformDecompressEnvelope,
  transformJoinEnvelopes,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from '@connectrpc/connect/protocol';
import { ENVELOPE_BYTES, splitEnvelopes, throwIfTooLarge } from './split-envelopes.ts';

export interface CheckOptions {
  /** The largest message, bytes unpacked. */
  readonly readMaxBytes: number;
  /** Those that the handler takes. */
  readonly compressions: readonly Compression[];
  /** Waits until it is the caller's turn to have a message of so many bytes looked at; undefined where that is now. */
  readonly turn: (bytes: number) => Promise<void> | undefined;
  /** Why the bytes of a message are refused, if they are. */
  readonly check: (method: DescMethod, bytes: Uint8Array, isBinary: boolean) => ConnectError | undefined;
  /** Called with the bytes of each message of a client stream once they are not held any more. */
  readonly onTaken: (values: ContextValues | undefined, bytes: number) => void;
}

/**
 * Has a handler of Connect's look at the bytes of each message before it makes a message of them, and refuse
 * those that are too large or that `check` refuses. It is given them unpacked, and after its request gate: of a
 * GET only when that calls `checkQuery`.
 */
export function checkRequests(handler: UniversalHandler, options: CheckOptions): UniversalHandler {
  const checking = (request: UniversalServerRequest): Promise<UniversalServerResponse> =>
    handler(
      request.method === 'GET' ? withQueryCheck(handler, request, options) : withCheckedBody(handler, request, options),
    );
  return Object.assign(checking, handler);
}

const queryCheckKey = createContextKey<(() => Promise<void>) | undefined>(undefined, {
  description: 'checks the message in a query',
});

/** Checks the message of a call that has it in its query. Throws why it is refused. */
export function checkQuery({ values }: HandlerContext): Promise<void> | undefined {
  return values.get(queryCheckKey)?.();
}

function withQueryCheck(
  { method }: UniversalHandler,
  request: UniversalServerRequest,
  { readMaxBytes, compressions, turn, check }: CheckOptions,
): UniversalServerRequest {
  const contextValues: ContextValues = request.contextValues ?? createContextValues();
  contextValues.set(queryCheckKey, async () => {
    const query = new URL(request.url).searchParams;
    const encoding = query.get('encoding');
    const written = query.get('message') ?? '';
    const sent = query.get('base64') === '1' ? base64Decode(written) : Buffer.from(written);
    const name = query.get('compression') ?? 'identity';
    const compression = compressions.find((candidate) => candidate.name === name);
    if (compression === undefined && name !== 'identity') return; // the handler refuses it
    const bytes = compression === undefined ? sent : await compression.decompress(sent, readMaxBytes);
    await turn(bytes.length);
    throwIfTooLarge(bytes.length, readMaxBytes);
    throwIf(check(method, bytes, encoding === 'proto'));
  });
  return { ...request, contextValues };
}

function withCheckedBody(
  handler: UniversalHandler,
  request: UniversalServerRequest,
  options: CheckOptions,
): UniversalServerRequest {
  const { header, body } = request;
  const [mediaType = ''] = (header.get('content-type') ?? '').toLowerCase().split(';', 1);
  if (typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body))
    throw new Error('the body of a request is not a stream of bytes');
  const isEnveloped = /^application\/(?:grpc|connect\+)/.test(mediaType);
  const isBinary = !mediaType.endsWith('json');
  if (isEnveloped) return { ...request, body: envelopes(handler, request, body, isBinary, options) };
  const encoding = header.get('content-encoding');
  const compression = options.compressions.find(({ name }) => name === encoding);
  const checked = wholeBody(handler, request, body, isBinary, compression, options);
  if (compression === undefined) return { ...request, body: checked };
  // The handler is given the message unpacked, and answers as if it were not.
  const unpacked = new Headers(header);
  unpacked.delete('content-encoding');
  unpacked.delete('content-length');
  if (!unpacked.get('accept-encoding')) unpacked.set('accept-encoding', compression.name);
  return { ...request, header: unpacked, body: checked };
}

/** The body of a unary call of Connect's protocol. */
async function* wholeBody(
  { method }: UniversalHandler,
  { header }: UniversalServerRequest,
  body: AsyncIterable<Uint8Array>,
  isBinary: boolean,
  compression: Compression | undefined,
  { readMaxBytes, turn, check }: CheckOptions,
): AsyncGenerator<Uint8Array> {
  const sent = await readAllBytes(body, readMaxBytes, header.get('content-length'));
  const bytes = compression === undefined ? sent : await compression.decompress(sent, readMaxBytes);
  await turn(bytes.length);
  throwIf(check(method, bytes, isBinary));
  yield bytes;
}

/** The messages of any other call, each behind its flags and length. */
function envelopes(
  { method }: UniversalHandler,
  { header, contextValues }: UniversalServerRequest,
  body: AsyncIterable<Uint8Array>,
  isBinary: boolean,
  { readMaxBytes, compressions, turn, check, onTaken }: CheckOptions,
): AsyncIterable<Uint8Array> {
  const isStream = method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming';
  const encoding = header.get('grpc-encoding') ?? header.get('connect-content-encoding');
  const compression = compressions.find(({ name }) => name === encoding) ?? null;
  return pipe(
    isStream ? withoutReturn(body) : body,
    splitEnvelopes(readMaxBytes),
    async function* (messages) {
      for await (const message of messages) {
        const bytes = ENVELOPE_BYTES + message.data.length;
        yield message;
        // The next one is asked for: this one was parsed. What is made of it is charged by who keeps it.
        if (isStream) onTaken(contextValues, bytes);
      }
    },
    transformDecompressEnvelope(compression, readMaxBytes),
    async function* (messages) {
      for await (const message of messages) {
        await turn(message.data.length);
        throwIf(check(method, message.data, isBinary));
        yield message;
      }
    },
    transformJoinEnvelopes(),
  );
}

/**
 * What is left when no more is asked for: to return from the body of a request ends the exchange, and with it the
 * answers to the messages before one that is refused.
 */
function withoutReturn(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const chunks = body[Symbol.asyncIterator]();
      return { next: () => chunks.next() };
    },
  };
}

function throwIf(error: ConnectError | undefined): void {
  if (error !== undefined) throw error;
}
