import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { create, type DescMethod, type DescService, toBinary, toJsonString } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { trailerFlag, trailerParse } from '@connectrpc/connect/protocol-grpc-web';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { sizeOf } from './support/full-size.ts';
import { type Kith, type SignedIn, startKith } from './support/kith.ts';
import { generator, type Generator as Values } from './support/generator.ts';

/** How many requests are sent to both over plain text, and a tenth of them each other way. 20,000 for the long run. */
const REQUESTS = sizeOf('KITH_TEST_REQUESTS', 1000, 2000);

/** Values of a seed, and whether something happens. */
interface Generator extends Values {
  chance(probability: number): boolean;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string>>;
}

const ORIGIN = 'https://app.example.org';
const WAYS = [
  { name: 'over plain text', requests: REQUESTS, env: {}, headers: {} },
  {
    name: 'over TLS',
    requests: REQUESTS / 10,
    env: {
      KITH_TLS_CERT: 'test/fixtures/tls/localhost-cert.pem',
      KITH_TLS_KEY: 'test/fixtures/tls/localhost-key.pem',
    },
    headers: {},
  },
  {
    name: 'from a page that may call',
    requests: REQUESTS / 10,
    env: { KITH_CORS_ORIGINS: ORIGIN },
    headers: { origin: ORIGIN },
  },
  {
    name: 'from a page that may not',
    requests: REQUESTS / 10,
    env: { KITH_CORS_ORIGINS: ORIGIN },
    headers: { origin: 'https://evil.example.org' },
  },
];

/** How long to wait for an answer before calling it none, milliseconds. */
const HANG_MS = 10_000;
const NO_ANSWER: Answer = { status: -1, headers: {}, body: '', trailers: {} };

/** Fewer than a client may reset. */
const REQUESTS_PER_SESSION = 50;

