/**
 * Write the commands into docs/cli.md, between its two markers, from the one table of commands in src/cli/table.ts, and the
 * exit codes likewise. With --check, only say whether they are there.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { Command } from '../src/cli/command.ts';
import { EXIT_CODE_TEXTS, EXIT_CODES } from '../src/cli/exit-codes.ts';
import { optionOf, signatureOf, withValues } from '../src/cli/help.ts';
import { commandSections } from '../src/cli/table.ts';

const FILE = 'docs/cli.md';

const codes = Object.entries(EXIT_CODES).map(
  ([name, code]) => `| ${code} | ${EXIT_CODE_TEXTS[name as keyof typeof EXIT_CODES]} |`,
);
const before = await readFile(FILE, 'utf8');
const after = [
  ['exit codes', ['| code | meaning |', '| --- | --- |', ...codes].join('\n')],
  [
    'commands',
    commandSections()
      .flatMap(({ title, commands }) => [`## ${title}`, ...Object.entries(commands).map(chapterOf)])
      .join('\n\n'),
  ],
].reduce(
  (text, [name, content]) =>
    text.replace(
      new RegExp(`<!-- ${name} -->[^]*<!-- /${name} -->`),
      () => `<!-- ${name} -->\n${content}\n<!-- /${name} -->`,
    ),
  before,
);
if (process.argv.includes('--check')) {
  if (after !== before) console.error(`${FILE} does not have the commands of src/cli/table.ts`);
  process.exitCode = after === before ? 0 : 1;
} else {
  await writeFile(FILE, after);
}

function chapterOf([name, command]: [string, Command]): string {
  const { summary, details, args = [], options = {}, examples } = command;
  const rows = [
    ...args.map((arg) => [`\`${arg.name}\``, withValues(arg)]),
    ...Object.entries(options).map(([option, spec]) => [`\`${optionOf(option, spec)}\``, withValues(spec)]),
  ];
  return [
    `### kith ${signatureOf(name, command)}`,
    `${summary}.${details === undefined ? '' : `\n\n${details.replaceAll('\n', '\n\n')}`}`,
    ...(rows.length === 0
      ? []
      : [['| | |', '| --- | --- |', ...rows.map((cells) => `| ${cells.map(escaped).join(' | ')} |`)].join('\n')]),
    ...(examples.length === 0 ? [] : [`\`\`\`text\n${examples.join('\n')}\n\`\`\``]),
  ].join('\n\n');
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|');
}
