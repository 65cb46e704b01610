import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { glob, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { bundleServer } from '../../scripts/bundle-server.ts';

const CACHE = resolve('node_modules/.cache/kith');

/** What a bundle is made of, and by. */
const SOURCES = [
  '{src,gen}/**/*.{ts,json}',
  'packages/{client,connect-fast,protobuf-compiled,verify}/src/**/*.ts',
  'scripts/bundle-server.ts',
  'package*.json',
];

/** What the bundle reads by its place. */
const READ = ['gen', 'proto', 'packages', 'src/mail', 'src/identity'];

/**
 * Bundles the server, as its package has it, for the tests that start it as a process: most of a start is to find modules.
 * Done once for each state of the sources. Returns the path of main.js.
 */
export async function bundleForTests(): Promise<string> {
  const files = await Array.fromAsync(glob(SOURCES));
  const hash = createHash('sha256');
  for (const file of files.toSorted()) hash.update(file).update(await readFile(file));
  const directory = join(CACHE, hash.digest('hex').slice(0, 16));
  const main = join(directory, 'src/main.js');
  if (existsSync(main)) return main;
  await rm(CACHE, { recursive: true, force: true });
  const fresh = join(CACHE, `${process.pid}`);
  await mkdir(fresh, { recursive: true });
  await bundleServer(fresh);
  await writeFile(join(fresh, 'package.json'), '{"type": "module"}');
  for (const path of READ) {
    await mkdir(dirname(join(fresh, path)), { recursive: true });
    await symlink(resolve(path), join(fresh, path));
  }
  await rename(fresh, directory);
  return main;
}
