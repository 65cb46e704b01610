import { randomUUID } from 'node:crypto';
import type { DescMessage, DescMethod, DescMethodUnary, DescService, MessageInitShape } from '@bufbuild/protobuf';
import { decodeJwt } from 'jose';
import { expect } from 'vitest';
import { Permission, Role } from '../../gen/kith/access/v1/role_pb.ts';
import { AdminService, LogLevel } from '../../gen/kith/admin/v1/admin_service_pb.ts';
import { ActivityService } from '../../gen/kith/activity/v1/activity_service_pb.ts';
import { ApiKeyService } from '../../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../../gen/kith/auth/v1/auth_service_pb.ts';
import { SigningKeyService, SigningKeyState } from '../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { SecondFactorService } from '../../gen/kith/auth/v1/second_factor_service_pb.ts';
import { SessionService, SignInMethod } from '../../gen/kith/auth/v1/session_service_pb.ts';
import type { Contact } from '../../gen/kith/contact/v1/contact_pb.ts';
import { ContactService } from '../../gen/kith/contact/v1/contact_service_pb.ts';
import { type User, UserState } from '../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../gen/kith/user/v1/user_service_pb.ts';
import { SERVICES } from '../../src/services.ts';
import { Authenticator } from './authenticator.ts';
import { type Kith, refusalOf, type SignedIn } from './kith.ts';
import { challengeOf, signedIn } from './sign-in.ts';

/** A call that is answered: who makes it, with what, and what the answer must match. */
export interface Example<I extends DescMessage = DescMessage> {
  readonly accessToken?: string;
  readonly request: MessageInitShape<I>;
  /** For `toMatchObject`. */
  readonly answer: object;
  /** Paths in the answer where nothing must be. */
  readonly absent?: readonly string[];
  /** Checks what the answer does not tell. */
  readonly verify?: () => Promise<void>;
}

/** Makes an example of users of its own, so that one can be had for every way to call. */
export type MakeExample<I extends DescMessage = DescMessage> = (kith: Kith) => Promise<Example<I>>;

/** Streams have tests of their own: src/activity/activity.test.ts. */
type ExamplesOf<T extends { readonly method: Record<string, DescMethod> }> = {
  readonly [K in keyof T['method'] as T['method'][K] extends DescMethodUnary ? K : never]: MakeExample<
    T['method'][K]['input']
  >;
};

const TIME = { seconds: expect.any(BigInt) };
const ETAG = expect.stringMatching(/./);
const TOKENS = {
  accessToken: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
  accessTokenExpireTime: TIME,
  accessTokenLifetime: TIME,
  refreshToken: expect.stringMatching(/./),
  refreshTokenExpireTime: TIME,
};

function signedInAs({ id, email }: User): object {
  return { outcome: { case: 'signedIn', value: { tokens: TOKENS, user: { id, email } } } };
}

const auth: ExamplesOf<typeof AuthService> = {
  async login(kith) {
    const { user, password } = await kith.user();
    return { request: { identifier: user.email.toUpperCase(), password }, answer: signedInAs(user) };
  },
  async completeLogin(kith) {
    const { user } = await kith.user();
    const { accessToken } = await kith.admin();
    const password = `set for ${user.username}`;
    const set = { userId: user.id, password, mustChangePassword: true };
    await kith.client(UserService, accessToken).setUserPassword(set);
    const { challengeToken } = await challengeOf(
      kith.client(AuthService).login({ identifier: user.username, password }),
    );
    const newPassword = `chosen by ${user.username}`;
    return {
      request: { challengeToken, answer: { case: 'newPassword', value: newPassword } },
      answer: signedInAs(user),
      async verify() {
        await signedIn(kith.client(AuthService).login({ identifier: user.username, password: newPassword }));
      },
    };
  },
  async userMe(kith) {
    const { user, accessToken } = await kith.user(Role.EDITOR);
    const permissions = [
      Permission.USERS_READ,
      Permission.CONTACTS_READ,
      Permission.CONTACTS_WRITE,
      Permission.ACTIVITY_READ,
      Permission.ACTIVITY_RECORD,
      Permission.REVOCATIONS_READ,
    ];
    return { accessToken, request: {}, answer: { user, permissions } };
  },
  async refreshAccessToken(kith) {
    const { refreshToken } = await kith.user();
    const answer = { tokens: { ...TOKENS, refreshToken: expect.not.stringContaining(refreshToken) } };
    return { request: { refreshToken }, answer };
  },
  async logout(kith) {
    const { accessToken } = await kith.user();
    return {
      accessToken,
      request: {},
      answer: {},
      async verify() {
        const after = await refusalOf(kith.client(AuthService, accessToken).userMe({}));
        expect(after).toMatchObject({ code: 'Unauthenticated', reason: 'SESSION_ENDED' });
      },
    };
  },
  async changePassword(kith) {
    const { user, password, accessToken } = await kith.user();
    const newPassword = `new ${password}`;
    return {
      accessToken,
      request: { currentPassword: password, newPassword },
      answer: {},
      async verify() {
        const identifier = user.username;
        const old = await refusalOf(kith.client(AuthService).login({ identifier, password }));
        expect(old).toMatchObject({ code: 'Unauthenticated', reason: 'CREDENTIALS_INVALID' });
        const { user: same } = await signedIn(kith.client(AuthService).login({ identifier, password: newPassword }));
        expect(same.id).toBe(user.id);
      },
    };
  },
};

