import { createByteQueue, discard, isObject, parseJson, readBody } from './body.ts';

const CONTENT_TYPE = 'application/connect+json';
const HEAD_BYTES = 5;
const COMPRESSED = 0b01;
const END_STREAM = 0b10;
const ERROR_BYTES_MAX = 65_536;

export interface ServerStreamOptions {
  readonly fetch: typeof globalThis.fetch;
  /** Address, service and method. */
  readonly url: string;
  readonly bearer: string;
  /** The request message. */
  readonly message: unknown;
  /** Ends the call. */
  readonly signal: AbortSignal;
  /** The largest message that is read, bytes. */
  readonly messageBytesMax: number;
}

/**
 * Calls a server-streaming method by the Connect protocol, with JSON, and yields
 * each message as it is (https://connectrpc.com/docs/protocol, streaming RPCs).
 *
 * Returns when the server ends the stream well. Throws when it refuses the call,
 * ends it with an error, is cut off, or does not speak the protocol.
 */
export async function* serverStream(options: ServerStreamOptions): AsyncGenerator {
  const { url, bearer, message, signal, messageBytesMax } = options;
  const response = await options.fetch(url, {
    method: 'POST',
    headers: { 'content-type': CONTENT_TYPE, 'connect-protocol-version': '1', authorization: `Bearer ${bearer}` },
    body: envelope(message),
    // A credential goes to the address it is for, and nowhere else.
    redirect: 'manual',
    signal,
  });
  if (response.status !== 200) throw new Error(`${url} answers ${response.status}${await explanation(response)}`);
  const contentType = response.headers.get('content-type');
  if (contentType?.split(';')[0]?.trim().toLowerCase() !== CONTENT_TYPE || response.body === null) {
    discard(response);
    throw new Error(`${url} answers ${contentType ?? 'without a content type'}, not ${CONTENT_TYPE}`);
  }

  const queue = createByteQueue();
  const reader = response.body.getReader();
  try {
    for (;;) {
      const head = await fill(HEAD_BYTES);
      const flags = head[0]!;
      const length = new DataView(head.buffer).getUint32(1);
      if ((flags & COMPRESSED) !== 0 || flags > END_STREAM)
        throw new Error(`${url} sent an envelope of flags ${flags}`);
      if (length > messageBytesMax) throw new Error(`${url} sent a message of more than ${messageBytesMax} bytes`);
      const received = parseJson(await fill(length));
      if (flags !== END_STREAM) {
        yield received;
        continue;
      }
      const error = isObject(received) ? received['error'] : undefined;
      if (error !== undefined && error !== null) throw new Error(`${url} ended the stream: ${described(error)}`);
      return;
    }
  } finally {
    reader.cancel().catch(() => {}); // a body that has failed already has nothing to cancel
  }

  async function fill(count: number): Promise<Uint8Array> {
    while (queue.length < count) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`${url} was cut off`); // only an end-of-stream message ends a stream
      queue.push(value);
    }
    return queue.take(count);
  }
}

/** A message as it travels: flags, length, JSON. */
function envelope(message: unknown): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(message));
  const bytes = new Uint8Array(HEAD_BYTES + json.length);
  new DataView(bytes.buffer).setUint32(1, json.length);
  bytes.set(json, HEAD_BYTES);
  return bytes;
}

/** What a refusal that is not a stream says, if it says it as Connect does. */
async function explanation(response: Response): Promise<string> {
  try {
    return `: ${described(parseJson(await readBody(response, ERROR_BYTES_MAX)))}`;
  } catch {
    return '';
  }
}

/** The code and the message of an error of Connect's. */
function described(error: unknown): string {
  const { code, message } = isObject(error) ? error : {};
  return [code, message].filter((part) => typeof part === 'string' && part !== '').join(': ') || 'for no reason given';
}