interface Request {
  readonly httpVersion: 1 | 2;
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Methods that change nothing, so that both servers may be asked, and those that are refused before they would. */
const METHODS: readonly DescMethod[] = [AuthService, UserService, ContactService, ActivityService].flatMap(
  (service: DescService) => service.methods,
);

describe.each(WAYS)('a request $name', ({ requests, env, headers: added }) => {
  let database: TestDatabase;
  let on: Kith;
  let off: Kith;
  let viewer: SignedIn;
  const uses = new WeakMap<http2.ClientHttp2Session, number>();
  const sessions = new Map<Kith, http2.ClientHttp2Session>();

  beforeAll(async () => {
    database = await databases[1]!.create();
    on = await startKith({ database, env: { ...env, KITH_FAST_PATH: 'true' } });
    off = await startKith({ database, env: { ...env, KITH_FAST_PATH: 'false' } });
    viewer = await on.user(Role.EDITOR);
  });

  afterAll(async () => {
    for (const session of sessions.values()) session.destroy();
    for (const agent of agents.values()) agent.destroy();
    agents.clear();
    await on?.stop();
    await off?.stop();
    await database?.[Symbol.asyncDispose]();
  });

  /** A session takes part in few requests: one that resets many streams is ended, as it should be. */
  async function send(kith: Kith, request: Request): Promise<Answer> {
    const sent = request.httpVersion === 1 ? sendHttp1(kith.address, request) : sendHttp2(kith, request);
    return Promise.race([sent, sleep(HANG_MS, NO_ANSWER, { ref: false })]);
  }

  async function sendHttp2(kith: Kith, { method, target, headers, body }: Request): Promise<Answer> {
    let session = sessions.get(kith);
    if (session === undefined || session.closed || session.destroyed || uses.get(session) === REQUESTS_PER_SESSION) {
      session?.close();
      session = http2.connect(kith.address, { rejectUnauthorized: false });
      session.on('error', () => {});
      sessions.set(kith, session);
      await once(session, 'connect');
    }
    uses.set(session, (uses.get(session) ?? 0) + 1);
    const stream = session.request({ ':method': method, ':path': target, ...headers });
    const answer = { status: 0, headers: {}, trailers: {} as Record<string, string> };
    const chunks: Buffer[] = [];
    stream.on('response', (fields) => {
      answer.status = Number(fields[':status']);
      answer.headers = fields;
    });
    stream.on('trailers', (fields) => (answer.trailers = fields as Record<string, string>));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', () => {});
    if (!stream.writableEnded) stream.end(body);
    await new Promise((resolve) => stream.once('close', resolve));
    return comparable(answer.status, answer.headers, Buffer.concat(chunks), answer.trailers);
  }

  test(`is answered alike with the fast path and without, for ${requests} of them, well formed and hostile`, async () => {
    const values = generator(Number(process.env['KITH_TEST_SEED'] ?? 5));
    const chance = (probability: number) => values.below(10_000) < probability * 10_000;
    const differences: unknown[] = [];
    for (let i = 0; i < requests; i++) {
      const generated = generate({ ...values, chance }, viewer);
      const request = { ...generated, headers: { ...generated.headers, ...added } };
      const [fast, slow] = await Promise.all([send(on, request), send(off, request)]);
      if (!isDeepStrictEqual(fast, slow)) {
        differences.push({ request: describeRequest(request), fast, slow });
        if (differences.length > 4) break;
      }
    }
    expect(differences.slice(0, 5)).toEqual([]);
  }, 600_000);
});

function describeRequest({ httpVersion, method, target, headers, body }: Request): string {
  return JSON.stringify({ httpVersion, method, target, headers, body: body.subarray(0, 200).toString('latin1') });
}

/** One request: a method, a way to write it, and perhaps something that is wrong with it. */
function generate({ pick, below, chance }: Generator, { accessToken, user }: SignedIn): Request {
  const method = pick(METHODS);
  const isStream = method.methodKind === 'server_streaming';
  const path = `/${method.parent.typeName}/${method.name}`;
  const httpVersion = pick([1, 2] as const);
  const isBinary = chance(0.5);
  const protocol = pick(['grpc', 'grpc-web', 'connect'] as const);
  const isReading = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  // What could change something is sent without a token, or broken.
  const isSigned = isReading && chance(0.8);
  const headers: Record<string, string> = {
    ...(isSigned
      ? { authorization: `${pick(['Bearer', 'bearer'])} ${accessToken}` }
      : chance(0.3)
        ? { authorization: pick(['Bearer x', 'Basic eDp5', 'Bearer ', `Bearer ${accessToken}x`]) }
        : {}),
    ...(chance(0.3) ? { 'x-request-id': pick(['one', 'a b', 'x'.repeat(200)]) } : {}),
    ...(chance(0.2) ? { 'user-agent': 'test' } : {}),
  };
  const accepted = pick([undefined, undefined, 'gzip', 'br', 'identity', 'deflate, gzip;q=1', 'br,gzip', '*', '']);
  const timeout = chance(0.2)
    ? pick(['0', '0n', '50000', '99999999999', '-1', 'x', '20S', '99999999H', '1H', '50000m', '9999999999'])
    : undefined;
  const message = messageFor(method, user.id, { pick, chance });
  const json = toJsonString(method.input, message);
  const bytes = isBinary ? Buffer.from(toBinary(method.input, message)) : Buffer.from(json);

  if (isReading && protocol === 'connect' && !isStream && chance(0.4)) {
    const query = new URLSearchParams();
    if (chance(0.9)) query.set('encoding', isBinary ? 'proto' : chance(0.9) ? 'json' : 'xml');
    const isBase64 = isBinary || chance(0.5);
    const written = isBase64 ? bytes.toString(pick(['base64url', 'base64'])) : json;
    if (chance(0.95)) query.set('message', chance(0.1) ? `${written}=${pick(['', '=', 'ü'])}` : written);
    if (isBase64) query.set('base64', chance(0.95) ? '1' : '2');
    if (chance(0.3)) query.set('connect', 'v1');
    if (chance(0.1)) query.set('compression', pick(['gzip', 'identity', 'zip', '']));
    if (timeout !== undefined) headers['connect-timeout-ms'] = timeout;
    if (accepted !== undefined) headers['accept-encoding'] = accepted;
    if (chance(0.1)) headers['content-type'] = pick(['application/json', 'text/plain']);
    return { httpVersion, method: 'GET', target: `${path}?${query}`, headers, body: Buffer.alloc(0) };
  }

  const codec = isBinary ? 'proto' : 'json';
  headers['content-type'] =
    protocol === 'connect'
      ? isStream || chance(0.05)
        ? `application/connect+${codec}`
        : `application/${codec}`
      : `application/${protocol}${isBinary && chance(0.5) ? '' : `+${codec}`}`;
  if (chance(0.1)) {
    headers['content-type'] = pick([
      headers['content-type'].toUpperCase(),
      `${headers['content-type']}; charset=utf-8`,
      `${headers['content-type']};charset=utf8`,
      `${headers['content-type']}x`,
      'text/plain',
      'application/grpc-web-text',
      '',
    ]);
  }
  const isEnveloped = protocol !== 'connect' || isStream;
  const names = ENCODING_HEADERS[protocol !== 'connect' ? 'grpc' : isStream ? 'stream' : 'unary'];
  if (accepted !== undefined) headers[names.accepted] = accepted;
  if (timeout !== undefined) headers[protocol === 'connect' ? 'connect-timeout-ms' : 'grpc-timeout'] = timeout;
  if (protocol === 'connect' && chance(0.5)) headers['connect-protocol-version'] = pick(['1', '2']);
  if (protocol === 'grpc' && httpVersion === 2 && chance(0.8)) headers['te'] = 'trailers';

  const spoilt = chance(0.3) ? spoil(bytes, { pick, below, chance }) : bytes;
  let body = spoilt;
  let flags = 0;
  if (chance(0.2)) {
    const encoding = pick(['gzip', 'br', 'identity', 'deflate', 'GZIP', '']);
    headers[names.sent] = encoding;
    if (encoding === 'gzip') body = gzipSync(spoilt);
    if (encoding === 'br') body = brotliCompressSync(spoilt);
    if (body !== spoilt) flags = 1;
    if (chance(0.2)) body = Buffer.from('not compressed at all');
  }
  if (isEnveloped) {
    if (chance(0.1)) flags = below(256);
    const frame = envelope(flags, body);
    body = chance(0.1)
      ? pick([
          frame.subarray(0, below(frame.length)),
          Buffer.concat([frame, frame]),
          Buffer.concat([frame, Buffer.of(0)]),
        ])
      : frame;
    if (chance(0.03)) body = envelope(0, Buffer.alloc(0)).fill(255, 1, 5);
  }
  const httpMethod = chance(0.03) ? pick(['GET', 'PUT', 'DELETE', 'OPTIONS']) : 'POST';
  const target = chance(0.05) ? pick([`${path}?x=1`, `${path}/`, path.toLowerCase(), path.replace('/', '//')]) : path;
  return { httpVersion, method: httpMethod, target, headers, body: httpMethod === 'GET' ? Buffer.alloc(0) : body };
}

/** Headers that say how messages are compressed. */
const ENCODING_HEADERS = {
  unary: { sent: 'content-encoding', accepted: 'accept-encoding' },
  stream: { sent: 'connect-content-encoding', accepted: 'connect-accept-encoding' },
  grpc: { sent: 'grpc-encoding', accepted: 'grpc-accept-encoding' },
} as const;

type Chooser = Pick<Generator, 'pick' | 'chance'>;

/** A message of a method that changes nothing: a read, or something that is refused. */
function messageFor({ input, methodKind }: DescMethod, userId: string, { pick, chance }: Chooser) {
  const fields: Record<string, unknown> = {};
  for (const field of input.fields) {
    if (field.name === 'id' || field.name === 'user_id') fields[field.localName] = chance(0.8) ? userId : 'x';
    // Not so small that there is another page: no page token is given twice.
    if (field.name === 'page_size') fields[field.localName] = pick([0, 1000, -1]);
  }
  // A watch would last: a cursor that is none ends it at once.
  if (methodKind === 'server_streaming') fields['afterCursor'] = 'no cursor';
  return create(input, fields);
}

function spoil(bytes: Buffer, { pick, below, chance }: Pick<Generator, 'pick' | 'below' | 'chance'>): Buffer {
  if (chance(0.05)) return Buffer.alloc(1024 * 1024 + 1 + below(100_000), 'a');
  const copy = Buffer.from(bytes);
  return pick([
    () => copy.subarray(0, below(copy.length + 1)),
    () => Buffer.concat([copy, Buffer.from([0xff, 0xfe])]),
    () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), copy]),
    () => Buffer.from('{"unknownField": 1}'),
    () => Buffer.from('null'),
    () => Buffer.from('[]'),
    () => Buffer.from('{"id": "\\ud800"}'),
    () => Buffer.alloc(0),
    () => Buffer.from([0x80, 0x01, 0x01]),
    () => {
      if (copy.length > 0) copy[below(copy.length)] = below(256);
      return copy;
    },
  ])();
}

