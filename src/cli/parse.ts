import { parseArgs } from 'node:util';
import { type Argument, type Command, Given, type Option, type Options, UsageError } from './command.ts';
import { didYouMean } from './suggest.ts';

/** What every command takes. */
export const COMMON_OPTIONS = { help: { help: 'Print help for the command.' } } satisfies Options;

/** A command as it was called. */
export interface Parsed {
  readonly args: Readonly<Record<string, string | undefined>>;
  /** All arguments, in their order. */
  readonly words: readonly string[];
  readonly options: Given;
}

/** The command that the words begin with, and what follows its name. Options may come before it. */
export interface Found {
  readonly name: string;
  readonly rest: readonly string[];
}

/**
 * Finds the command in the words of a command line. Undefined when there is none among them. Throws UsageError for a name
 * that no command has. `valued`: options before the name that take a value.
 */
export function findCommand(
  words: readonly string[],
  names: ReadonlySet<string>,
  valued: ReadonlySet<string>,
): Found | undefined {
  let start = 0;
  while (start < words.length && words[start]!.startsWith('-') && words[start] !== '-') {
    start += valued.has(words[start]!.replace(/^--/, '')) ? 2 : 1;
  }
  const first = words[start];
  if (first === undefined) return undefined;
  const second = words[start + 1];
  const before = words.slice(0, start);
  if (second !== undefined && names.has(`${first} ${second}`)) {
    return { name: `${first} ${second}`, rest: [...before, ...words.slice(start + 2)] };
  }
  if (names.has(first)) return { name: first, rest: [...before, ...words.slice(start + 1)] };
  const group = [...names].filter((name) => name.startsWith(`${first} `));
  if (group.length === 0) {
    const firsts = new Set([...names].map((name) => name.split(' ')[0]!));
    throw new UsageError(`there is no command ${first}${didYouMean(first, firsts) || '; kith --help lists them'}`);
  }
  if (second === undefined || second.startsWith('-')) return { name: first, rest: words.slice(start + 1) };
  const verbs = group.map((name) => name.slice(first.length + 1));
  throw new UsageError(
    `there is no command ${first} ${second}${didYouMean(second, verbs) || `; there is ${verbs.join(', ')}`}`,
  );
}

/** Reads the arguments and options of a command. Throws UsageError. */
export function parseCall(name: string, command: Command, words: readonly string[]): Parsed {
  const known: Options = { ...command.options, ...COMMON_OPTIONS };
  const { values, positionals } = parseOptions(known, words);
  for (const [option, given] of Object.entries(values)) checkValues(`--${option}`, known[option]!, [given].flat());
  const options = new Given(values);
  if (options.has('help')) return { args: {}, words: [], options };
  const taken = command.args ?? [];
  if (positionals.length > taken.length && taken.at(-1)?.multiple !== true) {
    throw new UsageError(
      `${name} does not take ${JSON.stringify(positionals[taken.length])}; ${usageOf(name, command)}`,
    );
  }
  const missing = taken.find(({ optional }, i) => !optional && positionals[i] === undefined);
  if (missing !== undefined) throw new UsageError(`${missing.name} is missing; ${usageOf(name, command)}`);
  taken.forEach((argument, i) => checkValues(argument.name, { ...argument, value: '' }, [positionals[i]]));
  const args = Object.fromEntries(taken.map((argument, i) => [argument.name, positionals[i]]));
  return { args, words: positionals, options };
}

/** `usage: kith users get USER`. */
function usageOf(name: string, { args = [] }: Command): string {
  return `usage: ${['kith', name, ...args.map(signOf)].join(' ')}`;
}

/** `USER`, `[ID]` or `[ID...]`. */
export function signOf({ name, optional = false, multiple = false }: Argument): string {
  const sign = multiple ? `${name}...` : name;
  return optional ? `[${sign}]` : sign;
}

/** The words with `--page-size -1` as `--page-size=-1`, which is not taken for two options then. */
function withNegativeNumbers(known: Options, words: readonly string[]): string[] {
  const joined: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const [word, next] = [words[i]!, words[i + 1]];
    if (word === '--') return [...joined, ...words.slice(i)];
    const takesValue = word.startsWith('--') && known[word.slice(2)]?.value !== undefined;
    if (takesValue && next !== undefined && /^-\d/.test(next)) {
      joined.push(`${word}=${next}`);
      i++;
    } else joined.push(word);
  }
  return joined;
}

function parseOptions(known: Options, words: readonly string[]) {
  try {
    return parseArgs({
      args: withNegativeNumbers(known, words),
      allowPositionals: true,
      options: Object.fromEntries(
        Object.entries(known).map(([name, { value, multiple = false }]) => [
          name,
          {
            type: value === undefined ? ('boolean' as const) : ('string' as const),
            multiple,
            ...(name === 'help' ? { short: 'h' } : {}),
          },
        ]),
      ),
    });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_'))) throw error;
    const [, unknown] = /^Unknown option '--?([^']*)'/.exec(error.message) ?? [];
    if (unknown === undefined) throw new UsageError(error.message.split('\n')[0], { cause: error });
    const names = Object.keys(known);
    const hint = didYouMean(unknown, names).replaceAll(/(mean|or) (?=[a-z])/g, '$1 --');
    throw new UsageError(`there is no option --${unknown}${hint}`, { cause: error });
  }
}

function checkValues(name: string, { values }: Option, given: readonly unknown[]): void {
  for (const value of given) {
    if (typeof value !== 'string' || values === undefined || values.includes(value)) continue;
    throw new UsageError(
      `${name} does not take ${JSON.stringify(value)}${didYouMean(value, values) || `; it takes ${values.join(', ')}`}`,
    );
  }
}
