import { expect, test } from 'vitest';
import { columnsOf, type FileKind, partsOf } from './contact-parts.ts';

const decoder = new TextDecoder();
const split = (bytes: Uint8Array, kind: FileKind) =>
  partsOf(bytes, kind).map(({ content, linesBefore }) => ({ text: decoder.decode(content), linesBefore }));

test('cards stay whole, and their lines can be told', () => {
  const whole = Array.from({ length: 600 }, (_, i) => `BEGIN:VCARD\r\nFN:Zoë ${i}\r\nEND:VCARD\r\n`).join('');
  const parts = split(Buffer.from(`${whole}BEGIN:VCARD\r\nFN:cut`), 'vcard');
  expect(parts.map(({ linesBefore }) => linesBefore)).toEqual([0, 750, 1500]);
  expect(parts.map(({ text }) => text).join('')).toBe(`${whole}BEGIN:VCARD\r\nFN:cut`);
});

test('each part of CSV names the columns, and line ends in quotes end no row', () => {
  const rows = Array.from({ length: 300 }, (_, i) => `"Zoë\n${i}",x\n`);
  const [first, second, ...more] = split(Buffer.from(`"Given\nName",Notes\n${rows.join('')}`), 'csv');
  expect(more).toEqual([]);
  expect(first!.text).toBe(`"Given\nName",Notes\n${rows.slice(0, 250).join('')}`);
  expect(second!.text).toBe(`"Given\nName",Notes\n${rows.slice(250).join('')}`);
  // The 251st row stands on line 3 + 250 * 2 of the file, and on line 3 of the part.
  expect([first!.linesBefore, second!.linesBefore]).toEqual([0, 500]);
});

test('bytes of another charset stay as they are, and UTF-16 becomes UTF-8', () => {
  const latin = Uint8Array.of(...Buffer.from('BEGIN:VCARD\nFN:Zo'), 0xeb, 0x80, ...Buffer.from('\nEND:VCARD\n'));
  expect(partsOf(latin, 'vcard')[0]!.content).toEqual(latin);
  const wide = Buffer.from('\uFEFFGiven Name,Notes\nZoë,☃', 'utf16le');
  expect(split(wide, 'csv')).toEqual([{ text: 'Given Name,Notes\nZoë,☃', linesBefore: 0 }]);
  expect(columnsOf(wide)).toEqual(['Given Name', 'Notes']);
});

test('a contact that is larger than a part is a part, and a file without contacts too', () => {
  const large = `BEGIN:VCARD\nNOTE:${'x'.repeat(950_000)}\nEND:VCARD\n`;
  expect(split(Buffer.from(`${large}BEGIN:VCARD\nEND:VCARD\n`), 'vcard').map(({ text }) => text.length)).toEqual([
    large.length,
    22,
  ]);
  for (const text of ['', 'Given Name,Notes\n', 'nothing']) {
    expect(split(Buffer.from(text), 'csv')).toEqual([{ text, linesBefore: 0 }]);
  }
});

test('Cards of JSContact stay whole, in an array or one after the other', () => {
  const cards = Array.from({ length: 300 }, (_, i) => `{"uid": "${i}",\n "name": {"full": "Zoë {]\\"}[${i}"}}`);
  for (const [whole, line] of [
    [`[\n${cards.join(',\n')}\n]\n`, 1],
    [cards.join('\n'), 0],
  ] as const) {
    const parts = split(Buffer.from(whole), 'json');
    expect(parts.map(({ linesBefore }) => linesBefore)).toEqual([line, line + 500]);
    expect(parts.flatMap(({ text }) => JSON.parse(`[${text.replaceAll(/\}\s+\{/g, '},{')}]`) as unknown[])).toEqual(
      cards.map((card) => JSON.parse(card) as unknown),
    );
  }
});
