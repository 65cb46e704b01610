import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ADMIN_PASSWORD, grpc } from './support/kith.ts';
import { envelope } from './support/raw-protocols.ts';
import { type ServingProcess, startProcess } from './support/process.ts';
import { signedIn } from './support/sign-in.ts';

const WATCH = '/kith.activity.v1.ActivityService/WatchUserActivity';
const LIST = '/kith.activity.v1.ActivityService/ListUserActivity';

let kith: ServingProcess;
let accessToken = '';
beforeAll(async () => {
  kith = await startProcess({ env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD } });
  const auth = createClient(AuthService, grpc(kith.address));
  ({ accessToken } = await signedIn(auth.login({ identifier: 'admin', password: ADMIN_PASSWORD })));
});
afterAll(() => kith[Symbol.asyncDispose]());

const headersOf = (requestId: string) => ({
  'x-request-id': requestId,
  authorization: `Bearer ${accessToken}`,
});

async function openSocket(): Promise<net.Socket> {
  const socket = net.connect(Number(new URL(kith.address).port), '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** A call over HTTP/2 that has begun: a watch that sent its first message, or half of a request. */
async function beginHttp2(requestId: string, path: string) {
  const socket = await openSocket();
  const session = http2.connect(kith.address, { createConnection: () => socket }).on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headersOf(requestId),
  });
  stream.on('error', () => {});
  if (path === WATCH) {
    stream.end(envelope(''));
    await once(stream, 'data');
  } else {
    stream.write(envelope('').subarray(0, 3));
    await new Promise((resolve) => session.ping(resolve)); // the server has it
  }
  return { socket, session, stream };
}

/** Likewise over HTTP/1.1. */
async function beginHttp1(requestId: string, path: string): Promise<net.Socket> {
  const socket = await openSocket();
  const headers = Object.entries({ host: 'a', 'content-type': 'application/grpc-web', ...headersOf(requestId) });
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  if (path === WATCH) {
    socket.write(`POST ${path} HTTP/1.1\r\n${head}content-length: 5\r\n\r\n`);
    socket.write(envelope(''));
  } else {
    socket.write(`POST ${path} HTTP/1.1\r\n${head}content-length: 5\r\nexpect: 100-continue\r\n\r\n`);
  }
  await once(socket, 'data'); // the first message, or that the server waits for the rest
  if (path !== WATCH) socket.write(envelope('').subarray(0, 3));
  return socket;
}

const WAYS: Record<string, (requestId: string, path: string) => Promise<void>> = {
  'a stream that is cancelled': async (requestId, path) => {
    const { session, stream } = await beginHttp2(requestId, path);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    session.close();
  },
  'a stream that is reset with INTERNAL_ERROR': async (requestId, path) => {
    const { session, stream } = await beginHttp2(requestId, path);
    stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    session.close();
  },
  'an HTTP/2 connection that is reset': async (requestId, path) => {
    (await beginHttp2(requestId, path)).socket.resetAndDestroy();
  },
  'an HTTP/2 connection that is closed': async (requestId, path) => {
    (await beginHttp2(requestId, path)).session.destroy();
  },
  'an HTTP/1.1 connection that is reset': async (requestId, path) => {
    (await beginHttp1(requestId, path)).resetAndDestroy();
  },
  'an HTTP/1.1 connection that is closed': async (requestId, path) => {
    (await beginHttp1(requestId, path)).destroy();
  },
};

/** The line of the log that a call with this request id has left. */
async function lineOf(requestId: string): Promise<Record<string, unknown>> {
  const find = () => kith.stdout.split('\n').find((line) => line.includes(requestId) && line.endsWith('}'));
  await expect.poll(find).toBeDefined();
  return JSON.parse(find()!) as Record<string, unknown>;
}

describe.each(Object.entries(WAYS))('the log calls it no fault when %s interrupts', (_, interrupt) => {
  test('a watch, which is canceled', async () => {
    const requestId = randomUUID();
    await interrupt(requestId, WATCH);
    expect(await lineOf(requestId)).toMatchObject({
      level: 'info',
      rpc: WATCH.slice(1),
      code: 'canceled',
      reason: 'ERROR_REASON_CANCELED',
    });
  });

  test('a request that has come by half', async () => {
    const requestId = randomUUID();
    await interrupt(requestId, LIST);
    const { level, rpc, code } = await lineOf(requestId);
    expect({ level, rpc }).toEqual({ level: 'info', rpc: LIST.slice(1) });
    expect(code).toMatch(/^(canceled|invalid_argument)$/); // the latter when the half is looked at first
  });
});
