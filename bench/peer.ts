/** Serves as the peer that the first argument names, as a process of its own. */
import {
  echoWithConnect,
  echoWithFastify,
  echoWithGrpcJs,
  echoWithHttp1,
  echoWithHttp2,
  echoWithNiceGrpc,
} from './peers/echo.ts';
import { usersWithFastify, usersWithGrpcJs } from './peers/users.ts';

const PEERS: Readonly<Record<string, () => Promise<string>>> = {
  'echo-fast-path': () => echoWithConnect(true, false),
  'echo-fast-path-log': () => echoWithConnect(true, true),
  'echo-connect': () => echoWithConnect(false, false),
  'echo-grpc-js': echoWithGrpcJs,
  'echo-nice-grpc': echoWithNiceGrpc,
  'echo-fastify': () => echoWithFastify(false),
  'echo-fastify-log': () => echoWithFastify(true),
  'echo-http2': echoWithHttp2,
  'echo-http1': echoWithHttp1,
  'users-grpc-js': usersWithGrpcJs,
  'users-fastify': usersWithFastify,
};

const serve = PEERS[process.argv[2] ?? ''];
if (serve === undefined) throw new Error(`peers are: ${Object.keys(PEERS).join(', ')}`);
const address = await serve();
process.once('SIGTERM', () => process.exit(0)); // Node writes profiles then
// Not on standard output, which is for the log.
console.error(`serves at ${address}`);
