import { Code, ConnectError } from '@connectrpc/connect';
import { encodeEnvelope, type EnvelopedMessage, transformSplitEnvelope } from '@connectrpc/connect/protocol';
import { expect, test } from 'vitest';
import { Random } from '../../check/random.ts';
import { splitEnvelopes } from './split-envelopes.ts';

const MAX = 50;

test('any bytes in any chunks give the messages, and the error, that Connect makes of them', async () => {
  const random = new Random('split envelopes');
  for (let run = 0; run < 2000; run++) {
    const messages = Array.from({ length: random.int(0, 7) }, () =>
      encodeEnvelope(random.int(0, 255), Buffer.alloc(random.int(0, random.chance(0.1) ? MAX + 1 : 20), run)),
    );
    const bytes = Buffer.concat([...messages, Buffer.alloc(random.chance(0.3) ? random.int(0, 8) : 0)]);
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = random.int(0, 39);
      chunks.push(bytes.subarray(at, at + length));
      at += length;
    }
    const split = await read(splitEnvelopes(MAX)(of(chunks)));
    const byConnect = await read(transformSplitEnvelope(MAX)(of(chunks)));
    // Of a chunk that has one that is too large Connect gives none.
    const isRefused = byConnect.error !== undefined;
    expect({ ...split, got: isRefused ? [] : split.got }).toEqual({
      ...byConnect,
      got: isRefused ? [] : byConnect.got,
    });
  }
});

test('of a chunk with many messages one is made for each that is asked for', async () => {
  let left = 0;
  const chunk = Buffer.concat(Array.from({ length: 1000 }, () => encodeEnvelope(0, new Uint8Array(1))));
  const messages = splitEnvelopes(MAX)(of([chunk], () => (left += 1)))[Symbol.asyncIterator]();
  const first = await messages.next();
  chunk.fill(1, 5, 7);
  expect((await messages.next()).value?.flags).toBe(1);
  expect(first.value.data).toEqual(new Uint8Array(1));
  await messages.return(undefined);
  expect(left).toBe(1);
});

test('a message that says it is too large is refused before its bytes have come', async () => {
  const head = encodeEnvelope(0, new Uint8Array(MAX + 1)).subarray(0, 5);
  const never = new Promise<IteratorResult<Uint8Array>>(() => {});
  let chunks = 0;
  const body = {
    [Symbol.asyncIterator]: () => ({
      next: () => (chunks++ === 0 ? Promise.resolve({ done: false, value: head }) : never),
    }),
  };
  await expect(read(splitEnvelopes(MAX)(body as AsyncIterable<Uint8Array>))).resolves.toMatchObject({
    error: [Code.ResourceExhausted, 'message size 51 is larger than configured readMaxBytes 50'],
  });
});

async function* of(chunks: readonly Uint8Array[], onLeft?: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } finally {
    onLeft?.();
  }
}

async function read(
  messages: AsyncIterable<EnvelopedMessage>,
): Promise<{ got: EnvelopedMessage[]; error?: [Code, string] }> {
  const got: EnvelopedMessage[] = [];
  try {
    for await (const message of messages) got.push(message);
    return { got };
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return { got, error: [code, rawMessage] };
  }
}
