import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadHttp2, type Request, type ServingProcess } from './load.ts';

/** A server to be looked into. */
export interface Profiled {
  readonly name: string;
  /** Starts it with these settings besides its own. */
  readonly start: (env: Readonly<Record<string, string>>) => Promise<ServingProcess>;
}

/** The parts of a call, by where the code is that runs; the first that fits. */
const PARTS: readonly (readonly [part: string, fits: RegExp])[] = [
  ['the database: finding and reading the row', /\/src\/db\//],
  ['Kysely', /\/kysely\//],
  ['messages: reading and writing protobuf', /\/@bufbuild\/protobuf\//],
  ['the rules of the contract', /\/@bufbuild\/(?:protovalidate|cel)\/|quick-check|rpc\/validate/],
  ['gRPC: the fast path', /\/connect-fast\//],
  ['gRPC: grpc-js', /\/@grpc\/|\/bench\/peers\/grpc-js/],
  ["the port's guards", /\/src\/http\//],
  ['the token, access, the request id, the handler', /\/(?:src|gen|bench)\/|\/lru-cache\/|\/jose\//],
  ["Node's HTTP/2, streams and events", /^node:(?:internal\/(?!process)|events|net|timers|http2|_)/],
];
const COLLECTION = 'garbage collection';
const ENGINE = 'turns of the queue of promises, and what the engine does beside';

/** What Node does on behalf of whoever calls it. */
const ON_BEHALF = /^$|^node:(?:crypto|buffer|internal\/(?:crypto|buffer|util|encoding|validators))/;

/**
 * Where the processor time of a call over HTTP/2 goes in each server, as a table in
 * Markdown: what V8's sampling profiler saw while there was load, spread over the
 * time that a call takes when nobody looks.
 */
export async function profileLines(
  title: string,
  servers: readonly Profiled[],
  directory: string,
  request: Request,
  seconds: number,
): Promise<string[]> {
  const amount = { connections: 8, streams: 16, seconds };
  const tables: ReadonlyMap<string, number>[] = [];
  for (const { name, start } of servers) {
    const profiles = join(directory, `profile of ${name}`);
    await mkdir(profiles);
    let window: Window;
    let microsEach: number;
    {
      await using alone = await start({});
      await loadHttp2(alone, directory, request, amount);
      microsEach = (await loadHttp2(alone, directory, request, amount)).cpuMicrosEach;
    }
    {
      await using server = await start({
        NODE_OPTIONS: `--cpu-prof --cpu-prof-interval=200 --cpu-prof-dir="${profiles}"`,
      });
      await loadHttp2(server, directory, request, amount); // until what is called often is compiled
      const fromMicros = nowMicros();
      await loadHttp2(server, directory, request, amount);
      window = { fromMicros, toMicros: nowMicros() };
    }
    tables.push(microsByPart(await readProfile(profiles), window, microsEach));
  }
  const parts = [...new Set([...PARTS.map(([part]) => part), COLLECTION, ENGINE])];
  const row = (part: string) =>
    `| ${part} | ${tables.map((micros) => (micros.get(part) ?? 0).toFixed(1)).join(' | ')} |`;
  const sums = tables.map((micros) => [...micros.values()].reduce((sum, each) => sum + each, 0).toFixed(1));
  return [
    `## ${title}`,
    '',
    `| CPU µs each | ${servers.map(({ name }) => name).join(' | ')} |`,
    `| --- | ${servers.map(() => '---:').join(' | ')} |`,
    ...parts.map(row),
    `| in all | ${sums.join(' | ')} |`,
    '',
  ];
}

/** On the clock of profiles. */
interface Window {
  readonly fromMicros: number;
  readonly toMicros: number;
}

/** https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile; times in microseconds. */
interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly children?: readonly number[];
}

function nowMicros(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** That of the main thread: names end with process, thread and number. */
async function readProfile(directory: string): Promise<Profile> {
  const name = (await readdir(directory)).find((file) => /\.0\.\d+\.cpuprofile$/.test(file));
  if (name === undefined) throw new Error('the server wrote no profile');
  return JSON.parse(await readFile(join(directory, name), 'utf8')) as Profile;
}

function microsByPart(profile: Profile, window: Window, microsEach: number): ReadonlyMap<string, number> {
  const partOf = partsOf(profile);
  const spent = new Map<string, number>();
  let all = 0;
  let atMicros = profile.startTime;
  for (const [i, sample] of profile.samples.entries()) {
    const delta = profile.timeDeltas[i] ?? 0;
    atMicros += delta;
    const part = partOf.get(sample);
    if (atMicros < window.fromMicros || atMicros > window.toMicros || part === undefined) continue;
    spent.set(part, (spent.get(part) ?? 0) + delta);
    all += delta;
  }
  return new Map([...spent].map(([part, micros]) => [part, (micros / all) * microsEach]));
}

/** The part that each node belongs to; none while there is nothing to do. */
function partsOf({ nodes }: Profile): ReadonlyMap<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const partOf = new Map<number, string>();
  const visit = (id: number, callers: string): void => {
    const node = byId.get(id);
    if (node === undefined) return;
    const { functionName, url } = node.callFrame;
    const own = ON_BEHALF.test(url) ? callers : (PARTS.find(([, fits]) => fits.test(url))?.[0] ?? ENGINE);
    const part = functionName === '(garbage collector)' ? COLLECTION : own;
    if (functionName !== '(idle)') partOf.set(id, part);
    for (const child of node.children ?? []) visit(child, part);
  };
  const [root] = nodes;
  if (root !== undefined) visit(root.id, ENGINE);
  return partOf;
}
