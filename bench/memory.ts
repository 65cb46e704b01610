import { setTimeout as sleep } from 'node:timers/promises';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { openSessions, openStream } from './grpc-stream.ts';
import { residentBytes, startServing } from './load.ts';

/** What connections and streams cost on which nothing happens. */
export async function memoryLines(count: number): Promise<string[]> {
  const rows: string[] = [];
  for (const [name, server] of [
    ['Kith', 'echo-lane'],
    ['grpc-js', 'echo-grpc-js'],
  ] as const) {
    const connections = await memoryOf(server, count, 1);
    const streams = await memoryOf(server, count, 100);
    rows.push(`| ${name} | ${connections.toFixed(1)} KiB | ${streams.toFixed(1)} KiB |`);
  }
  return [
    '## Memory',
    '',
    `| server | each of ${count} connections with a stream on which nothing happens | each of ${count} such streams, 100 to a connection |`,
    '| --- | ---: | ---: |',
    ...rows,
    '',
  ];
}

/** KiB for each stream, with so many of them on a connection. */
async function memoryOf(name: string, count: number, streamsOfConnection: number): Promise<number> {
  await using server = await startServing('bench/peer.ts', [name]);
  const open = async (streams: number) => {
    const sessions = Array.from(
      { length: Math.ceil(streams / streamsOfConnection) },
      () => openSessions(server.address, 1)[0]!,
    );
    const started = Array.from({ length: streams }, (_, i) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const session = sessions[Math.floor(i / streamsOfConnection)]!;
      openStream(session, 'none', ActivityService.method.watchUserActivity, { afterCursor: 'idle' }, () => resolve());
      return promise;
    });
    await Promise.all(started);
    await sleep(1500);
    return sessions;
  };
  const first = await open(Math.max(20, streamsOfConnection)); // what the first ones load and compile
  const before = await residentBytes(server.pid);
  const sessions = await open(count);
  const after = await residentBytes(server.pid);
  for (const session of [...first, ...sessions]) session.destroy();
  return (after - before) / count / 1024;
}
