/**
 * Build what other services install: the entry `kith/verify`, and nothing of the
 * server (docs/decisions/published-package.md). Writes a folder to `npm pack`, dist/
 * or the one that is named. It cannot be published: the name is somebody else's there.
 */
import { execFile } from 'node:child_process';
import { copyFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly type: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

const root = resolve(import.meta.dirname, '..');
const out = resolve(process.argv[2] ?? join(root, 'dist'));
const { name, version, license, type, dependencies }: Manifest = JSON.parse(
  await readFile(join(root, 'package.json'), 'utf8'),
);

const manifest = {
  name,
  version,
  private: true,
  description: 'Verify the access tokens of Kith in other services, offline, and learn of revoked ones within seconds.',
  license,
  type,
  sideEffects: false,
  engines: { node: '>=20' },
  exports: {
    './verify': { types: './verify/verify.d.ts', default: './verify/verify.js' },
    './package.json': './package.json',
  },
  // Any version that is compatible: two copies of it in one service are of no use to anybody.
  dependencies: { jose: `^${dependencies['jose']}` },
};

await rm(join(out, 'verify'), { recursive: true, force: true });
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const config = join(root, 'tsconfig.verify.json');
await promisify(execFile)(process.execPath, [tsc, '--project', config, '--outDir', join(out, 'verify')]);
await writeFile(join(out, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
await copyFile(join(root, 'LICENSE'), join(out, 'LICENSE'));
// Links into the repository lead nowhere from the package.
const readme = await readFile(join(root, 'docs/verify.md'), 'utf8');
await writeFile(join(out, 'README.md'), readme.replace(/\[([^\]]+)\]\(\.\.[^)]*\)/g, '$1'));
