import { type Completed, type CompletedOption, groupsOf } from './words.ts';

/** A script for zsh: a file _kith in a folder of $fpath, or source <(kith completion zsh). */
export function zshCompletion(commands: readonly Completed[]): string {
  const groups = [...groupsOf(commands)];
  const summaryOf = (name: string) =>
    commands.find((command) => command.name === name)?.summary ?? `Commands for ${name}`;
  const describe = (entries: readonly (readonly [string, string])[]) =>
    entries.map(([word, help]) => quoted(`${word.replaceAll(':', '\\:')}:${help}`)).join(' ');
  return `#compdef kith
# Completion of kith for zsh.
_kith() {
  local first second
  first=\${words[2]} second=\${words[3]}
  if (( CURRENT == 2 )); then
    local -a commands=(${describe(groups.map(([first]) => [first, summaryOf(first)] as const))})
    _describe command commands
    return
  fi
  case $first in
${groups
  .filter(([, seconds]) => seconds.length > 0)
  .map(
    ([first, seconds]) => `    ${first})
      if (( CURRENT == 3 )); then
        local -a commands=(${describe(seconds.map((second) => [second, summaryOf(`${first} ${second}`)] as const))})
        _describe command commands
        return
      fi ;;`,
  )
  .join('\n')}
  esac
  case "$first $second" in
${commands.map((command) => `    ${patternOf(command.name)}) _arguments ${command.options.map(argumentOf).join(' ')} '*:file:_files' ;;`).join('\n')}
  esac
}
if [[ $funcstack[1] == _kith ]]; then _kith "$@"; else compdef _kith kith; fi
`;
}

function patternOf(name: string): string {
  return name.includes(' ') ? quoted(name) : `${quoted(`${name} `)}*`;
}

function argumentOf({ name, help, takesValue, values }: CompletedOption): string {
  const text = help.replaceAll(/[[\]:\\]/g, ' ');
  if (!takesValue) return quoted(`--${name}[${text}]`);
  return quoted(`--${name}[${text}]:${name}:${values.length > 0 ? `(${values.join(' ')})` : '_files'}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
