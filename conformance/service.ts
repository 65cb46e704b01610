import { setTimeout as sleep } from 'node:timers/promises';
import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { type Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import type { Contract } from './contract.ts';

// The messages of the contract that are looked into. They are made of its descriptors when the server starts.
interface Header {
  name: string;
  value: string[];
}
interface ErrorDefinition {
  code: Code;
  message?: string;
  details: Any[];
}
interface UnaryDefinition {
  responseHeaders: Header[];
  responseTrailers: Header[];
  responseDelayMs: number;
  response:
    | { case: 'responseData'; value: Uint8Array }
    | { case: 'error'; value: ErrorDefinition }
    | { case: undefined };
}
interface StreamDefinition {
  responseHeaders: Header[];
  responseTrailers: Header[];
  responseDelayMs: number;
  responseData: Uint8Array[];
  error?: ErrorDefinition;
}
type Request<T> = Message & { responseDefinition?: T; fullDuplex?: boolean };

/**
 * The service that the conformance tests call: it answers what each request asks
 * for, and tells what of the request it saw. The comments of the contract say how.
 */
export function conformanceService({ service, message }: Contract): ServiceImpl<typeof service> {
  const requestInfo = message('ConformancePayload.RequestInfo');
  const nameOf = (input: Message) => message(input.$typeName.split('.').at(-1)!);

  const infoOf = (context: HandlerContext, requests: readonly Message[]): Message => {
    const timeoutMs = context.timeoutMs();
    return create(requestInfo, {
      requestHeaders: headersOf(context.requestHeader),
      requests: requests.map((request) => anyPack(nameOf(request), request)),
      ...(timeoutMs === undefined ? {} : { timeoutMs: BigInt(Math.max(0, Math.round(timeoutMs))) }),
      ...(context.requestMethod === 'GET'
        ? { connectGetInfo: { queryParams: paramsOf(new URL(context.url).searchParams) } }
        : {}),
    } as never);
  };

  const errorOf = (context: HandlerContext, definition: ErrorDefinition, info?: Message): ConnectError => {
    const error = new ConnectError(definition.message ?? '', definition.code);
    error.details = definition.details.map((detail) => ({
      type: detail.typeUrl.slice(detail.typeUrl.lastIndexOf('/') + 1),
      value: detail.value,
    }));
    if (info !== undefined) error.details.push({ desc: requestInfo, value: info as never });
    context.responseTrailer.forEach((value, name) => error.metadata.append(name, value));
    return error;
  };

  const answer = async (
    context: HandlerContext,
    definition: UnaryDefinition | undefined,
    requests: readonly Message[],
  ): Promise<{ payload: unknown }> => {
    const info = infoOf(context, requests);
    append(context.responseHeader, definition?.responseHeaders);
    append(context.responseTrailer, definition?.responseTrailers);
    if (definition?.responseDelayMs) await sleep(definition.responseDelayMs);
    if (definition?.response.case === 'error') throw unaryErrorOf(definition.response.value, info);
    const data = definition?.response.case === 'responseData' ? definition.response.value : new Uint8Array();
    return { payload: { data, requestInfo: info } };
  };
  // Unlike in a stream, the trailers of the context are sent beside the error.
  const unaryErrorOf = (definition: ErrorDefinition, info: Message): ConnectError => {
    const error = new ConnectError(definition.message ?? '', definition.code);
    error.details = definition.details.map((detail) => ({
      type: detail.typeUrl.slice(detail.typeUrl.lastIndexOf('/') + 1),
      value: detail.value,
    }));
    error.details.push({ desc: requestInfo, value: info as never });
    return error;
  };
  void errorOf;

  async function* stream(
    context: HandlerContext,
    definition: StreamDefinition | undefined,
    requests: readonly Message[],
  ): AsyncGenerator<{ payload: unknown }> {
    let info: Message | undefined = infoOf(context, requests);
    append(context.responseHeader, definition?.responseHeaders);
    append(context.responseTrailer, definition?.responseTrailers);
    for (const data of definition?.responseData ?? []) {
      if (definition?.responseDelayMs) await sleep(definition.responseDelayMs);
      yield { payload: { data, ...(info === undefined ? {} : { requestInfo: info }) } };
      info = undefined;
    }
    if (definition?.error !== undefined) throw streamErrorOf(definition.error, info);
  }
  const streamErrorOf = (definition: ErrorDefinition, info: Message | undefined): ConnectError => {
    const error = new ConnectError(definition.message ?? '', definition.code);
    error.details = definition.details.map((detail) => ({
      type: detail.typeUrl.slice(detail.typeUrl.lastIndexOf('/') + 1),
      value: detail.value,
    }));
    if (info !== undefined) error.details.push({ desc: requestInfo, value: info as never });
    return error;
  };

  const impl = {
    unary: (request: Request<UnaryDefinition>, context: HandlerContext) =>
      answer(context, request.responseDefinition, [request]),
    idempotentUnary: (request: Request<UnaryDefinition>, context: HandlerContext) =>
      answer(context, request.responseDefinition, [request]),
    async clientStream(requests: AsyncIterable<Request<UnaryDefinition>>, context: HandlerContext) {
      const seen = await Array.fromAsync(requests);
      return answer(context, seen[0]?.responseDefinition, seen);
    },
    serverStream: (request: Request<StreamDefinition>, context: HandlerContext) =>
      stream(context, request.responseDefinition, [request]),
    async *bidiStream(requests: AsyncIterable<Request<StreamDefinition>>, context: HandlerContext) {
      const seen: Request<StreamDefinition>[] = [];
      let sent = 0;
      let definition: StreamDefinition | undefined;
      let isFullDuplex = false;
      for await (const request of requests) {
        seen.push(request);
        if (seen.length === 1) {
          definition = request.responseDefinition;
          isFullDuplex = request.fullDuplex === true;
          append(context.responseHeader, definition?.responseHeaders);
          append(context.responseTrailer, definition?.responseTrailers);
        }
        if (!isFullDuplex) continue;
        const data = definition?.responseData[sent];
        if (data === undefined) break;
        if (definition?.responseDelayMs) await sleep(definition.responseDelayMs);
        const info = infoOf(context, [request]);
        yield { payload: { data, requestInfo: info } };
        sent++;
      }
      let info: Message | undefined = sent === 0 ? infoOf(context, seen) : undefined;
      for (const data of definition?.responseData.slice(sent) ?? []) {
        if (definition?.responseDelayMs) await sleep(definition.responseDelayMs);
        yield { payload: { data, ...(info === undefined ? {} : { requestInfo: info }) } };
        info = undefined;
      }
      if (definition?.error !== undefined) throw streamErrorOf(definition.error, info);
    },
  };
  return impl as unknown as ServiceImpl<typeof service>;
}

function append(to: Headers, headers: readonly Header[] | undefined): void {
  for (const { name, value } of headers ?? []) for (const each of value) to.append(name, each);
}

function headersOf(headers: Headers): { name: string; value: string[] }[] {
  return [...headers].map(([name, value]) => ({ name, value: [value] }));
}

function paramsOf(params: URLSearchParams): { name: string; value: string[] }[] {
  return [...new Set(params.keys())].map((name) => ({ name, value: params.getAll(name) }));
}

export type { DescMessage };
