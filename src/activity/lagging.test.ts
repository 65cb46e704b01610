import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../kernel/clock.ts';
import { createOpened, databases, type OpenedDatabase } from '../../test/support/databases.ts';
import { userRow } from '../../test/support/rows.ts';
import type { Caller } from '../kernel/access.ts';
import type { Db } from '../storage/database.ts';
import { createKeyring } from '../kernel/keyring.ts';
import { startRevocations } from '../identity/revocations/revocations.ts';
import { createWatchLimits, type WatchApp, type WatchMessage, watchActivities } from './activity.ts';
import { writeCursor } from './log/cursor.ts';
import { appendActivities } from './log/log.ts';
import { Tail } from './log/tail.ts';

const WATCHES = 24;
const ACTIVITIES = 120;
const NEVER_MS = 60 * 60_000;

describe.each(databases)('on $name', (kind) => {
  let database: OpenedDatabase;
  let userId: string;
  /** How many reads are under way, and were at the most. */
  let reads = 0;
  let readsMost = 0;
  let errors: unknown[] = [];

  beforeAll(async () => {
    database = await createOpened(kind);
  });
  afterAll(() => database[Symbol.asyncDispose]());
  beforeEach(async () => {
    const user = userRow();
    userId = user.id;
    await database.db.insertInto('users').values(user).execute();
    readsMost = 0;
    errors = [];
  });

  /** What watches share, over a database that counts how many of them look for the end of the log at a time. */
  async function openWatchApp(): Promise<WatchApp & AsyncDisposable> {
    const onError = (error: unknown) => errors.push(error);
    const dialect = {
      ...database.dialect,
      async endOfLog(db: Db) {
        readsMost = Math.max(readsMost, ++reads);
        try {
          return await database.dialect.endOfLog(db);
        } finally {
          reads--;
        }
      },
    };
    const counted = { ...database, dialect };
    const revocations = await startRevocations(database, { ...systemClock, onError });
    // Nothing is known of the end of the log: each watch asks the database, as after a restart.
    const tail = new Tail(counted, onError);
    tail.readRecent = () => undefined;
    return {
      database: counted,
      keyring: createKeyring(Buffer.alloc(32, 'kith')),
      tail,
      revocations,
      ...createWatchLimits(WATCHES),
      progressMs: NEVER_MS,
      stallMs: NEVER_MS,
      connectionClock: { now: () => 0, monotonic: () => 0 },
      renew: async (caller) => caller,
      async [Symbol.asyncDispose]() {
        await tail[Symbol.asyncDispose]();
        await revocations[Symbol.asyncDispose]();
      },
    };
  }

  const callerOf = (sessionId: string): Caller => ({
    userId,
    sessionId,
    kind: 'session',
    permissions: new Set(),
    signInMs: 0,
  });

  test('watches that lag share few reads and a bounded number of bytes, and each gets everything in order', async () => {
    const start = await database.dialect.endOfLog(database.db);
    const activities = Array.from({ length: ACTIVITIES }, (_, i) => ({ userId, by: null, action: `n${i}` }));
    const rows = await database.transaction((tx) => appendActivities(tx, { database, now: Date.now }, activities));
    await expect.poll(() => database.dialect.endOfLog(database.db)).not.toEqual(start);
    await using app = await openWatchApp();
    const leaving = new AbortController();
    const request = { userId, actionPrefixes: [], afterCursor: writeCursor(app.keyring, start) };
    const watches = Array.from({ length: WATCHES }, () =>
      watchActivities(app, callerOf('session'), request, leaving.signal),
    );
    const nextOfAll = async (): Promise<(WatchMessage | undefined)[]> => {
      const messages = await Promise.all(watches.map((watch) => watch.next()));
      return messages.map(({ value }) => value as WatchMessage | undefined);
    };
    await nextOfAll(); // the first message of each, which has no activity
    const { perCaller } = app.watchBytes.limits;
    for (const row of rows) {
      for (const message of await nextOfAll()) expect(message?.activity?.id).toBe(row.id);
      expect(app.watchBytes.used).toBeLessThanOrEqual(perCaller);
    }
    expect(app.watchBytes.usedBy(`user:${userId}`)).toBeGreaterThan(0);
    // And the tail itself looks now and then.
    expect(readsMost).toBeLessThanOrEqual(app.watchReads.limits.runningPerCaller + 1);
    // Whoever leaves while a batch waits gives its share back.
    leaving.abort();
    expect(app.watchBytes.used).toBe(0);
    await Promise.allSettled(watches.map((watch) => watch.return(undefined)));
    expect(errors).toEqual([]);
    await expect.poll(() => app.watchReads.running + app.watchReads.waiting).toBe(0);
  });

  test.each([
    ['memory', true],
    ['the database', false],
  ])(
    'a watch counts as behind while it has not sent what there is for it in %s, and no longer',
    async (_, isRecent) => {
      await using app = await openWatchApp();
      if (isRecent) Reflect.deleteProperty(app.tail, 'readRecent');
      const { watchLags } = app;
      const leaving = new AbortController();
      const { signal } = leaving;
      const watch = watchActivities(app, callerOf('session'), { userId, actionPrefixes: [], afterCursor: '' }, signal);
      expect(watchLags.count).toBe(0);
      await watch.next();
      expect(watchLags.count).toBe(1); // it has not looked yet
      const first = watch.next();
      await expect.poll(() => watchLags.count).toBe(0);
      const record = (action: string) =>
        database.transaction((tx) => appendActivities(tx, { database, now: Date.now }, [{ userId, by: null, action }]));
      await record('a');
      expect((await first).value).toMatchObject({ activity: { action: 'a' } });
      expect(watchLags.count).toBe(1); // its reader has not come back for more
      expect(watchLags.longestMs).toBeGreaterThan(0);
      const second = watch.next();
      await expect.poll(() => watchLags.count).toBe(0);
      await record('b');
      await second;
      expect(watchLags.count).toBe(1);
      leaving.abort();
      expect(watchLags.count).toBe(0);
      await watch.return(undefined);
    },
  );
});
