import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { decodeProtectedHeader } from 'jose';
import { describe, expect, test } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../../../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import {
  type SigningKey,
  SigningKeyService,
  SigningKeyState,
} from '../../../gen/kith/auth/v1/signing_key_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { type Kith, refusalOf, type SignedIn, startKith } from '../../../test/support/kith.ts';
import { startOn } from '../../../test/support/stored.ts';
import { openDatabase } from '../../storage/database.ts';
import { KEEP_MS, LEAD_MS } from './key-schedule.ts';
import { refreshed, signedIn } from '../../../test/support/sign-in.ts';

const { PENDING, ACTIVE, RETIRED } = SigningKeyState;

async function signIn(kith: Kith, { user, password }: SignedIn) {
  return signedIn(kith.client(AuthService).login({ identifier: user.username, password }));
}

/** The administrator's client of the keys, signed in just now. */
async function keysOf(kith: Kith) {
  return kith.client(SigningKeyService, (await signIn(kith, await kith.admin())).accessToken);
}

async function list(kith: Kith): Promise<SigningKey[]> {
  return (await (await keysOf(kith)).listSigningKeys({})).signingKeys;
}

async function publishedKids(kith: Kith): Promise<string[]> {
  const { keys } = (await (await fetch(`${kith.address}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] };
  return keys.map(({ kid }) => kid);
}

const ms = (time: Timestamp | undefined) => (time === undefined ? undefined : timestampMs(time));
const statesOf = (keys: readonly SigningKey[]) => keys.map(({ kid, state }) => [kid, state]);
const signerOf = (accessToken: string) => decodeProtectedHeader(accessToken).kid;

describe.each(databases)('on $name', (kind) => {
  test('an admin sees keys come, sign, and go', async () => {
    await using kith = await startOn(kind);
    const [first, ...none] = await list(kith);
    expect(none).toEqual([]);
    expect([first!.state, first!.removeTime]).toEqual([ACTIVE, undefined]);
    expect(ms(first!.activateTime)).toBe(ms(first!.createTime));

    const { signingKey: next } = await (await keysOf(kith)).rotateSigningKey({});
    expect([next!.state, next!.removeTime]).toEqual([PENDING, undefined]);
    expect(ms(next!.activateTime)! - ms(next!.createTime)!).toBe(LEAD_MS);
    const [listed, previous] = await list(kith);
    expect(listed).toEqual(next);
    expect(previous).toMatchObject({ kid: first!.kid, state: ACTIVE });
    expect(ms(previous!.removeTime)).toBe(ms(next!.activateTime)! + KEEP_MS);

    kith.clock.offsetMs += LEAD_MS;
    expect(statesOf(await list(kith))).toEqual([
      [next!.kid, ACTIVE],
      [first!.kid, RETIRED],
    ]);
    kith.clock.offsetMs += KEEP_MS;
    await expect.poll(async () => statesOf(await list(kith)), { timeout: 30_000 }).toEqual([[next!.kid, ACTIVE]]);
    await expect.poll(() => publishedKids(kith), { timeout: 30_000 }).toEqual([next!.kid]);
  });

  test('tokens of before and after a change of keys are good to their end', async () => {
    await using kith = await startOn(kind);
    const admin = await kith.admin();
    const { signingKey } = await (await keysOf(kith)).rotateSigningKey({});
    kith.clock.offsetMs += LEAD_MS - 60_000;
    const before = await signIn(kith, admin);
    kith.clock.offsetMs += 60_000;
    const after = await signIn(kith, admin);
    expect(signerOf(before.accessToken)).not.toBe(signingKey!.kid);
    expect(signerOf(after.accessToken)).toBe(signingKey!.kid);
    kith.clock.offsetMs += kith.config.accessTokenTtlMs - 120_000;
    for (const { accessToken } of [before, after]) {
      expect((await kith.client(AuthService, accessToken).userMe({})).user!.id).toBe(admin.user.id);
    }
  });

  test('rotating again answers the key that waits, and is told of once', async () => {
    await using kith = await startOn(kind);
    const { user, accessToken } = await kith.admin();
    const keys = await keysOf(kith);
    const first = await keys.rotateSigningKey({});
    expect(await keys.rotateSigningKey({})).toEqual(first);
    const { activities } = await kith
      .client(ActivityService, accessToken)
      .listUserActivity({ userId: user.id, actionPrefixes: ['kith.signing_key'] });
    expect(activities).toEqual([
      expect.objectContaining({
        action: 'kith.signing_key.rotated',
        userId: user.id,
        actorId: user.id,
        attributes: { kid: first.signingKey!.kid, compromised: 'false' },
      }),
    ]);
  });

  test('keys that may be known to others take every access token with them, and no session', async () => {
    await using kith = await startOn(kind);
    const [viewer, admin] = [await kith.user(), await kith.admin()];
    const keys = kith.client(SigningKeyService, admin.accessToken);
    await kith.client(AuthService, viewer.accessToken).userMe({}); // remembered as verified
    const { signingKey: waiting } = await keys.rotateSigningKey({});
    const { signingKey } = await keys.rotateSigningKey({ compromised: true });
    expect([signingKey!.state, signingKey!.removeTime]).toEqual([ACTIVE, undefined]);
    expect(signingKey!.kid).not.toBe(waiting!.kid);
    expect(await publishedKids(kith)).toEqual([signingKey!.kid]);
    for (const { accessToken, refreshToken } of [viewer, admin]) {
      const refusal = await refusalOf(kith.client(AuthService, accessToken).userMe({}));
      expect(refusal).toMatchObject({ code: 'Unauthenticated', reason: 'ACCESS_TOKEN_EXPIRED' });
      const renewed = await refreshed(kith.client(AuthService).refreshAccessToken({ refreshToken }));
      expect(signerOf(renewed.accessToken)).toBe(signingKey!.kid);
      await kith.client(AuthService, renewed.accessToken).userMe({});
    }
    const events = await kith
      .client(ActivityService, (await signIn(kith, admin)).accessToken)
      .listUserActivity({ userId: admin.user.id, actionPrefixes: ['kith.signing_key'] });
    expect(events.activities.map(({ attributes }) => attributes)).toEqual([
      { kid: signingKey!.kid, compromised: 'true' },
      { kid: waiting!.kid, compromised: 'false' },
    ]);
  });

  test('an installation whose secret leaked goes on with another, and knows no token made with the one before', async () => {
    await using database = await kind.create();
    const secret = (word: string) => ({ KITH_SECRET_KEY: Buffer.alloc(32, word).toString('base64') });
    let before: SignedIn;
    {
      await using kith = await startKith({ database, env: secret('leaked') });
      before = await kith.user();
    }
    await expect(startKith({ database, env: secret('another') })).rejects.toMatchObject({ name: 'SecretKeyError' });
    {
      await using opened = await openDatabase(database.url);
      for (const table of ['signing_keys', 'second_factors', 'recovery_codes'] as const) {
        await opened.db.deleteFrom(table).execute();
      }
    }
    await using kith = await startKith({ database, env: secret('another') });
    const { accessToken, refreshToken } = before;
    const auth = kith.client(AuthService, accessToken);
    expect(await refusalOf(auth.userMe({}))).toMatchObject({ reason: 'ACCESS_TOKEN_EXPIRED' });
    expect(await refusalOf(auth.refreshAccessToken({ refreshToken }))).toMatchObject({
      reason: 'REFRESH_TOKEN_INVALID',
    });
    expect((await signIn(kith, before)).user.id).toBe(before.user.id);
  });

  test('rotating takes a fresh sign-in, and listing does not', async () => {
    await using kith = await startOn(kind);
    const { refreshToken } = await kith.admin();
    kith.clock.offsetMs += kith.config.freshSignInMs + 1000;
    const { accessToken } = await refreshed(kith.client(AuthService).refreshAccessToken({ refreshToken }));
    const keys = kith.client(SigningKeyService, accessToken);
    for (const compromised of [false, true]) {
      const refusal = await refusalOf(keys.rotateSigningKey({ compromised }));
      expect(refusal).toMatchObject({ code: 'Unauthenticated', reason: 'FRESH_SIGN_IN_REQUIRED' });
    }
    expect((await keys.listSigningKeys({})).signingKeys).toHaveLength(1);
  });

  test.each([
    ['a viewer', Role.VIEWER],
    ['an editor', Role.EDITOR],
  ])('%s may neither see nor rotate keys', async (_, role) => {
    await using kith = await startOn(kind);
    const { accessToken } = await kith.user(role);
    const keys = kith.client(SigningKeyService, accessToken);
    for (const [call, permission] of [
      [() => keys.listSigningKeys({}), 'PERMISSION_SIGNING_KEYS_READ'],
      [() => keys.rotateSigningKey({}), 'PERMISSION_SIGNING_KEYS_WRITE'],
      [() => keys.rotateSigningKey({ compromised: true }), 'PERMISSION_SIGNING_KEYS_WRITE'],
    ] as const) {
      expect(await refusalOf(call())).toMatchObject({
        code: 'PermissionDenied',
        reason: 'PERMISSION_MISSING',
        metadata: { permission },
      });
    }
    expect(await publishedKids(kith)).toHaveLength(1);
  });

  test('a key is followed by itself when it has signed for KITH_SIGNING_KEY_DAYS, which is nobody’s activity', async () => {
    await using kith = await startOn(kind, { env: { KITH_SIGNING_KEY_DAYS: '1' } });
    const [first] = await publishedKids(kith);
    kith.clock.offsetMs += 24 * 60 * 60 * 1000 - LEAD_MS;
    await expect.poll(() => publishedKids(kith), { timeout: 30_000 }).toEqual([expect.any(String), first]);
    const { user, accessToken } = await signIn(kith, await kith.admin());
    expect(signerOf(accessToken)).toBe(first);
    kith.clock.offsetMs += LEAD_MS;
    const [next] = await publishedKids(kith);
    expect(signerOf((await signIn(kith, await kith.admin())).accessToken)).toBe(next);
    const own = kith.client(ActivityService, (await signIn(kith, await kith.admin())).accessToken);
    const { activities } = await own.listUserActivity({ userId: user.id, actionPrefixes: ['kith.signing_key'] });
    expect(activities).toEqual([]);
  });
});
