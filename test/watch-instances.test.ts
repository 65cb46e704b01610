import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, createClient } from '@connectrpc/connect';
import { Client as PgClient } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import type { UserActivity } from '../gen/kith/activity/v1/activity_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserState } from '../gen/kith/user/v1/user_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { databases, type TestDatabase } from './support/databases.ts';
import { grpc, type Kith, type Refusal, refusalOf, type SignedIn, startKith } from './support/kith.ts';
import { startWatch, startWatchPatiently } from './support/watch.ts';
import { SESSION_ENDED } from './support/refusals.ts';

/** No progress is told in the time a test takes. */
const server = { progressMs: 60 * 60 * 1000 };

let database: TestDatabase;
let here: Kith;
let there: Kith;
let sql: PgClient;
beforeAll(async () => {
  database = await databases[1]!.create();
  here = await startKith({ database, server });
  there = await startKith({ database, server });
  sql = new PgClient({ connectionString: database.url });
  await sql.connect();
});
afterAll(async () => {
  await sql.end();
  await Promise.all([here.stop(), there.stop()]);
  await database[Symbol.asyncDispose]();
});

const clientOn = (kith: Kith, { accessToken }: SignedIn): Client<typeof ActivityService> =>
  createClient(ActivityService, grpc(kith.address, accessToken));

