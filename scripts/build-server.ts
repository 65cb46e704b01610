/**
 * Build the server as others install it (docs/decisions/published-package.md): a bundle in src/, and what it reads by its
 * place in the folders of the repository. Writes a folder to `npm pack` to dist/kith, or to the one that is named.
 */
import { copyFile, cp, glob, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { bundleServer, UNBUNDLED } from './bundle-server.ts';

const root = resolve(import.meta.dirname, '..');
interface Manifest extends Readonly<Record<string, unknown>> {
  readonly dependencies: Readonly<Record<string, string>>;
}

/** Of the manifest of the repository. The rest is for working on it. */
const KEPT = ['name', 'version', 'private', 'description', 'license', 'type', 'optionalDependencies'] as const;
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
const bundled = await bundleServer(out);
await writeLicenses();
await copyData();
await writeManifest();

/** Of what is bundled, as those licences ask. */
async function writeLicenses(): Promise<void> {
  const line = '-'.repeat(80);
  const parts = bundled.map(({ name, version, license, texts }) =>
    [line, `${name} ${version}, ${license}`, line, ...texts.map((text) => `\n${text.trim()}`), ''].join('\n'),
  );
  const head = 'These packages are part of the files in src/, each under its own licence.\n';
  await writeFile(join(out, 'THIRD-PARTY-LICENSES.txt'), [head, ...parts].join('\n'));
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
  const ours: Manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const manifest = {
    ...Object.fromEntries(KEPT.map((key) => [key, ours[key]])),
    dependencies: Object.fromEntries(UNBUNDLED.map((name) => [name, ours.dependencies[name]])),
    engines: { node: '>=20' }, // to start src/launcher.js, which finds the Node that Kith needs
    bin: { kith: './src/launcher.js' },
    exports: { './contract.binpb': './gen/contract.binpb', './package.json': './package.json' },
    files: ['gen', 'packages', 'proto', 'src', 'THIRD-PARTY-LICENSES.txt'],
  };
  await writeFile(join(out, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
}
