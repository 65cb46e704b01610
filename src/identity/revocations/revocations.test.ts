import { randomUUIDv7 } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { databases, type TestDatabase } from '../../../test/support/databases.ts';
import type { Role } from '../../kernel/access.ts';
import { type Database, type Db, openDatabase } from '../../storage/database.ts';
import {
  IN_FORCE_MS,
  publishAccessChange,
  revokeSession,
  revokeSessions,
  type Revocations,
  startRevocations,
} from './revocations.ts';
import { deleteExpiredRevocations, selectRevocations } from './store.ts';

const HOUR_MS = 60 * 60 * 1000;
const SESSION_ENDED = expect.objectContaining({ name: 'Failure', reason: 'session_ended' });
const SERVER_UNAVAILABLE = expect.objectContaining({ name: 'Failure', reason: 'server_unavailable' });

/** What an access token says of whom it speaks for. */
const tokenOf = (userId = randomUUIDv7(), role: Role = 'editor') => ({
  userId,
  sessionId: randomUUIDv7(),
  kind: 'session' as const,
  role,
});

const soon = (check: () => unknown) => vi.waitFor(check, 20_000);

describe.each(databases)('on $name', (kind) => {
  let file: TestDatabase;
  let here: Database;
  let there: Database;
  let nowMs: number;
  const errors: unknown[] = [];
  const opened = new Set<Revocations>();
  beforeEach(async () => {
    file = await kind.create();
    [here, there] = [await openDatabase(file.url), await openDatabase(file.url)];
    nowMs = Date.now();
    errors.length = 0;
  });
  afterEach(async () => {
    for (const revocations of opened) await revocations[Symbol.asyncDispose]();
    opened.clear();
    for (const database of [here, there]) await database[Symbol.asyncDispose]();
    await file[Symbol.asyncDispose]();
  });

  const now = () => nowMs;
  async function start(database = here, options: { staleMs?: number } = {}): Promise<Revocations> {
    const revocations = await startRevocations(database, {
      now,
      monotonic: now,
      onError: (error) => errors.push(error),
      ...options,
    });
    opened.add(revocations);
    return revocations;
  }
  const inTransaction = (work: (tx: Db) => Promise<void>, database = here) => database.transaction(work);
  const revoke = (token: { userId: string; sessionId: string }, database = here) =>
    inTransaction((tx) => revokeSession(tx, { database, now }, token), database);
  const revise = (userId: string, role: Role | null, revision: number, database = here) =>
    inTransaction((tx) => publishAccessChange(tx, { database, now }, { userId, role, revision }), database);

  describe('what this process commits', () => {
    test('is known before the transaction is answered, without a query', async () => {
      const revocations = await start();
      const [ended, changed, alive] = [tokenOf(), tokenOf(), tokenOf()];
      await revoke(ended);
      await revise(changed.userId, 'viewer', 2);
      await here[Symbol.asyncDispose]();
      await expect(revocations.currentRole(ended)).rejects.toEqual(SESSION_ENDED);
      expect(await revocations.currentRole(changed)).toBe('viewer');
      expect(await revocations.currentRole(alive)).toBe('editor');
    });

    test('is revoked of several at once', async () => {
      const revocations = await start();
      const userId = randomUUIDv7();
      const [first, second, third] = [tokenOf(userId), tokenOf(userId), tokenOf(userId)];
      await inTransaction((tx) =>
        revokeSessions(tx, { database: here, now }, userId, [first.sessionId, second.sessionId]),
      );
      await inTransaction((tx) => revokeSessions(tx, { database: here, now }, userId, []));
      for (const ended of [first, second]) await expect(revocations.currentRole(ended)).rejects.toEqual(SESSION_ENDED);
      expect(await revocations.currentRole(third)).toBe('editor');
    });

    test('is not taken for committed when the transaction fails', async () => {
      const revocations = await start();
      const token = tokenOf();
      const failing = inTransaction(async (tx) => {
        await revokeSession(tx, { database: here, now }, token);
        throw new Error('changed my mind');
      });
      await expect(failing).rejects.toThrow('changed my mind');
      await revoke(tokenOf());
      expect(await revocations.currentRole(token)).toBe('editor');
      expect(await (await start()).currentRole(token)).toBe('editor');
    });
  });

  describe('what another process commits', () => {
    test('is known soon after', async () => {
      const revocations = await start();
      const [ended, changed] = [tokenOf(), tokenOf()];
      await revoke(ended, there);
      await revise(changed.userId, null, 2, there);
      await soon(() => expect(revocations.currentRole(ended)).rejects.toEqual(SESSION_ENDED));
      await soon(() => expect(revocations.currentRole(changed)).rejects.toEqual(SESSION_ENDED));
    });

    test('was known from the start when it came before', async () => {
      const [ended, changed] = [tokenOf(), tokenOf()];
      await revoke(ended, there);
      await revise(changed.userId, 'admin', 2, there);
      const revocations = await start();
      await expect(revocations.currentRole(ended)).rejects.toEqual(SESSION_ENDED);
      expect(await revocations.currentRole(changed)).toBe('admin');
    });
  });

  describe('a user who changed', () => {
    test.each(['viewer', 'admin'] as const)('to %s has that role whatever the token says', async (role) => {
      const revocations = await start();
      const token = tokenOf();
      await revise(token.userId, role, 2);
      expect(await revocations.currentRole(token)).toBe(role);
    });

    test('to one who may not sign in is refused', async () => {
      const revocations = await start();
      const token = tokenOf();
      await revise(token.userId, null, 2);
      await expect(revocations.currentRole(token)).rejects.toEqual(SESSION_ENDED);
    });

    test('is what the highest revision says, in whatever order they are applied', async () => {
      const token = tokenOf();
      const early = await start();
      await revise(token.userId, 'admin', 4);
      await revise(token.userId, null, 3);
      await revise(token.userId, 'viewer', 2);
      for (const revocations of [early, await start(), await start(there)]) {
        expect(await revocations.currentRole(token)).toBe('admin');
      }
      await revise(token.userId, null, 5);
      await expect(early.currentRole(token)).rejects.toEqual(SESSION_ENDED);
    });

    test('does not bring back a session that has ended', async () => {
      const revocations = await start();
      const token = tokenOf();
      await revise(token.userId, null, 2);
      await revoke(token);
      await revise(token.userId, 'editor', 3);
      await expect(revocations.currentRole(token)).rejects.toEqual(SESSION_ENDED);
      expect(await revocations.currentRole({ ...token, sessionId: randomUUIDv7() })).toBe('editor');
    });
  });

  describe('as time passes', () => {
    test('a revocation is in force as long as any access token may be good, and is forgotten then', async () => {
      const revocations = await start();
      const tokens = [tokenOf(), tokenOf()];
      await revoke(tokens[0]!);
      await revise(tokens[1]!.userId, null, 2);
      nowMs += IN_FORCE_MS - 1;
      for (const token of tokens) await expect(revocations.currentRole(token)).rejects.toEqual(SESSION_ENDED);
      for (const token of tokens) await expect((await start()).currentRole(token)).rejects.toEqual(SESSION_ENDED);
      nowMs += 1;
      await soon(() => expect(revocations.after(0, 10).revocations).toEqual([]));
      for (const token of tokens) expect(await revocations.currentRole(token)).toBe('editor');
      expect((await start()).after(0, 10).revocations).toEqual([]);
    });

    test('those that are in force no more are purged, and no others', async () => {
      const [old, recent] = [tokenOf(), tokenOf()];
      await revoke(old);
      nowMs += IN_FORCE_MS / 2;
      await revoke(recent);
      nowMs += IN_FORCE_MS / 2;
      expect(await deleteExpiredRevocations(here.db, nowMs, 100)).toBe(1);
      expect(await deleteExpiredRevocations(here.db, nowMs, 100)).toBe(0);
      await expect((await start()).currentRole(recent)).rejects.toEqual(SESSION_ENDED);
      nowMs += IN_FORCE_MS;
      expect(await deleteExpiredRevocations(here.db, nowMs, 100)).toBe(1);
    });
  });

  describe('when the database cannot be read', () => {
    test('what was read last holds for a while, then nobody is let in, and all is well afterwards', async () => {
      let isBroken = false;
      // The expression of the dialect that every read evaluates.
      const horizon = () => (isBroken ? sql<number>`no_such_column` : here.dialect.horizon);
      const breakable = {
        ...here,
        dialect: {
          ...here.dialect,
          get horizon() {
            return horizon();
          },
        },
      };
      const revocations = await start(breakable, { staleMs: 3000 });
      const [ended, alive] = [tokenOf(), tokenOf()];
      await revoke(ended);
      isBroken = true;
      await soon(() => expect(errors).toHaveLength(1));
      expect(await revocations.currentRole(alive)).toBe('editor');
      await soon(() => expect(revocations.currentRole(alive)).rejects.toEqual(SERVER_UNAVAILABLE));
      await expect(revocations.currentRole(ended)).rejects.toEqual(SERVER_UNAVAILABLE);
      const meanwhile = tokenOf();
      await revoke(meanwhile, there);
      isBroken = false;
      await soon(async () => expect(await revocations.currentRole(alive)).toBe('editor'));
      for (const token of [ended, meanwhile]) {
        await expect(revocations.currentRole(token)).rejects.toEqual(SESSION_ENDED);
      }
      expect(errors).toHaveLength(1);
    });

    test('there is no start', async () => {
      await sql`drop table revocations`.execute(here.db);
      await expect(start()).rejects.toThrow(/revocations/);
    });

    test('a process that stood still reads before it lets anybody in', async () => {
      const revocations = await start(here, { staleMs: 20 });
      const token = tokenOf();
      await revoke(token, there);
      for (const until = performance.now() + 50; performance.now() < until; ); // no timer fires
      await expect(revocations.currentRole(token)).rejects.toEqual(SESSION_ENDED);
    });
  });

  describe('subscriptions', () => {
    test('are woken for their user, or for everybody, until they end', async () => {
      const revocations = await start();
      const [mine, other] = [tokenOf(), tokenOf()];
      const woken: string[] = [];
      const ends = [
        revocations.subscribe(mine.userId, () => woken.push('mine')),
        revocations.subscribe(undefined, () => woken.push('all')),
      ];
      expect(revocations.size).toBe(2);
      await revoke(other);
      expect(woken).toEqual(['all']);
      await revoke(mine);
      await revise(mine.userId, 'viewer', 2);
      expect(woken.toSorted()).toEqual(['all', 'all', 'all', 'mine', 'mine']);
      for (const end of ends) end();
      for (const end of ends) end();
      expect(revocations.size).toBe(0);
      await revoke({ ...mine, sessionId: randomUUIDv7() });
      expect(woken).toHaveLength(5);
    });

    test('see each revocation once, in parts as large as asked for', async () => {
      const revocations = await start();
      const tokens = Array.from({ length: 7 }, () => tokenOf());
      for (const [i, token] of tokens.entries()) await revoke(token, i % 2 === 0 ? here : there);
      await soon(() => expect(revocations.after(0, 100).revocations).toHaveLength(7));
      const seen: string[] = [];
      let position = 0;
      for (let isAll = false; !isAll; ) {
        const part = revocations.after(position, 3);
        expect(part.revocations.length).toBeLessThanOrEqual(3);
        seen.push(...part.revocations.map(({ session_id }) => String(session_id)));
        ({ position, isAll } = part);
      }
      expect(seen.toSorted()).toEqual(tokens.map(({ sessionId }) => sessionId).toSorted());
      expect(revocations.after(position, 3)).toEqual({ revocations: [], position, isAll: true });
      // What was forgotten meanwhile is skipped.
      nowMs += IN_FORCE_MS;
      const late = tokenOf();
      await revoke(late);
      await soon(() => expect(revocations.after(0, 100).revocations).toHaveLength(1));
      expect(revocations.after(2, 100)).toMatchObject({ revocations: [{ session_id: late.sessionId }], isAll: true });
    });
  });
});

