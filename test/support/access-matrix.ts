import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  getOption,
  hasOption,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { MethodOptions_IdempotencyLevel, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Client, Transport } from '@connectrpc/connect';
import { access, required_permission } from '../../gen/kith/access/v1/access_pb.ts';
import { type Permission, Role } from '../../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../../gen/kith/auth/v1/session_service_pb.ts';
import { SigningKeyService } from '../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { SERVICES } from '../../src/services.ts';
import { type Database, openDatabase } from '../../src/storage/database.ts';
import type { DatabaseKind } from './databases.ts';
import { databases } from './databases.ts';
import { exampleOf } from './examples.ts';
import { type Kith, type Protocol, protocols, refusalOf, type SignedIn, startKith } from './kith.ts';
import { permissionName, permissionsOf } from './roles.ts';

/** Every permission. */
export const ALL = permissionsOf(Role.ADMIN);

export type Method<I extends DescMessage = DescMessage> =
  | DescMethodUnary<I>
  | DescMethodServerStreaming<I>
  | DescMethodBiDiStreaming<I>;

/** Every method of the contract that is served. */
export const METHODS = SERVICES.flatMap(({ methods }) => methods as readonly Method[]).map((method) => ({
  name: `${method.parent.typeName}/${method.name}`,
  method,
}));

/** Those that can be called over a protocol: a bidirectional stream takes HTTP/2. */
export function methodsOver({ name }: Protocol) {
  return METHODS.filter(({ method }) => method.methodKind !== 'bidi_streaming' || !name.endsWith('/1.1'));
}

/** A request in place of the example's, which changes nothing, and how the handler answers it. */
export interface Refused {
  readonly request: Record<string, unknown>;
  readonly answer: string;
  /** How it answers an API key, where that is another answer. */
  readonly answerToKey?: string;
}

const FIELDS_INVALID = 'InvalidArgument FIELDS_INVALID';
const NO_SECOND_FACTOR = { request: {}, answer: 'FailedPrecondition SECOND_FACTOR_NOT_ENABLED' };

/**
 * Methods whose success would end the caller's session, or change how the callers sign in: here, callers who are let in
 * are refused by the handler. The others are called as in their examples.
 */
export const REFUSED: ReadonlyMap<DescMethod, Refused> = new Map<DescMethod, Refused>([
  [AuthService.method.login, { request: { identifier: '', password: 'x' }, answer: FIELDS_INVALID }],
  [
    AuthService.method.completeLogin,
    {
      request: { challengeToken: 'x', answer: { case: 'totpCode', value: '123456' } },
      answer: 'Unauthenticated CHALLENGE_INVALID',
    },
  ],
  [
    AuthService.method.refreshAccessToken,
    { request: { refreshToken: 'x' }, answer: 'Unauthenticated REFRESH_TOKEN_INVALID' },
  ],
  [AuthService.method.requestLoginCode, { request: { identifier: '' }, answer: FIELDS_INVALID }],
  [
    AuthService.method.loginWithCode,
    { request: { identifier: '', clientToken: 'x', code: '1' }, answer: FIELDS_INVALID },
  ],
  [AuthService.method.requestPasswordReset, { request: { identifier: '' }, answer: FIELDS_INVALID }],
  [
    AuthService.method.resetPassword,
    { request: { identifier: '', code: '1', newPassword: 'the next password' }, answer: FIELDS_INVALID },
  ],
  [AuthService.method.signUp, { request: { email: '' }, answer: FIELDS_INVALID }],
  [
    AuthService.method.confirmSignUp,
    {
      request: { email: '', code: '1', username: 'somebody', name: 'Somebody', password: 'the next password' },
      answer: FIELDS_INVALID,
    },
  ],
  [AuthService.method.verifyEmail, { request: {}, answer: FIELDS_INVALID }],
  [AuthService.method.requestEmailChange, { request: {}, answer: FIELDS_INVALID }],
  [AuthService.method.confirmEmailChange, { request: {}, answer: FIELDS_INVALID }],
  [AuthService.method.takeEmailBack, { request: { newPassword: 'the next password' }, answer: FIELDS_INVALID }],
  // A wrong password would be counted in the background.
  [AuthService.method.changePassword, { request: { newPassword: 'the next password' }, answer: FIELDS_INVALID }],
  [
    ApiKeyService.method.exchangeApiKey,
    { request: {}, answer: 'PermissionDenied API_KEY_REQUIRED', answerToKey: 'ok' },
  ],
  [SecondFactorService.method.confirmTotp, { request: { code: 'no code' }, answer: FIELDS_INVALID }],
  [SecondFactorService.method.disableTotp, NO_SECOND_FACTOR],
  [SecondFactorService.method.replaceRecoveryCodes, NO_SECOND_FACTOR],
]);

