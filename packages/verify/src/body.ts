/** Bytes as they come, of which any number can be taken once they are there. */
export interface ByteQueue {
  readonly length: number;
  push(chunk: Uint8Array): void;
  /** The next `count` bytes, of which there must be as many. */
  take(count: number): Uint8Array;
}

export function createByteQueue(): ByteQueue {
  let chunks: Uint8Array[] = [];
  let length = 0;
  return {
    get length() {
      return length;
    },
    push(chunk) {
      chunks.push(chunk);
      length += chunk.length;
    },
    take(count) {
      // Joins once for each message, not once for each chunk: a large message costs its size.
      const bytes = new Uint8Array(count);
      let filled = 0;
      let used = 0;
      while (filled < count) {
        const chunk = chunks[used]!;
        const part = chunk.subarray(0, count - filled);
        bytes.set(part, filled);
        filled += part.length;
        if (part.length < chunk.length) chunks[used] = chunk.subarray(part.length);
        else used += 1;
      }
      chunks = chunks.slice(used);
      length -= count;
      return bytes;
    },
  };
}

/** Decodes UTF-8 and JSON. Throws a SyntaxError or TypeError for what is not. */
export function parseJson(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads a response to its end. Throws when it has more than `bytesMax` bytes, unpacked. */
export async function readBody({ body }: Response, bytesMax: number): Promise<Uint8Array> {
  if (body === null) return new Uint8Array();
  const queue = createByteQueue();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return queue.take(queue.length);
      queue.push(value);
      if (queue.length > bytesMax) throw new Error(`the answer is larger than ${bytesMax} bytes`);
    }
  } finally {
    reader.cancel().catch(() => {}); // a body that has failed already has nothing to cancel
  }
}

/** Lets go of a response that is not read. */
export function discard({ body }: Response): void {
  body?.cancel().catch(() => {});
}
