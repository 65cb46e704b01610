import { randomUUIDv7 } from 'node:crypto';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Role } from '../../../gen/kith/access/v1/role_pb.ts';
import { AuthService } from '../../../gen/kith/auth/v1/auth_service_pb.ts';
import {
  type Revocation,
  RevocationService,
  type WatchRevocationsResponse,
} from '../../../gen/kith/auth/v1/revocation_service_pb.ts';
import { SessionService } from '../../../gen/kith/auth/v1/session_service_pb.ts';
import { UserState } from '../../../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../../../gen/kith/user/v1/user_service_pb.ts';
import { databases } from '../../../test/support/databases.ts';
import { grpc, type Kith, type Refusal, refusalOf, type SignedIn } from '../../../test/support/kith.ts';
import { openApp, startOn } from '../../../test/support/stored.ts';
import { refreshed, signedIn } from '../../../test/support/sign-in.ts';
import { PERMISSION_MISSING, SESSION_ENDED } from '../../../test/support/refusals.ts';

const HOUR_MS = 60 * 60 * 1000;

const sessionIdOf = ({ accessToken }: { accessToken: string }): string => String(decodeJwt(accessToken)['sid']);

/** A watch of revocations that is read when asked to. Disposing leaves it. */
class Watch implements AsyncDisposable {
  readonly #messages: AsyncIterator<WatchRevocationsResponse>;
  readonly #leaving = new AbortController();

  constructor({ address }: Kith, { accessToken }: { accessToken: string }) {
    const client = createClient(RevocationService, grpc(address, accessToken));
    this.#messages = client.watchRevocations({}, { signal: this.#leaving.signal })[Symbol.asyncIterator]();
  }

  /** The next message. Throws what ended the watch. */
  async next(): Promise<WatchRevocationsResponse> {
    const { done, value } = await this.#messages.next();
    if (done) throw new Error('the watch ended without a code');
    return value;
  }

  /** Reads until `count` revocations have come. */
  async revocations(count: number): Promise<Revocation[]> {
    const seen: Revocation[] = [];
    while (seen.length < count) seen.push(...(await this.next()).revocations);
    return seen;
  }

  /** Reads to the end: how the watch was ended. */
  end(): Promise<Refusal> {
    return refusalOf(this.revocations(Number.POSITIVE_INFINITY));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving.abort();
    await this.#messages.next().catch(() => {});
  }
}

const subjects = (revocations: readonly Revocation[]) => revocations.map(({ subject }) => subject);

