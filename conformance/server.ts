/**
 * Serve the conformance tests' service on Kith's own stack, as the runner asks
 * on standard input, and tell it where on standard output.
 *
 * usage: node conformance/server.ts CONTRACT on|off
 */
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { create, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import { fastify as createFastify } from 'fastify';
import { createOnePortServer } from '../src/http/one-port.ts';
import { createFastHandlers } from '../packages/connect-fast/src/index.ts';
import * as compiled from '../packages/protobuf-compiled/src/index.ts';
import { answerAfterRequest } from '../src/rpc/answer-after-request.ts';
import { COMPRESS_MIN_BYTES, Compressor } from '../src/rpc/compressor.ts';
import { readContract } from './contract.ts';
import { readFrames, writeFrame } from './frames.ts';
import { conformanceService } from './service.ts';

/** `ServerCompatRequest`, as far as it is looked into. */
interface Asked extends Message {
  readonly useTls: boolean;
  readonly messageReceiveLimit: number;
  readonly serverCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
}

/** For tests that ask for no limit. */
const READ_MAX_BYTES = 64 * 1024 * 1024;
/** The tests are about requests that end early: so many that a server that is not tested would call it an attack. */
const STREAM_RESETS = { burst: 10_000, perSecond: 10_000 };

const [contractPath = '', fastPathSwitch] = process.argv.slice(2);
const contract = readContract(contractPath);
const asked = fromBinary(contract.message('ServerCompatRequest'), await readFrame()) as Asked;
const credentials = asked.useTls ? asked.serverCreds : undefined;
const tls = credentials && { cert: Buffer.from(credentials.cert), key: Buffer.from(credentials.key) };

const compressor = new Compressor();
const readMaxBytes = asked.messageReceiveLimit || READ_MAX_BYTES;
const handlers = createFastHandlers({
  routes(router) {
    router.service(contract.service, conformanceService(contract));
    router.handlers.forEach((handler, i) => {
      router.handlers[i] = answerAfterRequest(handler, readMaxBytes);
    });
  },
  readMaxBytes,
  compressMinBytes: COMPRESS_MIN_BYTES,
  acceptCompression: compressor.compressions,
  compressAnswer: (name, bytes, _context, isWanted) => compressor.compress(name, bytes, 'anybody', isWanted),
  jsonOptions: { registry: contract.registry },
  codec: compiled,
});
const fastify = createFastify<Server>({
  serverFactory: (handler) =>
    createOnePortServer(handler, {
      tls,
      ...(fastPathSwitch === 'on' && { shortcut: { takeHttp1: handlers.http1, takeHttp2: handlers.http2 } }),
      isStreaming: (path) => /\/(?:Client|Bidi)Stream$/.test(path),
      streamResets: STREAM_RESETS,
    }) as Server,
});
await fastify.register(fastifyConnectPlugin, { routes: (router) => void router.handlers.push(...handlers.handlers) });
await fastify.listen({ host: '127.0.0.1', port: 0 });

const responseDesc = contract.message('ServerCompatResponse');
const { port } = fastify.server.address() as AddressInfo;
const response = { host: '127.0.0.1', port, ...(tls && { pemCert: tls.cert }) };
writeFrame(toBinary(responseDesc, create(responseDesc, response)));
process.once('SIGTERM', () => process.exit(0));

/** The one message on standard input. */
async function readFrame(): Promise<Buffer> {
  for await (const frame of readFrames()) return frame;
  throw new Error('the runner asked for nothing');
}
