/**
 * Measures what metrics cost: `npm run bench:metrics`. First what is done for each call besides, by itself,
 * which other load on the machine changes little. Then CPU time for each GetUser over gRPC, of a server with
 * metrics and of one without, in turns. Both are in one process, since two processes with the same code differ
 * by some percent, and several such processes are started, in half of them the one with metrics first. What
 * the process does for metrics by the clock and not by the call (it watches the delay of its event loop and its
 * garbage collections) is done beside both.
 */
import { cp, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { Registry } from '../src/metrics/registry.ts';
import { CallMetrics } from '../src/rpc/call-metrics.ts';
import { getUserCall } from './groups.ts';
import { type Amount, findTools, loadHttp2, moveToLoadCore, type ServingProcess, startServing } from './load.ts';
import { quantile } from './report.ts';
import { seedDatabase } from './seed.ts';
import { freePort } from '../test/support/free-port.ts';

const PROCESSES = 6;
const ROUNDS = 150;
/** The least of so many batches tells what a record takes when nothing gets in its way. */
const BATCHES = 30;
const RECORDS = 200_000;

/** Little at a time, so that what else runs on the machine is much the same for both. */
const AMOUNT: Amount = { connections: 4, streams: 16, seconds: 1, requests: 2000 };
/** Until all is compiled. */
const WARM_UP: Amount = { ...AMOUNT, requests: 30_000 };

console.log(`counting a call takes ${recordNanos().toFixed(0)} ns`);

if (!findTools().h2load) process.exit(1);
moveToLoadCore();
await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-metrics-'));
const seedPath = join(directory.path, 'seed');
const seed = await seedDatabase(`sqlite:${seedPath}/kith.db`, { users: 1000, contacts: 0, activities: 0 });
const request = getUserCall(seed);

const ratios: number[] = [];
const micros = { without: [] as number[], with: [] as number[] };
for (let number = 0; number < PROCESSES; number++) {
  const isMeteredFirst = number % 2 === 1;
  await using both = await serveBoth(number, isMeteredFirst);
  const run = async (server: ServingProcess, amount = AMOUNT): Promise<number> =>
    (await loadHttp2(server, directory.path, request, amount)).cpuMicrosEach;
  for (const server of [both.without, both.metered]) await run(server, WARM_UP);
  const ofProcess: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    // Each is first as often as the other.
    const isOffFirst = round % 2 === 0;
    const first = await run(isOffFirst ? both.without : both.metered);
    const second = await run(isOffFirst ? both.metered : both.without);
    const [off, on] = isOffFirst ? [first, second] : [second, first];
    micros.without.push(off);
    micros.with.push(on);
    ofProcess.push(on / off);
  }
  ratios.push(...ofProcess);
  console.log(`process ${number + 1}: with / without ${medianOf(ofProcess).median.toFixed(4)}`);
}
const { median, low, high } = medianOf(ratios);
console.log(`CPU of the server for each GetUser over gRPC, ${PROCESSES} processes, ${ROUNDS} rounds each, medians:`);
console.log(
  `without metrics ${quantile(micros.without, 0.5).toFixed(1)} us, with metrics ${quantile(micros.with, 0.5).toFixed(1)} us`,
);
console.log(`with / without: ${median.toFixed(4)}, of such runs 95 % between ${low.toFixed(4)} and ${high.toFixed(4)}`);

/** The median, and the bounds of its 95 % confidence interval, by the ranks of the binomial distribution. */
function medianOf(values: readonly number[]): { median: number; low: number; high: number } {
  const half = 0.98 / Math.sqrt(values.length);
  return { median: quantile(values, 0.5), low: quantile(values, 0.5 - half), high: quantile(values, 0.5 + half) };
}

/** What counting one call takes, nanoseconds, the look at the clock included. */
function recordNanos(): number {
  const registry = new Registry();
  const metrics = new CallMetrics(registry);
  const { getUser, getUserDetails, listUsers } = UserService.method;
  const methods = [getUser, getUserDetails, listUsers, getUser];
  let least = Number.POSITIVE_INFINITY;
  for (let batch = 0; batch < BATCHES; batch++) {
    const startMs = performance.now();
    for (let i = 0; i < RECORDS; i++) {
      const durationMs = performance.now() - startMs;
      metrics.record(methods[i & 3]!, 'grpc', true, durationMs / RECORDS, undefined, undefined);
    }
    least = Math.min(least, ((performance.now() - startMs) * 1e6) / RECORDS);
  }
  return least;
}

/** Starts a process with both servers, each with a copy of the database. */
async function serveBoth(number: number, isMeteredFirst: boolean) {
  const describe = async (name: string, metricsPort: string) => {
    const path = join(directory.path, `${number}-${name}`);
    await cp(seedPath, path, { recursive: true });
    const port = await freePort();
    return { address: `http://127.0.0.1:${port}`, argument: [port, path, metricsPort].join(',') };
  };
  const off = await describe('without', '');
  const on = await describe('with', String(await freePort()));
  const order = isMeteredFirst ? [on, off] : [off, on];
  const serving = await startServing(
    'bench/two-servers.ts',
    order.map(({ argument }) => argument),
  );
  return {
    without: { ...serving, address: off.address },
    metered: { ...serving, address: on.address },
    [Symbol.asyncDispose]: () => serving[Symbol.asyncDispose](),
  };
}
