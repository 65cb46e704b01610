import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { serveDocument } from './document.ts';

/** The whole contract with all it imports and its comments, as `npm run generate` builds it: a Buf image, which is a FileDescriptorSet. */
const IMAGE = new URL('../../gen/contract.binpb', import.meta.url);

/** Where the contract is served: tools tell the format of an image by the end of its name. */
const CONTRACT_PATH = '/contract.binpb';

/** Serves the contract as one file from which clients are generated, to anybody. Throws Node's error when the file is not there. */
export async function serveContract(fastify: FastifyInstance): Promise<void> {
  serveDocument(fastify, 'contract_downloads', {
    path: CONTRACT_PATH,
    contentType: 'application/protobuf',
    body: await readFile(IMAGE),
  });
}
