import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { Permission } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, bearer, grpc, type Kith, refusalOf, startKith, protocols } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { refreshed, signedIn } from './support/sign-in.ts';

const WAYS = [
  { way: 'on the fast path', fastPath: 'true' },
  { way: "in Connect's own way", fastPath: 'false' },
];

const exporter = new InMemorySpanExporter();
/** The ids of spans that have not ended. */
const open = new Set<string>();
const watchingOpen: SpanProcessor = {
  onStart: (span) => void open.add(span.spanContext().spanId),
  onEnd: (span) => void open.delete(span.spanContext().spanId),
  forceFlush: async () => {},
  shutdown: async () => {},
};

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  trace.setGlobalTracerProvider(
    new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter }), watchingOpen] }),
  );
});
afterAll(() => {
  trace.disable();
  context.disable();
});
beforeEach(() => exporter.reset());

/** A trace of a caller's. */
interface CallersTrace {
  readonly traceId: string;
  readonly spanId: string;
}

let traces = 0;

function newTrace(): CallersTrace {
  traces += 1;
  return { traceId: traces.toString(16).padStart(32, 'a'), spanId: traces.toString(16).padStart(16, 'b') };
}

function traced({ traceId, spanId }: CallersTrace, flags = '01'): Record<string, string> {
  return { traceparent: `00-${traceId}-${spanId}-${flags}` };
}

/** What was recorded of a caller's trace, in the order in which it ended. */
function spansOf({ traceId }: CallersTrace): ReadableSpan[] {
  return exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId);
}

function named(spans: readonly ReadableSpan[], name: string): ReadableSpan {
  const found = spans.find((span) => span.name === name);
  if (found === undefined) throw new Error(`no span ${name} in ${spans.map((span) => span.name).join(', ')}`);
  return found;
}

/** The names of a span and those above it. */
function pathOf(spans: readonly ReadableSpan[], span: ReadableSpan): string {
  const parent = spans.find((one) => one.spanContext().spanId === span.parentSpanContext?.spanId);
  return parent === undefined ? span.name : `${pathOf(spans, parent)} > ${span.name}`;
}

const LOGIN = 'kith.auth.v1.AuthService/Login';
const USER_ME = 'kith.auth.v1.AuthService/UserMe';
const CREATE_CONTACT = 'kith.contact.v1.ContactService/CreateContact';
const WATCH = 'kith.activity.v1.ActivityService/WatchUserActivity';

