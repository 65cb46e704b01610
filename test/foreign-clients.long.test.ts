import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  create,
  createFileRegistry,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  fromJsonString,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
  toJsonString,
} from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import {
  type Any,
  AnySchema,
  anyUnpack,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import { ViolationsSchema } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import * as grpc from '@grpc/grpc-js';
import { createLocalJWKSet, createRemoteJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import {
  ExtensionRequestSchema as EXTENSION,
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { Health, HealthCheckResponse_ServingStatus as Status } from '../gen/health/v1/health_pb.ts';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ErrorDetailSchema, ErrorReason } from '../gen/kith/error/v1/error_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { ERROR_DETAILS } from '../src/rpc/errors.ts';
import { withImports } from '../src/rpc/files.ts';
import { needCommand, run } from './support/commands.ts';
import { SERVICES } from '../src/services.ts';
import { exampledMethods, expectAnswer } from './support/examples.ts';
import { type Kith, startKith } from './support/kith.ts';
import { startRelay } from './support/relay.ts';

const CERTIFICATE = 'test/fixtures/tls/localhost-cert.pem';
const TLS = { KITH_TLS_CERT: CERTIFICATE, KITH_TLS_KEY: 'test/fixtures/tls/localhost-key.pem' };

const REFLECT = ServerReflection.method.serverReflectionInfo;
type Question = ServerReflectionRequest['messageRequest'];

let plain: Kith;
let secure: Kith;
beforeAll(async () => {
  // The file takes minutes where others work beside it, which is longer than an access token is good for.
  const env = { KITH_ACCESS_TOKEN_SECONDS: '3600' };
  [plain, secure] = await Promise.all([startKith({ env }), startKith({ env: { ...env, ...TLS } })]);
});
afterAll(async () => {
  await Promise.all([plain[Symbol.asyncDispose](), secure[Symbol.asyncDispose]()]);
});

describe('grpc-js', () => {
  describe.each([{ port: 'plaintext' }, { port: 'TLS' }])('over $port', ({ port }) => {
    let kith: Kith;
    let client: grpc.Client;
    beforeAll(() => {
      kith = port === 'TLS' ? secure : plain;
      client = connectTo(kith);
    });
    afterAll(() => client.close());

    test.each(exampledMethods)('$name answers', async ({ method, example }) => {
      const good = await example(kith);
      const { message } = await unary(client, method, create(method.input, good.request), good.accessToken);
      await expectAnswer(message, good);
    });
  });

  let client: grpc.Client;
  beforeAll(() => {
    client = connectTo(plain);
  });
  afterAll(() => client.close());

  test('reads code, message and reason of a refusal', async () => {
    const { accessToken } = await plain.user();
    const error = await refusalOf(unary(client, UserService.method.listUsers, {}, accessToken));
    expect(error.code).toBe(grpc.status.PERMISSION_DENIED);
    expect(error.details).toMatch(/PERMISSION_USERS_READ/);
    const status = statusOf(error);
    expect(status).toMatchObject({ code: grpc.status.PERMISSION_DENIED, message: error.details });
    expect(anyUnpack(status.details[0]!, ErrorDetailSchema)).toMatchObject({
      reason: ErrorReason.PERMISSION_MISSING,
      metadata: { permission: expect.stringMatching(/./) },
    });
  });

  test('reads a message as it was written', async () => {
    const error = await refusalOf(unary(client, AuthService.method.userMe, {}));
    expect(error.details).toBe('sign in, and send authorization: Bearer ACCESS_TOKEN');
    const path = '/kith.nothing.v1/100%25';
    const unknown = await refusalOf(unary(client, AuthService.method.userMe, {}, undefined, { path }));
    expect(unknown.details).toBe(`nothing is served at ${path}`);
  });

  test('reads every violation of a request that breaks the rules', async () => {
    const { accessToken } = await plain.admin();
    const request = { username: '-', email: 'nobody', name: '', password: 'short' };
    const error = await refusalOf(unary(client, UserService.method.createUser, request, accessToken));
    expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
    const { details } = statusOf(error);
    expect(anyUnpack(details[0]!, ErrorDetailSchema)?.reason).toBe(ErrorReason.FIELDS_INVALID);
    const violations = details.map((detail) => anyUnpack(detail, ViolationsSchema)).find(Boolean)!.violations;
    const fields = violations.map(({ field }) => field?.elements[0]?.fieldName);
    expect(new Set(fields)).toEqual(new Set(['username', 'email', 'name', 'password']));
  });

  test('is told of an unknown method and an unknown service', async () => {
    for (const path of ['/kith.auth.v1.AuthService/Nothing', '/kith.nothing.v1.Nothing/Nothing']) {
      const error = await refusalOf(unary(client, AuthService.method.userMe, {}, undefined, { path }));
      expect(error.code).toBe(grpc.status.UNIMPLEMENTED);
      expect(anyUnpack(statusOf(error).details[0]!, ErrorDetailSchema)?.reason).toBe(ErrorReason.METHOD_UNKNOWN);
    }
  });

  test('gets the request id in the metadata of answers and of refusals', async () => {
    const { accessToken } = await plain.user();
    const seen: grpc.MetadataValue[][] = [];
    const options: UnaryOptions = {
      metadata: { 'x-request-id': 'from-grpc-js' },
      onHeader: (header) => seen.push(header.get('x-request-id')),
    };
    await unary(client, AuthService.method.userMe, {}, accessToken, options);
    await refusalOf(unary(client, AuthService.method.userMe, {}, undefined, options));
    expect(seen).toEqual([['from-grpc-js'], ['from-grpc-js']]);
  });

  test('sends and receives gzip', async () => {
    const packing = connectTo(plain, { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip });
    const { accessToken } = await plain.admin();
    const name = 'long name '.repeat(19).trim();
    const { accessToken: viewer, user } = await plain.user();
    await unary(packing, UserService.method.updateUser, { userId: user.id, name }, viewer);
    const { message } = await unary(packing, UserService.method.getUser, { userId: user.id }, accessToken);
    expect(message.user?.name).toBe(name);
    packing.close();
  });

  test('gets 200 answers at once over one connection, each its own', async () => {
    const callers = await Promise.all(Array.from({ length: 4 }, () => plain.user()));
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        unary(client, AuthService.method.userMe, {}, callers[i % callers.length]!.accessToken),
      ),
    );
    expect(answers.map(({ message }) => message.user?.id)).toEqual(
      answers.map((_, i) => callers[i % callers.length]!.user.id),
    );
  });
});

