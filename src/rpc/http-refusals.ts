import { Code } from '@connectrpc/connect';
import {
  createAsyncIterable,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from '@connectrpc/connect/protocol';
import { codeToHttpStatus, contentTypeUnaryJson, errorToJsonBytes } from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import { Failure } from '../kernel/failure.ts';
import { dropFarDeadline } from './deadlines.ts';
import { toConnectError } from './errors.ts';
import { encodeMessage } from '../../packages/connect-fast/src/index.ts';

/**
 * Gives a body to what Connect refuses with a bare HTTP status, and refuses what
 * it would take for a fault of its own. The handler is changed in place: the
 * router hands out this very object.
 */
export function explainRefusals(handler: UniversalHandler): UniversalHandler {
  const explaining = async (request: UniversalServerRequest): Promise<UniversalServerResponse> => {
    if (request.method === 'GET' && hasBrokenBase64(request.url)) {
      return answer(codeToHttpStatus(Code.InvalidArgument), brokenBase64());
    }
    dropFarDeadline(request.header);
    const response = await handler(request);
    switch (response.status) {
      case 405: // RFC 9110, 15.5.6: with the methods there are
        return answer(405, wrongHttpMethod(handler), { allow: [...new Set(handler.allowedMethods)].join(', ') });
      case 415:
        return answer(415, request.method === 'GET' ? wrongEncoding() : wrongContentType());
      case 505:
        return answer(505, needsHttp2(), { connection: 'close' });
      default:
        return response;
    }
  };
  return Object.assign(explaining, handler);
}

/**
 * How to answer an HTTP request that no handler takes: gRPC and gRPC-Web clients
 * look at `grpc-status` in the headers, everybody else at the HTTP status and a
 * Connect error.
 */
export function httpRefusal(
  contentType: string | undefined,
  status: number,
  failure: Failure,
): { status: number; headers: Record<string, string>; body: Uint8Array } {
  const error = toConnectError(failure);
  if (!contentType?.startsWith('application/grpc')) {
    return { status, headers: { 'content-type': contentTypeUnaryJson }, body: errorToJsonBytes(error, undefined) };
  }
  const headers = new Headers({ 'content-type': contentType });
  setTrailerStatus(headers, error);
  encodeMessage(headers);
  return { status: 200, headers: Object.fromEntries(headers), body: new Uint8Array() };
}

export function unknownMethod(path: string): Failure {
  return new Failure('method_unknown', `nothing is served at ${path.slice(0, 200)}`);
}

export function wrongContentType(): Failure {
  return new Failure(
    'encoding_unsupported',
    'content-type must be application/json or application/proto (Connect; for streams application/connect+json or ' +
      'application/connect+proto), application/grpc or application/grpc-web',
  );
}

/** `charset` is in lower case. */
export function unsupportedCharset(charset: string): Failure {
  return new Failure(
    'encoding_unsupported',
    `the charset of the content-type must be utf-8, and not ${charset.slice(0, 50)}`,
  );
}

function wrongEncoding(): Failure {
  return new Failure('encoding_unsupported', 'the query parameter encoding must be json or proto');
}

function wrongHttpMethod({ allowedMethods }: UniversalHandler): Failure {
  return new Failure('method_unknown', `the HTTP method must be ${[...new Set(allowedMethods)].join(' or ')}`);
}

function needsHttp2(): Failure {
  return new Failure('method_unknown', 'a bidirectional stream needs HTTP/2');
}

function brokenBase64(): Failure {
  return new Failure('malformed_request', 'the query parameter message is not base64url');
}

function answer(status: number, failure: Failure, header: Record<string, string> = {}): UniversalServerResponse {
  const { headers, body } = httpRefusal(undefined, status, failure);
  return { status, header: new Headers({ ...headers, ...header }), body: createAsyncIterable([body]) };
}

function hasBrokenBase64(url: string): boolean {
  const query = new URL(url).searchParams;
  if (query.get('base64') !== '1') return false;
  const [, digits] = /^([\w+/-]*)={0,2}$/.exec(query.get('message') ?? '') ?? [];
  return digits === undefined || digits.length % 4 === 1;
}
