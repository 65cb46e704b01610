import type { LogPosition } from '../db/dialect.ts';
import { Failure } from '../failure.ts';
import { type Keyring, SALT_BYTES } from '../keyring.ts';

const NUMBER_BYTES = 8;
const NO_SALT = Buffer.alloc(SALT_BYTES);

/**
 * The position of an activity as callers hold it: each time the same, as long as any
 * other, and encrypted, since the distance of two positions tells how much others do.
 * Good on every instance with the same secret, for every filter.
 */
export function writeCursor(keyring: Keyring, position: LogPosition): string {
  return keyring.writeToken('cursor', bytesOf(position), '', NO_SALT);
}

/**
 * A position that a watch has got to, whoever wrote the activity there: each time another
 * cursor, so that two of them do not even tell whether anybody did anything in between.
 */
export function writeProgressCursor(keyring: Keyring, position: LogPosition): string {
  return keyring.writeToken('cursor', bytesOf(position));
}

/** Throws cursor_invalid for anything that the two above did not write. */
export function readCursor(keyring: Keyring, cursor: string): LogPosition {
  const bytes = keyring.readToken('cursor', cursor);
  if (bytes?.length !== 2 * NUMBER_BYTES) {
    throw new Failure('cursor_invalid', 'the cursor is not one of this log: send one that was received, or none');
  }
  return { writer: Number(bytes.readBigInt64BE()), seq: Number(bytes.readBigInt64BE(NUMBER_BYTES)) };
}

function bytesOf({ writer, seq }: LogPosition): Buffer {
  const bytes = Buffer.alloc(2 * NUMBER_BYTES);
  bytes.writeBigInt64BE(BigInt(writer));
  bytes.writeBigInt64BE(BigInt(seq), NUMBER_BYTES);
  return bytes;
}
