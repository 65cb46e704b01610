import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EnvFileError, parseEnvFile, readEnvFile } from './env-file.ts';

const parse = (text: string, encoding: BufferEncoding = 'utf8') => parseEnvFile('.env', Buffer.from(text, encoding));

function refusalOf(content: string | Buffer): string {
  try {
    parseEnvFile('.env', Buffer.from(content));
  } catch (error) {
    if (error instanceof EnvFileError) return error.message;
    throw error;
  }
  throw new Error('the file was not refused');
}

test.each<[what: string, text: string, values: Record<string, string>]>([
  ['an empty file', '', {}],
  ['a byte order mark', '\uFEFFA=1\nB=2\n', { A: '1', B: '2' }],
  ['line ends of Windows', 'A=1\r\nB="2"\r\n\r\n', { A: '1', B: '2' }],
  ['no line end at the end', 'A=1', { A: '1' }],
  ['blanks around names and values', ' A = 1 \n\tB\t=\t2\t\n', { A: '1', B: '2' }],
  ['an empty value', 'A=\nB=""\n', { A: '', B: '' }],
  ['export', 'export A=1\nexport  B=2', { A: '1', B: '2' }],
  ['comments', '# one\n  # two\nA=1 # three\nB="2" # four\nC= # five', { A: '1', B: '2', C: '' }],
  ['quoted values', `A=" 1 # "\nB='"'\nC=\`it's\``, { A: ' 1 # ', B: '"', C: "it's" }],
  ['line breaks in quotes', 'A="1\n2=3"\nB="1\\n2"\nC=\'1\\n2\'', { A: '1\n2=3', B: '1\n2', C: '1\\n2' }],
  ['equals signs and quotes in values', `A=x==\nB=it's`, { A: 'x==', B: "it's" }],
])('%s is understood', (_, text, values) => {
  expect(parse(text)).toEqual(values);
});

const SECRET = 'hidden';

test.each<[what: string, content: string | Buffer, message: RegExp]>([
  ['a colon for the equals sign', `A=1\nKITH_PORT: ${SECRET}`, /^\.env, line 2: must be NAME=VALUE$/],
  ['a blank for the equals sign', `KITH_PORT ${SECRET}`, /^\.env, line 1: must be NAME=VALUE$/],
  ['a dash in a name', `\n\nKITH-PORT=${SECRET}`, /^\.env, line 3: must be NAME=VALUE$/],
  ['a name alone', SECRET, /^\.env, line 1: must be NAME=VALUE$/],
  ['a value alone', `=${SECRET}`, /^\.env, line 1: must be NAME=VALUE$/],
  ['two names', `export set A=${SECRET}`, /^\.env, line 1: must be NAME=VALUE$/],
  ['a name that begins with a digit', `1A=${SECRET}`, /^\.env, line 1: must be NAME=VALUE$/],
  ['a # in a value', `A=${SECRET}#1`, /^\.env, line 1: the value of A holds a #/],
  ['an open quote', `A=1\nB="${SECRET}\nC=2\n`, /^\.env, line 2: the value of B has no closing "$/],
  ['text behind a quote', `A="${SECRET}"1`, /^\.env, line 1: the value of A goes on behind its closing "$/],
  ['a line behind several in quotes', `A="1\n2"\nB ${SECRET}`, /^\.env, line 3: must be NAME=VALUE$/],
  ['a name twice', `A=1\nB=2\nA=${SECRET}`, /^\.env, line 3: A is set on line 1 already$/],
  ['a control character', `A=1\nB=${SECRET}\u001b`, /^\.env, line 2: holds a control character$/],
  ['line ends of old Macs', `A=1\rB=${SECRET}\r`, /^\.env, line 1: holds a control character$/],
  ['UTF-16', Buffer.from(`\uFEFFA=${SECRET}`, 'utf16le'), /^\.env, line 1: the file is UTF-16: save it as UTF-8$/],
  [
    'UTF-16 with its bytes the other way round',
    Buffer.from(`\uFEFFA=${SECRET}`, 'utf16le').swap16(),
    /^\.env, line 1: the file is UTF-16: save it as UTF-8$/,
  ],
  ['UTF-16 without a mark', Buffer.from(`A=${SECRET}`, 'utf16le'), /^\.env, line 1: holds NUL/],
  ['Latin-1', Buffer.from(`A=1\nB=${SECRET}\u00e9`, 'latin1'), /^\.env, line 2: is not UTF-8/],
  ['more than a file of settings has', 'A=1\n'.repeat(300_000), /^\.env: is larger than 1048576 bytes$/],
])('%s is refused, by line and without the value', (_, content, message) => {
  const refusal = refusalOf(content);
  expect(refusal).toMatch(message);
  expect(refusal).not.toContain(SECRET);
});

describe('a file', () => {
  function newDirectory(): string {
    const directory = mkdtempSync(join(tmpdir(), 'kith-env-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    return directory;
  }

  test('that is there is read', () => {
    const path = join(newDirectory(), '.env');
    writeFileSync(path, 'A=1\n');
    expect(readEnvFile(path)).toEqual({ A: '1' });
  });

  test('that is not there has no lines', () => {
    expect(readEnvFile(join(newDirectory(), '.env'))).toEqual({});
  });

  test('that cannot be read is refused', () => {
    const path = join(newDirectory(), '.env');
    mkdirSync(path);
    expect(() => readEnvFile(path)).toThrow(`${path}: is not a file that can be read`);
  });
});
