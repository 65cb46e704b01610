import type { FastifyInstance } from 'fastify';
import { escapeHtml } from '../kernel/text.ts';
import { brandStyle } from './brand-style.ts';
import { rootElement, serveStaticPages } from './static-pages.ts';

/** What `node scripts/build-console.ts` makes of packages/account. */
const BUILD = new URL('../../packages/account/dist/', import.meta.url);

/** What stands in the source of the page where it is to be what the settings say. */
const BASE = '<base href="/account/" />';
const ROOT = '<html lang="en" data-service="Kith" data-sign-up="closed">';
const TITLE = '<title>Kith</title>';

export interface AccountPages {
  /** Where they are served, with a slash at both ends. */
  readonly path: string;
  /** What people know the service as. */
  readonly service: string;
  /** A picture of it: a path on this host, or a URL. */
  readonly logoUrl: string | undefined;
  /** A color of it, `#rrggbb`. */
  readonly color: string | undefined;
  /** Where people go on once they have signed in: a path on this host, or a URL. */
  readonly homeUrl: string | undefined;
  /** Who may sign up. */
  readonly signUp: 'closed' | 'invitation' | 'open';
  /** Whether people sign in with codes that are mailed. */
  readonly loginCodes: boolean;
}

/**
 * Serves the pages on which people sign in, sign up and take care of their account. Serves nothing, and answers false,
 * where they have not been built.
 */
export function serveAccount(fastify: FastifyInstance, pages: AccountPages, folder: URL = BUILD): Promise<boolean> {
  const { path, service, logoUrl, color, homeUrl, signUp, loginCodes } = pages;
  const root = rootElement({
    service,
    'sign-up': signUp,
    'login-codes': loginCodes ? '' : undefined,
    logo: logoUrl,
    home: homeUrl,
  });
  const link = color === undefined ? '' : '<link rel="stylesheet" href="brand.css" />';
  return serveStaticPages(fastify, {
    path,
    folder,
    budget: 'account_downloads',
    // Functions, since `$` in a text of the settings means nothing.
    toPage: (source) =>
      source
        .replace(BASE, () => `<base href="${path}" />`)
        .replace(ROOT, () => root)
        .replace(TITLE, () => `<title>${escapeHtml(service)}</title>${link}`),
    picture: logoUrl?.startsWith('/') ? undefined : logoUrl,
    styles: color === undefined ? {} : { 'brand.css': brandStyle(color) },
  });
}

/**
 * Leads password managers to the page where a password is changed (https://w3c.github.io/webappsec-change-password-url/).
 * `accountUrl` ends with a slash.
 */
export function serveChangePasswordUrl(fastify: FastifyInstance, accountUrl: string): void {
  fastify.get('/.well-known/change-password', async (_request, reply) =>
    reply.redirect(`${accountUrl}change-password`, 302),
  );
}
