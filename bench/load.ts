import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { text } from 'node:stream/consumers';

/** What is sent again and again. */
export interface Request {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent in turn where the tool can, otherwise the first alone. None: GET. */
  readonly bodies: readonly Uint8Array[];
}

/** What one run showed. */
export interface Run {
  readonly perSecond: number;
  /** Of the server, user and system, microseconds. */
  readonly cpuMicrosEach: number;
  /** Half of the requests took less, microseconds; where the tool tells. */
  readonly medianMicros?: number;
}

/** How much load. */
export interface Amount {
  readonly connections: number;
  /** At once on each connection; 1 over HTTP/1.1. */
  readonly streams: number;
  /** Either for so many seconds, or so many requests. */
  readonly seconds: number;
  readonly requests?: number;
}

/** The server has the first core for itself, and the load the second, where there are two and `taskset`. */
export const isPinned = availableParallelism() > 1 && hasTool('taskset');

/** Has this process, and what it starts from now on, use the core of the load. */
export function moveToLoadCore(): void {
  if (isPinned) execFileSync('taskset', ['-acp', '1', String(process.pid)], { stdio: 'ignore' });
}

export function hasTool(name: string): boolean {
  try {
    execFileSync('which', [name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * Which of the tools are there, h2load for HTTP/2 and wrk for HTTP/1.1; root has
 * Debian's packages installed where one is missing.
 */
export function findTools(): { h2load: boolean; wrk: boolean } {
  if ((!hasTool('h2load') || !hasTool('wrk')) && process.getuid?.() === 0 && hasTool('apt-get')) {
    try {
      execFileSync('apt-get', ['install', '-y', '-q', 'nghttp2-client', 'wrk'], { stdio: 'ignore' });
    } catch {
      // What is missing is said below.
    }
  }
  const found = { h2load: hasTool('h2load'), wrk: hasTool('wrk') };
  if (!found.h2load) console.error('!!! h2load is missing (Debian: nghttp2-client): NOTHING OVER HTTP/2 IS MEASURED');
  if (!found.wrk) console.error('!!! wrk is missing (Debian: wrk): HTTP/1.1 is measured with h2load, if that is there');
  if (!isPinned) console.error('!!! no second core, or no taskset: server and load share what there is');
  return found;
}

/** A server in a process of its own. Disposing ends it. */
export interface ServingProcess extends AsyncDisposable {
  readonly address: string;
  readonly pid: number;
}

/** Starts `node SCRIPT ARGS` (SCRIPT from the top of the repository) on the server's core, and waits until it says where it serves. */
export async function startServing(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ServingProcess> {
  const command = [process.execPath, fileURLToPath(new URL(`../${script}`, import.meta.url)), ...args];
  const [file = '', ...rest] = isPinned ? ['taskset', '-c', '0', ...command] : command;
  const child = spawn(file, rest, {
    stdio: ['ignore', 'ignore', 'pipe'],
    // What is set for Node is set for all servers.
    env: { PATH: process.env['PATH'], NODE_OPTIONS: process.env['NODE_OPTIONS'], ...env },
  });
  const address = await addressFrom(child);
  return {
    address,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const tooLong = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await ended;
      clearTimeout(tooLong);
    },
  };
}

function addressFrom(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
      const [, address] = /\bserves .*at (http:\S+)\n/.exec(said) ?? [];
      if (address !== undefined) resolve(address.replace('localhost', '127.0.0.1'));
    });
    child.once('error', reject).once('exit', () => reject(new Error(`the server ended:\n${said}`)));
  });
}