export function isRead(method: Method): boolean {
  return (
    method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS ||
    // Its example has an address that is verified, to which nothing is mailed.
    method === AuthService.method.requestEmailVerification ||
    // That somebody exports another user is recorded.
    (method.methodKind === 'server_streaming' && method !== UserService.method.exportUserData)
  );
}

export function isPublic(method: Method): boolean {
  return getOption(method, access).rule.case === 'public';
}

/** The answer that the contract declares for a caller who is signed in. */
export function declared(method: Method, role: Role): string {
  const { rule } = getOption(method, access);
  if (rule.case !== 'permission' || permissionsOf(role).includes(rule.value)) {
    return REFUSED.get(method)?.answer ?? 'ok';
  }
  return `PermissionDenied PERMISSION_MISSING ${permissionName(rule.value)}`;
}

/**
 * Tokens and sign-ins stay good for as long as the tests take. They put the clock
 * beyond the end of both and back, and with this still within the hour for which a
 * revocation is in force: one that is over would be forgotten.
 */
const ENV = {
  KITH_SECRET_KEY: randomBytes(32).toString('base64'),
  KITH_ACCESS_TOKEN_SECONDS: '1200',
  KITH_FRESH_SIGN_IN_SECONDS: '1800',
};

const PROTOCOLS = protocols.filter(({ name }) =>
  ['gRPC over HTTP/2', 'gRPC-Web over HTTP/1.1', 'gRPC-Web over HTTP/2', 'Connect JSON over HTTP/1.1'].includes(name),
);

/**
 * The protocols to try on a kind of database: what is stored is read by the same queries whatever carries the call. The
 * first of them all meets everything.
 */
export function protocolsOn(kind: DatabaseKind): readonly (Protocol & { readonly isFirst: boolean })[] {
  const isFirst = kind === databases[0];
  return PROTOCOLS.slice(0, isFirst ? PROTOCOLS.length : 1).map((protocol, i) => ({
    ...protocol,
    isFirst: isFirst && i === 0,
  }));
}

/** An API key that was used, and the access token that it was exchanged for. */
export interface NewKey {
  readonly id: string;
  readonly secret: string;
  readonly accessToken: string;
}

/** A server with one user of each role, whose clock can be put ahead. */
export interface Matrix extends AsyncDisposable {
  readonly kith: Kith;
  readonly viewer: SignedIn;
  readonly editor: SignedIn;
  readonly admin: SignedIn;
  /** Called by the administrator. */
  readonly users: Client<typeof UserService>;
  newUser(): Promise<{ readonly id: string }>;
  newKey(owner: SignedIn, permissions: readonly Permission[], expireMs?: number): Promise<NewKey>;
  /**
   * A request that is answered if the caller is let in. It lacks fields that take a permission of their own, which
   * access-own.test.ts tries.
   */
  requestOf(method: Method, caller: SignedIn): Promise<Record<string, unknown>>;
  /** The same for callers who are refused: it can be sent again and again. */
  refusedRequestOf(method: Method): Promise<Record<string, unknown>>;
  /** All rows, but for when API keys were last used, which is written in the background. */
  dump(): Promise<string>;
  /** Works with the server's clock put ahead, and back after. */
  later(ms: number, work: () => Promise<void>): Promise<void>;
}

