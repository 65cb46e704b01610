import { type Client, createClient } from '@connectrpc/connect';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthService, type Tokens } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SessionService } from '../gen/kith/auth/v1/session_service_pb.ts';
import { type Database, openDatabase } from '../src/storage/database.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { sizeOf } from './support/full-size.ts';
import { ADMIN_PASSWORD, grpc, refusalOf } from './support/kith.ts';
import { type ServingProcess, startProcess } from './support/process.ts';
import { refreshed, signedIn } from './support/sign-in.ts';
import { REFRESH_TOKEN_REUSED, SESSION_ENDED } from './support/refusals.ts';

/** How often a race is run; 100 for the long run. */
const ROUNDS = sizeOf('KITH_TEST_ROUNDS', 5, 8);

/** How many refresh at once. */
const AT_ONCE = 50;

// One process serves a SQLite file.
const installations = databases.map((kind) => ({ ...kind, instanceCount: kind.name === 'SQLite' ? 1 : 3 }));

describe.each(installations)('$instanceCount instances on $name', ({ create, instanceCount }) => {
  let database: TestDatabase;
  let opened: Database;
  const instances: ServingProcess[] = [];
  let clients: Client<typeof AuthService>[];
  beforeAll(async () => {
    database = await create();
    opened = await openDatabase(database.url);
    const env = { ...database.env, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD, KITH_LOG_LEVEL: 'error' };
    const secret = { KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'), KITH_ISSUER: 'https://kith.test' };
    for (let i = 0; i < instanceCount; i++) instances.push(await startProcess({ env: { ...env, ...secret } }));
    // Connections of their own, so that what is sent at once arrives at once.
    clients = Array.from({ length: AT_ONCE }, (_, i) =>
      createClient(AuthService, grpc(instances[i % instanceCount]!.address)),
    );
  });
  afterAll(async () => {
    await Promise.all(instances.map((instance) => instance[Symbol.asyncDispose]()));
    await opened[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const signIn = async () => signedIn(clients[0]!.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
  const refresh = (refreshToken: string, i = 0) =>
    refreshed(clients[i % AT_ONCE]!.refreshAccessToken({ refreshToken }));
  const sessionIdOf = ({ accessToken }: { accessToken: string }) => String(decodeJwt(accessToken)['sid']);

  /** How many steps a session has taken, and when it was ended. */
  const stored = (session: { accessToken: string }) =>
    opened.db
      .selectFrom('sessions')
      .select(['refresh_counter', 'end_ms'])
      .where('id', '=', sessionIdOf(session))
      .executeTakeFirstOrThrow();

  /** The access token is good, on every instance. */
  async function expectGood({ accessToken }: Tokens): Promise<void> {
    for (const { address } of instances) await createClient(AuthService, grpc(address, accessToken)).userMe({});
  }

  test(`refresh or one-time-code race: of ${AT_ONCE} at once one takes the step, and all are given the one successor`, async () => {
    const session = await signIn();
    let { refreshToken } = session;
    for (let round = 1; round <= ROUNDS; round++) {
      const answers = await Promise.all(clients.map((_, i) => refresh(refreshToken, i)));
      const successors = new Set(answers.map((answer) => answer.refreshToken));
      expect({ round, successors: successors.size, ...(await stored(session)) }).toEqual({
        round,
        successors: 1,
        refresh_counter: round,
        end_ms: null,
      });
      expect(successors).not.toContain(refreshToken);
      expect(new Set(answers.map(sessionIdOf))).toEqual(new Set([sessionIdOf(session)]));
      refreshToken = answers[0]!.refreshToken;
    }
    // The first is older than all in the window, on whichever instance it comes back.
    const last = await refresh(refreshToken);
    await expectGood(last);
    expect(await refusalOf(refresh(session.refreshToken, 1))).toMatchObject(REFRESH_TOKEN_REUSED);
    for (const token of [last.refreshToken, refreshToken, session.refreshToken]) {
      expect(await refusalOf(refresh(token, 2))).toMatchObject(SESSION_ENDED);
    }
    expect((await stored(session)).end_ms).toEqual(expect.any(Number));
  }, 600_000);

  test('refresh or one-time-code race: a replay that comes late among others ends the session once, and nobody is left with a token', async () => {
    for (let round = 0; round < Math.ceil(ROUNDS / 5); round++) {
      const session = await signIn();
      const second = await refresh(session.refreshToken);
      const third = await refresh(second.refreshToken);
      const outcomes = await Promise.allSettled(
        clients.map((_, i) => refresh(i % 2 === 0 ? session.refreshToken : third.refreshToken, i)),
      );
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
      const refusals = await Promise.all(refused.map(({ reason }) => refusalOf(Promise.reject(reason as Error))));
      // Of those with the old token one is told why, and the others that the session has ended.
      expect(refusals.filter(({ reason }) => reason === 'REFRESH_TOKEN_REUSED')).toHaveLength(1);
      expect(refusals.filter(({ reason }) => reason === 'SESSION_ENDED')).toHaveLength(refusals.length - 1);
      const answered = outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value);
      expect(new Set(answered.map(({ refreshToken }) => refreshToken)).size).toBeLessThanOrEqual(1);
      for (const token of [third.refreshToken, ...answered.map(({ refreshToken }) => refreshToken)]) {
        expect(await refusalOf(refresh(token, 1))).toMatchObject(SESSION_ENDED);
      }
    }
  }, 600_000);

  test('refresh or one-time-code race: a session that is revoked while fifty refresh it stays revoked', async () => {
    for (let round = 0; round < Math.ceil(ROUNDS / 5); round++) {
      const [session, revoker] = [await signIn(), await signIn()];
      const refreshing = clients.map((_, i) => refresh(session.refreshToken, i).catch(() => undefined));
      await createClient(SessionService, grpc(instances[0]!.address, revoker.accessToken)).revokeSession({
        userId: revoker.user.id,
        sessionId: sessionIdOf(session),
      });
      for (const answer of await Promise.all(refreshing)) {
        if (answer === undefined) continue;
        expect(await refusalOf(refresh(answer.refreshToken, 1))).toMatchObject(SESSION_ENDED);
        const me = createClient(AuthService, grpc(instances[0]!.address, answer.accessToken)).userMe({});
        expect(await refusalOf(me)).toMatchObject(SESSION_ENDED);
      }
    }
  }, 600_000);

  test('the window that forks a second chain: two who hold the same token go on as one', async () => {
    const session = await signIn();
    let [mine, theirs] = [session.refreshToken, session.refreshToken];
    for (let step = 1; step <= 5; step++) {
      [mine, theirs] = [(await refresh(mine, 0)).refreshToken, (await refresh(theirs, 1)).refreshToken];
      expect(theirs).toBe(mine);
      expect((await stored(session)).refresh_counter).toBe(step);
    }
    // One goes ahead by two steps: the other is late, and that shows.
    await refresh((await refresh(mine)).refreshToken);
    expect(await refusalOf(refresh(theirs, 1))).toMatchObject(REFRESH_TOKEN_REUSED);
  });

  test('"previous" that never advances: at every step the last token may come again, and none that is older', async () => {
    const chain = [await signIn()].map(({ refreshToken }) => refreshToken);
    for (let step = 1; step <= 5; step++) {
      const [previous] = chain.slice(-1);
      const next = await refresh(previous!);
      chain.push(next.refreshToken);
      expect((await refresh(previous!, step)).refreshToken).toBe(next.refreshToken);
    }
    expect(new Set(chain)).toHaveLength(6);
    for (let age = 2; age <= 4; age++) {
      const session = await signIn();
      const tokens = [session.refreshToken];
      for (let step = 0; step < age; step++) tokens.push((await refresh(tokens.at(-1)!)).refreshToken);
      expect(await refusalOf(refresh(tokens.at(-1 - age)!, age))).toMatchObject(REFRESH_TOKEN_REUSED);
      expect(await refusalOf(refresh(tokens.at(-1)!))).toMatchObject(SESSION_ENDED);
    }
  });

  test('the answer without a token: whoever is answered gets both tokens and when they expire, and they are good', async () => {
    const { refreshToken } = await signIn();
    const first = await refresh(refreshToken);
    const replays = await Promise.all(Array.from({ length: 6 }, (_, i) => refresh(refreshToken, i)));
    for (const answer of [first, ...replays]) {
      expect(answer).toMatchObject({
        refreshToken: first.refreshToken,
        refreshTokenExpireTime: first.refreshTokenExpireTime,
        accessToken: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        accessTokenExpireTime: { seconds: BigInt(decodeJwt(answer.accessToken).exp!) },
      });
      await expectGood(answer);
    }
    expect(new Set([first, ...replays].map(({ accessToken }) => accessToken))).toHaveLength(7);
    await expectGood(await refresh(first.refreshToken, 1));
  });
});
