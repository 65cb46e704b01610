import { join } from 'node:path';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { jsonCall } from './calls.ts';
import { checkAnswer } from './check-answer.ts';
import { loadHttp1, startServing } from './load.ts';
import { quantile } from './report.ts';
import { kithEnv, seedDatabase, tokenOfLastPage } from './seed.ts';

/** What more users cost those who ask for one, or for a page. */
export async function growthLines(
  directory: string,
  sizes: readonly number[],
  rounds: number,
  seconds: number,
): Promise<string[]> {
  const rows: string[] = [];
  for (const size of sizes) {
    const grown = await seedDatabase(join(directory, `grown-${size}.db`), size);
    await using server = await startServing('src/main.ts', [], kithEnv(grown.databaseFile, true));
    const signed = { authorization: `Bearer ${grown.accessToken}` };
    // Some at random: what the database has at hand is the same row again and again otherwise.
    const ids = Array.from({ length: 2000 }, () => grown.ids[Math.floor(Math.random() * size)]);
    const get = { ...jsonCall(UserService.method.getUser, {}, signed), bodies: ids.map((id) => jsonOf({ id })) };
    const list = jsonCall(UserService.method.listUsers, {}, signed);
    const pageToken = tokenOfLastPage(grown);
    const medians: number[] = [];
    for (const request of [
      get,
      { ...list, bodies: [jsonOf({ pageSize: 20 })] },
      { ...list, bodies: [jsonOf({ pageSize: 20, pageToken })] },
    ]) {
      await checkAnswer(server.address, 1, request);
      const runs: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const load = { connections: 32, streams: 1, seconds };
        runs.push((await loadHttp1(server, directory, request, load)).cpuMicrosEach);
      }
      medians.push(quantile(runs, 0.5));
    }
    rows.push(`| ${size.toLocaleString('en')} | ${medians.map((micros) => micros.toFixed(1)).join(' | ')} |`);
  }
  return [
    '## Growth, CPU µs of each call (SQLite)',
    '',
    '| users | GetUser, any of them | ListUsers, first 20 | ListUsers, last 20 |',
    '| ---: | ---: | ---: | ---: |',
    ...rows,
    '',
  ];
}

function jsonOf(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