/** Puts load on a server over HTTP/2 with h2load. Throws when a request fails. */
export async function loadHttp2(
  server: ServingProcess,
  directory: string,
  request: Request,
  amount: Amount,
  version1 = false,
): Promise<Run> {
  const bodyFile = join(directory, 'body.bin');
  const [body] = request.bodies;
  if (body !== undefined) await writeFile(bodyFile, body);
  return measured(server, async () => {
    const output = await loading('h2load', [
      ...(version1 ? ['--h1'] : []),
      ...(amount.requests === undefined ? [`--duration=${amount.seconds}`] : [`--requests=${amount.requests}`]),
      `--clients=${amount.connections}`,
      `--max-concurrent-streams=${amount.streams}`,
      '--threads=1',
      ...Object.entries(request.headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]),
      ...(body === undefined ? [] : ['--data', bodyFile]),
      server.address + request.path,
    ]);
    const [, finished = ''] = /finished in \S+, ([\d.]+) req\/s/.exec(output) ?? [];
    const [, done, failed] = /requests: .* (\d+) succeeded, (\d+) failed/.exec(output) ?? [];
    if (failed !== '0' || !/ 0 4xx, 0 5xx/.test(output)) throw new Error(`requests failed:\n${output}`);
    return { perSecond: Number(finished), requests: Number(done) };
  });
}

/** Puts load on a server over HTTP/1.1 with wrk. Throws when a request fails. */
export async function loadHttp1(
  server: ServingProcess,
  directory: string,
  request: Request,
  amount: Amount,
): Promise<Run> {
  const script = join(directory, 'wrk.lua');
  await writeFile(script, wrkScript(request));
  return measured(server, async () => {
    const output = await loading('wrk', [
      '--threads=1',
      `--connections=${amount.connections}`,
      `--duration=${amount.seconds}s`,
      '--latency',
      `--script=${script}`,
      server.address + request.path,
    ]);
    const [, requests] = /(\d+) requests in/.exec(output) ?? [];
    const [, perSecond] = /Requests\/sec:\s+([\d.]+)/.exec(output) ?? [];
    const [, median, unit] = /50%\s+([\d.]+)(us|ms|s)/.exec(output) ?? [];
    if (/Non-2xx|Socket errors/.test(output)) throw new Error(`requests failed:\n${output}`);
    return { perSecond: Number(perSecond), requests: Number(requests), medianMicros: microsOf(median, unit) };
  });
}

function microsOf(value: string | undefined, unit: string | undefined): number {
  return Number(value) * (unit === 's' ? 1e6 : unit === 'ms' ? 1e3 : 1);
}

function wrkScript({ path, headers, bodies }: Request): string {
  const quoted = (bytes: Uint8Array | string) =>
    `"${[...Buffer.from(bytes)].map((byte) => `\\${String(byte).padStart(3, '0')}`).join('')}"`;
  return [
    ...Object.entries(headers).map(([name, value]) => `wrk.headers[${quoted(name)}] = ${quoted(value)}`),
    `local method, path, bodies = "${bodies.length === 0 ? 'GET' : 'POST'}", ${quoted(path)}, {${bodies.map(quoted).join(',')}}`,
    'local requests, n = {}, 0',
    'function init()',
    '  for i = 1, math.max(1, #bodies) do requests[i] = wrk.format(method, path, nil, bodies[i]) end',
    'end',
    'function request() n = n % #requests + 1; return requests[n] end',
  ].join('\n');
}

/** Adds what the server used of its CPU to what a run showed. */
export async function measured(
  server: ServingProcess,
  run: () => Promise<Omit<Run, 'cpuMicrosEach'> & { readonly requests: number }>,
): Promise<Run> {
  const before = await cpuMicros(server.pid);
  const { requests, ...shown } = await run();
  const after = await cpuMicros(server.pid);
  return { ...shown, cpuMicrosEach: (after - before) / requests };
}

async function loading(tool: string, args: readonly string[]): Promise<string> {
  const [file, ...rest] = isPinned ? ['taskset', '-c', '1', tool, ...args] : [tool, ...args];
  const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (output === '') throw new Error(`${tool}: ${errors}`);
  return output;
}

/** What the threads of a process have run for, which Linux counts in nanoseconds: https://docs.kernel.org/scheduler/sched-stats.html */
async function cpuMicros(pid: number): Promise<number> {
  let nanos = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    nanos += Number((await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')).split(' ')[0]);
  }
  return nanos / 1000;
}

/** What Linux counts as held in memory. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
