import { createConnectRouter } from '@connectrpc/connect';
import type { UniversalServerRequest } from '@connectrpc/connect/protocol';
import { describe, expect, test } from 'vitest';
import { EchoService } from '../../packages/connect-fast/src/fast-path.testkit.ts';
import { answerAfterRequest } from './answer-after-request.ts';

const CHUNK_BYTES = 1000;
const READ_MAX_BYTES = 2500;

const [connect] = createConnectRouter({ readMaxBytes: READ_MAX_BYTES }).service(EchoService, {}).handlers;
const handler = answerAfterRequest(connect!, READ_MAX_BYTES);

/** A request of so many chunks, and how many of them were read. */
function request(
  contentType: string,
  saysLength: boolean,
  chunks: number,
): { request: UniversalServerRequest; read: () => number } {
  let read = 0;
  const bytes = chunks * CHUNK_BYTES;
  async function* body() {
    for (; read < chunks; read++) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      if (read === 0) chunk.writeUInt32BE(bytes - 5, 1);
      yield chunk;
    }
  }
  return {
    request: {
      httpVersion: '2.0',
      method: 'POST',
      url: `http://localhost/${EchoService.typeName}/Echo`,
      header: new Headers({ 'content-type': contentType, ...(saysLength && { 'content-length': String(bytes) }) }),
      body: body(),
      signal: new AbortController().signal,
    },
    read: () => read,
  };
}

describe.each(
  ['application/grpc', 'application/grpc-web', 'application/proto'].flatMap((contentType) =>
    [true, false].map((saysLength) => ({ contentType, saysLength })),
  ),
)('a message of $contentType that says its length: $saysLength,', ({ contentType, saysLength }) => {
  test('that is too large is read to its end before the first byte of the refusal', async () => {
    const { request: sent, read } = request(contentType, saysLength, 100);
    const { body } = await handler(sent);
    for await (const _ of body ?? []) expect(read()).toBe(100);
    expect(read()).toBe(100);
  });

  test('that is far too large is not read to its end', async () => {
    const { request: sent, read } = request(contentType, saysLength, 100_000);
    const { body } = await handler(sent);
    await Array.fromAsync(body ?? []);
    expect(read()).toBeLessThan(10_000);
  });
});
