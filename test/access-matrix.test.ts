import { createHmac, createPublicKey, randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  getOption,
  hasOption,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { isReflectList, reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';
import { MethodOptions_IdempotencyLevel, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ConnectError, type Transport } from '@connectrpc/connect';
import { calculateJwkThumbprint, decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Health } from '../gen/health/v1/health_pb.ts';
import { access, required_permission } from '../gen/kith/access/v1/access_pb.ts';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SecondFactorService } from '../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { SigningKeyService } from '../gen/kith/auth/v1/signing_key_service_pb.ts';
import { writeApiKey } from '../src/identity/api-keys/api-key.ts';
import { SERVICES } from '../src/services.ts';
import { type Database, openDatabase } from '../src/storage/database.ts';
import { createKeyring } from '../src/kernel/keyring.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { exampleOf } from './support/examples.ts';
import { type Kith, type Refusal, refusalOf, type SignedIn, startKith, protocols } from './support/kith.ts';
import { connectHttp2, http1Request, outcomeOf, sendHttp1, sendHttp2 } from './support/raw.ts';
import { type SigningKey, signingKeyOf } from './support/signing-key.ts';
import { permissionName, permissionsOf } from './support/roles.ts';
import { refreshed, signedIn } from './support/sign-in.ts';

/** Every permission. */
const ALL = permissionsOf(Role.ADMIN);

type Method<I extends DescMessage = DescMessage> = DescMethodUnary<I> | DescMethodServerStreaming<I>;

const THIRD_PARTY = [
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
];

const METHODS = SERVICES.flatMap(({ methods }) => methods as readonly Method[]).map((method) => ({
  name: `${method.parent.typeName}/${method.name}`,
  method,
}));

/** A request in place of the example's, which changes nothing, and how the handler answers it. */
interface Refused {
  readonly request: object;
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
const REFUSED: ReadonlyMap<DescMethod, Refused> = new Map<DescMethod, Refused>([
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

/**
 * A request that is answered if the caller is let in. It lacks fields that take a permission of their own, which tests
 * below try.
 */
async function requestOf(method: Method, caller: SignedIn): Promise<object> {
  const refused = REFUSED.get(method);
  if (refused !== undefined) return refused.request;
  // Else the key that is still to become active would be answered.
  if (method === SigningKeyService.method.rotateSigningKey) await removePendingKeys();
  const cast = { kith, caller: async () => caller, subject: () => kith.user() };
  const { request } = await exampleOf(method)(cast);
  const guarded = method.input.fields.filter((field) => hasOption(field, required_permission));
  return Object.fromEntries(
    Object.entries(request).filter(([name]) => guarded.every(({ localName }) => localName !== name)),
  );
}

/** Beside the own id: what leaves the session of the caller as it is. */
const SELF_REQUESTS: ReadonlyMap<DescMethod, object> = new Map<DescMethod, object>([
  [SessionService.method.revokeAllSessions, { keepCurrent: true }],
]);

/** A call about callers themselves: ids of other things are those of nothing, as the answer says. */
function requestOfSelf(method: Method, selfField: DescField): { readonly request: object; readonly answer: string } {
  const others = method.input.fields.filter((field) => /^(?!request_).*_id$/.test(field.name) && field !== selfField);
  const ids = Object.fromEntries(others.map(({ localName }) => [localName, randomUUID()]));
  const answers = others.map(({ name }) => `NotFound ${name.replace(/_id$/, '').toUpperCase()}_NOT_FOUND`);
  return { request: { ...SELF_REQUESTS.get(method), ...ids }, answer: answers[0] ?? 'ok' };
}

/** What it takes to read a message: what it takes to list it. */
const READERS: ReadonlyMap<DescMessage, Permission> = new Map(
  METHODS.flatMap(({ method }) => {
    const { rule } = getOption(method, access);
    const listed = method.output.fields.find(({ fieldKind }) => fieldKind === 'list')?.message;
    return method.name.startsWith('List') && listed !== undefined && rule.case === 'permission'
      ? [[listed, rule.value] as const]
      : [];
  }),
);

/** The fields that say nothing of a thing: everybody is answered them. */
const ALWAYS: readonly string[] = ['id', 'etag', 'kid'];

/** What an answer holds that a key with these permissions may not read, and what it lacks that the key may. */
function misread(desc: DescMessage, message: Message, permissions: readonly Permission[]): string[] {
  const reflected = reflect(desc, message);
  const present = desc.fields.filter((field) => reflected.isSet(field));
  const permission = READERS.get(desc);
  const more = present.filter(({ name }) => !ALWAYS.includes(name)).map(({ name }) => `${desc.typeName}.${name}`);
  if (permission !== undefined && !permissions.includes(permission)) return more;
  if (permission !== undefined && more.length === 0) return [`nothing of ${desc.typeName} but ${ALWAYS.join()}`];
  if (permission === undefined && present.some(({ name }) => name === 'id')) return [`${desc.typeName} is in no list`];
  return present.flatMap((field) => {
    if (field.message === undefined) return [];
    const value = reflected.get(field);
    const inner = isReflectList(value) ? [...value] : [value];
    return inner.flatMap((item) => misread(field.message, (item as ReflectMessage).message, permissions));
  });
}

/** Waits for the first message of a stream, and leaves. */
async function firstMessage<I extends DescMessage>(
  transport: Transport,
  method: DescMethodServerStreaming<I>,
  headers: Record<string, string>,
  request: MessageInitShape<I>,
): Promise<void> {
  const leaving = new AbortController();
  const requests = (async function* () {
    yield request;
  })();
  const { message } = await transport.stream(method, leaving.signal, undefined, headers, requests);
  await message[Symbol.asyncIterator]().next();
  leaving.abort();
}

/** The answer that the contract declares for a caller who is signed in. */
function declared(method: Method, role: Role): string {
  const { rule } = getOption(method, access);
  if (rule.case !== 'permission' || permissionsOf(role).includes(rule.value)) {
    return REFUSED.get(method)?.answer ?? 'ok';
  }
  return `PermissionDenied PERMISSION_MISSING ${permissionName(rule.value)}`;
}

/** The answer that the contract declares for an API key. It is let in by its permissions alone. */
function declaredForKey(method: Method, { permissions, isExchanged }: KeyCaller): string {
  const { rule, apiKeys, freshSignIn } = getOption(method, access);
  const { answer = 'ok', answerToKey }: Partial<Refused> = REFUSED.get(method) ?? {};
  if (rule.case === 'signedIn' && !apiKeys) return 'PermissionDenied SESSION_REQUIRED';
  if (rule.case === 'permission' && !permissions.includes(rule.value)) {
    return `PermissionDenied PERMISSION_MISSING ${permissionName(rule.value)}`;
  }
  if (freshSignIn) return 'Unauthenticated FRESH_SIGN_IN_REQUIRED';
  return isExchanged ? answer : (answerToKey ?? answer);
}

function isRead(method: Method): boolean {
  return (
    method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS || method.methodKind === 'server_streaming'
  );
}

function isPublic(method: Method): boolean {
  return getOption(method, access).rule.case === 'public';
}

/**
 * Tokens and sign-ins stay good for as long as this takes. Tests put the clock
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
 * Whether all strangers are tried on a method. Who is let in is decided by the header and the method, in one place for
 * all protocols and databases: all of them meet every method once, and one method of each kind over every protocol.
 * The rest meets those whose refusal depends on stored rows or keys, and one for each other refusal.
 */
function meetsAllStrangers(method: Method, isFirst: boolean): boolean {
  return isFirst || ONE_OF_EACH_KIND.includes(method);
}

/** For callers who are signed in, for those who have a permission, and one that goes on. */
const ONE_OF_EACH_KIND: readonly Method[] = [
  AuthService.method.userMe,
  UserService.method.listUsers,
  ActivityService.method.watchUserActivity,
];

function representativesOf(all: readonly Stranger[]): Stranger[] {
  return all.filter(
    (stranger) =>
      [EXPIRED, ENDED, KEY_INVALID].includes(stranger.refusal) ||
      all.find(({ refusal }) => refusal === stranger.refusal) === stranger,
  );
}

let kith: Kith;
/** The server's database, opened beside it. */
let opened: Database;
let signingKey: SigningKey;
let admin: SignedIn;
let viewer: SignedIn;
let editor: SignedIn;
let target: { readonly id: string };
let strangers: readonly Stranger[];
let keys: readonly KeyCaller[];
/** A key that expires when access tokens do. */
let expiring: NewKey;

/** An API key, or an access token that it was exchanged for. */
interface KeyCaller {
  readonly name: string;
  readonly bearer: string;
  readonly isExchanged: boolean;
  /** What it is allowed at present. */
  readonly permissions: readonly Permission[];
  readonly owner: SignedIn;
}

interface NewKey {
  readonly id: string;
  readonly secret: string;
  readonly accessToken: string;
}

/** A key that was used, and what it was exchanged for. */
async function newKey({ accessToken }: SignedIn, permissions: Permission[], expireMs?: number): Promise<NewKey> {
  const expiry = expireMs === undefined ? {} : { expireTime: timestampFromMs(expireMs) };
  const request = { name: 'of the matrix', permissions, ...expiry };
  const { apiKey, secret } = await kith.client(ApiKeyService, accessToken).createApiKey(request);
  const exchanged = await kith.client(ApiKeyService, secret).exchangeApiKey({});
  return { id: apiKey!.id, secret, accessToken: exchanged.accessToken };
}

/** Keys of an admin with each permission alone and with all, and one of a user who has lost the role that it takes. */
async function makeKeys(): Promise<KeyCaller[]> {
  const [owner, fallen] = [await kith.user(Role.ADMIN), await kith.user(Role.EDITOR)];
  const callers: KeyCaller[] = [];
  const add = (name: string, of: SignedIn, { secret, accessToken }: NewKey, permissions: readonly Permission[]) => {
    callers.push({ name, bearer: secret, isExchanged: false, permissions, owner: of });
    callers.push({ name: `${name}, exchanged`, bearer: accessToken, isExchanged: true, permissions, owner: of });
  };
  for (const permission of ALL) add(permissionName(permission), owner, await newKey(owner, [permission]), [permission]);
  add('all permissions', owner, await newKey(owner, [...ALL]), ALL);
  add('no permission', fallen, await newKey(fallen, [Permission.USERS_READ, Permission.ACTIVITY_READ]), []);
  await users().updateUser({ userId: fallen.user.id, role: Role.VIEWER });
  return callers;
}

const users = () => kith.client(UserService, admin.accessToken);

async function newUser(): Promise<{ id: string }> {
  const username = `u${randomUUID()}`;
  const email = `${username}@example.org`;
  return (await users().createUser({ username, email, name: 'Somebody', password: 'a password of mine' })).user!;
}

/** So that rotating makes a key, instead of answering the one that waits for its turn. */
async function removePendingKeys(): Promise<void> {
  await opened.db.deleteFrom('signing_keys').where('activate_ms', '>', Date.now()).execute();
}

/**
 * Works with the server's clock put ahead, and back after. A signing key that waits
 * for its turn is removed before: it would take its turn, and put away the present one.
 */
async function later(ms: number, work: () => Promise<void>): Promise<void> {
  await removePendingKeys();
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
}

async function newContact(accessToken: string): Promise<string> {
  return (await kith.client(ContactService, accessToken).createContact({ givenName: 'Ada' })).contact!.id;
}

describe.each(databases)('on $name', (kind) => {
  // What is stored is read by the same queries whatever carries the call.
  const tried = kind === databases[0] ? PROTOCOLS : PROTOCOLS.slice(0, 1);
  let database: TestDatabase;
  /** All rows, but for when API keys were last used, which the background notes. */
  const dump = async () => (await database.dump()).replaceAll(/"last_used_ms":(?:"?\d+"?|null)/g, '');

  beforeAll(async () => {
    database = await kind.create();
    kith = await startKith({ database, env: ENV });
    opened = await openDatabase(kith.config.databaseUrl);
    signingKey = await signingKeyOf(kith);
    admin = await kith.admin();
    [viewer, editor, target] = [await kith.user(Role.VIEWER), await kith.user(Role.EDITOR), await newUser()];
    strangers = await makeStrangers();
    keys = await makeKeys();
    expiring = await newKey(admin, [...ALL], Date.now() + kith.config.accessTokenTtlMs);
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await kith[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  test('the matrix has every service that is served', async () => {
    const { statuses } = await kith.client(Health).list({});
    const served = Object.keys(statuses).filter((name) => name !== '');
    expect(served.toSorted()).toEqual([...SERVICES.map(({ typeName }) => typeName), ...THIRD_PARTY].toSorted());
    expect(METHODS.filter(({ method }) => !hasOption(method, access))).toEqual([]);
  });

  describe.each(tried)('$name', (protocol) => {
    const isFirst = kind === databases[0] && protocol === PROTOCOLS[0];
    let transport: Transport;
    beforeAll(() => {
      transport = protocol.transport(kith.address);
    });

    /** `ok`, or code, reason and permission of the refusal. */
    async function answerTo<I extends DescMessage>(
      method: Method<I>,
      authorization: string | undefined,
      request: MessageInitShape<I>,
      onAnswer: (answer: Message) => void = () => {},
    ): Promise<string> {
      const headers = authorization === undefined ? {} : { authorization };
      return outcome(
        method.methodKind === 'unary'
          ? transport.unary(method, undefined, undefined, headers, request).then(({ message }) => onAnswer(message))
          : // A connection of its own: clients reset streams that are refused, and a hundred resets look like an attack.
            firstMessage(protocol.transport(kith.address), method, headers, request),
      );
    }

    test.each(METHODS)('$name lets nobody in who is not signed in, unless it is public', async ({ method }) => {
      const request = await requestOf(method, admin);
      const before = await dump();
      const [actual, expected]: Record<string, string>[] = [{}, {}];
      const tried = meetsAllStrangers(method, isFirst) ? strangers : representativesOf(strangers);
      for (const { name, authorization, refusal } of tried) {
        actual![name] = await answerTo(method, authorization, request);
        expected![name] = isPublic(method) ? (REFUSED.get(method)?.answer ?? 'ok') : refusal;
      }
      expect(actual).toEqual(expected);
      expect(await dump()).toBe(before);
    });

    test.each(METHODS)('$name refuses a token or an API key that was good and has expired', async ({ method }) => {
      const request = await requestOf(method, admin);
      const good = [admin.accessToken, expiring.accessToken, expiring.secret];
      for (const bearer of good) {
        expect(await answerTo(AuthService.method.userMe, `Bearer ${bearer}`, {})).toBe('ok');
      }
      await later(kith.config.accessTokenTtlMs + 1000, async () => {
        const before = await dump();
        const answers: string[] = [];
        for (const bearer of good) answers.push(await answerTo(method, `Bearer ${bearer}`, request));
        const { answer = 'ok' } = REFUSED.get(method) ?? {};
        expect(answers).toEqual(isPublic(method) ? [answer, answer, answer] : [EXPIRED, EXPIRED, KEY_INVALID]);
        expect(await dump()).toBe(before);
      });
    });

    test.each(METHODS)('$name answers each role as declared', async ({ method }) => {
      const [actual, expected]: Record<string, { answer: string; writes: boolean }>[] = [{}, {}];
      for (const signedIn of [viewer, editor, admin]) {
        const role = signedIn.user.role;
        const caller = method === AuthService.method.logout ? await signInAgain(signedIn) : signedIn;
        const request = await requestOf(method, caller);
        const before = await dump();
        const answer = await answerTo(method, `Bearer ${caller.accessToken}`, request);
        actual![role] = { answer, writes: (await dump()) !== before };
        const due = declared(method, role);
        expected![role] = { answer: due, writes: due === 'ok' && !isRead(method) };
      }
      expect(actual).toEqual(expected);
    });

    test.each(METHODS)(
      '$name answers API keys by their permissions alone, and what they may read',
      async ({ method }) => {
        const [actual, expected]: Record<string, string>[] = [{}, {}];
        const told: string[] = [];
        const answer = async (key: KeyCaller, request: MessageInitShape<DescMessage>) => {
          actual![key.name] = await answerTo(method, `Bearer ${key.bearer}`, request, (message) => {
            told.push(...misread(method.output, message, key.permissions).map((what) => `${key.name}: ${what}`));
          });
          expected![key.name] = declaredForKey(method, key);
        };
        const isLetIn = (key: KeyCaller) => !/PERMISSION|REQUIRED/.test(declaredForKey(method, key));
        const request = await requestOf(method, admin);
        const before = await dump();
        for (const key of keys.filter((one) => !isLetIn(one))) await answer(key, request);
        expect(await dump()).toBe(before);
        for (const key of keys.filter(isLetIn)) await answer(key, await requestOf(method, key.owner));
        expect(actual).toEqual(expected);
        expect(told).toEqual([]);
      },
    );

    test.each(METHODS.filter(({ method }) => getOption(method, access).freshSignIn))(
      '$name takes a fresh sign-in, which refreshing is not',
      async ({ method }) => {
        const request = await requestOf(method, admin);
        const { refreshToken } = await kith.user(Role.ADMIN);
        await later(kith.config.freshSignInMs + 1000, async () => {
          const { accessToken } = await refreshed(kith.client(AuthService).refreshAccessToken({ refreshToken }));
          const authorization = `Bearer ${accessToken}`;
          expect(await answerTo(AuthService.method.userMe, authorization, {})).toBe('ok');
          const before = await dump();
          expect(await answerTo(method, authorization, request)).toBe('Unauthenticated FRESH_SIGN_IN_REQUIRED');
          expect(await dump()).toBe(before);
        });
      },
    );

    describe.each(METHODS.filter(({ method }) => getOption(method, access).selfField !== ''))('$name', ({ method }) => {
      const field = method.input.fields.find(({ name }) => name === getOption(method, access).selfField)!;
      const { request, answer } = requestOfSelf(method, field);
      const withId = (id: string) => set(create(method.input, request), method.input, field, id);

      test('lets callers in for themselves, however the id is written', async () => {
        const answers = new Set<string>();
        for (const { user, accessToken } of [viewer, editor, admin]) {
          for (const id of [user.id, user.id.toUpperCase()]) {
            answers.add(await answerTo(method, `Bearer ${accessToken}`, withId(id)));
          }
        }
        expect([...answers]).toEqual([answer]);
      });

      test('lets no API key in for being its owner', async () => {
        const before = await dump();
        const [actual, expected]: Record<string, string>[] = [{}, {}];
        const { rule } = getOption(method, access);
        for (const key of keys.filter(({ permissions }) => !permissions.includes(rule.value as Permission))) {
          for (const id of [key.owner.user.id, key.owner.user.id.toUpperCase()]) {
            actual![key.name] = await answerTo(method, `Bearer ${key.bearer}`, withId(id));
            expected![key.name] = declaredForKey(method, key);
          }
        }
        expect(actual).toEqual(expected);
        expect(await dump()).toBe(before);
      });

      test('takes nothing else for the own id', async () => {
        const { id } = viewer.user;
        const others = [
          target.id,
          admin.user.id,
          '',
          ` ${id}`,
          `${id} `,
          `${id}\0`,
          `{${id}}`,
          `urn:uuid:${id}`,
          id.replaceAll('-', ''),
          '*',
          '%',
        ];
        const before = await dump();
        const letIn: string[] = [];
        for (const other of others) {
          const outcome = await answerTo(method, `Bearer ${viewer.accessToken}`, withId(other));
          if (outcome !== declared(method, Role.VIEWER)) letIn.push(other);
        }
        expect(letIn).toEqual([]);
        expect(await dump()).toBe(before);
      });

      const guarded = method.input.fields.filter((candidate) => hasOption(candidate, required_permission));
      const open = method.input.fields.filter((candidate) => candidate !== field && !guarded.includes(candidate));

      test.each(guarded)('does not let callers set their own $name', async (guardedField) => {
        const before = await dump();
        const answers = new Set<string>();
        for (const { user, accessToken } of [viewer, editor]) {
          for (const value of valuesOf(guardedField)) {
            const alone = set(withId(user.id), method.input, guardedField, value);
            answers.add(await answerTo(method, `Bearer ${accessToken}`, alone));
            const beside = set(withId(user.id), method.input, guardedField, value);
            for (const other of open) set(beside, method.input, other, valuesOf(other)[0]!);
            answers.add(await answerTo(method, `Bearer ${accessToken}`, beside));
          }
        }
        expect([...answers]).toEqual([
          `PermissionDenied FIELD_NEEDS_PERMISSION ${permissionName(getOption(guardedField, required_permission))}`,
        ]);
        expect(await dump()).toBe(before);
      });

      test.each(guarded)('names $name, which the caller may not set', async (guardedField) => {
        const request = withId(viewer.user.id);
        set(request, method.input, guardedField, valuesOf(guardedField)[0]!);
        const headers = { authorization: `Bearer ${viewer.accessToken}` };
        const { metadata } = await refusalOf(
          transport.unary(method as DescMethodUnary, undefined, undefined, headers, request),
        );
        expect(metadata).toEqual({
          field: guardedField.name,
          permission: permissionName(getOption(guardedField, required_permission)),
        });
      });
    });

    test.each(['bearer TOKEN', 'BEARER TOKEN', 'Bearer   TOKEN'])('reads %s', async (pattern) => {
      const authorization = pattern.replace('TOKEN', viewer.accessToken);
      expect(await answerTo(AuthService.method.userMe, authorization, {})).toBe('ok');
    });

    test('a role that was taken away is gone with the next call of the same token', async () => {
      const fallen = await kith.user(Role.ADMIN);
      const authorization = `Bearer ${fallen.accessToken}`;
      const remove = { userId: (await newUser()).id };
      expect(await answerTo(UserService.method.listUsers, authorization, {})).toBe('ok');
      await users().updateUser({ userId: fallen.user.id, role: Role.VIEWER });
      const before = await dump();
      expect(await answerTo(UserService.method.listUsers, authorization, {})).toBe(
        'PermissionDenied PERMISSION_MISSING PERMISSION_USERS_READ',
      );
      expect(await answerTo(UserService.method.deleteUser, authorization, remove)).toBe(
        'PermissionDenied PERMISSION_MISSING PERMISSION_USERS_WRITE',
      );
      expect(await dump()).toBe(before);
      await users().updateUser({ userId: fallen.user.id, role: Role.EDITOR });
      expect(await answerTo(UserService.method.listUsers, authorization, {})).toBe('ok');
    });

    const BY_ID = ContactService.methods.filter(({ input }) => input.fields.some(({ name }) => name === 'contact_id'));

    test.each(BY_ID)('$name tells nobody, admins included, that somebody else has a contact', async (method) => {
      const live = await newContact(editor.accessToken);
      const deleted = await newContact(editor.accessToken);
      const mine = kith.client(ContactService, editor.accessToken);
      await mine.deleteContact({ contactId: deleted });
      const { etag } = (await mine.getContact({ contactId: live })).contact!;
      const before = await dump();
      for (const { accessToken } of [viewer, admin]) {
        const headers = { authorization: `Bearer ${accessToken}` };
        const ask = (request: Record<string, unknown>) =>
          fullRefusal(transport.unary(method as DescMethodUnary, undefined, undefined, headers, request));
        const missing = await ask({ contactId: live.replace(/.{12}$/, '0123456789ab') });
        expect(missing).toMatchObject({ code: 'NotFound', reason: 'CONTACT_NOT_FOUND' });
        for (const request of [
          { contactId: live },
          { contactId: live.toUpperCase() },
          { contactId: live, etag },
          { contactId: live, etag: 'x' },
          { contactId: deleted },
        ]) {
          expect(await ask(request)).toEqual(missing);
        }
      }
      expect(await dump()).toBe(before);
    });

    test('a list shows the contacts of the caller alone, whatever is asked for', async () => {
      const mark = `Mark${randomUUID().slice(0, 8)}`;
      await kith.client(ContactService, editor.accessToken).createContact({ givenName: mark });
      for (const [{ accessToken }, count] of [
        [viewer, 0],
        [admin, 0],
        [editor, 1],
      ] as const) {
        const request = { query: mark, includeTotalSize: true };
        const { contacts, totalSize } = await kith.client(ContactService, accessToken).listContacts(request);
        expect([contacts.length, totalSize]).toEqual([count, count]);
      }
    });
  });

  describe('the path of a method', () => {
    const { listUsers, deleteUser } = UserService.method;

    test.each([listUsers, deleteUser])('$name is checked in every spelling that leads to it', async (method) => {
      const { id } = await newUser();
      const before = await dump();
      await using session = await connectHttp2(kith.address);
      const body = JSON.stringify(method === deleteUser ? { userId: id } : {});
      const wrong: string[] = [];
      for (const path of spellings(method, kith.port)) {
        for (const [authorization, refusal] of [
          ['', 'Unauthenticated ACCESS_TOKEN_MISSING'],
          [`Bearer ${viewer.accessToken}`, 'PermissionDenied PERMISSION_MISSING'],
        ] as const) {
          const headers = { 'content-type': 'application/json', ...(authorization && { authorization }) };
          const answers = {
            POST: await sendHttp1(kith.address, http1Request('POST', path, headers, body)),
            GET: await sendHttp1(kith.address, http1Request('GET', withQuery(path), headers)),
            'POST over HTTP/2': await sendHttp2(session, { ':path': path, ...headers }, body),
          };
          for (const [how, answer] of Object.entries(answers)) {
            // HTTP/2 resets a stream whose :path is none (RFC 9113, 8.3.1).
            if (answer.status === 0 && !path.startsWith('/') && how.endsWith('HTTP/2')) continue;
            const { code, reason } = await outcomeOf(answer);
            const allowed = [refusal, 'Unimplemented METHOD_UNKNOWN', 'InvalidArgument MALFORMED_REQUEST'];
            if (!allowed.includes(`${code} ${reason}`)) wrong.push(`${how} ${path}: ${code} ${reason}`);
          }
        }
      }
      expect(wrong).toEqual([]);
      expect(await dump()).toBe(before);
    });

    test('a method that is percent-encoded is nothing, for those who may call it too', async () => {
      const path = '/kith.user.v1.UserService/%4cist%55sers';
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${editor.accessToken}` };
      const { status } = await sendHttp1(kith.address, http1Request('POST', path, headers, '{}'));
      expect(status).toBe(404);
    });
  });
});

function spellings(method: Method, port: number): string[] {
  const path = `/${method.parent.typeName}/${method.name}`;
  const [, service = '', name = ''] = path.split('/');
  const hex = (char: string) => `%${char.charCodeAt(0).toString(16)}`;
  return [
    path,
    `/${service}/${hex(name[0]!)}${name.slice(1)}`,
    `/${service}/${hex(name[0]!).toUpperCase()}${name.slice(1)}`,
    `/${hex('k')}${service.slice(1)}/${name}`,
    `/${service.replaceAll(/./g, hex)}/${name.replaceAll(/./g, hex)}`,
    `/${service}%2f${name}`,
    `/${service}%2F${name}`,
    `/${service}/%25${hex(name[0]!).slice(1)}${name.slice(1)}`,
    `/${path}`,
    `//${path}`,
    `/${service}//${name}`,
    `${path}/`,
    `${path}//`,
    path.toLowerCase(),
    path.toUpperCase(),
    `/${service}/${name[0]!.toLowerCase()}${name.slice(1)}`,
    `/./${service}/${name}`,
    `/${service}/./${name}`,
    `/healthz/../${service}/${name}`,
    `/healthz/%2e%2e/${service}/${name}`,
    `/.well-known/jwks.json/../../${service}/${name}`,
    `${path}?`,
    `${path}?path=/healthz`,
    `${path}?connect=v1&encoding=json&message={}`,
    `${path};a=b`,
    `${path};/healthz`,
    `${path}%00`,
    `${path}%20`,
    `${path}%ff`,
    `${path}%`,
    `${path}.`,
    `\\${service}\\${name}`,
    `http://localhost:${port}${path}`,
    `http://localhost${path}`,
    `https://localhost${path}`,
    `HTTP://LOCALHOST${path}`,
    `http://elsewhere.example${path}`,
    `http://user:password@localhost${path}`,
    `http://[::bad${path}`,
    `http://localhost:99999${path}`,
    `http://${path}`,
    `http:${path}`,
    `//localhost${path}`,
    `*`,
    `/`,
  ];
}

function withQuery(path: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}connect=v1&encoding=json&message=%7B%7D`;
}

async function signInAgain({ user, password }: SignedIn): Promise<SignedIn> {
  const { accessToken, refreshToken } = await signedIn(
    kith.client(AuthService).login({ identifier: user.username, password }),
  );
  return { user, password, accessToken, refreshToken };
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

/** A refusal with all that was sent along, but for what differs with every call. */
async function fullRefusal(call: Promise<unknown>): Promise<Refusal & { headers: object }> {
  const error: unknown = await call.catch((thrown: unknown) => thrown);
  const headers = Object.fromEntries(ConnectError.from(error).metadata);
  delete headers['date'];
  delete headers['x-request-id'];
  return { ...(await refusalOf(call)), headers };
}

function set(message: MessageShape<DescMessage>, desc: DescMessage, field: DescField, value: unknown) {
  reflect(desc, message).set(field, value);
  return message;
}

/** A value that the field could hold, and its zero value. */
function valuesOf(field: DescField): readonly (string | number)[] {
  return field.fieldKind === 'enum' ? [2, 0] : ['something', ''];
}

/** What somebody sends who is not signed in. */
interface Stranger {
  readonly name: string;
  readonly authorization: string | undefined;
  readonly refusal: string;
}

const INVALID = 'Unauthenticated ACCESS_TOKEN_INVALID';
const EXPIRED = 'Unauthenticated ACCESS_TOKEN_EXPIRED';
const ENDED = 'Unauthenticated SESSION_ENDED';
const KEY_INVALID = 'Unauthenticated API_KEY_INVALID';

async function makeStrangers(): Promise<Stranger[]> {
  const token = admin.accessToken;
  const [header = '', payload = '', signature = ''] = token.split('.');
  const { kid, privateKey, publicJwk } = signingKey;
  const claims = decodeJwt(token);
  const publicKey = createPublicKey({ key: publicJwk, format: 'jwk' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const der = publicKey.export({ type: 'spki', format: 'der' });
  const other = await generateKeyPair('ES256', { extractable: true });
  const otherJwk = { ...(await exportJWK(other.publicKey)), alg: 'ES256', use: 'sig' };
  const otherKid = await calculateJwkThumbprint(otherJwk);
  const fallen = {
    ended: await kith.user(Role.ADMIN),
    deleted: await kith.user(Role.ADMIN),
    suspended: await kith.user(Role.ADMIN),
  };
  await kith.client(AuthService, fallen.ended.accessToken).logout({});
  await users().deleteUser({ userId: fallen.deleted.user.id });
  await users().updateUser({ userId: fallen.suspended.user.id, state: UserState.SUSPENDED });
  const renewed = await kith.user(Role.ADMIN);
  await signInAndChangePassword(renewed);

  const [key, gone] = [await newKey(admin, [Permission.USERS_WRITE]), await newKey(admin, [Permission.USERS_WRITE])];
  const outcasts = { deleted: await kith.user(Role.ADMIN), suspended: await kith.user(Role.ADMIN) };
  const keyOfDeleted = await newKey(outcasts.deleted, [Permission.USERS_WRITE]);
  const keyOfSuspended = await newKey(outcasts.suspended, [Permission.USERS_WRITE]);
  await kith.client(ApiKeyService, admin.accessToken).revokeApiKey({ userId: admin.user.id, apiKeyId: gone.id });
  await users().deleteUser({ userId: outcasts.deleted.user.id });
  await users().updateUser({ userId: outcasts.suspended.user.id, state: UserState.SUSPENDED });

  const HEADER = { alg: 'ES256', typ: 'at+jwt', kid };
  /** Signed with the server's own key. */
  const signed = (changes: object, header: object = HEADER) =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader(header as typeof HEADER).sign(privateKey);
  /** Signed with a key that anybody can make. */
  const forged = (header: object, key = other.privateKey) =>
    new SignJWT(claims).setProtectedHeader(header as typeof HEADER).sign(key);
  const unsigned = (alg: string, end = '') => `${encode({ ...HEADER, alg })}.${payload}.${end}`;
  const hmac = (alg: string, hash: string, secret: string | Buffer) => {
    const input = `${encode({ ...HEADER, alg })}.${payload}`;
    return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
  };
  const seconds = Math.floor(Date.now() / 1000);

  const tokens: [name: string, token: string, refusal?: string][] = [
    ['one letter', 'x'],
    ['undefined', 'undefined'],
    ['dots', '...'],
    ['three words', 'a.b.c'],
    ['five parts, as of an encrypted one', `${token}.a.b`],
    ['a token cut short', token.slice(0, -10)],
    ['a token without its signature', `${header}.${payload}.`],
    ['a token without signature and dot', `${header}.${payload}`],
    ['a payload with the signature of another', `${header}.${viewer.accessToken.split('.')[1]}.${signature}`],
    ['a header with the signature of another', `${encode({ ...HEADER, x: 1 })}.${payload}.${signature}`],
    ['a payload that is not JSON', `${header}.${Buffer.from('{').toString('base64url')}.${signature}`],
    ['a payload that is null', `${header}.${encode(null)}.${signature}`],
    ['a header that is not JSON', `e30x.${payload}.${signature}`],
    ['a header that is a list', `${encode([HEADER])}.${payload}.${signature}`],
    ['a token of 10,000 characters', `${header}.${payload}${'A'.repeat(10_000)}.${signature}`],
    ['a refresh token', admin.refreshToken],
    ['the password', Buffer.from(admin.password).toString('base64url')],
    ...['none', 'None', 'NONE', 'nOnE', '', 'none ', 'ES256 ', 'es256'].flatMap((alg): [string, string][] => [
      [`alg ${JSON.stringify(alg)} and no signature`, unsigned(alg)],
      [`alg ${JSON.stringify(alg)} and the signature of a good one`, unsigned(alg, signature)],
    ]),
    ['alg null', `${encode({ ...HEADER, alg: null })}.${payload}.`],
    ['no alg', `${encode({ typ: HEADER.typ, kid: HEADER.kid })}.${payload}.${signature}`],
    ['HS256 with the public key in PEM as the secret', hmac('HS256', 'sha256', pem)],
    ['HS256 with the public key in PEM without its last line feed', hmac('HS256', 'sha256', pem.trim())],
    ['HS256 with the public key in DER', hmac('HS256', 'sha256', der)],
    ['HS256 with the public key as published', hmac('HS256', 'sha256', JSON.stringify(publicJwk))],
    ['HS256 with x of the public key', hmac('HS256', 'sha256', Buffer.from(publicJwk.x!, 'base64url'))],
    ['HS256 with an empty secret', hmac('HS256', 'sha256', '')],
    ['HS384 with the public key', hmac('HS384', 'sha384', pem)],
    ['HS512 with the public key', hmac('HS512', 'sha512', pem)],
    ['HS256 with the kid as the secret', hmac('HS256', 'sha256', HEADER.kid)],
    ['ES256 in which r and s are zero', `${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`],
    ['ES256 in DER', `${header}.${payload}.${derOf(signature)}`],
    ['ES256 named ES384', unsigned('ES384', signature)],
    ['ES256 named RS256', unsigned('RS256', signature)],
    ['ES256 named EdDSA', unsigned('EdDSA', signature)],
    ['another key under the known kid', await forged(HEADER)],
    // As if the key had been removed since.
    ['another key under its own kid', await forged({ ...HEADER, kid: otherKid }), EXPIRED],
    ['another key without a kid', await forged({ alg: 'ES256', typ: 'at+jwt' })],
    ['another key in an embedded jwk', await forged({ ...HEADER, kid: otherKid, jwk: otherJwk })],
    ['another key in an embedded jwk under the known kid', await forged({ ...HEADER, jwk: otherJwk })],
    ['another key at a jku', await forged({ ...HEADER, kid: otherKid, jku: `${kith.address}/.well-known/jwks.json` })],
    ['another key at an x5u', await forged({ ...HEADER, kid: otherKid, x5u: 'https://elsewhere.example/cert.pem' })],
    ['another key in an x5c', await forged({ ...HEADER, x5c: [der.toString('base64')] })],
    ['a critical extension', await forged({ ...HEADER, crit: ['b64'], b64: true })],
    ...(await Promise.all(
      [
        '../../../../../../dev/null',
        '/dev/null',
        "' or '1'='1",
        "x' union select 'AAAA' --",
        '__proto__',
        'constructor',
        'toString',
        '',
        '\0',
        `${HEADER.kid} `,
      ].map(async (kid): Promise<[string, string]> => [`kid ${JSON.stringify(kid)}`, await forged({ ...HEADER, kid })]),
    )),
    ['the kid in capitals', await forged({ ...HEADER, kid: HEADER.kid.toUpperCase() }), EXPIRED],
    ['kid that is a list', await forged({ ...HEADER, kid: [HEADER.kid] })],
    ['another issuer', await signed({ iss: 'https://elsewhere.example' })],
    ['an issuer with a slash more', await signed({ iss: `${claims.iss}/` })],
    ['no issuer', await signed({ iss: undefined })],
    ['another audience', await signed({ aud: 'elsewhere' })],
    ['several audiences that are others', await signed({ aud: ['a', 'b'] })],
    ['no audience', await signed({ aud: undefined })],
    ['typ JWT', await signed({}, { ...HEADER, typ: 'JWT' })],
    ['typ id_token', await signed({}, { ...HEADER, typ: 'id_token+jwt' })],
    ['no typ', await signed({}, { alg: HEADER.alg, kid: HEADER.kid })],
    ['no sid', await signed({ sid: undefined })],
    ['sid that is a number', await signed({ sid: 1 })],
    ['sid that is null', await signed({ sid: null })],
    ['sid that is a list', await signed({ sid: [claims['sid']] })],
    ['no sub', await signed({ sub: undefined })],
    ['no jti', await signed({ jti: undefined })],
    ['no exp', await signed({ exp: undefined })],
    ['exp that is a text', await signed({ exp: String(claims.exp) })],
    ['no iat', await signed({ iat: undefined })],
    ['nbf that is to come', await signed({ nbf: seconds + 3600 })],
    ['exp that has passed', await signed({ exp: seconds - 1 }), EXPIRED],
    ['exp 0', await signed({ exp: 0 }), EXPIRED],
    ['a session that was signed out', fallen.ended.accessToken, ENDED],
    ['a user who was deleted', fallen.deleted.accessToken, ENDED],
    ['a user who was suspended', fallen.suspended.accessToken, ENDED],
    ['a session before a new password', renewed.accessToken, ENDED],
    ['a session with a scope', await signed({ scope: 'users.write' })],
    ['a session that is named a client', await signed({ client_id: claims['sid'] })],
    ['an API key that was revoked', gone.secret, KEY_INVALID],
    ['an access token of an API key that was revoked', gone.accessToken, KEY_INVALID],
    ['an API key of a user who was deleted', keyOfDeleted.secret, KEY_INVALID],
    ['an access token of it', keyOfDeleted.accessToken, KEY_INVALID],
    ['an API key of a user who was suspended', keyOfSuspended.secret, KEY_INVALID],
    ['an access token of that', keyOfSuspended.accessToken, KEY_INVALID],
    ['an API key of another installation', writeApiKey(createKeyring(new Uint8Array(32)), key.id), KEY_INVALID],
    ['another API key with the id of one', writeApiKey(createKeyring(kith.config.secretKey!), key.id), KEY_INVALID],
    ['an API key cut short', key.secret.slice(0, -1), KEY_INVALID],
    ['an API key with a character more', `${key.secret}0`, KEY_INVALID],
    ['an API key in upper case', key.secret.toUpperCase()],
    ['the id of an API key', key.id],
    ['the prefix of an API key', 'kith_ak_', KEY_INVALID],
  ];
  const headers: [name: string, authorization: string | undefined, refusal?: string][] = [
    ['no header', undefined, 'Unauthenticated ACCESS_TOKEN_MISSING'],
    ['an empty header', ''],
    ['Bearer alone', 'Bearer'],
    ['a token without a scheme', token],
    ['Basic', `Basic ${Buffer.from(`admin:${admin.password}`).toString('base64')}`],
    ['Token', `Token ${token}`],
    ['DPoP', `DPoP ${token}`],
    ['Bearer:', `Bearer: ${token}`],
    ['Bearer with a quoted token', `Bearer "${token}"`],
    ['Bearer twice', `Bearer Bearer ${token}`],
    ['a tab for the blank', `Bearer\t${token}`],
    ['a blank inside', `Bearer ${token.slice(0, 50)} ${token.slice(50)}`],
    ['a word after it', `Bearer ${token} x`],
    ['two tokens', `Bearer ${token}, Bearer ${token}`],
    ['a no-break space after it', `Bearer ${token}\u00a0`],
    ['another character after it', `Bearer ${token}!`],
    ['padding inside', `Bearer ${header}=.${payload}.${signature}`],
  ];
  return [
    ...headers.map(([name, authorization, refusal = INVALID]) => ({ name, authorization, refusal })),
    ...tokens.map(([name, value, refusal = INVALID]) => ({ name, authorization: `Bearer ${value}`, refusal })),
  ];
}

async function signInAndChangePassword(user: SignedIn): Promise<void> {
  const { accessToken } = await signInAgain(user);
  const change = { currentPassword: user.password, newPassword: `new ${user.password}` };
  await kith.client(AuthService, accessToken).changePassword(change);
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** A signature as TLS has it, instead of r and s side by side. */
function derOf(signature: string): string {
  const bytes = Buffer.from(signature, 'base64url');
  const integers = [bytes.subarray(0, 32), bytes.subarray(32)].map((integer) => Buffer.from([2, 33, 0, ...integer]));
  return Buffer.concat([Buffer.from([0x30, 70]), ...integers]).toString('base64url');
}