describe('where transactions run side by side', () => {
  const kind = databases[1]!;

  test('one that commits late, with an early number, is applied as well', async () => {
    await using file = await kind.create();
    await using here = await openDatabase(file.url);
    await using there = await openDatabase(file.url);
    const now = Date.now;
    await using revocations = await startRevocations(here, { now, monotonic: now, onError: () => {} });
    const [late, early] = [tokenOf(), tokenOf()];
    const [written, mayCommit] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const slow = there.db.transaction().execute(async (tx) => {
      await revokeSession(tx, { database: there, now }, late);
      written.resolve();
      await mayCommit.promise;
    });
    await written.promise;
    await there.transaction((tx) => revokeSession(tx, { database: there, now }, early));
    // The one that is still open delays nothing.
    await soon(() => expect(revocations.currentRole(early)).rejects.toEqual(SESSION_ENDED));
    await sleep(600); // some polls go by
    expect(await revocations.currentRole(late)).toBe('editor');
    mayCommit.resolve();
    await slow;
    await soon(() => expect(revocations.currentRole(late)).rejects.toEqual(SESSION_ENDED));
  });

  test('of many that commit in any order each is applied', async () => {
    await using file = await kind.create();
    await using here = await openDatabase(file.url);
    await using there = await openDatabase(file.url);
    const now = Date.now;
    await using revocations = await startRevocations(here, { now, monotonic: now, onError: () => {} });
    const tokens = Array.from({ length: 200 }, () => tokenOf());
    await Promise.all(
      tokens.map((token, i) =>
        there.db.transaction().execute(async (tx) => {
          await revokeSession(tx, { database: there, now }, token);
          await sql`select pg_sleep(${((i * 7) % 20) / 1000})`.execute(tx);
        }),
      ),
    );
    await soon(() => expect(revocations.after(0, 1000).revocations).toHaveLength(tokens.length));
    for (const token of tokens) await expect(revocations.currentRole(token)).rejects.toEqual(SESSION_ENDED);
  });

  test('a read finds what the one before could not see, and what came after a crash gave numbers again', async () => {
    await using file = await kind.create();
    await using database = await openDatabase(file.url);
    const { db, dialect } = database;
    const nowMs = Date.now();
    const { position } = await selectRevocations(db, dialect, undefined, nowMs);
    const [token, again] = [tokenOf(), tokenOf()];
    await database.transaction((tx) => revokeSession(tx, { database, now: () => nowMs }, token));
    const next = await selectRevocations(db, dialect, position, nowMs);
    expect(next.rows).toMatchObject([{ session_id: token.sessionId }]);
    expect(next.position.horizon).toBeGreaterThan(position.horizon);
    // The transactions of a server that crashed are numbered again where they left no trace: sequences are not.
    await database.transaction((tx) => revokeSession(tx, { database, now: () => nowMs }, again));
    await sql`update revocations set writer = 1 where session_id = ${again.sessionId}`.execute(db);
    const { rows } = await selectRevocations(db, dialect, next.position, nowMs);
    expect(rows).toMatchObject([{ session_id: again.sessionId }]);
  });

  test('another server in the place of the one that was read is read from the start', async () => {
    await using file = await kind.create();
    await using database = await openDatabase(file.url);
    let ahead = 1_000_000;
    const lagging = {
      ...database,
      dialect: {
        ...database.dialect,
        get horizon() {
          return sql<number>`${sql.lit(ahead)} + 0`;
        },
      },
    };
    await using revocations = await startRevocations(lagging, {
      now: Date.now,
      monotonic: Date.now,
      onError: () => {},
    });
    const token = tokenOf();
    // Below all that was read: a standby takes over that had not got so far.
    await sql`insert into revocations (seq, writer, session_id, user_id, revision, expire_ms)
      values (-1, 1, ${token.sessionId}, ${token.userId}, 0, ${Date.now() + HOUR_MS})`.execute(database.db);
    await sleep(600); // some polls go by
    expect(await revocations.currentRole(token)).toBe('editor');
    ahead = 5;
    await soon(() => expect(revocations.currentRole(token)).rejects.toEqual(SESSION_ENDED));
  });
});
