/**
 * Build the console, packages/console, and the account pages, packages/account, into their folders dist/, which the server
 * serves (src/http/console.ts, src/http/account.ts), and compress their files once. Without vite, as after `npm ci --omit=dev`, says that it builds nothing.
 */
import { glob, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const FOLDERS = ['console', 'account'].map((name) => resolve(import.meta.dirname, '../packages', name));

// React has a build for development, which is three times as large.
process.env['NODE_ENV'] = 'production';

const vite = await import('vite').catch((error: NodeJS.ErrnoException) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  return undefined;
});
if (vite === undefined) {
  console.log('console and account pages are not built: that takes the packages for development');
} else {
  for (const folder of FOLDERS) {
    await vite.build({ configFile: join(folder, 'vite.config.ts') });
    const files = await Array.fromAsync(glob('dist/**/*.{js,css,svg}', { cwd: folder }));
    await Promise.all(files.map((file) => compress(join(folder, file))));
  }
}

async function compress(file: string): Promise<void> {
  const body = await readFile(file);
  const [gzipped, brotli] = await Promise.all([
    promisify(gzip)(body, { level: constants.Z_BEST_COMPRESSION }),
    promisify(brotliCompress)(body),
  ]);
  await Promise.all([writeFile(`${file}.gz`, gzipped), writeFile(`${file}.br`, brotli)]);
}
