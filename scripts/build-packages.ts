/**
 * Build the packages that others install (docs/decisions/published-package.md): each folder of packages/ as plain
 * JavaScript with declarations. Writes a folder to `npm pack` for each below dist/, or below the one that is named.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
}

const root = resolve(import.meta.dirname, '..');
const out = resolve(process.argv[2] ?? join(root, 'dist'));
const tsc = join(root, 'node_modules/typescript/bin/tsc');

/** Pages, which are served and not installed. */
const PAGES = ['account', 'console'];
const packages = (await readdir(join(root, 'packages'))).filter((name) => !PAGES.includes(name));
for (const name of packages) await build(join(root, 'packages', name), join(out, name));

async function build(source: string, target: string): Promise<void> {
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  const config = join(source, 'tsconfig.build.json');
  await promisify(execFile)(process.execPath, [tsc, '--project', config, '--outDir', join(target, 'lib')]);
  const manifest: Manifest = JSON.parse(await readFile(join(source, 'package.json'), 'utf8'));
  const exports = Object.fromEntries(Object.entries(manifest.exports).map(([entry, path]) => [entry, built(path)]));
  await writeFile(join(target, 'package.json'), `${JSON.stringify({ ...manifest, exports }, undefined, 2)}\n`);
  for (const file of ['LICENSE', 'README.md']) await copyFile(join(source, file), join(target, file));
}

/** Where what an entry of the source leads to is in the build. */
function built(path: string): string | { types: string; default: string } {
  const [, file] = /^\.\/src\/(.+)\.ts$/.exec(path) ?? [];
  return file === undefined ? path : { types: `./lib/${file}.d.ts`, default: `./lib/${file}.js` };
}
