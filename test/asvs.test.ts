import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';

/**
 * The levels of the requirements of each section, in their order: OWASP ASVS 5.0.0,
 * https://github.com/OWASP/ASVS/tree/v5.0.0_release/5.0/en
 */
const LEVELS: Readonly<Record<string, string>> = {
  '1.1': '22',
  '1.2': '1111122223',
  '1.3': '112222222223',
  '1.4': '222',
  '1.5': '123',
  '2.1': '122',
  '2.2': '112',
  '2.3': '12223',
  '2.4': '23',
  '3.1': '3',
  '3.2': '113',
  '3.3': '12223',
  '3.4': '11222233',
  '3.5': '11122333',
  '3.6': '3',
  '3.7': '22333',
  '4.1': '12233',
  '4.2': '23333',
  '4.3': '22',
  '4.4': '1222',
  '5.1': '2',
  '5.2': '112333',
  '5.3': '113',
  '5.4': '222',
  '6.1': '122',
  '6.2': '111111112222',
  '6.3': '11223333',
  '6.4': '112233',
  '6.5': '22222333',
  '6.6': '2223',
  '6.7': '33',
  '6.8': '2222',
  '7.1': '222',
  '7.2': '1111',
  '7.3': '22',
  '7.4': '11222',
  '7.5': '223',
  '7.6': '22',
  '8.1': '1233',
  '8.2': '1123',
  '8.3': '133',
  '8.4': '23',
  '9.1': '111',
  '9.2': '1222',
  '10.1': '22',
  '10.2': '223',
  '10.3': '22223',
  '10.4': '1111122222233333',
  '10.5': '22222',
  '10.6': '22',
  '10.7': '222',
  '11.1': '2233',
  '11.2': '22233',
  '11.3': '11233',
  '11.4': '1222',
  '11.5': '23',
  '11.6': '23',
  '11.7': '33',
  '12.1': '12233',
  '12.2': '11',
  '12.3': '22223',
  '13.1': '2333',
  '13.2': '222223',
  '13.3': '2233',
  '13.4': '1222233',
  '14.1': '22',
  '14.2': '12223333',
  '14.3': '122',
  '15.1': '12233',
  '15.2': '12233',
  '15.3': '1222222',
  '15.4': '3333',
  '16.1': '2',
  '16.2': '22222',
  '16.3': '2222',
  '16.4': '222',
  '16.5': '2223',
  '17.1': '23',
  '17.2': '22223333',
  '17.3': '22',
};

/** The level of each requirement, by its number. */
const REQUIREMENTS = new Map<string, number>(
  Object.entries(LEVELS).flatMap(([section, levels]) =>
    Array.from(levels, (level, i) => [`${section}.${i + 1}`, Number(level)] as const),
  ),
);

interface Row {
  readonly number: string;
  readonly saysLevel3: boolean;
  readonly held: string;
}

interface Trace {
  readonly rows: readonly Row[];
  /** The numbers that are said not to apply, one by one. */
  readonly excluded: readonly string[];
  /** The chapters that are said not to apply as a whole, but for their rows. */
  readonly excludedChapters: readonly string[];
  /** Lines of the tables of requirements that are no rows. */
  readonly malformed: readonly string[];
}

const ROW = /^\| (\d+\.\d+\.\d+)( L3)? \| [^|]+ \| [^|]+ \| ([^|]+) \|$/;

