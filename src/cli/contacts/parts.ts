import { readCsvRows, restoreCell } from '../../contacts/formats/csv-records.ts';
import { jsonPieces } from '../../contacts/formats/json-values.ts';
import { decodeFile, decodeLine } from '../../contacts/formats/text-decoding.ts';

/** What a file is written in, for where it may be divided. */
export type FileKind = 'vcard' | 'csv' | 'json';

/** A part of a file, as one call takes it. */
export interface FilePart {
  readonly content: Uint8Array;
  /** What is added to the number of a line of the part to get that of the file. */
  readonly linesBefore: number;
}

/** The most bytes and contacts of a part: less than one call takes. */
const PART_BYTES = 900_000;
const PART_CONTACTS = 400;

/** A contact in the text of a file. */
interface Piece {
  readonly start: number;
  readonly end: number;
  /** The line that it begins on, from 1. */
  readonly line: number;
}

/**
 * A file in parts that end where a contact does. Each part of CSV begins with the row that names the columns. A contact
 * that is larger than a part is a part.
 */
export function* partsOf(file: Uint8Array, kind: FileKind): Generator<FilePart> {
  const { text, isBytes } = decodeFile(file);
  const [header, pieces] =
    kind === 'csv' ? csvPieces(text) : ['', kind === 'json' ? objectPieces(text) : cardPieces(text)];
  const headerLines = linesOf(header);
  const encoding = isBytes ? 'latin1' : 'utf8';
  const toPart = (first: Piece, end: number): FilePart => ({
    content: Buffer.from(header + text.slice(first.start, end), encoding),
    linesBefore: first.line - 1 - headerLines,
  });
  let first: Piece | undefined;
  let end = 0;
  let bytes = 0;
  let contacts = 0;
  for (const piece of pieces) {
    const size = Buffer.byteLength(text.slice(piece.start, piece.end), encoding);
    if (first !== undefined && (contacts === PART_CONTACTS || bytes + size > PART_BYTES)) {
      yield toPart(first, end);
      first = undefined;
    }
    if (first === undefined) [first, bytes, contacts] = [piece, 0, 0];
    [end, bytes, contacts] = [piece.end, bytes + size, contacts + 1];
  }
  // A file in which there is no contact is the server's to refuse.
  if (first !== undefined) yield toPart(first, end);
  else yield { content: file, linesBefore: 0 };
}

/** The names of the columns of CSV. */
export function columnsOf(file: Uint8Array): readonly string[] {
  const { text, isBytes } = decodeFile(file);
  for (const { cells } of readCsvRows(isBytes ? decodeLine(text, undefined) : text)) {
    return cells.map((cell) => restoreCell(cell).trim());
  }
  return [];
}

/** The row that names the columns, and the others. */
function csvPieces(text: string): [header: string, pieces: Iterable<Piece>] {
  const rows = readCsvRows(text);
  const { value: header } = rows.next();
  if (header === undefined) return ['', []];
  const written = text.slice(header.start, header.end);
  return [/[\r\n]$/.test(written) ? written : `${written}\r\n`, rows];
}

/** The cards of a file, each with what stands before it; what stands behind the last one is a piece as well. */
function* cardPieces(text: string): Generator<Piece> {
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

/** The Cards of a file of JSContact. Between them stand what an array has there, or ends of lines. */
function* objectPieces(text: string): Generator<Piece> {
  let line = 1;
  let counted = 0;
  for (const { start, end } of jsonPieces(text)) {
    line += linesOf(text.slice(counted, start));
    yield { start, end, line };
    counted = start;
  }
}

function linesOf(text: string): number {
  return text.match(/\r\n|\r|\n/g)?.length ?? 0;
}
