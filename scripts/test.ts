/**
 * Run the tests: `npm test [-- OPTIONS OF VITEST]`, without the long ones. With `--changed [COMMIT]`, run those
 * of what differs from the commit, by default the last one.
 *
 * Vitest's own `--changed` takes every test that can reach a changed file. Tests of the whole service reach all
 * of the server, so that is most of them, and minutes. This takes those that are about the file.
 */
import { execFile } from 'node:child_process';
import { glob, readFile } from 'node:fs/promises';
import { basename, dirname, join, normalize, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { importsOf } from './check-imports.ts';

const ROOT = resolve(import.meta.dirname, '..');
const CODE = '{src,packages/*/src,test,check,scripts,bench,conformance}/**/*.ts';
const LONG = '**/*.long.test.ts';

/**
 * The tests of each changed file: itself; those of its name beside it, or else those of its folder; those that import it,
 * or the package that it is a part of; and those that write its path or, for what is no module, its name.
 *
 * @param sources the text of every module, tests among them, by path
 */
export function testsOf(changed: readonly string[], sources: ReadonlyMap<string, string>): string[] {
  const tests = [...sources.keys()].filter(isTest);
  const found = changed.flatMap((file) => {
    if (isTest(file)) return sources.has(file) ? [file] : [];
    const named = [`${file.replace(/(\.testkit)?\.ts$/, '')}.test.ts`].filter((test) => sources.has(test));
    const beside = tests.filter((test) => dirname(test) === dirname(file) && !/^test\/|^src\/[^/]*$/.test(file));
    const users = tests.filter((test) => uses(test, sources.get(test) ?? '', file));
    return [...(named.length > 0 ? named : beside), ...users];
  });
  return [...new Set(found)].toSorted();
}

function isTest(file: string): boolean {
  return file.endsWith('.test.ts');
}

function uses(test: string, source: string, file: string): boolean {
  if (source.includes(file.endsWith('.ts') ? file : basename(file))) return true;
  const [packagePath] = /^packages\/[^/]+\//.exec(file) ?? [];
  return importsOf(test, source).some(({ module }) => {
    const target = normalize(join(dirname(test), module));
    return (
      target === file || (packagePath !== undefined && !test.startsWith(packagePath) && target.startsWith(packagePath))
    );
  });
}

async function readSources(): Promise<Map<string, string>> {
  const files = await Array.fromAsync(glob(CODE, { cwd: ROOT, exclude: (path) => path.includes('node_modules') }));
  return new Map(
    await Promise.all(files.map(async (file) => [file, await readFile(join(ROOT, file), 'utf8')] as const)),
  );
}

/** What differs from a commit, and files that git does not know yet. */
async function changedSince(commit: string): Promise<string[]> {
  const git = async (...args: string[]) => (await promisify(execFile)('git', args, { cwd: ROOT })).stdout;
  const outputs = await Promise.all([
    git('diff', '--name-only', '--relative', commit),
    git('ls-files', '--others', '--exclude-standard'),
  ]);
  return outputs.flatMap((output) => output.split('\n').filter(Boolean));
}

async function main(args: string[]): Promise<void> {
  const at = args.findIndex((arg) => /^--changed(=|$)/.test(arg));
  if (at === -1) return run(['--exclude', LONG, ...args]);
  const [option = ''] = args.splice(at, 1);
  const hasCommit = args[at] !== undefined && !args[at].startsWith('-');
  const commit = option.slice('--changed='.length) || (hasCommit ? args.splice(at, 1)[0] : undefined) || 'HEAD';
  const changed = await changedSince(commit);
  const tests = testsOf(changed, await readSources());
  if (tests.length === 0) return console.error(`no test is about what changed: ${changed.join(', ') || 'nothing did'}`);
  return run([...args, ...tests]);
}

/** In this process, as the command of vitest does. */
async function run(args: readonly string[]): Promise<void> {
  process.argv.splice(2, Infinity, 'run', ...args);
  await import(pathToFileURL(join(ROOT, 'node_modules/vitest/vitest.mjs')).href);
}

if (import.meta.main) await main(process.argv.slice(2));
