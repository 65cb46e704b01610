import { type Completed, groupsOf } from './words.ts';

/** A script for fish: ~/.config/fish/completions/kith.fish. */
export function fishCompletion(commands: readonly Completed[]): string {
  const lines = [
    '# Completion of kith for fish: kith completion fish > ~/.config/fish/completions/kith.fish',
    'complete -c kith -f',
  ];
  const groups = groupsOf(commands);
  const summaryOf = (name: string) =>
    commands.find((command) => command.name === name)?.summary ?? `Commands for ${name}`;
  for (const [first, seconds] of groups) {
    lines.push(`complete -c kith -n __fish_use_subcommand -a ${first} -d ${quoted(summaryOf(first))}`);
    for (const second of seconds) {
      const condition = `__fish_seen_subcommand_from ${first}; and not __fish_seen_subcommand_from ${seconds.join(' ')}`;
      lines.push(`complete -c kith -n ${quoted(condition)} -a ${second} -d ${quoted(summaryOf(`${first} ${second}`))}`);
    }
  }
  for (const { name, options, words } of commands) {
    const condition = name
      .split(' ')
      .map((word) => `__fish_seen_subcommand_from ${word}`)
      .join('; and ');
    if (words.length > 0) lines.push(`complete -c kith -n ${quoted(condition)} -a ${quoted(words.join(' '))}`);
    else if (name !== 'serve') lines.push(`complete -c kith -n ${quoted(condition)} -F`);
    for (const { name: option, help, takesValue, values } of options) {
      const value = !takesValue ? '' : values.length > 0 ? ` -x -a ${quoted(values.join(' '))}` : ' -r';
      lines.push(`complete -c kith -n ${quoted(condition)} -l ${option} -d ${quoted(help)}${value}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** In single quotes fish knows \\' and \\\\ alone. */
function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
