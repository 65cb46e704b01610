import packageJson from '../../package.json' with { type: 'json' };
import { explainCallFailure } from './client/failures.ts';
import { type Command, CommandError, type Env, UsageError } from './command.ts';
import { EXIT_CODES } from './exit-codes.ts';
import { describeCommand, describeGroup, describeProgram } from './help.ts';
import { findCommand, parseCall } from './parse.ts';
import { commandSections } from './table.ts';
import { openTerminal, type Terminal } from './terminal/terminal.ts';

/** Why a command was ended from outside. */
class Ended extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super('the command was ended');
    this.exitCode = exitCode;
  }
}

/** Options that may come before the name of a command, and take a value. */
const VALUED = new Set(['url', 'profile']);

/** What a command line needs of the process that it runs in. */
export interface Host {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: Env;
  /** Calls the listener at each SIGINT and SIGTERM, which do not end the process any more. */
  onSignal(listener: () => void): void;
  exit(code: number): void;
}

/**
 * Runs the command that the words of a command line name. Returns how to end the process, as docs/cli.md says; undefined for
 * one that goes on, as a server does. Throws what a command of the server throws.
 */
export async function runCommandLine(words: readonly string[], host: Host): Promise<number | undefined> {
  const ended = new AbortController();
  const { stdout, stderr, env } = host;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') stderr.write(`kith: cannot write to standard output: ${error.message}\n`);
    ended.abort(new Ended(error.code === 'EPIPE' ? EXIT_CODES.brokenPipe : EXIT_CODES.failed));
  });
  stderr.on('error', () => {}); // there is nobody left to tell
  const terminal = openTerminal(host, ended.signal);
  const sections = commandSections();
  const commands = new Map(sections.flatMap(({ commands }) => Object.entries(commands)));
  let command: Command | undefined;
  try {
    const found = findCommand(words, new Set(commands.keys()), VALUED);
    command = found && commands.get(found.name);
    if (found === undefined || command === undefined) {
      await printHelp(found?.name, words, sections, terminal);
    } else {
      const { args, words: given, options } = parseCall(found.name, command, found.rest);
      if (options.has('help')) await terminal.print(describeCommand(found.name, command));
      else {
        if (!command.isOfServer) endOnSignals(ended, host);
        await command.run({ args, words: given, options, terminal, env, signal: ended.signal });
        if (command.isOfServer) return undefined;
      }
    }
    await terminal.flush();
    return endOf(ended.signal) ?? EXIT_CODES.ok;
  } catch (error) {
    const exitCode = endOf(ended.signal) ?? explain(error, command, terminal);
    if (exitCode === undefined) throw error;
    return exitCode;
  }
}

function endOf({ aborted, reason }: AbortSignal): number | undefined {
  return aborted ? (reason as Ended).exitCode : undefined;
}

/** Help for the program, or for the commands of a group. */
async function printHelp(
  group: string | undefined,
  words: readonly string[],
  sections: ReturnType<typeof commandSections>,
  terminal: Terminal,
): Promise<void> {
  if (words.includes('--version')) return terminal.print(packageJson.version);
  if (group !== undefined) {
    const inGroup = sections
      .flatMap(({ commands }) => Object.entries(commands))
      .filter(([name]) => name.startsWith(`${group} `));
    const text = describeGroup(group, Object.fromEntries(inGroup));
    if (words.some((word) => word === '--help' || word === '-h')) return terminal.print(text);
    throw new UsageError(`${group} takes a command\n${text}`);
  }
  const { describeSettings } = await import('../config/config.ts');
  await terminal.print(describeProgram(sections));
  await terminal.print(
    `\nSettings of the server are environment variables, also read from a file .env:\n\n${describeSettings()}`,
  );
}

/** The first signal lets the command end what it has begun, and say where; the second ends the process. */
function endOnSignals(ended: AbortController, host: Host): void {
  host.onSignal(() => {
    if (ended.signal.aborted) host.exit(EXIT_CODES.interrupted);
    ended.abort(new Ended(EXIT_CODES.interrupted));
  });
}

/** Says why a command failed. Returns how to end; undefined for what is not of a client, and said by whoever runs it. */
function explain(error: unknown, command: Command | undefined, terminal: Terminal): number | undefined {
  if (error instanceof UsageError || error instanceof CommandError) {
    terminal.note(`kith: ${error.message}`);
    return error instanceof CommandError ? error.exitCode : EXIT_CODES.usage;
  }
  const failure = command?.isOfServer ? undefined : explainCallFailure(error);
  if (failure === undefined) return undefined;
  const [first = '', ...lines] = failure.lines;
  for (const line of [`kith: ${first}`, ...lines]) terminal.note(line);
  return failure.exitCode;
}
