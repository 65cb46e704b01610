import { randomBytes, randomUUID, randomUUIDv7 } from 'node:crypto';
import { create, type DescMethodUnary, type Message } from '@bufbuild/protobuf';
import { createContextValues, type HandlerContext } from '@connectrpc/connect';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { type Caller, type Permission, type Role as RoleName, ROLES } from '../src/kernel/access.ts';
import { createWatchLimits } from '../src/activity/activity.ts';
import { apiKeyService } from '../src/identity/api-keys/service.ts';
import { permissionsOf, selectApiKey } from '../src/identity/api-keys/store.ts';
import { Background } from '../src/kernel/background.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { Failure } from '../src/kernel/failure.ts';
import { createKeyring } from '../src/kernel/keyring.ts';
import { createPasswords } from '../src/identity/passwords/passwords.ts';
import { createAccessCheck, createAccessGate, readAccessRules } from '../src/rpc/access.ts';
import { toPermissions } from '../src/rpc/enums.ts';
import { answerWhatMayBeRead } from '../src/rpc/read-access.ts';
import { startRevocations } from '../src/identity/revocations/revocations.ts';
import { sessionService } from '../src/identity/sessions/service.ts';
import { createSessionUsers } from '../src/identity/sessions/refresh-payer.ts';
import { renew, type SessionsApp, startSession } from '../src/identity/sessions/sessions.ts';
import { createAccessTokens } from '../src/identity/tokens/access-token.ts';
import { SigningKeys } from '../src/identity/tokens/signing-keys.ts';
import { type UsersApp, userService } from '../src/identity/users/service.ts';
import { MailTemplates } from '../src/mail/templates/templates.ts';
import { PERSONAL_DATA } from '../src/services.ts';
import { createOpened, databases, type OpenedDatabase } from './support/databases.ts';
import { sizeOf } from './support/full-size.ts';
import { type Generator, generator } from './support/generator.ts';
import { ALLOWED } from './support/roles.ts';
import { userRow } from './support/rows.ts';

const RUNS = sizeOf('KITH_TEST_RUNS', 400, 2000);
const SEED = Number(process.env['KITH_TEST_SEED'] ?? 1);
/** How many calls one run makes. */
const CALLS = 7;

const SERVICES = [UserService, SessionService, ApiKeyService];

const PASSWORD_HASH = '$2b$10$SNBjG37a.BBF4zvloyHl5OGMUbunP0VFds7FX4WDWwB52QHrqZdVe';
const CLIENT = { address: '192.0.2.1', userAgent: '' };

type App = UsersApp & SessionsApp;
type Implemented = (request: Message, context: HandlerContext) => Promise<Message>;

const cleanUp = new AsyncDisposableStack();
let database: OpenedDatabase;
let app: App;
/** Passes the gate and the check, as a call does. */
let authorize: (caller: Caller, context: HandlerContext, request: Message) => void;
const implemented = new Map<DescMethodUnary, Implemented>();

beforeAll(async () => {
  database = cleanUp.use(await createOpened(databases[0]!));
  const onError = (error: unknown) => {
    throw error;
  };
  const keyring = createKeyring(randomBytes(32));
  const revocations = cleanUp.use(await startRevocations(database, { ...systemClock, onError }));
  const signingKeys = cleanUp.use(
    await SigningKeys.open({ database, keyring, ...systemClock, periodMs: 1e9, onRotated: () => {}, onError }),
  );
  app = {
    database,
    keyring,
    passwords: createPasswords(),
    background: cleanUp.use(new Background(onError)),
    ...systemClock,
    purgeAfterMs: 1e9,
    accessTokenTtlMs: 300_000,
    activityRetentionMs: 1e9,
    contacts: { perUserMax: 10, bytesPerUserMax: 1e6, labelsPerUserMax: 10 },
    accessTokens: createAccessTokens(signingKeys, {
      issuer: 'https://kith.example.org',
      audience: 'kith',
      ttlMs: 3e5,
      now: systemClock.now,
    }),
    sessions: { idleMs: 1e9, maxMs: 1e9, perUserMax: 100 },
    sessionUsers: createSessionUsers(),
    revocations,
    mailTemplates: new MailTemplates({ language: 'en', service: 'Kith', accountUrl: undefined }),
    renew: (caller) => renew(app, caller),
    ...createWatchLimits(10),
  };
  const rules = readAccessRules(SERVICES, []);
  const freshness = { maxAgeMs: 1e6, now: systemClock.now };
  const check = createAccessCheck(rules, freshness);
  authorize = (caller, context, request) => {
    void createAccessGate(rules, () => caller, freshness)(context);
    void check(context, request);
  };
  const implementations = [
    [UserService, userService(app, PERSONAL_DATA)],
    [SessionService, sessionService(app)],
    [ApiKeyService, apiKeyService(app)],
  ] as const;
  for (const [{ methods }, implementation] of implementations) {
    const kept = answerWhatMayBeRead(methods, implementation, rules);
    for (const method of methods) implemented.set(method as DescMethodUnary, kept[method.localName] as Implemented);
  }
});
afterAll(() => cleanUp.disposeAsync());