const sessions: ExamplesOf<typeof SessionService> = {
  async listSessions(kith) {
    const { user, accessToken } = await kith.user();
    const session = {
      id: sessionIdOf(accessToken),
      userAgent: expect.stringMatching(/./),
      address: expect.stringMatching(/./),
      methods: [SignInMethod.PASSWORD],
      createTime: TIME,
      lastUsedTime: TIME,
      expireTime: TIME,
      current: true,
    };
    return { accessToken, request: { userId: user.id }, answer: { sessions: [session] } };
  },
  async revokeSession(kith) {
    const { user, accessToken: ended } = await kith.user();
    const { accessToken } = await kith.admin();
    return {
      accessToken,
      request: { userId: user.id, sessionId: sessionIdOf(ended) },
      answer: {},
      verify: () => expectEnded(kith, ended),
    };
  },
  async revokeAllSessions(kith) {
    const { user, password, accessToken } = await kith.user();
    const other = await signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
    return {
      accessToken,
      request: { userId: user.id, keepCurrent: true },
      answer: { revokedCount: 1 },
      async verify() {
        await expectEnded(kith, other.accessToken);
        await kith.client(AuthService, accessToken).userMe({});
      },
    };
  },
};

function sessionIdOf(accessToken: string): string {
  return String(decodeJwt(accessToken)['sid']);
}

async function expectEnded(kith: Kith, accessToken: string): Promise<void> {
  const refusal = await refusalOf(kith.client(AuthService, accessToken).userMe({}));
  expect(refusal).toMatchObject({ code: 'Unauthenticated', reason: 'SESSION_ENDED' });
}

const KID = expect.stringMatching(/^[\w-]{43}$/);

const signingKeys: ExamplesOf<typeof SigningKeyService> = {
  async listSigningKeys(kith) {
    const { accessToken } = await kith.admin();
    const active = expect.objectContaining({ kid: KID, state: SigningKeyState.ACTIVE });
    return { accessToken, request: {}, answer: { signingKeys: expect.arrayContaining([active]) } };
  },
  async rotateSigningKey(kith) {
    const { accessToken } = await kith.admin();
    const answer = {
      signingKey: { kid: KID, state: SigningKeyState.PENDING, createTime: TIME, activateTime: TIME },
    };
    return { accessToken, request: { compromised: false }, answer, absent: ['signingKey.removeTime'] };
  },
};

const PROCESS = {
  version: expect.stringMatching(/./),
  pid: process.pid,
  worker: 0,
  startTime: TIME,
  currentTime: TIME,
};

const admin: ExamplesOf<typeof AdminService> = {
  async getStatus(kith) {
    const { accessToken } = await kith.admin();
    const answer = {
      process: PROCESS,
      database: { kind: expect.stringMatching(/SQL/), available: true, migrations: expect.any(Array) },
      signingKeys: expect.arrayContaining([expect.objectContaining({ kid: KID, state: SigningKeyState.ACTIVE })]),
      activityLog: { head: expect.any(BigInt), horizon: expect.any(BigInt) },
      traffic: { watchesWaking: 0 },
      budgets: expect.arrayContaining([expect.objectContaining({ name: 'call_bytes' })]),
      queues: expect.arrayContaining([expect.objectContaining({ name: 'reads', runningLimit: 512 })]),
      logLevel: { setting: LogLevel.SILENT },
    };
    return { accessToken, request: {}, answer };
  },
  async setLogLevel(kith) {
    const { accessToken } = await kith.admin();
    const logLevel = { level: LogLevel.FATAL, setting: LogLevel.SILENT, revertTime: TIME };
    return {
      accessToken,
      request: { level: LogLevel.FATAL, duration: { seconds: 604_800n } },
      answer: { process: PROCESS, logLevel },
      async verify() {
        await kith.client(AdminService, accessToken).setLogLevel({});
      },
    };
  },
};