function readTrace(markdown: string): Trace {
  const rows: Row[] = [];
  const malformed: string[] = [];
  for (const line of markdown.split('\n')) {
    if (!/^\| *V?\d/.test(line)) continue;
    const [, number, level, held] = ROW.exec(line) ?? [];
    if (number === undefined || held === undefined) malformed.push(line);
    else rows.push({ number, saysLevel3: level !== undefined, held });
  }
  return {
    rows,
    malformed,
    excluded: Array.from(markdown.matchAll(/^Does not apply: (.+)$/gm), ([, text]) => text!).flatMap(
      (text) => text.match(/\b\d+\.\d+\.\d+\b/g) ?? [],
    ),
    excludedChapters: Array.from(markdown.matchAll(/^## V(\d+) .+: does not apply$/gm), ([, chapter]) => chapter!),
  };
}

/** What is wrong with the numbers of a trace, as sentences. */
function faultsOf({ rows, excluded, excludedChapters, malformed }: Trace): string[] {
  const named = [...rows.map(({ number }) => number), ...excluded];
  const isExcluded = (number: string) => excludedChapters.includes(number.split('.')[0]!);
  return [
    ...malformed.map((line) => `not a row: ${line}`),
    ...named.filter((number) => !REQUIREMENTS.has(number)).map((number) => `${number}: there is none`),
    ...named.filter((number, i) => named.indexOf(number) !== i).map((number) => `${number}: twice`),
    ...rows
      .filter(({ number, saysLevel3 }) => REQUIREMENTS.has(number) && (REQUIREMENTS.get(number) === 3) !== saysLevel3)
      .map(({ number }) => `${number}: of level ${REQUIREMENTS.get(number)}`),
    ...[...REQUIREMENTS]
      .filter(([number, level]) => level < 3 && !named.includes(number) && !isExcluded(number))
      .map(([number]) => `${number}: missing`),
  ];
}

/**
 * The tests that a text names: `file > title`, or with titles of what it is in between.
 * A title that ends in an ellipsis is the beginning of one; one of a table may be that of a case.
 */
function testsIn(text: string): string[] {
  return Array.from(text.matchAll(/`([^`]+\.test\.ts > [^`]+)`/g), ([, named]) => named!);
}

/** The titles of a file's tests as they are written, each after those of what it is in, which the formatter's indentation tells. */
function titlesOf(source: string): string[][] {
  // Either `test(...`, or the second call of `test.each(...)(...`.
  const calls = source.matchAll(
    /(?:\b(?:test|describe)(?:\.\w+)*|\))\(\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`)\s*,/g,
  );
  const around: { readonly indent: number; readonly title: string }[] = [];
  return Array.from(calls, (call) => {
    const [, single, double, template] = call;
    const line = source.slice(source.lastIndexOf('\n', call.index) + 1);
    const indent = line.length - line.trimStart().length;
    while (around.length > 0 && around.at(-1)!.indent >= indent) around.pop();
    around.push({ indent, title: (single ?? double ?? template ?? '').replaceAll(/\\(.)/g, '$1') });
    return around.map(({ title }) => title);
  });
}

const sources = new Map<string, { readonly source: string; readonly titles: string[][] }>();

function readSource(file: string): { readonly source: string; readonly titles: string[][] } {
  if (!sources.has(file)) {
    const source = existsSync(file) ? readFileSync(file, 'utf8') : '';
    sources.set(file, { source, titles: titlesOf(source) });
  }
  return sources.get(file)!;
}

/** Whether there is a test that is named so. */
function isTest(named: string): boolean {
  const [file = '', ...path] = named.split(' > ');
  const { source, titles } = readSource(file);
  return titles.some((there) => {
    const rest = there.slice(0, -1).values();
    return (
      isNamed(path.at(-1)!, there.at(-1)!, source) &&
      path.slice(0, -1).every((one) => rest.some((title) => isNamed(one, title, source)))
    );
  });
}

/** What a table of cases puts into a title: %s, $name, or ${expression} in a template. */
const PLACEHOLDER = /%[sdifjo]|\$\{[^}]*\}|\$\w+(?:\.\w+)*/;

/** Whether a title is named: as it is written, by its beginning, or with what the source puts in its places. */
function isNamed(named: string, title: string, source: string): boolean {
  if (named === title || (named.endsWith('…') && title.startsWith(named.slice(0, -1)))) return true;
  const parts = title.split(PLACEHOLDER);
  if (parts.length === 1 || !/\w{3}/.test(parts.join(' '))) return false; // of a title that is all places, any text is a case
  const places = new RegExp(`^${parts.map((part) => RegExp.escape(part)).join('(.+)')}$`).exec(named);
  return places !== null && places.slice(1).every((place) => source.includes(place));
}

/** What a document links to in this repository and is not there: a file, or a heading. */
function brokenLinksIn(path: string): string[] {
  const links = readFileSync(path, 'utf8').matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g);
  return Array.from(links)
    .filter(([, file, anchor]) => {
      const target = file === '' ? path : join(dirname(path), file!);
      if (!existsSync(target)) return true;
      if (anchor === undefined) return false;
      const headings = readFileSync(target, 'utf8').matchAll(/^#+ (.+)$/gm);
      return !Array.from(headings, ([, heading]) => slugOf(heading!)).includes(anchor);
    })
    .map(([link]) => link);
}

function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

describe('docs/asvs.md', () => {
  const text = readFileSync('docs/asvs.md', 'utf8');
  const trace = readTrace(text);

  test('has each requirement of levels 1 and 2 once, traced or said not to apply', () => {
    expect(faultsOf(trace)).toEqual([]);
  });

  test('says how many requirements it traces, and how many of them with a deviation', () => {
    const [, rows, deviations] = /(\d+) requirements.+?(\d+) of them with a deviation/s.exec(text) ?? [];
    expect({ rows, deviations }).toEqual({
      rows: String(trace.rows.length),
      deviations: String(trace.rows.filter(({ held }) => held.includes('Deviation:')).length),
    });
  });

  test('gives each a test, a document or a reason', () => {
    const HELD = /`[^`]+\.test\.ts > [^`]+`|\[[^\]]+\]\([^)]+\)|Deviation: .{20}/;
    expect(trace.rows.filter(({ held }) => !HELD.test(held)).map(({ number }) => number)).toEqual([]);
  });

  test('names tests that exist', () => {
    const named = testsIn(text);
    expect(named.length).toBeGreaterThan(100);
    expect(named.filter((one) => !isTest(one))).toEqual([]);
  });

  test('names tests in the one way that is checked', () => {
    const mentioned = text.match(/`[^`]*\.test\.ts[^`]*`/g) ?? [];
    expect(mentioned.filter((one) => testsIn(one).length !== 1)).toEqual([]);
  });

  test('names a test for each class of faults that are known from others', () => {
    const [, classes = ''] = /^## Known classes of faults$(.+?)(?=^## |$(?![\s\S]))/ms.exec(text) ?? [];
    const lines = classes.split('\n').filter((line) => /^\| (?!class|---)/.test(line));
    expect(lines.filter((line) => testsIn(line).length === 0)).toEqual([]);
    expect(lines).toHaveLength(16);
  });
});

test.each(['docs/asvs.md', 'docs/security.md'])('%s links to what is there', (path) => {
  expect(brokenLinksIn(path)).toEqual([]);
});

describe('a trace is found to be wrong', () => {
  const ROWS = [...REQUIREMENTS].filter(([, level]) => level < 3).map(([number]) => `| ${number} | a | b | c |`);

  test.each<[what: string, change: (rows: string[]) => string[], fault: string]>([
    ['that misses a requirement', (rows) => rows.filter((row) => !row.includes('| 6.2.4 |')), '6.2.4: missing'],
    ['with a requirement twice', (rows) => [...rows, rows[7]!], '1.2.6: twice'],
    ['that traces what it says does not apply', (rows) => [...rows, 'Does not apply: 9.1.1 (so).'], '9.1.1: twice'],
    ['with a number that is none', (rows) => [...rows, '| 6.2.13 | a | b | c |'], '6.2.13: there is none'],
    ['with half a number', (rows) => [...rows, '| 6.2 | a | b | c |'], 'not a row: | 6.2 | a | b | c |'],
    ['with a number of version 4', (rows) => [...rows, '| V2.1.1 | a | b | c |'], 'not a row: | V2.1.1 | a | b | c |'],
    ['with a column missing', (rows) => [...rows, '| 6.3.8 L3 | a | b |'], 'not a row: | 6.3.8 L3 | a | b |'],
    ['that does not say level 3', (rows) => [...rows, '| 6.3.8 | a | b | c |'], '6.3.8: of level 3'],
    ['that says level 3 of another', (rows) => [`| 1.1.1 L3 | a | b | c |`, ...rows.slice(1)], '1.1.1: of level 2'],
  ])('%s', (_, change, fault) => {
    expect(faultsOf(readTrace(ROWS.join('\n')))).toEqual([]);
    expect(faultsOf(readTrace(change(ROWS).join('\n')))).toEqual([fault]);
  });

  test('unless a chapter does not apply', () => {
    const rows = ROWS.filter((row) => !row.startsWith('| 17.')).join('\n');
    expect(faultsOf(readTrace(rows))).toHaveLength(7);
    expect(faultsOf(readTrace(`${rows}\n## V17 WebRTC: does not apply`))).toEqual([]);
  });
});

