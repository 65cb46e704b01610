import { createRegistry, type DescFile, type DescMessage, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectRouter, type HandlerContext } from '@connectrpc/connect';
import { systemClock } from '../kernel/clock.ts';
import { type ServerReflectionRequest, ServerReflection as V1 } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as V1Alpha } from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { overBudget } from '../budget/budget.ts';
import { Failure } from '../kernel/failure.ts';
import { payerOfCall } from './call-budgets.ts';
import { ERROR_DETAILS } from './errors.ts';
import { withImports } from './files.ts';
import { limitPublicAnswers } from './public-answers.ts';

/** How long a stream may stay silent, and how long it may go on, milliseconds: anyone can open one. */
const IDLE_MAX_MS = 30_000;
const STREAM_MAX_MS = 300_000;

/** How many questions a stream may ask: some for each file and symbol of the contract. Tools open another stream after that. */
const QUESTIONS_MAX = 200;

/** What the answers on one stream may take together, bytes: several times the whole contract. */
const ANSWERED_MAX_BYTES = 1_000_000;

/** How much of a question is sent back with its answer, characters: longer than any name in the contract. */
const ECHOED_MAX = 512;

type Question = ServerReflectionRequest['messageRequest'];

/**
 * gRPC server reflection over `roots`, the details of errors and all that these import,
 * in version v1 and in v1alpha, which older tools ask for; the two have the same messages.
 * What a file imports is sent once on a stream, as the protocol allows.
 * https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
export function reflection(router: ConnectRouter, roots: readonly DescFile[]): void {
  let answer: ReturnType<typeof createAnswers> | undefined; // made for the first who asks
  const answers = limitPublicAnswers('reflection_answers'); // each is at most the whole contract, some 100 kB
  async function* converse(requests: AsyncIterable<ServerReflectionRequest>, context: HandlerContext) {
    const { signal } = context;
    const answerTo = (answer ??= createAnswers(roots));
    const payer = payerOfCall(context);
    const sent = new Set<DescFile>();
    let questions = 0;
    let answeredBytes = 0;
    let endTurn = (): void => {};
    signal.addEventListener('abort', () => endTurn(), { once: true });
    for await (const originalRequest of untilIdle(requests, IDLE_MAX_MS, STREAM_MAX_MS)) {
      if (++questions > QUESTIONS_MAX) throw tooMuch('reflection_questions', QUESTIONS_MAX);
      requireShort(originalRequest);
      const messageResponse = answerTo(originalRequest.messageRequest, sent);
      answeredBytes += bytesOf(messageResponse);
      if (answeredBytes > ANSWERED_MAX_BYTES) throw tooMuch('reflection_bytes', ANSWERED_MAX_BYTES);
      endTurn = await answers.takeTurn(payer, signal);
      if (signal.aborted) endTurn(); // between the two; what is yielded goes nowhere
      yield { validHost: originalRequest.host, originalRequest, messageResponse };
      endTurn();
    }
  }
  router.service(V1, { serverReflectionInfo: converse });
  router.service(V1Alpha, { serverReflectionInfo: converse as never }); // the same messages in another package
}

function tooMuch(budget: string, limit: number): Failure {
  return overBudget('budget_exceeded', budget, limit, 'this stream has asked for more: open another one', 1);
}

/** The question is part of the answer. Throws malformed_request for one that is longer than any name. */
function requireShort({ host, messageRequest: { value } }: ServerReflectionRequest): void {
  const name = typeof value === 'object' ? value.containingType : (value ?? '');
  if (host.length + name.length > ECHOED_MAX) {
    throw new Failure('malformed_request', `host and name take at most ${ECHOED_MAX} characters together`);
  }
}

function bytesOf({ case: kind, value }: Answer): number {
  if (kind !== 'fileDescriptorResponse') return 0;
  return value.fileDescriptorProto.reduce((sum, { length }) => sum + length, 0);
}

type Answer = ReturnType<ReturnType<typeof createAnswers>>;