/** Who makes calls. */
interface Principal {
  readonly kind: Caller['kind'];
  readonly userId: string;
  /** Of the session, or of the key. */
  readonly id: string;
  /** What a key was created with. */
  readonly given?: readonly Permission[];
}

/** One user of a run, as they were made. */
interface Person {
  readonly id: string;
  readonly role: RoleName;
  readonly sessionId: string;
  readonly keyId: string;
}

/** What a call asks for, as far as the model looks at it. */
interface Asked {
  readonly userId?: string;
  readonly role?: Role;
  readonly username?: string;
  readonly email?: string;
  readonly state?: UserState;
  readonly permissions?: readonly Permission[];
}

interface Call {
  readonly method: DescMethodUnary;
  readonly asked: Asked;
  readonly rest?: Readonly<Record<string, unknown>>;
}

/** Makes users with one session and one key each, and a key with these permissions for the last of them. */
async function makePeople(roles: readonly RoleName[], given: readonly Permission[]): Promise<[Person[], string]> {
  const people = roles.map((role) => ({ id: randomUUIDv7(), role, keyId: randomUUIDv7(), sessionId: randomUUIDv7() }));
  const own = randomUUIDv7();
  const now = Date.now();
  const session = { epoch: 0, refresh_counter: 0, refresh_ms: now, create_ms: now, end_ms: null, methods: 'pwd' };
  const ends = { expire_ms: now + 1e9, end_by_ms: now + 1e9, user_agent: '', address: '' };
  const key = { name: 'key', secret_hash: '', secret_hint: '', create_ms: now, expire_ms: null, last_used_ms: null };
  const keys = [
    ...people.map(({ keyId, id, role }) => ({ id: keyId, user_id: id, permissions: JSON.stringify(ALLOWED[role]) })),
    { id: own, user_id: people.at(-1)!.id, permissions: JSON.stringify(given) },
  ];
  await database.transaction(async (tx) => {
    await tx
      .insertInto('users')
      .values(people.map(({ id, role }) => userRow({ id, role })))
      .execute();
    await tx
      .insertInto('sessions')
      .values(people.map(({ sessionId, id }) => ({ id: sessionId, user_id: id, ...session, ...ends })))
      .execute();
    await tx
      .insertInto('api_keys')
      .values(keys.map((row) => ({ ...row, ...key })))
      .execute();
  });
  return [people, own];
}

/** Who that is at present; undefined when it is refused. */
async function callerOf({ kind, userId, id }: Principal): Promise<Caller | undefined> {
  if (kind === 'session') return renew(app, { userId, sessionId: id }).catch(() => undefined);
  const state = await selectApiKey(database.db, id);
  if (state === undefined || state.ownerState !== 'active') return undefined;
  const permissions = permissionsOf(state.key).intersection(new Set(ALLOWED[state.ownerRole]));
  return { kind, userId, sessionId: id, permissions, signInMs: undefined };
}

/** Signs in as a user whose password or address the callers have set. */
async function signInAs(id: string): Promise<Principal[]> {
  return database.transaction(async (tx) => {
    const user = await tx.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
    if (user?.state !== 'active') return [];
    const session = await startSession(tx, app, { id, sessionEpoch: user.session_epoch }, CLIENT, ['pwd']);
    return [{ kind: 'session', userId: id, id: session.id }];
  });
}

function subset<T>(random: Generator, values: readonly T[]): T[] {
  const density = random.below(4);
  return values.filter(() => random.below(4) <= density);
}

