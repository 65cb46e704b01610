/** A row of a file; its line from 1. */
export interface CsvRow {
  readonly line: number;
  /** Where the row begins and ends in the text, its line end included. */
  readonly start: number;
  readonly end: number;
  readonly cells: readonly string[];
  /** Why the row is none, as a sentence. */
  readonly error: string | undefined;
}

/** The longest row that is read, UTF-16 code units, and the most cells of one. */
const ROW_LENGTH_MAX = 2 ** 20;
const CELLS_MAX = 2000;

/**
 * The rows of CSV (RFC 4180) with one of `,`, `;` and tab between cells: the one that the first row has most of. Leaves out
 * empty rows. A row that has an error has no cells. Takes time linear in the text.
 */
export function* readCsvRows(text: string): Generator<CsvRow> {
  const separator = separatorOf(text);
  const stop = new RegExp(`[${separator}\\r\\n]`, 'g');
  let at = text.startsWith('\uFEFF') ? 1 : 0;
  let line = 1;
  while (at < text.length) {
    const start = at;
    const first = line;
    const cells: string[] = [];
    let isOpen = false;
    for (;;) {
      let cell = '';
      if (text[at] === '"') {
        const quoted = readQuoted(text, at);
        [cell, at] = [quoted.cell, quoted.end];
        isOpen ||= quoted.isOpen;
        line += quoted.cell.split('\n').length - 1;
      }
      stop.lastIndex = at;
      const end = stop.exec(text)?.index ?? text.length;
      if (cells.length < CELLS_MAX) cells.push(cell + text.slice(at, end));
      at = end;
      if (text[at] !== separator) break;
      at++;
    }
    const length = at - start;
    at += text.startsWith('\r\n', at) ? 2 : 1;
    line++;
    const place = { line: first, start, end: Math.min(at, text.length) };
    if (length > ROW_LENGTH_MAX) yield { ...place, cells: [], error: 'the row is too long' };
    // Else all rows that follow would be one cell.
    else if (isOpen) yield { ...place, cells: [], error: 'a quote that begins here has no end' };
    else if (length > 0) yield { ...place, cells, error: undefined };
  }
}

function readQuoted(
  text: string,
  start: number,
): { readonly cell: string; readonly end: number; readonly isOpen: boolean } {
  const parts: string[] = [];
  let at = start + 1;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return { cell: parts.join('') + text.slice(at), end: text.length, isOpen: true };
    parts.push(text.slice(at, quote));
    if (text[quote + 1] !== '"') return { cell: parts.join(''), end: quote + 1, isOpen: false };
    parts.push('"');
    at = quote + 2;
  }
}

function separatorOf(text: string): string {
  const end = /[\r\n]/.exec(text)?.index ?? text.length;
  const head = text.slice(0, Math.min(end, ROW_LENGTH_MAX));
  const counts = [',', ';', '\t'].map((separator) => head.split(separator).length);
  return [',', ';', '\t'][counts.indexOf(Math.max(...counts))]!;
}

/** A row with commas, its end CR LF. Cells that a spreadsheet would take for formulas begin with an apostrophe. */
export function formatCsvRow(cells: readonly string[]): string {
  return `${cells.map(formatCell).join(',')}\r\n`;
}

function formatCell(text: string): string {
  const harmless = withoutFormula(text);
  return /[",\r\n\t;]|^\s|\s$/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/** What spreadsheets take for the beginning of a formula (OWASP, CSV injection), also in full width. */
const FORMULA = /^'*[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/;

/** A phone number: digits and signs between them compute nothing that could do harm. */
const PHONE = /^\+[\d ().-]+$/;

function withoutFormula(text: string): string {
  return FORMULA.test(text) && !PHONE.test(text) ? `'${text}` : text;
}

/** A cell as it was before formatCsvRow made it harmless. */
export function restoreCell(cell: string): string {
  return cell.startsWith("'") && FORMULA.test(cell) ? cell.slice(1) : cell;
}
