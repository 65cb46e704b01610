import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type SecureClientSessionOptions,
} from 'node:http2';
import { create, type DescMethodServerStreaming, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Request } from './load.ts';

/** One server-streaming call over gRPC with as little of a client around it as can be: thousands fit in one process. */
export function openStream<M extends DescMethodServerStreaming>(
  session: ClientHttp2Session,
  accessToken: string,
  method: M,
  request: Partial<MessageShape<M['input']>>,
  onMessage: (message: MessageShape<M['output']>) => void,
): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/${method.parent.typeName}/${method.name}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: `Bearer ${accessToken}`,
  });
  const body = toBinary(method.input, create(method.input, request as never));
  const frame = Buffer.alloc(5 + body.length);
  frame.writeUInt32BE(body.length, 1);
  frame.set(body, 5);
  stream.end(frame);
  onFrame(stream, (bytes) => onMessage(fromBinary(method.output, bytes) as MessageShape<M['output']>));
  return stream;
}

/** Makes a call, waits until so many messages have come, which are not looked into, and cancels it. Throws when it ends before. */
export async function receiveMessages(session: ClientHttp2Session, request: Request, count: number): Promise<void> {
  const stream = session.request({ ...request.headers, ':method': 'POST', ':path': request.path });
  stream.end(request.bodies[0]);
  let left = count;
  onFrame(stream, () => {
    if (--left === 0) stream.close(constants.NGHTTP2_CANCEL);
  });
  await new Promise((resolve) => {
    stream.once('close', resolve);
  });
  if (left > 0) throw new Error(`${request.path} ended ${left} messages early`);
}

function onFrame(stream: ClientHttp2Stream, take: (message: Buffer) => void): void {
  let unread: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    while (unread.length >= 5) {
      const end = 5 + unread.readUInt32BE(1);
      if (unread.length < end) return;
      take(unread.subarray(5, end));
      unread = unread.subarray(end);
    }
  });
  stream.on('error', () => {}); // 'close' follows
}

/** Connections that share `streams` streams, at most 100 on each. */
export function openSessions(
  address: string,
  streams: number,
  options?: SecureClientSessionOptions,
): ClientHttp2Session[] {
  return Array.from({ length: Math.ceil(streams / 100) }, () => connect(address, options).on('error', () => {}));
}
