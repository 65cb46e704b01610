import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRelay } from '../check/relay.ts';
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { SigningKeyService } from '../gen/kith/auth/v1/signing_key_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { PERMISSIONS_OF_ROLE } from '../src/kernel/access.ts';
import { LEAD_MS } from '../src/identity/tokens/key-schedule.ts';
import {
  createVerifier,
  VerificationError,
  type VerifiedToken,
  type Verifier,
  type VerifierOptions,
} from '../packages/verify/src/verify.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { type Kith, type SignedIn, startKith } from './support/kith.ts';
import { refreshed, signedIn } from './support/sign-in.ts';

const ISSUER = 'https://kith.example.org';
const env = { KITH_ISSUER: ISSUER };

const refusedFor = (reason: string) => expect.objectContaining({ name: 'VerificationError', reason });

/** An API key of a new user, with these permissions. */
async function createKey(kith: Kith, permissions: Permission[], role: Role = Role.EDITOR) {
  const owner = await kith.user(role);
  const { apiKey, secret } = await kith
    .client(ApiKeyService, owner.accessToken)
    .createApiKey({ name: 'of a test', permissions });
  const { accessToken } = await kith.client(ApiKeyService, secret).exchangeApiKey({});
  const revoke = () =>
    kith.client(ApiKeyService, owner.accessToken).revokeApiKey({ userId: owner.user.id, apiKeyId: apiKey!.id });
  return { owner, id: apiKey!.id, secret, accessToken, revoke };
}

/** A verifier that follows revocations with an API key of its own, and knows everything. */
async function startFollower(kith: Kith, options: Partial<VerifierOptions> = {}): Promise<Verifier> {
  const { secret } = await createKey(kith, [Permission.REVOCATIONS_READ]);
  const now = () => Date.now() + kith.clock.offsetMs;
  const revocations = { apiKey: secret };
  const verifier = createVerifier({ issuer: ISSUER, address: kith.address, revocations, now, ...options });
  await verifier.ready(60_000);
  return verifier;
}

/** What a verifier makes of a good token, however long it takes this machine to hear of revocations. */
async function expectGood(verifier: Verifier, token: string): Promise<VerifiedToken> {
  for (;;) {
    try {
      return await verifier.verify(token);
    } catch (error) {
      if (!(error instanceof VerificationError && error.isTemporary)) throw error;
      await verifier.ready(60_000);
    }
  }
}

/** Waits for what comes of a token: its role, or why it is refused. */
async function expectOutcome(verifier: Verifier, token: string, outcome: string): Promise<void> {
  const attempt = () =>
    verifier.verify(token).then(
      ({ role }) => role,
      (error: { reason?: string }) => error.reason ?? error,
    );
  await expect.poll(attempt, { timeout: 30_000, interval: 10 }).toBe(outcome);
}

