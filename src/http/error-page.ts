import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { serveDocument } from './document.ts';

/** Every reason of a refusal with what to do, as `npm run generate` writes it. */
const PAGE = new URL('../../gen/errors.html', import.meta.url);

/**
 * Serves `/errors`, which has each reason of a refusal under its name, `/errors#ERROR_REASON_USER_NOT_FOUND` for example, to
 * anybody. Throws Node's error when the file is not there.
 */
export async function serveErrorPage(fastify: FastifyInstance): Promise<void> {
  serveDocument(fastify, 'error_page_downloads', {
    path: '/errors',
    contentType: 'text/html; charset=utf-8',
    body: await readFile(PAGE),
  });
}