export async function startMatrix(kind: DatabaseKind): Promise<Matrix> {
  const database = await kind.create();
  const kith = await startKith({ database, env: ENV });
  const opened = await openDatabase(kith.config.databaseUrl);
  const admin = await kith.admin();
  const users = kith.client(UserService, admin.accessToken);
  const requests = requestsOf(kith);
  return {
    kith,
    admin,
    viewer: await kith.user(Role.VIEWER),
    editor: await kith.user(Role.EDITOR),
    users,
    async newUser() {
      const username = `u${randomUUID()}`;
      const email = `${username}@example.org`;
      return (await users.createUser({ username, email, name: 'Somebody', password: 'a password of mine' })).user!;
    },
    async newKey({ accessToken }, permissions, expireMs) {
      const expiry = expireMs === undefined ? {} : { expireTime: timestampFromMs(expireMs) };
      const request = { name: 'of the matrix', permissions: [...permissions], ...expiry };
      const { apiKey, secret } = await kith.client(ApiKeyService, accessToken).createApiKey(request);
      const exchanged = await kith.client(ApiKeyService, secret).exchangeApiKey({});
      return { id: apiKey!.id, secret, accessToken: exchanged.accessToken };
    },
    async requestOf(method, caller) {
      // Else the key that is still to become active would be answered.
      if (method === SigningKeyService.method.rotateSigningKey) await removePendingKeys(opened);
      return isRead(method) ? requests.keep(method, caller) : requests.make(method, caller);
    },
    refusedRequestOf: (method) => requests.keep(method, admin),
    dump: async () => (await database.dump()).replaceAll(/"last_used_ms":(?:"?\d+"?|null)/g, ''),
    async later(ms, work) {
      // A signing key that waits for its turn would take it, and put away the present one.
      await removePendingKeys(opened);
      const published = async () => {
        const response = await fetch(`${kith.address}/.well-known/jwks.json`);
        return ((await response.json()) as { keys: unknown[] }).keys.length;
      };
      while ((await published()) > 1) await sleep(50);
      kith.clock.offsetMs = ms;
      try {
        await work();
      } finally {
        kith.clock.offsetMs = 0;
      }
    },
    async [Symbol.asyncDispose]() {
      await opened[Symbol.asyncDispose]();
      await kith[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Requests as in the examples, made anew or kept by method and caller. */
function requestsOf(kith: Kith) {
  const kept = new Map<string, Promise<Record<string, unknown>>>();
  async function make(method: Method, caller: SignedIn): Promise<Record<string, unknown>> {
    const refused = REFUSED.get(method);
    if (refused !== undefined) return refused.request;
    const { request } = await exampleOf(method)({ kith, caller: async () => caller, subject: () => kith.user() });
    const guarded = method.input.fields.filter((field) => hasOption(field, required_permission));
    return Object.fromEntries(
      Object.entries(request).filter(([name]) => guarded.every(({ localName }) => localName !== name)),
    );
  }
  function keep(method: Method, caller: SignedIn): Promise<Record<string, unknown>> {
    const key = `${method.parent.typeName}/${method.name} ${caller.user.id}`;
    const request = kept.get(key) ?? make(method, caller);
    kept.set(key, request);
    return request;
  }
  return { make, keep };
}

async function removePendingKeys({ db }: Database): Promise<void> {
  await db.deleteFrom('signing_keys').where('activate_ms', '>', Date.now()).execute();
}

/** How one method is called over one protocol: `ok`, or code, reason and permission of the refusal. */
export type Answers = <I extends DescMessage>(
  method: Method<I>,
  authorization: string | undefined,
  request: MessageInitShape<I>,
  onAnswer?: (answer: Message) => void,
) => Promise<string>;

/** Calls a server over a protocol. */
export function answersOver({ transport: connect }: Protocol, address: string): Answers {
  const transport = connect(address);
  return async (method, authorization, request, onAnswer = () => {}) => {
    const headers = authorization === undefined ? {} : { authorization };
    return outcome(
      method.methodKind === 'unary'
        ? transport.unary(method, undefined, undefined, headers, request).then(({ message }) => onAnswer(message))
        : // A connection of its own: clients reset streams that are refused, and a hundred resets look like an attack.
          firstMessage(connect(address), method, headers, request),
    );
  };
}

async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'ok';
  } catch {
    const { code, reason, metadata } = await refusalOf(call);
    return [code, reason, metadata['permission']].filter(Boolean).join(' ');
  }
}

/** Waits for the first message of a stream, and leaves; where the request ends, for all of them. */
async function firstMessage<I extends DescMessage>(
  transport: Transport,
  method: DescMethodServerStreaming<I> | DescMethodBiDiStreaming<I>,
  headers: Record<string, string>,
  request: MessageInitShape<I>,
): Promise<void> {
  const leaving = new AbortController();
  const requests = (async function* () {
    yield request;
  })();
  const { message } = await transport.stream(method, leaving.signal, undefined, headers, requests);
  for await (const _ of message) if (method.methodKind === 'server_streaming') break;
  leaving.abort();
}

/** Beside the own id: what leaves the session of the caller as it is. */
const SELF_REQUESTS: ReadonlyMap<DescMethod, object> = new Map<DescMethod, object>([
  [SessionService.method.revokeAllSessions, { keepCurrent: true }],
]);

/** Methods that callers may call about themselves. */
export const SELF_METHODS = METHODS.flatMap(({ name, method }) => {
  const { selfField } = getOption(method, access);
  const field = method.input.fields.find((candidate) => candidate.name === selfField);
  if (field === undefined) return [];
  // Ids of other things are those of nothing, as the answer says; an external id is none of Kith's.
  const others = method.input.fields.filter(
    (other) => /^(?!request_|external_).*_id$/.test(other.name) && other !== field,
  );
  const answers = others.map((other) => `NotFound ${other.name.replace(/_id$/, '').toUpperCase()}_NOT_FOUND`);
  /** The call about the user with this id. */
  const withId = (id: string) => {
    const ids = Object.fromEntries(others.map(({ localName }) => [localName, randomUUID()]));
    return setField(create(method.input, { ...SELF_REQUESTS.get(method), ...ids }), method.input, field, id);
  };
  return [{ name, method, field, answer: answers[0] ?? 'ok', withId }];
});

export function setField(
  message: MessageShape<DescMessage>,
  desc: DescMessage,
  field: DescField,
  value: unknown,
): MessageShape<DescMessage> {
  reflect(desc, message).set(field, value);
  return message;
}
