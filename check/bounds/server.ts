import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServingProcess, startProcess } from '../../test/support/process.ts';

export const ADMIN_PASSWORD = 'admin password of the checker';

const INSIDE = new URL('inside.ts', import.meta.url).href;

/** Whether this machine says what a process has in memory. */
export const hasProc = process.platform === 'linux';

/** The commands that give each process its core: the server the first, all others the last, the attacker behind the others. */
export const commands = pinning();

function pinning(): { server: readonly string[]; neighbours: readonly string[]; attacker: readonly string[] } {
  const cores = availableParallelism();
  if (cores < 2 || !hasTool('taskset')) {
    console.error('!!! no second core, or no taskset: server, clients and attacker share what there is');
    return { server: [], neighbours: [], attacker: [] };
  }
  const core = (number: number) => ['taskset', '-c', String(number)];
  return { server: core(0), neighbours: core(1), attacker: [...core(cores - 1), 'nice', '-n', '5'] };
}

function hasTool(name: string): boolean {
  try {
    execFileSync('which', [name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export interface TargetOptions {
  readonly databaseUrl: string | undefined;
  readonly fastPath: boolean;
  readonly heapMb: number;
  /** The server's main.ts; undefined for that of this repository. */
  readonly main: string | undefined;
  /** Runs the server in its place, to limit its memory for example. */
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Memory {
  /** Bytes of live objects and buffers after a collection. */
  readonly liveBytes: number;
  readonly rssBytes: number;
}

/** A server that is attacked, a process of its own. */
export class Target implements AsyncDisposable {
  readonly process: ServingProcess;
  readonly #log: string;
  readonly #directory: string;
  #logRead = 0;
  #errorsRead: number;
  #sampler: NodeJS.Timeout | undefined;
  #peak = 0;
  #isPeakReset = false;

  private constructor(process: ServingProcess, directory: string, log: string) {
    this.process = process;
    this.#directory = directory;
    this.#log = log;
    this.#errorsRead = process.stderr.length;
  }

  static async start({ databaseUrl, fastPath, heapMb, main, command, env }: TargetOptions): Promise<Target> {
    const directory = await mkdtemp(join(tmpdir(), 'kith-bounds-'));
    const log = join(directory, 'log');
    const output = openSync(log, 'a');
    try {
      const process = await startProcess({
        directory,
        output,
        command: [...command, ...commands.server],
        ...(main !== undefined && { main }),
        env: {
          NODE_OPTIONS: `--max-old-space-size=${heapMb} --expose-gc --import=${INSIDE}`,
          KITH_ADMIN_PASSWORD: ADMIN_PASSWORD,
          KITH_ACCESS_TOKEN_SECONDS: '3600',
          KITH_SHUTDOWN_SECONDS: '1',
          KITH_FAST_PATH: String(fastPath),
          ...(databaseUrl !== undefined && {
            KITH_DATABASE_URL: databaseUrl,
            KITH_SECRET_KEY: Buffer.alloc(32, 7).toString('base64'),
          }),
          ...env,
        },
      });
      return new Target(process, directory, log);
    } finally {
      closeSync(output);
    }
  }

  get port(): number {
    return Number(new URL(this.process.address).port);
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** How the process ended, if it has. */
  async ending(): Promise<string | undefined> {
    const exit = await Promise.race([this.process.exited, sleep(0)]);
    return exit === undefined ? undefined : `${exit.signal ?? exit.code}`;
  }

  /** Collects garbage and says what is left. Undefined when the process does not answer within some seconds. */
  async settle(): Promise<Memory | undefined> {
    const file = join(this.#directory, 'memory.json');
    rmSync(file, { force: true });
    writeFileSync(join(this.#directory, 'settle'), '');
    for (const endMs = performance.now() + 10_000; performance.now() < endMs; await sleep(10)) {
      if (statSync(file, { throwIfNoEntry: false }) === undefined) {
        if ((await this.ending()) !== undefined) return undefined;
        continue;
      }
      const { heapUsed, external, rss } = JSON.parse(readFileSync(file, 'utf8')) as NodeJS.MemoryUsage;
      return { liveBytes: heapUsed + external, rssBytes: rss };
    }
    return undefined;
  }

  /** Bytes in the file of the log. */
  get logBytes(): number {
    return statSync(this.#log).size;
  }

  /** From now on the peak of the resident set is watched. */
  watchPeak(): void {
    this.#peak = 0;
    if (!hasProc) return;
    try {
      writeFileSync(`/proc/${this.process.pid}/clear_refs`, '5'); // resets the peak, proc_pid_clear_refs(5)
      this.#isPeakReset = true;
    } catch {
      this.#isPeakReset = false; // not ours to write: the samples alone count
    }
    clearInterval(this.#sampler);
    this.#sampler = setInterval(() => this.#sample('VmRSS'), 50);
  }

  /** The most that the resident set was since `watchPeak`, bytes; 0 where the machine does not say. */
  readPeak(): number {
    clearInterval(this.#sampler);
    this.#sample(this.#isPeakReset ? 'VmHWM' : 'VmRSS');
    return this.#peak;
  }

  #sample(name: 'VmRSS' | 'VmHWM'): void {
    try {
      const status = readFileSync(`/proc/${this.process.pid}/status`, 'utf8');
      this.#peak = Math.max(
        this.#peak,
        Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024,
      );
    } catch {
      // It has ended.
    }
  }

  /** What the log and standard error have that no caller may cause, since the last time; a few of them. */
  async readFaults(): Promise<string[]> {
    const faults: string[] = [];
    await using file = await open(this.#log);
    const end = this.logBytes;
    if (end > this.#logRead) {
      for await (const line of file.readLines({ start: this.#logRead, end: end - 1, autoClose: false })) {
        if (isExpectedWarning(line)) continue;
        if (!/"level":"(warn|error|fatal)"|"stack"|\n\s+at /.test(line) && line.startsWith('{')) continue;
        if (faults.length < 5) faults.push(`log: ${line.slice(0, 600)}`);
      }
    }
    this.#logRead = end;
    const errors = this.process.stderr.slice(this.#errorsRead);
    this.#errorsRead = this.process.stderr.length;
    const fatal = /^FATAL ERROR.*$/m.exec(errors)?.[0];
    if (errors.trim() !== '') faults.push(`standard error: ${fatal ?? errors.trim().slice(0, 1500)}`);
    return faults;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sampler);
    await this.process[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Warnings that tell an operator of callers, each bounded in number by the server. */
function isExpectedWarning(line: string): boolean {
  return line.includes('"level":"warn"') && /"msg":"(a page of this origin called|refused a connection)/.test(line);
}
