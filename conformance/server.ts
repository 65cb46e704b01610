/**
 * Serve the conformance tests' service on Kith's own stack, as the runner asks
 * on standard input, and tell it where on standard output.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { create, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { type ConnectRouter, createContextValues } from '@connectrpc/connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import { fastify as createFastify } from 'fastify';
import { createLane, type Lane } from '../src/lane/lane.ts';
import { createOnePortServer } from '../src/http/one-port.ts';
import { readContract } from './contract.ts';
import { conformanceService } from './service.ts';

interface Asked extends Message {
  useTls: boolean;
  messageReceiveLimit: number;
  serverCreds?: { cert: Uint8Array; key: Uint8Array };
}

const contract = readContract(process.env['CONFORMANCE_CONTRACT'] ?? '');
const asked = fromBinary(contract.message('ServerCompatRequest'), await readFrame()) as Asked;
const tls =
  asked.useTls && asked.serverCreds !== undefined
    ? { cert: Buffer.from(asked.serverCreds.cert), key: Buffer.from(asked.serverCreds.key) }
    : undefined;

const jsonOptions = { registry: contract.registry };
const readMaxBytes = asked.messageReceiveLimit || 64 * 1024 * 1024;
let lane: Lane | undefined;
const fastify = createFastify({
  serverFactory: (handler) =>
    createOnePortServer(handler, {
      tls,
      shortcut: {
        takeHttp1: (request, response) => lane?.takeHttp1(request, response) ?? false,
        takeHttp2: (stream, headers) => lane?.takeHttp2(stream, headers) ?? false,
      },
      isStreaming: (path) => /\/(Client|Bidi)Stream$/.test(path),
      streamResets: { burst: 10_000, perSecond: 10_000 }, // the tests are about requests that end early
    }) as Server,
  forceCloseConnections: false,
});
await fastify.register(fastifyConnectPlugin, {
  routes(router: ConnectRouter) {
    const implementation = conformanceService(contract);
    router.service(contract.service, implementation);
    if (process.env['CONFORMANCE_LANE'] !== 'on') return;
    lane = createLane([{ service: contract.service, implementation }], router.handlers, {
      admit: () => ({ values: createContextValues() }),
      interceptors: [],
      readMaxBytes,
      compressMinBytes: 1024,
      compressions: [compressionGzip, compressionBrotli],
      jsonOptions,
      onFault: (error) => console.error(error),
    });
  },
  jsonOptions,
  readMaxBytes,
});
await fastify.listen({ host: '127.0.0.1', port: 0 });

const answer = create(contract.message('ServerCompatResponse'), {
  host: '127.0.0.1',
  port: (fastify.server.address() as AddressInfo).port,
  ...(tls === undefined ? {} : { pemCert: tls.cert }),
} as never);
writeFrame(toBinary(contract.message('ServerCompatResponse'), answer));
process.once('SIGTERM', () => process.exit(0));

/** A message on standard input, behind its length in four bytes. */
async function readFrame(): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    if (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE()) break;
  }
  return bytes.subarray(4, 4 + bytes.readUInt32BE());
}

function writeFrame(message: Uint8Array): void {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  process.stdout.write(Buffer.concat([length, message]));
}
