import type { OutgoingHttpHeaders } from 'node:http';
import type { ConnectError } from '@connectrpc/connect';
import { createEndStreamSerialization, endStreamFlag } from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import { trailerFlag, trailerSerialize } from '@connectrpc/connect/protocol-grpc-web';
import { encodeMessage } from './grpc-message.ts';
import { parseConnectTimeout, parseGrpcTimeout } from './timeouts.ts';

/** How one protocol writes calls with one codec. */
export interface CallFormat {
  readonly protocolName: 'connect' | 'grpc' | 'grpc-web';
  /** Protobuf's binary format; JSON otherwise. */
  readonly isBinary: boolean;
  /** Whether each message stands behind five bytes of flags and length; otherwise it is the whole body. */
  readonly isEnveloped: boolean;
  /** The content type of answers. */
  readonly contentType: string;
  readonly timeoutHeader: 'connect-timeout-ms' | 'grpc-timeout';
  readonly encodingHeader: string;
  readonly acceptEncodingHeader: string;
  /** What a timeout header says, milliseconds; undefined for what does not look like one. */
  parseTimeout(value: string): number | undefined;
}

const CONNECT_TIMEOUT = { timeoutHeader: 'connect-timeout-ms', parseTimeout: parseConnectTimeout } as const;

/** https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests */
const GRPC = {
  isEnveloped: true,
  timeoutHeader: 'grpc-timeout',
  encodingHeader: 'grpc-encoding',
  acceptEncodingHeader: 'grpc-accept-encoding',
  parseTimeout: parseGrpcTimeout,
} as const;

const CONNECT_UNARY = {
  ...CONNECT_TIMEOUT,
  protocolName: 'connect',
  isEnveloped: false,
  encodingHeader: 'content-encoding',
  acceptEncodingHeader: 'accept-encoding',
} as const;

const CONNECT_STREAM = {
  ...CONNECT_TIMEOUT,
  protocolName: 'connect',
  isEnveloped: true,
  encodingHeader: 'connect-content-encoding',
  acceptEncodingHeader: 'connect-accept-encoding',
} as const;

const unaryJson: CallFormat = { ...CONNECT_UNARY, isBinary: false, contentType: 'application/json' };
const unaryProto: CallFormat = { ...CONNECT_UNARY, isBinary: true, contentType: 'application/proto' };
const streamJson: CallFormat = { ...CONNECT_STREAM, isBinary: false, contentType: 'application/connect+json' };
const streamProto: CallFormat = { ...CONNECT_STREAM, isBinary: true, contentType: 'application/connect+proto' };
const grpcProto: CallFormat = { ...GRPC, protocolName: 'grpc', isBinary: true, contentType: 'application/grpc+proto' };
const grpcJson: CallFormat = { ...GRPC, protocolName: 'grpc', isBinary: false, contentType: 'application/grpc+json' };
const webProto: CallFormat = {
  ...GRPC,
  protocolName: 'grpc-web',
  isBinary: true,
  contentType: 'application/grpc-web+proto',
};
const webJson: CallFormat = {
  ...GRPC,
  protocolName: 'grpc-web',
  isBinary: false,
  contentType: 'application/grpc-web+json',
};

/** By the spelling of the content type that clients use; any other is left to Connect. */
const UNARY = new Map<string, CallFormat>([
  ['application/json', unaryJson],
  ['application/json; charset=utf-8', unaryJson],
  ['application/json;charset=utf-8', unaryJson],
  ['application/proto', unaryProto],
]);
const STREAM = new Map<string, CallFormat>([
  ['application/connect+json', streamJson],
  ['application/connect+proto', streamProto],
]);
const ANY = new Map<string, CallFormat>([
  ['application/grpc', grpcProto],
  ['application/grpc+proto', grpcProto],
  ['application/grpc+json', grpcJson],
  ['application/grpc-web', webProto],
  ['application/grpc-web+proto', webProto],
  ['application/grpc-web+json', webJson],
]);

/** The format of a POST with this content type, or undefined for one that is left to Connect. */
export function findFormat(contentType: string | undefined, isUnary: boolean): CallFormat | undefined {
  if (contentType === undefined) return undefined;
  return ANY.get(contentType) ?? (isUnary ? UNARY : STREAM).get(contentType);
}

