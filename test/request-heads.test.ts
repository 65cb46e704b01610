import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Kith, startKith } from './support/kith.ts';
import { envelope } from './support/raw-protocols.ts';
import { connectHttp2, http1Request, outcomeOf, type RawAnswer, sendHttp1, sendHttp2 } from './support/raw.ts';

const CHECK = '/grpc.health.v1.Health/Check';
const LOGIN = '/kith.auth.v1.AuthService/Login';
const JSON_TYPE = { 'content-type': 'application/json' };
const MALFORMED = 'InvalidArgument MALFORMED_REQUEST';
const UNSUPPORTED = 'Unimplemented ENCODING_UNSUPPORTED';
const NO_METHOD = 'Unimplemented METHOD_UNKNOWN';

describe.each([
  { ways: 'the fast path and Connect', fastPath: 'true' },
  { ways: 'Connect alone', fastPath: 'false' },
])('served by $ways', ({ fastPath }) => {
  let kith: Kith;
  let authorization: string;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_FAST_PATH: fastPath } });
    authorization = `Bearer ${(await kith.admin()).accessToken}`;
    // So that an answer is long enough to be compressed.
    await Promise.all([1, 2, 3, 4, 5].map(() => kith.user()));
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const raw = (text: string | Uint8Array) => sendHttp1(kith.address, text);
  const http1 = (target: string, headers: Record<string, string> = JSON_TYPE, body: string | Uint8Array = '{}') =>
    raw(http1Request('POST', target, headers, body));
  const http2 = async (headers: Record<string, string>, body: string | Uint8Array = '{}') => {
    await using session = await connectHttp2(kith.address);
    return await sendHttp2(session, { ':path': CHECK, ...JSON_TYPE, ...headers }, body);
  };

  describe('a path', () => {
    const paths = [CHECK, LOGIN, '/healthz', '/readyz', '/.well-known/jwks.json', '/contract.binpb', '/openapi.json'];
    const spellings: readonly (readonly [name: string, expected: string, respell: (path: string) => string])[] = [
      ['a percent-encoded letter', NO_METHOD, (path) => path.replace(/[a-z](?=\w*$)/, percent)],
      ['a percent-encoded slash', NO_METHOD, (path) => `/${path.slice(1).replace('/', '%2f')}%2f`],
      ['a percent-encoded dot', NO_METHOD, (path) => `/%2e${path}`],
      ['percent-encoding that is broken', MALFORMED, (path) => `${path}%f`],
      ['a second slash', NO_METHOD, (path) => `/${path}`],
      ['a slash at the end', NO_METHOD, (path) => `${path}/`],
      ['a semicolon', NO_METHOD, (path) => `${path};x=y`],
      ['a dot segment', NO_METHOD, (path) => `/.${path}`],
      ['two dots', NO_METHOD, (path) => `/x/..${path}`],
      ['another case', NO_METHOD, (path) => path.toUpperCase()],
      ['a fragment', MALFORMED, (path) => `${path}#f`],
      ['a fragment behind a query', MALFORMED, (path) => `${path}?x=y#f`],
    ];
    const cases = spellings.flatMap(([name, expected, respell]) =>
      paths.map((path) => ({ name, expected, path, target: respell(path) })),
    );
    test.each(cases)('with $name is not served: $target', async ({ expected, path, target }) => {
      const isRpc = path === CHECK || path === LOGIN;
      const method = isRpc ? 'POST' : 'GET';
      const body = isRpc ? '{}' : '';
      const answers = [
        await raw(http1Request(method, target, JSON_TYPE, body)),
        await http2({ ':method': method, ':path': target }, body),
      ];
      for (const answer of answers) {
        expect(answer.status).toBe(expected === MALFORMED ? 400 : 404);
        expect(isRpc ? await verdict(answer) : expected).toBe(expected);
      }
    });

    test('is served as it is spelled, with a query or without', async () => {
      for (const target of [CHECK, `${CHECK}?x=%2f`]) {
        expect(await verdict(http1(target))).toBe('ok');
        expect(await verdict(http2({ ':path': target }))).toBe('ok');
      }
    });
  });

  describe('a target', () => {
    test.each(['http://example.org', 'HTTPS://example.org:8443', 'http://[::1]'])(
      'in the form for proxies, %s, is served',
      async (origin) => {
        expect(await verdict(http1(origin + CHECK))).toBe('ok');
        expect(await verdict(http1(`${origin}${CHECK}?x=y`))).toBe('ok');
        expect(await raw(http1Request('GET', `${origin}/healthz`, {}))).toMatchObject({ status: 200 });
        expect(await verdict(http1(`${origin}${CHECK.replace('C', '%43')}`))).toBe(NO_METHOD);
        expect(await verdict(http1(origin))).toBe(NO_METHOD);
      },
    );

    test('in the form for proxies has the host that counts', async () => {
      expect(await verdict(http1(`http://example.org${CHECK}`, { ...JSON_TYPE, host: 'a b' }))).toBe('ok');
    });

    test.each([
      `http://user@example.org${CHECK}`,
      `http://user:secret@example.org${CHECK}`,
      `http://${CHECK}`,
      `http://example.org${CHECK}#f`,
      `ftp://example.org${CHECK}`,
      `example.org${CHECK}`,
      CHECK.slice(1),
      '*',
      'example.org:80',
    ])('that is neither a path nor an HTTP URL is refused: %s', async (target) => {
      expect(await verdict(http1(target))).toBe(MALFORMED);
    });

    test.each(['file', 'http'])('of HTTP/2 is a path, whatever the scheme: %s', async (scheme) => {
      const answer = await http2({ ':scheme': scheme, ':path': `http://example.org${CHECK}` });
      // nghttp2 itself resets the stream where it knows the scheme.
      expect(scheme === 'http' ? answer.status : await verdict(answer)).toBe(scheme === 'http' ? 0 : MALFORMED);
    });
  });

  describe('a host', () => {
    test.each(['localhost', 'EXAMPLE.org:8080', '127.0.0.1', '[::1]:80', 'a_b', 'example.org.', '%2Ftmp%2Fkith.sock'])(
      '%s is taken',
      async (host) => {
        expect(await verdict(http1(CHECK, { ...JSON_TYPE, host }))).toBe('ok');
        expect(await verdict(http2({ ':authority': host }))).toBe('ok');
      },
    );

    test.each(['', 'a/b', 'a/b@c', 'user@example.org', 'user:secret@example.org', 'a b', 'a,b', 'a?b', '::1', 'x:y'])(
      '%j is refused',
      async (host) => {
        // A comma is allowed by the grammar of RFC 3986, and by no registry.
        const expected = host === 'a,b' ? 'ok' : MALFORMED;
        expect(await verdict(http1(CHECK, { ...JSON_TYPE, host }))).toBe(expected);
        const overHttp2 = await http2({ ':authority': host });
        // nghttp2 itself resets the stream for most of them.
        expect(overHttp2.status === 0 ? expected : await verdict(overHttp2)).toBe(expected);
      },
    );

    test.each([
      ['the same', 'host: localhost\r\nhost: localhost'],
      ['another', 'host: localhost\r\nHost: example.org'],
      ['an empty one', 'host: localhost\r\nHOST:'],
    ])('is sent once, and not beside %s', async (_, hosts) => {
      const rest = 'content-type: application/json\r\ncontent-length: 2\r\n\r\n{}';
      expect(await verdict(raw(`POST ${CHECK} HTTP/1.1\r\n${hosts}\r\n${rest}`))).toBe(MALFORMED);
    });

    test('of HTTP/2 is named by :authority and by host alike', async () => {
      expect(await verdict(http2({ ':authority': 'example.org', host: 'example.org' }))).toBe('ok');
      expect(await verdict(http2({ ':authority': 'example.org', host: 'example.com' }))).toBe(MALFORMED);
    });

    // gRPC Core and grpc-swift send the path or the abstract name of the socket, others localhost.
    test.each(['%2Ftmp%2Fkith.sock', '%00kith', 'localhost'])(
      'that gRPC clients send over a Unix socket is taken: %j',
      async (authority) => {
        const grpc = { ':authority': authority, 'content-type': 'application/grpc', te: 'trailers' };
        expect(await verdict(http2(grpc, envelope('')))).toBe('ok');
        expect(await verdict(http2({ ...grpc, ':path': '/nope.v1.Nope/Nope' }, envelope('')))).toBe(NO_METHOD);
      },
    );
  });

  describe('a transfer coding', () => {
    const request = (version: string, codings: string) =>
      `POST ${CHECK} HTTP/${version}\r\nhost: a\r\ncontent-type: application/json\r\n` +
      `transfer-encoding: ${codings}\r\n\r\n2\r\n{}\r\n0\r\n\r\n`;

    test.each(['chunked', 'Chunked'])('%s is taken', async (codings) => {
      expect(await verdict(raw(request('1.1', codings)))).toBe('ok');
    });

    test.each(['gzip, chunked', 'x, chunked', 'identity, chunked'])('%s is refused with 501', async (codings) => {
      const answer = await raw(request('1.1', codings));
      expect(answer.status).toBe(501);
      expect(await verdict(answer)).toBe(UNSUPPORTED);
    });

    // The end of such a body cannot be found (RFC 9112, 6.3).
    test.each(['chunked, gzip', 'xchunked', 'gzip', ''])('%j is refused with 400', async (codings) => {
      expect(await raw(request('1.1', codings))).toMatchObject({ status: 400, headers: { connection: 'close' } });
    });

    test('of HTTP/1.0 is refused, and the connection closed', async () => {
      const answer = await raw(request('1.0', 'chunked'));
      expect(answer).toMatchObject({ status: 400, headers: { connection: 'close' } });
    });
  });

  describe('a media type', () => {
    const parameters = [
      '',
      ';charset=utf-8',
      '; charset=UTF-8',
      ' ;\tCharset="utf-8"',
      ';charset="ut\\f-8"',
      '; charset=utf8',
      '; profile="a;charset=latin1"',
      '; x=y; charset=utf-8',
      ';',
    ];
    const types = ['application/json', 'Application/JSON', 'application/grpc-web+json', 'APPLICATION/GRPC-WEB+JSON'];
    test.each(types.flatMap((type) => parameters.map((each) => type + each)))('%j is understood', async (type) => {
      const body = /grpc/i.test(type) ? envelope('{}') : '{}';
      for (const answer of [http1(CHECK, { 'content-type': type }, body), http2({ 'content-type': type }, body)]) {
        expect(await verdict(answer)).toBe('ok');
      }
    });

    test.each([
      ['application/grpc;charset=utf-8', envelope('')],
      ['application/grpc+proto; charset="UTF-8"', envelope('')],
      ['Application/gRPC', envelope('')],
      ['application/proto; charset=utf-8', ''],
      ['application/proto;messageType="x.Y"', ''],
    ])('%j is understood over HTTP/2', async (type, body) => {
      expect(await verdict(http2({ 'content-type': type, te: 'trailers' }, body))).toBe('ok');
    });

    test('is understood of a stream too', async () => {
      const headers = { ':path': '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo' };
      const type = 'Application/Connect+JSON; charset=utf-8';
      expect(await verdict(http2({ ...headers, 'content-type': type }, ''))).toBe('ok');
    });

    test.each(['latin1', '"ISO-8859-1"', 'utf-16', '""', 'utf-8;charset=utf-7'])(
      'with the charset %s is refused, and the charset named',
      async (charset) => {
        for (const type of [`application/json; charset=${charset}`, `application/grpc-web; charset=${charset}`]) {
          for (const answer of [await http1(CHECK, { 'content-type': type }), await http2({ 'content-type': type })]) {
            expect(answer.status).toBe(type.includes('grpc') ? 200 : 415);
            expect(await verdict(answer)).toBe(UNSUPPORTED);
            expect((await outcomeOf(answer)).message).toContain('the charset of the content-type must be utf-8');
          }
        }
      },
    );

    test.each([
      'application/json; charset',
      'application/json; charset="utf-8',
      'application /json',
      'application/json x',
    ])('%j, which is none, is refused', async (type) => {
      expect(await http1(CHECK, { 'content-type': type })).toMatchObject({ status: 415 });
      expect(await http2({ 'content-type': type })).toMatchObject({ status: 415 });
    });
  });

  describe('a content coding', () => {
    test.each([
      ['GZIP', gzipSync('{}')],
      ['x-gzip', gzipSync('{}')],
      ['X-GZip', gzipSync('{}')],
      ['Br', brotliCompressSync('{}')],
      ['Identity', '{}'],
    ])('%s is understood', async (coding, body) => {
      expect(await verdict(http1(CHECK, { ...JSON_TYPE, 'content-encoding': coding }, body))).toBe('ok');
      expect(await verdict(http2({ 'content-encoding': coding }, body))).toBe('ok');
      const compressed = envelope(body, coding === 'Identity' ? 0 : 1);
      const web = { 'content-type': 'application/grpc-web+json', 'grpc-encoding': coding };
      expect(await verdict(http1(CHECK, web, compressed))).toBe('ok');
    });

    test.each([
      ['GZIP', 'gzip'],
      ['x-gzip', 'gzip'],
      ['br;q=0.1, gzip;q=0.9', 'gzip'],
      ['gzip;q=1.0,deflate;q=0.6,identity;q=0.3', 'gzip'],
      ['gzip;q=0, br', 'br'],
      ['gzip;q=0', undefined],
      ['gzip;q=0.5, identity;q=0.9', undefined],
      ['*;q=0.5', undefined],
    ])('of an answer is chosen from %s', async (accepted, chosen) => {
      const list = `/kith.user.v1.UserService/ListUsers`;
      const answer = await http1(list, { ...JSON_TYPE, authorization, 'accept-encoding': accepted });
      expect(answer.status).toBe(200);
      expect(answer.headers['content-encoding']).toBe(chosen);
    });
  });

  /** Code and reason of what was answered. */
  async function verdict(answer: RawAnswer | Promise<RawAnswer>): Promise<string> {
    const { code, reason } = await outcomeOf(await answer);
    return reason === undefined ? code : `${code} ${reason}`;
  }
});

function percent(letter: string): string {
  return `%${letter.charCodeAt(0).toString(16)}`;
}
