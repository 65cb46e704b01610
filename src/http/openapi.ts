import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { serveDocument } from './document.ts';

/** The contract as OpenAPI 3.1, as `npm run generate` writes it. */
const DOCUMENT = new URL('../../gen/openapi.json', import.meta.url);

/** Serves the contract as OpenAPI to anybody. Throws Node's error when the file is not there. */
export async function serveOpenApi(fastify: FastifyInstance): Promise<void> {
  serveDocument(fastify, 'openapi_downloads', {
    path: '/openapi.json',
    contentType: 'application/json',
    body: await readFile(DOCUMENT),
  });
}
