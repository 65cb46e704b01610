import type { Command } from '../command.ts';
import { bashCompletion } from './bash.ts';
import { fishCompletion } from './fish.ts';
import { completedOf } from './words.ts';
import { zshCompletion } from './zsh.ts';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

/** Prints what has a shell complete the commands. */
export function completionOf(commands: () => ReadonlyMap<string, Command>): Command {
  return {
    summary: 'Print a script that completes commands and options in a shell',
    details:
      'bash: add `source <(kith completion bash)` to ~/.bashrc.\nzsh: write it to a file _kith in a folder of $fpath, or add `source <(kith completion zsh)` to ~/.zshrc behind compinit.\nfish: write it to ~/.config/fish/completions/kith.fish.',
    args: [{ name: 'SHELL', help: 'The shell.', values: Object.keys(SHELLS) }],
    examples: ['source <(kith completion bash)', 'kith completion fish > ~/.config/fish/completions/kith.fish'],
    async run({ args, terminal }) {
      const script = SHELLS[args['SHELL'] as keyof typeof SHELLS];
      await terminal.write(script(completedOf(commands())));
    },
  };
}
