import { UNUSUAL } from './compile.ts';

/** Where a function stopped that returns something else. One object for all: to make one takes longer than to read a number. */
export const cursor = { pos: 0 };

/** The same bytes as numbers of different kinds. */
const words = new Int32Array(2);
const { buffer } = words;
const bytes = new Uint8Array(buffer);
const float = new Float32Array(buffer);
const double = new Float64Array(buffer);
const signed = new BigInt64Array(buffer);
const unsigned = new BigUint64Array(buffer);

/** A varint takes up to ten bytes, of which 32 bits are in the first five. */
const VARINT_BYTES_MAX = 10;
const TAG_BYTES_MAX = 5;

/** Reads a varint of more than one byte, and returns its lower 32 bits. Unusual if it does not end before `end`. */
export function readVarint(b: Uint8Array, pos: number, end: number): number {
  let value = b[pos]! & 0x7f;
  let p = pos + 1;
  for (let shift = 7; ; shift += 7) {
    if (p === end) throw UNUSUAL;
    const byte = b[p++]!;
    if (shift < 32) value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      cursor.pos = p;
      return value >>> 0;
    }
    if (p - pos === VARINT_BYTES_MAX) throw UNUSUAL;
  }
}

/** Reads a tag of more than one byte, behind which there is more. */
export function readTag(b: Uint8Array, pos: number, end: number): number {
  const tag = readVarint(b, pos, end);
  const { pos: p } = cursor;
  if (p === end || p - pos > TAG_BYTES_MAX || (p - pos === TAG_BYTES_MAX && b[p - 1]! > 0x0f)) throw UNUSUAL;
  return tag;
}

/** Puts a varint of up to 64 bits into `words`. */
function readWords(b: Uint8Array, pos: number, end: number): void {
  let p = pos;
  let low = 0;
  let high = 0;
  for (let shift = 0; ; shift += 7) {
    if (p === end) throw UNUSUAL;
    const byte = b[p++]!;
    const bits = byte & 0x7f;
    if (shift < 32) low |= bits << shift;
    if (shift === 28) high = bits >>> 4;
    else if (shift > 28) high |= bits << (shift - 32);
    if (byte < 0x80) break;
    if (p - pos === VARINT_BYTES_MAX) throw UNUSUAL;
  }
  words[0] = low;
  words[1] = high;
  cursor.pos = p;
}

export function readInt64(b: Uint8Array, pos: number, end: number): bigint {
  readWords(b, pos, end);
  return signed[0]!;
}

export function readUint64(b: Uint8Array, pos: number, end: number): bigint {
  readWords(b, pos, end);
  return unsigned[0]!;
}

export function readSint64(b: Uint8Array, pos: number, end: number): bigint {
  readWords(b, pos, end);
  const low = words[0]!;
  const high = words[1]!;
  const sign = -(low & 1);
  words[0] = ((low >>> 1) | (high << 31)) ^ sign;
  words[1] = (high >>> 1) ^ sign;
  return signed[0]!;
}

function copy4(b: Uint8Array, pos: number): void {
  bytes[0] = b[pos]!;
  bytes[1] = b[pos + 1]!;
  bytes[2] = b[pos + 2]!;
  bytes[3] = b[pos + 3]!;
}

function copy8(b: Uint8Array, pos: number): void {
  copy4(b, pos);
  bytes[4] = b[pos + 4]!;
  bytes[5] = b[pos + 5]!;
  bytes[6] = b[pos + 6]!;
  bytes[7] = b[pos + 7]!;
}

export function readFixed32(b: Uint8Array, pos: number): number {
  copy4(b, pos);
  return words[0]!;
}

export function readFixed64(b: Uint8Array, pos: number): bigint {
  copy8(b, pos);
  return unsigned[0]!;
}

export function readSfixed64(b: Uint8Array, pos: number): bigint {
  copy8(b, pos);
  return signed[0]!;
}

