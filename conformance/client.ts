/**
 * Make the calls of the conformance tests with the transport of @kith/client, as
 * the runner asks on standard input, and tell it on standard output what came of them.
 *
 * usage: node conformance/client.ts CONTRACT
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  create,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type Any, anyUnpack } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { createKith, type NodeKith } from '../packages/client/src/node.ts';
import { readContract } from './contract.ts';
import { readFrames, writeFrame } from './frames.ts';

interface Header {
  readonly name: string;
  readonly value: readonly string[];
}

/** `ClientCompatRequest`, as far as it is looked into. */
interface Asked extends Message {
  readonly testName: string;
  readonly protocol: number;
  readonly host: string;
  readonly port: number;
  readonly serverTlsCert: Uint8Array;
  readonly method?: string;
  readonly streamType: number;
  readonly requestHeaders: readonly Header[];
  readonly requestMessages: readonly Any[];
  readonly timeoutMs?: number;
  readonly requestDelayMs: number;
  readonly cancel?: {
    readonly cancelTiming:
      | { readonly case: 'beforeCloseSend'; readonly value: Message }
      | { readonly case: 'afterCloseSendMs' | 'afterNumResponses'; readonly value: number }
      | { readonly case: undefined };
  };
}

/** `ClientResponseResult`. */
interface Result {
  readonly responseHeaders: Header[];
  readonly payloads: Message[];
  readonly responseTrailers: Header[];
  error?: { readonly code: Code; readonly message: string; readonly details: readonly Partial<Any>[] };
  numUnsentRequests: number;
}

/** Of `Protocol` and `StreamType`. */
const PROTOCOLS = { 1: 'connect', 2: 'grpc', 3: 'grpc-web' } as const;
const FULL_DUPLEX = 5;

const contract = readContract(process.argv[2] ?? '');
const requestDesc = contract.message('ClientCompatRequest');
const responseDesc = contract.message('ClientCompatResponse');
process.once('SIGTERM', () => process.exit(0));

const calls: Promise<void>[] = [];
for await (const frame of readFrames()) calls.push(answer(fromBinary(requestDesc, frame) as Asked));
await Promise.all(calls);

async function answer(asked: Asked): Promise<void> {
  using kith = connect(asked);
  const result = await call(kith.transport, asked).then(
    (value) => ({ case: 'response', value }),
    (error: unknown) => ({ case: 'error', value: { message: String(error) } }),
  );
  writeFrame(toBinary(responseDesc, create(responseDesc, { testName: asked.testName, result })));
}

/** A client as callers create it, but for what is repeated: each call of a test is one call. */
function connect({ protocol, host, port, serverTlsCert }: Asked): NodeKith {
  const isSecure = serverTlsCert.length > 0;
  return createKith({
    url: `${isSecure ? 'https' : 'http'}://${host}:${port}`,
    protocol: PROTOCOLS[protocol as keyof typeof PROTOCOLS],
    attemptsMax: 1,
    ...(isSecure && { tls: { ca: Buffer.from(serverTlsCert) } }),
  });
}

async function call(transport: Transport, asked: Asked): Promise<Result> {
  const method = contract.service.methods.find(({ name }) => name === asked.method);
  if (method === undefined) throw new Error(`there is no method ${asked.method}`);
  const requests = asked.requestMessages.map((any) => anyUnpack(any, contract.registry)!);
  const result: Result = {
    responseHeaders: [],
    payloads: [],
    responseTrailers: [],
    numUnsentRequests: requests.length,
  };
  try {
    if (method.methodKind === 'unary') await unary(transport, method as DescMethodUnary, asked, requests, result);
    else await stream(transport, method as DescMethodStreaming, asked, requests, result);
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const details = error.details
      .filter((detail) => 'type' in detail) // which was received
      .map(({ type, value }) => ({ typeUrl: `type.googleapis.com/${type}`, value }));
    result.error = { code: error.code, message: error.rawMessage, details };
    if (result.responseTrailers.length === 0) result.responseTrailers.push(...headersOf(error.metadata));
  }
  return result;
}

async function unary(
  transport: Transport,
  method: DescMethodUnary,
  asked: Asked,
  [request]: readonly Message[],
  result: Result,
): Promise<void> {
  const { cancelTiming } = asked.cancel ?? {};
  const canceled = new AbortController();
  await sleep(asked.requestDelayMs);
  if (cancelTiming?.case === 'afterCloseSendMs') setTimeout(() => canceled.abort(), cancelTiming.value);
  result.numUnsentRequests = 0;
  const response = await transport.unary(method, canceled.signal, asked.timeoutMs, headerOf(asked), request as never);
  result.responseHeaders.push(...headersOf(response.header));
  result.payloads.push(payloadOf(response.message));
  result.responseTrailers.push(...headersOf(response.trailer));
}

async function stream(
  transport: Transport,
  method: DescMethodStreaming,
  asked: Asked,
  requests: readonly Message[],
  result: Result,
): Promise<void> {
  const { cancelTiming } = asked.cancel ?? {};
  const canceled = new AbortController();
  const { signal } = canceled;
  /** In a full-duplex call each request waits for the answer to the one before. */
  let answered = Promise.withResolvers<void>();
  async function* input(): AsyncGenerator<MessageInitShape<typeof method.input>> {
    for (const [i, request] of requests.entries()) {
      if (i > 0 && asked.streamType === FULL_DUPLEX) {
        await answered.promise;
        answered = Promise.withResolvers();
      }
      await sleep(asked.requestDelayMs);
      result.numUnsentRequests -= 1;
      yield request;
    }
    if (cancelTiming?.case === 'beforeCloseSend') {
      // What was sent last is on its way before the call is canceled.
      await sleep(1);
      canceled.abort();
    }
    if (cancelTiming?.case === 'afterCloseSendMs') setTimeout(() => canceled.abort(), cancelTiming.value);
  }
  const response = await transport.stream(method, signal, asked.timeoutMs, headerOf(asked), input());
  result.responseHeaders.push(...headersOf(response.header));
  for await (const message of response.message) {
    result.payloads.push(payloadOf(message));
    answered.resolve();
    if (cancelTiming?.case === 'afterNumResponses' && result.payloads.length === cancelTiming.value) canceled.abort();
  }
  result.responseTrailers.push(...headersOf(response.trailer));
}

function payloadOf(message: Message): Message {
  return (message as unknown as { payload: Message }).payload;
}

function headerOf({ requestHeaders }: Asked): Headers {
  const headers = new Headers();
  for (const { name, value } of requestHeaders) for (const each of value) headers.append(name, each);
  return headers;
}

function headersOf(headers: Headers): Header[] {
  return [...headers].map(([name, value]) => ({ name, value: [value] }));
}
