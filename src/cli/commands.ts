import { type Config, ConfigError } from '../config/config.ts';
import { backup } from './backup.ts';
import { contractExport } from './contract-export.ts';
import { copyTo } from './copy-to.ts';
import { restore } from './restore.ts';

/** What the program does instead of serving. */
export interface Command {
  /** The one argument it takes. */
  readonly argument: string;
  readonly help: string;
  /** Throws DatabaseError for what the operator can mend. Prints what it did. */
  run(config: Config, argument: string): Promise<void>;
}

/** By name, of one word or two. */
const COMMANDS: Readonly<Record<string, Command>> = {
  backup,
  restore,
  'copy-to': copyTo,
  'contract export': contractExport,
};

/** `words` are the name of a command and its argument. Throws ConfigError when there is no such command, or its argument is missing. */
export async function runCommand(config: Config, words: readonly string[]): Promise<void> {
  const length = [1, 2].find((count) => Object.hasOwn(COMMANDS, words.slice(0, count).join(' ')));
  const name = words.slice(0, length ?? 1).join(' ');
  const command = length === undefined ? undefined : COMMANDS[name];
  if (command === undefined) throw new ConfigError(`there is no command ${name}; npm start -- --help lists them`);
  const [argument, ...rest] = words.slice(length);
  if (argument === undefined || rest.length > 0) {
    throw new ConfigError(`usage: npm run kith -- ${name} ${command.argument}`);
  }
  await command.run(config, argument);
}

/** The commands as a text for people. */
export function describeCommands(): string {
  return Object.entries(COMMANDS)
    .map(([name, { argument, help }]) => `  ${name} ${argument}\n      ${help}`)
    .join('\n');
}
