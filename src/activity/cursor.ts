import type { LogPosition } from '../db/dialect.ts';
import { Failure } from '../failure.ts';
import { equalBytes, type Keyring } from '../keyring.ts';

const MAC_BYTES = 8;

/** A position as callers hold it. Good on every instance with the same secret, for every filter. */
export function writeCursor(keyring: Keyring, { writer, seq }: LogPosition): string {
  const text = `${writer.toString(36)}.${seq.toString(36)}`;
  return `${text}.${macOf(keyring, text).toString('base64url')}`;
}

/** Throws cursor_invalid for anything that writeCursor did not write. */
export function readCursor(keyring: Keyring, cursor: string): LogPosition {
  const [, text = '', writer = '', seq = '', mac = ''] = /^((-?\w+)\.(\w+))\.([\w-]+)$/.exec(cursor) ?? [];
  if (!equalBytes(macOf(keyring, text), Buffer.from(mac, 'base64url'))) {
    throw new Failure('cursor_invalid', 'the cursor is not one of this log: send one that was received, or none');
  }
  return { writer: Number.parseInt(writer, 36), seq: Number.parseInt(seq, 36) };
}

function macOf(keyring: Keyring, text: string): Buffer {
  return keyring.mac('cursor', text).subarray(0, MAC_BYTES);
}
