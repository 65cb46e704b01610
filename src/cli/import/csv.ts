/** A row of a file, and the line that it begins in, from 1. */
export interface CsvRow {
  readonly line: number;
  readonly cells: readonly string[];
}

/** More than any row of people has. */
const ROW_CHARACTERS_MAX = 1024 * 1024;

/**
 * The rows of CSV (RFC 4180): cells in quotes may hold separators, line breaks and doubled quotes. Lines end with or
 * without a carriage return; empty ones are left out, and a byte order mark is none of the first cell. Throws RangeError for
 * a row that does not end.
 */
export async function* readCsv(text: AsyncIterable<string>, separator = ','): AsyncGenerator<CsvRow> {
  let cells: string[] = [];
  let cell = '';
  let line = 1;
  let startLine = 1;
  let size = 0;
  let isQuoted = false;
  let wasQuote = false; // in a quoted cell: the end of it, or the first of two
  let isStart = true;
  const endRow = (): CsvRow | undefined => {
    cells.push(cell.replace(/\r$/, ''));
    const row = { line: startLine, cells };
    const isEmpty = cells.length === 1 && cells[0] === '';
    [cells, cell, size] = [[], '', 0];
    startLine = line;
    return isEmpty ? undefined : row;
  };
  for await (const chunk of text) {
    for (const character of chunk) {
      if (isStart && character === '\uFEFF') continue;
      isStart = false;
      if (++size > ROW_CHARACTERS_MAX)
        throw new RangeError(`the row of line ${startLine} is too long: is a quote missing?`);
      if (character === '\n') line += 1;
      if (isQuoted && !wasQuote) {
        if (character === '"') wasQuote = true;
        else cell += character;
        continue;
      }
      if (wasQuote && character === '"') {
        cell += '"';
        wasQuote = false;
        continue;
      }
      if (wasQuote) [isQuoted, wasQuote] = [false, false];
      if (character === '"' && cell === '') isQuoted = true;
      else if (character === separator) {
        cells.push(cell);
        cell = '';
      } else if (character === '\n') {
        const row = endRow();
        if (row !== undefined) yield row;
      } else cell += character;
    }
  }
  if (isQuoted && !wasQuote) throw new RangeError(`the row of line ${startLine} does not end: a quote is missing`);
  const row = endRow();
  if (row !== undefined) yield row;
}
