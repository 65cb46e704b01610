import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Client, createClient } from '@connectrpc/connect';
import { Client as PgClient } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Role } from '../gen/kith/access/v1/role_pb.ts';
import type { UserActivity } from '../gen/kith/activity/v1/activity_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { ADMIN_PASSWORD, grpc, type Refusal, refusalOf } from './support/kith.ts';
import { type PostgresServer, startPostgres } from './support/postgres-server.ts';
import { probe, type ServingProcess, startProcess } from './support/process.ts';
import { startWatch, type Watch } from './support/watch.ts';
import { signedIn } from './support/sign-in.ts';

/** How long the database is away; 30 for the long run. */
const OUTAGE_MS = Number(process.env['KITH_TEST_OUTAGE_SECONDS'] ?? 2) * 1000;

/** By then every call has an answer of its own: one that ends with this deadline was not bounded. */
const ANSWERED_MS = 45_000;

const UNAVAILABLE = { code: 'Unavailable', reason: 'SERVER_UNAVAILABLE' };

const run = promisify(execFile);

/** A server process, and its administrator's calls. */
interface Service extends AsyncDisposable {
  readonly process: ServingProcess;
  readonly userId: string;
  readonly accessToken: string;
  readonly activity: Client<typeof ActivityService>;
  readonly users: Client<typeof UserService>;
  readonly auth: Client<typeof AuthService>;
  /** Records one activity. */
  record(): Promise<UserActivity>;
  readiness(): Promise<number>;
  /** The access token of a new editor. */
  editor(): Promise<string>;
}

async function startService(url: string, env: Record<string, string> = {}): Promise<Service> {
  const kith = await startProcess({
    env: {
      KITH_DATABASE_URL: url,
      KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
      KITH_SECRET_KEY: Buffer.alloc(32, 'kith').toString('base64'),
      KITH_ACCESS_TOKEN_SECONDS: '3600',
      KITH_LOG_LEVEL: 'error',
      ...env,
    },
  });
  const auth = createClient(AuthService, grpc(kith.address));
  const { accessToken, user } = await signedIn(auth.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
  const transport = grpc(kith.address, accessToken);
  const activity = createClient(ActivityService, transport);
  return {
    process: kith,
    userId: user.id,
    accessToken,
    activity,
    users: createClient(UserService, transport),
    auth,
    async record() {
      const activities = [{ userId: user.id, action: 'fault', details: 'x'.repeat(500) }];
      return (await activity.recordUserActivity({ activities }, { timeoutMs: ANSWERED_MS })).activities[0]!;
    },
    readiness: async () => (await probe(`${kith.address}/readyz`)).status,
    async editor() {
      const username = `u${randomUUID()}`;
      const [email, password] = [`${username}@example.org`, `password of ${username}`];
      await createClient(UserService, transport).createUser({
        username,
        email,
        name: username,
        role: Role.EDITOR,
        password,
      });
      return (await signedIn(auth.login({ identifier: username, password }))).accessToken;
    },
    [Symbol.asyncDispose]: () => kith[Symbol.asyncDispose](),
  };
}

/** Tries until it works: the service comes back by itself. */
async function untilDone<T>(work: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + OUTAGE_MS + ANSWERED_MS; ; ) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(20);
    }
  }
}

/** All that was recorded, oldest first, as it is listed and as a watch shows it that begins at a cursor. */
async function recordedSince(service: Service, afterCursor: string, count: number) {
  const listed: string[] = [];
  for (let pageToken = ''; ; ) {
    const page = await service.activity.listUserActivity({ actionPrefixes: ['fault'], pageSize: 1000, pageToken });
    listed.push(...page.activities.map(({ id }) => id));
    pageToken = page.nextPageToken;
    if (pageToken === '') break;
  }
  await using watch = await startWatch(service.activity, { actionPrefixes: ['fault'], afterCursor });
  return { listed: listed.toReversed(), watched: (await watch.activities(count)).map(({ id }) => id) };
}

/** Reads a watch in the background, and on from its cursor whenever it is ended. */
function follow(service: Service, first: Watch) {
  const seen: UserActivity[] = [];
  const endings: Refusal[] = [];
  let going = true;
  let watch = first;
  const work = (async () => {
    while (going) {
      const refusal = await watch.end(seen);
      if (!going) break;
      endings.push(refusal);
      const { cursor } = watch;
      watch = await untilDone(() => startWatch(service.activity, { actionPrefixes: ['fault'], afterCursor: cursor }));
    }
  })();
  return {
    endings,
    /** All that was seen, once it has come to this activity. */
    async upTo(last: string): Promise<string[]> {
      await expect.poll(() => seen.at(-1)?.id).toBe(last);
      going = false;
      watch.leave();
      await work;
      return seen.map(({ id }) => id);
    },
  };
}

