import { randomUUID } from 'node:crypto';
import {
  type DescField,
  type DescMessage,
  type DescMethod,
  getOption,
  type Message,
  type MessageInitShape,
  ScalarType,
} from '@bufbuild/protobuf';
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { secret } from '../gen/kith/access/v1/access_pb.ts';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService, type StreamUserActivityRequestSchema } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { RevocationService } from '../gen/kith/auth/v1/revocation_service_pb.ts';
import { ContactFormat, ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { parseConfig } from '../src/config/config.ts';
import { PASSWORD_COST } from '../src/identity/passwords/passwords.ts';
import { Authenticator } from './support/authenticator.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { SERVICES } from '../src/services.ts';
import { exampledMethods } from './support/examples.ts';
import { ADMIN_PASSWORD, bearer, type Kith, refusalOf, type SignedIn } from './support/kith.ts';
import { type ServingProcess, startProcess } from './support/process.ts';
import { http1Request, type RawAnswer, sendHttp1 } from './support/raw.ts';
import { challengeOf, signedIn } from './support/sign-in.ts';

const METHODS: readonly DescMethod[] = SERVICES.flatMap((service) => service.methods);

/** A message type and all that are inside it. */
function withInside(desc: DescMessage, seen = new Set<DescMessage>()): Set<DescMessage> {
  if (seen.has(desc)) return seen;
  seen.add(desc);
  for (const { message } of desc.fields) if (message !== undefined) withInside(message, seen);
  return seen;
}

const MESSAGES = [...new Set(METHODS.flatMap(({ input, output }) => [...withInside(input), ...withInside(output)]))];
const FIELDS = MESSAGES.flatMap(({ fields }) => fields);

/** The methods of AuthService that take no token. */
const PUBLIC = [
  'CompleteLogin',
  'ConfirmSignUp',
  'Login',
  'LoginWithCode',
  'RefreshAccessToken',
  'RequestLoginCode',
  'RequestPasswordReset',
  'ResetPassword',
  'SignUp',
  'TakeEmailBack',
];

const isSecret = (field: DescField): boolean => getOption(field, secret);
const nameOf = (field: DescField): string => `${field.parent.typeName}.${field.name}`;

describe('the contract', () => {
  /** Words that name a credential, or what is known to look like one and is none. */
  const CREDENTIAL = /password|secret|token|code|uri$|credential|\bkey$/;
  const NONE = /page_token$|_time$|^must_change_|_hint$|_left$|postal_code$|country_code$/;

  test('marks every field that by its name holds a credential, so that nothing prints it', () => {
    const unmarked = FIELDS.filter(
      (field) =>
        field.scalar === ScalarType.STRING && CREDENTIAL.test(field.name) && !NONE.test(field.name) && !isSecret(field),
    );
    expect(unmarked.map(nameOf)).toEqual([]);
  });

  test('has no credential in what a GET carries in its URL', () => {
    const gets = METHODS.filter(({ idempotency }) => idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS);
    const carried = gets.flatMap(({ input }) => [...withInside(input)]).flatMap(({ fields }) => fields);
    expect(gets.length).toBeGreaterThan(5);
    expect(carried.filter(isSecret).map(nameOf)).toEqual([]);
  });
});

/** What was sent and answered that must not be seen again. */
class Secrets {
  /** By the field that held them, the last one found. */
  readonly values = new Map<string, string>();
  readonly fields = new Set<string>();
  readonly methods = new Set<string>();

  add(value: string, where: string): void {
    if (value !== '') this.values.set(value, where);
  }

  addFrom(desc: DescMessage, message: Message): void {
    const reflected = reflect(desc, message);
    for (const field of desc.fields) {
      if (!reflected.isSet(field)) continue;
      if (field.fieldKind === 'scalar' && isSecret(field)) this.#found(field, [reflected.get(field)]);
      else if (field.fieldKind === 'list' && isSecret(field)) this.#found(field, reflected.get(field));
      else if (field.fieldKind === 'message') this.addFrom(field.message, reflected.get(field).message);
      else if (field.fieldKind === 'list' && field.listKind === 'message') {
        for (const item of reflected.get(field)) this.addFrom(field.message, (item as ReflectMessage).message);
      }
    }
  }

  #found(field: DescField, values: Iterable<unknown>): void {
    for (const value of values) this.add(String(value), nameOf(field));
    this.fields.add(nameOf(field));
  }

  /** Which are in a text: of six digits as a word, since other numbers hold any six digits. */
  seenIn(text: string): string[] {
    return [...this.values]
      .filter(([value]) =>
        /^\d{6}$/.test(value) ? new RegExp(`(?<![\\w.:-])${value}(?![\\w.:-])`).test(text) : text.includes(value),
      )
      .map(([value, where]) => `${where}: ${value}`);
  }

  readonly interceptor: Interceptor = (next) => async (request) => {
    this.methods.add(`${request.method.parent.typeName}/${request.method.name}`);
    this.add(request.header.get('authorization')?.slice('Bearer '.length) ?? '', 'authorization');
    if (!request.stream) this.addFrom(request.method.input, request.message);
    const response = await next(request);
    if (!response.stream) this.addFrom(request.method.output, response.message);
    return response;
  };
}