describe('grpc-js: health', () => {
  let client: grpc.Client;
  beforeAll(() => {
    client = connectTo(plain);
  });
  afterAll(() => client.close());
  const names = ['', ...SERVICES.map(({ typeName }) => typeName), Health.typeName, ServerReflection.typeName];

  test.each(names)('the server is serving %j', async (service) => {
    const { message } = await unary(client, Health.method.check, { service });
    expect(message.status).toBe(Status.SERVING);
  });

  test('a service that is not served here is not found', async () => {
    const error = await refusalOf(unary(client, Health.method.check, { service: 'kith.auth.v1' }));
    expect(error.code).toBe(grpc.status.NOT_FOUND);
    expect(anyUnpack(statusOf(error).details[0]!, ErrorDetailSchema)?.reason).toBe(ErrorReason.SERVICE_UNKNOWN);
  });

  test('all services are listed', async () => {
    const { message } = await unary(client, Health.method.list, {});
    expect(Object.keys(message.statuses)).toEqual(expect.arrayContaining(names));
    expect(new Set(Object.values(message.statuses).map(({ status }) => status))).toEqual(new Set([Status.SERVING]));
  });

  test('a watcher of an unknown service is told so and may stay', async () => {
    const stream = serverStream(client, Health.method.watch, { service: 'unknown' });
    const [first] = (await once(stream, 'data')) as [MessageShape<typeof Health.method.watch.output>];
    expect(first.status).toBe(Status.SERVICE_UNKNOWN);
    const ended = statusOfStream(stream);
    stream.cancel();
    expect(await ended).toMatchObject({ code: grpc.status.CANCELLED });
  });

  test('a watcher sees the server stop: serving, not serving, come back later', async () => {
    await using kith = await startKith({ env: { KITH_SHUTDOWN_DELAY_SECONDS: '2' } });
    const watcher = connectTo(kith);
    const stream = serverStream(watcher, Health.method.watch, { service: '' });
    const seen: number[] = [];
    const first = once(stream, 'data');
    stream.on('data', ({ status }: { status: number }) => seen.push(status));
    const ended = statusOfStream(stream);
    await first;
    const notReady = once(stream, 'data');
    const stopped = kith.stop();
    await notReady;
    expect((await fetch(`${kith.address}/readyz`)).status).toBe(503);
    expect((await fetch(`${kith.address}/healthz`)).status).toBe(200);
    expect(await ended).toMatchObject({ code: grpc.status.UNAVAILABLE });
    expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING]);
    await stopped;
    watcher.close();
  });
});

