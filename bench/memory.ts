import { once } from 'node:events';
import type { ClientHttp2Session } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { grpcCall } from './calls.ts';
import { openSessions, openStream } from './grpc-stream.ts';
import { residentBytes, startServing } from './load.ts';
import { quantile } from './report.ts';
import type { Outcome } from './targets.ts';

/** What is held open while nothing happens. */
const KINDS = [
  { name: 'connection after one call', watches: 0 },
  { name: 'connection with a watch', watches: 1 },
  { name: 'watch, 100 on a connection', watches: 100 },
] as const;

const SERVERS = [
  { name: 'Kith', server: 'echo-fast-path' },
  { name: 'grpc-js', server: 'echo-grpc-js' },
] as const;

/** What connections and watches cost on which nothing happens: so many of each in a fresh server, as often as there are rounds. */
export async function measureMemory(
  count: number,
  rounds: number,
): Promise<{ readonly lines: readonly string[]; readonly outcomes: readonly Outcome[] }> {
  const runs = SERVERS.map(() => KINDS.map((): number[] => []));
  for (let round = 0; round < rounds; round++) {
    for (const [column, { watches }] of KINDS.entries()) {
      for (const [row, { server }] of SERVERS.entries())
        runs[row]![column]!.push(await memoryOf(server, count, watches));
    }
  }
  const medians = runs.map((row) => row.map((values) => quantile(values, 0.5)));
  const [ours = [], peers = []] = medians;
  return {
    lines: [
      `## Memory for each of ${count.toLocaleString('en')} on which nothing happens, KiB`,
      '',
      `| server | ${KINDS.map(({ name }) => name).join(' | ')} |`,
      `| --- | ${KINDS.map(() => '---:').join(' | ')} |`,
      ...SERVERS.map(({ name }, row) => `| ${name} | ${medians[row]!.map((kib) => kib.toFixed(1)).join(' | ')} |`),
      '',
    ],
    outcomes: KINDS.map(({ name }, column) => ({
      what: `Memory, ${name}: Kith against grpc-js`,
      aim: { atMost: 1 },
      figure: ours[column]! / peers[column]!,
    })),
  };
}

/** KiB for each: connections that made a call, or watches with so many of them on a connection. */
async function memoryOf(name: string, count: number, watchesOfConnection: number): Promise<number> {
  await using server = await startServing('bench/peer.ts', [name]);
  const open = async (many: number) => {
    const sessions = Array.from(
      { length: Math.ceil(many / Math.max(watchesOfConnection, 1)) },
      () => openSessions(server.address, 1)[0]!,
    );
    await Promise.all(
      Array.from({ length: many }, (_, i) =>
        watchesOfConnection === 0 ? callOnce(sessions[i]!) : watch(sessions[Math.floor(i / watchesOfConnection)]!),
      ),
    );
    await sleep(1500);
    return sessions;
  };
  const first = await open(Math.max(20, watchesOfConnection)); // what the first ones load and compile
  const before = await residentBytes(server.pid);
  const sessions = await open(count);
  const after = await residentBytes(server.pid);
  for (const session of [...first, ...sessions]) session.destroy();
  return (after - before) / count / 1024;
}

async function callOnce(session: ClientHttp2Session): Promise<void> {
  const { path, headers, bodies } = grpcCall(UserService.method.getUser, { userId: 'somebody' });
  const stream = session.request({ ...headers, ':method': 'POST', ':path': path });
  stream.end(bodies[0]);
  stream.resume();
  await once(stream, 'close');
}

/** Until its first message has come. */
function watch(session: ClientHttp2Session): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  openStream(session, 'none', ActivityService.method.watchUserActivity, { afterCursor: 'idle' }, () => resolve());
  return promise;
}
