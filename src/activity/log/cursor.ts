import type { LogPosition, LogView } from '../../storage/dialect.ts';
import { Failure } from '../../kernel/failure.ts';
import { type Keyring, SALT_BYTES } from '../../kernel/keyring.ts';
import { comparePositions } from './store.ts';

const NUMBER_BYTES = 8;
const POSITION_BYTES = 2 * NUMBER_BYTES;
/** Of a transaction: by how much its number is below that of the newest row. */
const DISTANCE_BYTES = 4;
/** A view takes so many bytes, where up to eight transactions ran, or twice as many, and so on: that any ran is not to be read from it. */
const VIEW_BYTES = 64;
const NO_SALT = Buffer.alloc(SALT_BYTES);

/**
 * The position of an activity as callers hold it: each time the same, as long as any
 * other, and encrypted, since the distance of two positions tells how much others do.
 * Good on every instance with the same secret, for every filter.
 */
export function writeCursor(keyring: Keyring, position: LogPosition): string {
  return keyring.writeToken('cursor', bytesOfPosition(position), '', NO_SALT);
}

/**
 * A position that a watch has got to, whoever wrote the activity there: each time another
 * cursor, so that two of them do not even tell whether anybody did anything in between.
 * A view stands for what follows its end without what could be read at its moment.
 */
export function writeProgressCursor(keyring: Keyring, at: LogPosition | LogView): string {
  return keyring.writeToken('cursor', bytesOfView('end' in at ? at : viewUpTo(at)));
}

/** What a cursor stands for; of a position, a view that ends there. Throws cursor_invalid for anything that the two above did not write. */
export function readCursor(keyring: Keyring, cursor: string): LogView {
  const view = readView(keyring.readToken('cursor', cursor));
  if (view !== undefined) return view;
  throw new Failure('cursor_invalid', 'the cursor is not one of this log: send one that was received, or none');
}

/** Where a page of a list begins, in the view that all pages have: text for a page token, as long for one place as for another. */
export function writePlace(before: LogPosition, view: LogView): string {
  return Buffer.concat([bytesOfView(view), bytesOfPosition(before)]).toString('base64url');
}

/** Throws RangeError for what writePlace did not write. */
export function readPlace(place: string): { before: LogPosition; view: LogView } {
  const bytes = Buffer.from(place, 'base64url');
  const view = readView(bytes.subarray(0, -POSITION_BYTES));
  if (view === undefined) throw new RangeError('no place in a list of activities');
  return { before: readPosition(bytes, bytes.length - POSITION_BYTES), view };
}

/** Everything up to a position. */
function viewUpTo(end: LogPosition): LogView {
  return { end, newest: end, running: [] };
}

/** Whether a view has more than is complete at its end. */
export function isBeyondEnd({ end, newest }: LogView): boolean {
  return comparePositions(end, newest) < 0;
}

function bytesOfView({ end, newest, running }: LogView): Buffer {
  const length = 2 * POSITION_BYTES + running.length * DISTANCE_BYTES;
  const bytes = Buffer.alloc(Math.ceil(length / VIEW_BYTES) * VIEW_BYTES);
  bytesOfPosition(end).copy(bytes);
  bytesOfPosition(newest).copy(bytes, POSITION_BYTES);
  for (const [i, writer] of running.entries()) {
    bytes.writeUInt32BE(newest.writer - writer, 2 * POSITION_BYTES + i * DISTANCE_BYTES);
  }
  return bytes;
}

/** Undefined for what is none. */
function readView(bytes: Buffer | undefined): LogView | undefined {
  if (bytes?.length === POSITION_BYTES) return viewUpTo(readPosition(bytes, 0));
  if (bytes === undefined || bytes.length === 0 || bytes.length % VIEW_BYTES !== 0) return undefined;
  const newest = readPosition(bytes, POSITION_BYTES);
  const running: number[] = [];
  for (let at = 2 * POSITION_BYTES; at < bytes.length; at += DISTANCE_BYTES) {
    const distance = bytes.readUInt32BE(at);
    if (distance > 0) running.push(newest.writer - distance);
  }
  return { end: readPosition(bytes, 0), newest, running };
}

function readPosition(bytes: Buffer, at: number): LogPosition {
  return { writer: Number(bytes.readBigInt64BE(at)), seq: Number(bytes.readBigInt64BE(at + NUMBER_BYTES)) };
}

function bytesOfPosition({ writer, seq }: LogPosition): Buffer {
  const bytes = Buffer.alloc(POSITION_BYTES);
  bytes.writeBigInt64BE(BigInt(writer));
  bytes.writeBigInt64BE(BigInt(seq), NUMBER_BYTES);
  return bytes;
}