describe.each([
  { name: 'v1', service: ServerReflection },
  { name: 'v1alpha', service: ServerReflectionAlpha },
])('grpc-js: reflection $name', ({ service }) => {
  let client: grpc.Client;
  beforeAll(() => {
    client = connectTo(plain);
  });
  afterAll(() => client.close());

  /** Asks one question after the other on one stream. */
  async function ask(...questions: Question[]): Promise<ServerReflectionResponse['messageResponse'][]> {
    const method: DescMethod = service.method.serverReflectionInfo;
    const stream = bidiStream(client, method);
    const answers: ServerReflectionResponse['messageResponse'][] = [];
    for (const messageRequest of questions) {
      const answer = once(stream, 'data');
      stream.write(create(method.input, { messageRequest }));
      const [{ messageResponse }] = (await answer) as [ServerReflectionResponse];
      answers.push(messageResponse);
    }
    const ended = statusOfStream(stream);
    stream.end();
    expect(await ended).toMatchObject({ code: grpc.status.OK });
    return answers;
  }

  async function filesFor(question: Question) {
    const [answer] = await ask(question);
    if (answer?.case !== 'fileDescriptorResponse') throw new Error(`no files: ${JSON.stringify(answer)}`);
    return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  }

  test('lists all services', async () => {
    const [answer] = await ask({ case: 'listServices', value: '' });
    if (answer?.case !== 'listServicesResponse') throw new Error(`no list: ${answer?.case}`);
    const listed = answer.value.service.map(({ name }) => name);
    const all = [...SERVICES, Health, ServerReflection, ServerReflectionAlpha];
    expect(listed.toSorted()).toEqual(all.map(({ typeName }): string => typeName).toSorted());
  });

  test.each([
    ...SERVICES.map(({ typeName }) => typeName),
    'kith.auth.v1.AuthService.Login',
    'kith.auth.v1.LoginRequest',
    'kith.user.v1.UserState',
    'kith.access.v1.access',
    'grpc.health.v1.HealthCheckResponse.ServingStatus',
    // What the details of a refusal hold, and what their fields are of.
    ...ERROR_DETAILS.map(({ typeName }) => typeName),
    'kith.error.v1.ErrorReason',
    'buf.validate.FieldPath',
    'google.protobuf.FieldDescriptorProto.Type',
    'google.protobuf.Timestamp',
  ])('gives the file that declares %s, with all it imports', async (symbol) => {
    const file = await filesFor({ case: 'fileContainingSymbol', value: symbol });
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(file) }));
    const [service, method] = [symbol, symbol.replace(/\.\w+$/, '')].map((name) => registry.getService(name));
    expect(registry.get(symbol) ?? service ?? method?.methods.find(({ name }) => symbol.endsWith(name))).toBeDefined();
  });

  test.each([
    'kith/user/v1/user.proto',
    ...ERROR_DETAILS.map(({ file }) => file.proto.name),
    'google/protobuf/descriptor.proto',
  ])('gives a file by its name: %s', async (value) => {
    const files = await filesFor({ case: 'fileByFilename', value });
    expect(files.map(({ name }) => name)).toContain(value);
  });

  test('gives the file of an extension and the numbers of all extensions', async () => {
    const extension = { containingType: 'google.protobuf.MethodOptions', extensionNumber: 249440100 };
    const files = await filesFor({ case: 'fileContainingExtension', value: create(EXTENSION, extension) });
    expect(files.map(({ name }) => name)).toContain('kith/access/v1/access.proto');
    const [ofMethods, ofFields] = await ask(
      { case: 'allExtensionNumbersOfType', value: 'google.protobuf.MethodOptions' },
      { case: 'allExtensionNumbersOfType', value: 'google.protobuf.FieldOptions' },
    );
    expect(ofMethods?.value).toMatchObject({ extensionNumber: [249440100] });
    expect(ofFields?.value).toMatchObject({ extensionNumber: expect.arrayContaining([249440101, 1159]) });
  });

  test('tells how to read every detail of a refusal', async () => {
    const { accessToken } = await plain.admin();
    const error = await refusalOf(unary(client, UserService.method.createUser, { username: '-' }, accessToken));
    const shown: Record<string, unknown> = {};
    for (const { typeUrl, value } of statusOf(error).details) {
      const symbol = typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
      const file = await filesFor({ case: 'fileContainingSymbol', value: symbol });
      const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: importsFirst(file) }));
      const desc = registry.getMessage(symbol)!;
      shown[symbol] = toJson(desc, fromBinary(desc, value));
    }
    expect(Object.keys(shown)).toEqual(ERROR_DETAILS.map(({ typeName }) => typeName));
    expect(shown[ErrorDetailSchema.typeName]).toEqual({ reason: 'ERROR_REASON_FIELDS_INVALID' });
    expect(JSON.stringify(shown[ViolationsSchema.typeName])).toContain('"fieldName":"username"');
  });

  test('answers what it does not know with an error, and goes on', async () => {
    const none = create(EXTENSION, { containingType: 'google.protobuf.MethodOptions', extensionNumber: 1 });
    const answers = await ask(
      { case: 'fileContainingSymbol', value: 'kith.nothing.v1.Nothing' },
      { case: 'fileContainingSymbol', value: '' },
      { case: 'fileByFilename', value: '../../etc/passwd' },
      { case: 'fileContainingExtension', value: none },
      { case: 'allExtensionNumbersOfType', value: 'kith.nothing.v1.Nothing' },
      { case: undefined },
      { case: 'listServices', value: '' },
    );
    const codes = answers.map((answer) => (answer.case === 'errorResponse' ? answer.value.errorCode : 0));
    const { NOT_FOUND, INVALID_ARGUMENT } = grpc.status;
    expect(codes).toEqual([NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, INVALID_ARGUMENT, 0]);
  });
});

