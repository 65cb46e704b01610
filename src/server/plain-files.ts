import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { type DescMethod, fromBinary, type MessageShape, toBinary, toJsonString } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  createAsyncIterable,
  encodeEnvelope,
  pipe,
  readAllBytes,
  type UniversalHandler,
  type UniversalServerResponse,
} from '@connectrpc/connect/protocol';
import { codeFromString, codeToHttpStatus, endStreamFlag } from '@connectrpc/connect/protocol-connect';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Failure } from '../kernel/failure.ts';
import { contextOf } from '../rpc/connect-routes.ts';
import { httpRefusal } from '../rpc/http-refusals.ts';
import { splitEnvelopes } from '../rpc/split-envelopes.ts';

/**
 * Methods as plain files over HTTP, for those who have curl or `fetch` and nothing else. Each request is a call of the
 * method over Connect's protocol, without a connection: access, bounds, limits, activity and the log are those of the call.
 */
export interface FileCalls {
  /** Answers with the file that a server stream has in its messages, as fast as the client takes it. */
  download<Method extends DescMethod>(
    request: FastifyRequest,
    reply: FastifyReply,
    call: {
      readonly method: Method;
      readonly message: MessageShape<Method['input']>;
      /** The bytes of the file that a message has. */
      readonly dataOf: (message: MessageShape<Method['output']>) => Uint8Array;
      /** With its parameters. */
      readonly contentType: string;
      /** What a browser saves it as. */
      readonly name: string;
    },
  ): Promise<FastifyReply>;

  /** Calls a method with the body of the request in a field, and answers in JSON as the call is answered. */
  upload<Method extends DescMethod>(
    request: FastifyRequest,
    reply: FastifyReply,
    call: {
      readonly method: Method;
      /** The request without the file. */
      readonly message: MessageShape<Method['input']>;
      /** The number of the field that is the file. */
      readonly field: number;
      /** How long the file is, bytes. */
      readonly length: number;
    },
  ): Promise<FastifyReply>;
}

/** What a call is told of a request: who calls, for how long, and of which trace. No cookie is. */
const PASSED_HEADERS = ['authorization', 'connect-timeout-ms', 'traceparent', 'tracestate', 'user-agent'];

/** The largest message of a stream that is a file, bytes. */
const PART_BYTES_MAX = 1024 * 1024;

