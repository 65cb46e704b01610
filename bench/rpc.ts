/**
 * Measures calls and streams of Kith beside grpc-js, nice-grpc, stock Connect,
 * plain Fastify and bare Node, what serialisation, memory and growth cost, all in
 * one run: `npm run bench`, with --quick for a short look, --only TEXT for groups
 * and parts whose title holds it (parts: where the time goes, growth, memory,
 * serialisation), --sizes
 * N,N for growth.
 */
import { cp, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startPostgres } from '../test/support/postgres-server.ts';
import { checkAnswer } from './check-answer.ts';
import { measureGrowth } from './growth.ts';
import {
  echoGroups,
  getUserCall,
  type Group,
  postgresGroups,
  realGroups,
  streamGroups,
  TARGETS,
  type Variant,
} from './groups.ts';
import {
  findTools,
  isPinned,
  loadHttp1,
  loadHttp2,
  moveToLoadCore,
  type Run,
  type ServingProcess,
  startServing,
} from './load.ts';
import { measureMemory } from './memory.ts';
import { loadRecording } from './recording.ts';
import { loadReplay } from './replay.ts';
import { profileLines } from './profile.ts';
import { quantile, writeReport } from './report.ts';
import { kithEnv, type Seed, seedDatabase } from './seed.ts';
import { serialisationLines } from './serialisation.ts';
import { type BarGroup, drawBars } from './svg.ts';
import { type Outcome, targetLines } from './targets.ts';

const { values: asked } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    sizes: { type: 'string' },
  },
});
const AMOUNTS = asked.quick
  ? {
      rounds: 2,
      minorRounds: 1,
      growthRounds: 1,
      profileSeconds: 2,
      seconds: 1,
      warmUpSeconds: 1,
      activities: 4000,
      idle: 300,
      sizes: '1000,10000',
    }
  : {
      rounds: 7,
      minorRounds: 3,
      growthRounds: 5,
      profileSeconds: 6,
      seconds: 2,
      warmUpSeconds: 2,
      activities: 20_000,
      idle: 2000,
      sizes: '1000,100000,1000000',
    };

const directory = await mkdtempDisposable(join(tmpdir(), 'kith-bench-'));
await using opened = new AsyncDisposableStack();
opened.use(directory);
const tools = findTools();
moveToLoadCore();
const servers = new Map<string, ServingProcess>();
const startMs = performance.now();
const busy = loadavg()[0] ?? 0;

const seed = await seedDatabase(`sqlite:${join(directory.path, 'seed.db')}`, {
  users: 1000,
  contacts: 0,
  activities: 2 * AMOUNTS.activities,
});
const replay = { afterCursor: await seed.cursorBefore(AMOUNTS.activities), messages: AMOUNTS.activities };
let copies = 0;
const results = new Map<Group, Map<Variant, Run[]>>();
await measureGroups([...echoGroups(), ...streamGroups(asked.quick), ...realGroups(seed, replay, asked.quick)]);
let postgresUrl: string | undefined;
if (isAsked('GetUser on PostgreSQL over gRPC')) {
  const postgres = opened.use(await startPostgres());
  postgresUrl = postgres.url('postgres');
  await measureGroups(postgresGroups(await seedDatabase(postgresUrl, { users: 1000, contacts: 0, activities: 0 })));
}
await stopServers();

