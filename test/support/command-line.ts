import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { runCommandLine } from '../../src/cli/run.ts';
import { ownEnvironment } from './commands.ts';
import { MAIN, NODE_COMPILE_CACHE } from './process.ts';

/** How a command ended, and what it wrote. */
export interface CommandEnd {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs. */
export interface RunningCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<CommandEnd>;
  readonly stdout: string;
  readonly stderr: string;
  /** Waits until what it has written matches. Throws when it ends without. */
  until(output: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray>;
}

/** A person at a shell: a folder of their own for profiles, and variables. Disposing ends what still runs. */
export interface Shell extends AsyncDisposable {
  readonly directory: string;
  /** Where profiles are. */
  readonly profiles: string;
  /** Runs `kith` to its end; `input` is what it reads. */
  kith(args: readonly string[], options?: { input?: string; env?: Record<string, string> }): Promise<CommandEnd>;
  /** Runs `kith` to its end in this process, which takes less time. */
  kithHere(args: readonly string[], options?: { input?: string; env?: Record<string, string> }): Promise<CommandEnd>;
  /** Starts `kith`, with its standard input open. */
  start(args: readonly string[], options?: { env?: Record<string, string> }): RunningCommand;
}

export async function openShell(env: Record<string, string> = {}): Promise<Shell> {
  const directory = await mkdtemp(join(tmpdir(), 'kith-shell-'));
  const running = new Set<ChildProcess>();
  const start: Shell['start'] = (args, options = {}) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: directory,
      env: {
        ...ownEnvironment(),
        NODE_COMPILE_CACHE,
        HOME: directory,
        XDG_CONFIG_HOME: join(directory, 'config'),
        ...env,
        ...options.env,
      },
    });
    running.add(child);
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text;
        child.emit('output');
      });
    }
    child.stdin.on('error', () => {}); // it may end before it has read everything
    const ended = new Promise<CommandEnd>((resolve, reject) => {
      child.once('error', reject).once('close', (code) => {
        running.delete(child);
        resolve({ code, ...output });
        child.emit('output');
      });
    });
    return {
      child,
      ended,
      get stdout() {
        return output.stdout;
      },
      get stderr() {
        return output.stderr;
      },
      async until(name, pattern) {
        for (;;) {
          const match = pattern.exec(output[name]);
          if (match !== null) return match;
          if (!running.has(child)) throw new Error(`it ended without ${pattern}: ${output.stdout}${output.stderr}`);
          await once(child, 'output');
        }
      },
    };
  };
  return {
    directory,
    profiles: join(directory, 'config/kith'),
    start,
    async kith(args, { input = '', env: more = {} } = {}) {
      const command = start(args, { env: more });
      command.child.stdin!.end(input);
      return command.ended;
    },
    async kithHere(args, { input = '', env: more = {} } = {}) {
      const [stdin, stdout, stderr] = [new PassThrough().end(input), new PassThrough(), new PassThrough()];
      const written = Promise.all([text(stdout), text(stderr)]);
      const code = await runCommandLine(args, {
        stdin: stdin as unknown as NodeJS.ReadStream,
        stdout: stdout as unknown as NodeJS.WriteStream,
        stderr: stderr as unknown as NodeJS.WriteStream,
        env: { HOME: directory, XDG_CONFIG_HOME: join(directory, 'config'), ...env, ...more },
        onSignal: () => {},
        exit: () => {},
      });
      for (const stream of [stdout, stderr]) stream.end();
      const [out, err] = await written;
      return { code: code ?? null, stdout: out, stderr: err };
    },
    async [Symbol.asyncDispose]() {
      for (const child of running) child.kill('SIGKILL');
      await rm(directory, { recursive: true, force: true });
    },
  };
}
