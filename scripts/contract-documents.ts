/**
 * Write what is made from the contract for people and tools: docs/reference/, gen/openapi.json and gen/errors.html.
 *
 * `contract-documents.ts [dir]` writes them below another folder, to be compared. The contract is that of gen/.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorPage } from './contract/error-page.ts';
import { openApiDocument } from './contract/openapi.ts';
import { referencePages } from './contract/reference.ts';
import { commentsOf } from '../src/rpc/contract-comments.ts';
import { readContractImage } from '../src/rpc/contract-image.ts';

const out = process.argv[2] ?? '.';
const commentOf = commentsOf(readContractImage());

const reference = join(out, 'docs/reference');
await rm(reference, { recursive: true, force: true });
await mkdir(reference, { recursive: true });
for (const [name, text] of referencePages(commentOf)) await writeFile(join(reference, name), text);

await mkdir(join(out, 'gen'), { recursive: true });
await writeFile(join(out, 'gen/openapi.json'), `${JSON.stringify(openApiDocument(commentOf), undefined, 2)}\n`);
await writeFile(join(out, 'gen/errors.html'), errorPage(commentOf));
