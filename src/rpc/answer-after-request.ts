import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from '@connectrpc/connect/protocol';

/** How much of a message that is refused for its size is still read, bytes. */
const REST_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Has a handler answer a request whose message is too large once all of it is
 * there, unless it is far too large. An answer may come earlier (RFC 9113, section
 * 8.1), but clients of connect-go end the request then, short of the length they
 * gave, and HTTP/2 resets such a request as malformed before they have read why it
 * was refused. And nginx, when it is answered before the end of a request, closes the
 * connection of a client that speaks HTTP/1.1 without a `connection: close`: the next
 * call on it is lost.
 * https://github.com/connectrpc/connect-go, duplex_http_call.go: payloadCloser
 * https://github.com/nginx/nginx, ngx_http_request.c: ngx_http_finalize_connection
 */
export function answerAfterRequest(handler: UniversalHandler, readMaxBytes: number): UniversalHandler {
  const refusing = (request: UniversalServerRequest): Promise<UniversalServerResponse> =>
    mayBeTooLarge(handler, request, readMaxBytes) ? answerAfterBody(handler, request) : handler(request);
  return Object.assign(refusing, handler);
}

async function answerAfterBody(
  handler: UniversalHandler,
  request: UniversalServerRequest,
): Promise<UniversalServerResponse> {
  const chunks = (request.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  let bytes = 0;
  let hasEnded = false;
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const chunk = await chunks.next();
    if (chunk.done === true) hasEnded = true;
    else bytes += chunk.value.length;
    return chunk;
  };
  const readRest = async (): Promise<void> => {
    try {
      while (!hasEnded && bytes < REST_BYTES_MAX) await next();
      await chunks.return?.();
    } catch {
      // The client has left: so will the answer.
    }
  };
  const response = await handler({ ...request, body: { [Symbol.asyncIterator]: () => ({ next }) } });
  const { body } = response;
  if (body === undefined || body === null) {
    await readRest();
    return response;
  }
  async function* afterRequest(answers: AsyncIterable<Uint8Array>) {
    let hasBegun = false;
    for await (const answer of answers) {
      if (!hasBegun) await readRest();
      hasBegun = true;
      yield answer;
    }
    if (!hasBegun) await readRest();
  }
  return { ...response, body: afterRequest(body) };
}

/** Whether a request says that it is too large, though not so large that the rest of it is not worth reading, or does not say how large it is. */
function mayBeTooLarge({ method }: UniversalHandler, { header, body }: UniversalServerRequest, readMaxBytes: number) {
  const hasOneMessage = method.methodKind === 'unary' || method.methodKind === 'server_streaming';
  if (!hasOneMessage || typeof body !== 'object' || body === null || !(Symbol.asyncIterator in body)) return false;
  const length = header.get('content-length');
  return length === null || (Number(length) > readMaxBytes && Number(length) <= REST_BYTES_MAX);
}
