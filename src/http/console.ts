import type { FastifyInstance } from 'fastify';
import { refuseUnknown, serveStaticPages } from './static-pages.ts';

/** What `node scripts/build-console.ts` makes of packages/console. */
const BUILD = new URL('../../packages/console/dist/', import.meta.url);

/** The element of the page that says where the console is; its path stands in the source as the default. */
const BASE = '<base href="/console/" />';

/**
 * Serves the console at a path that has a slash at both ends. The root leads browsers there. Serves nothing, and answers
 * false, where the console has not been built.
 */
export async function serveConsole(fastify: FastifyInstance, path: string, folder: URL = BUILD): Promise<boolean> {
  const isServed = await serveStaticPages(fastify, {
    path,
    folder,
    budget: 'console_downloads',
    toPage: (source) => source.replace(BASE, `<base href="${path}" />`),
  });
  if (!isServed) return false;
  fastify.get('/', async (request, reply) =>
    /\btext\/html\b/.test(request.headers.accept ?? '')
      ? reply.header('vary', 'accept').redirect(path, 302)
      : refuseUnknown('/', request, reply),
  );
  return true;
}
