import { type Completed, groupsOf } from './words.ts';

/** A script for bash 3.2 and newer. */
export function bashCompletion(commands: readonly Completed[]): string {
  const groups = [...groupsOf(commands)];
  const words = (list: readonly string[]) => `'${list.join(' ')}'`;
  const cases = commands.map(
    ({ name, options }) => `    '${name}') options=${words(options.map((option) => `--${option.name}`))} ;;`,
  );
  const values = commands.flatMap(({ name, options }) =>
    options
      .filter((option) => option.takesValue)
      .map(
        (option) =>
          `    '${name} --${option.name}') ${option.values.length > 0 ? `values=${words(option.values)}` : 'files=yes'} ;;`,
      ),
  );
  return `# Completion of kith for bash: source <(kith completion bash)
_kith() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local first='' second='' command='' word options='' values='' files=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      -*) ;;
      *) if [[ -z $first ]]; then first=$word; elif [[ -z $second ]]; then second=$word; fi ;;
    esac
  done
  COMPREPLY=()
  case $first in
${groups.map(([first, seconds]) => `    ${first}) ${seconds.length > 0 ? `command="$first $second"` : `command=$first second=-`} ;;`).join('\n')}
    '') COMPREPLY=($(compgen -W ${words(groups.map(([first]) => first))} -- "$current")); return ;;
    *) return ;;
  esac
  if [[ -z $second ]]; then
    case $first in
${groups
  .filter(([, seconds]) => seconds.length > 0)
  .map(([first, seconds]) => `      ${first}) COMPREPLY=($(compgen -W ${words(seconds)} -- "$current")); return ;;`)
  .join('\n')}
    esac
  fi
  case "$command $previous" in
${values.join('\n')}
  esac
  if [[ -n $values ]]; then COMPREPLY=($(compgen -W "$values" -- "$current")); return; fi
  if [[ -n $files ]]; then COMPREPLY=($(compgen -f -- "$current")); return; fi
  case $command in
${cases.join('\n')}
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ $command == completion ]]; then
    COMPREPLY=($(compgen -W 'bash zsh fish' -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -F _kith kith
`;
}
