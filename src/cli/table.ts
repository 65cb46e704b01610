import { call } from './client/call.ts';
import { login } from './client/login.ts';
import { logout, profiles, token, whoami } from './client/session-commands.ts';
import { watch } from './client/watch.ts';
import type { Command } from './command.ts';
import { completionOf } from './completion/command.ts';
import { exportContacts, importContacts, undoImport } from './contacts/contact-files.ts';
import { mergeContactsBy } from './contacts/merge.ts';
import { getPhoto, setPhoto } from './contacts/photo.ts';
import { syncContactsBy } from './contacts/sync.ts';
import { doctor } from './doctor/command.ts';
import type { Section } from './help.ts';
import { importUsers } from './import/command.ts';
import { OPERATOR_COMMANDS } from './operator-commands.ts';
import { commandsOf } from './resources/commands.ts';
import { exportUser } from './resources/export.ts';
import { GROUPS } from './resources/groups.ts';
import { settings } from './resources/settings.ts';

/** Every command of the program: help, completion and docs/cli.md are made from it. */
export function commandSections(): readonly Section[] {
  return [
    { title: 'Server', commands: { serve, ...operatorCommands(), doctor } },
    { title: 'Signing in', commands: { login, logout, whoami, token, profiles } },
    ...GROUPS.map((group) => ({
      title: group.title,
      commands: {
        ...withOwn(group.name, commandsOf(group)),
      },
    })),
    { title: 'Everything else', commands: { watch, call, completion: completionOf(commandTable) } },
  ];
}

/** The commands of a group, with those that do more than a call, or make one easier. */
function withOwn(group: string, ofMethods: Readonly<Record<string, Command>>): Readonly<Record<string, Command>> {
  if (group === 'users') return { ...ofMethods, 'users import': importUsers, 'users export': exportUser };
  if (group === 'admin') return { ...ofMethods, settings };
  if (group !== 'contacts') return ofMethods;
  return {
    ...ofMethods,
    'contacts merge': mergeContactsBy(ofMethods['contacts merge']!),
    'contacts sync': syncContactsBy(ofMethods['contacts sync']!),
    'contacts import': importContacts,
    'contacts undo-import': undoImport,
    'contacts export': exportContacts,
    'contacts set-photo': setPhoto,
    'contacts get-photo': getPhoto,
  };
}

/** The same by name. */
export function commandTable(): ReadonlyMap<string, Command> {
  return new Map(commandSections().flatMap(({ commands }) => Object.entries(commands)));
}

const serve: Command = {
  summary: 'Serve, which is also what the program does without a command',
  details:
    'Settings are environment variables that begin with KITH_, also read from a file .env; kith --help lists them.',
  examples: ['kith serve', 'KITH_PORT=9000 kith'],
  isOfServer: true,
  async run() {
    const { serve: run } = await import('./serve.ts');
    await run([]);
  },
};

function operatorCommands(): Record<string, Command> {
  return Object.fromEntries(
    Object.entries(OPERATOR_COMMANDS).map(([name, { argument, argumentHelp, help, examples }]): [string, Command] => [
      name,
      {
        summary: help.replace(/\.$/, ''),
        details: 'It takes the settings of the server, from the environment and a file .env.',
        args: [{ name: argument, help: argumentHelp }],
        examples,
        isOfServer: true,
        async run({ args, env }) {
          const [{ applySettings, readSettings }, { runCommand }] = await Promise.all([
            import('./settings.ts'),
            import('./commands.ts'),
          ]);
          await runCommand(applySettings(readSettings(env)), [...name.split(' '), args[argument]!]);
        },
      },
    ]),
  );
}
