import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { toJsonString } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { Client as PgClient } from 'pg';
import { expect, test, vi } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { Permission, Role } from '../gen/kith/access/v1/role_pb.ts';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import {
  AdminService,
  type GetStatusResponse,
  GetStatusResponseSchema,
  LogLevel,
  type Setting,
  SettingSource,
} from '../gen/kith/admin/v1/admin_service_pb.ts';
import { ApiKeyService } from '../gen/kith/auth/v1/api_key_service_pb.ts';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { SigningKeyService } from '../gen/kith/auth/v1/signing_key_service_pb.ts';
import { databases } from './support/databases.ts';
import { ADMIN_PASSWORD, bearer, grpc, refusalOf, startKith } from './support/kith.ts';
import { probe, startProcess } from './support/process.ts';
import { startWatch } from './support/watch.ts';
import { signedIn } from './support/sign-in.ts';

/** An endless wait would hide what went wrong; nothing here is about speed. */
const PATIENCE = { timeout: 50_000, interval: 20 };

const budget = ({ budgets }: GetStatusResponse, name: string) => budgets.find((one) => one.name === name);

test.each(databases)('GetStatus tells what runs and how it is doing, on $name', async ({ name, create }) => {
  await using database = await create();
  await using kith = await startKith({ database });
  const { user, accessToken } = await kith.admin();
  const activity = kith.client(ActivityService, accessToken);
  const admin = kith.client(AdminService, accessToken);
  const before = await admin.getStatus({});
  expect(before.process).toMatchObject({
    version: packageJson.version,
    nodeVersion: process.versions.node,
    hostname: hostname(),
    pid: process.pid,
    worker: 0,
  });
  const { database: db } = before;
  expect(db).toMatchObject({ kind: name, available: true, serverVersion: expect.stringMatching(/^\d+\.\d+/) });
  expect(db!.schema).toBe(name === 'SQLite' ? '' : 'public');
  expect(db!.migrations.map((migration) => migration.name)).toEqual(
    db!.migrations.map((migration) => migration.name).toSorted(),
  );
  expect(db!.migrations.at(-1)).toMatchObject({
    name: db!.latestMigration,
    applyTime: { seconds: expect.any(BigInt) },
  });
  const { signingKeys } = await kith.client(SigningKeyService, accessToken).listSigningKeys({});
  expect(before.signingKeys).toEqual(signingKeys);
  expect(before.logLevel).toMatchObject({ level: LogLevel.SILENT, setting: LogLevel.SILENT });
  expect(before.queues.map((queue) => queue.name)).toEqual(
    expect.arrayContaining(['reads', 'lists', 'writes', 'password_hashes', 'watch_reads']),
  );

  await using watch = await startWatch(activity, { userId: user.id });
  await activity.recordUserActivity({ activities: [{ userId: user.id, action: 'seen' }] });
  expect((await watch.activities(1))[0]).toMatchObject({ action: 'seen' });
  await vi.waitFor(async () => {
    const after = await admin.getStatus({});
    expect(after.activityLog!.head - before.activityLog!.head).toBe(1n);
    expect(after.activityLog!.horizon).toBe(after.activityLog!.head);
    expect(after.traffic).toMatchObject({ watchesBehind: 0, watchesWaking: 0 });
  }, PATIENCE);
  const open = await admin.getStatus({});
  expect(budget(open, 'watches')).toMatchObject({ used: 1n, limit: 2000n, callerLimit: 100n, refusals: 0n });
  expect(open.traffic!.http2Streams).toBeGreaterThanOrEqual(2); // the watch and this call
  expect(open.traffic!.connections).toBeGreaterThanOrEqual(1);

  const told = toJsonString(GetStatusResponseSchema, open);
  for (const secret of [ADMIN_PASSWORD, accessToken, database.url, user.id]) expect(told).not.toContain(secret);
  expect(told).not.toMatch(/private|"d":/);
});

