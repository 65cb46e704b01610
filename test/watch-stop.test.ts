import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { Client as PgClient } from 'pg';
import { expect, test } from 'vitest';
import type { UserActivity } from '../gen/kith/activity/v1/activity_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, grpc, type Refusal, refusalOf } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { startWatch, type Watch, type WatchRequest } from './support/watch.ts';

/** 1000 for the long run. */
const WATCHES = Number(process.env['KITH_TEST_WATCHES'] ?? 200);

/** As many streams as one HTTP/2 connection may have. */
const WATCHES_PER_CONNECTION = 100;

const UNAVAILABLE = { code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' };

/** Calls that are surely under way when the signal comes. */
const HELD_CALLS = 20;

/** What each of the writers waits between two calls, so that a small machine is busy but not swamped. */
const PAUSE_MS = 50;

test('SIGTERM under load: calls are answered, watches end with a code, and all go on elsewhere without loss', async () => {
  await using database = await databases[1]!.create();
  const env = {
    KITH_DATABASE_URL: database.url,
    KITH_DATABASE_CONNECTIONS: '30',
    KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
    KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
    KITH_ACCESS_TOKEN_SECONDS: '3600',
    KITH_SHUTDOWN_SECONDS: '30',
    KITH_LOG_LEVEL: 'error',
  };
  await using leaving = await startProcess({ env });
  await using staying = await startProcess({ env });
  const { accessToken, user } = await createClient(AuthService, grpc(leaving.address)).login({
    identifier: 'admin',
    password: ADMIN_PASSWORD,
  });
  const userId = user!.id;
  const clientsOf = (address: string) =>
    Array.from({ length: Math.ceil(WATCHES / WATCHES_PER_CONNECTION) }, () =>
      createClient(ActivityService, grpc(address, accessToken)),
    );
  const requestOf = (i: number): WatchRequest => ({ action: 'load', ...(i % 2 === 0 ? { userId } : {}) });

  // Whoever inserts a held activity waits until the lock is given back.
  const sql = new PgClient({ connectionString: database.url });
  await sql.connect();
  await sql.query(`
    create function hold() returns trigger language plpgsql as $$ begin
      perform pg_advisory_xact_lock_shared(1);
      return new;
    end $$`);
  await sql.query(
    "create trigger hold before insert on activity for each row when (new.action = 'load.held') execute function hold()",
  );
  await sql.query('select pg_advisory_lock(1)');

  const watchClients = clientsOf(leaving.address);
  const watches = await Promise.all(
    Array.from({ length: WATCHES }, (_, i) =>
      startPatiently(watchClients[Math.floor(i / WATCHES_PER_CONNECTION)]!, requestOf(i)),
    ),
  );
  const followed = watches.map((watch) => {
    const seen: UserActivity[] = [];
    return { watch, seen, end: watch.end(seen) };
  });

  const acknowledged: string[] = [];
  const refusals: Refusal[] = [];
  const writing = { leaving: true, staying: true };
  const writers = (['leaving', 'staying'] as const).flatMap((where) =>
    Array.from({ length: 4 }, async () => {
      const { address } = where === 'leaving' ? leaving : staying;
      const client = createClient(ActivityService, grpc(address, accessToken));
      while (writing[where]) {
        const call = client.recordUserActivity({ activities: [{ userId, action: `load.${where}` }] });
        await call.then(
          ({ activities }) => acknowledged.push(activities[0]!.id),
          async () => {
            refusals.push(await refusalOf(call));
            if (where === 'leaving') writing.leaving = false; // it is gone
          },
        );
        await sleep(PAUSE_MS);
      }
    }),
  );
  const holder = createClient(ActivityService, grpc(leaving.address, accessToken));
  const held = Array.from({ length: HELD_CALLS }, () =>
    holder.recordUserActivity({ activities: [{ userId, action: 'load.held' }] }),
  );
  const isHeld = "select 1 from pg_locks where locktype = 'advisory' and not granted";
  await expect.poll(async () => (await sql.query(isHeld)).rowCount, { timeout: 20_000 }).toBe(HELD_CALLS);
  await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(50);

  leaving.kill('SIGTERM');
  for (const { end } of followed) expect(await end).toMatchObject(UNAVAILABLE);
  await sql.query('select pg_advisory_unlock(1)'); // the watches did not wait for the calls
  for (const call of held) acknowledged.push((await call).activities[0]!.id);
  expect(await leaving.exited).toMatchObject({ code: 0, signal: null });

  const before = acknowledged.length;
  await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(before + 20);
  writing.leaving = false;
  writing.staying = false;
  await Promise.all(writers);
  // Calls that came too late were told to go elsewhere, and none was cut off.
  expect(refusals).toEqual(refusals.map(() => expect.objectContaining({ code: 'Unavailable' })));
  const client = createClient(ActivityService, grpc(staying.address, accessToken));
  const log: string[] = [];
  for (let pageToken = ''; ; ) {
    const page = await client.listUserActivity({ action: 'load', pageSize: 1000, pageToken });
    log.push(...page.activities.map(({ id }) => id));
    pageToken = page.nextPageToken;
    if (pageToken === '') break;
  }
  log.reverse();
  expect(new Set(log)).toEqual(new Set(acknowledged));

  const resumeClients = clientsOf(staying.address);
  const complete = await Promise.all(
    followed.map(async ({ watch, seen }, i) => {
      const history = seen.map(({ id }) => id);
      for (let { cursor } = watch; history.length < log.length; ) {
        const onClient = resumeClients[Math.floor(i / WATCHES_PER_CONNECTION)]!;
        const resumed = await startPatiently(onClient, { ...requestOf(i), afterCursor: cursor });
        try {
          while (history.length < log.length) history.push((await resumed.activity()).id);
        } catch (error) {
          if (ConnectError.from(error).code !== Code.Unavailable) throw error;
        }
        ({ cursor } = resumed);
        resumed.leave();
      }
      return history;
    }),
  );
  const isComplete = (history: readonly string[]) =>
    history.length === log.length && history.every((id, i) => id === log[i]);
  expect(complete.filter((history) => !isComplete(history))).toEqual([]);
  expect(followed.some(({ seen }) => seen.length > 0)).toBe(true);
  await sql.end();
  if (WATCHES > 200) {
    const delivered = followed.reduce((sum, { seen }) => sum + seen.length, 0);
    console.log(
      `${WATCHES} watches, ${log.length} activities, ${delivered} delivered before the end, ${refusals.length} refused`,
    );
  }
}, 120_000);

/** All at once may be more than a small machine starts in the time that each may wait: then they come again. */
async function startPatiently(client: Client<typeof ActivityService>, request: WatchRequest): Promise<Watch> {
  for (;;) {
    try {
      return await startWatch(client, request);
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unavailable) throw error;
      await sleep(Math.random() * 1000);
    }
  }
}
