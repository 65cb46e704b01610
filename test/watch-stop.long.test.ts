import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { Client as PgClient } from 'pg';
import { expect, test } from 'vitest';
import type { UserActivity } from '../gen/kith/activity/v1/activity_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, grpc, type Refusal, refusalOf } from './support/kith.ts';
import { startProcess } from './support/process.ts';
import { startWatchPatiently, type WatchRequest } from './support/watch.ts';
import { signedIn } from './support/sign-in.ts';

/** 1000 for the long run. */
const WATCHES = Number(process.env['KITH_TEST_WATCHES'] ?? 200);

/** As many streams as one HTTP/2 connection may have. */
const WATCHES_PER_CONNECTION = 100;

const UNAVAILABLE = { code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' };

/** Calls that are surely under way when the signal comes. */
const HELD_CALLS = 6;

/** What each of the writers waits between two calls. */
const PAUSE_MS = 50;

/** So many activities ahead of any watch, the writers wait: it is the server that is tried, not the readers here. */
const AHEAD_MAX = 20;

/** Longer than anything here takes on a machine that has much else to do. */
const LONG_MS = 240_000;

test(
  'SIGTERM under load: calls are answered, watches end with a code, and all go on elsewhere without loss',
  async () => {
    await using database = await databases[1]!.create();
    const env = {
      KITH_DATABASE_URL: database.url,
      KITH_DATABASE_CONNECTIONS: '30',
      KITH_WATCHES_PER_CALLER: '100000',
      KITH_WATCHES: '100000',
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      // Held calls end when they are let go, and not because a limit of the server's has passed.
      KITH_DATABASE_STATEMENT_MS: String(LONG_MS),
      KITH_DATABASE_IDLE_MS: String(LONG_MS),
      KITH_DATABASE_WAIT_MS: '60000',
      KITH_SHUTDOWN_SECONDS: String(LONG_MS / 1000),
      KITH_LOG_LEVEL: 'error',
    };
    await using leaving = await startProcess({ env });
    await using staying = await startProcess({ env });
    const { accessToken, user } = await signedIn(
      createClient(AuthService, grpc(leaving.address)).login({
        identifier: 'admin',
        password: ADMIN_PASSWORD,
      }),
    );
    const userId = user.id;
    const clientsOf = (address: string) =>
      Array.from({ length: Math.ceil(WATCHES / WATCHES_PER_CONNECTION) }, () =>
        createClient(ActivityService, grpc(address, accessToken)),
      );
    const requestOf = (i: number): WatchRequest => ({ actionPrefixes: ['load'], ...(i % 2 === 0 ? { userId } : {}) });

    // Whoever inserts a held activity waits until the lock is given back.
    await using connection = await connect(database.url);
    const { sql } = connection;
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
    const followed = await Promise.all(
      Array.from({ length: WATCHES }, async (_, i) => {
        const watch = await startWatchPatiently(watchClients[Math.floor(i / WATCHES_PER_CONNECTION)]!, requestOf(i));
        const seen: UserActivity[] = [];
        return { watch, seen, end: watch.end(seen) };
      }),
    );

    const acknowledged: string[] = [];
    const refusals: Refusal[] = [];
    const leastSeen = () => Math.min(...followed.map(({ seen }) => seen.length));
    const writing = { leaving: true, staying: true };
    let isFollowed = true;
    using _ = { [Symbol.dispose]: () => Object.assign(writing, { leaving: false, staying: false }) };
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
          do await sleep(PAUSE_MS);
          while (isFollowed && writing[where] && acknowledged.length - leastSeen() > AHEAD_MAX);
        }
      }),
    );
    await expect.poll(leastSeen, patiently).toBeGreaterThan(50);
    isFollowed = false; // what comes now is sent only once the held calls are over, when the watches have ended
    const holder = createClient(ActivityService, grpc(leaving.address, accessToken));
    const held = Array.from({ length: HELD_CALLS }, () =>
      holder.recordUserActivity({ activities: [{ userId, action: 'load.held' }] }),
    );
    for (const call of held) call.catch(() => {}); // it is looked at below
    const isHeld = "select 1 from pg_locks where locktype = 'advisory' and not granted";
    await expect.poll(async () => (await sql.query(isHeld)).rowCount, patiently).toBe(HELD_CALLS);

    leaving.kill('SIGTERM');
    const endings = await Promise.all(followed.map(({ end }) => end));
    expect(endings).toEqual(endings.map(() => expect.objectContaining(UNAVAILABLE)));
    await sql.query('select pg_advisory_unlock(1)'); // the watches did not wait for the calls
    for (const call of held) acknowledged.push((await call).activities[0]!.id);
    expect(await leaving.exited).toMatchObject({ code: 0, signal: null });

    const before = acknowledged.length;
    await expect.poll(() => acknowledged.length, patiently).toBeGreaterThan(before + 20);
    writing.leaving = false;
    writing.staying = false;
    await Promise.all(writers);
    // Calls that came too late were told to go elsewhere, and none was cut off.
    expect(refusals.filter((refusal) => !isToldToGoElsewhere(refusal))).toEqual([]);
    const client = createClient(ActivityService, grpc(staying.address, accessToken));
    const log: string[] = [];
    for (let pageToken = ''; ; ) {
      const page = await client.listUserActivity({ actionPrefixes: ['load'], pageSize: 1000, pageToken });
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
          const resumed = await startWatchPatiently(onClient, { ...requestOf(i), afterCursor: cursor });
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
    if (WATCHES > 200) {
      const delivered = followed.reduce((sum, { seen }) => sum + seen.length, 0);
      console.log(
        `${WATCHES} watches, ${log.length} activities, ${delivered} delivered before the end, ${refusals.length} refused`,
      );
    }
  },
  2 * LONG_MS,
);

const patiently = { timeout: LONG_MS, interval: 100 };

/**
 * Unavailable, or what Connect-ES makes of a stream that was opened while the
 * connection was ending and so never handled (RFC 9113, section 8.7), when it
 * hears of it from Node as an error.
 */
function isToldToGoElsewhere({ code, message }: Refusal): boolean {
  return code === 'Unavailable' || message.endsWith('NGHTTP2_REFUSED_STREAM');
}

/** A connection that is closed whatever happens: it would be told of the database's end, and fail the test once more. */
async function connect(connectionString: string): Promise<{ sql: PgClient } & AsyncDisposable> {
  const sql = new PgClient({ connectionString });
  await sql.connect();
  return { sql, [Symbol.asyncDispose]: () => sql.end() };
}
