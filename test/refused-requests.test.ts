import { brotliCompressSync, gzipSync } from 'node:zlib';
import { create, type DescMethodUnary, toBinary, toJsonString } from '@bufbuild/protobuf';
import type { ClientHttp2Session } from 'node:http2';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { type Kith, type Refusal, refusalOf, type SignedIn, startKith, protocols } from './support/kith.ts';
import { envelope } from './support/raw-protocols.ts';
import { connectHttp2, http1Request, outcomeOf, type RawAnswer, sendHttp1, sendHttp2 } from './support/raw.ts';

/** What is wrong with a request, in both formats, and how it is refused. */
interface Shape {
  readonly name: string;
  readonly method: DescMethodUnary;
  readonly proto: Buffer;
  readonly json: string;
  readonly reasons: readonly string[];
}

const { login } = AuthService.method;
const { createContact, listContacts } = ContactService.method;
const bytes = (...values: number[]) => Buffer.from(values);

const UNKNOWN = ['FIELD_UNKNOWN', 'MALFORMED_REQUEST'];
const MALFORMED = ['MALFORMED_REQUEST'];
const INVALID = ['FIELDS_INVALID'];
const TOO_LARGE = ['REQUEST_TOO_LARGE'];

const many = (length: number) => Array.from({ length }, () => ({}));
const emails = create(createContact.input, { emails: many(21) });
const long = create(createContact.input, { givenName: 'x'.repeat(3000) });
const query = create(listContacts.input, { query: 'x'.repeat(2000) });

const SHAPES: readonly Shape[] = [
  {
    name: 'unknown fields',
    method: login,
    proto: Buffer.alloc(60_000, bytes(0xa0, 6)),
    json: `{${'"a":1,'.repeat(9000)}"a":1}`,
    reasons: UNKNOWN,
  },
  {
    name: 'unknown fields for somebody signed in',
    method: createContact,
    proto: Buffer.alloc(900_000, bytes(0xa0, 6)),
    json: `{${'"a":1,'.repeat(90_000)}"a":1}`,
    reasons: UNKNOWN,
  },
  {
    name: 'too many items',
    method: createContact,
    proto: Buffer.from(toBinary(createContact.input, emails)),
    json: toJsonString(createContact.input, emails),
    reasons: INVALID,
  },
  {
    name: 'hundreds of thousands of items',
    method: createContact,
    proto: Buffer.alloc(900_000, bytes(0x2a, 0)),
    json: `{"emails":[${'{},'.repeat(200_000)}{}]}`,
    reasons: INVALID,
  },
  {
    name: 'a long text',
    method: createContact,
    proto: Buffer.from(toBinary(createContact.input, long)),
    json: toJsonString(createContact.input, long),
    reasons: INVALID,
  },
  {
    name: 'a long text in a read',
    method: listContacts,
    proto: Buffer.from(toBinary(listContacts.input, query)),
    json: toJsonString(listContacts.input, query),
    reasons: INVALID,
  },
  {
    name: 'an unknown field in a read',
    method: listContacts,
    proto: bytes(0xa0, 6, 1),
    json: '{"pageSise":1}',
    reasons: UNKNOWN,
  },
  {
    name: 'nesting',
    method: createContact,
    proto: Buffer.alloc(900_000, bytes(0x4b)),
    json: '{"birthday":'.repeat(70_000),
    reasons: MALFORMED,
  },
  {
    name: 'one field again and again',
    method: createContact,
    proto: Buffer.alloc(900_000, bytes(0x58, 1)),
    json: `{${'"starred":true,'.repeat(50_000)}"starred":true}`,
    reasons: MALFORMED,
  },
  {
    name: 'what breaks off',
    method: createContact,
    proto: bytes(0x0a, 5, 0x41),
    json: '{"givenName":"A',
    reasons: MALFORMED,
  },
  {
    name: 'more than anybody needs',
    method: login,
    proto: Buffer.alloc(66_000, bytes(0x0a, 0)),
    json: ' '.repeat(66_000),
    reasons: TOO_LARGE,
  },
  {
    name: 'more than the server reads',
    method: createContact,
    proto: Buffer.alloc(1_100_000, bytes(0x0a, 0)),
    json: ' '.repeat(1_100_000),
    reasons: TOO_LARGE,
  },
];

const ENCODINGS: Readonly<Record<string, (message: Buffer) => Buffer>> = {
  identity: (message) => message,
  gzip: (message) => gzipSync(message),
  br: (message) => brotliCompressSync(message),
};

