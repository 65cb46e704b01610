import type { IncomingHttpHeaders } from 'node:http';

/** The media types of the protocols that are served. */
const SERVED_TYPE = /^application\/(?:json|proto|(?:connect|grpc|grpc-web)\+(?:json|proto)|grpc|grpc-web)$/;

/** A spelling of which nothing has to be changed. */
const CANONICAL_TYPE = /^[a-z/+-]+$/;

const MEDIA_TYPE = /^[ \t]*([\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+)/;
const PARAMETER =
  /[ \t]*;[ \t]*(?:([\w!#$%&'*+.^`|~-]+)=(?:([\w!#$%&'*+.^`|~-]+)|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*)"))?/y;

/** The names of UTF-8 in a `charset`, in lower case. */
const UTF8 = new Set(['utf-8', 'utf8']);

const CODING_HEADERS = ['content-encoding', 'connect-content-encoding', 'grpc-encoding'] as const;
const ACCEPTED_CODINGS_HEADERS = ['accept-encoding', 'connect-accept-encoding', 'grpc-accept-encoding'] as const;

/**
 * Spells the content type and the content codings of a request as those who serve it
 * compare them: types and codings in lower case (RFC 9110, 8.3.1 and 8.4.1) and
 * without parameters (5.6.6), `gzip` for `x-gzip`, accepted codings in the order of
 * their weights (12.5.3). A value that is malformed, or of a type that is not served,
 * stays as it is.
 *
 * Returns the charset when the content type names another than UTF-8, in lower case.
 */
export function normalizeContentHeaders(headers: IncomingHttpHeaders): string | undefined {
  for (const name of CODING_HEADERS) {
    const value = headers[name];
    if (typeof value === 'string') headers[name] = codingOf(value);
  }
  for (const name of ACCEPTED_CODINGS_HEADERS) {
    const value = headers[name];
    if (typeof value === 'string' && /[A-Z;]|x-gzip/.test(value)) headers[name] = acceptedCodings(value);
  }
  const contentType = headers['content-type'];
  if (contentType === undefined || CANONICAL_TYPE.test(contentType)) return undefined;
  const parsed = parseMediaType(contentType);
  if (parsed === undefined || !SERVED_TYPE.test(parsed.type)) return undefined;
  headers['content-type'] = parsed.type;
  return parsed.charsets.find((charset) => !UTF8.has(charset));
}

/** A media type in lower case and the charsets it names. Undefined for a value that is not one. */
function parseMediaType(value: string): { type: string; charsets: string[] } | undefined {
  const [start, type] = MEDIA_TYPE.exec(value) ?? [];
  if (start === undefined || type === undefined) return undefined;
  const charsets: string[] = [];
  let end = start.length;
  for (;;) {
    PARAMETER.lastIndex = end;
    const parameter = PARAMETER.exec(value);
    if (parameter === null) break;
    end = PARAMETER.lastIndex;
    const [, name, token, quoted] = parameter;
    if (name?.toLowerCase() === 'charset')
      charsets.push((token ?? quoted?.replaceAll(/\\(.)/g, '$1') ?? '').toLowerCase());
  }
  return /^[ \t]*$/.test(value.slice(end)) ? { type: type.toLowerCase(), charsets } : undefined;
}

function codingOf(value: string): string {
  const coding = value.trim().toLowerCase();
  return coding === 'x-gzip' ? 'gzip' : coding;
}

/** The acceptable codings, those with the largest weight first. `identity` ends the list: it is never refused. */
function acceptedCodings(value: string): string {
  const accepted = value
    .split(',')
    .map((item) => {
      const [coding = '', ...parameters] = item.split(';');
      const [, weight = '1'] = /^[ \t]*q=([\d.]*)[ \t]*$/i.exec(parameters[0] ?? '') ?? [];
      return { coding: codingOf(coding), weight: Number(weight) };
    })
    .filter(({ coding, weight }) => coding !== '' && weight > 0)
    .toSorted((a, b) => b.weight - a.weight)
    .map(({ coding }) => coding);
  const identity = accepted.indexOf('identity');
  if (identity >= 0) accepted.splice(identity + 1);
  return accepted.length === 0 ? 'identity' : accepted.join(', ');
}
