import { type Config, ConfigError } from '../config/config.ts';
import { OPERATOR_COMMANDS } from './operator-commands.ts';

/**
 * Runs a command of the operator. `words` are its name and its argument. Throws ConfigError when there is no such command,
 * or its argument is missing.
 */
export async function runCommand(config: Config, words: readonly string[]): Promise<void> {
  const length = [1, 2].find((count) => Object.hasOwn(OPERATOR_COMMANDS, words.slice(0, count).join(' ')));
  const name = words.slice(0, length ?? 1).join(' ');
  const command = length === undefined ? undefined : OPERATOR_COMMANDS[name];
  if (command === undefined) throw new ConfigError(`there is no command ${name}; npm start -- --help lists them`);
  const [argument, ...rest] = words.slice(length);
  if (argument === undefined || rest.length > 0) {
    throw new ConfigError(`usage: npm run kith -- ${name} ${command.argument}`);
  }
  const run = await command.load();
  await run(config, argument);
}
