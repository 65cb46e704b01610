import { describe, expect, test } from 'vitest';
import type { LogPosition } from '../db/dialect.ts';
import { Failure } from '../failure.ts';
import { createKeyring } from '../keyring.ts';
import { pageTokens } from '../pages.ts';
import { readCursor, writeCursor, writeProgressCursor } from './cursor.ts';

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

test.each(POSITIONS)('a cursor gives back its position: $writer, $seq', (position) => {
  expect(readCursor(keyring, writeCursor(keyring, position))).toEqual(position);
  expect(readCursor(keyring, writeProgressCursor(keyring, position))).toEqual(position);
});

test('each activity has a cursor of its own, the same in every version', () => {
  const cursors = POSITIONS.map((position) => writeCursor(keyring, position));
  expect(new Set(cursors)).toHaveLength(POSITIONS.length);
  expect(POSITIONS.map((position) => writeCursor(createKeyring(Buffer.alloc(32, 1)), position))).toEqual(cursors);
  expect(cursors[3]).toBe('mfFT927XjAAZffnF_X3z_ZokNyKrSTPp8Xng4HRApT180e9BBuSEmw');
});

test('cursors tell nothing of what others do: neither how much nor whether', () => {
  const cursors = POSITIONS.flatMap((position) => [
    writeProgressCursor(keyring, position),
    writeProgressCursor(keyring, position),
    writeCursor(keyring, position),
  ]);
  expect(new Set(cursors)).toHaveLength(3 * POSITIONS.length);
  expect(new Set(cursors.map(({ length }) => length)).size).toBe(1);
});

describe('cursor_invalid is what comes of', () => {
  const cursor = writeCursor(keyring, { writer: 12, seq: 345 });

  test.each([
    ['another character', (cursor.startsWith('A') ? 'B' : 'A') + cursor.slice(1)],
    ['another character at the end', cursor.slice(0, -1) + (cursor.endsWith('A') ? 'B' : 'A')],
    ['a character less', cursor.slice(0, -1)],
    ['half of it', cursor.slice(0, 27)],
    ['a character more', `${cursor}A`],
    ['padding', `${cursor}==`],
    ['a line feed at the end', `${cursor}\n`],
    ['blanks around it', ` ${cursor} `],
    ['a position in decimal digits', '12.345'],
    ['a position of 8 bytes, encrypted like one', keyring.writeToken('cursor', Buffer.alloc(8))],
    ['a page token', pageTokens(keyring, 'activity').write(['12', '345'])],
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