describe.each(databases)('WatchRevocations on $name', (kind) => {
  let kith: Kith;
  let service: SignedIn;
  beforeAll(async () => {
    kith = await startOn(kind);
    service = await kith.user(Role.EDITOR);
  });
  afterAll(() => kith[Symbol.asyncDispose]());

  const users = async (on = kith) => on.client(UserService, (await on.admin()).accessToken);
  const logout = (session: { accessToken: string }, on = kith) =>
    on.client(AuthService, session.accessToken).logout({});

  test('tells at once of everything that is in force, also when there is nothing', async () => {
    await using own = await startOn(kind);
    const admin = await own.admin();
    {
      await using watch = new Watch(own, admin);
      expect(await watch.next()).toMatchObject({ revocations: [], incomplete: false });
    }
    const [signedOut, suspended, promoted] = [await own.user(), await own.user(), await own.user()];
    const startMs = Date.now();
    await logout(signedOut, own);
    const { user: gone } = await (await users(own)).updateUser({
      userId: suspended.user.id,
      state: UserState.SUSPENDED,
    });
    await (await users(own)).updateUser({ userId: promoted.user.id, role: Role.EDITOR });
    for (let connection = 0; connection < 2; connection++) {
      await using watch = new Watch(own, admin);
      const { revocations, incomplete } = await watch.next();
      expect(incomplete).toBe(false);
      expect(subjects(revocations)).toEqual([
        { case: 'sessionId', value: sessionIdOf(signedOut) },
        { case: 'user', value: expect.objectContaining({ userId: gone!.id, role: Role.UNSPECIFIED, revision: 2n }) },
        { case: 'sessionId', value: sessionIdOf(suspended) },
        { case: 'user', value: expect.objectContaining({ userId: promoted.user.id, role: Role.EDITOR, revision: 2n }) },
      ]);
      for (const { expireTime } of revocations) {
        expect(timestampMs(expireTime!)).toBeGreaterThanOrEqual(startMs + HOUR_MS);
      }
    }
  });

  test.each<[string, (session: SignedIn) => Promise<unknown>]>([
    ['a sign-out', (session) => logout(session)],
    [
      'a revoked session',
      ({ user, accessToken }) =>
        kith
          .client(SessionService, accessToken)
          .revokeSession({ userId: user.id, sessionId: sessionIdOf({ accessToken }) }),
    ],
    [
      'all sessions revoked',
      ({ user, accessToken }) => kith.client(SessionService, accessToken).revokeAllSessions({ userId: user.id }),
    ],
    [
      'a refresh token that came twice',
      async ({ refreshToken }) => {
        const auth = kith.client(AuthService);
        const second = await refreshed(auth.refreshAccessToken({ refreshToken }));
        await auth.refreshAccessToken({ refreshToken: second.refreshToken });
        await refusalOf(auth.refreshAccessToken({ refreshToken }));
      },
    ],
  ])('tells of %s as it happens', async (_, end) => {
    const session = await kith.user();
    await using watch = new Watch(kith, service);
    await watch.next();
    await end(session);
    expect(subjects(await watch.revocations(1))).toEqual([{ case: 'sessionId', value: sessionIdOf(session) }]);
  });

  test.each<[string, (id: string) => Promise<unknown>, Role]>([
    ['a deletion', async (id) => (await users()).deleteUser({ userId: id }), Role.UNSPECIFIED],
    [
      'a suspension',
      async (id) => (await users()).updateUser({ userId: id, state: UserState.SUSPENDED }),
      Role.UNSPECIFIED,
    ],
    ['another role', async (id) => (await users()).updateUser({ userId: id, role: Role.ADMIN }), Role.ADMIN],
  ])('tells of %s as it happens', async (_, change, role) => {
    const { user } = await kith.user();
    await using watch = new Watch(kith, service);
    await watch.next();
    await change(user.id);
    const [first] = await watch.revocations(1);
    expect(first!.subject).toMatchObject({ case: 'user', value: { userId: user.id, role } });
  });

  test('tells of a user who came back, with a higher revision', async () => {
    const { user } = await kith.user();
    const { id } = user;
    await using watch = new Watch(kith, service);
    await watch.next();
    await (await users()).deleteUser({ userId: id });
    await (await users()).undeleteUser({ userId: id });
    const revisions = subjects(await watch.revocations(3)).flatMap((subject) =>
      subject.case === 'user' ? [subject.value] : [],
    );
    expect(revisions).toMatchObject([
      { userId: id, role: Role.UNSPECIFIED, revision: 2n },
      { userId: id, role: Role.VIEWER, revision: 3n },
    ]);
  });

  test('says nothing of a change that leaves access tokens right', async () => {
    const { user, refreshToken } = await kith.user();
    const last = await kith.user();
    await using watch = new Watch(kith, service);
    await watch.next();
    await (await users()).updateUser({ userId: user.id, name: 'Another Name' });
    await kith.client(AuthService).refreshAccessToken({ refreshToken });
    await logout(last);
    expect(subjects(await watch.revocations(1))).toEqual([{ case: 'sessionId', value: sessionIdOf(last) }]);
  });

  test('says each second that there is nothing', async () => {
    await using watch = new Watch(kith, service);
    await watch.next();
    for (let i = 0; i < 3; i++) expect(await watch.next()).toMatchObject({ revocations: [], incomplete: false });
  });

  test('tells of more than a message holds in several, and which of them is the last', async () => {
    await using own = await startOn(kind);
    const admin = await own.admin();
    const count = 25_000;
    await using app = await openApp(own);
    const rows = Array.from({ length: count }, () => ({
      session_id: randomUUIDv7(),
      user_id: admin.user.id,
      role: null,
      revision: 0,
      expire_ms: app.now() + HOUR_MS,
    }));
    await app.database.transaction(async (tx) => {
      for (let i = 0; i < count; i += 500)
        await tx
          .insertInto('revocations')
          .values(rows.slice(i, i + 500))
          .execute();
    });
    await vi.waitFor(async () => {
      await using watch = new Watch(own, admin);
      const seen: Revocation[] = [];
      const parts: boolean[] = [];
      for (let isIncomplete = true; isIncomplete; ) {
        const { revocations, incomplete } = await watch.next();
        seen.push(...revocations);
        parts.push((isIncomplete = incomplete));
      }
      expect(parts).toEqual([true, true, false]);
      const ids = seen.map(({ subject }) => subject.value);
      expect(new Set(ids)).toEqual(new Set(rows.map(({ session_id }) => session_id)));
    }, 20_000);
  });

  test('keeps nothing for a reader that stands still, who misses nothing all the same', async () => {
    const sessions = await Promise.all(Array.from({ length: 4 }, () => kith.user()));
    await using watch = new Watch(kith, service);
    await watch.next();
    for (const session of sessions) await logout(session);
    // It reads on when everything has long been sent to others.
    await using other = new Watch(kith, service);
    await other.next();
    expect(subjects(await watch.revocations(4)).map(({ value }) => value)).toEqual(sessions.map(sessionIdOf));
  });

  describe('ends', () => {
    test('when the session of the caller does', async () => {
      const caller = await kith.user(Role.EDITOR);
      const watch = new Watch(kith, caller);
      await watch.next();
      await logout(caller);
      expect(await watch.end()).toMatchObject(SESSION_ENDED);
    });

    test('when the caller may not watch any more', async () => {
      const caller = await kith.user(Role.EDITOR);
      const watch = new Watch(kith, caller);
      await watch.next();
      await (await users()).updateUser({ userId: caller.user.id, role: Role.VIEWER });
      expect(await watch.end()).toMatchObject(PERMISSION_MISSING);
    });

    test('not when another session of the caller does, nor when the role still allows it', async () => {
      const caller = await kith.user(Role.EDITOR);
      const other = await signedIn(
        kith.client(AuthService).login({ identifier: caller.user.username, password: caller.password }),
      );
      await using watch = new Watch(kith, caller);
      await watch.next();
      await logout(other);
      await (await users()).updateUser({ userId: caller.user.id, role: Role.ADMIN });
      expect(subjects(await watch.revocations(2))).toMatchObject([{ case: 'sessionId' }, { case: 'user' }]);
      expect(await watch.next()).toMatchObject({ revocations: [] });
    });

    test('when the time of the session is over', async () => {
      await using own = await startOn(kind, { server: { progressMs: 50 } });
      const caller = await own.user(Role.EDITOR);
      const watch = new Watch(own, caller);
      await watch.next();
      own.clock.offsetMs += 30 * 24 * HOUR_MS;
      expect(await watch.end()).toMatchObject(SESSION_ENDED);
    });

    test('when the server stops, with word of it', async () => {
      const own = await startOn(kind);
      const watch = new Watch(own, await own.admin());
      await watch.next();
      const ending = watch.end();
      await own[Symbol.asyncDispose]();
      expect(await ending).toMatchObject({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' });
    });

    test('when the reader leaves, and nothing of it stays', async () => {
      await vi.waitFor(() => expect(kith.subscriptions()).toBe(0), 20_000);
      const watches = Array.from({ length: 20 }, () => new Watch(kith, service));
      await Promise.all(watches.map((watch) => watch.next()));
      expect(kith.subscriptions()).toBe(20);
      for (const watch of watches) await watch[Symbol.asyncDispose]();
      await vi.waitFor(() => expect(kith.subscriptions()).toBe(0), 20_000);
    });
  });

  test.each([
    ['nobody', undefined, { code: 'Unauthenticated', reason: 'ACCESS_TOKEN_MISSING' }],
    ['a viewer', Role.VIEWER, PERMISSION_MISSING],
  ])('refuses %s', async (_, role, refusal) => {
    const accessToken = role && (await kith.user(role)).accessToken;
    const messages = kith.client(RevocationService, accessToken).watchRevocations({})[Symbol.asyncIterator]();
    expect(await refusalOf(messages.next())).toMatchObject(refusal);
  });

  test('refuses a session that has ended', async () => {
    const caller = await kith.user(Role.EDITOR);
    await logout(caller);
    expect(await refusalOf(new Watch(kith, caller).next())).toMatchObject(SESSION_ENDED);
  });
});
