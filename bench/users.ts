/**
 * Measures ImportUsers, with hashes and metadata, into an empty database and a second time, which changes nothing: rows
 * a second, and the most memory that the server took. Then LookupUsers by each key in a database with few users and
 * in one with many. Fails when a row is not imported, or is changed by the second time, or when a lookup among many
 * takes more than RATIO_MAX as long as among few.
 *
 * Words choose the databases (sqlite, postgres) and the parts (import, lookup); none: all of them.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { Client } from 'pg';
import {
  type ImportedUserSchema,
  ImportStatus,
  ImportUsersRequestSchema,
  UserService,
} from '../gen/kith/user/v1/user_service_pb.ts';
import { grpc } from '../test/support/kith.ts';
import { startPostgres } from '../test/support/postgres-server.ts';
import { startServing } from './load.ts';
import { quantile, writeReport } from './report.ts';
import { kithEnv, seedDatabase } from './seed.ts';

const ROWS = Number(process.env['KITH_BENCH_ROWS'] ?? 100_000);
const BATCH = 250;
/** How many batches are under way at once, as `kith users import` has it. */
const AT_ONCE = 2;
const SIZES = (process.env['KITH_BENCH_SIZES'] ?? '1000,1000000').split(',').map(Number);
const ROUNDS = 1000;
const WARM_UP = 100;
const RATIO_MAX = 1.5;
const HASH = '$2b$10$SNBjG37a.BBF4zvloyHl5OGMUbunP0VFds7FX4WDWwB52QHrqZdVe';

const words = process.argv.slice(2);
const isAsked = (word: string, others: readonly string[]) =>
  words.includes(word) || !words.some((each) => others.includes(each));
const faults: string[] = [];
const lines: string[] = [];

await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-users-'));
if (isAsked('sqlite', ['sqlite', 'postgres'])) {
  await measure('SQLite', async (name) => `sqlite:${join(directory.path, `${name}.db`)}`);
}
if (isAsked('postgres', ['sqlite', 'postgres'])) {
  await using postgres = await startPostgres({ shared_buffers: '512MB', max_wal_size: '4GB' });
  await measure('PostgreSQL', async (name) => {
    const client = new Client({ connectionString: postgres.url('postgres') });
    await client.connect();
    await client.query(`create database ${name}`);
    await client.end();
    return postgres.url(name);
  });
}
if (words.length > 0) console.log(lines.join('\n'));
else await writeReport('users', 'npm run bench:users', lines);
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;

async function measure(database: string, createDatabase: (name: string) => Promise<string>): Promise<void> {
  if (isAsked('import', ['import', 'lookup'])) await measureImport(database, await createDatabase('imported'));
  if (isAsked('lookup', ['import', 'lookup'])) await measureLookups(database, createDatabase);
}

/** The n-th user of another system. */
function userOf(n: number): MessageInitShape<typeof ImportedUserSchema> {
  const name = String(n).padStart(7, '0');
  return {
    username: `imported-${name}`,
    email: `imported-${name}@example.org`,
    name: `Imported User ${name}`,
    passwordHash: HASH,
    externalId: `old-${name}`,
    createTime: timestampFromMs(1_600_000_000_000 + n * 1000),
    emailVerifiedTime: timestampFromMs(1_600_000_060_000 + n * 1000),
    locale: 'de-AT',
    timeZone: 'Europe/Vienna',
    publicMetadata: JSON.stringify({ plan: n % 3 === 0 ? 'pro' : 'free', seats: n % 17, tags: ['a', 'b'] }),
    privateMetadata: JSON.stringify({ customer: `cus_${name}`, notes: 'x'.repeat(200), old: { id: n, region: 'eu' } }),
  };
}

