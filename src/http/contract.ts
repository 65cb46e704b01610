import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { CONTRACT_IMAGE } from '../rpc/contract-image.ts';
import { serveDocument } from './document.ts';

/** Where the contract is served: tools tell the format of an image by the end of its name. */
const CONTRACT_PATH = '/contract.binpb';

/** Serves the contract as one file from which clients are generated, to anybody. Throws Node's error when the file is not there. */
export async function serveContract(fastify: FastifyInstance): Promise<void> {
  serveDocument(fastify, 'contract_downloads', {
    path: CONTRACT_PATH,
    contentType: 'application/protobuf',
    body: await readFile(CONTRACT_IMAGE),
  });
}
