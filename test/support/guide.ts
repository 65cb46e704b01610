import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { ownEnvironment } from './commands.ts';
import type { Step } from './tour.ts';

/** A document that can be followed from top to bottom. */
export interface Guide {
  /** Blocks whose first line names a file, such as ```ts page.ts. */
  readonly files: readonly { readonly name: string; readonly text: string; readonly line: number }[];
  /** Blocks of commands, with the ```json or ```text block that comes next. */
  readonly steps: readonly Step[];
  /** Blocks of `text` that follow no commands: how Kith is started. */
  readonly starts: readonly string[];
}

/** Reads a guide. Throws for a block that nothing would write, run or compare. */
export function readGuide(markdown: string): Guide {
  const files = [];
  const steps: Step[] = [];
  const starts = [];
  let last: 'commands' | 'output' | 'other' = 'other';
  for (const { 1: language, 2: name, 3: block = '', index } of markdown.matchAll(
    /^```([a-z]*)(?: ([^\n]+))?\n(.*?)^```$/gms,
  )) {
    const line = markdown.slice(0, index).split('\n').length + 1;
    if (name !== undefined) {
      files.push({ name, text: block, line });
      last = 'other';
    } else if (language === 'sh') {
      steps.push({ line, commands: block, expected: undefined });
      last = 'commands';
    } else if ((language === 'json' || language === 'text') && last === 'commands') {
      steps.push({ ...steps.pop()!, expected: block });
      last = 'output';
    } else if (language === 'text' && last === 'other' && /^(?:KITH_\w+=\S+ )+npm start\n$/.test(block)) {
      starts.push(block);
    } else {
      throw new Error(`line ${line}: nothing runs this block`);
    }
  }
  return { files, steps, starts };
}

/** What a guide printed so far, and what it left running. Disposing ends that. */
export interface Followed extends AsyncDisposable {
  /** What each step printed, up to the one that failed. */
  readonly outputs: readonly string[];
  /** Undefined when every command of every step succeeded; else what went wrong. */
  readonly failure: string | undefined;
}

/** Writes the files of a guide into a folder. */
export async function writeFiles({ files }: Guide, directory: string, change: (text: string) => string): Promise<void> {
  for (const { name, text } of files) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), change(text));
  }
}

/** Runs the steps in one bash in a folder, which ends with the first command that fails. `npx` finds what is installed there. */
export async function followSteps(steps: readonly Step[], directory: string): Promise<Followed> {
  const npm =
    'npm() { command npm "$@" --prefer-offline --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >&2; }';
  const script = [npm, ...steps.map(({ commands }) => `printf '\\036'\n${commands}`), `printf '\\036END'\nwait`];
  const child = spawn('bash', ['-e', '-c', script.join('\n')], {
    cwd: directory,
    env: { ...ownEnvironment(), npm_config_yes: 'false' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // what it starts ends with it
  });
  const closed = once(child, 'close');
  const stderr = text(child.stderr);
  let stdout = '';
  const finished = new Promise<boolean>((done) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
      if (stdout.includes('\x1eEND')) done(true);
    });
    child.once('exit', () => done(false));
  });
  const kill = async () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // It has ended, and all that it started.
    }
    await closed;
  };
  if (!(await finished)) await kill();
  const parts = stdout.split('\x1e').slice(1);
  const isWhole = parts.at(-1)?.startsWith('END') === true;
  return {
    outputs: isWhole ? parts.slice(0, -1) : parts,
    failure: isWhole ? undefined : await stderr,
    [Symbol.asyncDispose]: kill,
  };
}

/** The guide of a file in docs/guides/, with what tests have in place of the addresses and the password in it. */
export async function guideOf(name: string, replacements: Readonly<Record<string, string>>): Promise<Guide> {
  let markdown = await readFile(resolve('docs/guides', name), 'utf8');
  for (const [there, by] of Object.entries(replacements)) markdown = markdown.replaceAll(there, by);
  return readGuide(markdown);
}