function envelope(flags: number, message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** One connection to each server, kept alive. */
const agents = new Map<string, http.Agent>();

async function sendHttp1(address: string, { method, target, headers, body }: Request): Promise<Answer> {
  const { protocol, hostname, port } = new URL(address);
  const client = protocol === 'https:' ? https : http;
  const options = { keepAlive: true, maxSockets: 1, rejectUnauthorized: false };
  const agent = agents.get(address) ?? new client.Agent(options);
  agents.set(address, agent);
  const request = client.request({ hostname, port, method, path: target, headers, agent });
  // Node gives the body of a method that needs none no length, and it would count as the next request.
  if (body.length > 0) request.setHeader('content-length', body.length);
  request.on('error', () => {});
  request.end(body);
  const outcome = await Promise.race([
    once(request, 'response').then(([response]) => response as http.IncomingMessage),
    once(request, 'close').then(() => undefined),
  ]).catch(() => undefined);
  if (outcome === undefined) {
    // The connection may have been closed behind the answer before (https://nodejs.org/api/http.html#requestreusedsocket).
    if (request.reusedSocket) return sendHttp1(address, { httpVersion: 1, method, target, headers, body });
    return comparable(0, {}, Buffer.alloc(0), {});
  }
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of outcome) chunks.push(chunk as Buffer);
  } catch {
    return { ...NO_ANSWER, body: 'cut off' };
  }
  return comparable(outcome.statusCode ?? 0, outcome.headers, Buffer.concat(chunks), outcome.trailers as never);
}

