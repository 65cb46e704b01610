/**
 * Build the server as others install it (docs/decisions/published-package.md): plain JavaScript in the folders of the
 * repository, so that what is read by its place is found. Writes a folder to `npm pack` to dist/kith, or to the one
 * that is named.
 */
import { execFile } from 'node:child_process';
import { copyFile, cp, glob, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const root = resolve(import.meta.dirname, '..');
/** Of the manifest of the repository. The rest is for working on it. */
const KEPT = [
  'name',
  'version',
  'private',
  'description',
  'license',
  'type',
  'dependencies',
  'optionalDependencies',
] as const;
/** What is read and not imported. The pages are there where they have been built. */
const READ = [
  'src/**/*.txt',
  'gen/*.{binpb,html,json}',
  'proto/**/*.proto',
  'packages/{account,console}/dist/*.{html,svg,gz,br}',
  'packages/{account,console}/dist/assets/*.*',
];
const out = resolve(process.argv[2] ?? join(root, 'dist/kith'));

await rm(out, { recursive: true, force: true });
const tsc = join(root, 'node_modules/typescript/bin/tsc');
await promisify(execFile)(process.execPath, [tsc, '--project', join(root, 'tsconfig.build.json'), '--outDir', out]);
await useBuiltThreads();
await copyData();
await writeManifest();

/** Threads are started by the URL of a source, which no compiler rewrites. Nothing moves: source maps stay true. */
async function useBuiltThreads(): Promise<void> {
  for await (const path of glob('{src,packages}/**/*.js', { cwd: out })) {
    const code = await readFile(join(out, path), 'utf8');
    const built = code.replaceAll(/(new URL\('[\w/.-]+\.)ts(', import\.meta\.url\))/g, '$1js$2');
    if (/\.ts['"`], import\.meta/.test(built)) throw new Error(`${path} reads a source by its URL in another way`);
    if (built !== code) await writeFile(join(out, path), built);
  }
}

/** Everything that is read and not imported. */
async function copyData(): Promise<void> {
  for await (const path of glob(READ, { cwd: root })) {
    await mkdir(dirname(join(out, path)), { recursive: true });
    await copyFile(join(root, path), join(out, path));
  }
  for (const file of ['LICENSE', 'README.md']) await cp(join(root, file), join(out, file));
}

/** What is there to run, and what that installs. */
async function writeManifest(): Promise<void> {
  const ours = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
  const manifest = {
    ...Object.fromEntries(KEPT.map((key) => [key, ours[key]])),
    engines: { node: '>=20' }, // to start src/launcher.js, which finds the Node that Kith needs
    bin: { kith: './src/launcher.js' },
    exports: { './contract.binpb': './gen/contract.binpb', './package.json': './package.json' },
    files: ['gen', 'packages', 'proto', 'src'],
  };
  await writeFile(join(out, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
}