export function createFileCalls(handlers: readonly UniversalHandler[]): FileCalls {
  const byPath = new Map(handlers.map((handler) => [handler.requestPath, handler]));
  const call = (
    request: FastifyRequest,
    reply: FastifyReply,
    { parent, name }: DescMethod,
    headers: Readonly<Record<string, string>>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<UniversalServerResponse> => {
    const path = `/${parent.typeName}/${name}`;
    const handler = byPath.get(path);
    if (handler === undefined) throw new Error(`${path} is not served`);
    const header = new Headers({ ...headers, 'connect-protocol-version': '1' });
    for (const passed of PASSED_HEADERS) {
      const value = request.headers[passed];
      if (typeof value === 'string') header.set(passed, value);
    }
    const { httpVersion } = request.raw;
    const url = `http://localhost${path}`;
    return handler({
      httpVersion,
      method: 'POST',
      url,
      header,
      body,
      signal: closeOf(reply.raw),
      contextValues: contextOf(request),
    });
  };
  return {
    async download(request, reply, { method, message, dataOf, contentType, name }) {
      const body = createAsyncIterable([encodeEnvelope(0, toBinary(method.input, message))]);
      const response = await call(request, reply, method, { 'content-type': 'application/connect+proto' }, body);
      if (response.status !== 200) return answer(reply, response);
      const messages = pipe(response.body!, splitEnvelopes(PART_BYTES_MAX));
      let hasBegun = false;
      try {
        for await (const { flags, data } of messages) {
          if ((flags & endStreamFlag) !== 0) {
            const error = readEnd(data);
            if (error === undefined) break;
            if (!hasBegun) return reply.code(error.status).headers(error.headers).send(error.body);
            // The file ends too early, which the client is to notice.
            cutOff(reply.raw);
            return reply;
          }
          if (!hasBegun) beginFile(reply, contentType, name);
          hasBegun = true;
          const read = fromBinary(method.output, data) as Parameters<typeof dataOf>[0];
          if (!(await write(reply.raw, dataOf(read)))) return reply;
        }
      } catch (error) {
        if (!hasBegun) throw error;
        cutOff(reply.raw);
        return reply;
      }
      if (!hasBegun) beginFile(reply, contentType, name);
      reply.raw.end();
      return reply;
    },
    async upload(request, reply, { method, message, field, length }) {
      const { raw } = request;
      const head = toBinary(method.input, message);
      const mark = new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish();
      const headers = {
        'content-type': 'application/proto',
        'content-length': String(head.length + mark.length + length),
      };
      const body = async function* () {
        yield Buffer.concat([head, mark]);
        yield* raw as AsyncIterable<Uint8Array>;
      };
      const response = await call(request, reply, method, headers, body());
      if (response.status !== 200) return answer(reply, response);
      const answered = fromBinary(method.output, await bytesOf(response));
      // Bytes, since Fastify adds a charset to text.
      return reply.header('content-type', 'application/json').send(Buffer.from(toJsonString(method.output, answered)));
    },
  };
}

/** Answers with a refusal, before there is a call. */
export function refuseFile(reply: FastifyReply, status: number, failure: Failure): FastifyReply {
  const refusal = httpRefusal(undefined, status, failure);
  return reply.code(refusal.status).headers(refusal.headers).send(Buffer.from(refusal.body));
}

async function answer(reply: FastifyReply, response: UniversalServerResponse): Promise<FastifyReply> {
  return reply
    .code(response.status)
    .headers(Object.fromEntries(response.header ?? []))
    .send(Buffer.from(await bytesOf(response)));
}

function bytesOf({ body }: UniversalServerResponse): Promise<Uint8Array> {
  return readAllBytes(body ?? createAsyncIterable([]), Number.MAX_SAFE_INTEGER);
}

/** Writes the head of an answer that Fastify does not write: the headers that it has are those of every answer. */
function beginFile(reply: FastifyReply, contentType: string, name: string): void {
  reply.headers({ 'content-type': contentType, 'content-disposition': `attachment; filename="${name}"` });
  reply.hijack();
  for (const [header, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(header, value);
  }
  reply.raw.writeHead(200);
}

/** Writes a part, and waits until the client takes more. Returns whether it still does. */
async function write(raw: ServerResponse | Http2ServerResponse, data: Uint8Array): Promise<boolean> {
  const closed = closeOf(raw);
  if (closed.aborted) return false;
  // The compatible response of HTTP/2 and that of HTTP/1.1 write alike.
  if ((raw as ServerResponse).write(data)) return true;
  // A response that fails closes.
  const { promise, resolve } = Promise.withResolvers<void>();
  raw.once('drain', resolve);
  closed.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  return !closed.aborted;
}

function cutOff(raw: ServerResponse | Http2ServerResponse): void {
  if ('stream' in raw) raw.stream.destroy(new Error('the file ends too early'));
  else raw.destroy();
}

const closes = new WeakMap<object, AbortSignal>();

/** Aborted when a response has been sent or cannot be any more. */
function closeOf(raw: ServerResponse | Http2ServerResponse): AbortSignal {
  const known = closes.get(raw);
  if (known !== undefined) return known;
  const closed = new AbortController();
  if ('stream' in raw ? raw.stream.destroyed : raw.destroyed) closed.abort();
  else raw.once('close', () => closed.abort());
  closes.set(raw, closed.signal);
  return closed.signal;
}

/** What the end of a stream says; undefined if it went well. */
function readEnd(data: Uint8Array) {
  const { error, metadata = {} } = JSON.parse(Buffer.from(data).toString()) as {
    readonly error?: { readonly code?: string };
    readonly metadata?: Readonly<Record<string, readonly string[]>>;
  };
  if (error === undefined) return undefined;
  const code = error.code === undefined ? undefined : codeFromString(error.code);
  const retryAfter = metadata['retry-after']?.[0];
  return {
    status: code === undefined ? 500 : codeToHttpStatus(code),
    headers: { 'content-type': 'application/json', ...(retryAfter !== undefined && { 'retry-after': retryAfter }) },
    body: Buffer.from(JSON.stringify(error)),
  };
}
