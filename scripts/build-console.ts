/**
 * Build the console, packages/console, into its folder dist/, which the server serves (src/http/console.ts), and compress
 * its files once. Without vite, as after `npm ci --omit=dev`, says that it builds nothing.
 */
import { glob, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const FOLDER = resolve(import.meta.dirname, '../packages/console');

// React has a build for development, which is three times as large.
process.env['NODE_ENV'] = 'production';

const vite = await import('vite').catch((error: NodeJS.ErrnoException) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  return undefined;
});
if (vite === undefined) {
  console.log('the console is not built: that takes the packages for development');
} else {
  await vite.build({ configFile: join(FOLDER, 'vite.config.ts') });
  const files = await Array.fromAsync(glob('dist/**/*.{js,css,svg}', { cwd: FOLDER }));
  await Promise.all(files.map((file) => compress(join(FOLDER, file))));
}

async function compress(file: string): Promise<void> {
  const body = await readFile(file);
  const [gzipped, brotli] = await Promise.all([
    promisify(gzip)(body, { level: constants.Z_BEST_COMPRESSION }),
    promisify(brotliCompress)(body),
  ]);
  await Promise.all([writeFile(`${file}.gz`, gzipped), writeFile(`${file}.br`, brotli)]);
}