const API_KEY_SECRET = expect.stringMatching(/^kith_ak_[0-9A-Za-z]{82}$/);

const apiKeys: ExamplesOf<typeof ApiKeyService> = {
  async createApiKey(kith) {
    const { accessToken } = await kith.user();
    const permissions = [Permission.CONTACTS_READ, Permission.CONTACTS_WRITE];
    const expireTime = { seconds: 253_402_300_799n, nanos: 0 };
    const named = { name: 'Büro 🦉', permissions, expireTime };
    const answer = { apiKey: { ...named, id: expect.any(String), createTime: TIME }, secret: API_KEY_SECRET };
    return { accessToken, request: named, answer, absent: ['apiKey.lastUsedTime'] };
  },
  async listApiKeys(kith) {
    const { owner, apiKey } = await withApiKey(kith);
    const { accessToken } = await kith.admin();
    return { accessToken, request: { userId: owner.user.id }, answer: { apiKeys: [apiKey] } };
  },
  async revokeApiKey(kith) {
    const { owner, apiKey, secret } = await withApiKey(kith);
    return {
      accessToken: owner.accessToken,
      request: { userId: owner.user.id, apiKeyId: apiKey.id },
      answer: {},
      async verify() {
        const after = await refusalOf(kith.client(AuthService, secret).userMe({}));
        expect(after).toMatchObject({ code: 'Unauthenticated', reason: 'API_KEY_INVALID' });
      },
    };
  },
  async exchangeApiKey(kith) {
    const { secret } = await withApiKey(kith);
    const answer = { accessToken: TOKENS.accessToken, accessTokenExpireTime: TIME, accessTokenLifetime: TIME };
    return { accessToken: secret, request: {}, answer };
  },
};

async function withApiKey(kith: Kith) {
  const owner = await kith.user();
  const request = { name: 'of a test', permissions: [Permission.CONTACTS_READ] };
  const { apiKey, secret } = await kith.client(ApiKeyService, owner.accessToken).createApiKey(request);
  return { owner, apiKey: apiKey!, secret };
}

const users: ExamplesOf<typeof UserService> = {
  async createUser(kith) {
    const { accessToken } = await kith.admin();
    const username = `u${randomUUID()}`;
    const profile = { username, email: `${username}@example.org`, name: 'Zoë Ω 🦉', role: Role.EDITOR };
    return {
      accessToken,
      request: { ...profile, password: 'of the new user', requestId: randomUUID() },
      answer: { user: { ...profile, id: expect.any(String), state: UserState.ACTIVE, createTime: TIME, etag: ETAG } },
    };
  },
  async getUser(kith) {
    const { user } = await kith.user();
    const { accessToken } = await kith.user(Role.EDITOR);
    return { accessToken, request: { userId: user.id }, answer: { user } };
  },
  async getUserDetails(kith) {
    const { user, accessToken } = await kith.user();
    await newContact(kith, accessToken);
    return {
      accessToken,
      request: { userId: user.id },
      answer: { user, lastSignInTime: TIME, contactCount: 1 },
    };
  },
  async getUsage(kith) {
    const { user, accessToken } = await kith.user();
    await newContact(kith, accessToken);
    const bytes = expect.any(BigInt);
    const answer = { contacts: { used: 1n, limit: 25_000n }, contactBytes: { used: bytes, limit: 134_217_728n } };
    return { accessToken, request: { userId: user.id }, answer };
  },
  async listUsers(kith) {
    const { user } = await kith.user();
    const { accessToken } = await kith.user(Role.EDITOR);
    return {
      accessToken,
      request: { query: user.email, roles: [Role.VIEWER], states: [UserState.ACTIVE], includeTotalSize: true },
      answer: { users: [user], nextPageToken: '', totalSize: 1, totalSizeAtLeast: false },
    };
  },
  async updateUser(kith) {
    const { user } = await kith.user();
    const { accessToken } = await kith.admin();
    return {
      accessToken,
      request: { userId: user.id, etag: user.etag, name: 'Renamed', state: UserState.SUSPENDED },
      answer: {
        user: { id: user.id, name: 'Renamed', email: user.email, role: user.role, state: UserState.SUSPENDED },
      },
    };
  },
  async deleteUser(kith) {
    const { user } = await kith.user();
    const { accessToken } = await kith.admin();
    return {
      accessToken,
      request: { userId: user.id, etag: user.etag },
      answer: { user: { id: user.id, state: UserState.DELETED, deleteTime: TIME, purgeTime: TIME } },
    };
  },
  async setUserPassword(kith) {
    const { user, password, accessToken: old } = await kith.user();
    const { accessToken } = await kith.admin();
    const next = `new ${password}`;
    return {
      accessToken,
      request: { userId: user.id, etag: user.etag, password: next },
      answer: { user },
      async verify() {
        const ended = await refusalOf(kith.client(AuthService, old).userMe({}));
        expect(ended).toMatchObject({ code: 'Unauthenticated', reason: 'SESSION_ENDED' });
        const { user: same } = await signedIn(
          kith.client(AuthService).login({ identifier: user.username, password: next }),
        );
        expect(same.id).toBe(user.id);
      },
    };
  },
  async undeleteUser(kith) {
    const { user } = await kith.user();
    const { accessToken } = await kith.admin();
    await kith.client(UserService, accessToken).deleteUser({ userId: user.id });
    return {
      accessToken,
      request: { userId: user.id },
      answer: { user: { id: user.id, state: UserState.ACTIVE, name: user.name } },
      absent: ['user.deleteTime', 'user.purgeTime'],
    };
  },
};