describe.each(databases)('on $name', ({ create }) => {
  let database: TestDatabase;
  let kith: Kith;
  let verifier: Verifier;
  beforeAll(async () => {
    database = await create();
    kith = await startKith({ database, env });
    verifier = await startFollower(kith);
  });
  afterAll(async () => {
    await verifier.close();
    await kith.stop();
    await database[Symbol.asyncDispose]();
  });

  test('the token of a session tells what Kith knows', async () => {
    const { user, accessToken } = await kith.user(Role.EDITOR);
    const { sessions } = await kith.client(SessionService, accessToken).listSessions({ userId: user.id });
    const verified = await expectGood(verifier, accessToken);
    expect(verified).toMatchObject({
      userId: user.id,
      sessionId: sessions[0]!.id,
      kind: 'session',
      role: 'editor',
      amr: ['pwd'],
      permissions: PERMISSIONS_OF_ROLE.editor,
    });
    expect(verified.authTime!.getTime()).toBe(Number(sessions[0]!.createTime!.seconds) * 1000);
    expect(verified.expireTime.getTime() - verified.issueTime.getTime()).toBe(kith.config.accessTokenTtlMs);
  });

  test('the token that an API key was exchanged for tells what the key is allowed', async () => {
    const key = await createKey(kith, [Permission.USERS_READ, Permission.CONTACTS_READ]);
    expect(await expectGood(verifier, key.accessToken)).toMatchObject({
      userId: key.owner.user.id,
      sessionId: key.id,
      kind: 'api_key',
      permissions: new Set(['users.read', 'contacts.read']),
      authTime: undefined,
      amr: [],
    });
  });

  test.each<[string, (user: SignedIn, admin: SignedIn) => Promise<unknown>]>([
    ['signs out', ({ accessToken }) => kith.client(AuthService, accessToken).logout({})],
    [
      'ends all sessions',
      ({ user, accessToken }) => kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id }),
    ],
    [
      'has the sessions ended by an admin',
      ({ user }, admin) => kith.client(SessionService, admin.accessToken).revokeAllSessions({ userId: user.id }),
    ],
    [
      'is suspended',
      ({ user: { id } }, admin) =>
        kith.client(UserService, admin.accessToken).updateUser({ userId: id, state: UserState.SUSPENDED }),
    ],
    ['is deleted', ({ user: { id } }, admin) => kith.client(UserService, admin.accessToken).deleteUser({ userId: id })],
  ])('a user who %s has no good token any more', async (_, act) => {
    const user = await kith.user();
    const bystander = await kith.user();
    await expectGood(verifier, user.accessToken);
    await act(user, await kith.admin());
    await expectOutcome(verifier, user.accessToken, 'token_revoked');
    await expectGood(verifier, bystander.accessToken);
  });

  test('a user who changes the password keeps the session that did, and loses the others', async () => {
    const { user, password, accessToken: here } = await kith.user();
    const { accessToken: elsewhere } = await signedIn(
      kith.client(AuthService).login({ identifier: user.username, password }),
    );
    await expectGood(verifier, elsewhere);
    await kith
      .client(AuthService, here)
      .changePassword({ currentPassword: password, newPassword: 'a new password of this user' });
    await expectOutcome(verifier, elsewhere, 'token_revoked');
    await expectGood(verifier, here);
  });

  test('a user whose role changes has the new one, with the old token', async () => {
    const { user, accessToken } = await kith.user(Role.EDITOR);
    const key = await createKey(kith, [Permission.USERS_READ, Permission.CONTACTS_READ]);
    const users = kith.client(UserService, (await kith.admin()).accessToken);
    await expectOutcome(verifier, accessToken, 'editor');
    await users.updateUser({ userId: user.id, role: Role.VIEWER });
    await expectOutcome(verifier, accessToken, 'viewer');
    await users.updateUser({ userId: user.id, role: Role.ADMIN });
    await expectOutcome(verifier, accessToken, 'admin');
    await users.updateUser({ userId: key.owner.user.id, role: Role.VIEWER });
    await expectOutcome(verifier, key.accessToken, 'viewer');
    expect((await expectGood(verifier, key.accessToken)).permissions).toEqual(new Set(['contacts.read']));
  });

  test('an API key that is revoked takes along what it was exchanged for', async () => {
    const key = await createKey(kith, [Permission.CONTACTS_READ]);
    await expectGood(verifier, key.accessToken);
    await key.revoke();
    await expectOutcome(verifier, key.accessToken, 'token_revoked');
    await expectGood(verifier, key.owner.accessToken);
  });

  test('who comes later knows what happened before', async () => {
    const { accessToken } = await kith.user();
    await kith.client(AuthService, accessToken).logout({});
    await using late = await startFollower(kith);
    await expect(late.verify(accessToken)).rejects.toEqual(refusedFor('token_revoked'));
  });

  test('a token of another Kith is refused, whatever it calls itself', async () => {
    await using other = await startKith({
      env: { ...env, KITH_SECRET_KEY: Buffer.alloc(32, 'other').toString('base64') },
    });
    const { accessToken } = await other.admin();
    await expect(verifier.verify(accessToken)).rejects.toEqual(refusedFor('token_invalid'));
    await expect(verifier.verify(`${accessToken}x`)).rejects.toEqual(refusedFor('token_invalid'));
  });
});

test('keys that rotate ten times fail no verification, and each is fetched by one request', async () => {
  await using kith = await startKith({ env });
  const admin = await kith.admin();
  let requests = 0;
  const now = () => Date.now() + kith.clock.offsetMs;
  await using verifier = createVerifier({
    issuer: ISSUER,
    address: kith.address,
    now,
    fetch: (input, init) => {
      requests += 1;
      return fetch(input, init);
    },
  });
  let { refreshToken, accessToken } = admin;
  const kids = new Set<string>();
  for (let round = 0; round < 10; round++) {
    await expectGood(verifier, accessToken);
    // A sign-in that is not fresh may not rotate.
    const fresh = await signedIn(
      kith.client(AuthService).login({ identifier: admin.user.username, password: admin.password }),
    );
    const { signingKey } = await kith.client(SigningKeyService, fresh.accessToken).rotateSigningKey({});
    kids.add(signingKey!.kid);
    kith.clock.offsetMs += LEAD_MS;
    ({ refreshToken, accessToken } = await refreshed(kith.client(AuthService).refreshAccessToken({ refreshToken })));
    expect(JSON.parse(Buffer.from(accessToken.split('.')[0]!, 'base64url').toString())).toMatchObject({
      kid: signingKey!.kid,
    });
  }
  await expectGood(verifier, accessToken);
  expect(kids.size).toBe(10);
  expect(requests).toBe(11);
});

test('keys that are compromised verify nothing once the verifier has seen a new one', async () => {
  await using kith = await startKith({ env });
  const { accessToken: old, user, password } = await kith.admin();
  await using verifier = await startFollower(kith);
  await expectGood(verifier, old);
  await kith.client(SigningKeyService, old).rotateSigningKey({ compromised: true });
  kith.clock.offsetMs += 6000;
  const { accessToken } = await signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
  await expectOutcome(verifier, accessToken, 'admin');
  await expect(verifier.verify(old)).rejects.toEqual(refusedFor('token_invalid'));
});

