import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createOpened, databases, type OpenedDatabase } from '../../../test/support/databases.ts';
import { userRow } from '../../../test/support/rows.ts';
import { type Db, openDatabase } from '../../storage/database.ts';
import type { LogPosition } from '../../storage/dialect.ts';
import { appendActivities, type NewActivity } from './log.ts';
import { type ActivityFilter, type ActivityRow, deleteOldest, positionOf } from './store.ts';
import { BATCH, SMALL_BATCH, Tail } from './tail.ts';

const START: LogPosition = { writer: 0, seq: 0 };

/** More than the tail keeps in memory. */
const MANY = 4500;

describe.each(databases)('on $name', (kind) => {
  let database: OpenedDatabase;
  let [ada, bob]: string[] = [];
  beforeAll(async () => {
    database = await createOpened(kind);
  });
  afterAll(() => database[Symbol.asyncDispose]());
  beforeEach(async () => {
    const users = [userRow(), userRow()];
    await database.db.insertInto('users').values(users).execute();
    [ada, bob] = users.map(({ id }) => id);
  });

  const everybody = (given: Partial<ActivityFilter> = {}): ActivityFilter => ({
    userId: undefined,
    withPrivate: false,
    actionPrefixes: [],
    ...given,
  });

  /** Appends in one transaction, and returns the rows with their positions. */
  function append(...activities: Partial<NewActivity>[]): Promise<ActivityRow[]> {
    return database.transaction((tx) =>
      appendActivities(
        tx,
        { database, now: Date.now },
        activities.map((activity) => ({ userId: ada!, by: null, action: 'x', ...activity })),
      ),
    );
  }

  const endOfLog = (db: Db = database.db) => database.dialect.endOfLog(db);

  function openTail(errors: unknown[] = []): Tail {
    return new Tail(database, (error) => errors.push(error));
  }

  /** A watcher that counts how often it is woken. */
  function watcher(tail: Tail, userId: string | undefined) {
    let woken = Promise.withResolvers<void>();
    let count = 0;
    const end = tail.subscribe(userId, () => {
      count++;
      woken.resolve();
    });
    return {
      end,
      get count() {
        return count;
      },
      /** Waits until it is woken the next time. */
      async next(): Promise<void> {
        woken = Promise.withResolvers<void>();
        await woken.promise;
      },
    };
  }

  /** All that a filter lets through after a position, read as a watch does. */
  async function readAll(tail: Tail, filter: ActivityFilter, after: LogPosition): Promise<ActivityRow[]> {
    const rows: ActivityRow[] = [];
    for (let position = after; ; ) {
      const read = await tail.read(filter, position);
      rows.push(...read.rows);
      if (read.rows.length === 0 && read.position === position) return rows;
      position = read.position;
    }
  }

  /** A tail that follows the log and has told of all that is in it, with a watcher of everybody. */
  async function startFollowing(errors?: unknown[]) {
    const tail = openTail(errors);
    const all = watcher(tail, undefined);
    const first = all.next();
    const before = await endOfLog();
    const [start] = await append({ action: 'start' });
    await first;
    // It was woken by finding the end, which other tests' transactions may hold back from what was just committed.
    await expect.poll(async () => (await readAll(tail, everybody(), before)).at(-1)?.id).toBe(start!.id);
    return { tail, all };
  }

  test('wakes those who watch everybody and those who watch the user, after it can be read', async () => {
    await using following = await startFollowing().then(disposable);
    const { tail, all } = following;
    const [ofAda, ofBob] = [watcher(tail, ada), watcher(tail, bob)];
    const position = await endOfLog();
    const woken = [ofAda.next(), all.next()];
    const rows = await append({ action: 'one' }, { action: 'two' });
    await Promise.all(woken);
    expect(await readAll(tail, everybody(), position)).toEqual(rows);
    const bobWoken = ofBob.next();
    await append({ userId: bob! });
    await bobWoken;
    expect(ofBob.count).toBe(1);
    expect(ofAda.count).toBe(1);
  });

  test('wakes nobody for a transaction that is rolled back', async () => {
    await using following = await startFollowing().then(disposable);
    const ofBob = watcher(following.tail, bob);
    await expect(
      database.transaction(async (tx) => {
        const undone = { userId: bob!, by: null, action: 'undone' };
        await appendActivities(tx, { database, now: Date.now }, [undone]);
        throw new Error('changed its mind');
      }),
    ).rejects.toThrow('changed its mind');
    const woken = following.all.next();
    await append({});
    await woken;
    expect(ofBob.count).toBe(0);
  });

  test('finds what was appended without a word, by looking', async () => {
    await using following = await startFollowing().then(disposable);
    await using silent = await openDatabase(database.files.url);
    const woken = following.all.next();
    const position = await endOfLog();
    await silent.db
      .insertInto('activity')
      .values({
        id: 'silent',
        user_id: ada!,
        actor_id: null,
        action: 'silent',
        details: '',
        attributes: '{}',
        private: 0,
        event_ms: 0,
        record_ms: Date.now(),
      })
      .execute();
    await woken;
    expect(await readAll(following.tail, everybody(), position)).toMatchObject([{ id: 'silent' }]);
  });

  test('counts its subscriptions, and forgets one that ends, twice too', async () => {
    await using tail = openTail();
    expect(tail.size).toBe(0);
    const ends = [tail.subscribe(ada, () => {}), tail.subscribe(ada, () => {}), tail.subscribe(undefined, () => {})];
    expect(tail.size).toBe(3);
    ends[0]!();
    ends[0]!();
    expect(tail.size).toBe(2);
    for (const end of ends) end();
    expect(tail.size).toBe(0);
  });

  test('wakes a watcher no more once its subscription has ended', async () => {
    await using following = await startFollowing().then(disposable);
    const { tail, all } = following;
    const [gone, stays] = [watcher(tail, ada), watcher(tail, ada)];
    gone.end();
    const woken = [stays.next(), all.next()];
    await append({});
    await Promise.all(woken);
    expect(gone.count).toBe(0);
  });

  test('has nothing after its end, nor after a position beyond it', async () => {
    await using following = await startFollowing().then(disposable);
    const end = await endOfLog();
    for (const position of [end, { writer: end.writer + 1000, seq: end.seq }]) {
      expect(await following.tail.read(everybody(), position)).toEqual({ rows: [], position });
    }
  });

  describe('with more than it keeps in memory', () => {
    const FILTERS: [string, () => ActivityFilter][] = [
      ['everybody', () => everybody()],
      ['everybody’s of one action', () => everybody({ actionPrefixes: ['a'] })],
      ['one user', () => everybody({ userId: ada! })],
      ['one user and what is private', () => everybody({ userId: ada!, withPrivate: true })],
      [
        'one user, one action and what is private',
        () => everybody({ userId: bob!, withPrivate: true, actionPrefixes: ['a.b'] }),
      ],
      ['what there is none of', () => everybody({ actionPrefixes: ['a.b.c'] })],
    ];

    test('gives the same whether from memory, from the database, or from both', async () => {
      await using following = await startFollowing().then(disposable);
      const { tail } = following;
      const start = await endOfLog();
      const rows: ActivityRow[] = [];
      for (let i = 0; i < MANY / 500; i++) {
        const some = Array.from({ length: 500 }, (_, k) => ({
          userId: k % 3 === 0 ? bob! : ada!,
          action: ['a', 'a.b', 'ab', 'b'][k % 4]!,
          isPrivate: k % 5 === 0,
        }));
        rows.push(...(await append(...some)));
      }
      const last = positionOf(rows.at(-1)!);
      await expect
        .poll(async () => (await readAll(tail, everybody(), start)).length, { interval: 250 })
        .toBe(MANY * 0.8);
      await using fresh = openTail(); // remembers nothing
      for (const [, filter] of FILTERS) {
        const expected = rows.filter(
          (row) =>
            (filter().userId === undefined || row.user_id === filter().userId) &&
            (filter().withPrivate || row.private === 0) &&
            (filter().actionPrefixes.length === 0 ||
              filter().actionPrefixes.some((action) => `${row.action}.`.startsWith(`${action}.`))),
        );
        for (const from of [start, ...[17, MANY - 501].map((i) => positionOf(rows[i]!))]) {
          const after = expected.filter(
            (row) => row.writer > from.writer || (row.writer === from.writer && row.seq > from.seq),
          );
          expect(await readAll(tail, filter(), from)).toEqual(after);
          expect(await readAll(fresh, filter(), from)).toEqual(after);
        }
      }
      expect(await tail.read(everybody(), last)).toMatchObject({ rows: [] });
    });

    test('gives one row at a time from memory, and no more than a batch from the database', async () => {
      await using following = await startFollowing().then(disposable);
      await using fresh = openTail(); // remembers nothing
      const start = await endOfLog();
      const rows = await append(...Array.from({ length: BATCH.rowsMax + 1 }, () => ({})));
      for (const [tail, count] of [
        [following.tail, 1],
        [fresh, BATCH.rowsMax],
      ] as const) {
        await expect
          .poll(() => tail.read(everybody(), start))
          .toEqual({ rows: rows.slice(0, count), position: positionOf(rows[count - 1]!) });
      }
      const few = await fresh.read(everybody(), start, SMALL_BATCH);
      expect(few.rows).toEqual(rows.slice(0, SMALL_BATCH.rowsMax));
      expect(fresh.readRecent(everybody(), start)).toBeUndefined();
    });
  });

  describe('with large rows', () => {
    const large = {
      details: 'x'.repeat(1000),
      attributes: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, 'x'.repeat(500)])),
    };
    const appendLarge = (count: number) => append(...Array.from({ length: count }, () => large));

    test('gives no more at once than a batch may hold, and nothing is left out', async () => {
      await using following = await startFollowing().then(disposable);
      const start = await endOfLog();
      const rows = [...(await appendLarge(150)), ...(await appendLarge(150))];
      for (const tail of [following.tail, openTail()]) {
        await expect.poll(async () => (await readAll(tail, everybody(), start)).length).toBe(rows.length);
        expect(await readAll(tail, everybody(), start)).toEqual(rows);
        const first = await tail.read(everybody(), start);
        expect(JSON.stringify(first.rows).length).toBeLessThan(2 * BATCH.textMax);
      }
    });

    test('keeps few of them in memory, and reads the others from the database', async () => {
      await using following = await startFollowing().then(disposable);
      const { tail } = following;
      const start = await endOfLog();
      const rows: ActivityRow[] = [];
      for (let i = 0; i < 10; i++) rows.push(...(await appendLarge(200))); // 22 MB in all
      const last = positionOf(rows.at(-1)!);
      await expect.poll(async () => (await readAll(tail, everybody(), start)).length).toBe(rows.length);
      /** What is in memory is the same each time. */
      const isRemembered = async (after: LogPosition) => {
        const [first, second] = [await tail.read(everybody(), after), await tail.read(everybody(), after)];
        expect(first.rows[0]).toEqual(second.rows[0]);
        return first.rows[0] === second.rows[0];
      };
      expect(await tail.read(everybody(), last)).toEqual({ rows: [], position: last });
      expect(await isRemembered(positionOf(rows.at(-100)!))).toBe(true);
      expect(await isRemembered(start)).toBe(false);
    });
  });

  test('refuses a position whose successors may have been purged, not the last that was', async () => {
    const rows = await append({ action: 'one' }, { action: 'two' }, { action: 'three' });
    while ((await database.transaction((tx) => deleteOldest(tx, Date.now() + 1, 1000))) > 0);
    await append({ action: 'four' });
    await using tail = openTail();
    // On a server of many databases, a transaction of another one keeps the end of the log back for a moment.
    await expect.poll(() => readAll(tail, everybody(), positionOf(rows[2]!))).toMatchObject([{ action: 'four' }]);
    for (const after of [START, positionOf(rows[0]!), positionOf(rows[1]!)]) {
      await expect(tail.read(everybody(), after)).rejects.toMatchObject({ reason: 'cursor_expired' });
    }
  });

  test('tells of a failure, lets readers fail, and goes on by itself when it is over', async () => {
    const errors: unknown[] = [];
    await using following = await startFollowing(errors).then(disposable);
    const { tail, all } = following;
    const start = await endOfLog();
    const rows = await append({ action: 'before' });
    await expect.poll(() => readAll(tail, everybody(), start)).toEqual(rows);
    await sql`alter table activity rename column writer to writer_away`.execute(database.db);
    // Something new makes it look.
    await sql`insert into activity (id, user_id, action, details, attributes, private, event_ms, record_ms)
      values ('later', ${ada}, 'later', '', '{}', 0, 0, ${Date.now()})`.execute(database.db);
    await all.next();
    await expect.poll(() => errors.length).toBe(1);
    await expect(tail.read(everybody(), start)).rejects.toThrow(/writer/);
    await sql`alter table activity rename column writer_away to writer`.execute(database.db);
    const actions = () => readAll(tail, everybody(), start).then((found) => found.map(({ action }) => action));
    await expect.poll(() => actions().catch(String)).toEqual(['before', 'later']);
    const woken = all.next();
    const more = await append({ action: 'after' });
    await woken;
    await expect.poll(async () => (await readAll(tail, everybody(), start)).slice(2)).toEqual(more);
  });

  test('forgets the end when nobody watches, and finds it again', async () => {
    const { tail, all } = await startFollowing();
    await using _ = tail;
    all.end();
    const start = await endOfLog();
    // What was appended to start with may come before or after that, as other transactions will have it.
    const appended = async () => (await readAll(tail, everybody(), start)).filter(({ action }) => action !== 'start');
    const rows = await append({ action: 'unwatched' });
    // Not an end it found while somebody watched.
    await expect.poll(appended).toEqual(rows);
    const again = watcher(tail, ada);
    const woken = again.next();
    const more = await append({ action: 'watched' });
    await woken;
    await expect.poll(appended).toEqual([...rows, ...more]);
  });

  test('finds the end anew when the last watcher left while it looked', async () => {
    await using tail = openTail();
    const start = await endOfLog();
    for (let i = 0; i < 20; i++) {
      const brief = watcher(tail, ada);
      await append({}); // it looks because of this
      brief.end();
    }
    const rows = await append({ action: 'last' });
    await expect
      .poll(async () => (await readAll(tail, everybody({ actionPrefixes: ['last'] }), start)).at(-1))
      .toEqual(rows[0]);
  });

  test('leaves nothing out when a reader asks for the end while an earlier answer is under way', async () => {
    const held: (() => void)[] = [];
    let asked = Promise.withResolvers<void>();
    // The database itself; only when its first two answers arrive is decided here.
    const dialect = {
      ...database.dialect,
      async endOfLog(db: Db) {
        const end = await endOfLog(db);
        if (held.length === 2) return end;
        const { promise, resolve } = Promise.withResolvers<void>();
        held.push(resolve);
        asked.resolve();
        await promise;
        return end;
      },
    };
    await using tail = new Tail({ ...database, dialect }, () => expect.unreachable());
    const start = await endOfLog();
    const awake = watcher(tail, undefined);
    await asked.promise;
    asked = Promise.withResolvers();
    const appended = await append({});
    const reading = tail.read(everybody(), start);
    await asked.promise;
    const woken = awake.next();
    held[0]!();
    await woken; // the tail has found the end as it was before the row
    held[1]!();
    expect((await reading).rows).toEqual(appended);
  });

  test('disposing ends it, with subscriptions too', async () => {
    const { tail, all } = await startFollowing();
    await tail[Symbol.asyncDispose]();
    expect(tail.size).toBe(0);
    const { count } = all;
    await append({});
    await new Promise(setImmediate);
    expect(all.count).toBe(count);
    all.end();
  });
});

/** What is followed, and ended with the test. */
function disposable<T extends { tail: Tail }>(following: T): T & AsyncDisposable {
  return Object.assign(following, { [Symbol.asyncDispose]: () => following.tail[Symbol.asyncDispose]() });
}