/** The format of a Connect GET with this `encoding`. */
export function findGetFormat(encoding: string | null): CallFormat | undefined {
  return encoding === 'json' ? unaryJson : encoding === 'proto' ? unaryProto : undefined;
}

/** What stands before each message of an enveloped body: flags and length. */
export const ENVELOPE_BYTES = 5;
const COMPRESSED = 1;

/** The one message in a body, or undefined when there is not just one that is complete. */
export function openEnvelope(body: Buffer): { readonly isCompressed: boolean; readonly message: Buffer } | undefined {
  const [flags] = body;
  if (body.length < ENVELOPE_BYTES || (flags !== 0 && flags !== COMPRESSED)) return undefined;
  if (body.readUInt32BE(1) !== body.length - ENVELOPE_BYTES) return undefined;
  return { isCompressed: flags === COMPRESSED, message: body.subarray(ENVELOPE_BYTES) };
}

/** A message behind its flags and length. */
export function envelope(flags: number, message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(ENVELOPE_BYTES + message.length);
  framed.set(message, ENVELOPE_BYTES);
  return sealEnvelope(flags, framed);
}

/** Writes flags and length into the bytes that stand before a message. */
export function sealEnvelope(flags: number, framed: Buffer): Buffer {
  framed[0] = flags;
  framed.writeUInt32BE(framed.length - ENVELOPE_BYTES, 1);
  return framed;
}

/** A compressed message behind its flags and length. */
export function compressedEnvelope(flags: number, message: Uint8Array): Buffer {
  return envelope(flags | COMPRESSED, message);
}

/** How a stream ends: with trailers of HTTP, or with a last frame that holds as much. */
export type Ending =
  | { readonly trailers: OutgoingHttpHeaders; readonly frame?: undefined }
  | { readonly trailers?: undefined; readonly frame: { readonly flags: number; readonly data: Uint8Array } };

const SUCCESS = { 'grpc-status': '0' };
const SUCCESS_GRPC = { trailers: SUCCESS };
const SUCCESS_WEB = { frame: { flags: trailerFlag, data: Buffer.from('grpc-status: 0\r\n') } };
const endStream = createEndStreamSerialization(undefined);
const SUCCESS_CONNECT = { frame: { flags: endStreamFlag, data: Buffer.from('{}') } };

/** The end of an enveloped answer: its status, and what trailers the implementation added. */
export function endingOf(format: CallFormat, added: Headers | undefined, error: ConnectError | undefined): Ending {
  if (format.protocolName === 'connect') {
    if (added === undefined && error === undefined) return SUCCESS_CONNECT;
    const data = endStream.serialize({ metadata: added ?? new Headers(), ...(error === undefined ? {} : { error }) });
    return { frame: { flags: endStreamFlag, data } };
  }
  if (added === undefined && error === undefined) {
    return format.protocolName === 'grpc' ? SUCCESS_GRPC : SUCCESS_WEB;
  }
  const trailer = new Headers(SUCCESS);
  added?.forEach((value, name) => trailer.set(name, value));
  if (error !== undefined) {
    setTrailerStatus(trailer, error);
    encodeMessage(trailer);
  }
  if (format.protocolName === 'grpc') return { trailers: nodeHeaders(trailer) };
  return { frame: { flags: trailerFlag, data: trailerSerialize(trailer) } };
}

/** Headers as Node takes them. */
export function nodeHeaders(web: Headers): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  addHeaders(headers, web);
  return headers;
}

/**
 * Of the connection and not of an answer (RFC 9113, section 8.2.2). Over HTTP/2 Node
 * throws for them, of trailers where nobody can catch it.
 */
const HOP_BY_HOP = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** Adds headers in the form that Node takes, but for those that are not of an answer. */
export function addHeaders(to: OutgoingHttpHeaders, web: Headers): void {
  for (const [name, value] of web) {
    if (HOP_BY_HOP.has(name)) continue;
    // Headers joins the values of all names but this one (RFC 6265, section 3).
    if (name === 'set-cookie') to[name] = web.getSetCookie();
    else to[name] = value;
  }
}
