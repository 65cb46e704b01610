import { join } from 'node:path';
import { Client } from 'pg';
import { ActivityService } from '../gen/kith/activity/v1/activity_service_pb.ts';
import { ContactService } from '../gen/kith/contact/v1/contact_service_pb.ts';
import { UserService } from '../gen/kith/user/v1/user_service_pb.ts';
import { startPostgres } from '../test/support/postgres-server.ts';
import { grpcCall, jsonCall } from './calls.ts';
import { checkAnswer } from './check-answer.ts';
import { openSessions, receiveMessages } from './grpc-stream.ts';
import { loadHttp1, measured, type Request, type Run, type ServingProcess, startServing } from './load.ts';
import { quantile } from './report.ts';
import { ACTIVITIES_OF_USER, kithEnv, QUERY_OF_TEN, type Seed, seedDatabase, tokenOfLastPage } from './seed.ts';
import { drawCurves } from './svg.ts';
import type { Outcome } from './targets.ts';

/** What the report shows of growth. */
export interface Growth {
  readonly lines: readonly string[];
  readonly outcomes: readonly Outcome[];
  readonly picture: string;
}

/** How many ids GetUser is asked for in turn. */
const IDS = 20_000;

/** How many messages of a resumed watch of everybody are waited for. */
const MESSAGES = 100;

/** How often a watch is resumed in a round. */
const RESUMES = 20;

const COLUMNS = [
  'GetUser, any of them',
  'ListUsers, first 20',
  'ListUsers, last 20',
  'ListContacts, 10 found by a query',
  `watch of everybody resumed in the middle, ${MESSAGES} messages`,
  `watch of one user resumed in the middle, ${ACTIVITIES_OF_USER / 2} messages`,
] as const;

/** One of the columns, to be measured. */
type Call = (server: ServingProcess) => Promise<Run>;

interface Cost {
  readonly micros: number;
  readonly cpuMicros: number;
}

/**
 * What a call costs in databases with 1,000 users, contacts and activities, say,
 * and with more of each, one call after the other, so that a database in a process
 * of its own counts too. All sizes in turn within each round.
 */
export async function measureGrowth(directory: string, sizes: readonly number[], rounds: number): Promise<Growth> {
  const costs = [
    { name: 'SQLite', of: await inFiles(directory, sizes, rounds) },
    { name: 'PostgreSQL', of: await inPostgres(directory, sizes, rounds) },
  ];
  return {
    lines: costs.flatMap(({ name, of }) => tableOf(name, sizes, of)),
    outcomes: costs.flatMap(({ name, of }) => outcomesOf(name, sizes, of)),
    picture: drawCurves(
      'A call, one after the other, in databases of different sizes',
      costs.map(({ name, of }) => ({
        title: `${name}: median latency, so many times that of the smallest, by users, contacts and activities`,
        steps: sizes.map((size) => size.toLocaleString('en')),
        curves: COLUMNS.map((column, i) => ({
          name: column,
          values: of.map((row) => row[i]!.micros / of[0]![i]!.micros),
        })),
      })),
    ),
  };
}

async function inFiles(directory: string, sizes: readonly number[], rounds: number): Promise<Cost[][]> {
  return measureSizes(directory, sizes, rounds, async (size) => `sqlite:${join(directory, `grown-${size}.db`)}`);
}

async function inPostgres(directory: string, sizes: readonly number[], rounds: number): Promise<Cost[][]> {
  await using postgres = await startPostgres({
    shared_buffers: '1GB',
    max_wal_size: '8GB',
    wal_level: 'minimal',
    max_wal_senders: '0',
    autovacuum: 'off',
  });
  // Awaited here: PostgreSQL stops at the end of this function.
  return await measureSizes(directory, sizes, rounds, async (size) => {
    const client = new Client({ connectionString: postgres.url('postgres') });
    await client.connect();
    await client.query(`create database grown_${size}`);
    await client.end();
    return postgres.url(`grown_${size}`);
  });
}

async function measureSizes(
  directory: string,
  sizes: readonly number[],
  rounds: number,
  create: (size: number) => Promise<string>,
): Promise<Cost[][]> {
  await using opened = new AsyncDisposableStack();
  const grown: { server: ServingProcess; calls: readonly Call[] }[] = [];
  for (const size of sizes) {
    const startMs = performance.now();
    const seed = await seedDatabase(await create(size), { users: size, contacts: size, activities: size });
    console.error(`Growth: ${size.toLocaleString('en')} of each in ${Math.round(performance.now() - startMs)} ms`);
    const server = opened.use(await startServing('src/main.ts', [], kithEnv(seed.databaseUrl, true)));
    const calls = await callsOf(seed, size, server, directory);
    for (const call of calls) await call(server); // until what is called often is compiled
    grown.push({ server, calls });
  }
  const runs = grown.map(({ calls }) => calls.map((): Run[] => []));
  for (let round = 0; round < rounds; round++) {
    for (const column of COLUMNS.keys()) {
      for (const [row, { server, calls }] of grown.entries()) runs[row]![column]!.push(await calls[column]!(server));
    }
    console.error(`Growth: round ${round + 1} of ${rounds} done`);
  }
  const median = (values: readonly number[]) => quantile(values, 0.5);
  return runs.map((row) =>
    row.map((measuredRuns) => ({
      micros: median(measuredRuns.map(({ medianMicros }) => medianMicros ?? Number.NaN)),
      cpuMicros: median(measuredRuns.map(({ cpuMicrosEach }) => cpuMicrosEach)),
    })),
  );
}