test('without KITH_REFLECTION the contract cannot be asked for', async () => {
  await using kith = await startKith({ env: { KITH_REFLECTION: 'false' } });
  const client = connectTo(kith);
  const stream = bidiStream(client, REFLECT);
  const ended = statusOfStream(stream.on('data', () => {}));
  stream.write(create(REFLECT.input, { messageRequest: { case: 'listServices', value: '' } }));
  expect(await ended).toMatchObject({ code: grpc.status.UNIMPLEMENTED });
  const { message } = await unary(client, Health.method.list, {});
  expect(Object.keys(message.statuses).filter((name) => name.includes('reflection'))).toEqual([]);
  expect((await fetch(`${kith.address}/contract.binpb`)).status).toBe(404);
  client.close();
});

const bufWires = [
  ...['grpc', 'grpcweb', 'connect'].map((protocol) => ({
    protocol,
    over: 'HTTP/2',
    flags: ['--http2-prior-knowledge'],
  })),
  // Reflection takes HTTP/2, so these get the contract from a file.
  ...['grpcweb', 'connect'].map((protocol) => ({ protocol, over: 'HTTP/1.1', flags: [] })),
  { protocol: 'grpc', over: 'TLS', flags: ['--cacert', CERTIFICATE] },
];

/**
 * The methods to call in one of several ways, where what carries a call does not depend on its method: every method in
 * the first way, and each once in one of the others. test/protocols.test.ts calls every method over every protocol.
 */
function shareOf<T>(all: readonly T[], way: number, ways: number): T[] {
  return way === 0 ? [...all] : all.filter((_, i) => i % (ways - 1) === way - 1);
}

