import { once } from 'node:events';
import { type DescMethod, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  status,
} from '@grpc/grpc-js';

/** A unary or server-streaming method and what implements it. */
export interface GrpcJsRoute {
  readonly method: DescMethod;
  readonly handle: (
    request: Message,
    metadata: Metadata,
    signal: AbortSignal,
  ) => Message | Promise<Message> | AsyncIterable<Message>;
}

/** Serves methods with grpc-js, with the generated messages of Protobuf-ES. Gives the address. */
export async function serveGrpcJs(routes: readonly GrpcJsRoute[]): Promise<string> {
  const server = new Server();
  for (const { method, handle } of routes) {
    const path = `/${method.parent.typeName}/${method.name}`;
    const isStream = method.methodKind === 'server_streaming';
    server.addService(
      {
        [method.localName]: {
          path,
          requestStream: false,
          responseStream: isStream,
          requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
          requestSerialize: (message: Message) => Buffer.from(toBinary(method.input, message)),
          responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
          responseSerialize: (message: Message) => viewOf(toBinary(method.output, message)),
        },
      },
      { [method.localName]: isStream ? streamWith(handle) : answerWith(handle) },
    );
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return `http://127.0.0.1:${port}`;
}

function answerWith(handle: GrpcJsRoute['handle']): handleUnaryCall<Message, Message> {
  return (call, callback) => {
    const refuse = (error: Error) => callback({ code: status.UNKNOWN, details: error.message });
    try {
      const answer = handle(call.request, call.metadata, NEVER) as Message | Promise<Message>;
      if (answer instanceof Promise) answer.then((message) => callback(null, message), refuse);
      else callback(null, answer);
    } catch (error) {
      refuse(error as Error);
    }
  };
}

function streamWith(handle: GrpcJsRoute['handle']): handleServerStreamingCall<Message, Message> {
  return async (call) => {
    const gone = new AbortController();
    call.once('cancelled', () => gone.abort());
    for await (const message of handle(call.request, call.metadata, gone.signal) as AsyncIterable<Message>) {
      if (gone.signal.aborted) return;
      if (!call.write(message)) await Promise.race([once(call, 'drain'), once(call, 'close')]);
    }
    call.end();
  };
}

const NEVER = new AbortController().signal;

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}