test('GetStatus is answered, and /readyz?verbose says what is wrong, while the database is not to be had', async () => {
  await using database = await databases[1]!.create();
  await using kith = await startKith({
    database,
    env: { KITH_DATABASE_CONNECTIONS: '2', KITH_DATABASE_WAIT_MS: '200', KITH_DATABASE_STATEMENT_MS: '600000' },
  });
  const { user, accessToken } = await kith.admin();
  const editor = await kith.user(Role.EDITOR);
  const verbose = `${kith.address}/readyz?verbose`;
  expect(await probe(verbose)).toEqual({
    status: 200,
    body: expect.stringMatching(
      /^(\[\+\](shutdown|database|revocations|signing-keys) ok: took \d+ ms, \d+ ms ago\n){4}readyz check passed\n$/,
    ),
  });
  expect((await fetch(verbose)).headers.get('content-type')).toBe('text/plain; charset=utf-8');
  const sql = new PgClient({ connectionString: database.url });
  await sql.connect();
  const activities = [{ userId: user.id, action: 'held' }];
  try {
    await sql.query('begin; lock table activity in share mode');
    // Of two connections a caller has one.
    const busy = [accessToken, editor.accessToken].map((token) =>
      kith.client(ActivityService, token).recordUserActivity({ activities }),
    );
    await vi.waitFor(async () => {
      const status = await kith.client(AdminService, accessToken).getStatus({});
      expect(status.database).toMatchObject({
        kind: 'PostgreSQL',
        available: false,
        serverVersion: '',
        migrations: [],
        connectionsUsed: 2,
        connectionsIdle: 0,
      });
      expect(status.database!.latestMigration).not.toBe('');
      expect(status.activityLog).toBeUndefined();
      expect(status.signingKeys).not.toEqual([]);
    }, PATIENCE);
    await vi.waitFor(async () => {
      const { status, body } = await probe(verbose);
      expect([status, body]).toEqual([503, expect.stringContaining('\n[-]database failed: reason withheld\n')]);
      expect(body).toMatch(/\nreadyz check failed\n$/);
    }, PATIENCE);
    await sql.query('commit');
    await Promise.all(busy);
  } finally {
    await sql.end();
  }
  await vi.waitFor(async () => expect(await probe(verbose)).toMatchObject({ status: 200 }), PATIENCE);
}, 120_000);

test('SetLogLevel changes what a process logs for a time, and leaves a line and an activity', async () => {
  await using kith = await startProcess({ env: { KITH_LOG_LEVEL: 'error', KITH_ADMIN_PASSWORD: ADMIN_PASSWORD } });
  const login = createClient(AuthService, grpc(kith.address));
  const { accessToken, user } = await signedIn(login.login({ identifier: 'admin', password: ADMIN_PASSWORD }));
  const admin = createClient(AdminService, grpc(kith.address, accessToken));
  expect(kith.stdout).toBe('');
  const set = await admin.setLogLevel({ level: LogLevel.INFO, duration: { seconds: 1n, nanos: 500_000_000 } });
  expect(set).toMatchObject({
    process: { pid: kith.pid, worker: 0 },
    logLevel: { level: LogLevel.INFO, setting: LogLevel.ERROR, revertTime: { seconds: expect.any(BigInt) } },
  });
  await login.login({ identifier: 'admin', password: ADMIN_PASSWORD });
  await vi.waitFor(async () => {
    const { logLevel } = await admin.getStatus({});
    expect(logLevel).toMatchObject({ level: LogLevel.ERROR });
    expect(logLevel!.revertTime).toBeUndefined();
  }, PATIENCE);
  await login.login({ identifier: 'admin', password: ADMIN_PASSWORD });
  const lines = kith.stdout.split('\n').filter((line) => line.includes('log level'));
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { level: 'info', before: 'error', caller: user.id, durationMs: 1500, msg: 'the log level was set' },
    { level: 'error', before: 'info', msg: 'the log level was set' },
  ]);
  // While it was in force, calls had lines; before and after they had none.
  expect(kith.stdout.match(/AuthService\/Login/g)).toHaveLength(1);
  const { activities } = await createClient(ActivityService, grpc(kith.address, accessToken)).listUserActivity({
    actionPrefixes: ['kith.log_level.set'],
  });
  const attributes = { level: 'info', hostname: hostname(), pid: String(kith.pid) };
  expect(activities).toMatchObject([{ userId: user.id, actorId: user.id, attributes }]);
}, 120_000);

