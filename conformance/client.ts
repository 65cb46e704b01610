/**
 * Make the calls of the conformance tests with @kith/client, as
 * the runner asks on standard input, and tell it on standard output what came of them.
 *
 * usage: node conformance/client.ts CONTRACT
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { type Any, anyUnpack } from '@bufbuild/protobuf/wkt';
import { type CallOptions, type Code, ConnectError } from '@connectrpc/connect';
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
      | { readonly case: undefined; readonly value?: undefined };
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

/** A method of the client that Connect makes: a stream of requests or one, and likewise of answers. */
type AnyMethod = (
  request: Message | AsyncIterable<Message>,
  options: CallOptions,
) => Promise<Message> | AsyncIterable<Message>;

/** Of `Protocol` and `StreamType`. */
const PROTOCOLS = { 1: 'connect', 2: 'grpc', 3: 'grpc-web' } as const;
const FULL_DUPLEX = 5;

const NEVER = { case: undefined, value: undefined };

/** Counts answers, and lets a stream of requests wait for the next one. */
class Answers {
  #unseen = 0;
  #wake: () => void = () => {};

  push(): void {
    this.#unseen += 1;
    this.#wake();
  }

  async next(): Promise<void> {
    while (this.#unseen === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#unseen -= 1;
  }
}

const contract = readContract(process.argv[2] ?? '');
const requestDesc = contract.message('ClientCompatRequest');
const responseDesc = contract.message('ClientCompatResponse');
process.once('SIGTERM', () => process.exit(0));

/** The runner hands out all its cases at once, and compares times. */
const MAX_CALLS = 16;
const calls = new Set<Promise<void>>();
for await (const frame of readFrames()) {
  const call = answer(fromBinary(requestDesc, frame) as Asked).finally(() => calls.delete(call));
  calls.add(call);
  if (calls.size >= MAX_CALLS) await Promise.race(calls);
}
await Promise.all(calls);

async function answer(asked: Asked): Promise<void> {
  using kith = connect(asked);
  const result = await call(kith, asked).then(
    (value) => ({ case: 'response', value }),
    (error: unknown) => ({ case: 'error', value: { message: String(error) } }),
  );
  writeFrame(toBinary(responseDesc, create(responseDesc, { testName: asked.testName, result })));
}

/** A client as callers create it, but for retries and time limits, which are those of the test. */
function connect({ protocol, host, port, serverTlsCert }: Asked): NodeKith {
  const isSecure = serverTlsCert.length > 0;
  return createKith({
    url: `${isSecure ? 'https' : 'http'}://${host}:${port}`,
    protocol: PROTOCOLS[protocol as keyof typeof PROTOCOLS],
    attemptsMax: 1,
    timeoutMs: 0,
    ...(isSecure && { tls: { ca: Buffer.from(serverTlsCert) } }),
  });
}

async function call(kith: NodeKith, asked: Asked): Promise<Result> {
  const method = contract.service.methods.find(({ name }) => name === asked.method);
  if (method === undefined) throw new Error(`there is no method ${asked.method}`);
  const requests = asked.requestMessages.map((any) => anyUnpack(any, contract.registry)!);
  const result: Result = {
    responseHeaders: [],
    payloads: [],
    responseTrailers: [],
    numUnsentRequests: requests.length,
  };
  const canceled = new AbortController();
  const options: CallOptions = {
    signal: canceled.signal,
    headers: headerOf(asked),
    ...(asked.timeoutMs !== undefined && { timeoutMs: asked.timeoutMs }),
    onHeader: (header) => result.responseHeaders.push(...headersOf(header)),
    onTrailer: (trailer) => result.responseTrailers.push(...headersOf(trailer)),
  };
  const methodOf = (kith.raw(contract.service) as unknown as Record<string, AnyMethod>)[method.localName]!;
  const answers = new Answers();
  const { case: timing, value } = asked.cancel?.cancelTiming ?? NEVER;
  try {
    if (method.methodKind === 'unary' || method.methodKind === 'server_streaming') {
      await sleep(asked.requestDelayMs);
      if (timing === 'afterCloseSendMs') setTimeout(() => canceled.abort(), value);
      result.numUnsentRequests -= 1;
    }
    const answered = methodOf(
      method.methodKind === 'unary' || method.methodKind === 'server_streaming'
        ? requests[0]!
        : send(asked, requests, result, answers, canceled),
      options,
    );
    for await (const message of Symbol.asyncIterator in answered ? answered : [answered]) {
      result.payloads.push((message as { payload: Message } & Message).payload);
      answers.push();
      if (timing === 'afterNumResponses' && result.payloads.length === value) canceled.abort();
    }
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

/** The requests of a stream, each after the delay that is asked for. In a full-duplex call each waits for its answer. */
async function* send(
  { streamType, requestDelayMs, cancel }: Asked,
  requests: readonly Message[],
  result: Result,
  answers: Answers,
  canceled: AbortController,
): AsyncGenerator<Message> {
  for (const request of requests) {
    await sleep(requestDelayMs);
    result.numUnsentRequests -= 1;
    yield request;
    if (streamType === FULL_DUPLEX) await answers.next();
  }
  const { case: timing, value } = cancel?.cancelTiming ?? NEVER;
  if (timing === 'afterCloseSendMs') setTimeout(() => canceled.abort(), value);
  if (timing !== 'beforeCloseSend') return;
  await sleep(1); // what was sent last is on its way before the call is canceled
  canceled.abort();
}

function headerOf({ requestHeaders }: Asked): Headers {
  const headers = new Headers();
  for (const { name, value } of requestHeaders) for (const each of value) headers.append(name, each);
  return headers;
}

function headersOf(headers: Headers): Header[] {
  return [...headers].map(([name, value]) => ({ name, value: [value] }));
}
