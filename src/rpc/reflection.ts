import { createRegistry, type DescFile, type DescMessage, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import { type ServerReflectionRequest, ServerReflection as V1 } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as V1Alpha } from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Failure } from '../failure.ts';
import { withImports } from './files.ts';

/** How long a stream may stay silent, milliseconds: anyone can open one. */
const IDLE_MAX_MS = 30_000;

type Question = ServerReflectionRequest['messageRequest'];

/**
 * gRPC server reflection over `roots` and all they import, in version v1 and in
 * v1alpha, which older tools ask for; the two have the same messages.
 * https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
export function reflection(router: ConnectRouter, roots: readonly DescFile[]): void {
  const answer = createAnswers(roots);
  async function* converse(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const originalRequest of untilIdle(requests, IDLE_MAX_MS)) {
      const messageResponse = answer(originalRequest.messageRequest);
      yield { validHost: originalRequest.host, originalRequest, messageResponse };
    }
  }
  router.service(V1, { serverReflectionInfo: converse });
  router.service(V1Alpha, { serverReflectionInfo: converse as never }); // the same messages in another package
}

function createAnswers(roots: readonly DescFile[]) {
  const files = withImports(roots);
  const symbols = symbolsOf(files.values());
  const registry = createRegistry(...files.values());

  const fileAnswer = (file: DescFile | undefined, what: string) =>
    file === undefined
      ? missing(what)
      : {
          case: 'fileDescriptorResponse' as const,
          value: {
            fileDescriptorProto: [...withImports([file]).values()].map(({ proto }) =>
              toBinary(FileDescriptorProtoSchema, proto),
            ),
          },
        };

  return (question: Question) => {
    switch (question.case) {
      case 'listServices': {
        const service = roots.flatMap(({ services }) => services.map(({ typeName }) => ({ name: typeName })));
        return { case: 'listServicesResponse' as const, value: { service } };
      }
      case 'fileByFilename':
        return fileAnswer(files.get(question.value), question.value);
      case 'fileContainingSymbol':
        return fileAnswer(symbols.get(question.value), question.value);
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = question.value;
        const extendee = registry.getMessage(containingType);
        const extension = extendee && registry.getExtensionFor(extendee, extensionNumber);
        return fileAnswer(extension?.file, `extension ${extensionNumber} of ${containingType}`);
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

/** Throws deadline_exceeded when the next message does not come within `idleMs`. */
async function* untilIdle<T>(messages: AsyncIterable<T>, idleMs: number): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  for (;;) {
    const { promise: idle, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new Failure('deadline_exceeded', 'no request came for a while: open the stream again')),
      idleMs,
    );
    const { done, value } = await Promise.race([iterator.next(), idle]).finally(() => clearTimeout(timer));
    if (done) return;
    yield value;
  }
}
