import packageJson from '../../package.json' with { type: 'json' };
import type { Argument, Command, Option } from './command.ts';
import { EXIT_CODE_TEXTS, EXIT_CODES } from './exit-codes.ts';
import { COMMON_OPTIONS, signOf } from './parse.ts';

/** Commands under a title. */
export interface Section {
  readonly title: string;
  readonly commands: Readonly<Record<string, Command>>;
}

/** How help is laid out: as wide as people read, whatever the terminal is. */
const WIDTH = 100;

/** What a terminal is shown of all commands. */
export function describeProgram(sections: readonly Section[]): string {
  const lines = [
    `Kith ${packageJson.version}: ${packageJson.description}`,
    '',
    'Usage: kith [COMMAND] [OPTIONS]',
    '',
    'Without a command, it serves. In a clone of the repository, kith is: npm run kith --',
    '',
    '  --help     Print this; kith COMMAND --help says more about a command.',
    '  --version  Print the version.',
  ];
  const names = sections.flatMap(({ commands }) =>
    Object.entries(commands).map(([name, command]) => signatureOf(name, command)),
  );
  const column = Math.min(34, Math.max(...names.map(({ length }) => length)) + 4);
  for (const { title, commands } of sections) {
    lines.push('', `${title}:`, '');
    for (const [name, command] of Object.entries(commands)) {
      lines.push(...entry(`  ${signatureOf(name, command)}`, `${command.summary}.`, column));
    }
  }
  lines.push('', 'Exit codes:', '', ...exitCodeLines());
  return lines.join('\n');
}

/** What a terminal is shown of one command. */
export function describeCommand(name: string, command: Command): string {
  const { summary, details, args = [], options = {}, examples } = command;
  const all = { ...options, ...COMMON_OPTIONS };
  const lines = [
    `${summary}.`,
    '',
    `Usage: kith ${signatureOf(name, command)}${Object.keys(options).length > 0 ? ' [OPTIONS]' : ''}`,
  ];
  if (details !== undefined) lines.push('', ...details.split('\n').flatMap((paragraph) => wrap(paragraph, WIDTH)));
  if (args.length > 0)
    lines.push('', 'Arguments:', '', ...args.flatMap((arg) => entry(`  ${arg.name}`, withValues(arg), 16)));
  const column = Math.min(30, Math.max(...Object.entries(all).map((each) => optionOf(...each).length)) + 4);
  lines.push('', 'Options:', '');
  for (const [option, spec] of Object.entries(all))
    lines.push(...entry(`  ${optionOf(option, spec)}`, withValues(spec), column));
  if (examples.length > 0) lines.push('', 'Examples:', '', ...examples.map((example) => `  ${example}`));
  return lines.join('\n');
}

/** What a terminal is shown of the commands of a group, such as users. */
export function describeGroup(group: string, commands: Readonly<Record<string, Command>>): string {
  const lines = [`Usage: kith ${group} COMMAND`, ''];
  for (const [name, command] of Object.entries(commands)) {
    lines.push(...entry(`  ${signatureOf(name, command)}`, `${command.summary}.`, 34));
  }
  return [...lines, '', `kith ${group} COMMAND --help says more about each.`].join('\n');
}

/** `users get USER`. */
export function signatureOf(name: string, { args = [] }: Command): string {
  return [name, ...args.map(signOf)].join(' ');
}

/** `--url URL`. */
export function optionOf(name: string, { value }: Option): string {
  return value === undefined ? `--${name}` : `--${name} ${value}`;
}

/** The help of an argument or option, with the values that it takes. */
export function withValues({ help, values }: Argument | Option): string {
  return values === undefined || help.includes(values.join(', ')) ? help : `${help} One of: ${values.join(', ')}.`;
}

function exitCodeLines(): string[] {
  return Object.entries(EXIT_CODES).flatMap(([name, code]) =>
    entry(`  ${code}`, EXIT_CODE_TEXTS[name as keyof typeof EXIT_CODES], 8),
  );
}

/** A name, and beside it its text; below it where the name takes more than the column. */
function entry(name: string, text: string, column: number): string[] {
  const lines = wrap(text, WIDTH - column);
  const indent = ' '.repeat(column);
  if (name.length + 2 > column) return [name, ...lines.map((line) => indent + line)];
  return lines.map((line, i) => (i === 0 ? name.padEnd(column) : indent) + line);
}

function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
