import type { FastifyInstance } from 'fastify';
import type { AccountPages } from './account.ts';
import { MAIL_FRAME } from './mail-frame.ts';
import { refuseUnknown, rootElement, serveStaticPages } from './static-pages.ts';

/** What `node scripts/build-console.ts` makes of packages/console. */
const BUILD = new URL('../../packages/console/dist/', import.meta.url);

/** What stands in the source of the page where it is to be what the settings say. */
const BASE = '<base href="/console/" />';
const ROOT = '<html lang="en">';

export interface ConsolePages extends Pick<AccountPages, 'signUp' | 'loginCodes'> {
  /** Where the console is served, with a slash at both ends. */
  readonly path: string;
  /** Where people sign up, or set a password that they have forgotten: a path on this host, or a URL; with a slash at its end. */
  readonly accountUrl: string | undefined;
}

/**
 * Serves the console. The root leads browsers there. Serves nothing, and answers false, where the console has not been
 * built.
 */
export async function serveConsole(
  fastify: FastifyInstance,
  { path, accountUrl, signUp, loginCodes }: ConsolePages,
  folder: URL = BUILD,
): Promise<boolean> {
  const root = rootElement({
    account: accountUrl,
    'sign-up': signUp,
    'login-codes': loginCodes ? '' : undefined,
  });
  const isServed = await serveStaticPages(fastify, {
    path,
    folder,
    budget: 'console_downloads',
    // A function, since `$` in a URL of the settings means nothing.
    toPage: (source) => source.replace(BASE, `<base href="${path}" />`).replace(ROOT, () => root),
    frames: { 'mail-frame.html': MAIL_FRAME },
  });
  if (!isServed) return false;
  fastify.get('/', async (request, reply) =>
    /\btext\/html\b/.test(request.headers.accept ?? '')
      ? reply.header('vary', 'accept').redirect(path, 302)
      : refuseUnknown('/', request, reply),
  );
  return true;
}
