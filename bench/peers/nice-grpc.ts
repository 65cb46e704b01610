import { type DescMethod, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { createServer } from 'nice-grpc';

/** Serves a unary method with nice-grpc, with the generated messages of Protobuf-ES. Gives the address. */
export async function serveNiceGrpc(method: DescMethod, handle: (request: Message) => Message): Promise<string> {
  const server = createServer();
  server.add(
    {
      [method.localName]: {
        path: `/${method.parent.typeName}/${method.name}`,
        requestStream: false as const,
        responseStream: false as const,
        requestSerialize: (message: Message) => toBinary(method.input, message),
        requestDeserialize: (bytes: Uint8Array) => fromBinary(method.input, bytes),
        responseSerialize: (message: Message) => toBinary(method.output, message),
        responseDeserialize: (bytes: Uint8Array) => fromBinary(method.output, bytes),
        options: {},
      },
    },
    { [method.localName]: async (request: Message) => handle(request) },
  );
  return `http://127.0.0.1:${await server.listen('127.0.0.1:0')}`;
}
