import type { UniversalServerResponse } from '@connectrpc/connect/protocol';

const HEADER = 'grpc-message';

/**
 * Encodes `grpc-message` as the gRPC protocol asks for. Connect percent-encodes
 * more, which grpc-js does not decode: it would show "sign in%2C and send".
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
 */
export function encodeMessage(header: Headers): void {
  const encoded = header.get(HEADER);
  if (encoded === null) return;
  header.set(HEADER, decodeURIComponent(encoded).replaceAll(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent));
}

/** Does so in the trailer of a response, which is complete when its body is. */
export function encodeMessageOf(response: UniversalServerResponse): UniversalServerResponse {
  const { body, trailer } = response;
  if (body === undefined || body === null || trailer === undefined) return response;
  async function* thenEncode(chunks: AsyncIterable<Uint8Array>, trailer: Headers) {
    yield* chunks;
    encodeMessage(trailer);
  }
  return { ...response, body: thenEncode(body, trailer) };
}
