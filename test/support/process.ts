import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fastPathSetting } from './fast-path-setting.ts';

/** The server: as its package has it (test/support/bundle.ts), and of this repository where there is none, as in `npm run check:bounds`. */
export const MAIN = process.env['KITH_TEST_MAIN'] ?? fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** The server as a process of its own. Disposing kills what is left of it. */
export interface KithProcess extends AsyncDisposable {
  readonly pid: number;
  /** The working directory, where ./data and .env are. */
  readonly directory: string;
  /** What was written so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Resolves when the process has ended and all its output was read. */
  readonly exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
  /** Waits until standard error matches. Throws when the process ends without. */
  stderrMatching(pattern: RegExp): Promise<RegExpExecArray>;
}

export interface Exit {
  /** Null when a signal ended the process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that serves. */
export interface ServingProcess extends KithProcess {
  /** As the process printed it. */
  readonly address: string;
}

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Default: a fresh one, removed again. */
  readonly directory?: string;
  /** Numeric user to run as, for what the superuser may do and others may not. */
  readonly uid?: number;
  /** The file to run. Default: MAIN. */
  readonly main?: string;
  /** A command that runs the process in its place, such as `taskset -c 0`. Default: none. */
  readonly command?: readonly string[];
  /** Where standard output goes, a file that is open; `stdout` stays empty then. */
  readonly output?: number;
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Spares a start the compiling; a start is most of what these tests wait for. */
export const { NODE_COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/node', import.meta.url)) } =
  process.env;

/** Starts the process, on any free port unless KITH_PORT says otherwise, and does not wait. */
export async function spawnKith(options: ProcessOptions = {}): Promise<KithProcess> {
  const { env, args = [], directory, uid, main = MAIN, command = [], output: stdout } = options;
  const cwd = directory ?? (await mkdtemp(join(tmpdir(), 'kith-process-')));
  const [file, ...rest] = [...command, process.execPath, main, ...args];
  const child = spawn(file!, rest, {
    cwd,
    // Of the environment the tests run in, nothing else gets through.
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE, KITH_PORT: '0', ...fastPathSetting, ...env },
    stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  running.add(child);
  const output = { stdout: '', stderr: '' };
  const { promise: exited, resolve, reject } = Promise.withResolvers<Exit>();
  exited.catch(() => {}); // not everybody waits for it
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
      child.emit('output');
    });
  }
  child.once('error', reject).once('close', (code, signal) => {
    running.delete(child);
    resolve({ code, signal, ...output });
    child.emit('output');
  });
  const hasEnded = (): boolean => !running.has(child);
  return {
    pid: child.pid ?? 0,
    directory: cwd,
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    exited,
    kill: (signal) => void child.kill(signal),
    async stderrMatching(pattern) {
      for (;;) {
        const match = pattern.exec(output.stderr);
        if (match !== null) return match;
        if (hasEnded()) throw new Error(`the process ended without ${pattern}:\n${output.stderr}`);
        await once(child, 'output');
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited.catch(() => {});
      if (directory === undefined) await rm(cwd, { recursive: true, force: true });
    },
  };
}

/** Starts the process and waits until it is ready. Throws with what it printed when it ends instead. */
export async function startProcess(options: ProcessOptions = {}): Promise<ServingProcess> {
  const started = await spawnKith(options);
  try {
    const [, address = ''] = await started.stderrMatching(/ serves .* at (\S+)\n/);
    const { status } = await probe(`${address}/readyz`);
    if (status !== 200) throw new Error(`/readyz answers ${status}`);
    return Object.defineProperties({ address }, Object.getOwnPropertyDescriptors(started)) as ServingProcess;
  } catch (error) {
    await started[Symbol.asyncDispose]();
    throw error;
  }
}

/** GET on a connection of its own, with whatever certificate. Rejects when nobody answers. */
export function probe(url: string): Promise<{ status: number; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  const get = url.startsWith('https:') ? httpsGet : httpGet;
  get(url, { agent: false, rejectUnauthorized: false }, (response) => {
    let body = '';
    response
      .setEncoding('utf8')
      .on('data', (text: string) => (body += text))
      .on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      .on('error', reject);
  }).on('error', reject);
  return promise;
}