test('a server that goes away and comes back is followed again, with what happened meanwhile', async () => {
  await using database = await databases[0]!.create();
  await using relay = await startRelay();
  const first = await startKith({ database, env });
  relay.upstream = first.address;
  let aheadMs = 0;
  const options = { address: relay.address, now: () => Date.now() + aheadMs };
  await using refusing = await startFollower(first, options);
  const { secret } = await createKey(first, [Permission.REVOCATIONS_READ]);
  await using accepting = await startFollower(first, {
    ...options,
    revocations: { apiKey: secret, whenStale: 'accept' },
  });
  const [kept, ended] = [await first.user(), await first.user()];
  for (const { accessToken } of [kept, ended]) {
    await expectGood(refusing, accessToken);
    await expectGood(accepting, accessToken);
  }
  relay.upstream = undefined;
  await first.stop();
  // The keys are kept; what is not known is refused, if it is to be.
  aheadMs += 6000;
  await expect(refusing.verify(kept.accessToken)).rejects.toEqual(refusedFor('revocations_stale'));
  await expectGood(accepting, kept.accessToken);

  await using second = await startKith({ database, env });
  await second.client(AuthService, ended.accessToken).logout({});
  relay.upstream = second.address;
  for (const verifier of [refusing, accepting]) {
    await verifier.ready(60_000);
    await expectOutcome(verifier, ended.accessToken, 'token_revoked');
    await expectGood(verifier, kept.accessToken);
  }
});

test('a stream that is held back is noticed, and what it held is learned', async () => {
  await using kith = await startKith({ env });
  await using relay = await startRelay();
  relay.upstream = kith.address;
  let aheadMs = 0;
  await using verifier = await startFollower(kith, { address: relay.address, now: () => Date.now() + aheadMs });
  const [kept, ended] = [await kith.user(), await kith.user()];
  await expectGood(verifier, ended.accessToken);
  relay.stall(true);
  await kith.client(AuthService, ended.accessToken).logout({});
  // What was under way when the relay stalled may still arrive.
  await expect
    .poll(
      () => {
        aheadMs += 5001;
        return verifier.verify(kept.accessToken).catch((error: { reason: string }) => error.reason);
      },
      { timeout: 30_000 },
    )
    .toBe('revocations_stale');
  relay.stall(false);
  await verifier.ready(60_000);
  await expectOutcome(verifier, ended.accessToken, 'token_revoked');
});

describe('a credential', () => {
  test.each<[string, (kith: Kith) => Promise<string>, cause: RegExp]>([
    ['of a viewer', async (kith) => (await kith.user(Role.VIEWER)).accessToken, /permission_denied.*REVOCATIONS_READ/],
    [
      'of an API key with other permissions',
      async (kith) => (await createKey(kith, [Permission.USERS_READ])).secret,
      /permission_denied.*REVOCATIONS_READ/,
    ],
    ['that is no API key', async () => `kith_ak_${'x'.repeat(43)}`, /unauthenticated/],
    [
      'that was revoked',
      async (kith) => {
        const key = await createKey(kith, [Permission.REVOCATIONS_READ]);
        await key.revoke();
        return key.secret;
      },
      /unauthenticated/,
    ],
  ])('%s is refused, and the verifier says why', async (_, credential, cause) => {
    await using kith = await startKith({ env });
    const apiKey = await credential(kith);
    const failed = Promise.withResolvers<Error>();
    await using verifier = createVerifier({
      issuer: ISSUER,
      address: kith.address,
      revocations: { apiKey },
      onError: failed.resolve,
    });
    expect(String((await failed.promise).cause)).toMatch(cause);
    await expect(verifier.verify((await kith.admin()).accessToken)).rejects.toEqual(refusedFor('revocations_stale'));
    await expect(verifier.ready(1)).rejects.toEqual(refusedFor('revocations_stale'));
  });

  test('that is revoked while it is used ends the stream; another takes its place', async () => {
    await using kith = await startKith({ env });
    const [first, second] = [
      await createKey(kith, [Permission.REVOCATIONS_READ]),
      await createKey(kith, [Permission.REVOCATIONS_READ]),
    ];
    const secrets = [first.secret, second.secret];
    const ended = Promise.withResolvers<Error>();
    await using verifier = createVerifier({
      issuer: ISSUER,
      address: kith.address,
      revocations: { getToken: () => secrets.shift()! },
      onError: ended.resolve,
    });
    await verifier.ready(60_000);
    await first.revoke();
    expect(String((await ended.promise).cause)).toMatch(/unauthenticated/);
    const { accessToken } = await kith.user();
    await kith.client(AuthService, accessToken).logout({});
    await expectOutcome(verifier, accessToken, 'token_revoked');
    expect(secrets).toEqual([]);
  });

  test('may be a session’s access token', async () => {
    await using kith = await startKith({ env });
    const { accessToken } = await kith.user(Role.EDITOR);
    await using verifier = createVerifier({
      issuer: ISSUER,
      address: kith.address,
      revocations: { getToken: () => accessToken },
    });
    await verifier.ready(60_000);
    expect(await expectGood(verifier, accessToken)).toMatchObject({ role: 'editor' });
  });
});
