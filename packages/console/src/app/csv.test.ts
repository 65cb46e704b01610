import { expect, test } from 'vitest';
import { readCsv } from './csv.ts';

const rowsOf = (text: string) => [...readCsv(text)].map(({ line, cells }) => [line, ...cells]);

test.for<[string, string, (string | number)[][]]>([
  [
    'lines, the last one without an end',
    'a,b\r\nc,d',
    [
      [1, 'a', 'b'],
      [2, 'c', 'd'],
    ],
  ],
  [
    'empty cells, and no empty lines',
    'a,\n\n,b\n',
    [
      [1, 'a', ''],
      [3, '', 'b'],
    ],
  ],
  [
    'quotes around separators, line ends and quotes',
    '"a,""b"\n"c\nd",e\nf,g',
    [
      [1, 'a,"b'],
      [2, 'c\nd', 'e'],
      [4, 'f', 'g'],
    ],
  ],
  [
    'semicolons and tabs where the first line has them',
    'a;b;c,d\ne;f',
    [
      [1, 'a', 'b', 'c,d'],
      [2, 'e', 'f'],
    ],
  ],
  [
    'a byte order mark, and a quote that does not end',
    '\uFEFFa,b\n"c,d\ne',
    [
      [1, 'a', 'b'],
      [2, 'c,d\ne'],
    ],
  ],
  ['nothing', '', []],
])('reads %s', ([, text, expected]) => {
  expect(rowsOf(text)).toEqual(expected);
});

test('rows say where they stand', () => {
  const text = 'a,b\r\n"c\r\nd",e\r\n\r\nf';
  expect([...readCsv(text)].map(({ start, end }) => text.slice(start, end))).toEqual([
    'a,b\r\n',
    '"c\r\nd",e\r\n',
    'f',
  ]);
});
