import { readFileSync } from 'node:fs';

/** A file that is not understood; the message names the file and, where there is one, the line, and never a value. */
export class EnvFileError extends Error {
  override readonly name = 'EnvFileError';
}

/** The largest file that is read, bytes. */
const BYTES_MAX = 1024 * 1024;

const LINE_FEED = 0x0a;

/** Where a quoted value ends. There are no escapes for the quote itself. */
const QUOTES = ['"', "'", '`'];

/**
 * Reads a file of lines NAME=VALUE; none is there when the file is not. Throws
 * EnvFileError for a file that cannot be read or has a line that is not understood:
 * a setting that is passed over in silence would start another service than the one
 * that was written down.
 *
 * The format is that of `node --env-file`: blanks around names and values do not count,
 * `export ` may stand in front, `#` begins a comment. A value in ", ' or ` keeps its
 * blanks and may have several lines; between " and " a \n is a line break. Unlike there,
 * a `#` directly behind other text is refused rather than read as a comment, and so is
 * a name that was set before.
 */
export function readEnvFile(path: string): Record<string, string> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw new EnvFileError(`${path}: is not a file that can be read`, { cause: error });
  }
  return parseEnvFile(path, bytes);
}

/** As readEnvFile, for the content of a file; `path` is for messages. */
export function parseEnvFile(path: string, bytes: Buffer): Record<string, string> {
  if (bytes.length > BYTES_MAX) throw new EnvFileError(`${path}: is larger than ${BYTES_MAX} bytes`);
  const lines = linesOf(path, bytes);
  const values: Record<string, string> = {};
  const setOn = new Map<string, number>();
  for (let i = 0; i < lines.length; i++) {
    const first = i + 1;
    const refuse = (why: string): never => {
      throw new EnvFileError(`${path}, line ${first}: ${why}`);
    };
    const line = lines[i]!.trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const [, name, rest] = /^(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)$/su.exec(line) ?? refuse('must be NAME=VALUE');
    if (name === undefined || rest === undefined) return refuse('must be NAME=VALUE');
    const before = setOn.get(name);
    if (before !== undefined) refuse(`${name} is set on line ${before} already`);
    setOn.set(name, first);
    const quote = QUOTES.find((mark) => rest.startsWith(mark));
    if (quote === undefined) {
      values[name] = unquoted(rest) ?? refuse(`the value of ${name} holds a #: put it in quotes, or a blank before #`);
      continue;
    }
    let open = rest.slice(1);
    while (!open.includes(quote)) {
      i++;
      if (i >= lines.length) refuse(`the value of ${name} has no closing ${quote}`);
      open += `\n${lines[i]}`;
    }
    const end = open.indexOf(quote);
    if (!/^\s*(#.*)?$/s.test(open.slice(end + 1))) refuse(`the value of ${name} goes on behind its closing ${quote}`);
    const value = open.slice(0, end);
    values[name] = quote === '"' ? value.replaceAll('\\n', '\n') : value;
  }
  return values;
}

/** The value without its comment; undefined where it is not clear which is which. */
function unquoted(text: string): string | undefined {
  const [, value = ''] = /^((?:(?!\s#).)*)/s.exec(text.startsWith('#') ? ` ${text}` : text) ?? [];
  return value.includes('#') ? undefined : value.trim();
}

function linesOf(path: string, bytes: Buffer): string[] {
  const [first = 0, second = 0] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new EnvFileError(`${path}, line 1: the file is UTF-16: save it as UTF-8`);
  }
  const decoder = new TextDecoder('utf-8', { fatal: true }); // which leaves out a byte order mark
  const lines: string[] = [];
  for (let from = 0; from <= bytes.length; ) {
    const to = bytes.indexOf(LINE_FEED, from);
    const end = to === -1 ? bytes.length : to;
    lines.push(textOf(path, lines.length + 1, decoder, bytes.subarray(from, end)));
    from = end + 1;
  }
  return lines;
}

function textOf(path: string, number: number, decoder: TextDecoder, bytes: Buffer): string {
  if (bytes.includes(0)) throw new EnvFileError(`${path}, line ${number}: holds NUL: save the file as UTF-8`);
  let text: string;
  try {
    text = decoder.decode(bytes).replace(/\r$/, '');
  } catch (error) {
    throw new EnvFileError(`${path}, line ${number}: is not UTF-8: save the file as UTF-8`, { cause: error });
  }
  if (/(?!\t)\p{Cc}/u.test(text)) throw new EnvFileError(`${path}, line ${number}: holds a control character`);
  return text;
}
