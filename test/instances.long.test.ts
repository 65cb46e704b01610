import { readdirSync } from 'node:fs';
import { createClient } from '@connectrpc/connect';
import { DatabaseSync } from 'node:sqlite';
import { Client as PgClient } from 'pg';
import { expect, test } from 'vitest';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { MailState } from '../gen/kith/mail/v1/outbox_service_pb.ts';
import { databases } from './support/databases.ts';
import { grpc, startKith } from './support/kith.ts';
import { changeCode, outboxOf, resetCode } from './support/outbox.ts';
import { type KithProcess, probe, spawnKith } from './support/process.ts';
import { startMailServer } from './support/smtp-server.ts';

const KITH_SECRET_KEY = Buffer.alloc(32, 'kith').toString('base64');

/** Starts so many at the same moment; those that ended instead of serving have an empty address. */
async function startAtOnce(count: number, env: Record<string, string>) {
  const processes = new AsyncDisposableStack();
  const started = await Promise.all(
    Array.from({ length: count }, async () => {
      const kith = processes.use(await spawnKith({ env }));
      const address = await kith.stderrMatching(/ serves .* at (\S+)\n/).then(
        ([, found = '']) => found,
        () => '',
      );
      return { kith, address };
    }),
  );
  return { started, [Symbol.asyncDispose]: () => processes.disposeAsync() };
}

/** The passwords that were printed for the administrator. */
function passwordsOf(processes: readonly { kith: KithProcess }[]): string[] {
  return processes.flatMap(({ kith }) =>
    [...kith.stderr.matchAll(/shown only now\): (\S+)\n/g)].map(([, found = '']) => found),
  );
}

const MIGRATIONS = readdirSync(new URL('../src/storage/migrations/', import.meta.url))
  .filter((file) => /^\d{4}-.*\.ts$/.test(file))
  .map((file) => file.replace('.ts', ''))
  .toSorted();

test('six that start at once on one empty database all serve, and do once what is done once', async () => {
  await using database = await databases[1]!.createEmpty();
  await using group = await startAtOnce(6, {
    KITH_DATABASE_URL: database.url,
    KITH_SECRET_KEY,
    KITH_DATABASE_CONNECTIONS: '3',
  });
  const { started } = group;
  expect(started.map(({ kith, address }) => (address === '' ? kith.stderr : ''))).toEqual(Array(6).fill(''));
  await expect.poll(() => passwordsOf(started)).not.toEqual([]); // said after the address
  const [password, ...others] = passwordsOf(started);
  expect(others).toEqual([]);

  const keys = new Set<string>();
  for (const { address } of started) {
    expect(await probe(`${address}/readyz`)).toMatchObject({ status: 200 });
    keys.add((await probe(`${address}/.well-known/jwks.json`)).body);
    const login = { identifier: 'admin', password: password! };
    await createClient(AuthService, grpc(address)).login(login);
  }
  expect(keys.size).toBe(1);

  const client = new PgClient({ connectionString: database.url });
  await client.connect();
  const column = async (query: string) => (await client.query<{ v: unknown }>(query)).rows.map(({ v }) => v);
  expect(await column('select username as v from users')).toEqual(['admin']);
  expect(await column('select count(*)::int as v from signing_keys')).toEqual([1]);
  expect(await column("select count(*)::int as v from activity where action = 'kith.user.created'")).toEqual([1]);
  expect(await column('select name as v from kysely_migration order by name')).toEqual(MIGRATIONS);
  await client.end();
}, 90_000);

