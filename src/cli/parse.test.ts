import { expect, test } from 'vitest';
import type { Command } from './command.ts';
import { describeCommand, describeProgram } from './help.ts';
import { findCommand } from './parse.ts';
import { commandSections, commandTable } from './table.ts';

const names = new Set(['users list', 'users get', 'watch']);
const valued = new Set(['url']);

test.each([
  [['users', 'list', '--all'], { name: 'users list', rest: ['--all'] }],
  [['--url', 'http://x', 'users', 'get', 'ada'], { name: 'users get', rest: ['--url', 'http://x', 'ada'] }],
  [['--json', 'watch', '-'], { name: 'watch', rest: ['--json', '-'] }],
  [['users', '--help'], { name: 'users', rest: ['--help'] }],
  [['--version'], undefined],
])('%j is a command and what follows it', (words, found) => {
  expect(findCommand(words, names, valued)).toEqual(found);
});

test.each([
  [['wacth'], 'there is no command wacth; did you mean watch?'],
  [['users', 'find'], 'there is no command users find; there is list, get'],
  [['toString'], 'there is no command toString'],
])('%j is refused', (words, message) => {
  expect(() => findCommand(words, names, valued)).toThrow(message);
});

test.each([...commandTable()])(
  '%s has a summary, an example, and help for each argument and option',
  (name, command) => {
    const { summary, args = [], options = {}, examples }: Command = command;
    expect(summary).toMatch(/^[A-Z].*[^.]$/);
    expect(examples.length).toBeGreaterThan(0);
    expect(examples.filter((example) => !/\bkith\b/.test(example))).toEqual([]);
    const texts = [...args, ...Object.values(options)].map(({ help }) => help);
    expect(texts.filter((text) => !/[.?)}]$/.test(text))).toEqual([]);
    // An argument that may be absent has none behind it that must be there.
    expect(args.map(({ optional = false }) => Number(optional))).toEqual(
      args.map(({ optional = false }) => Number(optional)).toSorted((a, b) => a - b),
    );
    expect(describeCommand(name, command)).toContain(`Usage: kith ${name}`);
    expect(describeProgram(commandSections())).toContain(`  ${name}`);
  },
);