function makeCall(
  random: Generator,
  people: readonly Person[],
  mine: readonly string[],
  gone: readonly string[],
): Call {
  const target = random.pick(people);
  const userId = random.below(4) === 0 && mine.length > 0 ? random.pick(mine) : target.id;
  const name = `u${randomUUID()}`;
  const role = random.pick([undefined, Role.VIEWER, Role.EDITOR, Role.ADMIN]);
  const { createUser, updateUser, deleteUser, undeleteUser, setUserPassword } = UserService.method;
  if (gone.length > 0 && random.below(4) === 0) return { method: undeleteUser, asked: { userId: random.pick(gone) } };
  switch (random.below(11)) {
    case 0:
    case 1:
      return {
        method: createUser,
        asked: role === undefined ? {} : { role },
        rest: { username: name, email: `${name}@example.org`, name, passwordHash: PASSWORD_HASH },
      };
    case 2:
    case 3:
    case 4: {
      const all = {
        role,
        username: name,
        email: `${name}@example.org`,
        state: random.pick([UserState.ACTIVE, UserState.SUSPENDED]),
      };
      const chosen = subset(random, Object.entries(all)).filter(([, value]) => value !== undefined);
      return { method: updateUser, asked: { userId, ...Object.fromEntries(chosen) }, rest: { name } };
    }
    case 5:
      return { method: deleteUser, asked: { userId } };
    case 6:
      return { method: undeleteUser, asked: { userId } };
    case 7:
      return { method: setUserPassword, asked: { userId }, rest: { password: `password of ${name}` } };
    case 8: {
      const of = random.pick(people);
      return random.below(2) === 0
        ? { method: SessionService.method.revokeSession, asked: { userId: of.id }, rest: { sessionId: of.sessionId } }
        : { method: SessionService.method.revokeAllSessions, asked: { userId } };
    }
    case 9:
      return {
        method: ApiKeyService.method.revokeApiKey,
        asked: { userId: target.id },
        rest: { apiKeyId: target.keyId },
      };
    default:
      return {
        method: ApiKeyService.method.createApiKey,
        asked: { permissions: subset(random, ALLOWED[random.pick(ROLES)]) },
        rest: { name },
      };
  }
}

/** Whether the caller may make the call, by the model. */
function mayCall(caller: Caller, { method, asked }: Call, targetRole: RoleName | undefined): boolean {
  const has = (permission: Permission) => caller.permissions.has(permission);
  const isSelf = caller.kind === 'session' && asked.userId === caller.userId;
  const isAbove = targetRole !== undefined && targetRole !== 'viewer' && !ALLOWED[targetRole].every(has);
  if (isAbove && !isSelf && !has('roles.write')) return false;
  if (asked.role !== undefined && !has('roles.write')) return false;
  switch (method.localName) {
    case 'updateUser':
      return (
        has('users.write') || (isSelf && [asked.username, asked.email, asked.state].every((one) => one === undefined))
      );
    case 'setUserPassword':
      return has('credentials.write') && caller.kind === 'session';
    case 'revokeSession':
    case 'revokeAllSessions':
    case 'revokeApiKey':
      return has('credentials.write') || isSelf;
    case 'createApiKey':
      return caller.kind === 'session' && (asked.permissions ?? []).every(has);
    default:
      return has('users.write');
  }
}

const PERMISSION_REASONS = [
  'permission_missing',
  'field_needs_permission',
  'session_required',
  'fresh_sign_in_required',
];

/** Makes the call as a server does; the answer, or the reason of its refusal. */
async function send(caller: Caller, { method, asked, rest }: Call): Promise<Message | string> {
  const { permissions, ...fields } = asked;
  const named = permissions === undefined ? {} : { permissions: toPermissions(new Set(permissions)) };
  const request = create(method.input, { ...fields, ...named, ...rest });
  const context = {
    method,
    values: createContextValues(),
    requestHeader: new Headers({ authorization: 'Bearer token' }),
    signal: new AbortController().signal,
  } as unknown as HandlerContext;
  try {
    authorize(caller, context, request);
    return await implemented.get(method)!(request, context);
  } catch (error) {
    if (error instanceof Failure) return error.reason;
    throw error;
  }
}

/** Everything of users that callers below them must leave as it is. */
async function stateOf(people: readonly Person[]) {
  if (people.length === 0) return [];
  const { db } = database;
  return [
    await rowsOf(people.map(({ id }) => id)),
    await db
      .selectFrom('sessions')
      .selectAll()
      .where(
        'id',
        'in',
        people.map(({ sessionId }) => sessionId),
      )
      .execute(),
    await db
      .selectFrom('api_keys')
      .selectAll()
      .where(
        'id',
        'in',
        people.map(({ keyId }) => keyId),
      )
      .execute(),
  ];
}

function rowsOf(ids: readonly string[]) {
  return database.db.selectFrom('users').selectAll().where('id', 'in', ids).execute();
}