describe.each(databases)('on $name, at the log level trace', (kind) => {
  const secrets = new Secrets();
  const echoed: string[] = [];
  const refusedMethods = new Set<string>();
  let database: TestDatabase;
  let server: ServingProcess;
  let kith: Kith;
  let stored: string;
  let log: { readonly stdout: string; readonly stderr: string };

  beforeAll(async () => {
    database = await kind.create();
    const env = {
      ...database.env,
      KITH_LOG_LEVEL: 'trace',
      KITH_SIGN_UP: 'open',
      KITH_LOGIN_CODES: 'true',
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_SIGN_IN_FAILURES_PER_ADDRESS: '1000000',
    };
    server = await startProcess({ env });
    kith = clientsOf(server, env, database, secrets);
    for (const { example } of exampledMethods) await callAsIn(example);
    await signInByEveryStep();
    await watchEverything();
    for (const method of METHODS) await misuse(method);
    stored = await database.dump();
    server.kill('SIGTERM');
    log = await server.exited;
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  async function callAsIn(example: (typeof exampledMethods)[number]['example']): Promise<void> {
    const { accessToken, request, verify } = await example(kith);
    const { method } = exampledMethods.find((candidate) => candidate.example === example)!;
    const client = kith.client(method.parent, accessToken) as Record<string, (request: object) => Promise<unknown>>;
    await client[method.localName]!(request);
    if (method.name === 'SetLogLevel') await verify?.(); // which takes it back: each call is to have its line
  }

  /** With a code of the app, with a recovery code, and with an imported hash that has to be changed. */
  async function signInByEveryStep(): Promise<void> {
    const auth = kith.client(AuthService);
    const { user, password, accessToken } = await kith.user();
    const secondFactor = kith.client(SecondFactorService, accessToken);
    const app = new Authenticator((await secondFactor.enrollTotp({})).uri, kith.clock);
    const { recoveryCodes } = await secondFactor.confirmTotp({ code: app.next() });
    for (const answer of [
      { case: 'totpCode', value: app.code(1) },
      { case: 'recoveryCode', value: recoveryCodes[0]! },
    ] as const) {
      const { challengeToken } = await challengeOf(auth.login({ identifier: user.username, password }));
      await auth.completeLogin({ challengeToken, answer });
    }
    const { accessToken: admin } = await kith.admin();
    await kith.client(UserService, admin).createUser({
      username: 'imported',
      email: 'imported@example.org',
      name: 'Imported',
      passwordHash: '$2b$04$SNBjG37a.BBF4zvloyHl5OGMUbunP0VFds7FX4WDWwB52QHrqZdVe',
    });
    await refusalOf(auth.login({ identifier: 'imported', password: `wrong ${randomUUID()}` }));
    const passwordHash = '$2b$04$TNBjG37a.BBF4zvloyHl5OGMUbunP0VFds7FX4WDWwB52QHrqZdVe';
    const row = { username: 'in-a-batch', email: 'in-a-batch@example.org', name: 'In a batch', passwordHash };
    await kith.client(UserService, admin).importUsers({ users: [row] });
  }

  async function watchEverything(): Promise<void> {
    const { accessToken, user } = await kith.admin();
    const exporting = kith.client(UserService, accessToken).exportUserData({ userId: user.id });
    for await (const _ of exporting) break;
    const contacts = kith.client(ContactService, accessToken).exportContacts({ format: ContactFormat.CSV });
    for await (const _ of contacts) break;
    for await (const _ of kith.client(ActivityService, accessToken).watchUserActivity({})) break;
    for await (const _ of kith.client(RevocationService, accessToken).watchRevocations({})) break;
    async function* nothing(): AsyncGenerator<MessageInitShape<typeof StreamUserActivityRequestSchema>> {}
    for await (const _ of kith.client(ActivityService, accessToken).streamUserActivity(nothing())) break;
  }

  /** Sends made up secrets in every field for them, in ways that are refused. */
  async function misuse(method: DescMethod): Promise<void> {
    const { accessToken } = await kith.admin();
    const path = `/${method.parent.typeName}/${method.name}`;
    const secret = (): string => {
      const made = `s3cr3t${randomUUID().replaceAll('-', '')}`;
      secrets.add(made, path);
      return made;
    };
    const send = (target: string, body: string, authorization: string) =>
      sendHttp1(
        server.address,
        http1Request('POST', target, { 'content-type': 'application/json', authorization }, body),
      );
    const right = `Bearer ${accessToken}`;
    const tries = method.input.fields
      .filter(isSecret)
      .flatMap(({ jsonName }) => [
        () => send(path, JSON.stringify({ [jsonName]: secret() }), right),
        () => send(path, JSON.stringify({ [jsonName]: secret().repeat(100) }), right),
        () => send(path, JSON.stringify({ [jsonName]: `${secret()}\n` }), right),
        () => send(path, JSON.stringify({ [jsonName]: [secret()] }), right),
        () => send(path, JSON.stringify({ [jsonName]: { [secret()]: secret() } }), right),
        () => send(path, `{"${jsonName}":"${secret()}`, right),
        () => send(path, `{"${jsonName}":"${secret()}" x}`, right),
        () => send(path, `{"${jsonName}":${secret()}}`, right),
      ]);
    if (method.parent !== AuthService || !PUBLIC.includes(method.name)) {
      tries.push(
        () => send(path, '{}', `Bearer ${secret()}`),
        () => send(path, '{}', `Bearer kith_ak_${secret()}`),
        () => send(path, '{}', `Basic ${secret()}`),
        () => send(path, '{}', secret()),
      );
    }
    tries.push(() => send(`${path}?access_token=${secret()}`, '{', right));
    for (const attempt of tries) {
      const answer = await attempt();
      if (answer.status === 200 && method.methodKind === 'unary') echoed.push(`${path} was not refused`);
      echoed.push(...secrets.seenIn(textOf(answer)).map((seen) => `${path} ${answer.status} ${seen}`));
    }
    refusedMethods.add(path.slice(1));
  }

  test('every method of the contract was called, and refused', () => {
    const all = METHODS.map(({ parent, name }) => `${parent.typeName}/${name}`).toSorted();
    expect([...secrets.methods].toSorted()).toEqual(all);
    expect([...refusedMethods].toSorted()).toEqual(all);
  });

  test('every field that holds a credential had one', () => {
    expect([...secrets.fields].toSorted()).toEqual(FIELDS.filter(isSecret).map(nameOf).toSorted());
  });

  test('no refusal says the credential that it refuses', () => {
    expect(echoed).toEqual([]);
  });

  test('no credential and no token is in the log', () => {
    expect(secrets.seenIn(log.stdout)).toEqual([]);
    expect(secrets.seenIn(log.stderr)).toEqual([]);
  });

  test('no credential and no token is stored as it is, but a hash until its user signs in', () => {
    const seen = secrets.seenIn(stored);
    expect(seen.toSorted()).toEqual([
      expect.stringMatching(/^kith\.user\.v1\.CreateUserRequest\.password_hash: /),
      expect.stringMatching(/^kith\.user\.v1\.ImportedUser\.password_hash: /),
    ]);
  });

  test('no answer and no line of the log is a fault', () => {
    expect(log.stdout.split('\n').filter((line) => line.includes('"level":"error"'))).toEqual([]);
    expect(log.stderr).not.toMatch(/ +at .+:\d+:\d+/);
  });

  test('the log has a line for each call: when, what, by whom, how it ended and why', () => {
    const lines = log.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const calls = lines.filter((line) => 'rpc' in line);
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    for (const call of calls) {
      expect(call).toMatchObject({
        time,
        level: 'info',
        requestId: expect.stringMatching(/./),
        rpc: expect.stringMatching(/^kith\..+\/\w+$|^grpc\./),
        protocol: expect.stringMatching(/^(grpc|connect)$/),
        code: expect.stringMatching(/^[a-z_]+$/),
        durationMs: expect.any(Number),
      });
    }
    const unexplained = calls.filter(({ code, reason }) => (code === 'ok') !== (reason === undefined));
    expect(unexplained).toEqual([]);
    const anonymous = calls.filter(({ code, caller }) => code === 'ok' && caller === undefined);
    expect(new Set(anonymous.map(({ rpc }) => rpc))).toEqual(
      new Set(PUBLIC.map((name) => `${AuthService.typeName}/${name}`)),
    );
    expect(new Set(calls.map(({ rpc }) => rpc))).toEqual(secrets.methods);
    for (const [rpc, code, reason] of [
      ['kith.auth.v1.AuthService/Login', 'unauthenticated', 'ERROR_REASON_CREDENTIALS_INVALID'],
      ['kith.auth.v1.AuthService/UserMe', 'unauthenticated', 'ERROR_REASON_ACCESS_TOKEN_INVALID'],
      ['kith.auth.v1.AuthService/UserMe', 'unauthenticated', 'ERROR_REASON_API_KEY_INVALID'],
      ['kith.user.v1.UserService/SetUserPassword', 'invalid_argument', 'ERROR_REASON_FIELDS_INVALID'],
    ]) {
      expect(calls).toContainEqual(expect.objectContaining({ rpc, code, reason }));
    }
  });
});

/** All of an answer, with what is in base64 in it. */
function textOf({ headers, trailers, body }: RawAnswer): string {
  const text = body.toString('latin1');
  const inside = Array.from(text.matchAll(/"value":"([^"]+)"/g), ([, value]) =>
    Buffer.from(value!, 'base64').toString('latin1'),
  );
  return JSON.stringify([headers, trailers, text, inside]);
}

/** A server in a process of its own as the examples call it, by clients that note every secret. */
function clientsOf(
  { address, pid }: ServingProcess,
  env: Readonly<Record<string, string>>,
  database: TestDatabase,
  secrets: Secrets,
): Kith {
  const transport = (accessToken?: string): Transport =>
    createGrpcTransport({ baseUrl: address, interceptors: [...bearer(accessToken), secrets.interceptor] });
  const signIn = async (identifier: string, password: string): Promise<SignedIn> => {
    const response = await signedIn(createClient(AuthService, transport()).login({ identifier, password }));
    return { ...response, user: response.user, password };
  };
  let admin: Promise<SignedIn> | undefined;
  const kith: Kith = {
    address,
    port: Number(new URL(address).port),
    config: parseConfig(env),
    passwordCost: PASSWORD_COST,
    database,
    clock: { offsetMs: 0 },
    subscriptions: () => 0,
    client: (service, accessToken) => createClient(service, transport(accessToken)),
    admin: () => (admin ??= signIn('admin', ADMIN_PASSWORD)),
    async user(role = Role.VIEWER) {
      const { accessToken } = await kith.admin();
      const username = `u${randomUUID()}`;
      const password = `password of ${username}`;
      await kith
        .client(UserService, accessToken)
        .createUser({ username, email: `${username}@example.org`, name: `User ${username}`, role, password });
      return signIn(username, password);
    },
    async stop() {
      process.kill(pid, 'SIGTERM');
    },
    async [Symbol.asyncDispose]() {
      await kith.stop();
    },
  };
  return kith;
}