function createAnswers(roots: readonly DescFile[]) {
  const files = withImports([...roots, ...ERROR_DETAILS.map(({ file }) => file)]);
  const symbols = symbolsOf(files.values());
  const registry = createRegistry(...files.values());
  const imports = new Map<DescFile, readonly DescFile[]>();
  const encoded = new Map<DescFile, Uint8Array>();
  for (const file of files.values()) {
    imports.set(
      file,
      [...withImports([file]).values()].filter((other) => other !== file),
    );
    encoded.set(file, toBinary(FileDescriptorProtoSchema, file.proto));
  }
  const services = roots.flatMap((root) => root.services.map(({ typeName }) => ({ name: typeName })));

  /** The file and those of its imports that were not sent yet. The file itself always: tools look for what they asked for in the answer. */
  const fileAnswer = (file: DescFile | undefined, what: string, sent: Set<DescFile>) => {
    if (file === undefined) return missing(what);
    const news = [file, ...imports.get(file)!.filter((other) => !sent.has(other))];
    for (const each of news) sent.add(each);
    return {
      case: 'fileDescriptorResponse' as const,
      value: { fileDescriptorProto: news.map((each) => encoded.get(each)!) },
    };
  };

  return (question: Question, sent: Set<DescFile>) => {
    switch (question.case) {
      case 'listServices':
        return { case: 'listServicesResponse' as const, value: { service: services } };
      case 'fileByFilename':
        return fileAnswer(files.get(question.value), question.value, sent);
      case 'fileContainingSymbol':
        return fileAnswer(symbols.get(question.value), question.value, sent);
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = question.value;
        const extendee = registry.getMessage(containingType);
        const extension = extendee && registry.getExtensionFor(extendee, extensionNumber);
        return fileAnswer(extension?.file, `extension ${extensionNumber} of ${containingType}`, sent);
      }
      case 'allExtensionNumbersOfType': {
        if (registry.getMessage(question.value) === undefined) return missing(question.value);
        const extensionNumber = [...registry]
          .filter((desc) => desc.kind === 'extension')
          .filter(({ extendee }) => extendee.typeName === question.value)
          .map(({ number }) => number);
        return {
          case: 'allExtensionNumbersResponse' as const,
          value: { baseTypeName: question.value, extensionNumber },
        };
      }
      default:
        return errorAnswer(Code.InvalidArgument, 'message_request is not set');
    }
  };
}

function missing(what: string) {
  return errorAnswer(Code.NotFound, `${what} is not known here`);
}

function errorAnswer(errorCode: Code, errorMessage: string) {
  return { case: 'errorResponse' as const, value: { errorCode, errorMessage } };
}

/** Where each service, method, message, enum and extension is declared, by full name. */
function symbolsOf(files: Iterable<DescFile>): Map<string, DescFile> {
  const symbols = new Map<string, DescFile>();
  const addMessage = (message: DescMessage): void => {
    symbols.set(message.typeName, message.file);
    for (const { typeName, file } of [...message.nestedEnums, ...message.nestedExtensions]) symbols.set(typeName, file);
    message.nestedMessages.forEach(addMessage);
  };
  for (const file of files) {
    for (const { typeName } of [...file.enums, ...file.extensions, ...file.services]) symbols.set(typeName, file);
    for (const service of file.services) {
      for (const method of service.methods) symbols.set(`${service.typeName}.${method.name}`, file);
    }
    file.messages.forEach(addMessage);
  }
  return symbols;
}

/** Throws deadline_exceeded when the next message does not come within `idleMs`, or the last within `allMs`. */
async function* untilIdle<T>(messages: AsyncIterable<T>, idleMs: number, allMs: number): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  const endMs = systemClock.monotonic() + allMs;
  for (;;) {
    const { promise: idle, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new Failure('deadline_exceeded', 'no request came for a while: open the stream again')),
      Math.max(Math.min(idleMs, endMs - systemClock.monotonic()), 0),
    );
    const { done, value } = await Promise.race([iterator.next(), idle]).finally(() => clearTimeout(timer));
    if (done) return;
    yield value;
  }
}
