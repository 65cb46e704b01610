/**
 * Measures unary calls and streams of Kith beside grpc-js, stock Connect, plain
 * Fastify and bare Node, all in one run: `npm run bench`, with --quick for a short
 * look, --only TEXT for groups whose title holds it, --users N,N for growth.
 */
import { cp, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkAnswer } from './check-answer.ts';
import { growthLines } from './growth.ts';
import { echoGroups, type Group, realGroups, streamGroups, TARGETS, type Variant } from './groups.ts';
import { findTools, isPinned, loadHttp1, loadHttp2, type Run, type ServingProcess, startServing } from './load.ts';
import { memoryLines } from './memory.ts';
import { quantile, writeReport } from './report.ts';
import { kithEnv, seedDatabase } from './seed.ts';
import { type BarGroup, drawBars } from './svg.ts';

const { values: asked } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    users: { type: 'string', default: '1000,100000' },
  },
});
const ROUNDS = asked.quick ? 3 : 7;
const SECONDS = asked.quick ? 1 : 3;

const directory = await mkdtempDisposable(join(tmpdir(), 'kith-bench-'));
await using opened = new AsyncDisposableStack();
opened.use(directory);
const tools = findTools();
const servers = new Map<string, ServingProcess>();

const seed = await seedDatabase(join(directory.path, 'seed.db'), 1000);
const groups = [...echoGroups(), ...streamGroups(asked.quick), ...realGroups(seed, asked.quick)]
  .filter(({ title }) => title.includes(asked.only))
  .map((group) => ({ ...group, variants: group.variants.filter(canMeasure) }))
  .filter(({ variants }) => variants.length > 0);

const busy = loadavg()[0] ?? 0;
const results = new Map<Group, Map<Variant, Run[]>>();
for (const group of groups) results.set(group, await measureGroup(group));

const lines: string[] = [];
for (const [group, runs] of results) lines.push(...tableOf(group, runs));
lines.push(...targetLines());
if (asked.only === '') lines.push(...(await memoryLines(asked.quick ? 300 : 2000)));
if (asked.only === '' && !asked.quick)
  lines.push(...(await growthLines(directory.path, asked.users.split(',').map(Number), ROUNDS, SECONDS)));
const report = [
  `Node ${process.versions.node}; ${isPinned ? 'each server alone on one core, the load on another' : 'SERVER AND LOAD SHARE THE CORES'}; ${ROUNDS} rounds of ${SECONDS} s, all peers in turn within each; medians, and the least and the most. The machine had ${busy.toFixed(1)} other tasks running at the start.${tools.h2load && tools.wrk ? '' : ' A LOAD GENERATOR WAS MISSING: what needs it is left out.'}`,
  '',
  'CPU is what the server used for each request, user and system: it tells more than requests a second where the machine has other work.',
  '',
  ...lines,
];
// A short look is no result to keep.
if (asked.quick || asked.only !== '') console.log(report.join('\n'));
else {
  await writeReport('rpc', 'npm run bench', report);
  await writeFile('bench/results/rpc.svg', drawBars('Calls a second on one core', [...results].map(barsOf)));
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

async function startNamed(name: string): Promise<ServingProcess> {
  if (name.startsWith('echo-')) return startServing('bench/peer.ts', [name]);
  const databaseFile = join(directory.path, `${name}.db`);
  await cp(seed.databaseFile, databaseFile);
  const env = kithEnv(databaseFile, name !== 'kith-connect');
  return name.startsWith('kith') ? startServing('src/main.ts', [], env) : startServing('bench/peer.ts', [name], env);
}

async function measureGroup(group: Group): Promise<Map<Variant, Run[]>> {
  const runs = new Map<Variant, Run[]>();
  for (const variant of group.variants) {
    const server = await serverOf(variant.server);
    await checkAnswer(server.address, variant.http, variant.request);
    await run(variant, asked.quick ? 1 : 4); // until what is called often is compiled
    runs.set(variant, []);
  }
  for (let round = 0; round < ROUNDS; round++) {
    // There and back, so that nobody always comes after the same one.
    for (const variant of round % 2 === 0 ? group.variants : group.variants.toReversed()) {
      runs.get(variant)?.push(await run(variant, SECONDS));
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

async function run({ server: name, http, request, amount }: Variant, seconds: number): Promise<Run> {
  const server = await serverOf(name);
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

function targetLines(): string[] {
  const rows = TARGETS.flatMap(({ group: title, ours, peer, atLeast }) => {
    const [, runs] = [...results].find(([group]) => group.title === title) ?? [];
    const of = (name: string) => {
      const found = [...(runs ?? [])].find(([variant]) => variant.name === name);
      return found && mediansOf(found[1]);
    };
    const [mine, theirs] = [of(ours), of(peer)];
    if (mine === undefined || theirs === undefined) return [];
    const ratio = mine.perSecond / theirs.perSecond;
    const cpuRatio = theirs.cpu / mine.cpu;
    return [
      `| ${title}: ${ours} against ${peer} | ${atLeast} | ${ratio.toFixed(2)} | ${cpuRatio.toFixed(2)} | ${ratio >= atLeast ? 'yes' : 'NO'} |`,
    ];
  });
  return [
    '## What is aimed at',
    '',
    '| ratio of medians | at least | calls a second | by CPU | reached |',
    '| --- | ---: | ---: | ---: | --- |',
    ...rows,
    '',
  ];
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
