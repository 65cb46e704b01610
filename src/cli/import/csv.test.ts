import { expect, test } from 'vitest';
import { readCsv } from './csv.ts';

const rows = async (...chunks: string[]) => {
  const all: (readonly [number, ...string[]])[] = [];
  for await (const { line, cells } of readCsv(chunksOf(chunks))) all.push([line, ...cells]);
  return all;
};

async function* chunksOf(chunks: readonly string[]): AsyncGenerator<string> {
  yield* chunks;
}

test.each<[name: string, text: string, expected: readonly unknown[]]>([
  [
    'cells and lines',
    'a,b\nc,d\n',
    [
      [1, 'a', 'b'],
      [2, 'c', 'd'],
    ],
  ],
  [
    'carriage returns, and no end of the last line',
    'a,b\r\nc,d',
    [
      [1, 'a', 'b'],
      [2, 'c', 'd'],
    ],
  ],
  [
    'empty lines, and empty cells',
    'a,,b\n\n,\n',
    [
      [1, 'a', '', 'b'],
      [3, '', ''],
    ],
  ],
  [
    'quotes around separators, line breaks and quotes',
    '"a,b","c\nd"\n"e ""f"""\n',
    [
      [1, 'a,b', 'c\nd'],
      [3, 'e "f"'],
    ],
  ],
  ['a quote within a cell', 'O\'Neil 5" tall\n', [[1, 'O\'Neil 5" tall']]],
  ['a byte order mark', '\uFEFFa\n', [[1, 'a']]],
  ['nothing', '', []],
])('reads %s', async (_, text, expected) => {
  expect(await rows(text)).toEqual(expected);
  // However the text is cut into pieces.
  expect(await rows(...Array.from(text))).toEqual(expected);
});

test('a quote that is missing is told with the line that it is missing from', async () => {
  await expect(rows('a\nb,"c\nd\ne\n')).rejects.toThrow('the row of line 2 does not end: a quote is missing');
});