/** In the order of the columns. Throws when one of them is refused. */
async function callsOf(seed: Seed, size: number, server: ServingProcess, directory: string): Promise<Call[]> {
  const signed = { authorization: `Bearer ${seed.accessToken}` };
  const listUsers = (fields: object) => jsonCall(UserService.method.listUsers, { pageSize: 20, ...fields }, signed);
  const getUser = jsonCall(UserService.method.getUser, {}, signed);
  // Many: the database has a row cached that was read just before.
  const ids = Array.from({ length: IDS }, () => seed.idOf(Math.floor(Math.random() * size)));
  const unary: Request[] = [
    { ...getUser, bodies: ids.map((userId) => Buffer.from(JSON.stringify({ userId }))) },
    listUsers({}),
    listUsers({ pageToken: tokenOfLastPage(seed) }),
    jsonCall(ContactService.method.listContacts, { query: QUERY_OF_TEN }, signed),
  ];
  for (const request of unary) await checkAnswer(server.address, 1, request);
  const { watchUserActivity } = ActivityService.method;
  const afterCursor = await seed.cursorBefore(size / 2);
  const resume =
    (fields: object, messages: number): Call =>
    (of) =>
      // One more, with which a watch begins.
      resumeAgain(of, grpcCall(watchUserActivity, { afterCursor, ...fields }, signed), messages + 1);
  return [
    ...unary.map(
      (request): Call =>
        (of) =>
          loadHttp1(of, directory, request, { connections: 1, streams: 1, seconds: 1 }),
    ),
    resume({}, MESSAGES),
    resume({ userId: seed.idOf(0) }, ACTIVITIES_OF_USER / 2),
  ];
}

async function resumeAgain(server: ServingProcess, request: Request, messages: number): Promise<Run> {
  const [session] = openSessions(server.address, 1);
  try {
    return await measured(server, async () => {
      const micros: number[] = [];
      for (let n = 0; n < RESUMES; n++) {
        const startMs = performance.now();
        await receiveMessages(session!, request, messages);
        micros.push((performance.now() - startMs) * 1000);
      }
      const medianMicros = quantile(micros, 0.5);
      return { perSecond: 1e6 / medianMicros, requests: RESUMES, medianMicros };
    });
  } finally {
    session!.destroy();
  }
}

function tableOf(database: string, sizes: readonly number[], costs: readonly Cost[][]): string[] {
  return [
    `## Growth on ${database}: median latency of one call after the other, and the server's CPU for each, µs`,
    '',
    `| users, contacts, activities | ${COLUMNS.join(' | ')} |`,
    `| ---: | ${COLUMNS.map(() => '---:').join(' | ')} |`,
    ...sizes.map(
      (size, row) =>
        `| ${size.toLocaleString('en')} | ${costs[row]!.map(({ micros, cpuMicros }) => `${Math.round(micros)}, ${Math.round(cpuMicros)}`).join(' | ')} |`,
    ),
    '',
    'The owner of the contacts that a query looks for has as many as there are, but 25,000 at the most. A resumed watch reads up to 100 activities before it sends the first.',
    '',
  ];
}

function outcomesOf(database: string, sizes: readonly number[], costs: readonly Cost[][]): Outcome[] {
  const [least, most] = [costs[0]!, costs.at(-1)!];
  const [fewest = '', largest = ''] = [sizes[0], sizes.at(-1)].map((size) => size?.toLocaleString('en'));
  const ratio = (what: string, of: Cost, to: Cost): Outcome => ({
    what: `${database}: ${what}`,
    aim: { atMost: 1.5 },
    figure: of.micros / to.micros,
    byCpu: of.cpuMicros / to.cpuMicros,
  });
  return [
    ratio(`GetUser among ${largest} users against ${fewest}`, most[0]!, least[0]!),
    ratio(`ListUsers, the last page of ${largest} users against the first`, most[2]!, most[1]!),
    ratio(`ListUsers, the last page of ${largest} users against the last of ${fewest}`, most[2]!, least[2]!),
  ];
}
