/** A row of CSV, and where it stands. */
export interface CsvRow {
  readonly cells: readonly string[];
  /** The line that it begins on, from 1. */
  readonly line: number;
  /** Where it begins and ends in the text, its line end included, in UTF-16 code units. */
  readonly start: number;
  readonly end: number;
}

const SEPARATORS = [',', ';', '\t'] as const;

/**
 * The rows of CSV (RFC 4180): cells in quotes may hold separators, line ends and doubled quotes. Empty lines are left out.
 * Cells are parted by what the first line has most of: commas, semicolons or tabs.
 */
export function* readCsv(text: string, separator: string = separatorOf(text)): Generator<CsvRow> {
  let at = text.startsWith('\uFEFF') ? 1 : 0;
  let line = 1;
  while (at < text.length) {
    const start = at;
    const startLine = line;
    const cells: string[] = [];
    for (let isOver = false; !isOver; ) {
      let cell = '';
      if (text[at] === '"') {
        at += 1;
        for (;;) {
          const quote = text.indexOf('"', at);
          const end = quote === -1 ? text.length : quote;
          cell += text.slice(at, end);
          at = end + 1;
          if (quote === -1 || text[at] !== '"') break;
          cell += '"';
          at += 1;
        }
      }
      const end = endOfCell(text, at, separator);
      cell += text.slice(at, end);
      cells.push(cell);
      isOver = text[end] !== separator;
      at = isOver ? end + (text.startsWith('\r\n', end) ? 2 : 1) : end + 1;
    }
    at = Math.min(at, text.length);
    line += text.slice(start, at).match(LINE_END)?.length ?? 0;
    if (cells.length > 1 || cells[0] !== '') yield { cells, line: startLine, start, end: at };
  }
}

const LINE_END = /\r\n|\r|\n/g;

function endOfCell(text: string, from: number, separator: string): number {
  let at = from;
  while (at < text.length && text[at] !== separator && text[at] !== '\n' && text[at] !== '\r') at += 1;
  return at;
}

function separatorOf(text: string): string {
  const [first = ''] = text.split(/[\r\n]/, 1);
  const counts = SEPARATORS.map((separator) => first.split(separator).length);
  return SEPARATORS[counts.indexOf(Math.max(...counts))] ?? ',';
}