const ADA = {
  givenName: 'Ada',
  familyName: 'Lovelace',
  emails: [{ address: 'ada@example.org', type: 'work', primary: true }],
  phones: [{ number: '+44 20 7946 0000', type: '', primary: true }],
  addresses: [{ street: '12 St James’s Square', city: 'London', country: 'GB', primary: true }],
  urls: [{ url: 'https://example.org/ada', type: 'home', primary: true }],
  birthday: { year: 1815, month: 12, day: 10 },
  notes: 'First line\nsecond line',
  starred: true,
};

const contacts: ExamplesOf<typeof ContactService> = {
  async createContact(kith) {
    const { accessToken } = await kith.user();
    return {
      accessToken,
      request: { ...ADA, requestId: randomUUID() },
      answer: { contact: { ...ADA, id: expect.any(String), createTime: TIME, updateTime: TIME, etag: ETAG } },
    };
  },
  async getContact(kith) {
    const { accessToken, contact } = await withContact(kith);
    return { accessToken, request: { contactId: contact.id }, answer: { contact } };
  },
  async listContacts(kith) {
    const { accessToken, contact } = await withContact(kith);
    return {
      accessToken,
      request: { query: 'lovel', starred: true, pageSize: 10, includeTotalSize: true },
      answer: { contacts: [contact], nextPageToken: '', totalSize: 1, totalSizeAtLeast: false },
    };
  },
  async updateContact(kith) {
    const { accessToken, contact } = await withContact(kith);
    return {
      accessToken,
      request: { contactId: contact.id, etag: contact.etag, starred: false, notes: '', emails: {}, birthday: {} },
      answer: { contact: { id: contact.id, givenName: 'Ada', starred: false, notes: '', emails: [] } },
      absent: ['contact.birthday'],
    };
  },
  async deleteContact(kith) {
    const { accessToken, contact } = await withContact(kith);
    return {
      accessToken,
      request: { contactId: contact.id, etag: contact.etag },
      answer: { contact: { id: contact.id, deleteTime: TIME, purgeTime: TIME } },
    };
  },
  async undeleteContact(kith) {
    const { accessToken, contact } = await withContact(kith);
    await kith.client(ContactService, accessToken).deleteContact({ contactId: contact.id });
    return {
      accessToken,
      request: { contactId: contact.id },
      answer: { contact: { id: contact.id, ...ADA } },
      absent: ['contact.deleteTime', 'contact.purgeTime'],
    };
  },
};

const PAGE_VIEW = { action: 'page.viewed', details: 'Looked at /', attributes: { path: '/' } };

const activity: ExamplesOf<typeof ActivityService> = {
  async recordUserActivity(kith) {
    const { user } = await kith.user();
    const { accessToken, user: actor } = await kith.user(Role.EDITOR);
    const recorded = { ...PAGE_VIEW, userId: user.id, actorId: actor.id, eventTime: TIME, recordTime: TIME };
    return {
      accessToken,
      request: { activities: [{ ...PAGE_VIEW, userId: user.id }], requestId: randomUUID() },
      answer: { activities: [{ ...recorded, id: expect.any(String), actorSessionId: expect.any(String) }] },
    };
  },
  async listUserActivity(kith) {
    const { user, accessToken } = await kith.user();
    return {
      accessToken,
      request: { userId: user.id, actionPrefixes: ['kith'], pageSize: 10 },
      answer: {
        activities: [{ action: 'kith.session.started' }, { action: 'kith.user.created' }],
        nextPageToken: '',
        watchCursor: expect.stringMatching(/./),
      },
    };
  },
};

