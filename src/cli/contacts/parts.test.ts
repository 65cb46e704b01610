import { expect, test } from 'vitest';
import { readCsvRows } from '../../contacts/formats/csv-records.ts';
import { partsOf } from './parts.ts';

const decoder = new TextDecoder();
const split = (text: string, isCsv: boolean) =>
  [...partsOf(Buffer.from(text), isCsv)].map(({ content, linesBefore }) => ({
    text: decoder.decode(content),
    linesBefore,
  }));

test('cards stay whole, and their lines can be told', () => {
  const card = (i: number) => `BEGIN:VCARD\r\nFN:${i}\r\nEND:VCARD\r\n`;
  const cards = Array.from({ length: 1000 }, (_, i) => card(i));
  const parts = split(`${cards.join('')}BEGIN:VCARD\r\nFN:cut`, false);
  expect(parts.map(({ linesBefore }) => linesBefore)).toEqual([0, 1200, 2400]);
  expect(parts.map(({ text }) => text).join('')).toBe(`${cards.join('')}BEGIN:VCARD\r\nFN:cut`);
  expect(parts.every(({ text }) => text.startsWith('BEGIN:VCARD'))).toBe(true);
});

test('each part of CSV names the columns, quoted line ends end no row, and lines can be told', () => {
  const rows = Array.from({ length: 900 }, (_, i) => `"Ada\n${i}",x`);
  const whole = `"Given\nName",Notes\n${rows.join('\n')}`;
  const parts = split(whole, true);
  const numbered = parts.flatMap(({ text, linesBefore }) =>
    [...readCsvRows(text)].slice(1).map(({ line, cells }) => ({ line: line + linesBefore, cells })),
  );
  expect(parts).toHaveLength(3);
  expect(parts.every(({ text }) => text.startsWith('"Given\nName",Notes\n'))).toBe(true);
  expect(numbered).toEqual([...readCsvRows(whole)].slice(1).map(({ line, cells }) => ({ line, cells })));
});

test.each([true, false])('a part is less than a call takes, unless one contact is more (CSV: %s)', (isCsv) => {
  const note = 'ü'.repeat(200_000);
  const one = isCsv ? `Ada,${note}\n` : `BEGIN:VCARD\nNOTE:${note}\nEND:VCARD\n`;
  const parts = split((isCsv ? 'Given Name,Notes\n' : '') + one.repeat(5), isCsv);
  expect(parts.map(({ text }) => text.split(note).length - 1)).toEqual([2, 2, 1]);
});

test.each(['', 'Given Name,Notes\n', 'nothing'])('a file without a contact is one part: %j', (text) => {
  expect(split(text, true)).toEqual([{ text, linesBefore: 0 }]);
});