test(`in ${RUNS} sequences of calls nobody raises anybody above themselves, and no key exceeds what it was given`, {
  timeout: 600_000,
}, async () => {
  const random = generator(SEED);
  const wrong: string[] = [];
  const outcomes = new Map<string, number>();
  const count = (what: string) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
  for (let run = 0; run < RUNS; run++) {
    const role = random.pick(ROLES);
    const given = subset(random, ALLOWED[role]);
    const [people, keyId] = await makePeople(['viewer', 'editor', 'admin', role], given);
    const { id: userId, sessionId } = people.at(-1)!;
    // What the callers begin with: a session of a role below admin, or a key with some permissions of its owner's.
    const principals: Principal[] = [
      role !== 'admin' && random.below(3) === 0
        ? { kind: 'session', userId, id: sessionId }
        : { kind: 'api_key', userId, id: keyId, given },
    ];
    const first = (await callerOf(principals[0]!))!;
    const ceiling = first.permissions;
    const isAdminAlike = ceiling.has('users.write') && ceiling.has('roles.write');
    const above = ceiling.has('roles.write')
      ? []
      : people.filter(
          ({ id, role }) =>
            role !== 'viewer' &&
            !(first.kind === 'session' && id === userId) &&
            !ALLOWED[role].every((p) => ceiling.has(p)),
        );
    const untouched = await stateOf(above);
    // Whom they made, and whom they deleted.
    const [mine, gone]: [string[], string[]] = [[], []];

    for (let i = 0; i < CALLS; i++) {
      const principal = random.pick(principals);
      const caller = await callerOf(principal);
      if (caller === undefined) continue;
      const call = makeCall(random, people, mine, gone);
      const { userId: named } = call.asked;
      const target = named === undefined ? undefined : (await rowsOf([named]))[0];
      const answer = await send(caller, call);
      const shown = `seed ${SEED}, run ${run}, call ${i}: ${caller.kind} ${[...caller.permissions].join()} calls ${call.method.name} ${JSON.stringify(call.asked)} of a ${target?.role}: ${typeof answer === 'string' ? answer : 'ok'}`;
      const isOk = typeof answer !== 'string';
      count(`${call.method.localName} ${isOk ? 'ok' : 'refused'}`);
      const mayBe = mayCall(caller, call, target?.role);
      if (mayBe && PERMISSION_REASONS.some((reason) => reason === answer)) wrong.push(`${shown}, and it may`);
      if (!mayBe && isOk) wrong.push(`${shown}, and it may not`);

      if (isOk) {
        principals.push(...(await takenBy(call, answer, mine)));
        if (call.method === UserService.method.deleteUser) gone.push(named!);
      } else if (i < CALLS - 1) continue; // what is refused writes nothing, which the last call of the run shows

      for (const one of principals) {
        const permissions = (await callerOf(one))?.permissions ?? new Set();
        if (!new Set(one.given ?? permissions).isSupersetOf(permissions))
          wrong.push(`${shown}: a key exceeds what it was given`);
        if (isAdminAlike || new Set([...ceiling, ...ALLOWED.viewer]).isSupersetOf(permissions)) continue;
        wrong.push(`${shown}: ${[...permissions].join()} is more than ${[...ceiling].join()}`);
      }
      if (isAdminAlike) continue;
      const due = new Map<string, RoleName>([
        ...people.map(({ id, role: made }) => [id, made] as const),
        ...mine.map((id) => [id, 'viewer'] as const),
      ]);
      for (const { id, role: now } of await rowsOf([...due.keys()])) {
        if (now !== due.get(id)) wrong.push(`${shown}: a ${due.get(id)} is ${now}`);
      }
      if (!isDeepStrictEqual(await stateOf(above), untouched)) wrong.push(`${shown}: somebody above was written to`);
    }
    if (wrong.length > 0) break;
  }
  expect(wrong).toEqual([]);
  // Each went through for some and not for others, else this shows nothing; setting passwords takes a fresh admin.
  const methods = ['createUser', 'updateUser', 'deleteUser', 'undeleteUser', 'revokeSession', 'revokeAllSessions'];
  const both = [...methods, 'revokeApiKey', 'createApiKey'].flatMap((name) => [`${name} ok`, `${name} refused`]);
  expect(both.filter((outcome) => !outcomes.has(outcome))).toEqual([]);
});

/** Whom the callers can be as well after a call that went through. */
async function takenBy({ method, asked }: Call, answer: Message, mine: string[]): Promise<Principal[]> {
  switch (method.localName) {
    case 'createUser': {
      const { id } = (answer as unknown as { user: { id: string } }).user;
      mine.push(id);
      return signInAs(id);
    }
    case 'updateUser':
      return asked.email === undefined ? [] : signInAs(asked.userId!);
    case 'setUserPassword':
      return signInAs(asked.userId!);
    case 'createApiKey': {
      const { id } = (answer as unknown as { apiKey: { id: string } }).apiKey;
      const { key } = (await selectApiKey(database.db, id))!;
      return [{ kind: 'api_key', userId: key.user_id, id, given: asked.permissions ?? [] }];
    }
    default:
      return [];
  }
}
