import { Failure } from '../../kernel/failure.ts';
import type { Tokens } from '../sessions/sessions.ts';

/**
 * The refresh token of a browser, in a cookie that no script can read (docs/decisions/console.md). A call asks for it with
 * a header of its own: no form, link or image can send that, and no page of another origin may (src/rpc/cors.ts).
 */
const HEADER = 'x-kith-session';

/** Bounds what is read of cookies that others have set, characters. */
const COOKIES_MAX = 8192;

/** A header of a call, by its name in lower case. */
export type ReadHeader = (name: string) => string | undefined;

export interface SessionCookies {
  /** Whether browsers reach the server by https, perhaps over a proxy: the cookie never travels without it then. */
  readonly isSecure: boolean;
  /** The origin by which callers know the server, for browsers that do not say where a request comes from. */
  readonly origin: string;
}

/** The cookies of a server that is known by this URL. */
export function sessionCookies(issuer: string): SessionCookies {
  const { origin, protocol } = new URL(issuer);
  return { isSecure: protocol === 'https:', origin };
}

/**
 * Whether a call asks for the session in a cookie. Throws cookie_refused where it does not come from a page of this server:
 * SameSite keeps other sites out, but not other origins of the same site.
 */
export function asksForCookie(header: ReadHeader, { origin }: SessionCookies): boolean {
  const asked = header(HEADER);
  if (asked === undefined) return false;
  if (asked !== 'cookie') throw new Failure('cookie_refused', `${HEADER} must be cookie, or be left out`);
  if (!isOfOwnPage(header, origin)) {
    throw new Failure('cookie_refused', 'only a page of this server may have its session in a cookie');
  }
  return true;
}

/** The refresh token in the cookie of a call. Throws refresh_token_invalid for none, and for more than one. */
export function readCookie(header: ReadHeader, cookies: SessionCookies): string {
  const name = nameOf(cookies);
  const sent = (header('cookie') ?? '').slice(0, COOKIES_MAX).split(';');
  const values = sent.map((pair) => pair.trim()).filter((pair) => pair.startsWith(`${name}=`));
  // Another host of the site may have set one of two: none of them is chosen then.
  if (values.length !== 1) throw new Failure('refresh_token_invalid', 'there is no session in a cookie: sign in');
  return values[0]!.slice(name.length + 1);
}

/** Moves the refresh token of an answer into a cookie. */
export function intoCookie(tokens: Tokens, headers: Headers, cookies: SessionCookies, nowMs: number): Tokens {
  const lifetimeS = Math.max(0, Math.ceil((tokens.refreshExpireMs - nowMs) / 1000));
  headers.append('set-cookie', cookie(tokens.refreshToken, lifetimeS, cookies));
  return { ...tokens, refreshToken: '' };
}

/** Removes the cookie. */
export function removeCookie(headers: Headers, cookies: SessionCookies): void {
  headers.append('set-cookie', cookie('', 0, cookies));
}

/**
 * Without a path, so that browsers take that of the service as they see it, also behind a proxy that serves Kith below a
 * path of its own (RFC 6265, 5.1.4). Without a domain, so that no other host gets it.
 */
function cookie(value: string, maxAgeS: number, cookies: SessionCookies): string {
  const secure = cookies.isSecure ? '; Secure' : '';
  return `${nameOf(cookies)}=${value}; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict${secure}`;
}

/** Browsers take a name with the prefix from a page that came over https alone. */
function nameOf({ isSecure }: SessionCookies): string {
  return isSecure ? '__Secure-kith_session' : 'kith_session';
}

/**
 * Browsers say where a request comes from in sec-fetch-site, over https and to this machine, and in origin otherwise, which
 * is over HTTP/1.1. Scripts can set neither.
 */
function isOfOwnPage(header: ReadHeader, ownOrigin: string): boolean {
  const site = header('sec-fetch-site');
  if (site !== undefined) return site === 'same-origin';
  const origin = header('origin');
  if (origin === undefined || !URL.canParse(origin)) return false;
  return origin === ownOrigin || new URL(origin).host === header('host');
}
