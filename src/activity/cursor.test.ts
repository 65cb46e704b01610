import { describe, expect, test } from 'vitest';
import type { LogPosition } from '../db/dialect.ts';
import { Failure } from '../failure.ts';
import { createKeyring } from '../keyring.ts';
import { readCursor, writeCursor } from './cursor.ts';

const keyring = createKeyring(Buffer.alloc(32, 1));

const POSITIONS: LogPosition[] = [
  { writer: 0, seq: 0 },
  { writer: 0, seq: 1 },
  { writer: -1, seq: 0 },
  { writer: 749, seq: 35 },
  { writer: 36, seq: 36 },
  { writer: 2 ** 32, seq: 2 ** 31 },
  { writer: 7, seq: Number.MAX_SAFE_INTEGER },
  { writer: Number.MAX_SAFE_INTEGER, seq: Number.MAX_SAFE_INTEGER },
];

test.each(POSITIONS)('a cursor tells its position: $writer, $seq', (position) => {
  expect(readCursor(keyring, writeCursor(keyring, position))).toEqual(position);
});

test('each position has a cursor of its own, always the same', () => {
  const cursors = POSITIONS.map((position) => writeCursor(keyring, position));
  expect(new Set(cursors)).toHaveLength(POSITIONS.length);
  expect(POSITIONS.map((position) => writeCursor(createKeyring(Buffer.alloc(32, 1)), position))).toEqual(cursors);
});

describe('cursor_invalid is what comes of', () => {
  const cursor = writeCursor(keyring, { writer: 12, seq: 345 });
  const [writer = '', seq = '', mac = ''] = cursor.split('.');

  test.each([
    ['another writer', `d.${seq}.${mac}`],
    ['another number', `${writer}.9m.${mac}`],
    ['writer and number exchanged', `${seq}.${writer}.${mac}`],
    ['a dot elsewhere', `${writer}${seq.slice(0, 1)}.${seq.slice(1)}.${mac}`],
    ['a leading zero', `0${cursor}`],
    ['a minus', `-${cursor}`],
    ['upper case', `${writer}.${seq.toUpperCase()}.${mac}`],
    ['another MAC', `${writer}.${seq}.${mac.startsWith('A') ? 'B' : 'A'}${mac.slice(1)}`],
    ['half a MAC', `${writer}.${seq}.${mac.slice(0, 5)}`],
    ['no MAC', `${writer}.${seq}`],
    ['an empty MAC', `${writer}.${seq}.`],
    ['a part more', `${cursor}.1`],
    ['a line feed at the end', `${cursor}\n`],
    ['blanks around it', ` ${cursor} `],
    ['a position in decimal digits', '12.345'],
    ['a page token', Buffer.from('["12","345"]').toString('base64url')],
    ['any word', 'newest'],
    ['nothing', ''],
  ])('%s', (_, forged) => {
    expect(() => readCursor(keyring, forged)).toThrow(expect.objectContaining({ reason: 'cursor_invalid' }));
    expect(() => readCursor(keyring, forged)).toThrow(Failure);
  });

  test('a cursor of another secret', () => {
    const other = writeCursor(createKeyring(Buffer.alloc(32, 2)), { writer: 12, seq: 345 });
    expect(() => readCursor(keyring, other)).toThrow(expect.objectContaining({ reason: 'cursor_invalid' }));
  });
});
