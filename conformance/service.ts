import { setTimeout as sleep } from 'node:timers/promises';
import { create, type DescService, type Message } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { type Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import type { Contract } from './contract.ts';

// The messages of the contract, as far as they are looked into. Their types cannot be generated: the contract is
// compiled when the tests are run.
interface Header {
  readonly name: string;
  readonly value: readonly string[];
}

interface ErrorDefinition {
  readonly code: Code;
  readonly message?: string;
  readonly details: readonly Any[];
}

interface ResponseDefinition {
  readonly responseHeaders: readonly Header[];
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
}

interface UnaryDefinition extends ResponseDefinition {
  readonly response:
    | { readonly case: 'responseData'; readonly value: Uint8Array }
    | { readonly case: 'error'; readonly value: ErrorDefinition }
    | { readonly case: undefined; readonly value?: undefined };
}

interface StreamDefinition extends ResponseDefinition {
  readonly responseData: readonly Uint8Array[];
  readonly error?: ErrorDefinition;
}

interface Request<T extends ResponseDefinition> extends Message {
  readonly responseDefinition?: T;
  readonly fullDuplex?: boolean;
}

interface Response {
  readonly payload: { readonly data: Uint8Array; readonly requestInfo?: Message };
}

/**
 * The service that the conformance tests call: it answers what each request asks
 * for, and tells what of the request it saw. The comments of the contract say how.
 */
export function conformanceService(contract: Contract): ServiceImpl<DescService> {
  const requestInfoDesc = contract.message('ConformancePayload.RequestInfo');

  /** What a call looks like from here. */
  const see = (context: HandlerContext, requests: readonly Message[]): Message => {
    const timeoutMs = context.timeoutMs();
    const queryParams = context.requestMethod === 'GET' && paramsOf(new URL(context.url).searchParams);
    return create(requestInfoDesc, {
      requestHeaders: [...context.requestHeader].map(([name, value]) => ({ name, value: [value] })),
      requests: requests.map((request) => anyPack(contract.descOf(request), request)),
      ...(timeoutMs !== undefined && { timeoutMs: BigInt(Math.max(0, Math.round(timeoutMs))) }),
      ...(queryParams && { connectGetInfo: { queryParams } }),
    });
  };

  const errorOf = ({ message, code, details }: ErrorDefinition, requestInfo: Message | undefined): ConnectError => {
    const error = new ConnectError(message ?? '', code);
    const packed = requestInfo === undefined ? details : [...details, anyPack(requestInfoDesc, requestInfo)];
    error.details = packed.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf('/') + 1), value }));
    return error;
  };

  /** Answers with one message, or an error that tells what was seen. */
  const answer = async (
    definition: UnaryDefinition | undefined,
    context: HandlerContext,
    requests: readonly Message[],
  ): Promise<Response> => {
    const requestInfo = see(context, requests);
    addHeaders(context, definition);
    await delay(definition);
    const { response } = definition ?? {};
    if (response?.case === 'error') throw errorOf(response.value, requestInfo);
    return { payload: { data: response?.value ?? new Uint8Array(), requestInfo } };
  };

  /** Answers with the messages from the one at `start` on, the first of which tells what was seen, and with the error if any. */
  async function* answers(
    definition: StreamDefinition | undefined,
    start: number,
    requestInfo: Message | undefined,
  ): AsyncGenerator<Response> {
    let untold = requestInfo;
    for (const data of definition?.responseData.slice(start) ?? []) {
      await delay(definition);
      yield { payload: { data, ...(untold && { requestInfo: untold }) } };
      untold = undefined;
    }
    if (definition?.error !== undefined) throw errorOf(definition.error, untold);
  }

  const implementation = {
    unary: (request: Request<UnaryDefinition>, context: HandlerContext) =>
      answer(request.responseDefinition, context, [request]),
    idempotentUnary: (request: Request<UnaryDefinition>, context: HandlerContext) =>
      answer(request.responseDefinition, context, [request]),
    async clientStream(requests: AsyncIterable<Request<UnaryDefinition>>, context: HandlerContext) {
      const all = await Array.fromAsync(requests);
      return answer(all[0]?.responseDefinition, context, all);
    },
    async *serverStream(request: Request<StreamDefinition>, context: HandlerContext) {
      addHeaders(context, request.responseDefinition);
      yield* answers(request.responseDefinition, 0, see(context, [request]));
    },
    async *bidiStream(requests: AsyncIterable<Request<StreamDefinition>>, context: HandlerContext) {
      const all: Request<StreamDefinition>[] = [];
      let definition: StreamDefinition | undefined;
      let sent = 0;
      for await (const request of requests) {
        if (all.push(request) === 1) {
          definition = request.responseDefinition;
          addHeaders(context, definition);
        }
        if (all[0]?.fullDuplex !== true) continue;
        const data = definition?.responseData[sent];
        if (data === undefined) break;
        await delay(definition);
        yield { payload: { data, requestInfo: see(context, [request]) } } satisfies Response;
        sent += 1;
      }
      yield* answers(definition, sent, sent === 0 ? see(context, all) : undefined);
    },
  };
  return implementation as unknown as ServiceImpl<DescService>;
}

function addHeaders(context: HandlerContext, definition: ResponseDefinition | undefined): void {
  const { responseHeaders = [], responseTrailers = [] } = definition ?? {};
  for (const { name, value } of responseHeaders) for (const each of value) context.responseHeader.append(name, each);
  for (const { name, value } of responseTrailers) for (const each of value) context.responseTrailer.append(name, each);
}

async function delay(definition: ResponseDefinition | undefined): Promise<void> {
  if (definition !== undefined && definition.responseDelayMs > 0) await sleep(definition.responseDelayMs);
}

function paramsOf(params: URLSearchParams): readonly Header[] {
  return [...new Set(params.keys())].map((name) => ({ name, value: params.getAll(name) }));
}