describe.each(bufWires.map((wire, way) => ({ ...wire, methods: shareOf(exampledMethods, way, bufWires.length) })))(
  'buf curl: $protocol over $over',
  ({ protocol, over, flags, methods }) => {
    let dir: string;
    let args: string[];
    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'kith-test-'));
      const schema = join(dir, 'contract.binpb');
      await writeFile(schema, contract());
      args = ['curl', '--protocol', protocol, ...flags, ...(over === 'HTTP/1.1' ? ['--schema', schema] : [])];
    });
    afterAll(() => rm(dir, { recursive: true }));
    const kithOf = () => (over === 'TLS' ? secure : plain);

    test.for(methods)('$name answers', async ({ name, method, example }, context) => {
      const buf = needCommand(context, 'buf');
      const good = await example(kithOf());
      const data = toJsonString(method.input, create(method.input, good.request));
      const url = `${kithOf().address}/${name}`;
      const { code, stdout, stderr } = await run(buf, [...args, ...authorization(good), '-d', data, url]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      await expectAnswer(fromJsonString(method.output, stdout), good);
    });

    test('shows why a call is refused', async (context) => {
      const buf = needCommand(context, 'buf');
      const url = `${kithOf().address}/${nameOf(UserService.method.listUsers)}`;
      const { code, stdout, stderr } = await run(buf, [...args, '-d', '{}', url]);
      expect(code).not.toBe(0);
      expect(stdout).toBe('');
      const refusal = JSON.parse(stderr) as { code: string; details: { type: string; value: string }[] };
      expect(refusal.code).toBe('unauthenticated');
      expect(refusal.details[0]?.type).toBe(ErrorDetailSchema.typeName);
      const detail = fromBinary(ErrorDetailSchema, Buffer.from(refusal.details[0]!.value, 'base64'));
      expect(detail.reason).toBe(ErrorReason.ACCESS_TOKEN_MISSING);
    });

    // Over gRPC and gRPC-Web, buf shows in words what it has compiled in, and does not ask for the rest.
    test.runIf(protocol === 'connect')('shows every detail of a refusal in words', async (context) => {
      const buf = needCommand(context, 'buf');
      const { accessToken } = await kithOf().admin();
      const signed = ['-H', `authorization: Bearer ${accessToken}`, '-d', '{"username":"-"}'];
      const url = `${kithOf().address}/${nameOf(UserService.method.createUser)}`;
      const { stderr } = await run(buf, [...args, ...signed, url]);
      const { details } = JSON.parse(stderr) as { details: { type: string; debug?: unknown }[] };
      const known: string[] = ERROR_DETAILS.map(({ typeName }) => typeName);
      expect(details.map(({ type }) => type)).toEqual(known);
      expect(details[0]?.debug).toEqual({ reason: 'ERROR_REASON_FIELDS_INVALID' });
      expect(JSON.stringify(details[1]?.debug)).toContain('"fieldName":"username"');
    });
  },
);

test.for([
  { flags: [], sends: /^POST / },
  { flags: ['--http2-prior-knowledge'], sends: /^PRI / },
])('buf curl $flags speaks the HTTP version that is meant', async ({ flags, sends }, context) => {
  const buf = needCommand(context, 'buf');
  await using dir = await mkdtempDisposable(join(tmpdir(), 'kith-test-'));
  const schema = join(dir.path, 'contract.binpb');
  await writeFile(schema, contract());
  await using relay = await startRelay(plain.port);
  const url = `${relay.address}/${nameOf(AuthService.method.userMe)}`;
  await run(buf, ['curl', '--schema', schema, ...flags, '-d', '{}', url]);
  expect(relay.sent()).toMatch(sends);
});

const curlWires = [
  { http: 'HTTP/1.1', flags: ['--http1.1'], version: '1.1' },
  { http: 'HTTP/2', flags: ['--http2-prior-knowledge'], version: '2' },
  { http: 'TLS, HTTP/1.1', flags: ['--http1.1', '--cacert', CERTIFICATE], version: '1.1' },
  { http: 'TLS, HTTP/2', flags: ['--http2', '--cacert', CERTIFICATE], version: '2' },
];