describe.each(WAYS)('$way', ({ fastPath }) => {
  let kith: Kith;
  beforeAll(async () => {
    kith = await startKith({ env: { KITH_FAST_PATH: fastPath } });
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  describe.each(protocols)('$name', ({ name, transport }) => {
    test('a call is a child of the span that its caller names, with the attributes of the conventions', async () => {
      const { accessToken, user } = await kith.admin();
      const client = createClient(UserService, transport(kith.address, accessToken));
      for (const callers of [newTrace(), newTrace()]) {
        await client.getUser({ userId: user.id }, { headers: { ...traced(callers), 'x-request-id': callers.spanId } });
        const span = named(spansOf(callers), 'kith.user.v1.UserService/GetUser');
        expect(span.kind).toBe(SpanKind.SERVER);
        expect(span.parentSpanContext).toMatchObject({ ...callers, isRemote: true });
        const protocol = name.startsWith('Connect') ? 'connect' : name.startsWith('gRPC-Web') ? 'grpc-web' : 'grpc';
        expect(span.attributes).toEqual({
          'rpc.system.name': protocol === 'connect' ? 'connectrpc' : 'grpc',
          'rpc.method': span.name,
          ...(protocol === 'connect' ? {} : { 'rpc.status_code': 'OK' }),
          'kith.protocol': protocol,
          'kith.request_id': callers.spanId,
        });
        expect(span.status).toEqual({ code: SpanStatusCode.UNSET });
        expect(spansOf(callers).map((one) => one.name)).toContain('select users');
      }
    });

    test.each([
      ['that is refused', 'nobody', 'USER_NOT_FOUND', 'not_found', SpanStatusCode.UNSET],
      ['that is not read', 'x'.repeat(300), 'INVALID', 'invalid_argument', SpanStatusCode.UNSET],
    ])('a call %s has the code and the reason', async (_, id, reason, code, status) => {
      const { accessToken } = await kith.admin();
      const callers = newTrace();
      const client = createClient(UserService, transport(kith.address, accessToken));
      const given = id === 'nobody' ? '01900000-0000-7000-8000-000000000000' : id;
      await refusalOf(client.getUser({ userId: given }, { headers: traced(callers) }));
      const span = named(spansOf(callers), 'kith.user.v1.UserService/GetUser');
      expect(span.attributes['rpc.status_code']).toBe(name.startsWith('Connect') ? code : code.toUpperCase());
      expect(span.attributes['kith.error.reason']).toContain(reason);
      expect(span.attributes).not.toHaveProperty('error.type');
      expect(span.status).toEqual({ code: status });
    });

    test('a stream has a span until it ends, over which what it reads is recorded', async () => {
      const { accessToken, user } = await kith.admin();
      const callers = newTrace();
      const leaving = new AbortController();
      const client = createClient(ActivityService, transport(kith.address, accessToken));
      const options = { headers: traced(callers), signal: leaving.signal };
      const watch = client.watchUserActivity({ userId: user.id }, options);
      const messages = watch[Symbol.asyncIterator]();
      await messages.next();
      expect(spansOf(callers).map((span) => span.name)).not.toContain(WATCH);
      await kith.client(ContactService, accessToken).createContact({ givenName: 'Grace' });
      await messages.next();
      leaving.abort();
      await refusalOf(messages.next());
      await vi.waitUntil(() => spansOf(callers).some((span) => span.name === WATCH));
      const spans = spansOf(callers);
      const stream = named(spans, WATCH);
      expect(stream.attributes['rpc.status_code']).toMatch(/^cancell?ed$/i);
      expect(stream.status).toEqual({ code: SpanStatusCode.UNSET });
      expect(spans.length).toBeGreaterThan(1);
      for (const span of spans) expect(pathOf(spans, span).startsWith(WATCH)).toBe(true);
    });
  });

  test.each([
    ['no traceparent', {}],
    ['an invalid one', { traceparent: `00-${'A'.repeat(32)}-${'b'.repeat(16)}-01` }],
    [
      'two of them',
      { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01, 00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` },
    ],
  ])('a call with %s is served, and begins a trace', async (_, headers) => {
    await refusalOf(kith.client(AuthService).userMe({}, { headers }));
    const span = named(exporter.getFinishedSpans(), USER_ME);
    expect(span.parentSpanContext).toBeUndefined();
    expect(span.attributes['kith.error.reason']).toContain('ACCESS_TOKEN_MISSING');
  });

  test('tracestate goes with the trace', async () => {
    const callers = newTrace();
    const headers = { ...traced(callers), tracestate: 'congo=t61rcWkgMzE,rojo=1' };
    await refusalOf(kith.client(AuthService).userMe({}, { headers }));
    expect(named(spansOf(callers), USER_ME).spanContext().traceState?.serialize()).toBe('congo=t61rcWkgMzE,rojo=1');
  });

  test('a trace that its caller does not record is not recorded', async () => {
    const callers = newTrace();
    const { accessToken } = await kith.admin();
    exporter.reset();
    await kith.client(AuthService, accessToken).userMe({}, { headers: traced(callers, '00') });
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  test('a call whose time is up has the status of an error', async () => {
    const callers = newTrace();
    const { accessToken } = await kith.admin();
    const response = await fetch(`${kith.address}/${USER_ME}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${accessToken}`,
        'content-type': 'application/json',
        'connect-timeout-ms': '0',
        ...traced(callers),
      },
      body: '{}',
    });
    expect(response.status).toBe(504);
    expect(named(spansOf(callers), USER_ME)).toMatchObject({
      attributes: { 'rpc.status_code': 'deadline_exceeded', 'error.type': 'deadline_exceeded' },
      status: { code: SpanStatusCode.ERROR },
    });
  });

  test('a message that is malformed, which the fast path hands over, has one span', async () => {
    const callers = newTrace();
    const response = await fetch(`${kith.address}/${LOGIN}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...traced(callers) },
      body: '{"identifier": ',
    });
    expect(response.status).toBe(400);
    const spans = spansOf(callers);
    expect(spans.map((span) => span.name)).toEqual([LOGIN]);
    expect(spans[0]?.attributes['kith.error.reason']).toContain('MALFORMED_REQUEST');
    expect(open).toEqual(new Set());
  });

  test('calls at the same time keep their spans apart', async () => {
    const { accessToken } = await kith.admin();
    const contacts = kith.client(ContactService, accessToken);
    const callers = Array.from({ length: 8 }, newTrace);
    await Promise.all(callers.map((one) => contacts.createContact({ givenName: 'Ada' }, { headers: traced(one) })));
    const [first, ...others] = callers.map((one) => {
      const spans = spansOf(one);
      return spans.map((span) => pathOf(spans, span)).toSorted();
    });
    expect(first).toContain(`${CREATE_CONTACT} > transaction > COMMIT`);
    for (const other of others) expect(other).toEqual(first);
  });

  test('what is read for all watchers is part of no trace, neither of who watches nor of who wakes them', async () => {
    const { accessToken, user } = await kith.admin();
    const [watcher, writer] = [newTrace(), newTrace()];
    const leaving = new AbortController();
    const options = { headers: traced(watcher), signal: leaving.signal };
    const watch = kith.client(ActivityService, accessToken).watchUserActivity({ userId: user.id }, options);
    const messages = watch[Symbol.asyncIterator]();
    await messages.next();
    const contacts = kith.client(ContactService, accessToken);
    // The first is read from the database; from then on the end of the log is known.
    for (const headers of [{}, traced(writer)]) {
      await contacts.createContact({ givenName: 'Grace' }, { headers });
      await messages.next();
    }
    leaving.abort();
    await refusalOf(messages.next());
    await vi.waitUntil(() => spansOf(watcher).some((span) => span.name === WATCH));
    const endsRead = (of: CallersTrace) => spansOf(of).filter((span) => span.name === 'select sqlite_sequence').length;
    expect(endsRead(writer)).toBe(0);
    expect(endsRead(watcher)).toBeLessThanOrEqual(2);
  });
});

describe.each(databases)('on $name', ({ name, create }) => {
  test('statements, transactions and password hashes are children of their calls', async () => {
    await using database = await create();
    await using kith = await startKith({ database });
    const system = name.toLowerCase();
    const login = newTrace();
    const { accessToken } = await signedIn(
      kith.client(AuthService).login({ identifier: 'admin', password: ADMIN_PASSWORD }, { headers: traced(login) }),
    );
    const spans = spansOf(login);
    const paths = spans.map((span) => pathOf(spans, span));
    expect(paths).toContain(`${LOGIN} > verify password`);
    expect(paths).toContain(`${LOGIN} > transaction > BEGIN`);
    expect(paths).toContain(`${LOGIN} > transaction > insert sessions`);
    expect(paths).toContain(`${LOGIN} > transaction > COMMIT`);
    expect(paths).toContain(`${LOGIN} > select users`);

    const insert = named(spans, 'insert sessions');
    expect(insert.kind).toBe(SpanKind.CLIENT);
    expect(insert.attributes).toEqual({
      'db.system.name': system,
      'db.query.summary': 'insert sessions',
      'db.query.text': expect.stringMatching(/^insert into "sessions" \(.*\) values \((\$\d+|\?)/),
    });
    expect(named(spans, 'COMMIT').attributes).toEqual({ 'db.system.name': system, 'db.operation.name': 'COMMIT' });
    expect(named(spans, 'transaction')).toMatchObject({
      kind: SpanKind.INTERNAL,
      attributes: { 'db.system.name': system },
    });

    const created = newTrace();
    const user = { username: 'grace', email: 'grace@example.org', name: 'Grace', password: 'a very long password' };
    await kith.client(UserService, accessToken).createUser(user, { headers: traced(created) });
    expect(spansOf(created).map((span) => span.name)).toContain('hash password');

    const search = newTrace();
    await kith.client(ContactService, accessToken).listContacts({ query: 'grace' }, { headers: traced(search) });
    const found = spansOf(search).find((span) => span.name.includes('contact_terms'));
    expect(found?.parentSpanContext?.spanId).toBe(
      named(spansOf(search), 'kith.contact.v1.ContactService/ListContacts').spanContext().spanId,
    );

    const again = newTrace();
    await refusalOf(kith.client(UserService, accessToken).createUser(user, { headers: traced(again) }));
    const failed = named(spansOf(again), 'insert users');
    const code = name === 'SQLite' ? '2067' : '23505';
    expect(failed.attributes).toMatchObject({ 'error.type': code, 'db.response.status_code': code });
    expect(failed.status).toEqual({ code: SpanStatusCode.ERROR });
    expect(spansOf(again).map((span) => span.name)).toContain('ROLLBACK');
  });

  test('what it takes to let a call in is a child of the call', async () => {
    await using database = await create();
    await using kith = await startKith({ database });
    const { accessToken } = await kith.admin();
    const { secret } = await kith
      .client(ApiKeyService, accessToken)
      .createApiKey({ name: 'monitoring', permissions: [Permission.USERS_READ] });
    const callers = newTrace();
    await kith.client(UserService, secret).listUsers({}, { headers: traced(callers) });
    const spans = spansOf(callers);
    const paths = spans.map((span) => pathOf(spans, span));
    expect(paths).toContainEqual(expect.stringMatching(/ListUsers > select api_keys/));
  });

  test('nothing that a caller sends or is answered is recorded', async () => {
    await using database = await create();
    await using kith = await startKith({ database });
    const everywhere: Interceptor = (next) => (request) => {
      request.header.set('traceparent', traced(newTrace())['traceparent']!);
      return next(request);
    };
    const transport = (token?: string): Transport =>
      createConnectTransport({
        baseUrl: kith.address,
        httpVersion: '1.1',
        interceptors: [everywhere, ...bearer(token)],
      });
    const secret = (what: string) => `${what}-that-nobody-may-read`;
    const admin = await signedIn(
      createClient(AuthService, transport()).login({ identifier: 'admin', password: ADMIN_PASSWORD }),
    );
    const users = createClient(UserService, transport(admin.accessToken));
    const person = {
      username: 'username.of.hers',
      email: 'her@example.org',
      name: secret('name'),
      password: secret('old'),
    };
    await users.createUser(person);
    await refusalOf(users.createUser(person));
    await refusalOf(users.createUser({ ...person, username: 'username.of.his' }));
    await refusalOf(
      createClient(AuthService, transport()).login({ identifier: person.email, password: secret('wrong') }),
    );
    const hers = await signedIn(
      createClient(AuthService, transport()).login({
        identifier: person.email,
        password: person.password,
      }),
    );
    const auth = createClient(AuthService, transport(hers.accessToken));
    await auth.changePassword({ currentPassword: person.password, newPassword: secret('new') });
    const renewed = await refreshed(
      createClient(AuthService, transport()).refreshAccessToken({
        refreshToken: hers.refreshToken,
      }),
    );
    const key = await createClient(ApiKeyService, transport(admin.accessToken)).createApiKey({
      name: secret('key'),
      permissions: [Permission.USERS_READ],
    });
    await createClient(UserService, transport(key.secret)).listUsers({});
    await refusalOf(createClient(UserService, transport(`${key.secret}x`)).listUsers({}));
    const contacts = createClient(ContactService, transport(renewed.accessToken));
    const { contact } = await contacts.createContact({ givenName: secret('given'), notes: secret('notes') });
    await contacts.listContacts({ query: secret('given') });
    await contacts.updateContact({ contactId: contact!.id, notes: secret('other notes') });

    const spans = exporter.getFinishedSpans();
    expect(spans.length).toBeGreaterThan(60);
    const recorded = JSON.stringify(
      spans.map(({ name: span, attributes, events, status, links }) => ({ span, attributes, events, status, links })),
    );
    for (const hidden of [
      ADMIN_PASSWORD,
      person.username,
      person.email,
      person.password,
      admin.accessToken,
      admin.refreshToken,
      hers.accessToken,
      hers.refreshToken,
      renewed.accessToken,
      renewed.refreshToken,
      key.secret,
      'that-nobody-may-read',
      '$argon2',
      'Bearer',
      contact!.id,
      hers.user.id,
    ]) {
      expect(recorded).not.toContain(hidden);
    }
  });
});

interface LogLine {
  readonly rpc?: string;
  readonly msg?: string;
  readonly trace_id?: string;
  readonly span_id?: string;
}

function linesOf(stdout: string): LogLine[] {
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as LogLine);
}

describe.each(WAYS)('the log, $way,', ({ fastPath }) => {
  test('names the trace of a caller without an SDK too', async () => {
    await using kith = await startProcess({ env: { KITH_ADMIN_PASSWORD: ADMIN_PASSWORD, KITH_FAST_PATH: fastPath } });
    const callers = newTrace();
    const client = createClient(AuthService, grpc(kith.address));
    await client.login({ identifier: 'admin', password: ADMIN_PASSWORD }, { headers: traced(callers) });
    await refusalOf(client.userMe({}, { headers: { traceparent: 'nonsense' } }));
    kith.kill('SIGTERM');
    const lines = linesOf((await kith.exited).stdout);
    expect(lines.find(({ rpc }) => rpc === LOGIN)).toMatchObject({
      trace_id: callers.traceId,
      span_id: callers.spanId,
    });
    expect(lines.find(({ rpc }) => rpc === USER_ME)).not.toHaveProperty('trace_id');
    expect(lines.map(({ msg }) => msg)).not.toContainEqual(expect.stringContaining('traced'));
  });
});

interface ExportedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
}

