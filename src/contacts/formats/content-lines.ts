import { decodeBytes, decodeLine, type DecodedText } from './text-decoding.ts';

/** A parameter of a property; its name in upper case. */
export interface Parameter {
  readonly name: string;
  readonly values: readonly string[];
}

/** A property of a vCard (RFC 6350, 3.3), its value still escaped. */
export interface ContentLine {
  /** The line of the file, from 1. */
  readonly line: number;
  readonly group: string;
  /** In upper case. */
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly value: string;
}

/** What stands in place of a property that cannot be read. */
export interface BrokenLine {
  readonly line: number;
  readonly name?: undefined;
  readonly error: string;
}

/** The longest property that is read, without folding, UTF-16 code units. */
export const LINE_LENGTH_MAX = 2 ** 20;

/** How many parameters of a property are read, and how many values they have together. */
const PARAMETERS_MAX = 100;

interface LogicalLine {
  readonly line: number;
  readonly text: string;
  readonly isTooLong: boolean;
}

/** The properties of a file, one after the other. Takes time and memory linear in the file, holds one property at a time. */
export function* readContentLines(file: DecodedText): Generator<ContentLine | BrokenLine> {
  for (const logical of unfold(file)) {
    const { line, text } = logical;
    if (logical.isTooLong) {
      const name = text.slice(0, 40).split(/[;:]/, 1)[0]!;
      yield { line, error: `${name} is left out: it is longer than ${LINE_LENGTH_MAX} characters` };
      continue;
    }
    const parsed = parseContentLine(text, line);
    if (parsed === undefined) yield { line, error: 'this is no property: there is no colon in it' };
    else yield decodeValue(parsed, file.isBytes);
  }
}

/** The lines of a file, with folded ones and soft line breaks of quoted-printable joined. Leaves out empty ones. */
function* unfold({ text }: DecodedText): Generator<LogicalLine> {
  let pieces: string[] = [];
  let length = 0;
  let firstLine = 0;
  let isSoft = false;
  let isQuotedPrintable = false;
  let number = 0;
  const take = function* (): Generator<LogicalLine> {
    const isTooLong = length > LINE_LENGTH_MAX;
    if (length > 0) yield { line: firstLine, text: isTooLong ? pieces[0]!.slice(0, 100) : pieces.join(''), isTooLong };
    pieces = [];
    length = 0;
  };
  for (let start = 0; start < text.length; ) {
    const end = endOfLine(text, start);
    const next = end === text.length ? end : text.startsWith('\r\n', end) ? end + 2 : end + 1;
    number++;
    const first = text.charCodeAt(start);
    const isContinued = length > 0 && (isSoft || ((first === 0x20 || first === 0x09) && end > start));
    if (!isContinued) {
      yield* take();
      firstLine = number;
      isQuotedPrintable = isOfQuotedPrintable(text, start, end);
    }
    // A soft break ends at the end of the line: what a folded line begins with is of its text only there.
    const from = isContinued && !isSoft ? start + 1 : start;
    isSoft = isQuotedPrintable && end > start && text.charCodeAt(end - 1) === 0x3d;
    const to = isSoft ? end - 1 : end;
    length += to - from;
    if (length <= LINE_LENGTH_MAX && to > from) pieces.push(text.slice(from, to));
    else if (pieces.length === 0 && to > from) pieces.push(text.slice(from, Math.min(to, from + 100)));
    start = next;
  }
  yield* take();
}

/** Where a line ends: at CR LF, LF or CR. */
function endOfLine(text: string, start: number): number {
  LINE_END.lastIndex = start;
  return LINE_END.exec(text)?.index ?? text.length;
}
const LINE_END = /[\r\n]/g;

/** Whether the parameters that a line begins with say quoted-printable. */
function isOfQuotedPrintable(text: string, start: number, end: number): boolean {
  const head = text.slice(start, Math.min(end, start + 500));
  const colon = head.indexOf(':');
  return colon > 0 && /[;=,]quoted-printable/i.test(head.slice(0, colon));
}

