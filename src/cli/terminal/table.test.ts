import { expect, test } from 'vitest';
import { formatTable } from './table.ts';
import { textWidth } from './text-width.ts';

const columns = [{ title: 'ID', whole: true }, { title: 'NAME' }, { title: 'STATE' }];
const rows = [
  ['12345678', 'Ada Lovelace, Countess of', 'active'],
  ['9', '李小龍', 'suspended'],
];

test.each([
  [
    'nothing is cut without a width',
    undefined,
    [
      'ID        NAME                       STATE',
      '12345678  Ada Lovelace, Countess of  active',
      '9         李小龍                     suspended',
    ],
  ],
  [
    'the widest column is cut',
    40,
    [
      'ID        NAME                 STATE',
      '12345678  Ada Lovelace, Coun…  active',
      '9         李小龍               suspended',
    ],
  ],
  [
    'the last column is left out where cutting is not enough',
    25,
    ['ID        NAME', '12345678  Ada Lovelace, …', '9         李小龍'],
  ],
])('%s', (_, width, lines) => {
  const table = formatTable(columns, rows, width);
  expect(table).toEqual(lines);
  expect(table.filter((line) => textWidth(line) > (width ?? Infinity))).toEqual([]);
});

test('what a terminal would obey is written as an escape', () => {
  const [, line] = formatTable([{ title: 'NAME' }], [['\u001b[2J\u009bA\u202eB\r\nC\tD\u0007']], undefined);
  expect(line).toBe('\\u001b[2J\\u009bA\\u202eB\\u000d\\nC\\tD\\u0007');
});

test.each([
  ['abc', 3],
  ['é', 1],
  ['e\u0301', 1],
  ['漢字', 4],
  ['👩‍👩‍👧', 2],
  ['한국', 4],
])('%s takes %i columns', (text, width) => {
  expect(textWidth(text)).toBe(width);
});
