import type { LogPosition, LogView } from '../../storage/dialect.ts';
import { Failure } from '../../kernel/failure.ts';
import { type Keyring, SALT_BYTES } from '../../kernel/keyring.ts';
import { comparePositions } from './store.ts';

const NUMBER_BYTES = 8;
const POSITION_BYTES = 2 * NUMBER_BYTES;
/** The distance of a transaction: the newest row's transaction number minus its own. */
const DISTANCE_BYTES = 4;
/** The bytes of a view with up to eight open transactions; it doubles for more, so that the length does not reveal their number. */
const VIEW_BYTES = 64;
const NO_SALT = Buffer.alloc(SALT_BYTES);

/**
 * The cursor of an activity: the same each time, of one length for all positions, and encrypted,
 * since the distance between two positions reveals how much other users do. It is valid on every
 * instance with the same secret and for every filter.
 */
export function writeCursor(keyring: Keyring, position: LogPosition): string {
  return keyring.writeToken('cursor', bytesOfPosition(position), '', NO_SALT);
}

/**
 * The cursor of a position that a watch has reached. It differs each time, so that two cursors do
 * not reveal whether other users did anything in between. The cursor of a view stands for
 * everything after the view's end except the rows that the view holds.
 */
export function writeProgressCursor(keyring: Keyring, at: LogPosition | LogView): string {
  return keyring.writeToken('cursor', bytesOfView('end' in at ? at : viewUpTo(at)));
}

/** The view that a cursor stands for; for a position, the view that ends there. Throws cursor_invalid for a text that the two functions above did not write. */
export function readCursor(keyring: Keyring, cursor: string): LogView {
  const view = readView(keyring.readToken('cursor', cursor));
  if (view !== undefined) return view;
  throw new Failure('cursor_invalid', 'the cursor is not one of this log: send one that was received, or none');
}

/** The key of a page token: where the page begins, and the view of the log that all pages share. Of one length for all places. */
export function writePlace(before: LogPosition, view: LogView): string {
  return Buffer.concat([bytesOfView(view), bytesOfPosition(before)]).toString('base64url');
}

/** Throws RangeError for a text that writePlace did not write. */
export function readPlace(place: string): { before: LogPosition; view: LogView } {
  const bytes = Buffer.from(place, 'base64url');
  const view = readView(bytes.subarray(0, -POSITION_BYTES));
  if (view === undefined) throw new RangeError('no place in a list of activities');
  return { before: readPosition(bytes, bytes.length - POSITION_BYTES), view };
}

/** The view of everything up to a position. */
function viewUpTo(end: LogPosition): LogView {
  return { end, newest: end, running: [] };
}

/** Whether a view holds rows beyond its end. */
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

/** Undefined if the bytes are not a view. */
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