interface Sent {
  readonly path: string;
  readonly format: 'json' | 'proto';
  readonly encoding: string;
  readonly message: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

type Send = (server: Server, sent: Sent) => Promise<RawAnswer>;

const SENDERS: Readonly<Record<string, Send>> = {
  'gRPC over HTTP/2': ({ session }, { path, format, encoding, message, headers }) =>
    sendHttp2(
      session,
      {
        ':path': path,
        'content-type': `application/grpc+${format}`,
        'grpc-encoding': encoding,
        te: 'trailers',
        ...headers,
      },
      envelope(message, encoding === 'identity' ? 0 : 1),
    ),
  'gRPC-Web over HTTP/1.1': ({ kith }, { path, format, encoding, message, headers }) =>
    sendHttp1(
      kith.address,
      http1Request(
        'POST',
        path,
        { 'content-type': `application/grpc-web+${format}`, 'grpc-encoding': encoding, ...headers },
        envelope(message, encoding === 'identity' ? 0 : 1),
      ),
    ),
  'Connect over HTTP/2': ({ session }, { path, format, encoding, message, headers }) =>
    sendHttp2(
      session,
      { ':path': path, 'content-type': `application/${format}`, 'content-encoding': encoding, ...headers },
      message,
    ),
  'Connect over HTTP/1.1': ({ kith }, { path, format, encoding, message, headers }) =>
    sendHttp1(
      kith.address,
      http1Request(
        'POST',
        path,
        { 'content-type': `application/${format}`, 'content-encoding': encoding, ...headers },
        message,
      ),
    ),
  'Connect GET': ({ kith }, { path, format, encoding, message, headers }) => {
    const written = message.toString('base64url');
    const target = `${path}?connect=v1&base64=1&encoding=${format}&compression=${encoding}&message=${written}`;
    return sendHttp1(kith.address, http1Request('GET', target, headers));
  },
};

interface Server {
  readonly kith: Kith;
  readonly session: ClientHttp2Session;
}

type CallTooLarge = (server: Server, caller: SignedIn, length: number) => Promise<Refusal>;

/** Ways to send a message that may be answered before its end, and goes on. */
const TOO_LARGE_WAYS: readonly (readonly [name: string, call: CallTooLarge])[] = [
  ...(['gRPC over HTTP/2', 'Connect over HTTP/2'] as const).flatMap((protocol) =>
    [true, false].map((saysLength): [string, CallTooLarge] => [
      `${protocol} ${saysLength ? 'with' : 'without'} its length`,
      async (server, { accessToken }, length) => {
        const message = Buffer.alloc(length, bytes(0x0a, 0));
        const contentLength = protocol === 'gRPC over HTTP/2' ? length + 5 : length;
        const headers = {
          authorization: `Bearer ${accessToken}`,
          ...(saysLength && { 'content-length': String(contentLength) }),
        };
        const path = `/${createContact.parent.typeName}/${createContact.name}`;
        return outcomeOf(
          await SENDERS[protocol]!(server, { path, format: 'proto', encoding: 'identity', message, headers }),
        );
      },
    ]),
  ),
  ...protocols
    .filter(({ name }) => !name.includes('GET'))
    .map(({ name, transport }): [string, CallTooLarge] => [
      `${name} by a client of Connect-ES`,
      ({ kith }, { accessToken }, length) =>
        refusalOf(
          createClient(ContactService, transport(kith.address, accessToken)).createContact({
            givenName: 'x'.repeat(length),
          }),
        ),
    ]),
];

describe('what is refused by its bytes', () => {
  let database: TestDatabase;
  let fast: Server;
  let slow: Server;
  let editor: SignedIn;

  beforeAll(async () => {
    database = await databases[1]!.create();
    const start = async (fastPath: string): Promise<Server> => {
      const kith = await startKith({ database, env: { KITH_FAST_PATH: fastPath } });
      return { kith, session: await connectHttp2(kith.address) };
    };
    fast = await start('true');
    slow = await start('false');
    editor = await fast.kith.user(Role.EDITOR);
  });

  afterAll(async () => {
    for (const server of [fast, slow]) {
      server?.session.destroy();
      await server?.kith.stop();
    }
    await database?.[Symbol.asyncDispose]();
  });

  const cases = SHAPES.flatMap((shape) =>
    (['proto', 'json'] as const).flatMap((format) =>
      Object.keys(ENCODINGS).flatMap((encoding) =>
        Object.keys(SENDERS)
          .filter((protocol) => protocol !== 'Connect GET' || shape.method === listContacts)
          .map((protocol) => ({ shape, name: shape.name, format, encoding, protocol })),
      ),
    ),
  );

  test.each(cases)(
    'is refused alike with the fast path and without: $name in $format as $encoding, $protocol',
    async ({ shape, format, encoding, protocol }) => {
      const { method } = shape;
      const message = ENCODINGS[encoding]!(format === 'proto' ? shape.proto : Buffer.from(shape.json));
      const headers: Record<string, string> = method === login ? {} : { authorization: `Bearer ${editor.accessToken}` };
      const sent = { path: `/${method.parent.typeName}/${method.name}`, format, encoding, message, headers };
      const answers = await Promise.all(
        [fast, slow].map(async (server) => outcomeOf(await SENDERS[protocol]!(server, sent))),
      );
      expect(shape.reasons).toContain(answers[0]?.reason);
      expect(answers[0]).toEqual(answers[1]);
    },
  );

  /** 16 of the largest messages would take all that one caller may hold. */
  const CALLS = 20;
  test.each(
    TOO_LARGE_WAYS.flatMap(([way, call]) =>
      ['true', 'false'].map((fastPath): [string, string, typeof call] => [way, fastPath, call]),
    ),
  )('is not held once it is answered, of whatever size: %s, fast path %s', async (_, fastPath, call) => {
    const server = fastPath === 'true' ? fast : slow;
    const reasons = new Set<string | undefined>();
    for (let i = 0; i < CALLS; i++) {
      reasons.add((await call(server, editor, fast.kith.config.messageBytesMax + 100)).reason);
    }
    expect(reasons).toEqual(new Set(TOO_LARGE));
  });
});
