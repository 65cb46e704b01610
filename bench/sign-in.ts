/**
 * Measures what a burst of sign-ins does to other calls: 200 users sign in at once,
 * again and again, while a process of its own goes on making a call that hashes
 * nothing. Those that are turned away come back when they are told to.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { AuthService } from '../gen/kith/auth/v1/auth_service_pb.ts';
import { ErrorDetailSchema } from '../gen/kith/error/v1/error_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { grpc } from '../test/support/kith.ts';
import { startPostgres } from '../test/support/postgres-server.ts';
import { startProcess } from '../test/support/process.ts';
import { quantile, writeReport } from './report.ts';
import { signedIn } from '../test/support/sign-in.ts';

const PASSWORD = 'password of the benchmark';
const USERS = 200;
const BURSTS = 5;
/** A connection takes 100 calls at once. */
const CONNECTIONS = 4;

const ENV = {
  KITH_ADMIN_PASSWORD: PASSWORD,
  KITH_SECRET_KEY: Buffer.alloc(32, 'bench').toString('base64'),
  KITH_LOG_LEVEL: 'error',
  KITH_TRUSTED_PROXIES: '127.0.0.1',
};

interface Outcome {
  /** How often it was turned away. */
  readonly refusals: number;
  /** What it was told to wait, seconds. */
  readonly waits: readonly number[];
  readonly ms: number;
}

if (process.send !== undefined) await probe(process.argv[2]!, process.argv[3]!);
else await main();

async function main(): Promise<void> {
  const lines = ['| database | what | figure |', '| --- | --- | --- |', ...(await measure('SQLite', {}))];
  {
    await using postgres = await startPostgres();
    lines.push(...(await measure('PostgreSQL', { KITH_DATABASE_URL: postgres.url('postgres') })));
  }
  await writeReport('sign-in', 'npm run bench:sign-in', [
    ...lines,
    '',
    `${USERS} users sign in at once, each from an address of its own, ${BURSTS} times; another process calls UserMe one call after the other meanwhile. The server, both clients and PostgreSQL share the machine, so that the hashes take its cores from all of them.`,
  ]);
}

async function measure(database: string, env: Record<string, string>): Promise<string[]> {
  await using kith = await startProcess({ env: { ...ENV, ...env } });
  const clients = Array.from({ length: CONNECTIONS }, () => createClient(AuthService, grpc(kith.address)));
  const { accessToken } = await signedIn(clients[0]!.login({ identifier: 'admin', password: PASSWORD }));
  const users = createClient(UserService, grpc(kith.address, accessToken));
  for (let i = 0; i < USERS; i++) await users.createUser(profileOf(i));

  const prober = fork(fileURLToPath(import.meta.url), [kith.address, accessToken]);
  const collect = async (): Promise<number[]> => {
    prober.send('collect');
    const [ms] = await once(prober, 'message');
    return ms as number[];
  };
  await once(prober, 'message');
  await sleep(1000);
  await collect();
  await sleep(3000);
  const idle = await collect();
  const outcomes: Outcome[] = [];
  const busy: number[] = [];
  let longestMs = 0;
  for (let burst = 0; burst < BURSTS; burst++) {
    await sleep(1000);
    await collect();
    const startMs = performance.now();
    outcomes.push(
      ...(await Promise.all(Array.from({ length: USERS }, (_, i) => signIn(clients[i % CONNECTIONS]!, i)))),
    );
    longestMs = Math.max(longestMs, performance.now() - startMs);
    busy.push(...(await collect()));
  }
  prober.kill();
  const [idleMs, busyMs] = [quantile(idle, 0.5), quantile(busy, 0.5)];
  const refused = outcomes.filter(({ refusals }) => refusals > 0);
  const waits = refused.flatMap((outcome) => outcome.waits);
  const row = (what: string, figure: string) => `| ${database} | ${what} | ${figure} |`;
  const both = (ms: readonly number[]) => `${quantile(ms, 0.5).toFixed(2)} ms, ${quantile(ms, 0.99).toFixed(2)} ms`;
  return [
    row('another call without sign-ins: median, 99 %', both(idle)),
    row('another call during a burst: median, 99 %', both(busy)),
    row('the median during a burst is that without', `${(busyMs / idleMs).toFixed(1)} times`),
    row(
      `sign-ins of ${USERS} that are turned away at first, and are told to come back after`,
      refused.length === 0
        ? 'none'
        : `${Math.round(refused.length / BURSTS)}, ${Math.min(...waits)} to ${Math.max(...waits)} s`,
    ),
    row('a sign-in with all its tries: median, 99 %', both(outcomes.map(({ ms }) => ms))),
    row('until all are signed in, at the most', `${(longestMs / 1000).toFixed(1)} s`),
  ];
}

function profileOf(i: number) {
  const username = `user${i}`;
  return { username, email: `${username}@example.org`, name: `User ${i}`, password: `${PASSWORD} ${i}` };
}

async function signIn(client: Client<typeof AuthService>, i: number): Promise<Outcome> {
  const { username: identifier, password } = profileOf(i);
  const headers = { 'x-forwarded-for': `192.0.2.${i}` };
  const startMs = performance.now();
  const waits: number[] = [];
  for (let refusals = 0; ; refusals++) {
    try {
      await client.login({ identifier, password }, { headers });
      return { refusals, waits, ms: performance.now() - startMs };
    } catch (error) {
      const metadata = ConnectError.from(error).findDetails(ErrorDetailSchema)[0]?.metadata ?? {};
      const seconds = Number(metadata['retry_after_seconds']);
      if (!(seconds > 0)) throw error;
      waits.push(seconds);
      await sleep(seconds * 1000);
    }
  }
}

/** Calls until it is killed, and tells how long the calls took when it is asked. */
async function probe(address: string, accessToken: string): Promise<void> {
  const client = createClient(AuthService, grpc(address, accessToken));
  let ms: number[] = [];
  process.on('message', () => {
    process.send?.(ms);
    ms = [];
  });
  await client.userMe({});
  process.send?.('ready');
  for (;;) {
    const startMs = performance.now();
    await client.userMe({});
    ms.push(performance.now() - startMs);
    await sleep(2);
  }
}
