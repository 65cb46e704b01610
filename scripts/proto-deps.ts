/**
 * Write the schemas that npm packages carry only as embedded descriptors, so
 * that buf resolves imports without its registry. The output, .proto-deps/, is
 * git-ignored.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { importedProtos } from '../src/rpc/contract-files.ts';

const OUT = '.proto-deps';

for (const { path, text } of importedProtos()) {
  await mkdir(dirname(join(OUT, path)), { recursive: true });
  await writeFile(join(OUT, path), text);
}