/** Reads a property; undefined if it is none. Takes time linear in its length. */
export function parseContentLine(text: string, line: number): ContentLine | undefined {
  const head = /^[^;:"]*/.exec(text)![0];
  if (head.length === text.length || text[head.length] === '"') return undefined;
  const dot = head.lastIndexOf('.');
  const parameters: Parameter[] = [];
  let at = head.length;
  let count = 0;
  while (text[at] === ';') {
    at++;
    let name = '';
    const values: string[] = [];
    const word = /[^=;:,"]*/y;
    word.lastIndex = at;
    const first = word.exec(text)![0];
    at += first.length;
    if (text[at] === '=') {
      name = first.trim().toUpperCase();
      do {
        at++;
        const { value, end } = readParameterValue(text, at);
        values.push(value);
        at = end;
      } while (text[at] === ',');
    } else {
      // A parameter without a name, as in vCard 2.1: TEL;HOME.
      values.push(first.trim());
      if (text[at] === ',' || text[at] === '"') at = readParameterValue(text, at + 1).end;
    }
    count += values.length;
    if (count <= PARAMETERS_MAX && values.some((value) => value !== '')) parameters.push(named(name, values));
    if (at >= text.length) return undefined;
  }
  if (text[at] !== ':') return undefined;
  const name = head
    .slice(dot + 1)
    .trim()
    .toUpperCase();
  if (!/^[A-Z0-9_/-]{1,100}$/.test(name)) return undefined;
  const group =
    dot < 0
      ? ''
      : head
          .slice(0, dot)
          .trim()
          .replaceAll(/[^A-Za-z0-9-]/g, '-')
          .slice(0, 100);
  return { line, group, name, parameters, value: text.slice(at + 1) };
}

/** One value of a parameter, quoted or not, up to the next of `,;:` outside of quotes. */
function readParameterValue(text: string, start: number): { readonly value: string; readonly end: number } {
  const parts: string[] = [];
  let at = start;
  for (;;) {
    const plain = /[^,;:"]*/y;
    plain.lastIndex = at;
    const part = plain.exec(text)![0];
    parts.push(part);
    at += part.length;
    if (text[at] !== '"') break;
    const close = text.indexOf('"', at + 1);
    const end = close < 0 ? text.length : close;
    parts.push(text.slice(at + 1, end));
    at = Math.min(end + 1, text.length);
  }
  return { value: decodeParameter(parts.join('')), end: at };
}

/** RFC 6868: what cannot stand in a parameter. */
function decodeParameter(value: string): string {
  return value.replaceAll(/\^[n'^]/g, (escape) => (escape === '^n' ? '\n' : escape === "^'" ? '"' : '^'));
}

/** The name of a parameter that vCard 2.1 writes without one. */
function named(name: string, values: string[]): Parameter {
  if (name !== '') return { name, values };
  const value = values[0]!.toUpperCase();
  if (/^(7BIT|8BIT|QUOTED-PRINTABLE|BASE64|B)$/.test(value)) return { name: 'ENCODING', values };
  if (/^(INLINE|CONTENT-ID|CID|URL)$/.test(value)) return { name: 'VALUE', values };
  return { name: 'TYPE', values };
}

/** The value in Unicode, without quoted-printable; the parameters that said so are left out. */
function decodeValue(read: ContentLine, isBytes: boolean): ContentLine {
  const charset = parameter(read, 'CHARSET');
  const isQuotedPrintable = parameter(read, 'ENCODING')?.toUpperCase() === 'QUOTED-PRINTABLE';
  // oxlint-disable-next-line no-control-regex -- ISO-2022 has the escape character
  const isEscaped = charset !== undefined && /^iso-2022/i.test(charset) && read.value.includes('\u001B');
  if (charset === undefined && !isQuotedPrintable && !isBytes) return read;
  const parameters = read.parameters.filter(
    ({ name }) => name !== 'CHARSET' && !(name === 'ENCODING' && isQuotedPrintable),
  );
  if (isQuotedPrintable) {
    const bytes = decodeQuotedPrintable(read.value, isBytes);
    // Line ends are data here: escaped, as everywhere else.
    const value = decodeBytes(bytes, charset).replaceAll(/\r\n?|\n/g, '\\n');
    return { ...read, parameters, value };
  }
  const value = isBytes || isEscaped ? decodeLine(read.value, charset) : read.value;
  return { ...read, parameters, value };
}

function decodeQuotedPrintable(value: string, isBytes: boolean): Uint8Array {
  const source = Buffer.from(value, isBytes ? 'latin1' : 'utf8');
  const bytes = new Uint8Array(source.length);
  let length = 0;
  for (let i = 0; i < source.length; i++) {
    const high = source[i] === 0x3d ? hexDigit(source[i + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(source[i + 2]);
    if (low < 0) bytes[length++] = source[i]!;
    else {
      bytes[length++] = high * 16 + low;
      i += 2;
    }
  }
  return bytes.subarray(0, length);
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** The first value of a parameter; undefined without one. */
export function parameter({ parameters }: Pick<ContentLine, 'parameters'>, name: string): string | undefined {
  return parameters.find((each) => each.name === name)?.values[0];
}

/** Whether a property is where a card begins or ends. */
export function isCardMark({ name, value }: Pick<ContentLine, 'name' | 'value'>): boolean {
  return (name === 'BEGIN' || name === 'END') && /^\s*vcard\s*$/i.test(value);
}

/** Apple's own, in the letters in which its programs look for it. */
const SPELLINGS: Readonly<Record<string, string>> = { 'X-ABLABEL': 'X-ABLabel' };

/** A property as a line without folding. */
export function formatContentLine({
  group = '',
  name,
  parameters = [],
  value,
}: {
  readonly group?: string;
  readonly name: string;
  readonly parameters?: readonly Parameter[];
  readonly value: string;
}): string {
  const formatted = parameters.map((each) => `;${each.name}=${each.values.map(formatParameter).join(',')}`);
  return `${group === '' ? '' : `${group}.`}${SPELLINGS[name] ?? name}${formatted.join('')}:${value}`;
}

/** A property as a line with each parameter once, in an order of their names: the same for `TYPE=a;TYPE=b` and `TYPE=a,b`. */
export function mergedParameters(written: string): string {
  const line = parseContentLine(written, 0);
  if (line === undefined || line.parameters.length < 2) return written;
  const values = new Map<string, string[]>();
  for (const each of line.parameters) values.set(each.name, [...(values.get(each.name) ?? []), ...each.values]);
  const parameters = [...values]
    .map(([name, all]) => ({ name, values: all }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return formatContentLine({ ...line, parameters });
}

function formatParameter(value: string): string {
  const encoded = value
    .replaceAll('^', '^^')
    .replaceAll(/\r\n?|\n/g, '^n')
    .replaceAll('"', "^'");
  return /[,;:^\s]/.test(encoded) ? `"${encoded}"` : encoded;
}

/** The bytes that a line has at the most (RFC 6350, 3.2). */
const FOLD_BYTES = 75;

/** A line with its end, folded between characters. */
export function foldLine(line: string): string {
  const lineBytes = Buffer.byteLength(line);
  if (lineBytes <= FOLD_BYTES) return `${line}\r\n`;
  const parts: string[] = [];
  // A character a byte: there is nothing to look at.
  if (lineBytes === line.length) {
    parts.push(line.slice(0, FOLD_BYTES));
    for (let i = FOLD_BYTES; i < line.length; i += FOLD_BYTES - 1) parts.push(line.slice(i, i + FOLD_BYTES - 1));
    return `${parts.join('\r\n ')}\r\n`;
  }
  let start = 0;
  let bytes = 0;
  for (let i = 0; i < line.length; ) {
    const code = line.codePointAt(i)!;
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    // The blank that a continued line begins with counts.
    if (bytes + size > FOLD_BYTES - (parts.length > 0 ? 1 : 0)) {
      parts.push(line.slice(start, i));
      start = i;
      bytes = 0;
    }
    bytes += size;
    i += code > 0xffff ? 2 : 1;
  }
  parts.push(line.slice(start));
  return `${parts.join('\r\n ')}\r\n`;
}

/** A text as vCard 3.0 and 4.0 escape it (RFC 6350, 3.4). */
export function escapeText(text: string): string {
  return /[\\,;\r\n]/.test(text)
    ? text.replaceAll(/[\\,;]|\r\n?|\n/g, (match) => (match.length > 1 || match < ' ' ? '\\n' : `\\${match}`))
    : text;
}

/** A text without its escapes. What is no escape stays as it is: "C:\temp". */
export function unescapeText(value: string): string {
  return value.includes('\\') ? value.replaceAll(/\\[\\,;:nN]/g, unescapeOne) : value;
}

function unescapeOne(escape: string): string {
  return escape === '\\n' || escape === '\\N' ? '\n' : escape[1]!;
}

/** The parts of a value between signs that are not escaped, without their escapes: by `;`, and each of these by `,`. */
export function splitValue(value: string, hasLists: boolean): string[][] {
  const parts: string[][] = [[]];
  let start = 0;
  const end = (at: number) => parts.at(-1)!.push(unescapeText(value.slice(start, at)));
  for (let i = 0; i < value.length; i++) {
    const sign = value[i];
    if (sign === '\\') i++;
    else if (sign === ';' || (sign === ',' && hasLists)) {
      end(i);
      start = i + 1;
      if (sign === ';') parts.push([]);
    }
  }
  end(value.length);
  return parts;
}
