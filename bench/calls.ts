import { create, type DescMethod, toBinary, toJsonString } from '@bufbuild/protobuf';
import type { Request } from './load.ts';

/** The headers of a caller who signed in. */
export type Signed = { readonly authorization?: string };

/** A call over gRPC. */
export function grpcCall(method: DescMethod, fields: object, signed: Signed = {}): Request {
  return {
    path: pathOf(method),
    headers: { 'content-type': 'application/grpc', te: 'trailers', ...signed },
    bodies: [body(method, fields, true)],
  };
}

/** The same over gRPC-Web. */
export function grpcWebCall(method: DescMethod, fields: object): Request {
  return {
    path: pathOf(method),
    headers: { 'content-type': 'application/grpc-web+proto' },
    bodies: [body(method, fields, true)],
  };
}

/** The same over Connect, unary, in binary. */
export function protoCall(method: DescMethod, fields: object): Request {
  return {
    path: pathOf(method),
    headers: { 'content-type': 'application/proto' },
    bodies: [body(method, fields, false)],
  };
}

/** The same in JSON; `path` for servers that have no contract. */
export function jsonCall(method: DescMethod, fields: object, signed: Signed = {}, path = pathOf(method)): Request {
  const json = toJsonString(method.input, create(method.input, fields as never));
  return { path, headers: { 'content-type': 'application/json', ...signed }, bodies: [Buffer.from(json)] };
}

/** The same as a GET. */
export function getCall(method: DescMethod, fields: object): Request {
  const message = encodeURIComponent(toJsonString(method.input, create(method.input, fields as never)));
  return { path: `${pathOf(method)}?connect=v1&encoding=json&message=${message}`, headers: {}, bodies: [] };
}

function body(method: DescMethod, fields: object, framed: boolean): Uint8Array {
  const bytes = toBinary(method.input, create(method.input, fields as never));
  return framed ? frameOf(bytes) : bytes;
}

function frameOf(bytes: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(5 + bytes.length);
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, 5);
  return frame;
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
