import { expect, test } from 'vitest';
import { readCsvRows } from '../../contacts/formats/csv-records.ts';
import { readJsonValues } from '../../contacts/formats/json-values.ts';
import { type FileKind, partsOf } from './parts.ts';

const decoder = new TextDecoder();
const split = (text: string, kind: FileKind) =>
  [...partsOf(Buffer.from(text), kind)].map(({ content, linesBefore }) => ({
    text: decoder.decode(content),
    linesBefore,
  }));

test('cards stay whole, and their lines can be told', () => {
  const card = (i: number) => `BEGIN:VCARD\r\nFN:${i}\r\nEND:VCARD\r\n`;
  const cards = Array.from({ length: 1000 }, (_, i) => card(i));
  const parts = split(`${cards.join('')}BEGIN:VCARD\r\nFN:cut`, 'vcard');
  expect(parts.map(({ linesBefore }) => linesBefore)).toEqual([0, 1200, 2400]);
  expect(parts.map(({ text }) => text).join('')).toBe(`${cards.join('')}BEGIN:VCARD\r\nFN:cut`);
  expect(parts.every(({ text }) => text.startsWith('BEGIN:VCARD'))).toBe(true);
});

test('each part of CSV names the columns, quoted line ends end no row, and lines can be told', () => {
  const rows = Array.from({ length: 900 }, (_, i) => `"Ada\n${i}",x`);
  const whole = `"Given\nName",Notes\n${rows.join('\n')}`;
  const parts = split(whole, 'csv');
  const numbered = parts.flatMap(({ text, linesBefore }) =>
    [...readCsvRows(text)].slice(1).map(({ line, cells }) => ({ line: line + linesBefore, cells })),
  );
  expect(parts).toHaveLength(3);
  expect(parts.every(({ text }) => text.startsWith('"Given\nName",Notes\n'))).toBe(true);
  expect(numbered).toEqual([...readCsvRows(whole)].slice(1).map(({ line, cells }) => ({ line, cells })));
});

test.each(['csv', 'vcard', 'json'] as const)(
  'a part is less than a call takes, unless one contact is more: %s',
  (kind) => {
    const note = 'ü'.repeat(200_000);
    const one = {
      csv: `Ada,${note}\n`,
      vcard: `BEGIN:VCARD\nNOTE:${note}\nEND:VCARD\n`,
      json: `{"notes": {"1": {"note": "${note}"}}},\n`,
    }[kind];
    const parts = split((kind === 'csv' ? 'Given Name,Notes\n' : '') + one.repeat(5), kind);
    expect(parts.map(({ text }) => text.split(note).length - 1)).toEqual([2, 2, 1]);
  },
);

test.each(['', 'Given Name,Notes\n', 'nothing'])('a file without a contact is one part: %j', (text) => {
  expect(split(text, 'csv')).toEqual([{ text, linesBefore: 0 }]);
});

test('Cards of JSContact stay whole, in an array or one after the other, and their lines can be told', () => {
  const card = (i: number) => `{"uid": "${i}",\n "name": {"full": "{]\\"}[${i}"}}`;
  const cards = Array.from({ length: 900 }, (_, i) => card(i));
  for (const whole of [`[\n${cards.join(',\n')}\n]\n`, cards.join('\n'), `${cards.join('\n')}\n{"cut": [`]) {
    const read = ({ text, linesBefore }: { readonly text: string; readonly linesBefore: number }) =>
      [...readJsonValues(text)].map(({ line, ...others }) => ({ ...others, line: line + linesBefore }));
    const parts = split(whole, 'json');
    expect(parts).toHaveLength(3);
    const lineless = (rows: ReturnType<typeof read>) => rows.map(({ line, error }) => [line, error !== '']);
    expect(lineless(parts.flatMap(read))).toEqual(lineless(read({ text: whole, linesBefore: 0 })));
  }
});
