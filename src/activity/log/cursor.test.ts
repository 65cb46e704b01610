import { describe, expect, test } from 'vitest';
import { type LogPosition, type LogView, RUNNING_MAX } from '../../storage/dialect.ts';
import { Failure } from '../../kernel/failure.ts';
import { createKeyring } from '../../kernel/keyring.ts';
import { pageTokens } from '../../storage/pages.ts';
import { readCursor, readPlace, writeCursor, writePlace, writeProgressCursor } from './cursor.ts';

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
  const view = { end: position, newest: position, running: [] };
  expect(readCursor(keyring, writeCursor(keyring, position))).toEqual(view);
  expect(readCursor(keyring, writeProgressCursor(keyring, position))).toEqual(view);
});

const END: LogPosition = { writer: 700, seq: 35 };
const VIEWS: LogView[] = [
  { end: END, newest: { writer: 701, seq: 36 }, running: [] },
  { end: END, newest: { writer: 2 ** 33, seq: 2 ** 40 }, running: [2 ** 33 - 1] },
  ...[8, 9, RUNNING_MAX].map((count) => ({
    end: END,
    newest: { writer: 1000, seq: 99 },
    running: Array.from({ length: count }, (_, i) => 701 + i),
  })),
];

test.each(VIEWS)('a cursor of a view gives it back, and fits: $newest, $running.length', (view) => {
  const cursor = writeProgressCursor(keyring, view);
  expect(readCursor(keyring, cursor)).toEqual(view);
  expect(cursor.length).toBeLessThanOrEqual(2048);
  const before = { writer: 3, seq: 4 };
  expect(readPlace(writePlace(before, view))).toEqual({ before, view });
  expect(pageTokens(keyring, 'activity').write([writePlace(before, view)]).length).toBeLessThanOrEqual(2048);
});

test('each activity has a cursor of its own, the same in every version', () => {
  const cursors = POSITIONS.map((position) => writeCursor(keyring, position));
  expect(new Set(cursors)).toHaveLength(POSITIONS.length);
  expect(POSITIONS.map((position) => writeCursor(createKeyring(Buffer.alloc(32, 1)), position))).toEqual(cursors);
  expect(cursors[3]).toBe('mfFT927XjAAZffnF_X3z_ZokNyKrSTPp8Xng4HRApT180e9BBuSEmw');
});

test('cursors tell nothing of what others do: neither how much nor whether', () => {
  const views = [...VIEWS.slice(0, 3), ...POSITIONS];
  const cursors = views.flatMap((view) => [writeProgressCursor(keyring, view), writeProgressCursor(keyring, view)]);
  expect(new Set(cursors)).toHaveLength(2 * views.length);
  expect(new Set(cursors.map(({ length }) => length)).size).toBe(1);
  const ofActivities = POSITIONS.map((position) => writeCursor(keyring, position));
  expect(new Set(ofActivities.map(({ length }) => length)).size).toBe(1);
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
