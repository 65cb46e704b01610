import { gunzipSync } from 'node:zlib';
import type { IncomingHttpHeaders } from 'node:http';
import { Code, ConnectError } from '@connectrpc/connect';
import { errorFromJsonBytes } from '@connectrpc/connect/protocol-connect';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import { ErrorDetailSchema, ErrorReasonSchema } from '../../gen/kith/error/v1/error_pb.ts';

/** What is known of an answer when it has ended. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  /** The beginning of the body. */
  readonly body: Buffer;
}

/** The same refusal comes thousands of times: it is read once. */
const READ_MAX = 2000;
const known = new Map<string, string>();

/**
 * How a call ended in one word: `OK`, a code and the reason of the contract
 * (`INVALID_ARGUMENT/FIELD_UNKNOWN`), or `HTTP 404` for an answer of no protocol.
 */
export function outcomeOf({ status, headers, trailers, body }: Answer): string {
  const type = headers['content-type'] ?? '';
  if (type.startsWith('application/grpc')) {
    const all = headers['grpc-status'] === undefined ? trailers : headers;
    const code = all['grpc-status'];
    if (code === undefined) return 'no grpc-status';
    if (code === '0') return 'OK';
    return remember(`${String(code)} ${String(all['grpc-status-details-bin'])}`, () =>
      nameOf(findTrailerError(new Headers(pick(all, 'grpc-status', 'grpc-message', 'grpc-status-details-bin')))),
    );
  }
  if (type.startsWith('application/connect+') && status === 200) {
    const end = endOfStream(body);
    if (end === undefined) return 'OK';
    return remember(end.toString(), () =>
      nameOf(connectError(Buffer.from(JSON.stringify(JSON.parse(end.toString()).error)), status)),
    );
  }
  if (status === 200 || status === 204) return 'OK';
  if (!type.startsWith('application/json')) return `HTTP ${status}`;
  // Where a client accepts nothing by name, it is answered in the coding of its request.
  const json = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
  return remember(json.toString(), () => nameOf(connectError(json, status)));
}

/** The error in the last envelope of a stream, as far as it has arrived. */
function endOfStream(body: Buffer): Buffer | undefined {
  for (let at = 0; at + 5 <= body.length; at += 5 + body.readUInt32BE(at + 1)) {
    const message = body.subarray(at + 5, at + 5 + body.readUInt32BE(at + 1));
    if ((body[at]! & 2) !== 0 && message.includes('"error"')) return message;
  }
  return undefined;
}

function connectError(body: Buffer, status: number): ConnectError | undefined {
  try {
    return errorFromJsonBytes(body, undefined, new ConnectError(`HTTP ${status}`, Code.Unknown));
  } catch {
    return undefined;
  }
}

function nameOf(error: ConnectError | undefined): string {
  if (error === undefined) return 'unreadable';
  const code = Code[error.code].replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
  const [detail] = error.findDetails(ErrorDetailSchema);
  const reason = detail && ErrorReasonSchema.value[detail.reason]?.name.replace('ERROR_REASON_', '');
  return reason === undefined ? code : `${code}/${reason}`;
}

function pick(headers: IncomingHttpHeaders, ...names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (headers[name] === undefined ? [] : [[name, String(headers[name])]])),
  );
}

function remember(key: string, read: () => string): string {
  const found = known.get(key);
  if (found !== undefined) return found;
  const name = read();
  if (known.size < READ_MAX) known.set(key, name);
  return name;
}

/** Whether an answer is a fault of the server's own, which nothing that arrives may cause. */
export function isFault(outcome: string): boolean {
  return /^(INTERNAL|UNKNOWN|UNAVAILABLE|DATA_LOSS|unreadable|no grpc-status)(\/|$)|^HTTP 5(?!01|05)/.test(outcome);
}