/** Takes what is exported over OTLP/HTTP. */
async function startCollector() {
  const exports: { resource: { attributes: { key: string; value: unknown }[] }; spans: ExportedSpan[] }[] = [];
  const take = async (request: IncomingMessage): Promise<void> => {
    const { resourceSpans } = JSON.parse(await text(request)) as {
      resourceSpans: { resource: (typeof exports)[0]['resource']; scopeSpans: { spans: ExportedSpan[] }[] }[];
    };
    for (const { resource, scopeSpans } of resourceSpans) {
      exports.push({ resource, spans: scopeSpans.flatMap(({ spans }) => spans) });
    }
  };
  const server = createServer((request, response) => {
    take(request).then(
      () => response.setHeader('content-type', 'application/json').end('{}'),
      () => response.writeHead(400).end(),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exports,
    [Symbol.dispose]: () => void server.close(),
  };
}

test('the file of deploy/ sends the traces of a process to a collector, also those that end as it stops', async () => {
  using collector = await startCollector();
  const file = fileURLToPath(new URL('../deploy/opentelemetry/otel.mjs', import.meta.url));
  await using kith = await startProcess({
    env: {
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      NODE_OPTIONS: `--import=${file}`,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.address,
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    },
  });
  const callers = newTrace();
  const client = createClient(AuthService, grpc(kith.address));
  await client.login({ identifier: 'admin', password: ADMIN_PASSWORD }, { headers: traced(callers) });
  kith.kill('SIGTERM');
  const { code, stdout, stderr } = await kith.exited;
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringMatching(/error|warning/i) });

  const spans = collector.exports.flatMap((one) => one.spans).filter(({ traceId }) => traceId === callers.traceId);
  const login = spans.find(({ name }) => name === LOGIN);
  expect(login).toMatchObject({ parentSpanId: callers.spanId });
  expect(spans.find(({ name }) => name === 'verify password')).toMatchObject({ parentSpanId: login?.spanId });
  const resource = Object.fromEntries(collector.exports[0]!.resource.attributes.map(({ key, value }) => [key, value]));
  expect(resource).toMatchObject({
    'service.name': { stringValue: 'kith' },
    'deployment.environment.name': { stringValue: 'test' },
  });
  const lines = linesOf(stdout);
  expect(lines.map(({ msg }) => msg)).toContain('tracing calls: an OpenTelemetry SDK is registered');
  expect(lines.find(({ rpc }) => rpc === LOGIN)).toMatchObject({ trace_id: callers.traceId, span_id: login?.spanId });
});
