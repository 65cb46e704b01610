import { Code, ConnectError } from '@connectrpc/connect';
import type { EnvelopedMessage } from '@connectrpc/connect/protocol';

/** What stands before each message: flags and length. */
export const ENVELOPE_BYTES = 5;

/**
 * The messages of a stream of bytes, each made when it is asked for. Connect's own way makes all of a chunk at once, of
 * which half a megabyte can hold a hundred thousand, and looks at all chunks that wait whenever one comes.
 *
 * Throws ResourceExhausted for a message of more than `readMaxBytes` as soon as its length is known, and
 * InvalidArgument for a stream that ends within a message.
 */
export function splitEnvelopes(readMaxBytes: number) {
  return async function* (body: AsyncIterable<Uint8Array>): AsyncGenerator<EnvelopedMessage> {
    const unread = new UnreadBytes();
    for await (const chunk of body) {
      unread.add(chunk);
      for (;;) {
        const length = unread.messageLength();
        if (length === undefined) break;
        throwIfTooLarge(length, readMaxBytes);
        if (unread.length < ENVELOPE_BYTES + length) break;
        yield unread.takeMessage(length);
      }
    }
    if (unread.length > 0) throw new ConnectError('protocol error: incomplete envelope', Code.InvalidArgument);
  };
}

/** Throws ResourceExhausted for a message of so many bytes, unpacked, if it is larger than what is read. */
export function throwIfTooLarge(bytes: number, readMaxBytes: number): void {
  if (bytes <= readMaxBytes) return;
  const message = `message size ${bytes} is larger than configured readMaxBytes ${readMaxBytes}`;
  throw new ConnectError(message, Code.ResourceExhausted);
}

/** What has come of a stream and was not taken. */
class UnreadBytes {
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  /** Whether the bytes are of this object alone, with room behind them. */
  #isOwn = false;

  get length(): number {
    return this.#end - this.#start;
  }

  /** Puts a chunk behind what there is. Bytes are copied twice at the most, however small the chunks are. */
  add(chunk: Uint8Array): void {
    const { length } = this;
    if (length === 0) {
      this.#bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      this.#start = 0;
      this.#end = chunk.length;
      this.#isOwn = false;
      return;
    }
    if (!this.#isOwn || this.#end + chunk.length > this.#bytes.length) {
      const room = Buffer.allocUnsafeSlow(2 * (length + chunk.length));
      this.#bytes.copy(room, 0, this.#start, this.#end);
      this.#bytes = room;
      this.#start = 0;
      this.#end = length;
      this.#isOwn = true;
    }
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** How long the next message says it is, bytes; undefined until that has come. */
  messageLength(): number | undefined {
    return this.length < ENVELOPE_BYTES ? undefined : this.#bytes.readUInt32BE(this.#start + 1);
  }

  /** The next message, of which all bytes have come, in memory of its own. */
  takeMessage(length: number): EnvelopedMessage {
    const flags = this.#bytes.readUInt8(this.#start);
    const dataAt = this.#start + ENVELOPE_BYTES;
    this.#start = dataAt + length;
    return { flags, data: new Uint8Array(this.#bytes.subarray(dataAt, this.#start)) };
  }
}