async function measureImport(database: string, url: string): Promise<void> {
  const { accessToken } = await seedDatabase(url, { users: 0, contacts: 0, activities: 0 });
  await using server = await startServing('src/main.ts', [], kithEnv(url, true));
  const users = createClient(UserService, grpc(server.address, accessToken));
  const restMb = await memoryMb(server.pid, 'VmRSS');
  for (const [time, expected] of [
    ['first', ImportStatus.CREATED],
    ['second', ImportStatus.SAME],
  ] as const) {
    const startMs = performance.now();
    let next = 0;
    let others = 0;
    const work = async () => {
      while (next < ROWS) {
        const from = next;
        next += BATCH;
        const batch = Array.from({ length: Math.min(BATCH, ROWS - from) }, (_, i) => userOf(from + i));
        const { results } = await users.importUsers(create(ImportUsersRequestSchema, { users: batch }));
        others += results.filter(({ status }) => status !== expected).length;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    const seconds = (performance.now() - startMs) / 1000;
    const peakMb = await memoryMb(server.pid, 'VmHWM');
    lines.push(
      `${database}: ${ROWS.toLocaleString('en')} users imported for the ${time} time in ${seconds.toFixed(1)} s, ${Math.round(ROWS / seconds).toLocaleString('en')} rows a second; the server took ${peakMb} MiB at the most, ${restMb} before.`,
      '',
    );
    if (others > 0) faults.push(`${database}: ${others} rows of the ${time} time were as expected`);
  }
}

async function memoryMb(pid: number, name: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024);
}

async function measureLookups(database: string, createDatabase: (name: string) => Promise<string>): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const keys = {
    id: (n: number, idOf: (n: number) => string) => ({ case: 'userId' as const, value: idOf(n) }),
    username: (n: number) => ({ case: 'username' as const, value: `Many-${digits(n)}` }),
    'email address': (n: number) => ({ case: 'email' as const, value: `many-${digits(n)}@Example.org` }),
    'external id': (n: number) => ({ case: 'externalId' as const, value: `external-${digits(n)}` }),
    'nobody, by id': () => ({ case: 'userId' as const, value: randomUUID() }),
  };
  const grown = [];
  for (const size of SIZES) {
    const startMs = performance.now();
    const seed = await seedDatabase(await createDatabase(`grown_${size}`), { users: size, contacts: 0, activities: 0 });
    console.error(`${database}: ${size.toLocaleString('en')} users in ${Math.round(performance.now() - startMs)} ms`);
    const server = opened.use(await startServing('src/main.ts', [], kithEnv(seed.databaseUrl, true)));
    grown.push({ size, seed, client: createClient(UserService, grpc(server.address, seed.accessToken)) });
  }
  lines.push(
    `| ${database}: LookupUsers by | ${SIZES.map((size) => `among ${size.toLocaleString('en')}`).join(' | ')} | ratio |`,
    `| --- | ${SIZES.map(() => '---:').join(' | ')} | ---: |`,
  );
  for (const [name, keyOf] of Object.entries(keys)) {
    const times = grown.map((): number[] => []);
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      for (const [i, { size, seed, client }] of grown.entries()) {
        const key = keyOf(Math.floor(Math.random() * size), seed.idOf);
        const startMs = performance.now();
        const { lookups } = await client.lookupUsers({ keys: [{ key }] });
        if (round >= WARM_UP) times[i]!.push(performance.now() - startMs);
        const isFound = lookups[0]?.user !== undefined;
        if (isFound === name.startsWith('nobody')) throw new Error(`${JSON.stringify(key)}: found is ${isFound}`);
      }
    }
    const medians = times.map((ms) => quantile(ms, 0.5));
    const ratio = medians.at(-1)! / medians[0]!;
    lines.push(`| ${name} | ${medians.map((ms) => `${ms.toFixed(2)} ms`).join(' | ')} | ${ratio.toFixed(2)} |`);
    if (ratio > RATIO_MAX) faults.push(`${database}: a lookup by ${name} takes ${ratio.toFixed(2)} times as long`);
  }
  lines.push('');
}

function digits(n: number): string {
  return String(n).padStart(7, '0');
}