describe('SQLite', () => {
  const isRootOnLinux = process.platform === 'linux' && process.getuid?.() === 0;
  if (!isRootOnLinux) console.warn('skipped: a full disk is tried on a tmpfs, which takes root on Linux');

  test.skipIf(!isRootOnLinux)(
    'a full disk: writes are refused, reads go on, and all is well once there is room',
    async () => {
      const dir = await mkdtemp(join(tmpdir(), 'kith-full-'));
      await run('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', dir]);
      try {
        await using service = await startService(`sqlite:${join(dir, 'kith.db')}`);
        await using watch = await startWatch(service.activity, { actionPrefixes: ['fault'] });
        const start = watch.cursor;
        const acknowledged = [(await service.record()).id];
        const { bavail, bsize } = await statfs(dir);
        await writeFile(join(dir, 'filler'), Buffer.alloc(bavail * bsize - 100_000));
        // The pages of the log that exist already take some more.
        const refusals: Refusal[] = [];
        while (refusals.length < 3) {
          const call = service.record();
          await call.then(
            ({ id }) => acknowledged.push(id),
            async () => refusals.push(await refusalOf(call)),
          );
        }
        expect(refusals).toEqual(refusals.map(() => expect.objectContaining(UNAVAILABLE)));
        expect(await refusalOf(service.auth.login({ identifier: 'admin', password: ADMIN_PASSWORD }))).toMatchObject(
          UNAVAILABLE,
        );
        expect((await service.users.getUser({ userId: service.userId })).user).toMatchObject({ id: service.userId });
        expect(
          (await service.activity.listUserActivity({ actionPrefixes: ['fault'] })).activities.length,
        ).toBeGreaterThan(0);
        await expect.poll(() => service.readiness()).toBe(200); // it reads
        await rm(join(dir, 'filler'));
        acknowledged.push((await service.record()).id);
        await service.auth.login({ identifier: 'admin', password: ADMIN_PASSWORD });
        const watched = (await watch.activities(acknowledged.length)).map(({ id }) => id);
        expect(watched).toEqual(acknowledged);
        expect(await recordedSince(service, start, acknowledged.length)).toEqual({
          listed: acknowledged,
          watched: acknowledged,
        });
      } finally {
        await run('umount', ['-l', dir]);
        await rm(dir, { recursive: true });
      }
    },
    120_000,
  );

  test('a file that another process has locked: writes are refused in time, reads go on, and all is well after', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kith-locked-'));
    const file = join(dir, 'kith.db');
    await using service = await startService(`sqlite:${file}`);
    await using watch = await startWatch(service.activity, { actionPrefixes: ['fault'] });
    const start = watch.cursor;
    const before = await service.record();
    using other = new DatabaseSync(file, { timeout: 30_000 });
    other.exec('begin immediate');
    const writes = [service.record(), service.record(), service.record()].map((call) => refusalOf(call));
    const reads = Array.from({ length: 5 }, () =>
      service.users.getUser({ userId: service.userId }, { timeoutMs: ANSWERED_MS }),
    );
    expect((await Promise.all(reads)).map(({ user }) => user!.id)).toEqual(Array(5).fill(service.userId));
    expect(await Promise.all(writes)).toEqual(writes.map(() => expect.objectContaining(UNAVAILABLE)));
    await expect.poll(() => service.readiness()).toBe(200);
    const refused = await refusalOf(service.auth.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
    expect(refused).toMatchObject(UNAVAILABLE);
    other.exec('rollback');
    const after = await service.record();
    const expected = [before.id, after.id];
    expect((await watch.activities(2)).map(({ id }) => id)).toEqual(expected);
    expect(await recordedSince(service, start, 2)).toEqual({ listed: expected, watched: expected });
    await rm(dir, { recursive: true });
  }, 120_000);
});

