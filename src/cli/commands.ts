import { type Config, ConfigError } from '../config/config.ts';
import { backup } from './backup.ts';
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

const COMMANDS: Readonly<Record<string, Command>> = { backup, restore, 'copy-to': copyTo };

/** Throws ConfigError when there is no such command, or its argument is missing. */
export async function runCommand(config: Config, name: string, args: readonly string[]): Promise<void> {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new ConfigError(`there is no command ${name}; npm start -- --help lists them`);
  const [argument, ...rest] = args;
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
