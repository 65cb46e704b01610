import type { Command, Option } from '../command.ts';
import { COMMON_OPTIONS } from '../parse.ts';

/** What a shell has to know of a command to complete it. */
export interface Completed {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  /** What the first argument may be; empty where that is not known. */
  readonly words: readonly string[];
}

export interface CompletedOption {
  readonly name: string;
  readonly help: string;
  readonly takesValue: boolean;
  readonly values: readonly string[];
}

/** The commands as shells complete them. */
export function completedOf(commands: ReadonlyMap<string, Command>): Completed[] {
  return [...commands].map(([name, { summary, options = {}, args = [] }]) => ({
    name,
    summary,
    words: args[0]?.values ?? [],
    options: Object.entries<Option>({ ...options, ...COMMON_OPTIONS }).map(
      ([option, { help, value, values = [] }]) => ({
        name: option,
        help: help.split(/(?<=\.) /)[0]!,
        takesValue: value !== undefined,
        values,
      }),
    ),
  }));
}

/** The first words of commands, each with the words that may follow it. */
export function groupsOf(commands: readonly Completed[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const { name } of commands) {
    const [first = '', second] = name.split(' ');
    groups.set(first, [...(groups.get(first) ?? []), ...(second === undefined ? [] : [second])]);
  }
  return groups;
}