describe('PostgreSQL', () => {
  let postgres: PostgresServer;
  let sql: PgClient;
  let databases = 0;
  beforeAll(async () => {
    postgres = await startPostgres(); // with everything that makes it survive a crash
  });
  afterAll(() => postgres[Symbol.asyncDispose]());

  /** A service on a database of its own. */
  async function start(env: Record<string, string> = {}): Promise<Service> {
    const name = `faults${++databases}`;
    const admin = new PgClient({ connectionString: postgres.url('postgres') });
    await admin.connect();
    await admin.query(`create database ${name}`);
    await admin.end();
    sql = await connect(name);
    const service = await startService(postgres.url(name), env);
    return {
      ...service,
      async [Symbol.asyncDispose]() {
        await service[Symbol.asyncDispose]();
        await sql.end();
      },
    };
  }

  async function connect(name: string): Promise<PgClient> {
    const client = new PgClient({ connectionString: postgres.url(name) });
    client.on('error', () => {}); // it goes with the server
    await client.connect();
    return client;
  }

  /** Makes every activity take so long to insert. */
  async function slowDown(seconds: number): Promise<void> {
    await sql.query(`
      create or replace function slow() returns trigger language plpgsql as
        $$ begin perform pg_sleep(${seconds}); return new; end $$`);
    await sql.query('create or replace trigger slow before insert on activity for each row execute function slow()');
  }

  const speedUp = () => sql.query('drop trigger slow on activity');

  test.each(['fast', 'immediate'] as const)(
    'a server that is stopped (%s) for a while: refusals meanwhile, nothing acknowledged is lost, no restart',
    async (mode) => {
      await using service = await start();
      const watch = await startWatch(service.activity, { actionPrefixes: ['fault'] });
      const begin = watch.cursor;
      const following = follow(service, watch);
      const acknowledged: string[] = [];
      const refusals: Refusal[] = [];
      let going = true;
      const writers = Array.from({ length: 4 }, async () => {
        while (going) {
          const call = service.record();
          await call.then(
            ({ id }) => acknowledged.push(id),
            async () => {
              refusals.push(await refusalOf(call));
              await sleep(20);
            },
          );
        }
      });
      await expect.poll(() => acknowledged.length).toBeGreaterThan(20);
      await postgres.stop(mode);
      await expect.poll(() => service.readiness()).toBe(503);
      expect(
        await refusalOf(service.users.getUser({ userId: service.userId }, { timeoutMs: ANSWERED_MS })),
      ).toMatchObject(UNAVAILABLE);
      expect(
        await refusalOf(
          service.auth.login({ identifier: 'admin', password: ADMIN_PASSWORD }, { timeoutMs: ANSWERED_MS }),
        ),
      ).toMatchObject(UNAVAILABLE);
      expect((await probe(`${service.process.address}/healthz`)).status).toBe(200); // no reason to restart it
      expect((await probe(`${service.process.address}/.well-known/jwks.json`)).status).toBe(200);
      await sleep(OUTAGE_MS); // what is tried is how it stands this long
      const before = acknowledged.length;
      await postgres.start();
      await expect.poll(() => service.readiness()).toBe(200);
      await expect.poll(() => acknowledged.length).toBeGreaterThan(before + 20);
      going = false;
      await Promise.all(writers);
      const last = await service.record();
      expect(refusals.length).toBeGreaterThan(0);
      expect(refusals).toEqual(refusals.map(() => expect.objectContaining(UNAVAILABLE)));

      // What was refused may have taken place all the same, as when an answer is lost; never the reverse.
      const { listed } = await untilDone(() => recordedSince(service, begin, 1));
      expect(new Set(acknowledged).difference(new Set(listed))).toEqual(new Set());
      expect(listed.at(-1)).toBe(last.id);
      const { watched } = await untilDone(() => recordedSince(service, begin, listed.length));
      expect(watched).toEqual(listed);
      expect(await following.upTo(listed.at(-1)!)).toEqual(listed);
      expect(following.endings).toEqual(following.endings.map(() => expect.objectContaining(UNAVAILABLE)));
    },
    120_000 + OUTAGE_MS,
  );

  test('statements that take too long: writes are refused, reads go on, watches go on', async () => {
    await using service = await start({ KITH_DATABASE_STATEMENT_MS: '2000' });
    await using watch = await startWatch(service.activity, { actionPrefixes: ['fault'] });
    const before = await service.record();
    await slowDown(600);
    const writes = [service.record(), service.record()].map((call) => refusalOf(call));
    const reads = Array.from({ length: 5 }, () => service.users.getUser({ userId: service.userId }));
    expect((await Promise.all(reads)).map(({ user }) => user!.id)).toEqual(Array(5).fill(service.userId));
    await expect.poll(() => service.readiness()).toBe(200);
    expect(await Promise.all(writes)).toEqual(writes.map(() => expect.objectContaining(UNAVAILABLE)));
    await speedUp();
    const after = await service.record();
    expect((await watch.activities(2)).map(({ id }) => id)).toEqual([before.id, after.id]);
  }, 120_000);

  test('slow statements within their time: they are answered, and watchers see them', async () => {
    await using service = await start();
    await using watch = await startWatch(service.activity, { actionPrefixes: ['fault'] });
    await slowDown(0.3);
    const recorded = await Promise.all([service.record(), service.record()]);
    await speedUp();
    const seen = await watch.activities(2);
    expect(new Set(seen.map(({ id }) => id))).toEqual(new Set(recorded.map(({ id }) => id)));
  }, 120_000);

  test('all connections in use: others are refused soon, and served as soon as one is free', async () => {
    await using service = await start({
      KITH_DATABASE_CONNECTIONS: '2',
      KITH_DATABASE_WAIT_MS: '500',
      KITH_DATABASE_STATEMENT_MS: '600000',
    });
    // Of two connections a caller has one.
    const other = createClient(ActivityService, grpc(service.process.address, await service.editor()));
    const watch = await startWatch(service.activity, { actionPrefixes: ['fault'] });
    const begin = watch.cursor;
    const following = follow(service, watch);
    // Whoever records keeps its connection until the table is free.
    await sql.query('begin; lock table activity in share mode');
    const held = [{ userId: service.userId, action: 'fault' }];
    const busy = [service.activity, other].map((activity) => activity.recordUserActivity({ activities: held }));
    const waiting = "select 1 from pg_locks where relation = 'activity'::regclass and not granted";
    await expect.poll(async () => (await sql.query(waiting)).rowCount).toBe(2);
    const refused = [
      service.users.getUser({ userId: service.userId }),
      service.record(),
      signedIn(service.auth.login({ identifier: 'admin', password: ADMIN_PASSWORD })),
    ].map((call) => refusalOf(call));
    expect(await Promise.all(refused)).toEqual(refused.map(() => expect.objectContaining(UNAVAILABLE)));
    await expect.poll(() => service.readiness()).toBe(503);
    await sql.query('commit');
    const recorded = (await Promise.all(busy)).map(({ activities }) => activities[0]!.id);
    await expect.poll(() => service.readiness()).toBe(200);
    recorded.push((await untilDone(() => service.record())).id);
    const { listed, watched } = await untilDone(() => recordedSince(service, begin, recorded.length));
    expect(new Set(listed)).toEqual(new Set(recorded));
    expect(watched).toEqual(listed);
    expect(await following.upTo(listed.at(-1)!)).toEqual(listed);
    expect(following.endings).toEqual(following.endings.map(() => expect.objectContaining(UNAVAILABLE)));
  }, 120_000);

  test.skipIf(process.platform !== 'linux')(
    'a server that says nothing any more: calls are refused in time, and all is well when it speaks again',
    async () => {
      await using service = await start({ KITH_DATABASE_STATEMENT_MS: '2000', KITH_DATABASE_WAIT_MS: '2000' });
      const watch = await startWatch(service.activity, { actionPrefixes: ['fault'] });
      const begin = watch.cursor;
      const following = follow(service, watch);
      const before = await service.record();
      const { rows } = await sql.query<{ pid: number }>(
        "select pid from pg_stat_activity where application_name like 'kith%' and datname = current_database()",
      );
      const [postmaster = ''] = (await readFile(join(postgres.socket, 'data', 'postmaster.pid'), 'utf8')).split('\n');
      const pids = [Number(postmaster), ...rows.map(({ pid }) => pid)];
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      try {
        const refused = [
          service.record(),
          service.users.getUser({ userId: service.userId }, { timeoutMs: ANSWERED_MS }),
          service.record(),
          signedIn(service.auth.login({ identifier: 'admin', password: ADMIN_PASSWORD }, { timeoutMs: ANSWERED_MS })),
        ].map((call) => refusalOf(call));
        expect(await Promise.all(refused)).toEqual(refused.map(() => expect.objectContaining(UNAVAILABLE)));
        await expect.poll(() => service.readiness()).toBe(503);
      } finally {
        for (const pid of pids) process.kill(pid, 'SIGCONT');
      }
      await expect.poll(() => service.readiness()).toBe(200);
      const after = await untilDone(() => service.record());
      const { listed } = await untilDone(() => recordedSince(service, begin, 1));
      expect(listed).toEqual(expect.arrayContaining([before.id, after.id]));
      const { watched } = await untilDone(() => recordedSince(service, begin, listed.length));
      expect(watched).toEqual(listed);
      expect(await following.upTo(listed.at(-1)!)).toEqual(listed);
    },
    120_000,
  );
});