/** The connections that wait for notifications. */
async function listeners(): Promise<number> {
  const { rows } = await sql.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity
     where datname = current_database() and application_name = 'kith listener' and state = 'idle' and query like 'listen%'`,
  );
  return rows[0]!.n;
}

/** Ends connections from the server's side; how many there were. */
async function terminate(applicationName: string): Promise<number> {
  const { rowCount } = await sql.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1',
    [applicationName],
  );
  return rowCount ?? 0;
}

/** Keeps ending connections until disposed, each time once `pause` is over. */
function keepTerminating(applicationName: string, pause: () => Promise<unknown>) {
  let ended = 0;
  let going = true;
  const work = (async () => {
    while (going) {
      ended += await terminate(applicationName);
      await pause();
    }
  })();
  return {
    ended: () => ended,
    async [Symbol.asyncDispose]() {
      going = false;
      await work;
    },
  };
}

const briefly = () => sleep(10);

const idsOf = (activities: readonly UserActivity[]) => activities.map(({ id }) => id);

test('what happens on one instance reaches watchers on the other, both ways', async () => {
  const user = await here.user(Role.EDITOR);
  for (const [from, to] of [
    [here, there],
    [there, here],
  ] as const) {
    await using watch = await startWatch(clientOn(to, user), { userId: user.user.id });
    const { activities } = await clientOn(from, user).recordUserActivity({
      activities: [
        { userId: user.user.id, action: 'one' },
        { userId: user.user.id, action: 'two' },
      ],
    });
    expect(await watch.activities(2)).toEqual(activities);
  }
});

test('a cursor of one instance is good on the other', async () => {
  const user = await here.user(Role.EDITOR);
  const watch = await startWatch(clientOn(here, user), { userId: user.user.id });
  const record = (action: string) =>
    clientOn(there, user).recordUserActivity({ activities: [{ userId: user.user.id, action }] });
  await record('one');
  await watch.activity();
  watch.leave();
  await record('two');
  await using resumed = await startWatch(clientOn(there, user), { userId: user.user.id, afterCursor: watch.cursor });
  expect((await resumed.activity()).action).toBe('two');
});

test.each<[string, (user: SignedIn, admin: SignedIn) => Promise<unknown>]>([
  ['a sign-out', (user) => there.client(AuthService, user.accessToken).logout({})],
  [
    'a suspension',
    ({ user }, admin) =>
      there.client(UserService, admin.accessToken).updateUser({ userId: user.id, state: UserState.SUSPENDED }),
  ],
  ['a deletion', ({ user }, admin) => there.client(UserService, admin.accessToken).deleteUser({ userId: user.id })],
])('%s on one instance ends watches on the other, and calls', async (_, end) => {
  const [user, admin] = [await here.user(Role.EDITOR), await here.admin()];
  const watches = [
    await startWatch(clientOn(here, user)),
    await startWatch(clientOn(here, user), { userId: user.user.id }),
  ];
  await end(user, admin);
  for (const watch of watches) expect(await watch.end()).toMatchObject(SESSION_ENDED);
  expect(await refusalOf(here.client(AuthService, user.accessToken).userMe({}))).toMatchObject(SESSION_ENDED);
});

test('a role lost on one instance ends watches of everybody on the other', async () => {
  const [user, admin] = [await here.user(Role.EDITOR), await here.admin()];
  const watch = await startWatch(clientOn(here, user));
  await there.client(UserService, admin.accessToken).updateUser({ userId: user.user.id, role: Role.VIEWER });
  expect(await watch.end()).toMatchObject({ code: 'PermissionDenied', reason: 'PERMISSION_MISSING' });
});

test('each instance listens only while somebody watches', async () => {
  const user = await here.user(Role.EDITOR);
  await expect.poll(listeners).toBe(0);
  const watches = [
    await startWatch(clientOn(here, user)),
    await startWatch(clientOn(there, user)),
    await startWatch(clientOn(there, user)),
  ];
  await expect.poll(listeners).toBe(2);
  for (const watch of watches) watch.leave();
  await expect.poll(listeners).toBe(0);
});

test('nothing is lost, repeated or out of order while notifications are cut off, and after', async () => {
  const user = await here.user(Role.EDITOR);
  const userId = user.user.id;
  await using watch = await startWatch(clientOn(here, user), { userId });
  await using everybody = await startWatch(clientOn(there, user), { actionPrefixes: ['cut'] });
  const recorders = [clientOn(here, user), clientOn(there, user)];
  const recorded: string[] = [];
  const seen: string[] = [];
  {
    await using cutting = keepTerminating('kith listener', briefly);
    for (let i = 0; i < 12; i++) {
      const { activities } = await recorders[i % 2]!.recordUserActivity({
        activities: Array.from({ length: 5 }, (_, k) => ({
          userId,
          action: 'cut',
          attributes: { i: `${i}`, k: `${k}` },
        })),
      });
      recorded.push(...idsOf(activities));
      // One after the other, so that each is found by looking.
      if (i % 4 === 3) seen.push(...idsOf(await watch.activities(recorded.length - seen.length)));
    }
    expect(cutting.ended()).toBeGreaterThan(1);
  }
  expect(seen).toEqual(recorded);
  await expect.poll(listeners).toBe(2); // again
  const { activities } = await recorders[1]!.recordUserActivity({ activities: [{ userId, action: 'cut' }] });
  expect(idsOf(await watch.activities(1))).toEqual(idsOf(activities));
  expect(idsOf(await everybody.activities(recorded.length + 1))).toEqual([...recorded, ...idsOf(activities)]);
}, 120_000);

test('nothing is lost when every connection is cut while four record', async () => {
  const user = await here.user(Role.EDITOR);
  const userId = user.user.id;
  await using start = await startWatch(clientOn(here, user), { userId });
  const acknowledged: string[] = [];
  const refusals: Refusal[] = [];
  const recorders = [here, there, here, there].map((kith) => clientOn(kith, user));
  let recording = recorders.length;
  /** As soon as one has been acknowledged: each cut comes in the middle of what the others do, and lets some through. */
  const untilAcknowledged = async (): Promise<void> => {
    const before = acknowledged.length;
    while (recording > 0 && acknowledged.length === before) await sleep(1);
  };
  {
    await using _ = keepTerminating('kith listener', briefly);
    await using cutting = keepTerminating('kith', untilAcknowledged);
    await Promise.all(
      recorders.map(async (recorder, worker) => {
        // So many, and until a cut has been felt.
        for (let i = 0; i < 15 || refusals.length === 0; i++) {
          const activities = [{ userId, action: 'cut', attributes: { at: `${worker}.${i}` } }];
          const requestId = `00000000-0000-4000-8000-${String(worker * 100_000 + i).padStart(12, '0')}`;
          // Until it is acknowledged; the request id makes trying again safe.
          for (let isDone = false; !isDone; ) {
            const call = recorder.recordUserActivity({ activities, requestId });
            isDone = await call.then(
              (answer) => acknowledged.push(...idsOf(answer.activities)) > 0,
              async () => refusals.push(await refusalOf(call)) < 0,
            );
          }
        }
        recording--;
      }),
    );
    expect(cutting.ended()).toBeGreaterThan(0);
  }
  const unavailable = expect.objectContaining({ code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' });
  expect(refusals).toEqual(refusals.map(() => unavailable));
  const count = acknowledged.length;
  expect(new Set(acknowledged)).toHaveLength(count);
  const seen: UserActivity[] = [];
  let { cursor } = start;
  while (seen.length < count) {
    const watch = await startWatchPatiently(clientOn(there, user), { userId, afterCursor: cursor });
    try {
      for (;;) {
        seen.push(await watch.activity());
        cursor = watch.cursor;
        if (seen.length === count) break;
      }
    } catch {
      // A watch may be ended by a connection that was cut: on from its cursor.
    }
    watch.leave();
  }
  expect(idsOf(seen).toSorted()).toEqual(acknowledged.toSorted());
}, 120_000);
