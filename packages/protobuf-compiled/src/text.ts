import { UNUSUAL } from './compile.ts';
import { writeVarint } from './numbers.ts';
import { FULL, RESERVE_BYTES } from './room.ts';

/** What Node's buffers have beside what every runtime has. They take any bytes as `this`. */
interface NodeMethods {
  utf8Slice(this: Uint8Array, start: number, end: number): string;
  utf8Write(this: Uint8Array, text: string, offset: number, length: number): number;
}

const { Buffer } = globalThis as { Buffer?: { prototype: Partial<NodeMethods> } };
const { utf8Slice, utf8Write } = Buffer?.prototype ?? {};

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const strictDecoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
const encoder = new TextEncoder();

/** Up to so many bytes, a loop is faster than a call out of JavaScript. */
const SHORT_READ = 12;
const SHORT_WRITTEN = 16;

const REPLACEMENT = '\ufffd';

/** Reads a text. Unusual if it must be UTF-8 and is not. */
export function readText(b: Uint8Array, start: number, end: number, isStrict: boolean): string {
  if (end - start > SHORT_READ) return readLongText(b, start, end, isStrict);
  let text = '';
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const first = b[at]!;
    const second = b[at + 1]!;
    const third = b[at + 2]!;
    const fourth = b[at + 3]!;
    if ((first | second | third | fourth) > 0x7f) return readLongText(b, start, end, isStrict);
    text += String.fromCharCode(first, second, third, fourth);
  }
  for (; at < end; at++) {
    const byte = b[at]!;
    if (byte > 0x7f) return readLongText(b, start, end, isStrict);
    text += String.fromCharCode(byte);
  }
  return text;
}

function readLongText(b: Uint8Array, start: number, end: number, isStrict: boolean): string {
  if (utf8Slice !== undefined) {
    const text = utf8Slice.call(b, start, end);
    // What is no UTF-8 has been replaced; but the character may have been there, too.
    if (!isStrict || !text.includes(REPLACEMENT)) return text;
  }
  const bytes = b.subarray(start, end);
  if (!isStrict) return decoder.decode(bytes);
  try {
    return strictDecoder.decode(bytes);
  } catch {
    throw UNUSUAL;
  }
}

/** Writes a text behind its length. */
export function writeText(text: unknown, b: Uint8Array, pos: number): number {
  if (typeof text !== 'string') throw UNUSUAL;
  const { length } = text;
  if (pos + 3 * length > b.length - RESERVE_BYTES) throw FULL;
  if (length > SHORT_WRITTEN) return writeLongText(text, b, pos);
  let p = pos + 1;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return writeLongText(text, b, pos);
    b[p++] = code;
  }
  b[pos] = length;
  return p;
}

function writeLongText(text: string, b: Uint8Array, pos: number): number {
  // Most texts have as many bytes as characters.
  const guessed = pos + sizeOfVarint(text.length);
  const written =
    utf8Write === undefined
      ? encoder.encodeInto(text, b.subarray(guessed)).written
      : utf8Write.call(b, text, guessed, b.length - guessed);
  const start = pos + sizeOfVarint(written);
  if (start !== guessed) b.copyWithin(start, guessed, guessed + written);
  writeVarint(b, pos, written);
  return start + written;
}

/** How many bytes a number takes as a varint. */
export function sizeOfVarint(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}
