import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { create, type DescMethodServerStreaming, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';

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
  let unread: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    while (unread.length >= 5) {
      const end = 5 + unread.readUInt32BE(1);
      if (unread.length < end) return;
      onMessage(fromBinary(method.output, unread.subarray(5, end)) as MessageShape<M['output']>);
      unread = unread.subarray(end);
    }
  });
  stream.on('error', () => {}); // 'close' follows
  return stream;
}

/** Connections that share `streams` streams, at most 100 on each. */
export function openSessions(address: string, streams: number): ClientHttp2Session[] {
  return Array.from({ length: Math.ceil(streams / 100) }, () => connect(address).on('error', () => {}));
}
