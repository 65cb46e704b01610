import { type DescMethod, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';
import type { DescMessage } from '@bufbuild/protobuf';
import { KithError, type Kith } from '../../../packages/client/src/index.ts';
import type { Command } from '../command.ts';
import { CONNECTION_OPTIONS, connect, EXPLAIN_OPTION, targetOf } from './connect.ts';
import { type Contract, fetchContract, findMethod, nameOf, ownContract } from './contract.ts';
import { curlOf, requireCallable } from './explain.ts';
import { BODY_HELP, messageOf, readJsonObject } from './json-body.ts';
import { firstSentence } from '../../rpc/contract-comments.ts';

/** Any method of any service, by the contract that the server hands out. */
export const call: Command = {
  summary: 'Call a method by its name, with a request in JSON',
  details:
    'Answers are printed as JSON: one document, or for a method that streams a line for each message. The server is asked for its contract, so that methods and fields are there that are newer than this program; where it hands out none, those that this program knows.',
  args: [
    { name: 'METHOD', help: 'kith.user.v1.UserService/GetUser, or shorter: GetUser.', optional: true },
    { name: 'BODY', help: `The request: ${BODY_HELP}. Default: {}.`, optional: true },
  ],
  options: {
    ...CONNECTION_OPTIONS,
    ...EXPLAIN_OPTION,
    list: { help: 'List the methods, instead of calling one.' },
    'timeout-ms': { value: 'MS', help: 'How long the call may take, with all attempts.' },
  },
  examples: [
    `kith call UserMe`,
    `kith call kith.user.v1.UserService/ListUsers '{"query": "ada"}'`,
    `kith call CreateContact @contact.json`,
    `kith call --list`,
  ],
  async run({ args, options, terminal, signal, ...rest }) {
    const target = await targetOf({ options, ...rest });
    const contract = (await fetchContract(target.url, signal)) ?? ownContract();
    const written = args['METHOD'];
    if (written === undefined || options.has('list')) {
      for (const line of describeMethods(contract)) await terminal.print(line);
      return;
    }
    const method = findMethod(contract, written);
    requireCallable(method);
    const body = args['BODY'] === undefined ? {} : await readJsonObject(args['BODY'], terminal);
    const request = messageOf(method.input, body, contract.registry);
    if (options.has('explain')) return terminal.print(curlOf(target.url, method, body));
    const timeoutMs = options.wholeNumber('timeout-ms', 1);
    const calls = { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    const isStream = method.methodKind !== 'unary';
    for await (const message of callMethod(connect(target), method, request, calls)) {
      const json = answerJson(method, message, contract);
      await terminal.print(isStream ? JSON.stringify(json) : JSON.stringify(json, undefined, 2));
    }
  },
};

/** Calls a method; the answer of a unary one is the only message. Throws KithError. */
async function* callMethod(
  kith: Kith,
  method: DescMethod,
  request: MessageShape<DescMessage>,
  options: { readonly signal: AbortSignal; readonly timeoutMs?: number },
): AsyncGenerator<MessageShape<DescMessage>> {
  type Calls = Record<string, (request: unknown, options: object) => unknown>;
  const client = kith.raw(method.parent) as unknown as Calls;
  try {
    const answer = client[method.localName]!(request, options);
    if (method.methodKind === 'unary') yield (await answer) as MessageShape<DescMessage>;
    else yield* answer as AsyncIterable<MessageShape<DescMessage>>;
  } catch (thrown) {
    options.signal.throwIfAborted();
    throw KithError.from(thrown);
  }
}

/** Calls a unary method. Throws KithError. */
export async function callUnary(
  kith: Kith,
  method: DescMethod,
  request: MessageShape<DescMessage>,
  signal: AbortSignal,
): Promise<MessageShape<DescMessage>> {
  const { value } = await callMethod(kith, method, request, { signal }).next();
  return value as MessageShape<DescMessage>;
}

/** An answer in the JSON of Protobuf. */
export function answerJson(
  method: DescMethod,
  message: MessageShape<DescMessage>,
  { registry }: Pick<Contract, 'registry'>,
): JsonValue {
  return toJson(method.output, message, { registry });
}

function describeMethods({ services, commentOf }: Contract): string[] {
  return services.flatMap((service) =>
    service.methods.map((method) => {
      const summary = summaryOf(() => firstSentence(commentOf(method)));
      return `${nameOf(method)}${method.methodKind === 'unary' ? '' : ' (stream)'}${summary === '' ? '' : `: ${summary}`}`;
    }),
  );
}

/** Contracts of others have methods without comments. */
function summaryOf(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