test('an instance waits for a migration that takes longer than a statement may', async () => {
  await using database = await databases[1]!.createEmpty();
  const env = { KITH_DATABASE_URL: database.url, KITH_SECRET_KEY, KITH_DATABASE_STATEMENT_MS: '100' };
  const client = new PgClient({ connectionString: database.url });
  await client.connect();
  // Kysely's lock, as another instance holds it while it migrates.
  await client.query('begin');
  await client.query('select pg_advisory_xact_lock(3853314791062309107)');
  await using kith = await spawnKith({ env });
  const waiting =
    "select 1 from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
  await expect.poll(async () => (await client.query(waiting)).rowCount, { timeout: 30_000 }).toBe(1);
  await client.query('select pg_sleep(0.5)');
  expect((await client.query(waiting)).rowCount).toBe(1);
  await client.query('commit');
  await kith.stderrMatching(/ serves /);
  await client.end();
}, 60_000);

test('of two that start at once on one fresh file one serves, and the other says in a line why it does not', async () => {
  await using database = await databases[0]!.createEmpty();
  await using group = await startAtOnce(2, { KITH_DATABASE_URL: database.url });
  const serving = group.started.filter(({ address }) => address !== '');
  for (const { kith } of group.started.filter(({ address }) => address === '')) {
    expect(kith.stderr).toMatch(/^kith: sqlite:\S+: another server serves this file: .*\n$/);
  }
  expect(serving).toHaveLength(1);
  await expect.poll(() => passwordsOf(group.started)).not.toEqual([]);
  const [password, ...others] = passwordsOf(group.started);
  expect(others).toEqual([]);
  for (const { address } of serving) {
    await createClient(AuthService, grpc(address)).login({ identifier: 'admin', password: password! });
  }
  using file = new DatabaseSync(database.url.slice('sqlite:'.length), { readOnly: true });
  const column = (query: string) =>
    file
      .prepare(query)
      .all()
      .map(({ v }) => v);
  expect(column('select username as v from users')).toEqual(['admin']);
  expect(column('select count(*) as v from signing_keys')).toEqual([1]);
  expect(column('select name as v from kysely_migration order by name')).toEqual(MIGRATIONS);
}, 60_000);

test('two that share the outbox send each mail once', async () => {
  await using mailServer = await startMailServer();
  await using database = await databases[1]!.create();
  const options = { database, env: { KITH_SMTP_URL: mailServer.url }, server: { mailPollMs: 20 } };
  await using one = await startKith(options);
  await using other = await startKith(options);
  const all = await Promise.all(Array.from({ length: 20 }, () => one.user()));
  await Promise.all(
    all.map(({ user }, i) =>
      (i % 2 === 0 ? one : other).client(AuthService).requestPasswordReset({ identifier: user.username }),
    ),
  );
  const outbox = await outboxOf(one);
  const states = async () => (await outbox.listMails({ pageSize: 1000 })).mails.map(({ state }) => state);
  await expect.poll(states, { timeout: 30_000 }).toEqual(all.map(() => MailState.SENT));
  expect(mailServer.mails.flatMap(({ to }) => to).toSorted()).toEqual(all.map(({ user }) => user.email).toSorted());
}, 60_000);

test('of many uses of one mailed code on three that share a database, one is right', async () => {
  await using database = await databases[1]!.create();
  await using one = await startKith({ database });
  await using other = await startKith({ database });
  await using third = await startKith({ database });
  const all = [one, other, third];
  const account = await one.user();
  const { user } = await one.user(); // another one: wrong codes of a user are counted together
  const rightOf = async (use: (i: number) => Promise<unknown>) => {
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => use(i)));
    return outcomes.filter(({ status }) => status === 'fulfilled').length;
  };
  const change = await changeCode(one, account, `next.${account.user.email}`);
  const confirm = (i: number) =>
    all[i % 3]!.client(AuthService, account.accessToken).confirmEmailChange({ code: change });
  expect(await rightOf(confirm)).toBe(1);
  const code = await resetCode(one, user);
  const reset = (i: number) =>
    all[i % 3]!.client(AuthService).resetPassword({ identifier: user.username, code, newPassword: `reset by ${i}` });
  expect(await rightOf(reset)).toBe(1);
}, 60_000);