export function readFloat(b: Uint8Array, pos: number): number {
  copy4(b, pos);
  return float[0]!;
}

export function readDouble(b: Uint8Array, pos: number): number {
  copy8(b, pos);
  return double[0]!;
}

/** Writes an unsigned number of 32 bits. */
export function writeVarint(b: Uint8Array, pos: number, value: number): number {
  let p = pos;
  let rest = value;
  while (rest > 0x7f) {
    b[p++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  b[p++] = rest;
  return p;
}

/** Writes a signed number of 32 bits; a negative one takes ten bytes, as if it had 64. */
export function writeInt32(b: Uint8Array, pos: number, value: number): number {
  if (value >= 0) return writeVarint(b, pos, value);
  let p = pos;
  let rest = value;
  for (let i = 1; i < VARINT_BYTES_MAX; i++) {
    b[p++] = (rest & 0x7f) | 0x80;
    rest >>= 7;
  }
  b[p++] = 1;
  return p;
}

function writeWords(b: Uint8Array, pos: number, lowWord: number, highWord: number): number {
  let p = pos;
  let low = lowWord >>> 0;
  let high = highWord >>> 0;
  while (high !== 0) {
    b[p++] = (low & 0x7f) | 0x80;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  return writeVarint(b, p, low);
}

/** Puts a bigint into `words`. Anything else, and one out of range, is unusual. */
function splitSigned(value: unknown): void {
  if (typeof value !== 'bigint') throw UNUSUAL;
  signed[0] = value;
  if (signed[0] !== value) throw UNUSUAL;
}

function splitUnsigned(value: unknown): void {
  if (typeof value !== 'bigint') throw UNUSUAL;
  unsigned[0] = value;
  if (unsigned[0] !== value) throw UNUSUAL;
}

export function writeInt64(b: Uint8Array, pos: number, value: unknown): number {
  splitSigned(value);
  return writeWords(b, pos, words[0]!, words[1]!);
}

export function writeUint64(b: Uint8Array, pos: number, value: unknown): number {
  splitUnsigned(value);
  return writeWords(b, pos, words[0]!, words[1]!);
}

export function writeSint64(b: Uint8Array, pos: number, value: unknown): number {
  splitSigned(value);
  const low = words[0]!;
  const high = words[1]!;
  const sign = high >> 31;
  return writeWords(b, pos, (low << 1) ^ sign, ((high << 1) | (low >>> 31)) ^ sign);
}

function paste4(b: Uint8Array, pos: number): number {
  b[pos] = bytes[0]!;
  b[pos + 1] = bytes[1]!;
  b[pos + 2] = bytes[2]!;
  b[pos + 3] = bytes[3]!;
  return pos + 4;
}

function paste8(b: Uint8Array, pos: number): number {
  paste4(b, pos);
  b[pos + 4] = bytes[4]!;
  b[pos + 5] = bytes[5]!;
  b[pos + 6] = bytes[6]!;
  b[pos + 7] = bytes[7]!;
  return pos + 8;
}

export function writeFixed32(b: Uint8Array, pos: number, value: number): number {
  words[0] = value;
  return paste4(b, pos);
}

export function writeFixed64(b: Uint8Array, pos: number, value: unknown): number {
  splitUnsigned(value);
  return paste8(b, pos);
}

export function writeSfixed64(b: Uint8Array, pos: number, value: unknown): number {
  splitSigned(value);
  return paste8(b, pos);
}

const FLOAT_MAX = 3.4028234663852886e38;

export function writeFloat(b: Uint8Array, pos: number, value: unknown): number {
  if (typeof value !== 'number') throw UNUSUAL;
  if (Math.abs(value) > FLOAT_MAX && Number.isFinite(value)) throw UNUSUAL;
  float[0] = value;
  return paste4(b, pos);
}

export function writeDouble(b: Uint8Array, pos: number, value: unknown): number {
  if (typeof value !== 'number') throw UNUSUAL;
  double[0] = value;
  return paste8(b, pos);
}