describe('the titles of tests are read', () => {
  test.each<[source: string, titles: string[]]>([
    ["test('a b', () => {})", ['a b']],
    ['describe("it\'s", () => {})', ["it's"]],
    ["test('it\\'s', async () => {})", ["it's"]],
    ['test(`${n} of m`, { timeout: 1 }, () => {})', ['${n} of m']],
    ["test.each([['x', f(1)]])('%s is', () => {})", ['%s is']],
    ["describe.each(databases)(\n  'on $name',\n  (kind) => {})", ['on $name']],
    ["it.skip; expect(f('no title')).toBe('x')", []],
    ["describe('a', () => {\n  test('b', f);\n});\ntest('c', f);", ['a', 'a/b', 'c']],
    ["describe('a', () => {\n  test.each([\n    1,\n  ])('b', f);\n  test('c', f);\n});", ['a', 'a/b', 'a/c']],
  ])('%s', (source, expected) => {
    expect(titlesOf(source).map((path) => path.join('/'))).toEqual(expected);
  });

  test.each([
    ['test/asvs.test.ts > the titles of tests are read', true],
    ['test/asvs.test.ts > the titles of …', true],
    ['test/asvs.test.ts > the titles of', false],
    ['test/asvs.test.ts > titles of tests are read', false],
    ['test/none.test.ts > the titles of tests are read', false],
    ['test/asvs.test.ts > a trace is found to be wrong > %s', true],
    ['test/asvs.test.ts > a trace is found … > %s', true],
    ['test/asvs.test.ts > docs/security.md links to what is there', true],
    [`test/asvs.test.ts > docs/${'no'.repeat(2)}.md links to what is there`, false],
    ['test/asvs.test.ts > a trace is found to be wrong > with half a number', false],
    ['test/asvs.test.ts > docs/asvs.md > %s', false],
    ['test/asvs.test.ts > %s > a trace is found to be wrong', false],
  ])('%s: %s', (named, isThere) => {
    expect(isTest(named)).toBe(isThere);
  });
});
