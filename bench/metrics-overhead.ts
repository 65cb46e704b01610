/**
 * Measures what metrics cost: `npm run bench:metrics`. First what is done for each call besides, by itself,
 * which other load on the machine changes little. Then CPU time for each GetUser over gRPC, of a server with
 * metrics and of one without, in turns. Servers are started anew several times, since two processes with the
 * same code differ by some percent.
 */
import { cp, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { Registry } from '../src/metrics/registry.ts';
import { CallMetrics } from '../src/rpc/call-metrics.ts';
import { getUserCall } from './groups.ts';
import { type Amount, findTools, loadHttp2, moveToLoadCore, startServing } from './load.ts';
import { quantile } from './report.ts';
import { kithEnv, seedDatabase } from './seed.ts';
import { freePort } from '../test/support/free-port.ts';

const PAIRS = 3;
const ROUNDS = 5;
/** The least of so many batches tells what a record takes when nothing gets in its way. */
const BATCHES = 30;
const RECORDS = 200_000;

const AMOUNT: Amount = { connections: 4, streams: 16, seconds: 1, requests: 20_000 };

console.log(`counting a call takes ${recordNanos().toFixed(0)} ns`);

if (!findTools().h2load) process.exit(1);
moveToLoadCore();
await using directory = await mkdtempDisposable(join(tmpdir(), 'kith-metrics-'));
const seedPath = join(directory.path, 'seed');
const seed = await seedDatabase(`sqlite:${seedPath}/kith.db`, { users: 1000, contacts: 0, activities: 0 });
const request = getUserCall(seed);

const ratios: number[] = [];
const micros = { without: [] as number[], with: [] as number[] };
for (let pair = 0; pair < PAIRS; pair++) {
  await using without = await serve(`${pair}-without`, {});
  await using metered = await serve(`${pair}-with`, { KITH_METRICS_PORT: String(await freePort()) });
  const run = async (server: typeof without): Promise<number> =>
    (await loadHttp2(server, directory.path, request, AMOUNT)).cpuMicrosEach;
  for (const server of [without, metered]) await run(server); // until it is compiled
  const sums = { without: 0, with: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    // Each is first as often as the other.
    const order = round % 2 === 0 ? [without, metered] : [metered, without];
    const [first, second] = [await run(order[0]!), await run(order[1]!)];
    const [off, on] = round % 2 === 0 ? [first, second] : [second, first];
    micros.without.push(off);
    micros.with.push(on);
    sums.without += off;
    sums.with += on;
    ratios.push(on / off);
  }
  console.log(`pair ${pair + 1}: with / without ${(sums.with / sums.without).toFixed(3)}`);
}
const shown = (values: readonly number[], digits: number) =>
  [0.5, 0.25, 0.75].map((q) => quantile(values, q).toFixed(digits));
const [ratio, low, high] = shown(ratios, 3);
console.log(`CPU of the server for each GetUser over gRPC, ${PAIRS} pairs of servers, ${ROUNDS} rounds each:`);
console.log(`without metrics ${shown(micros.without, 1)[0]} us, with metrics ${shown(micros.with, 1)[0]} us`);
console.log(`with / without: ${ratio} (half of the rounds between ${low} and ${high})`);

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

async function serve(name: string, env: Record<string, string>) {
  const path = join(directory.path, name);
  await cp(seedPath, path, { recursive: true });
  return startServing('src/main.ts', [], { ...kithEnv(`sqlite:${path}/kith.db`, true), ...env });
}