const RECOVERY_CODES = Array.from({ length: 10 }, () => expect.stringMatching(/^[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}$/));

const secondFactor: ExamplesOf<typeof SecondFactorService> = {
  async getSecondFactor(kith) {
    const { accessToken } = await withSecondFactor(kith);
    const answer = { totpEnabled: true, totpConfirmTime: TIME, recoveryCodesLeft: 10 };
    return { accessToken, request: {}, answer };
  },
  async enrollTotp(kith) {
    const { accessToken } = await kith.user();
    const answer = {
      secret: expect.stringMatching(/^[A-Z2-7]{32}$/),
      uri: expect.stringMatching(/^otpauth:/),
      expireTime: TIME,
    };
    return { accessToken, request: {}, answer };
  },
  async confirmTotp(kith) {
    const { accessToken } = await kith.user();
    const { uri } = await kith.client(SecondFactorService, accessToken).enrollTotp({});
    const code = new Authenticator(uri, kith.clock).next();
    return { accessToken, request: { code }, answer: { recoveryCodes: RECOVERY_CODES } };
  },
  async disableTotp(kith) {
    const { accessToken } = await withSecondFactor(kith);
    return { accessToken, request: {}, answer: {}, verify: () => expectNoSecondFactor(kith, accessToken) };
  },
  async replaceRecoveryCodes(kith) {
    const { accessToken } = await withSecondFactor(kith);
    return { accessToken, request: {}, answer: { recoveryCodes: RECOVERY_CODES } };
  },
  async resetSecondFactor(kith) {
    const { user, password } = await withSecondFactor(kith);
    const { accessToken } = await kith.admin();
    return {
      accessToken,
      request: { userId: user.id },
      answer: {},
      async verify() {
        const again = await signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
        await expectNoSecondFactor(kith, again.accessToken);
      },
    };
  },
};

async function withSecondFactor(kith: Kith): Promise<SignedIn> {
  const signedIn = await kith.user();
  const client = kith.client(SecondFactorService, signedIn.accessToken);
  const { uri } = await client.enrollTotp({});
  await client.confirmTotp({ code: new Authenticator(uri, kith.clock).next() });
  return signedIn;
}

async function expectNoSecondFactor(kith: Kith, accessToken: string): Promise<void> {
  const { totpEnabled } = await kith.client(SecondFactorService, accessToken).getSecondFactor({});
  expect(totpEnabled).toBe(false);
}

async function newContact(kith: Kith, accessToken: string): Promise<Contact> {
  const { contact } = await kith.client(ContactService, accessToken).createContact(ADA);
  return contact!;
}

async function withContact(kith: Kith): Promise<SignedIn & { contact: Contact }> {
  const signedIn = await kith.user();
  return { ...signedIn, contact: await newContact(kith, signedIn.accessToken) };
}

/** Checks an answer for substance, then its effect. */
export async function expectAnswer(answer: unknown, example: Example): Promise<void> {
  expect(answer).toMatchObject(example.answer);
  for (const path of example.absent ?? []) expect(answer).not.toHaveProperty(path);
  await example.verify?.();
}

const EXAMPLES: ReadonlyMap<DescService, Readonly<Record<string, unknown>>> = new Map<DescService, {}>([
  [AuthService, auth],
  [ApiKeyService, apiKeys],
  [SessionService, sessions],
  [SigningKeyService, signingKeys],
  [UserService, users],
  [ContactService, contacts],
  [ActivityService, activity],
  [SecondFactorService, secondFactor],
  [AdminService, admin],
]);

/** Good examples of every rpc that is served, by `package.Service/Method`; undefined where one is missing. */
export const exampledMethods: readonly {
  readonly name: string;
  readonly method: DescMethodUnary;
  readonly example: MakeExample | undefined;
}[] = SERVICES.flatMap((service) =>
  service.methods.filter(isUnary).map((method) => ({
    name: `${service.typeName}/${method.name}`,
    method,
    example: EXAMPLES.get(service)?.[method.localName] as MakeExample | undefined,
  })),
);

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === 'unary';
}