describe.each(curlWires.map((wire, way) => ({ ...wire, methods: shareOf(exampledMethods, way, curlWires.length) })))(
  'curl over $http',
  ({ http, flags, version, methods }) => {
    const kithOf = () => (http.startsWith('TLS') ? secure : plain);

    /** Prints the body, the HTTP version and the status. */
    async function curl(context: TestContext, path: string, ...args: string[]) {
      const command = needCommand(context, 'curl');
      const writeOut = '\n%{http_version} %{http_code} %header{x-request-id}';
      const outcome = await run(command, [
        '--silent',
        '--show-error',
        '--write-out',
        writeOut,
        ...flags,
        ...args,
        `${kithOf().address}${path}`,
      ]);
      expect(outcome).toMatchObject({ code: 0, stderr: '' });
      const end = outcome.stdout.lastIndexOf('\n');
      const [spoken, status, requestId] = outcome.stdout.slice(end + 1).split(' ');
      expect(spoken).toBe(version);
      expect(requestId).toMatch(/./);
      return { status: Number(status), body: outcome.stdout.slice(0, end) };
    }

    test.for(methods)('$name answers', async ({ name, method, example }, context) => {
      const good = await example(kithOf());
      const data = toJsonString(method.input, create(method.input, good.request));
      const json = ['--header', 'content-type: application/json', '--data-binary', data];
      const { status, body } = await curl(context, `/${name}`, ...authorization(good), ...json);
      expect(status).toBe(200);
      await expectAnswer(fromJsonString(method.output, body), good);
    });

    test('a read is a plain GET', async (context) => {
      const { user, accessToken } = await kithOf().user(Role.EDITOR);
      const query = [
        '--get',
        '--data-urlencode',
        'encoding=json',
        '--data-urlencode',
        `message={"userId":"${user.id}"}`,
      ];
      const path = `/${nameOf(UserService.method.getUser)}`;
      const { status, body } = await curl(context, path, ...authorization({ accessToken }), ...query);
      expect(status).toBe(200);
      expect(JSON.parse(body)).toMatchObject({ user: { id: user.id, role: 'ROLE_EDITOR' } });
    });

    test.for([
      {
        name: 'a call without a token',
        path: '/kith.auth.v1.AuthService/UserMe',
        status: 401,
        reason: 'ACCESS_TOKEN_MISSING',
      },
      { name: 'an unknown method', path: '/kith.auth.v1.AuthService/UserYou', status: 404, reason: 'METHOD_UNKNOWN' },
      { name: 'an unknown path', path: '/', status: 404, reason: 'METHOD_UNKNOWN' },
    ])('$name is refused with HTTP status $status and a reason', async ({ path, status, reason }, context) => {
      const json = ['--header', 'content-type: application/json', '--data-binary', '{}'];
      const refused = await curl(context, path, ...json);
      expect(refused.status).toBe(status);
      expect(JSON.parse(refused.body)).toMatchObject({ details: [{ debug: { reason: `ERROR_REASON_${reason}` } }] });
    });

    test('the probes answer', async (context) => {
      expect(await curl(context, '/healthz')).toEqual({ status: 200, body: '{"status":"ok"}' });
      expect(await curl(context, '/readyz')).toEqual({ status: 200, body: '{"status":"ready"}' });
    });
  },
);

describe('the key set', () => {
  const expected = () => ({
    algorithms: ['ES256'],
    typ: 'at+jwt',
    issuer: plain.config.issuer,
    audience: plain.config.audience,
  });

  test('verifies access tokens offline', async () => {
    const { user, accessToken } = await plain.user(Role.EDITOR);
    const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', plain.address));
    const { payload } = await jwtVerify(accessToken, keys, expected());
    expect(payload).toMatchObject({
      sub: user.id,
      sid: expect.any(String),
      jti: expect.any(String),
      roles: ['editor'],
      amr: ['pwd'],
      auth_time: expect.any(Number),
    });
    expect(payload.exp! - payload.iat!).toBe(plain.config.accessTokenTtlMs / 1000);
  });

  test('does not verify a token that was changed, nor one of another server', async () => {
    const response = await fetch(new URL('/.well-known/jwks.json', plain.address));
    const keys = createLocalJWKSet((await response.json()) as JSONWebKeySet);
    const { accessToken } = await plain.user();
    const [head, payload, signature] = accessToken.split('.') as [string, string, string];
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
    const forged = Buffer.from(JSON.stringify({ ...claims, roles: ['admin'] })).toString('base64url');
    await expect(jwtVerify(`${head}.${forged}.${signature}`, keys, expected())).rejects.toThrow(/signature/);
    const other = await secure.user();
    await expect(jwtVerify(other.accessToken, keys, expected())).rejects.toThrow(/key|signature/);
  });

  test('holds public keys only, and may be cached and read by any page', async () => {
    const response = await fetch(new URL('/.well-known/jwks.json', plain.address));
    expect(response.headers.get('content-type')).toMatch(/^application\/jwk-set\+json\b/);
    expect(response.headers.get('cache-control')).toMatch(/^public, max-age=\d+$/);
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    const { keys } = (await response.json()) as JSONWebKeySet;
    expect(keys.length).toBeGreaterThan(0);
    for (const key of keys) {
      expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: expect.any(String) });
      expect(key).not.toHaveProperty('d');
    }
  });
});

