/** Frame types, RFC 9113, section 6. */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
};

/** Error codes, RFC 9113, section 7. */
export const errorCode = { none: 0, protocol: 1, internal: 2, refusedStream: 7, cancel: 8, enhanceYourCalm: 11 };

export const flag = { ack: 1, endStream: 1, endHeaders: 4 };

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** A SETTINGS frame of pairs of identifier and value. */
export function settings(...entries: [number, number][]): Buffer {
  const payload = Buffer.alloc(entries.length * 6);
  for (const [index, [identifier, value]] of entries.entries()) {
    payload.writeUInt16BE(identifier, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(frameType.settings, 0, 0, payload);
}

export const settingsInitialWindowSize = 4;

/** A header block without dynamic table entries (RFC 7541): POST http://localhost with a path and further headers. */
export function headerBlock(path: string, headers: Readonly<Record<string, string>> = {}): Buffer {
  const fields = Object.entries(headers).map(([name, value]) => literalField(name, value));
  const authority = [Buffer.from([0x01]), literal('localhost')];
  return Buffer.concat([Buffer.from([0x83, 0x86]), ...authority, Buffer.from([0x04]), literal(path), ...fields]);
}

/** A header field without indexing (RFC 7541, section 6.2.2). */
export function literalField(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x00]), literal(name), literal(value)]);
}

/** A string as it is (RFC 7541, section 5.2). */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([lengthOf(bytes.length), bytes]);
}

/** An integer with a prefix of 7 bits (RFC 7541, section 5.1). */
function lengthOf(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

/** A HEADERS frame that opens a stream. */
export function open(
  stream: number,
  path: string,
  flags = flag.endHeaders,
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  return frame(frameType.headers, flags, stream, headerBlock(path, headers));
}

/** A HEADERS frame that opens a stream and puts a field of 4 kB into the header table (RFC 7541, section 6.2.1). */
export function openWithEntry(
  stream: number,
  path: string,
  flags = flag.endHeaders,
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  const entry = Buffer.concat([Buffer.from([0x40]), literalField('x-a', 'b'.repeat(3900)).subarray(1)]);
  return frame(frameType.headers, flags, stream, Buffer.concat([headerBlock(path, headers), entry]));
}

/** A HEADERS frame that opens a stream with so many fields, each the newest entry of the header table (section 6.1). */
export function openFromTable(
  stream: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  fields = 1000,
): Buffer {
  const block = Buffer.concat([headerBlock(path, headers), Buffer.alloc(fields, 0x80 | 62)]);
  return frame(frameType.headers, flag.endHeaders | flag.endStream, stream, block);
}

export function resetStream(stream: number, code: number = errorCode.cancel): Buffer {
  return frame(frameType.rstStream, 0, stream, Buffer.from([0, 0, 0, code]));
}