const lines: string[] = [];
for (const [group, runs] of results) lines.push(...tableOf(group, runs));
const outcomes = groupOutcomes();
const profileTitle = 'Where the time of GetUser over gRPC goes';
if (isAsked(profileTitle) && tools.h2load) {
  const profiled = (name: string, server: string) => ({
    name,
    start: (env: Readonly<Record<string, string>>) => startNamed(server, env),
  });
  const servers = [profiled('Kith', 'kith'), profiled('grpc-js', 'users-grpc-js')];
  lines.push(...(await profileLines(profileTitle, servers, directory.path, getUserCall(seed), AMOUNTS.profileSeconds)));
}
if (isAsked('Size and serialisation')) lines.push(...serialisationLines(AMOUNTS.rounds));
if (isAsked('Memory')) {
  const memory = await measureMemory(AMOUNTS.idle, AMOUNTS.minorRounds);
  lines.push(...memory.lines);
  outcomes.push(...memory.outcomes);
}
let growthPicture: string | undefined;
if (isAsked('Growth') && tools.wrk) {
  const sizes = (asked.sizes ?? AMOUNTS.sizes).split(',').map(Number);
  const growth = await measureGrowth(directory.path, sizes, AMOUNTS.growthRounds);
  lines.push(...growth.lines);
  outcomes.push(...growth.outcomes);
  growthPicture = growth.picture;
}
const minutes = (performance.now() - startMs) / 60_000;
const report = [
  `Node ${process.versions.node}; ${isPinned ? 'each server alone on one core, the load and PostgreSQL on another' : 'SERVER AND LOAD SHARE THE CORES'}; ${AMOUNTS.rounds} rounds of ${AMOUNTS.seconds} s, or ${AMOUNTS.minorRounds} where nothing is aimed at, all peers in turn within each; medians, and the least and the most. The machine had ${busy.toFixed(1)} other tasks running at the start; the run took ${minutes.toFixed(0)} minutes.${tools.h2load && tools.wrk ? '' : ' A LOAD GENERATOR WAS MISSING: what needs it is left out.'}`,
  '',
  'CPU is what the server used for each request, user and system: it tells more than requests a second where the machine has other work. That of PostgreSQL is not in it.',
  '',
  ...targetLines(outcomes),
  ...lines,
];
// A short look is no result to keep.
if (asked.quick || asked.only !== '') console.log(report.join('\n'));
else {
  const pictures = [
    '![Calls a second on one core](rpc.svg)',
    ...(growthPicture === undefined ? [] : ['', '![Growth](growth.svg)']),
  ];
  await writeReport('rpc', 'npm run bench', [...report, ...pictures]);
  await writeFile('bench/results/rpc.svg', drawBars('Calls a second on one core', [...results].map(barsOf)));
  if (growthPicture !== undefined) await writeFile('bench/results/growth.svg', growthPicture);
}

function isAsked(title: string): boolean {
  return title.toLowerCase().includes(asked.only.toLowerCase());
}

async function measureGroups(all: readonly Group[]): Promise<void> {
  for (const group of all) {
    const variants = group.variants.filter(canMeasure);
    if (!isAsked(group.title) || variants.length === 0) continue;
    const measuredGroup = { ...group, variants };
    results.set(measuredGroup, await measureGroup(measuredGroup));
  }
}

function canMeasure({ http }: Variant): boolean {
  return http === 2 ? tools.h2load : tools.wrk || tools.h2load;
}

/** The server of this name, started when it is first needed. Each of the real ones has a database of its own. */
async function serverOf(name: string): Promise<ServingProcess> {
  const running = servers.get(name);
  if (running !== undefined) return running;
  const started = opened.use(await startNamed(name));
  servers.set(name, started);
  return started;
}

async function startNamed(name: string, added: Readonly<Record<string, string>> = {}): Promise<ServingProcess> {
  if (name.startsWith('echo-')) return startServing('bench/peer.ts', [name], added);
  const kind = name.replace(/-postgres$/, '');
  const databaseUrl = kind === name ? await copyOf(seed, name) : (postgresUrl ?? '');
  const env = { ...kithEnv(databaseUrl, kind !== 'kith-connect'), ...added };
  return kind.startsWith('kith') ? startServing('src/main.ts', [], env) : startServing('bench/peer.ts', [kind], env);
}

/** A database file for one server alone. */
async function copyOf({ databaseUrl }: Seed, name: string): Promise<string> {
  const file = join(directory.path, `${name}-${++copies}.db`);
  await cp(databaseUrl.slice('sqlite:'.length), file);
  return `sqlite:${file}`;
}

/** What is measured alone has the machine alone. */
async function stopServers(): Promise<void> {
  for (const server of servers.values()) await server[Symbol.asyncDispose]();
  servers.clear();
}