function connectTo(kith: Kith, options: grpc.ClientOptions = {}): grpc.Client {
  const credentials =
    kith === secure ? grpc.credentials.createSsl(readFileSync(CERTIFICATE)) : grpc.credentials.createInsecure();
  return new grpc.Client(`localhost:${kith.port}`, credentials, options);
}

interface UnaryOptions {
  readonly path?: string;
  readonly metadata?: Record<string, string>;
  readonly onHeader?: (header: grpc.Metadata) => void;
}

/** What generated code of grpc-js does. */
async function unary<M extends DescMethodUnary>(
  client: grpc.Client,
  method: M,
  request: MessageInitShape<M['input']>,
  accessToken?: string,
  { path, metadata = {}, onHeader }: UnaryOptions = {},
): Promise<{ message: MessageShape<M['output']> }> {
  const { promise, resolve, reject } = Promise.withResolvers<Message>();
  const sent = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
  if (accessToken !== undefined) sent.set('authorization', `Bearer ${accessToken}`);
  const call = client.makeUnaryRequest(
    path ?? `/${nameOf(method)}`,
    serialize(method),
    deserialize(method),
    create(method.input, request) as Message,
    sent,
    (error, message) => (error === null ? resolve(message!) : reject(error)),
  );
  if (onHeader !== undefined) call.once('metadata', onHeader);
  return { message: (await promise) as MessageShape<M['output']> };
}

function serverStream<M extends DescMethodServerStreaming>(
  client: grpc.Client,
  method: M,
  request: MessageInitShape<M['input']>,
): grpc.ClientReadableStream<Message> {
  const message = create(method.input, request) as Message;
  return client.makeServerStreamRequest(`/${nameOf(method)}`, serialize(method), deserialize(method), message);
}

function bidiStream(client: grpc.Client, method: DescMethod): grpc.ClientDuplexStream<Message, Message> {
  return client.makeBidiStreamRequest(`/${nameOf(method)}`, serialize(method), deserialize(method));
}

function serialize(method: DescMethod): (message: Message) => Buffer {
  return (message) => Buffer.from(toBinary(method.input, message));
}

function deserialize(method: DescMethod): (bytes: Buffer) => Message {
  return (bytes) => fromBinary(method.output, bytes);
}

async function refusalOf(call: Promise<unknown>): Promise<grpc.ServiceError> {
  return call.then(
    () => Promise.reject(new Error('the call was not refused')),
    (error: grpc.ServiceError) => error,
  );
}

/** How a stream ends, whether well or not: the status is told either way, an error only in the second case. */
function statusOfStream(stream: grpc.ClientReadableStream<Message>): Promise<grpc.StatusObject> {
  const { promise, resolve } = Promise.withResolvers<grpc.StatusObject>();
  stream.on('error', () => {}).on('status', resolve);
  return promise;
}

/** google.rpc.Status of the trailer, read by its field numbers. */
function statusOf(error: grpc.ServiceError): { code: number; message: string; details: Any[] } {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  const reader = new BinaryReader(bytes as Buffer);
  const status = { code: 0, message: '', details: [] as Any[] };
  while (reader.pos < reader.len) {
    const [field] = reader.tag();
    if (field === 1) status.code = reader.int32();
    else if (field === 2) status.message = reader.string();
    else status.details.push(fromBinary(AnySchema, reader.bytes()));
  }
  return status;
}

/** The contract as tools read it from a file. */
function contract(): Uint8Array {
  const files = withImports(SERVICES.map(({ file }) => file));
  const file = importsFirst([...files.values()].map(({ proto }) => proto));
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
}

/** The order in which files can be read: each after all it imports. */
function importsFirst(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const sorted = new Map<string, FileDescriptorProto>();
  const add = (name: string): void => {
    const file = files.find((candidate) => candidate.name === name);
    if (file === undefined || sorted.has(name)) return;
    file.dependency.forEach(add);
    sorted.set(name, file);
  };
  for (const { name } of files) add(name);
  return [...sorted.values()];
}

function authorization({ accessToken }: { readonly accessToken?: string }): string[] {
  return accessToken === undefined ? [] : ['--header', `authorization: Bearer ${accessToken}`];
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
