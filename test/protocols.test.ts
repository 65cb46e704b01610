import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { connect as netConnect } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { connect as tlsConnect } from 'node:tls';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import {
  create,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  fromJsonString,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
  toJsonString,
} from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import type { Compression } from '@connectrpc/connect/protocol';
import {
  compressionBrotli,
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { Health } from '../gen/health/v1/health_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService, ListContactsResponseSchema } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { PASSWORD_COST } from '../src/identity/passwords/passwords.ts';
import { SERVICES } from '../src/services.ts';
import { castOf, derive, exampledMethods, expectAnswer } from './support/examples.ts';
import { type Kith, type Refusal, refusalOf, type SignedIn, startKith, protocols } from './support/kith.ts';
import { sendHttp1 } from './support/raw.ts';
import { startRelay } from './support/relay.ts';

const CERTIFICATE = 'test/fixtures/tls/localhost-cert.pem';
const TLS = { KITH_TLS_CERT: CERTIFICATE, KITH_TLS_KEY: 'test/fixtures/tls/localhost-key.pem' };

/** Calls that are refused with a detail that every protocol has to carry. */
const refusals: readonly {
  readonly name: string;
  arrange(kith: Kith): Promise<{ method: DescMethodUnary; request: Record<string, unknown>; accessToken?: string }>;
  readonly code: keyof typeof Code;
  readonly reason: string;
  readonly metadata: Record<string, string>;
}[] = [
  {
    name: 'a call without a token',
    arrange: async () => ({ method: AuthService.method.userMe, request: {} }),
    code: 'Unauthenticated',
    reason: 'ACCESS_TOKEN_MISSING',
    metadata: {},
  },
  {
    name: 'a wrong password',
    arrange: async () => ({ method: AuthService.method.login, request: { identifier: 'admin', password: 'wrong' } }),
    code: 'Unauthenticated',
    reason: 'CREDENTIALS_INVALID',
    metadata: {},
  },
  {
    name: 'a missing permission',
    arrange: async (kith) => ({
      method: UserService.method.listUsers,
      request: {},
      accessToken: (await kith.user()).accessToken,
    }),
    code: 'PermissionDenied',
    reason: 'PERMISSION_MISSING',
    metadata: { permission: 'PERMISSION_USERS_READ' },
  },
  {
    name: 'a missing contact',
    arrange: async (kith) => ({
      method: ContactService.method.getContact,
      request: { contactId: randomUUID() },
      accessToken: (await kith.user()).accessToken,
    }),
    code: 'NotFound',
    reason: 'CONTACT_NOT_FOUND',
    metadata: {},
  },
  {
    name: 'another etag',
    async arrange(kith) {
      const { user, accessToken } = await kith.user();
      const request = { userId: user.id, etag: 'another', name: 'Ω' };
      return { method: UserService.method.updateUser, request, accessToken };
    },
    code: 'Aborted',
    reason: 'ETAG_MISMATCH',
    metadata: {},
  },
  {
    name: 'a taken username',
    async arrange(kith) {
      const { user } = await kith.user();
      const request = { username: user.username, email: 'free@example.org', name: 'X', password: 'long enough' };
      const { accessToken } = await kith.admin();
      return { method: UserService.method.createUser, request, accessToken };
    },
    code: 'AlreadyExists',
    reason: 'USERNAME_TAKEN',
    metadata: {},
  },
  {
    name: 'a list with broken fields',
    arrange: async (kith) => ({
      method: UserService.method.listUsers,
      request: { pageSize: -1, query: 'x'.repeat(101) },
      accessToken: (await kith.user(Role.EDITOR)).accessToken,
    }),
    code: 'InvalidArgument',
    reason: 'FIELDS_INVALID',
    metadata: {},
  },
  {
    name: 'an unknown method',
    arrange: async () => ({ method: renamed(AuthService.method.userMe, { method: 'UserYou' }), request: {} }),
    code: 'Unimplemented',
    reason: 'METHOD_UNKNOWN',
    metadata: {},
  },
  {
    name: 'an unknown service',
    arrange: async () => ({ method: renamed(AuthService.method.userMe, { service: 'kith.auth.v9.X' }), request: {} }),
    code: 'Unimplemented',
    reason: 'METHOD_UNKNOWN',
    metadata: {},
  },
];

test('every unary method that is served is called here', async () => {
  await using kith = await startKith();
  async function* ask() {
    yield { messageRequest: { case: 'listServices' as const, value: '' } };
  }
  const served: string[] = [];
  for await (const { messageResponse } of kith.client(ServerReflection).serverReflectionInfo(ask())) {
    if (messageResponse.case === 'listServicesResponse') {
      served.push(...messageResponse.value.service.map(({ name }) => name));
    }
  }
  expect(served.filter((name) => !name.startsWith('grpc.')).toSorted()).toEqual(
    SERVICES.map(({ typeName }): string => typeName).toSorted(),
  );
  const methods = SERVICES.flatMap((service: DescService) =>
    service.methods.filter(({ methodKind }) => methodKind === 'unary').map(({ name }) => `${service.typeName}/${name}`),
  );
  expect(exampledMethods.map(({ name }) => name)).toEqual(methods);
});

test('a method without a written example is called with the ids of what is made for the caller', async () => {
  await using kith = await startKith();
  const transport = protocols[0]!.transport(kith.address);
  const { createContact, getContact, listContacts, deleteContact } = ContactService.method;
  for (const method of [createContact, getContact, listContacts, deleteContact] as readonly DescMethodUnary[]) {
    const derived = await derive(method, castOf(kith));
    const { message } = await call(transport, method, derived.request, derived.accessToken);
    await expectAnswer(message, derived);
    const other = toJsonString(method.output, message).replaceAll(/"(?<field>id|company)":"[^"]+"/g, '"$<field>":7');
    await expect(expectAnswer(JSON.parse(other), derived)).rejects.toThrow('7');
  }
});

describe.each([
  { port: 'the plaintext port', env: {} },
  { port: 'the TLS port', env: TLS },
])('on $port', ({ port, env }) => {
  // What TLS carries does not depend on the method: there each method is called over one protocol, each protocol by some.
  const share = (all: typeof exampledMethods, protocol: number) =>
    port === 'the TLS port' ? all.filter((_, i) => i % protocols.length === protocol) : all;

  let kith: Kith;
  let transports: ReadonlyMap<string, Transport>;

  beforeAll(async () => {
    kith = await startKith({ env });
    transports = new Map(protocols.map(({ name, transport }) => [name, transport(kith.address)]));
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  describe.each(protocols.map(({ name }, i) => ({ protocol: name, methods: share(exampledMethods, i) })))(
    '$protocol',
    ({ protocol, methods }) => {
      test.each(methods)('$name answers', async ({ method, example }) => {
        const good = await example(kith);
        const { message } = await call(transports.get(protocol)!, method, good.request, good.accessToken);
        await expectAnswer(message, good);
      });

      test('many calls at once get each its own answer', async () => {
        const users = await Promise.all(Array.from({ length: 5 }, () => kith.user()));
        const callers = [...users, ...users, ...users, ...users];
        const answers = await Promise.all(
          callers.map(({ accessToken }) => call(transports.get(protocol)!, AuthService.method.userMe, {}, accessToken)),
        );
        expect(answers.map(({ message }) => message.user?.id)).toEqual(callers.map(({ user }) => user.id));
      });
    },
  );

  const reads = exampledMethods.filter(({ method }) => isRead(method));
  const CLOCK_TIME = /\d?\d:\d\d(?::\d\d)?/g;
  /** Answers of the moment: connections, streams and times are others in each. */
  const momentary = new Set(['kith.admin.v1.AdminService/GetStatus']);
  test.each(reads)('$name answers the same over every protocol', async ({ name, method, example }) => {
    const { accessToken, request } = await example(kith);
    const answers: unknown[] = [];
    for (const transport of transports.values()) {
      const { message } = await call(transport, method, request, accessToken);
      const answer = toJson(method.output, message) as {
        watchCursor?: string;
        nextPageToken?: string;
        nextCursor?: string;
        process?: { currentTime?: string };
        text?: string | undefined;
        html?: string | undefined;
      };
      delete answer.process?.currentTime;
      // Where the log ends moves on, whoever calls, and page tokens are sealed anew each time.
      if (name.endsWith('/ListUserActivity')) delete answer.watchCursor;
      // Mails tell the second that they were made in.
      answer.text = answer.text?.replaceAll(CLOCK_TIME, 'a time');
      answer.html = answer.html?.replaceAll(CLOCK_TIME, 'a time');
      if (answer.nextPageToken !== undefined) answer.nextPageToken = 'there is one';
      if (answer.nextCursor !== undefined) answer.nextCursor = 'there is one';
      answers.push(momentary.has(name) ? Object.keys(answer) : answer);
    }
    expect(answers).toEqual(answers.map(() => answers[0]));
  });

  test.each(refusals)('$name is refused alike over every protocol', async ({ arrange, code, reason, metadata }) => {
    const { method, request, accessToken } = await arrange(kith);
    const seen: Refusal[] = [];
    for (const transport of transports.values()) {
      seen.push(await refusalOf(call(transport, method, request, accessToken)));
    }
    expect(seen[0]).toMatchObject({ code, reason, metadata });
    expect(seen).toEqual(seen.map(() => seen[0]));
  });
});

describe('every protocol', () => {
  let kith: Kith;
  /** With passwords that take as long as those of people. */
  let hashing: Kith;
  let editor: SignedIn;
  beforeAll(async () => {
    kith = await startKith();
    hashing = await startKith({ server: { passwordCost: PASSWORD_COST } });
    editor = await kith.user(Role.EDITOR);
  });
  afterAll(async () => {
    for (const server of [kith, hashing]) await server[Symbol.asyncDispose]();
  });

  test.each(protocols)('is what its name says: $name', async ({ name, transport }) => {
    await using relay = await startRelay(kith.port);
    await call(transport(relay.address), UserService.method.listUsers, {}, editor.accessToken);
    expect(relay.sent()).toMatch(requestOver(name));
  });

  test.each(protocols)('carries field violations: $name', async ({ transport }) => {
    const refused = call(transport(kith.address), UserService.method.getUser, { userId: 'x' }, editor.accessToken);
    const error = ConnectError.from(await refused.catch((thrown: unknown) => thrown));
    const [violations] = error.findDetails(ViolationsSchema);
    expect(violations?.violations.map(({ field, ruleId }) => [field?.elements[0]?.fieldName, ruleId])).toEqual([
      ['user_id', 'string.uuid'],
    ]);
  });

  test.each(protocols)('returns a request id of the server, another each time: $name', async ({ transport }) => {
    const to = transport(kith.address);
    const ids = [
      await requestIdOf(to, editor.accessToken),
      await requestIdOf(to, editor.accessToken),
      await requestIdOf(to, undefined),
      await requestIdOf(to, undefined),
    ];
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each(protocols)('keeps the caller’s own request id: $name', async ({ transport }) => {
    const to = transport(kith.address);
    expect(await requestIdOf(to, editor.accessToken, 'mine/1.a:b=+_-')).toBe('mine/1.a:b=+_-');
    expect(await requestIdOf(to, undefined, 'y'.repeat(128))).toBe('y'.repeat(128));
  });

  test.each(['with blanks', '{"json":1}', 'y'.repeat(129), 'quote"', '<script>'])(
    'replaces a request id that could forge a log line or a header: %s',
    async (requestId) => {
      for (const { transport } of protocols) {
        const to = transport(kith.address);
        expect(await requestIdOf(to, undefined, requestId)).toMatch(/^[0-9a-f-]{36}$/);
      }
    },
  );

  test.each(protocols)('refuses what did not end within the caller’s deadline: $name', async ({ transport }) => {
    // The hash of another server takes longer than a millisecond. The headers are set by hand, so only the server counts.
    const refusal = await refusalOf(
      call(transport(hashing.address), AuthService.method.login, { identifier: 'admin', password: 'x' }, undefined, {
        'grpc-timeout': '1m',
        'connect-timeout-ms': '1',
      }),
    );
    expect(refusal).toMatchObject({ code: 'DeadlineExceeded', reason: 'DEADLINE_EXCEEDED' });
  });

  test.each(protocols)('ends a stream with the code of the deadline that it reaches: $name', async ({ transport }) => {
    const headers = {
      authorization: `Bearer ${editor.accessToken}`,
      'grpc-timeout': '50m',
      'connect-timeout-ms': '50',
    };
    const to = transport(kith.address);
    for (const stream of [
      createClient(Health, to).watch({}, { headers }),
      createClient(ActivityService, to).watchUserActivity({ userId: editor.user.id }, { headers }),
    ]) {
      expect(await refusalOf(Array.fromAsync<unknown>(stream))).toMatchObject({
        code: 'DeadlineExceeded',
        reason: 'DEADLINE_EXCEEDED',
      });
    }
  });

  test.each(protocols)('answers within a generous deadline: $name', async ({ transport }) => {
    const { message } = await call(transport(kith.address), AuthService.method.userMe, {}, editor.accessToken, {
      'grpc-timeout': '20S',
      'connect-timeout-ms': '20000',
    });
    expect(message.user?.id).toBe(editor.user.id);
  });

  test.each([
    { grpc: '40H', connect: '144000000' },
    { grpc: '2147484S', connect: '2147483648' },
    { grpc: '31536000S', connect: '9999999999' },
    { grpc: '99999999H', connect: '9999999999' },
  ])('takes a far deadline, of which no timer is made: $grpc', async ({ grpc, connect }) => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on('warning', onWarning);
    for (const { transport } of protocols) {
      const headers = { 'grpc-timeout': grpc, 'connect-timeout-ms': connect };
      const { message } = await call(
        transport(kith.address),
        AuthService.method.userMe,
        {},
        editor.accessToken,
        headers,
      );
      expect(message.user?.id).toBe(editor.user.id);
    }
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });

  test.each(['soon', '-1', '1.5', '12345678901', ''])('refuses a deadline it cannot read: %j', async (timeout) => {
    for (const { transport } of protocols) {
      const refusal = await refusalOf(
        call(transport(kith.address), AuthService.method.userMe, {}, editor.accessToken, {
          'grpc-timeout': timeout,
          'connect-timeout-ms': timeout,
        }),
      );
      expect(refusal).toMatchObject({ code: 'InvalidArgument', reason: 'MALFORMED_REQUEST' });
    }
  });
});

describe('Connect GET', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith();
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each(exampledMethods.filter(({ method }) => isRead(method)))(
    'reads: $name',
    async ({ name, method, example }) => {
      const { accessToken, request, answer } = await example(kith);
      const message = create(method.input, request);
      const json = await get(name, accessToken, { encoding: 'json', message: toJsonString(method.input, message) });
      expect(json.status).toBe(200);
      expect(json.headers.get('content-type')).toBe('application/json');
      expect(fromJsonString(method.output, await json.text())).toMatchObject(answer);

      const binary = await get(name, accessToken, {
        connect: 'v1',
        base64: '1',
        encoding: 'proto',
        message: Buffer.from(toBinary(method.input, message)).toString('base64url'),
      });
      expect(binary.status).toBe(200);
      expect(binary.headers.get('content-type')).toBe('application/proto');
      expect(fromBinary(method.output, await binary.bytes())).toMatchObject(answer);
    },
  );

  test.each(exampledMethods.filter(({ method }) => !isRead(method)))(
    'does not write: $name',
    async ({ name, method, example }) => {
      const { accessToken, request } = await example(kith);
      const before = await kith.database.dump();
      const message = toJsonString(method.input, create(method.input, request));
      const response = await get(name, accessToken, { encoding: 'json', message });
      expect(response.status).toBe(405);
      expect(response.headers.get('allow')).toBe('POST');
      expect(response.headers.get('x-request-id')).toMatch(/./);
      expect(await response.json()).toMatchObject({
        code: 'unimplemented',
        message: expect.stringContaining('POST'),
        details: [{ type: 'kith.error.v1.ErrorDetail', debug: { reason: 'ERROR_REASON_METHOD_UNKNOWN' } }],
      });
      expect(await kith.database.dump()).toBe(before);
    },
  );

  test.each([
    { why: 'no message', query: { encoding: 'json' } },
    { why: 'no encoding', query: { message: '{}' } },
    { why: 'an unknown encoding', query: { encoding: 'xml', message: '{}' } },
    { why: 'broken JSON', query: { encoding: 'json', message: '{' } },
    { why: 'broken base64', query: { encoding: 'proto', base64: '1', message: '!' } },
    { why: 'an unknown compression', query: { encoding: 'json', compression: 'x', message: '{}' } },
  ])('is refused with a reason when it has $why', async ({ query }) => {
    const { accessToken } = await kith.user();
    const response = await get('kith.auth.v1.AuthService/UserMe', accessToken, query);
    expect([400, 415, 501]).toContain(response.status);
    const { code, details } = (await response.json()) as { code: string; details: { debug: { reason: string } }[] };
    expect(['invalid_argument', 'unimplemented']).toContain(code);
    expect(details[0]?.debug.reason).toMatch(/^ERROR_REASON_(MALFORMED_REQUEST|ENCODING_UNSUPPORTED)$/);
  });

  test('of an unknown method says so', async () => {
    const response = await get('kith.auth.v1.AuthService/UserYou', undefined, { encoding: 'json', message: '{}' });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      code: 'unimplemented',
      details: [{ debug: { reason: 'ERROR_REASON_METHOD_UNKNOWN' } }],
    });
  });

  function get(name: string, accessToken: string | undefined, query: Record<string, string>): Promise<Response> {
    const headers = accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` };
    return fetch(`${kith.address}/${name}?${new URLSearchParams(query)}`, { headers });
  }
});

describe('compression', () => {
  const NOTES = 'All work and no play makes Jack a dull boy. '.repeat(200);
  let kith: Kith;
  let owner: SignedIn;
  beforeAll(async () => {
    kith = await startKith();
    owner = await kith.user();
    await kith.client(ContactService, owner.accessToken).createContact({ givenName: 'Jack', notes: NOTES });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const encodings = [
    { encoding: 'gzip', compression: compressionGzip },
    { encoding: 'br', compression: compressionBrotli },
  ];
  const compressing: readonly { name: string; header: string; transport(compression: Compression): Transport }[] = [
    {
      name: 'gRPC over HTTP/2',
      header: 'grpc-encoding',
      transport: (compression) => createGrpcTransport({ baseUrl: kith.address, ...compressed(compression) }),
    },
    ...(['1.1', '2'] as const).flatMap((httpVersion) => [
      {
        name: `gRPC-Web over HTTP/${httpVersion}`,
        header: 'grpc-encoding',
        transport: (compression: Compression) =>
          createGrpcWebTransport({ baseUrl: kith.address, httpVersion, ...compressed(compression) }),
      },
      ...[false, true].map((useHttpGet) => ({
        name: `Connect ${useHttpGet ? 'GET' : 'POST'} over HTTP/${httpVersion}`,
        header: 'content-encoding',
        transport: (compression: Compression) =>
          createConnectTransport({ baseUrl: kith.address, httpVersion, useHttpGet, ...compressed(compression) }),
      })),
    ]),
  ];
  const combinations = compressing.flatMap((protocol) => encodings.map((encoding) => ({ ...protocol, ...encoding })));

  test.each(combinations)('$encoding, both ways: $name', async ({ header, encoding, compression, transport }) => {
    const user = await kith.user();
    const to = transport(compression);
    const { createContact, listContacts } = ContactService.method;
    await call(to, createContact, { givenName: 'Jack', notes: NOTES }, user.accessToken);
    const response = await call(to, listContacts, { query: 'jack' }, user.accessToken);
    expect(response.header.get(header)).toBe(encoding);
    expect(response.message.contacts[0]?.notes).toBe(NOTES);
  });

  test.each([
    { encoding: 'gzip', pack: gzipSync, unpack: gunzipSync },
    { encoding: 'br', pack: brotliCompressSync, unpack: brotliDecompressSync },
  ])('$encoding is what travels', async ({ encoding, pack, unpack }) => {
    const body = pack(JSON.stringify({ query: 'jack' }));
    const { headers, bytes } = await post(body, { 'content-encoding': encoding, 'accept-encoding': encoding });
    expect(headers['content-encoding']).toBe(encoding);
    expect(bytes.length).toBeLessThan(NOTES.length);
    const { contacts } = fromJsonString(ListContactsResponseSchema, unpack(bytes).toString());
    expect(contacts[0]?.notes).toBe(NOTES);
  });

  test('is left out for a caller who does not ask for it', async () => {
    const { headers, bytes } = await post(Buffer.from('{}'), {});
    expect(headers['content-encoding']).toBeUndefined();
    expect(bytes.length).toBeGreaterThan(NOTES.length);
  });

  test('of an unknown kind is refused, with the ones there are', async () => {
    const { status, bytes } = await post(Buffer.from('{}'), { 'content-encoding': 'lzma' });
    expect(status).toBe(501);
    expect(JSON.parse(bytes.toString())).toMatchObject({
      code: 'unimplemented',
      message: expect.stringMatching(/gzip/),
      details: [{ debug: { reason: 'ERROR_REASON_ENCODING_UNSUPPORTED' } }],
    });
  });

  /** Over node:http, which leaves the body as it travels. */
  async function post(body: Buffer, headers: Record<string, string>) {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    httpRequest(`${kith.address}/kith.contact.v1.ContactService/ListContacts`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', authorization: `Bearer ${owner.accessToken}` },
    })
      .on('response', resolve)
      .on('error', reject)
      .end(body);
    const response = await promise;
    return { status: response.statusCode, headers: response.headers, bytes: await buffer(response) };
  }
});

describe('TLS', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({ env: TLS });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  test.each([
    { offered: ['h2', 'http/1.1'], chosen: 'h2' },
    { offered: ['http/1.1', 'h2'], chosen: 'h2' },
    { offered: ['h2'], chosen: 'h2' },
    { offered: ['http/1.1'], chosen: 'http/1.1' },
    { offered: undefined, chosen: false },
  ])('ALPN chooses $chosen of $offered', async ({ offered, chosen }) => {
    const socket = tlsConnect({
      port: kith.port,
      host: 'localhost',
      servername: 'localhost',
      ca: readFileSync(CERTIFICATE),
      ...(offered && { ALPNProtocols: offered }),
    });
    await once(socket, 'secureConnect');
    expect(socket.authorized).toBe(true);
    expect(socket.alpnProtocol).toBe(chosen);
    socket.destroy();
  });

  test('ALPN with nothing in common ends the handshake', async () => {
    const socket = tlsConnect({ port: kith.port, host: 'localhost', rejectUnauthorized: false, ALPNProtocols: ['h3'] });
    await expect(once(socket, 'secureConnect')).rejects.toThrow(/alert/);
  });

  test('a plaintext caller is turned away and the next one with TLS is served', async () => {
    const socket = netConnect(kith.port, 'localhost');
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await text(socket).catch(String)).not.toContain('200');
    const user = await kith.user();
    expect(user.user.id).toMatch(/./);
  });

  test('a certificate that the caller does not trust is not accepted by the caller', async () => {
    const transport = createGrpcTransport({ baseUrl: kith.address });
    await expect(createClient(AuthService, transport).userMe({})).rejects.toThrow(/certificate/);
  });

  test('what is not HTTP is refused in full', async () => {
    const { status, headers, body } = await sendHttp1(kith.address, 'this is no HTTP\r\n\r\n');
    expect(status).toBe(400);
    expect(body).toHaveLength(Number(headers['content-length']));
    expect(JSON.parse(body.toString())).toMatchObject({ code: 'invalid_argument', message: 'this is not HTTP' });
  });
});

describe('a request that is answered before it has ended', () => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith();
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  /** Sends headers alone, and reads the answer to its end. */
  async function refuseEarly(session: ClientHttp2Session, path: string) {
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' });
    expect(JSON.parse(await text(stream))).toHaveProperty('code');
    const { promise, resolve } = Promise.withResolvers<void>();
    session.ping(() => resolve()); // what the server does next has arrived when this has
    await promise;
    return stream;
  }

  test.each(['/kith.auth.v1.AuthService/UserMe', '/kith.auth.v1.AuthService/UserYou', '/'])(
    'may still end, over HTTP/2: %s',
    async (path) => {
      const session = http2Connect(kith.address);
      const stream = await refuseEarly(session, path);
      expect(stream.closed).toBe(false);
      stream.end('{}');
      await once(stream, 'close');
      expect({ aborted: stream.aborted, rstCode: stream.rstCode }).toEqual({ aborted: false, rstCode: 0 });
      session.close();
    },
  );

  test('is cut off when the rest is long, without harm to the session', async () => {
    const session = http2Connect(kith.address);
    const stream = await refuseEarly(session, '/kith.auth.v1.AuthService/UserMe');
    const closed = once(stream, 'close');
    stream.on('error', () => {}).write(Buffer.alloc(10_000_000));
    await closed;
    expect({ finished: stream.writableFinished, rstCode: stream.rstCode }).toEqual({ finished: false, rstCode: 0 });
    expect(JSON.parse(await text(session.request({ ':path': '/healthz' })))).toEqual({ status: 'ok' });
    session.close();
  });

  test('is cut off when the rest does not come', async () => {
    const session = http2Connect(kith.address);
    const stream = await refuseEarly(session, '/kith.auth.v1.AuthService/UserMe');
    await once(stream, 'close');
    expect(stream.rstCode).toBe(0);
    session.close();
  });
});

test('plain HTTP/2 with prior knowledge and HTTP/1.1 take turns on one port', async () => {
  await using kith = await startKith();
  for (let i = 0; i < 3; i++) {
    expect(await (await fetch(`${kith.address}/healthz`)).json()).toEqual({ status: 'ok' });
    const session = http2Connect(kith.address);
    const stream = session.request({ ':path': '/healthz' });
    expect(JSON.parse(await text(stream))).toEqual({ status: 'ok' });
    session.close();
  }
});

/** Any method over any protocol, without retries or defaults of a client. */
async function call<M extends DescMethodUnary>(
  transport: Transport,
  method: M,
  request: MessageInitShape<M['input']>,
  accessToken?: string,
  headers: Record<string, string> = {},
): Promise<{ message: MessageShape<M['output']>; header: Headers }> {
  const authorization = accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` };
  const response = await transport.unary(method, undefined, undefined, { ...headers, ...authorization }, request);
  return { message: response.message as MessageShape<M['output']>, header: response.header };
}

/** `x-request-id` of an answer; of a refusal when there is no token. */
async function requestIdOf(
  transport: Transport,
  accessToken: string | undefined,
  given?: string,
): Promise<string | null> {
  const headers = given === undefined ? {} : { 'x-request-id': given };
  try {
    const { header } = await call(transport, AuthService.method.userMe, {}, accessToken, headers);
    if (accessToken === undefined) throw new Error('the call was not refused');
    return header.get('x-request-id');
  } catch (thrown) {
    if (accessToken === undefined && thrown instanceof ConnectError) return thrown.metadata.get('x-request-id');
    throw thrown;
  }
}

function isRead(method: DescMethodUnary): boolean {
  return method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

function renamed<M extends DescMethodUnary>(method: M, to: { method?: string; service?: string }): M {
  const parent = { ...method.parent, typeName: to.service ?? method.parent.typeName };
  return { ...method, name: to.method ?? method.name, parent };
}

function compressed(compression: Compression) {
  return { sendCompression: compression, acceptCompression: [compression], compressMinBytes: 0 };
}

/** How a ListUsers request begins on a protocol, as far as it can be read. */
function requestOver(protocol: string): RegExp {
  if (protocol.endsWith('HTTP/2')) return /^PRI \* HTTP\/2\.0\r\n/;
  const path = '/kith\\.user\\.v1\\.UserService/ListUsers';
  if (protocol.includes('GET')) return new RegExp(`^GET ${path}\\?\\S* HTTP/1\\.1\r\n`);
  const format = protocol.includes('Web') ? 'grpc-web\\+proto' : protocol.includes('JSON') ? 'json' : 'proto';
  return new RegExp(`^POST ${path} HTTP/1\\.1\r\n[^]*^content-type: application/${format}\r\n`, 'im');
}
