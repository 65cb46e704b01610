import {
  type BinaryReadOptions,
  type BinaryWriteOptions,
  type DescMessage,
  fromBinary as fromBinaryOfProtobuf,
  type Message,
  type MessageShape,
  toBinary as toBinaryOfProtobuf,
} from '@bufbuild/protobuf';
import { canCompile } from './compile.ts';
import { decoderOf, reading } from './decoder.ts';
import { type Encoder, encoderOf, writing } from './encoder.ts';
import { FULL } from './room.ts';

/** How many messages may be one in the other, if the options do not say. */
const DEPTH = 100;

/** Reads a message. The same as `fromBinary` of Protobuf-ES, also in what it refuses and how. */
export function fromBinary<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
  options?: Partial<BinaryReadOptions>,
): MessageShape<Desc> {
  if (canCompile) {
    try {
      reading.keepsUnknown = options?.readUnknownFields ?? true;
      const depth = options?.recursionLimit ?? DEPTH;
      return decoderOf(schema).read(bytes, 0, bytes.length, depth) as MessageShape<Desc>;
    } catch {
      // Protobuf-ES reads it, or says what is wrong with it.
    }
  }
  return fromBinaryOfProtobuf(schema, bytes, options);
}

/** Writes a message. The same as `toBinary` of Protobuf-ES, byte for byte, also in what it refuses and how. */
export function toBinary<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  options?: Partial<BinaryWriteOptions>,
): Uint8Array<ArrayBuffer> {
  if (canCompile) {
    try {
      return write(schema, message, 0, false, options);
    } catch {
      // Protobuf-ES writes it, or says what is wrong with it.
    }
  }
  return toBinaryOfProtobuf(schema, message, options);
}

/**
 * Writes the same behind so many bytes that are for the caller to write, for example flags and the length of the message.
 * The results of several calls may share their memory: the buffer of a result is neither to be read nor to be given away.
 */
export function toBinaryBehind<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  headBytes: number,
  options?: Partial<BinaryWriteOptions>,
): Uint8Array<ArrayBuffer> {
  if (canCompile) {
    try {
      return write(schema, message, headBytes, true, options);
    } catch {
      // Protobuf-ES writes it, or says what is wrong with it.
    }
  }
  const bytes = toBinaryOfProtobuf(schema, message, options);
  const behind = new Uint8Array(headBytes + bytes.length);
  behind.set(bytes, headBytes);
  return behind;
}

/** Small messages are written one after the other into the same memory, since an `ArrayBuffer` takes longer to make. */
const SHARED_BYTES = 32_768;
/** Larger messages get memory of their own, so that no more of it is kept for them than they take. */
const SMALL_BYTES_MAX = 2048;
/** What large messages are written into is kept up to this size. */
const KEPT_BYTES_MAX = 1_048_576;

let shared = new Uint8Array(SHARED_BYTES);
/** Bytes of it that are of messages. All of them while one is written: a getter of it may write another. */
let used = 0;
let large = new Uint8Array(0);

function write(
  schema: DescMessage,
  message: MessageShape<DescMessage>,
  headBytes: number,
  isShared: boolean,
  options: Partial<BinaryWriteOptions> | undefined,
): Uint8Array<ArrayBuffer> {
  writing.keepsUnknown = options?.writeUnknownFields ?? true;
  const encoder = encoderOf(schema);
  const room = shared;
  const start = used;
  let next = start;
  used = SHARED_BYTES;
  try {
    const end = encoder.write(message, room, start + headBytes);
    if (!isShared || end - start > SMALL_BYTES_MAX) return room.slice(start, end);
    next = end;
    return new Uint8Array(room.buffer, start, end - start);
  } catch (error) {
    if (error !== FULL) throw error;
  } finally {
    if (room === shared) used = next;
  }
  return writeLarge(encoder, message, headBytes);
}

/** Writes a message that does not fit where small ones go: a large one, or the last of many small ones. */
function writeLarge(encoder: Encoder, message: Message, headBytes: number): Uint8Array<ArrayBuffer> {
  let room = large;
  large = new Uint8Array(0);
  for (;;) {
    room = room.length === 0 ? new Uint8Array(2 * SHARED_BYTES) : room;
    try {
      const end = encoder.write(message, room, headBytes);
      if (room.length <= KEPT_BYTES_MAX) large = room;
      if (end <= SMALL_BYTES_MAX) {
        shared = new Uint8Array(SHARED_BYTES);
        used = 0;
      }
      return room.slice(0, end);
    } catch (error) {
      if (error !== FULL) throw error;
      room = new Uint8Array(2 * room.length);
    }
  }
}
