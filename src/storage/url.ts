import { isIPv6 } from 'node:net';
import { isPercentEncoded } from '../kernel/text.ts';

/** A URL that names no database; the message says what to write instead, and nothing of the URL. */
export class DatabaseUrlError extends Error {
  override readonly name = 'DatabaseUrlError';
}

export const SQLITE = 'sqlite:';

/** What may be written, for errors and help. */
export const DATABASE_URL_FORMS = 'sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE';

/** Connection parameters that the driver heeds, each with the values that it tells apart, if those are few. */
const PARAMETERS: Readonly<Record<string, readonly string[] | undefined>> = {
  host: undefined,
  port: undefined,
  user: undefined,
  password: undefined,
  ssl: ['true', 'false', '1', '0', 'no-verify'],
  sslmode: ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'],
  sslcert: undefined,
  sslkey: undefined,
  sslrootcert: undefined,
  sslnegotiation: ['postgres', 'direct'],
  uselibpqcompat: ['true', 'false'],
  options: undefined,
  application_name: undefined,
  fallback_application_name: undefined,
};

/**
 * Checks a URL of KITH_DATABASE_URL, which is returned as the drivers read it. Throws DatabaseUrlError for one
 * that some program reads in another way than this one does, since the data would then
 * lie somewhere else than somebody thinks.
 */
export function checkDatabaseUrl(url: string): string {
  if (url.startsWith(SQLITE)) {
    checkPath(url.slice(SQLITE.length));
    return url;
  }
  if (!/^postgres(ql)?:\/\//.test(url)) throw new DatabaseUrlError(`it must be ${DATABASE_URL_FORMS}`);
  const [, address = '', query = ''] = /^([^?]*)(.*)$/s.exec(url) ?? [];
  const written = address + query.replaceAll(' ', '%20'); // options=-c search_path=kith
  checkServerUrl(written);
  return written;
}

/** What can be shown of a URL that was refused: all of it where it cannot hold a password, else how it begins. */
export function shownRefusedUrl(url: string): string {
  if (/^sqlite:/i.test(url)) return url.replace(/[?#].*/s, '?...');
  if (!/[@?#]|:.*:/s.test(url)) return url;
  const scheme = /^[a-z][a-z\d+.-]*:\/\//i.exec(url)?.[0];
  return `${scheme ?? ''}...`;
}

function checkPath(path: string): void {
  if (path === '' || path === ':memory:') throw new DatabaseUrlError(`it must be ${DATABASE_URL_FORMS}`);
  const refuse = (why: string): never => {
    throw new DatabaseUrlError(`it must be sqlite: and the path of a file, ${why}`);
  };
  if (/^file:/i.test(path)) refuse('not a file: URI');
  if (path.startsWith('//')) refuse('without // before it: sqlite:data/kith.db or sqlite:/data/kith.db');
  if (path.startsWith('~')) refuse('written out: nothing stands in for ~');
  if (/\$[\w({]/.test(path)) refuse('written out: nothing stands in for variables');
  if (path.includes('?')) refuse('without parameters: there is no ? in it');
  if (/%[\da-f]{2}/i.test(path)) refuse('as it is: nothing stands in for %XX');
  if (/^:|:memory:/.test(path)) refuse('since nothing is kept in memory');
  if (/(^|\/)(\.{0,2}|\s+)$/.test(path)) refuse('not of a directory');
  if (/^\s/.test(path)) refuse('without blanks before it');
}

/** Every form that the WHATWG parser of the driver would take for another host, user or database than was meant. */
function checkServerUrl(url: string): void {
  const refuse = (why: string): never => {
    throw new DatabaseUrlError(`it must be postgres://USER:PASSWORD@HOST/DATABASE, ${why}`);
  };
  const encoded = 'with @ : / ? # % and blanks in USER and PASSWORD written as %40 %3A %2F %3F %23 %25 %20';
  if (/[\s#]/.test(url) || !isPercentEncoded(url)) refuse(encoded);
  const [, authority = '', path = '', query = ''] = /^\w+:\/\/([^/?]*)([^?]*)(.*)$/.exec(url) ?? [];
  if (/[@:]|\/.*\//.test(path) || query.includes('@')) refuse(encoded);
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  if (host.includes(',')) refuse('with one HOST');
  const [, name = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(host) ?? refuse(encoded);
  if (port !== undefined && !isPort(port)) refuse(`with a port from 1 to 65535 behind HOST, and ${encoded}`);
  if (name.startsWith('[') ? !isIPv6(name.slice(1, -1)) : !/^[\w.%-]*$/.test(name)) refuse(`and ${encoded}`);
  checkParameters(new URLSearchParams(query), refuse);
}

function checkParameters(parameters: URLSearchParams, refuse: (why: string) => never): void {
  for (const [name, value] of parameters) {
    if (!Object.hasOwn(PARAMETERS, name)) {
      refuse(
        `with no parameter ${/^\w+$/.test(name) ? name : 'of that name'}; there are ${Object.keys(PARAMETERS).join(', ')}`,
      );
    }
    const values = PARAMETERS[name];
    if (values !== undefined && !values.includes(value)) refuse(`with ${name} one of ${values.join(', ')}`);
    if (name === 'port' && !isPort(value)) refuse('with a port from 1 to 65535');
    if (name === 'host' && value.includes(',')) refuse('with one host');
    if (parameters.getAll(name).length > 1) refuse(`with ${name} once`);
  }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535;
}