test('SetLogLevel refuses silence, other numbers, and times out of bounds, and then changes nothing', async () => {
  await using kith = await startKith();
  const { accessToken } = await kith.admin();
  const admin = kith.client(AdminService, accessToken);
  for (const request of [
    { level: LogLevel.SILENT },
    { level: 99 as LogLevel },
    { level: LogLevel.DEBUG, duration: { seconds: 0n } },
    { level: LogLevel.DEBUG, duration: { seconds: -5n } },
    { level: LogLevel.DEBUG, duration: { nanos: 999_999_999 } },
    { level: LogLevel.DEBUG, duration: { seconds: 604_800n, nanos: 1 } },
  ]) {
    const refusal = await refusalOf(admin.setLogLevel(request));
    expect.soft(refusal, String(request.level)).toMatchObject({ code: 'InvalidArgument', reason: 'FIELDS_INVALID' });
  }
  const { logLevel } = await admin.getStatus({});
  expect([logLevel!.level, logLevel!.revertTime]).toEqual([LogLevel.SILENT, undefined]);
});

test('an API key may do what it was given, and no more', async () => {
  await using kith = await startKith();
  const { accessToken } = await kith.admin();
  const keys = kith.client(ApiKeyService, accessToken);
  const reader = await keys.createApiKey({ name: 'monitoring', permissions: [Permission.SERVER_READ] });
  const admin = kith.client(AdminService, reader.secret);
  expect((await admin.getStatus({})).process).toMatchObject({ pid: process.pid });
  expect(await refusalOf(admin.setLogLevel({}))).toMatchObject({
    code: 'PermissionDenied',
    reason: 'PERMISSION_MISSING',
    metadata: { permission: 'PERMISSION_SERVER_WRITE' },
  });
});

test('of several workers, the one that answers says so, and it alone changes its level', async () => {
  await using database = await databases[1]!.create();
  using directory = mkdtempDisposableSync(join(tmpdir(), 'dot-env-'));
  writeFileSync(join(directory.path, '.env'), 'KITH_SERVICE_NAME=Example\n');
  await using kith = await startProcess({
    directory: directory.path,
    env: { ...database.env, KITH_ADMIN_PASSWORD: ADMIN_PASSWORD, KITH_WORKERS: '2', KITH_DATABASE_CONNECTIONS: '2' },
  });
  const { accessToken } = await signedIn(
    createClient(AuthService, grpc(kith.address)).login({
      identifier: 'admin',
      password: ADMIN_PASSWORD,
    }),
  );
  // Each on a connection of its own.
  const transport = createConnectTransport({
    baseUrl: kith.address,
    httpVersion: '1.1',
    interceptors: bearer(accessToken),
    nodeOptions: { agent: false },
  });
  const admin = createClient(AdminService, transport);
  const { process: changed } = await admin.setLogLevel({ level: LogLevel.DEBUG });
  const levels = new Map<number, LogLevel>();
  await vi.waitFor(async () => {
    const status = await admin.getStatus({});
    levels.set(status.process!.worker, status.logLevel!.level);
    expect(levels.size).toBe(2);
    await sleep(0);
  }, PATIENCE);
  expect([...levels.keys()].toSorted((a, b) => a - b)).toEqual([1, 2]);
  for (const [worker, level] of levels) {
    expect.soft(level).toBe(worker === changed!.worker ? LogLevel.DEBUG : LogLevel.INFO);
  }
  // Both know what of their environment the primary has read in .env, and tell no secret of it.
  const named = new Map<number, Setting>();
  await vi.waitFor(async () => {
    const answer = await admin.getSettings({});
    expect(JSON.stringify(answer.settings)).not.toContain(ADMIN_PASSWORD);
    named.set(answer.process!.worker, answer.settings.find(({ name }) => name === 'KITH_SERVICE_NAME')!);
    const example = { value: 'Example', source: SettingSource.DOT_ENV };
    expect([...named.values()]).toMatchObject([example, example]);
  }, PATIENCE);
}, 120_000);