async function measureGroup(group: Group): Promise<Map<Variant, Run[]>> {
  const runs = new Map<Variant, Run[]>();
  for (const variant of group.variants) {
    const server = await serverOf(variant.server);
    // A watch does not end by itself: whether it succeeds shows when it is read.
    if (variant.messages === undefined && variant.recording === undefined)
      await checkAnswer(server.address, variant.http, variant.request);
    await run(variant, AMOUNTS.warmUpSeconds); // until what is called often is compiled
    runs.set(variant, []);
  }
  const rounds = group.isMinor === true ? AMOUNTS.minorRounds : AMOUNTS.rounds;
  for (let round = 0; round < rounds; round++) {
    // There and back, so that nobody always comes after the same one.
    for (const variant of round % 2 === 0 ? group.variants : group.variants.toReversed()) {
      runs.get(variant)?.push(await run(variant, AMOUNTS.seconds));
    }
  }
  const each = group.each ?? 1;
  for (const [variant, measured] of runs) {
    runs.set(
      variant,
      measured.map(({ perSecond, cpuMicrosEach }) => ({
        perSecond: perSecond * each,
        cpuMicrosEach: cpuMicrosEach / each,
      })),
    );
    const median = quantile(runs.get(variant)?.map(({ perSecond }) => perSecond) ?? [], 0.5);
    console.error(`${group.title}: ${variant.name}: ${Math.round(median).toLocaleString('en')} ${group.unit}`);
  }
  return runs;
}

async function run(
  { server: name, http, request, amount, messages, recording }: Variant,
  seconds: number,
): Promise<Run> {
  const server = await serverOf(name);
  if (recording !== undefined) return loadRecording(server, recording, seconds);
  if (messages !== undefined) return loadReplay(server, request, { messages, streams: 1, seconds, ...amount });
  if (http === 1) {
    const load = { connections: 32, streams: 1, seconds, ...amount };
    return tools.wrk && amount?.requests === undefined
      ? loadHttp1(server, directory.path, request, load)
      : loadHttp2(server, directory.path, request, load, true);
  }
  return loadHttp2(server, directory.path, request, { connections: 8, streams: 16, seconds, ...amount });
}

interface Medians {
  readonly perSecond: number;
  readonly least: number;
  readonly most: number;
  readonly cpu: number;
}

function mediansOf(runs: readonly Run[]): Medians {
  const perSecond = runs.map((run) => run.perSecond);
  return {
    perSecond: quantile(perSecond, 0.5),
    least: Math.min(...perSecond),
    most: Math.max(...perSecond),
    cpu: quantile(
      runs.map((run) => run.cpuMicrosEach),
      0.5,
    ),
  };
}

function tableOf({ title, unit, variants }: Group, runs: ReadonlyMap<Variant, readonly Run[]>): string[] {
  const ours = mediansOf(runs.get(variants.find(({ isOurs }) => isOurs === true) ?? variants[0]!) ?? []);
  return [
    `## ${title}`,
    '',
    `| server | ${unit} | least to most | Kith is so many times as fast | CPU µs each | Kith takes so much of it |`,
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    ...[...runs].map(([{ name }, measured]) => {
      const { perSecond, least, most, cpu } = mediansOf(measured);
      return `| ${name} | ${whole(perSecond)} | ${whole(least)} to ${whole(most)} | ${(ours.perSecond / perSecond).toFixed(2)} | ${cpu.toFixed(1)} | ${(ours.cpu / cpu).toFixed(2)} |`;
    }),
    '',
  ];
}

function groupOutcomes(): Outcome[] {
  return TARGETS.flatMap(({ group: title, ours, peer, atLeast }) => {
    const [, runs] = [...results].find(([group]) => group.title === title) ?? [];
    const of = (name: string) => {
      const found = [...(runs ?? [])].find(([variant]) => variant.name === name);
      return found && mediansOf(found[1]);
    };
    const [mine, theirs] = [of(ours), of(peer)];
    if (mine === undefined || theirs === undefined) return [];
    return [
      {
        what: `${title}: ${ours} against ${peer}`,
        aim: { atLeast },
        figure: mine.perSecond / theirs.perSecond,
        byCpu: theirs.cpu / mine.cpu,
      },
    ];
  });
}

function barsOf([{ title, unit, variants }, runs]: [Group, Map<Variant, Run[]>]): BarGroup {
  return {
    title: `${title}, ${unit}`,
    bars: variants.map((variant) => ({
      name: variant.name,
      value: mediansOf(runs.get(variant) ?? []).perSecond,
      isOurs: variant.isOurs === true,
    })),
  };
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en');
}
