import { readCsv } from './csv.ts';

/** A part of a file, as one call of ImportContacts takes it. */
export interface FilePart {
  readonly content: Uint8Array;
  /** What is added to the number of a line of the part to get that of the file. */
  readonly linesBefore: number;
}

/** The most bytes and contacts of a part: less than one call takes. */
const PART_BYTES = 900_000;
const PART_CONTACTS = 250;

/** What a file is written in, for where it may be divided. */
export type FileKind = 'vcard' | 'csv' | 'json';

interface Piece {
  readonly start: number;
  readonly end: number;
  readonly line: number;
}

/**
 * A file of contacts in parts that end where a contact does. Each part of CSV begins with the row that names the columns.
 * The bytes stay as they are, in whatever charset; UTF-16 becomes UTF-8.
 */
export function partsOf(file: Uint8Array, kind: FileKind): readonly FilePart[] {
  const bytes = isUtf16(file) ? new TextEncoder().encode(decodeUtf16(file)) : file;
  // Each byte is a character: places in the text are places in the bytes.
  const text = new TextDecoder('windows-1252').decode(bytes);
  const [header, ...rows] =
    kind === 'csv' ? readCsv(text) : [undefined, ...(kind === 'json' ? objectsOf(text) : cardsOf(text))];
  const head = header === undefined ? new Uint8Array() : endingLine(bytes.subarray(0, header.end));
  const headLines = header === undefined ? 0 : linesOf(text.slice(0, header.end)) || 1;
  const parts: FilePart[] = [];
  for (let i = 0; i < rows.length; ) {
    const first: Piece = rows[i]!;
    let count = 0;
    while (
      count === 0 ||
      (count < PART_CONTACTS && i + count < rows.length && rows[i + count]!.end - first.start <= PART_BYTES)
    )
      count += 1;
    const content = joined(head, bytes.subarray(first.start, rows[i + count - 1]!.end));
    parts.push({ content, linesBefore: first.line - 1 - headLines });
    i += count;
  }
  // A file in which there is no contact is the server's to refuse.
  return parts.length === 0 ? [{ content: bytes.subarray(0, PART_BYTES), linesBefore: 0 }] : parts;
}

/** The names of the columns of a CSV file. */
export function columnsOf(file: Uint8Array): readonly string[] {
  const text = isUtf16(file) ? decodeUtf16(file) : new TextDecoder().decode(file);
  const [header] = readCsv(text);
  return header?.cells.map((cell) => cell.trim()).filter((cell) => cell !== '') ?? [];
}

function* cardsOf(text: string): Generator<Piece> {
  let start = 0;
  let line = 1;
  for (const { index, 0: mark } of text.matchAll(/^end:vcard[ \t]*(?:\r\n?|\n|$)/gim)) {
    const end = index + mark.length;
    yield { start, end, line };
    line += linesOf(text.slice(start, end));
    start = end;
  }
  if (text.slice(start).trim() !== '') yield { start, end: text.length, line };
}

/** The values of a file of JSON: of one array, or one after the other. The server says what they are. */
function* objectsOf(text: string): Generator<Piece> {
  const sign = /"[^"\\]*(?:\\[^][^"\\]*)*"?|[[\]{}]/g;
  let depth = 0;
  let start = 0;
  let isInArray = false;
  let line = 1;
  let counted = 0;
  for (const { index, 0: found } of text.matchAll(sign)) {
    if (found === '[' && depth === 0 && !isInArray) isInArray = true;
    else if (found === '{' || found === '[') {
      if (depth === 0) start = index;
      depth += 1;
    } else if ((found === '}' || found === ']') && depth > 0) {
      depth -= 1;
      if (depth > 0) continue;
      line += linesOf(text.slice(counted, start));
      counted = start;
      yield { start, end: index + 1, line };
    }
  }
  if (depth > 0) yield { start, end: text.length, line: line + linesOf(text.slice(counted, start)) };
}

const isUtf16 = ([first, second]: Uint8Array): boolean =>
  (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);

function decodeUtf16(file: Uint8Array): string {
  return new TextDecoder(file[0] === 0xff ? 'utf-16le' : 'utf-16be').decode(file);
}

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

function endingLine(row: Uint8Array): Uint8Array {
  const last = row.at(-1);
  return last === LINE_FEED || last === CARRIAGE_RETURN ? row : joined(row, Uint8Array.of(LINE_FEED));
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const linesOf = (text: string): number => text.match(/\r\n|\r|\n/g)?.length ?? 0;