/** The cursor to go on from a list or a copy: where the log ends moves on, whoever calls. In binary its length is before it. */
const CURSOR = /(?:.(?=[\w-]{100}))?[\w-]{100,1000}(?="|$|[^\w.-])/g;

/** What must be the same: not the date, nor an id that the server made, nor how HTTP/1.1 frames the body. */
function comparable(
  status: number,
  headers: http.IncomingHttpHeaders | http2.IncomingHttpHeaders,
  body: Buffer,
  trailers: Readonly<Record<string, string>>,
): Answer {
  const kept = Object.entries(headers).filter(
    ([name]) => !['date', ':status', 'connection', 'keep-alive', 'transfer-encoding', 'content-length'].includes(name),
  );
  const shown = Object.fromEntries(
    kept.map(([name, value]) => [
      name,
      name === 'x-request-id' && String(value).length === 36 ? 'made' : String(value),
    ]),
  );
  return {
    status,
    headers: shown,
    body: frames(headers, body).replaceAll(CURSOR, 'made'),
    trailers: { ...trailers },
  };
}

/** The flag of a frame that is compressed (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). */
const COMPRESSED = 1;

/** A body as text in which trailers of gRPC-Web stand in one order, and a message is not escaped more than it has to be. */
function frames(headers: http.IncomingHttpHeaders | http2.IncomingHttpHeaders, body: Buffer): string {
  const isGrpcWeb = headers['content-type']?.startsWith('application/grpc-web') === true;
  const flags = body[0] ?? 0;
  if (!isGrpcWeb || body.length < 5 || (flags & trailerFlag) === 0) return body.toString('latin1');
  const unpack = headers['grpc-encoding'] === 'br' ? brotliDecompressSync : gunzipSync;
  // Long trailers are compressed, as messages are.
  const block = (flags & COMPRESSED) === 0 ? body.subarray(5) : unpack(body.subarray(5));
  const trailers = [...trailerParse(block)].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(
    trailers.map(([name, value]) => [name, name === 'grpc-message' ? decodeURIComponent(value) : value]),
  );
}
