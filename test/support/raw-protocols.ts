import type { ClientHttp2Session } from 'node:http2';
import type { DescMethodUnary } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { http1Request, type RawAnswer, sendHttp1, sendHttp2 } from './raw.ts';

/** A message as it is sent, whatever it is worth. */
export interface Payload {
  readonly method: DescMethodUnary;
  readonly format: 'json' | 'proto';
  readonly bytes: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Where to: `session` is an HTTP/2 connection to `address`. */
export interface Target {
  readonly address: string;
  readonly session: ClientHttp2Session;
}

/** One way to send the bytes of one message. */
export interface RawProtocol {
  readonly name: string;
  /** Whether the method can be called so. */
  takes(payload: Payload): boolean;
  send(target: Target, payload: Payload): Promise<RawAnswer>;
}

const pathOf = ({ parent, name }: DescMethodUnary) => `/${parent.typeName}/${name}`;

/** Length and flags before a message, as gRPC and gRPC-Web have them. */
export function envelope(bytes: string | Uint8Array, flags = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags);
  prefix.writeUInt32BE(Buffer.byteLength(bytes), 1);
  return Buffer.concat([prefix, Buffer.from(bytes)]);
}

/** The three protocols, each as a client without a protobuf library would speak it. */
export const rawProtocols: readonly RawProtocol[] = [
  {
    name: 'gRPC over HTTP/2',
    takes: () => true,
    send: ({ session }, { method, format, bytes, headers }) =>
      sendHttp2(
        session,
        { ':path': pathOf(method), 'content-type': `application/grpc+${format}`, te: 'trailers', ...headers },
        envelope(bytes),
      ),
  },
  {
    name: 'gRPC-Web over HTTP/1.1',
    takes: () => true,
    send: ({ address }, { method, format, bytes, headers }) =>
      sendHttp1(
        address,
        http1Request(
          'POST',
          pathOf(method),
          { 'content-type': `application/grpc-web+${format}`, ...headers },
          envelope(bytes),
        ),
      ),
  },
  {
    name: 'Connect over HTTP/1.1',
    takes: () => true,
    send: ({ address }, { method, format, bytes, headers }) =>
      sendHttp1(
        address,
        http1Request('POST', pathOf(method), { 'content-type': `application/${format}`, ...headers }, bytes),
      ),
  },
  {
    name: 'Connect over HTTP/2',
    takes: () => true,
    send: ({ session }, { method, format, bytes, headers }) =>
      sendHttp2(session, { ':path': pathOf(method), 'content-type': `application/${format}`, ...headers }, bytes),
  },
  {
    name: 'Connect GET over HTTP/1.1',
    takes: ({ method, bytes }) =>
      method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS && bytes.length < 8_000,
    send: ({ address }, { method, format, bytes, headers }) => {
      const message = Buffer.from(bytes).toString('base64url');
      const target = `${pathOf(method)}?connect=v1&base64=1&encoding=${format}&message=${message}`;
      return sendHttp1(address, http1Request('GET', target, headers ?? {}));
    },
  },
];
